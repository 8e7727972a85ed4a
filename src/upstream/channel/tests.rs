//! A channel against a peer that is a list of what was written to it.

use super::*;
use crate::upstream::response::Form;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

struct Wire(mpsc::UnboundedSender<Bytes>);

#[async_trait]
impl Outlet for Wire {
    async fn write(&self, message: Bytes, _: &Outbound) -> Result<(), AttemptFault> {
        self.0.send(message).map_err(|_| AttemptFault::not_run(FaultKind::Closed))
    }

    fn post(&self, message: Bytes) {
        let _ = self.0.send(message);
    }
}

struct Peer {
    channel: Arc<Channel>,
    got: mpsc::UnboundedReceiver<Bytes>,
    counters: Arc<Counters>,
}

impl Peer {
    fn asking(asks: Asks, limits: ChannelLimits) -> Peer {
        let (sender, got) = mpsc::unbounded_channel();
        let counters = Arc::<Counters>::default();
        let channel =
            Channel::new("demo".into(), Box::new(Wire(sender)), limits, asks, counters.clone(), Announcer::default());
        Peer { channel, got, counters }
    }

    fn new() -> Peer {
        Peer::asking(Asks::Clients, ChannelLimits::default())
    }

    /// The next message that was written.
    async fn got(&mut self) -> Json {
        let line = self.got.recv().await.expect("a message");
        assert!(!line.contains(&b'\n'));
        serde_json::from_slice(&line).expect("JSON")
    }

    /// What was written until now that nobody has looked at.
    fn rest(&mut self) -> Vec<Json> {
        std::iter::from_fn(|| self.got.try_recv().ok())
            .map(|line| serde_json::from_slice(&line).expect("JSON"))
            .collect()
    }

    async fn says(&self, message: Json) {
        assert!(self.channel.hear(&message.to_string().into()).await);
    }

    fn ask(&self, session: Option<SessionKey>, message: Json) -> tokio::task::JoinHandle<Asked> {
        let channel = self.channel.clone();
        tokio::spawn(async move {
            let body = Bytes::from(message.to_string());
            let message = scanned(&body).expect("a message");
            let spoken = Spoken { session, body: &body, message: &message, fields: &Outbound::new() };
            channel.ask(spoken, &Timeouts::default()).await
        })
    }

    async fn tell(&self, session: Option<SessionKey>, message: Json) {
        let body = Bytes::from(message.to_string());
        let message = scanned(&body).expect("a message");
        let spoken = Spoken { session, body: &body, message: &message, fields: &Outbound::new() };
        self.channel.tell(spoken, &Timeouts::default()).await.expect("told");
    }
}

type Asked = Result<UpstreamResponse, AttemptFault>;

fn request(id: Json, method: &str, params: Json) -> Json {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn notification(method: &str, params: Json) -> Json {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

fn result(id: &Json, result: Json) -> Json {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

async fn body(response: &mut UpstreamResponse) -> Json {
    serde_json::from_slice(&response.collect(1 << 20).await.expect("a body")).expect("JSON")
}

async fn event(response: &mut UpstreamResponse) -> Json {
    let chunk = response.chunk().await.expect("no fault").expect("an event");
    let text = std::str::from_utf8(&chunk).expect("text");
    serde_json::from_str(text.strip_prefix("data: ").expect("data").trim_end()).expect("JSON")
}

async fn answer(asked: tokio::task::JoinHandle<Asked>) -> UpstreamResponse {
    asked.await.expect("no panic").expect("an answer")
}

#[tokio::test]
async fn equal_ids_of_two_sessions_do_not_meet() {
    let mut peer = Peer::new();
    let sessions = [peer.channel.open_session().unwrap(), peer.channel.open_session().unwrap()];
    let mut asked = Vec::new();
    for (session, id) in [(0, json!(0)), (1, json!(0)), (0, json!("0")), (1, json!(-1))] {
        asked.push((id.clone(), peer.ask(Some(sessions[session]), request(id, "tools/call", json!({"name": "x"})))));
        tokio::task::yield_now().await;
    }
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(peer.got().await["id"].clone());
    }
    for (number, id) in got.iter().enumerate().rev() {
        peer.says(result(id, json!({"number": number}))).await;
    }
    for (number, (id, asked)) in asked.into_iter().enumerate() {
        let mut response = answer(asked).await;
        assert_eq!((response.status.as_u16(), response.form()), (200, Form::Json));
        assert_eq!(body(&mut response).await, result(&id, json!({"number": number})));
    }
    peer.says(result(&got[0], json!({}))).await;
    peer.says(result(&json!(999), json!({}))).await;
    peer.says(result(&json!("1"), json!({}))).await;
    assert_eq!(peer.counters.dropped(), 3, "answered twice, never asked, no number");
}

#[tokio::test]
async fn progress_makes_a_stream_and_keeps_its_token() {
    let mut peer = Peer::new();
    let one = peer.ask(None, request(json!(7), "tools/call", json!({"_meta": {"progressToken": "7"}})));
    let first = peer.got().await;
    let other = peer.ask(None, request(json!(7), "tools/call", json!({"_meta": {"progressToken": 0}})));
    let second = peer.got().await;
    assert_ne!(first["params"]["_meta"]["progressToken"], second["params"]["_meta"]["progressToken"]);
    let progress =
        |token: &Json| notification("notifications/progress", json!({"progressToken": token, "progress": 1}));
    peer.says(progress(&second["params"]["_meta"]["progressToken"])).await;
    peer.says(progress(&first["params"]["_meta"]["progressToken"])).await;
    peer.says(progress(&json!("7"))).await;
    peer.says(result(&second["id"], json!({"b": 1}))).await;
    peer.says(result(&first["id"], json!({"a": 1}))).await;
    let (mut one, mut other) = (answer(one).await, answer(other).await);
    assert_eq!((one.form(), other.form()), (Form::EventStream, Form::EventStream));
    assert_eq!(event(&mut one).await["params"]["progressToken"], "7");
    assert_eq!(event(&mut one).await, result(&json!(7), json!({"a": 1})));
    assert!(one.chunk().await.expect("no fault").is_none() && one.is_complete());
    assert_eq!(event(&mut other).await["params"]["progressToken"], 0);
    assert_eq!(peer.counters.dropped(), 1, "a foreign token");
    drop((one, other));
    assert!(peer.rest().is_empty(), "nothing to cancel");
}

#[tokio::test]
async fn who_leaves_cancels_and_who_cancels_is_mapped() {
    let mut peer = Peer::new();
    let session = peer.channel.open_session().unwrap();
    let leaving = peer.ask(None, request(json!("a"), "tools/call", json!({})));
    let number = peer.got().await["id"].clone();
    leaving.abort();
    let cancelled = peer.got().await;
    assert_eq!((&cancelled["method"], &cancelled["params"]["requestId"]), (&json!("notifications/cancelled"), &number));
    peer.says(result(&number, json!({}))).await;
    assert_eq!(peer.counters.dropped(), 1, "too late");

    let asked = peer.ask(Some(session), request(json!(1), "tools/call", json!({})));
    let number = peer.got().await["id"].clone();
    peer.tell(Some(session), notification("notifications/cancelled", json!({"requestId": 2}))).await;
    peer.tell(None, notification("notifications/cancelled", json!({"requestId": 1}))).await;
    peer.tell(Some(session), notification("notifications/cancelled", json!({"requestId": 1, "reason": "r"}))).await;
    assert_eq!(peer.rest(), [notification("notifications/cancelled", json!({"requestId": number, "reason": "r"}))]);
    peer.says(result(&number, json!({}))).await;
    answer(asked).await;

    let opening = peer.ask(Some(session), request(json!(1), "initialize", json!({})));
    peer.got().await;
    opening.abort();
    let _ = opening.await;
    assert!(peer.rest().is_empty(), "initialize is never cancelled");
}

#[tokio::test]
async fn questions_go_to_one_client_and_only_that_one_answers() {
    let mut peer = Peer::new();
    let session = peer.channel.open_session().unwrap();
    let asked = peer.ask(Some(session), request(json!(1), "tools/call", json!({})));
    let number = peer.got().await["id"].clone();
    let question = request(json!("q"), "sampling/createMessage", json!({}));
    peer.says(question.clone()).await;
    let mut response = answer(asked).await;
    assert_eq!(event(&mut response).await, question);
    assert_eq!(peer.counters.questions(), 1);
    let other = peer.channel.open_session().unwrap();
    peer.tell(Some(other), result(&json!("q"), json!({"from": "other"}))).await;
    peer.tell(Some(session), result(&json!("x"), json!({}))).await;
    peer.tell(Some(session), result(&json!("q"), json!({"from": "asked"}))).await;
    peer.tell(Some(session), result(&json!("q"), json!({"from": "again"}))).await;
    assert_eq!(peer.rest(), [result(&json!("q"), json!({"from": "asked"}))]);
    assert_eq!(peer.counters.questions(), 0);
    peer.says(result(&number, json!({}))).await;
    event(&mut response).await;

    // Two sessions, and nothing that says which is meant.
    peer.says(request(json!(5), "roots/list", json!({}))).await;
    let refused = peer.got().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(5), &json!(-32603)));
    assert_eq!(peer.counters.refused(), 1);
    peer.says(request(json!(6), "ping", json!({}))).await;
    assert_eq!(peer.got().await, result(&json!(6), json!({})));

    // What a session was asked that ends is refused.
    peer.channel.close_session(other);
    peer.says(request(json!(8), "roots/list", json!({}))).await;
    assert_eq!(peer.counters.questions(), 1);
    peer.channel.close_session(session);
    assert_eq!(peer.got().await["id"], 8);
    assert_eq!(peer.counters.questions(), 0);
    // What was asked ends with the connection.
    peer.channel.open_session().unwrap();
    peer.says(request(json!(9), "roots/list", json!({}))).await;
    assert_eq!(peer.counters.questions(), 1);
    peer.channel.end(AttemptFault::new(FaultKind::Closed));
    assert_eq!(peer.counters.questions(), 0);
}

#[tokio::test]
async fn who_was_offered_nothing_is_refused_everything() {
    let mut peer = Peer::asking(Asks::Nobody, ChannelLimits::default());
    peer.channel.open_session().unwrap();
    peer.says(request(json!(1), "elicitation/create", json!({}))).await;
    assert_eq!(peer.got().await["error"]["code"], -32601);
}

#[tokio::test]
async fn a_session_hears_on_its_own_stream_what_belongs_to_no_request() {
    let peer = Peer::new();
    let session = peer.channel.open_session().unwrap();
    let changed = notification("notifications/tools/list_changed", json!({}));
    peer.says(changed.clone()).await;
    peer.says(changed.clone()).await;
    peer.says(notification("notifications/message", json!({"data": 1}))).await;
    let mut stream = peer.channel.hold(session, &Timeouts::default()).expect("a stream");
    assert_eq!(event(&mut stream).await, changed);
    assert_eq!(event(&mut stream).await["params"]["data"], 1, "told once of one change");
    peer.says(notification("notifications/message", json!({"data": 2}))).await;
    drop(stream);
    let mut stream = peer.channel.hold(session, &Timeouts::default()).expect("a stream");
    assert_eq!(event(&mut stream).await["params"]["data"], 2, "what nobody has read waits");
    let mut next = peer.channel.hold(session, &Timeouts::default()).expect("a stream");
    assert!(stream.chunk().await.expect("no fault").is_none(), "another has taken its place");
    peer.channel.close_session(session);
    assert!(next.chunk().await.expect("no fault").is_none());
    assert!(peer.channel.hold(session, &Timeouts::default()).is_err());
}

#[tokio::test]
async fn what_waits_for_a_session_is_bounded() {
    let mut peer = Peer::asking(Asks::Clients, ChannelLimits { waiting: 2, ..ChannelLimits::default() });
    peer.channel.open_session().unwrap();
    for number in 0..4 {
        peer.says(notification("notifications/message", json!({"data": number}))).await;
    }
    assert_eq!(peer.counters.dropped(), 2);
    peer.says(request(json!(1), "roots/list", json!({}))).await;
    assert_eq!(peer.got().await["id"], 1, "refused");
}

#[tokio::test]
async fn updates_go_to_those_who_subscribed() {
    let peer = Peer::new();
    let [one, two] = [peer.channel.open_session().unwrap(), peer.channel.open_session().unwrap()];
    let told = |session, method: &str| {
        let body = Bytes::from(request(json!(1), method, json!({"uri": "a:b"})).to_string());
        let message = scanned(&body).expect("a message");
        let spoken = Spoken { session: Some(session), body: &body, message: &message, fields: &Outbound::new() };
        peer.channel.must_tell_subscription(spoken)
    };
    assert!(told(one, "resources/subscribe") && told(two, "resources/subscribe"));
    assert!(!told(one, "resources/unsubscribe"), "the other still listens");
    let mut streams = [one, two].map(|session| peer.channel.hold(session, &Timeouts::default()).expect("a stream"));
    let updated = notification("notifications/resources/updated", json!({"uri": "a:b"}));
    peer.says(updated.clone()).await;
    let changed = notification("notifications/resources/list_changed", json!({}));
    peer.says(changed.clone()).await;
    assert_eq!(event(&mut streams[0]).await, changed);
    assert_eq!(event(&mut streams[1]).await, updated);
    assert!(told(two, "resources/unsubscribe"));
    peer.says(updated).await;
    peer.says(notification("notifications/message", json!({"data": "whose?"}))).await;
    assert_eq!(peer.counters.dropped(), 2);
}

#[tokio::test]
async fn subscriptions_are_named_by_the_clients_id() {
    let mut peer = Peer::new();
    let asked = peer.ask(None, request(json!("l"), "subscriptions/listen", json!({"notifications": {}})));
    let number = peer.got().await["id"].clone();
    let meta = |id: &Json| json!({"_meta": {"io.modelcontextprotocol/subscriptionId": id}});
    peer.says(notification("notifications/subscriptions/acknowledged", meta(&number))).await;
    peer.says(notification("notifications/tools/list_changed", meta(&json!(77)))).await;
    let mut response = answer(asked).await;
    assert_eq!(event(&mut response).await["params"], meta(&json!("l")));
    peer.says(result(&number, meta(&number))).await;
    assert_eq!(event(&mut response).await["result"], meta(&json!("l")));

    let torn = peer.ask(None, request(json!("l"), "subscriptions/listen", json!({"notifications": {}})));
    let number = peer.got().await["id"].clone();
    peer.says(notification("notifications/subscriptions/acknowledged", meta(&number))).await;
    peer.says(notification("notifications/cancelled", json!({"requestId": number}))).await;
    let mut torn = answer(torn).await;
    event(&mut torn).await;
    assert!(torn.chunk().await.expect("no fault").is_none());
}

#[tokio::test]
async fn logs_of_the_modern_era_go_to_who_asked_for_them() {
    let mut peer = Peer::new();
    let logs = json!({"_meta": {"io.modelcontextprotocol/logLevel": "info"}});
    let asked = peer.ask(None, request(json!(1), "tools/call", logs.clone()));
    let number = peer.got().await["id"].clone();
    peer.says(notification("notifications/message", json!({"data": 1}))).await;
    peer.says(result(&number, json!({}))).await;
    assert_eq!(event(&mut answer(asked).await).await["params"]["data"], 1);
    let silent = peer.ask(None, request(json!(1), "tools/call", json!({})));
    let number = peer.got().await["id"].clone();
    peer.says(notification("notifications/message", json!({"data": 1}))).await;
    peer.says(result(&number, json!({}))).await;
    assert_eq!(answer(silent).await.form(), Form::Json);
    assert_eq!(peer.counters.dropped(), 1);
}

#[tokio::test]
async fn errors_of_the_modern_era_have_a_status() {
    let mut peer = Peer::new();
    for (code, status) in [(-32601, 404), (-32602, 200), (-32020, 400), (-32022, 400)] {
        let asked = peer.ask(None, request(json!(1), "x", json!({})));
        let number = peer.got().await["id"].clone();
        peer.says(json!({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": ""}})).await;
        assert_eq!(answer(asked).await.status.as_u16(), status, "{code}");
    }
    let asked = peer.ask(None, request(json!("n"), "x", json!({})));
    peer.got().await;
    peer.says(json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": ""}})).await;
    assert_eq!(body(&mut answer(asked).await).await["id"], "n", "it can only be about the one that waits");
}

#[tokio::test]
async fn a_batch_is_heard_one_by_one_and_nonsense_is_counted() {
    let mut peer = Peer::new();
    let asked = peer.ask(None, request(json!(1), "x", json!({})));
    let number = peer.got().await["id"].clone();
    peer.says(json!([request(json!(3), "ping", json!({})), result(&number, json!({}))])).await;
    answer(asked).await;
    assert_eq!(peer.got().await["id"], 3);
    for nonsense in
        [&b"listening on stdio"[..], b"\xff\xfe", b"{\"jsonrpc\":\"2.0\"}", b"[]", b"[1]", b"{\"id\":1,\"id\":2}"]
    {
        assert!(!peer.channel.hear(&Bytes::copy_from_slice(nonsense)).await);
    }
    assert_eq!(peer.counters.dropped(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_cut_and_holds_up_nobody_for_long() {
    let mut peer = Peer::asking(Asks::Clients, ChannelLimits { queue: 200, ..ChannelLimits::default() });
    let meta = json!({"_meta": {"progressToken": 1}});
    let slow = peer.ask(None, request(json!(1), "tools/call", meta.clone()));
    let number = peer.got().await["id"].clone();
    for _ in 0..8 {
        peer.says(notification("notifications/progress", json!({"progressToken": number, "x": "y".repeat(100)}))).await;
    }
    let mut slow = answer(slow).await;
    let cancelled = peer.got().await;
    assert_eq!(cancelled["params"]["requestId"], number);
    event(&mut slow).await;
    let fault = loop {
        match slow.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was not finished"),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.kind, FaultKind::TooLong);
}

#[tokio::test]
async fn the_end_of_the_peer_ends_everything() {
    let mut peer = Peer::asking(Asks::Clients, ChannelLimits { in_flight: 1, ..ChannelLimits::default() });
    let session = peer.channel.open_session().unwrap();
    let asked = peer.ask(Some(session), request(json!(1), "x", json!({})));
    peer.got().await;
    let busy = peer.ask(Some(session), request(json!(2), "x", json!({}))).await.expect("no panic");
    assert_eq!(busy.expect_err("one at a time").kind, FaultKind::Busy);
    let mut stream = peer.channel.hold(session, &Timeouts::default()).expect("a stream");
    peer.channel.end(AttemptFault::new(FaultKind::Closed).saying("its process ended (exit status: 1)"));
    let fault = asked.await.expect("no panic").expect_err("gone");
    assert!(!fault.provably_not_run && fault.to_string().contains("exit status: 1"));
    assert!(stream.chunk().await.expect("no fault").is_none());
    let fault = peer.ask(Some(session), request(json!(1), "x", json!({}))).await.expect("no panic").expect_err("gone");
    assert!(fault.provably_not_run);
}
