use super::*;
use crate::federate::catalog::Offer;
use crate::federate::event_id::Source;
use crate::federate::glob::Selection;
use crate::federate::inventory::Inventory;
use crate::federate::naming::Prefixing;
use crate::federate::policy::{Policy, Rename};
use crate::federate::testing::{audience, inventory, merge, policy, tools};
use crate::lane::Lane;
use crate::revision::Revision;
use crate::rpc::params::ToolParams;
use crate::splice::edited;
use crate::testing::{Bench, Outcome, SERVER};
use crate::ticket::{NodeId, SessionId};
use bytes::Bytes;
use http::{HeaderName, Method};
use std::sync::atomic::{AtomicUsize, Ordering};

const SESSION: [u8; 16] = [7; 16];

fn backends() -> (Policy, Catalog) {
    let mut policy = policy(Prefixing::Always, &["a", "b"]);
    policy.members[1].resources = Selection::new(&["file:///data/**", "note:{id}"], &[]);
    let one = inventory(
        r#"{"capabilities":{"tools":{},"completions":{}}}"#,
        &[
            (Kind::Tools, r#"{"tools":[{"name":"run"},{"name":"größe"}]}"#),
            (Kind::Prompts, r#"{"prompts":[{"name":"greet"}]}"#),
            (Kind::Templates, r#"{"resourceTemplates":[{"uriTemplate":"note:{id}"}]}"#),
        ],
    );
    let other = inventory(
        r#"{"capabilities":{"resources":{"subscribe":true}}}"#,
        &[
            (Kind::Prompts, r#"{"prompts":[{"name":"greet"}]}"#),
            (Kind::Templates, r#"{"resourceTemplates":[{"uriTemplate":"note:{id}"}]}"#),
        ],
    );
    let catalog = merge(&policy, vec![one, other]);
    (policy, catalog)
}

fn bench() -> Bench {
    let (policy, catalog) = backends();
    Bench::federated(policy, catalog)
}

fn legacy(bench: &Bench, body: &str) -> Outcome {
    let ticket = bench.ticket(Revision::V2025_11_25, SESSION);
    bench.send(Method::POST, &[("mcp-session-id", &ticket)], body)
}

/// A legacy request, and what became of it.
fn call(method: &str, params: &str) -> Outcome {
    legacy(&bench(), &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#))
}

fn modern(method: &str, mirror: Option<&str>, params: &str) -> Outcome {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{meta}{params}}}}}"#);
    let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
    headers.extend(mirror.map(|name| ("mcp-name", name)));
    bench().send(Method::POST, &headers, &body)
}

#[track_caller]
fn target(outcome: Outcome) -> (Lane, Target, Bytes) {
    let (lane, exchange) = outcome.lane();
    (lane, exchange.target(0).clone(), exchange.body.clone())
}

/// The member that a message goes to, the params that it gets, and its new `Mcp-Name`.
#[track_caller]
fn sent(outcome: Outcome) -> (usize, String, Option<String>) {
    let (lane, exchange) = outcome.lane();
    assert_eq!(lane, Lane::Forward);
    let hop = exchange.target(0).hop().expect("a member");
    let whole = edited(&exchange.body, exchange.scan.messages[0].span, &hop.edits);
    let value: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    let mut params = value["params"].clone();
    params.as_object_mut().unwrap().remove("_meta");
    (hop.member, params.to_string(), hop.name.as_ref().map(|name| name.to_str().unwrap().to_owned()))
}

#[track_caller]
fn local(outcome: Outcome) -> Local {
    match target(outcome) {
        (Lane::Local, Target::Here(local), _) => local,
        other => panic!("{other:?}"),
    }
}

#[test]
fn calls_go_to_their_owner_under_its_own_names() {
    assert_eq!(
        sent(call("tools/call", r#"{"name":"a__run","arguments":{"x":1}}"#)),
        (0, r#"{"arguments":{"x":1},"name":"run"}"#.into(), None)
    );
    assert_eq!(sent(call("prompts/get", r#"{"name":"b__greet"}"#)), (1, r#"{"name":"greet"}"#.into(), None));
    let escaped = sent(call("tools/call", r#"{"name":"a__r\u0075n"}"#));
    assert_eq!(escaped, (0, r#"{"name":"run"}"#.into(), None));
    let run = modern("tools/call", Some("a__run"), r#","name":"a__run""#);
    assert_eq!(sent(run), (0, r#"{"name":"run"}"#.into(), Some("run".into())));
    let (_, catalog) = backends();
    let strange = catalog.items(Kind::Tools).nth(1).unwrap().0.to_owned();
    let called = modern("tools/call", Some(&strange), &format!(r#","name":"{strange}""#));
    assert_eq!(sent(called), (0, r#"{"name":"größe"}"#.into(), Some("=?base64?Z3LDtsOfZQ==?=".into())));
}

#[test]
fn a_backend_does_not_hear_of_tasks_that_nobody_could_ask_for() {
    let named = r#""name":"a__run""#;
    let send = |params: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params}}}}}"#);
        let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "a__run")];
        let (_, exchange) = bench().send(Method::POST, &headers, &body).lane();
        let hop = exchange.target(0).hop().unwrap().clone();
        let whole = edited(&exchange.body, exchange.scan.messages[0].span, &hop.edits);
        let sent: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(sent["params"]["name"], "run");
        let capabilities = &sent["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        assert!(capabilities["sampling"].is_object());
        capabilities["extensions"].to_string()
    };
    let declaring = |extensions: &str| {
        let meta = format!(
            r#""_meta":{{"io.modelcontextprotocol/clientCapabilities":{{"extensions":{extensions},"sampling":{{}}}},"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#
        );
        let before = send(&format!("{named},{meta}"));
        assert_eq!(before, send(&format!("{meta},{named}")), "whatever comes first");
        before
    };
    let tasks = r#""io.modelcontextprotocol/tasks":{}"#;
    assert_eq!(declaring(&format!("{{{tasks}}}")), "{}");
    assert_eq!(declaring(&format!(r#"{{"a/b":{{"x":[1]}},{tasks}}}"#)), r#"{"a/b":{"x":[1]}}"#);
    assert_eq!(declaring(&format!(r#"{{{tasks},"c":1,"d":2}}"#)), r#"{"c":1,"d":2}"#);
    assert_eq!(declaring(r#"{"a/b":{}}"#), r#"{"a/b":{}}"#);
}

#[test]
fn what_needs_no_change_keeps_its_bytes() {
    let policy = policy(Prefixing::Never, &["a"]);
    let catalog = merge(&policy, vec![tools(&["run"])]);
    let bench = Bench::federated(policy, catalog);
    let body = r#"{ "jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run"}}"#;
    let (_, exchange) = legacy(&bench, body).lane();
    let hop = exchange.target(0).hop().unwrap();
    assert!(hop.edits.is_empty() && hop.name.is_none());
}

#[test]
fn resources_go_to_their_owner_listed_or_not() {
    assert_eq!(sent(call("resources/read", r#"{"uri":"a+x:y"}"#)), (0, r#"{"uri":"x:y"}"#.into(), None));
    assert_eq!(sent(call("resources/subscribe", r#"{"uri":"ui://a+app"}"#)), (0, r#"{"uri":"ui://app"}"#.into(), None));
    let read = modern("resources/read", Some("b+file:///data/x"), r#","uri":"b+file:///data/x""#);
    assert_eq!(sent(read), (1, r#"{"uri":"file:///data/x"}"#.into(), Some("file:///data/x".into())));
}

#[test]
fn what_is_not_there_is_refused_in_the_words_of_each_era() {
    for (outcome, fault, code) in [
        (call("tools/call", r#"{"name":"run"}"#), Fault::UnknownItem, -32602),
        (call("prompts/get", r#"{"name":"a__run"}"#), Fault::UnknownItem, -32602),
        (call("resources/read", r#"{"uri":"x:y"}"#), Fault::UnknownResource, -32002),
        (call("resources/read", r#"{"uri":"b+file:///etc/passwd"}"#), Fault::UnknownResource, -32002),
        (call("resources/read", r#"{"uri":"b+file:///data/../etc/passwd"}"#), Fault::UnknownResource, -32002),
        (modern("resources/read", Some("x:y"), r#","uri":"x:y""#), Fault::UnknownItem, -32602),
        (modern("tools/call", Some("run"), r#","name":"run""#), Fault::UnknownItem, -32602),
        (call("tasks/list", "{}"), Fault::MethodNotFound, -32601),
        (call("server/discover", "{}"), Fault::MethodNotFound, -32601),
        (call("subscriptions/listen", "{}"), Fault::MethodNotFound, -32601),
        (modern("vendor/anything", None, ""), Fault::UnknownMethod, -32601),
        (call("tools/call", "{}"), Fault::InvalidParams, -32602),
        (call("tools/call", r#"{"name":7}"#), Fault::InvalidParams, -32602),
    ] {
        let refusal = outcome.refusal();
        assert_eq!((refusal.fault, refusal.fault.code()), (fault, code), "{}", refusal.message);
    }
    assert_eq!(Fault::UnknownItem.status(), 200);
    let long = call("tools/call", &format!(r#"{{"name":"\u0000{}"}}"#, "é".repeat(500))).refusal();
    assert!(long.message.len() < 200 && !long.message.contains('\0'), "{}", long.message);
}

#[test]
fn what_the_gateway_says_itself_goes_nowhere() {
    assert!(matches!(local(call("ping", "{}")), Local::Ping));
    assert!(matches!(local(call("logging/setLevel", r#"{"level":"info"}"#)), Local::SetLevel));
    let open = bench().send(Method::POST, &[], r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#);
    assert!(matches!(local(open), Local::Initialize));
    assert!(matches!(local(modern("server/discover", None, "")), Local::Discover));
    for kind in Kind::ALL {
        assert!(matches!(local(call(kind.method(), "{}")), Local::List { kind: found, after: None } if found == kind));
        assert!(matches!(local(call(kind.method(), r#"{"cursor":null}"#)), Local::List { after: None, .. }));
    }
    let listen = r#","notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["b+file:///data/x","a+x:y","nobody:1","b+file:///etc/x","b+file:///data/x",7]}"#;
    let Local::Listen(wanted) = local(modern("subscriptions/listen", None, listen)) else { panic!("no listen") };
    assert_eq!(wanted.acknowledged(), r#"{"toolsListChanged":true,"resourceSubscriptions":["b+file:///data/x"]}"#);
    assert_eq!(wanted.of_member(1), r#"{"resourceSubscriptions":["file:///data/x"]}"#);
    assert_eq!(wanted.members().into_iter().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_cursor_is_ours_and_of_this_list_or_refused() {
    let bench = bench();
    let position = Position::of(0, "a__run");
    let text = position.seal(&bench.keys, SERVER, Kind::Tools, None).unwrap();
    let list = |method: &str, cursor: &str| {
        legacy(&bench, &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"cursor":{cursor}}}}}"#))
    };
    let Local::List { after, .. } = local(list("tools/list", &format!("\"{text}\""))) else { panic!("no list") };
    assert_eq!(after, Some(position));
    for (method, cursor) in [
        ("prompts/list", format!("\"{text}\"")),
        ("tools/list", r#""""#.to_owned()),
        ("tools/list", r#""AAAA""#.to_owned()),
        ("tools/list", "7".to_owned()),
        ("tools/list", "{}".to_owned()),
    ] {
        assert_eq!(list(method, &cursor).refusal().fault, Fault::InvalidCursor, "{method} {cursor}");
    }
}

#[test]
fn completions_go_to_the_owner_of_what_is_completed() {
    let argument = r#""argument":{"name":"x","value":""}"#;
    let complete = |reference: &str| call("completion/complete", &format!(r#"{{"ref":{reference},{argument}}}"#));
    let (member, params, name) = sent(complete(r#"{"type":"ref/prompt","name":"a__greet"}"#));
    assert_eq!((member, name), (0, None));
    assert!(params.contains(r#""ref":{"name":"greet","type":"ref/prompt"}"#), "{params}");
    let (member, params, _) = sent(complete(r#"{"uri":"a+note:{id}","type":"ref/resource"}"#));
    assert!(member == 0 && params.contains(r#""uri":"note:{id}""#), "{params}");
    assert_eq!(sent(complete(r#"{"uri":"a+note:1","type":"ref/resource"}"#)).0, 0);
    assert!(matches!(local(complete(r#"{"type":"ref/prompt","name":"b__greet"}"#)), Local::NoCompletion));
    for (reference, fault) in [
        (r#"{"type":"ref/prompt","name":"greet"}"#, Fault::UnknownItem),
        (r#"{"type":"ref/resource","uri":"note:{id}"}"#, Fault::UnknownResource),
        (r#"{"type":"ref/prompt"}"#, Fault::InvalidParams),
        (r#"{"type":"ref/other","name":"greet"}"#, Fault::InvalidParams),
        ("7", Fault::InvalidParams),
    ] {
        assert_eq!(complete(reference).refusal().fault, fault, "{reference}");
    }
}

fn notify(method: &str, params: &str) -> Target {
    target(legacy(&bench(), &format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#))).1
}

#[test]
fn notifications_reach_whom_they_concern() {
    assert!(matches!(notify("notifications/initialized", "{}"), Target::Here(Local::Absorb)));
    assert!(matches!(notify("notifications/roots/list_changed", "{}"), Target::All));
    assert!(matches!(notify("vendor/anything", "{}"), Target::All));
    assert!(matches!(notify("notifications/cancelled", r#"{"requestId":0}"#), Target::Owner { .. }));
    assert!(matches!(notify("notifications/cancelled", r#"{"requestId":null}"#), Target::Here(Local::Absorb)));
    assert!(matches!(
        notify("notifications/progress", r#"{"progressToken":1,"progress":1}"#),
        Target::Here(Local::Absorb)
    ));
    let body = r#"{"jsonrpc":"2.0","method":"vendor/anything"}"#;
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "vendor/anything")];
    assert!(matches!(local(bench().send(Method::POST, &headers, body)), Local::Absorb));
}

fn question(subject: Subject, session: [u8; 16], backend: &str) -> String {
    let question = Question {
        node: NodeId([1; 8]),
        boot: [2; 8],
        backend: backend.into(),
        session: SessionId(session),
        source: Source::of("b", b""),
        subject,
        raw: Bytes::from_static(b"-0.5"),
    };
    String::from_utf8(question.seal(&bench().keys, SERVER).unwrap().to_vec()).unwrap()
}

#[test]
fn an_answer_goes_back_to_who_asked_under_its_own_id() {
    let id = question(Subject::Id, SESSION, "b");
    let answer = |id: &str| legacy(&bench(), &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
    let (lane, found, body) = target(answer(&id));
    let Target::Asker { question: asked, hop } = found else { panic!("{found:?}") };
    assert_eq!((lane, &*asked.backend, hop.member), (Lane::Forward, "b", 1));
    let whole = crate::rpc::scan::Span { start: 0, end: body.len() as u32 };
    assert_eq!(edited(&body, whole, &hop.edits), r#"{"jsonrpc":"2.0","id":-0.5,"result":{}}"#);
    let token = question(Subject::Token, SESSION, "b");
    let foreign = [question(Subject::Id, [8; 16], "b"), question(Subject::Id, SESSION, "gone"), token.clone()];
    for id in foreign.iter().map(String::as_str).chain(["1", r#""1""#]) {
        assert_eq!(answer(id).refusal().fault, Fault::NotAsked);
    }
    let progress = notify("notifications/progress", &format!(r#"{{"progressToken":{token},"progress":1}}"#));
    assert!(matches!(progress, Target::Asker { hop: Hop { member: 1, .. }, .. }));
    let as_id = notify("notifications/progress", &format!(r#"{{"progressToken":{id},"progress":1}}"#));
    assert!(matches!(as_id, Target::Here(Local::Absorb)), "an id is no token");
}

#[test]
fn a_member_of_a_batch_that_is_refused_takes_no_other_with_it() {
    let bench = bench();
    let ticket = bench.ticket(Revision::V2025_03_26, SESSION);
    let call = |id: u8, name: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}"}}}}"#)
    };
    let body = format!("[{},{},{}]", call(1, "nobody"), call(2, "a__run"), call(3, "b__run"));
    let (lane, exchange) = bench.send(Method::POST, &[("mcp-session-id", &ticket)], &body).lane();
    assert_eq!(lane, Lane::Gather);
    assert!(matches!(exchange.target(0), Target::Refused(refusal) if refusal.fault == Fault::UnknownItem));
    let hop = exchange.target(1).hop().unwrap();
    assert_eq!(edited(&exchange.body, exchange.scan.messages[1].span, &hop.edits), call(2, "run"));
    assert!(matches!(exchange.target(2), Target::Refused(_)));
}

#[test]
fn a_catalog_of_nothing_is_asked_for_once() {
    let policy = policy(Prefixing::Always, &["a", "b"]);
    let mut bench = Bench::federated(policy.clone(), Catalog::merge(&policy, &[]));
    let refusal =
        legacy(&bench, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__run"}}"#).refusal();
    assert_eq!(refusal.fault, Fault::BackendUnreachable, "{}", refusal.message);
    assert!(refusal.message.contains("\"a\""));
    let server = Arc::clone(&bench.server);
    bench.on_ask = Box::new(move |ask| {
        assert!(matches!(ask, Ask::Catalog(_)));
        let filled = merge(&policy, vec![tools(&["run"])]);
        server.federation.as_ref().unwrap().publish(Arc::new(filled));
        Ok(())
    });
    // The ping needs no catalog; the call is routed by what the question brought.
    assert!(matches!(local(legacy(&bench, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)), Local::Ping));
    let call = legacy(&bench, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__run"}}"#);
    assert_eq!(sent(call).0, 0);
}

/// While nothing is known of a backend: what it will have is waited for, under whatever name.
#[test]
fn a_renamed_item_is_its_backends_before_that_is_known() {
    let mut policy = policy(Prefixing::Always, &["a", "b"]);
    let rename = Rename { name: Some("open".into()), description: None };
    policy.members[1].tools.renames.insert("run".into(), rename);
    let known = Offer { inventory: Some(Arc::new(tools(&["other"]))), standing: Standing::Fresh };
    let mut bench = Bench::federated(policy.clone(), Catalog::merge(&policy, &[known]));
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"open"}}"#;
    let refusal = legacy(&bench, call).refusal();
    assert_eq!(refusal.fault, Fault::BackendUnreachable, "{}", refusal.message);
    assert!(refusal.message.contains("\"b\""), "{}", refusal.message);
    // Read, but not part of the catalog yet; no request waits for what was never asked any more.
    let server = Arc::clone(&bench.server);
    server.federation.as_ref().unwrap().has_waited();
    for (backend, tool) in server.backends.iter().zip(["other", "run"]) {
        backend.learn(|facts| facts.inventory = Some(Arc::new(tools(&[tool]))));
    }
    bench.on_ask = Box::new(move |ask| {
        assert!(matches!(ask, Ask::Catalog(_)));
        let filled = merge(&policy, vec![tools(&["other"]), tools(&["run"])]);
        server.federation.as_ref().unwrap().publish(Arc::new(filled));
        Ok(())
    });
    let (member, sent, _) = sent(legacy(&bench, call));
    assert!(member == 1 && sent.contains(r#""name":"run""#), "{sent}");
}

#[test]
fn callers_that_a_backend_tells_apart_are_shown_and_reach_their_own() {
    let token = HeaderName::from_static("x-token");
    let mut policy = policy(Prefixing::Always, &["a", "b"]);
    policy.members[0].identity = Box::new([token]);
    let shared = merge(&policy, vec![tools(&["everybodys"]), tools(&["other"])]);
    let mut bench = Bench::federated(policy.clone(), shared);
    let learn = |bench: &Bench, inventory: Inventory| {
        let inventory = Some(Arc::new(inventory));
        bench.server.backends[0].learn(|facts| facts.inventory = inventory.clone());
    };
    let private = r#"{"tools":[{"name":"everybodys"}],"cacheScope":"private"}"#;
    learn(&bench, inventory(r#"{"capabilities":{"tools":{}}}"#, &[(Kind::Tools, private)]));
    bench.on_ask = Box::new(|ask| {
        let Ask::Own { callers, identity, .. } = ask else { panic!("{ask:?}") };
        assert_eq!(callers.members().len(), 1);
        assert_eq!(format!("{identity:?}{callers:?}").find("alice"), None, "nothing shows who calls");
        Ok(())
    });
    // What answers puts the catalog into the exchange.
    let own = merge(&policy, vec![tools(&["hers"]), tools(&["other"])]);
    bench.on_own = Some(Arc::new(own));
    let call = |name: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#);
    let ticket = bench.ticket(Revision::V2025_11_25, SESSION);
    let send = |bench: &Bench, fields: &[(&str, &str)], name: &str| {
        let session = [("mcp-session-id", ticket.as_str())];
        bench.send(Method::POST, &[&session[..], fields].concat(), &call(name))
    };
    let alice = [("x-token", "alice")];
    assert_eq!(send(&bench, &alice, "a__everybodys").refusal().fault, Fault::UnknownItem);
    let (_, exchange) = send(&bench, &alice, "a__hers").lane();
    assert!(exchange.catalog.as_ref().is_some_and(|catalog| catalog.tool("a__hers").is_some()));
    assert_ne!(exchange.audience(), None);
    let (_, exchange) = send(&bench, &[], "a__everybodys").lane();
    assert_eq!(exchange.audience(), None, "who says nothing is everybody");
    assert_eq!(send(&bench, &[], "a__hers").refusal().fault, Fault::UnknownItem);
    let hidden = [("x-token", "alice"), ("connection", "x-token")];
    assert_eq!(send(&bench, &hidden, "a__hers").refusal().fault, Fault::UnknownItem, "it does not go upstream");
    // In a batch, too, whatever stands between.
    let batch = format!(
        r#"[{{"jsonrpc":"2.0","id":1,"method":"ping"}},{},{{"jsonrpc":"2.0","id":2,"method":"ping"}},{}]"#,
        call("a__hers"),
        call("a__everybodys").replace(r#""id":1"#, r#""id":3"#),
    )
    .replacen(r#""id":1,"method":"ping""#, r#""id":0,"method":"ping""#, 1);
    let ticket = bench.ticket(Revision::V2025_03_26, SESSION);
    let headers = [("mcp-session-id", ticket.as_str()), ("x-token", "alice")];
    let (_, exchange) = bench.send(Method::POST, &headers, &batch).lane();
    assert!(exchange.target(1).hop().is_some());
    assert!(matches!(exchange.target(3), Target::Refused(refusal) if refusal.fault == Fault::UnknownItem));
    // Nobody ever gets what is not for them, whatever happens.
    bench.on_own = None;
    assert_eq!(send(&bench, &alice, "a__everybodys").refusal().fault, Fault::Internal);
    // A list for everybody is for them, too.
    learn(&bench, tools(&["everybodys"]));
    assert_eq!(send(&bench, &alice, "a__everybodys").lane().1.audience(), None);
    let [alice, bob] = ["alice", "bob"].map(audience);
    assert!(alice != bob && alice == audience("alice"));
}

#[test]
fn what_nobody_else_could_be_meant_by_waits_for_no_private_list() {
    let ask = |prefixing: Prefixing, rename: Option<&str>, method: &str, params: &str| {
        let mut policy = policy(prefixing, &["a", "b", "a-c"]);
        policy.members[0].identity = Box::new([HeaderName::from_static("x-token")]);
        if let Some(name) = rename {
            let rename = crate::federate::policy::Rename { name: Some(name.into()), description: None };
            policy.members[0].tools.renames.insert("x".into(), rename);
        }
        policy.separator = "-".into();
        let resources = inventory(
            r#"{"capabilities":{"tools":{},"resources":{}}}"#,
            &[
                (Kind::Tools, r#"{"tools":[{"name":"run"}]}"#),
                (Kind::Resources, r#"{"resources":[{"uri":"note:1","name":"n"},{"uri":"https://x/1","name":"w"}]}"#),
            ],
        );
        let shared = merge(&policy, vec![tools(&["everybodys"]), resources, tools(&["run"])]);
        let mut bench = Bench::federated(policy, shared);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        bench.on_ask = Box::new(move |ask| {
            counted.fetch_add(usize::from(matches!(ask, Ask::Own { .. })), Ordering::Relaxed);
            Ok(())
        });
        bench.on_own = Some(bench.server.federation.as_ref().unwrap().pinned());
        for backend in &bench.server.backends[1..] {
            backend.learn(|facts| facts.inventory = Some(Arc::new(tools(&["run"]))));
        }
        let ticket = bench.ticket(Revision::V2025_11_25, SESSION);
        let headers = [("mcp-session-id", ticket.as_str()), ("x-token", "alice")];
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let outcome = bench.send(Method::POST, &headers, &body);
        (asked.load(Ordering::Relaxed), matches!(outcome, Outcome::Lane(..)))
    };
    let always = |method, params| ask(Prefixing::Always, None, method, params);
    assert_eq!(always("tools/call", r#"{"name":"b-run"}"#), (0, true));
    assert_eq!(always("resources/read", r#"{"uri":"b+note:1"}"#), (0, true));
    assert_eq!(always("resources/read", r#"{"uri":"https://x/1"}"#), (1, true), "anybody may list it");
    assert_eq!(always("tools/call", r#"{"name":"a-everybodys"}"#), (1, true), "its owner tells callers apart");
    assert_eq!(always("tools/call", r#"{"name":"a-c-run"}"#), (1, true), "it may be c-run of a");
    assert_eq!(always("tools/call", r#"{"name":"b-unknown"}"#), (1, false));
    assert_eq!(always("tools/list", "{}").0, 1);
    assert_eq!(ask(Prefixing::Always, Some("b-run"), "tools/call", r#"{"name":"b-run"}"#), (1, true));
    assert_eq!(ask(Prefixing::Never, None, "tools/call", r#"{"name":"run"}"#), (1, true));
}

#[test]
fn what_a_crowded_backend_may_have_is_not_said_to_be_unknown() {
    let call = |prefixing: Prefixing, name: &str| {
        let mut policy = policy(prefixing, &["a", "b"]);
        policy.members[0].identity = Box::new([HeaderName::from_static("x-token")]);
        let offers =
            [Offer::default(), Offer { inventory: Some(Arc::new(tools(&["run"]))), standing: Standing::Fresh }];
        let mut bench = Bench::federated(policy.clone(), Catalog::default());
        bench.on_own = Some(Arc::new(Catalog::merge(&policy, &offers)));
        bench.crowded = true;
        let ticket = bench.ticket(Revision::V2025_11_25, SESSION);
        let headers = [("mcp-session-id", ticket.as_str()), ("x-token", "alice")];
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#);
        match bench.send(Method::POST, &headers, &body) {
            Outcome::Refused(refusal) => Some(refusal.fault),
            _ => None,
        }
    };
    assert_eq!(call(Prefixing::Always, "b__run"), None);
    assert_eq!(call(Prefixing::Always, "a__run"), Some(Fault::Overloaded));
    assert_eq!(call(Prefixing::Always, "b__unknown"), Some(Fault::UnknownItem));
    assert_eq!(call(Prefixing::Never, "hers"), Some(Fault::Overloaded));
}

#[test]
fn only_what_another_member_could_change_waits_for_it_and_only_once() {
    let policy = policy(Prefixing::Always, &["a", "b"]);
    let known = Some(Arc::new(tools(&["run"])));
    let offers = [Offer { inventory: known.clone(), standing: Standing::Fresh }, Offer::default()];
    let mut bench = Bench::federated(policy.clone(), Catalog::merge(&policy, &offers));
    bench.server.backends[0].learn(|facts| facts.inventory = known.clone());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    bench.on_ask = Box::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    let call = |name: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#);
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let asks = |bench: &Bench, body: &str| {
        let before = asked.load(Ordering::Relaxed);
        let _ = legacy(bench, body);
        asked.load(Ordering::Relaxed) - before
    };
    assert_eq!(asks(&bench, &call("a__run")), 0, "it is in the table");
    for body in [&call("b__run"), list] {
        assert_eq!(asks(&bench, body), 1, "{body}");
    }
    bench.server.federation.as_ref().unwrap().has_waited();
    for body in [&call("b__run"), list] {
        assert_eq!(asks(&bench, body), 0, "{body}: somebody has waited");
    }
    bench.server.backends[1].learn(|facts| {
        facts.lost = Some(crate::backend::Lost { since: crate::exchange::UnixMillis(0), why: "gone".into() });
    });
    assert_eq!(asks(&bench, list), 1, "it may be back");
}

#[test]
fn mirrored_arguments_are_those_of_the_owners_tool() {
    let bench = bench();
    let list = r#"{"tools":[{"name":"run","inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"Region"}}}}]}"#;
    let mut tools = ToolParams::default();
    tools.read(list.as_bytes()).unwrap();
    bench.server.backends[0].learn(|facts| facts.tools = Some(Arc::new(tools.clone())));
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{meta},"name":"a__run","arguments":{{"r":"eu"}}}}}}"#
    );
    let send = |region: &str| {
        let headers = [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", "a__run"),
            ("mcp-param-region", region),
        ];
        bench.send(Method::POST, &headers, &body)
    };
    assert_eq!(send("eu").lane().0, Lane::Forward);
    assert_eq!(send("us").refusal().fault, Fault::HeaderMismatch);
}

#[test]
fn a_server_that_is_not_federated_passes_everything() {
    let bench = Bench::new(crate::backend::Speaks::Yes, crate::backend::Speaks::Yes);
    let (_, exchange) = legacy(&bench, r#"{"jsonrpc":"2.0","id":1,"method":"vendor/x","params":{}}"#).lane();
    assert!(exchange.targets.is_empty() && exchange.catalog.is_none());
    assert_eq!(exchange.target(0).hop().unwrap().member, 0);
}
