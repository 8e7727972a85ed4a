//! Virtual servers over several backends: names, routes, eras.

use super::*;
use crate::config::model::VirtualServer;
use crate::config::sections::{FailurePolicy, PrefixPolicy, ProtocolRevision};

/// Backends `a`, `b` and a long one, with these settings beside their endpoints, and these virtual servers.
fn text(a: &str, b: &str, servers: &str) -> String {
    format!(
        "listeners: {{ main: {{ address: 127.0.0.1:8080 }}, side: {{ address: 127.0.0.1:8081 }} }}
backends:
  a: {{ endpoints: [{{ url: http://a/mcp }}], {a} }}
  b: {{ endpoints: [{{ url: http://b/mcp }}], {b} }}
  a-very-long-name-of-a-backend: {{ endpoints: [{{ url: http://c/mcp }}] }}
virtual_servers:
{servers}
  rest: {{ backends: [a-very-long-name-of-a-backend] }}
"
    )
}

fn errors(a: &str, b: &str, servers: &str, expected: &[&str]) {
    let text = text(a, b, servers);
    let errors = errors_of(&text);
    assert_eq!(errors.len(), expected.len(), "{text}\n{errors:#?}");
    for (error, part) in errors.iter().zip(expected) {
        assert!(error.contains(part), "{text}\nexpected {part:?} in {error:?}");
    }
}

fn config(servers: &str) -> Config {
    load_alone(&text("", "", servers)).unwrap_or_else(|report| panic!("{report}")).config
}

fn routes(server: &VirtualServer, name: &str) -> Vec<String> {
    let name = name.parse().unwrap();
    server.routes(&name).iter().map(|(path, route)| format!("{path} {route:?}")).collect()
}

#[test]
fn the_defaults_are_those_that_are_documented() {
    let config = config("  one: { backends: [a] }\n  all: { path: /mcp, backends: [a, b] }");
    let (one, all) = (&config.virtual_servers["one"], &config.virtual_servers["all"]);
    assert_eq!((one.prefix, all.prefix), (PrefixPolicy::Never, PrefixPolicy::Always));
    assert_eq!((one.path.as_str(), all.path.as_str()), ("/servers/one/mcp", "/mcp"));
    assert_eq!(
        (all.separator.as_str(), all.failure, all.grace.to_string()),
        ("__", FailurePolicy::Partial, "1m".into())
    );
    assert_eq!((all.page_size, all.direct_views, all.sse), (1_000, false, false));
    assert!(all.instructions.is_none() && all.revisions.is_empty() && all.listeners.len() == 2);
    assert!(config.is_direct(one) && !config.is_direct(all));
    assert_eq!(config.backends["a"].on_session_loss, sections::SessionLoss::Heal);
    let rest = &config.virtual_servers["rest"];
    assert_eq!(config.prefix_of(&rest.backends[0]).as_str().len(), 16);
    assert!(config.prefix_of(&rest.backends[0]).as_str().starts_with("a-very-lo-"));
}

#[test]
fn whatever_changes_what_is_shown_makes_a_server_more_than_a_passage() {
    let is_direct = |server: &str| {
        let config = config(&format!("  x: {{ {server} }}"));
        config.is_direct(&config.virtual_servers["x"])
    };
    for direct in [
        "backends: [a]",
        "backends: [{ backend: a }]",
        "backends: [a], prefix: never, sse: true, revisions: [2025-11-25]",
    ] {
        assert!(is_direct(direct), "{direct}");
    }
    for federated in [
        "backends: [a, b]",
        "backends: [a], prefix: always",
        "backends: [a], prefix: on-conflict",
        "backends: [a], instructions: x",
        "backends: [{ backend: a, tools: { allow: [x] } }]",
        "backends: [{ backend: a, prompts: { rename: { x: y } } }]",
        "backends: [{ backend: a, resources: { deny: [x] } }]",
    ] {
        assert!(!is_direct(federated), "{federated}");
    }
    let direct = |backend: &str| {
        let text = RIGHT.replace("endpoints: [{ url: http://127.0.0.1:9000/mcp }]", backend);
        let config = load_alone(&text).unwrap().config;
        config.is_direct(&config.virtual_servers["default"])
    };
    assert!(direct("endpoints: [{ url: http://x/mcp }]"));
    assert!(!direct("endpoints: [{ url: http://x/sse }], protocol: sse"));
    assert!(!direct("command: { run: [cat] }"));
}

#[test]
fn members_are_names_or_maps() {
    let server = "  x:
    backends:
      - a
      - backend: b
        prefix: other
        tools:
          allow: ['read_*']
          deny: ['*_all']
          rename: { read_file: open, list: { description: Lists. }, find.all: { name: find, description: Finds. } }
        prompts: { deny: ['*'] }
        resources: { allow: ['file:///data/**'] }";
    let loaded = load_alone(&text("", "", server)).unwrap_or_else(|report| panic!("{report}"));
    let [a, b] = loaded.config.virtual_servers["x"].backends.as_slice() else { panic!() };
    assert!(a.takes_all() && a.prefix.is_none());
    assert_eq!((loaded.config.prefix_of(a).as_str(), loaded.config.prefix_of(b).as_str()), ("a", "other"));
    let rename = &b.tools.rename;
    assert_eq!(rename["read_file"].name.as_ref().map(values::ItemName::as_str), Some("open"));
    assert_eq!((rename["list"].name.is_none(), rename["list"].description.as_deref()), (true, Some("Lists.")));
    assert_eq!(rename["find.all"].description.as_deref(), Some("Finds."));
    let shown = loaded.effective.to_yaml();
    assert!(shown.contains("    - a\n") && shown.contains("read_file: open\n"), "{shown}");
    let again = load_alone(&shown).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(again.effective, loaded.effective);
    assert_eq!(again.config.virtual_servers, loaded.config.virtual_servers);
}

#[test]
fn mistakes_in_members_are_shown_at_their_place() {
    errors(
        "",
        "",
        "  x: { backends: [a, { backend: c }, 3] }",
        &["backends[1]: there is no backend `c`", "[2]: expected the name"],
    );
    errors("", "", "  x: { backends: [a, { prefix: b }] }", &["backends[1]: `backend` is missing here"]);
    errors(
        "",
        "",
        "  x: { backends: [{ backend: a, tool: {} }] }",
        &["backends[0].tool: this key is not known here (did you mean `tools`?)"],
    );
    errors(
        "",
        "",
        "  x: { backends: [{ backend: a, resources: { rename: {} } }] }",
        &["resources.rename: this key is not known here"],
    );
    errors("", "", "  x: { backends: [a, b, { backend: a }] }", &["backends[2]: this backend stands here twice"]);
    errors(
        "",
        "",
        "  x: { backends: [{ backend: a, tools: { allow: [''] } }] }",
        &["tools.allow[0]: a pattern has 1 to"],
    );
    let rename = |rename: &str| format!("  x: {{ backends: [{{ backend: a, tools: {{ rename: {rename} }} }}] }}");
    errors("", "", &rename("{ y: a.b }"), &["tools.rename.y: clients take names of 1 to 64 characters"]);
    errors("", "", &rename("{ y: { name: '' } }"), &["tools.rename.y.name: clients take names"]);
    errors("", "", &rename("{ y: {} }"), &["tools.rename.y: give it a `name`, a `description`, or both"]);
    errors("", "", &rename("{ '': z }"), &["this is no item's name"]);
    errors(
        "",
        "",
        &rename(&format!("{{ y: {{ description: {} }} }}", "x".repeat(17 << 10))),
        &["a description has at most 16 KiB"],
    );
    let many: Vec<String> = (0..300).map(|number| format!("x{number}")).collect();
    errors(
        "",
        "",
        &format!("  x: {{ backends: [{}] }}", many.join(", ")),
        &["a virtual server has at most 256 backends"],
    );
    let long = "x".repeat(17 << 10);
    errors(
        "",
        "",
        &format!("  x: {{ backends: [a, b], instructions: {long} }}"),
        &["instructions have at most 16 KiB"],
    );
    errors("", "", "  x: { backends: [a, b], separator: '.' }", &["x.separator: a separator has 1 to 4"]);
    errors(
        "",
        "",
        "  x: { backends: [a, b], prefix: sometimes }",
        &["expected one of `always`, `on-conflict`, `never`"],
    );
    errors(
        "",
        "",
        "  x: { backends: [a, b], page_size: 0, grace: 2d }",
        &["page_size: this must be", "grace: this must be"],
    );
}

#[test]
fn an_unknown_backend_from_the_environment_is_not_repeated() {
    let sources = FakeSources::default().with_env("B", "hidden-name");
    let text = text("", "", "  x: { backends: [{ backend: '${env:B}', prefix: p }, a] }");
    let report = load_with(&text, &sources).unwrap_err();
    assert!(report.to_string().contains("there is no backend this value"), "{report}");
    assert!(!report.to_string().contains("hidden-name"), "{report}");
}

#[test]
fn prefixes_tell_backends_apart() {
    let same = "backends `a` and `b` have the same prefix here";
    errors("prefix: p", "prefix: p", "  x: { backends: [a, b] }", &[same]);
    errors("prefix: p", "prefix: p", "  x: { backends: [a, b], prefix: on-conflict }", &[same]);
    errors("prefix: p", "prefix: p", "  x: { backends: [a, { backend: b, prefix: q }] }", &[]);
    errors("prefix: p", "prefix: p", "  x: { backends: [a, b], prefix: never }", &[]);
    errors(
        "",
        "",
        "  x: { backends: [a, { backend: b, prefix: a }] }",
        &["x.backends[1].prefix: backends `a` and `b`"],
    );
    errors("prefix: P", "", "  x: { backends: [a, b] }", &["backends.a.prefix: a prefix has 1 to 16 characters"]);
    let unused = load_alone(&text("", "", "  x: { backends: [{ backend: a, prefix: q }, b], prefix: never }")).unwrap();
    assert!(findings(&unused.warnings)[0].contains("backends[0].prefix: this prefix is not used"));
}

#[test]
fn two_items_are_not_given_one_name() {
    let server = |a: &str, b: &str| format!("  x: {{ backends: [{{ backend: a, {a} }}, {{ backend: b, {b} }}] }}");
    let clash = server("tools: { rename: { read: open } }", "tools: { rename: { get: { name: open } } }");
    errors(
        "",
        "",
        &clash,
        &["backends[1].tools.rename.get: `get` of backend `b` and `read` of backend `a` cannot both be called `open`"],
    );
    errors(
        "",
        "",
        &server("tools: { rename: { read: open, get: open } }", ""),
        &["`get` of backend `a` and `read` of backend `a`"],
    );
    errors("", "", &server("tools: { rename: { read: open } }", "prompts: { rename: { get: open } }"), &[]);
    errors(
        "",
        "",
        &server("prompts: { rename: { read: x } }", "prompts: { rename: { get: x } }"),
        &["prompts.rename.get"],
    );
}

#[test]
fn a_server_has_several_paths() {
    let config = config("  x: { path: /mcp, backends: [a, b], direct_views: true, sse: true }");
    assert_eq!(
        routes(&config.virtual_servers["x"], "x"),
        [
            "/mcp Mcp",
            "/servers/x/mcp Mcp",
            "/mcp/a View(\"a\")",
            "/mcp/b View(\"b\")",
            "/servers/x/sse Sse",
            "/mcp/sse Sse",
            "/servers/x/message Message",
            "/mcp/message Message"
        ]
    );
    assert_eq!(routes(&config.virtual_servers["rest"], "rest"), ["/servers/rest/mcp Mcp"]);
}

#[test]
fn a_view_shows_nothing_that_is_left_out() {
    let server = |member: &str| format!("  x: {{ direct_views: true, backends: [a, {{ backend: b, {member} }}] }}");
    for member in ["tools: { deny: [x] }", "prompts: { allow: [x] }", "resources: { deny: ['x*'] }"] {
        let expected = "x.direct_views: the direct view of backend `b` would show what is left out of it here";
        errors("", "", &server(member), &[expected]);
    }
    errors("", "", &server("prefix: q, tools: { rename: { x: y } }"), &[]);
}

#[test]
fn a_path_leads_to_one_thing() {
    errors(
        "",
        "",
        "  x: { path: /mcp, backends: [a, b], direct_views: true }\n  y: { path: /mcp/b, backends: [b] }",
        &[
            "virtual_servers.y.path: the direct view of backend `b` in virtual server `x` has the same path on listener `main`",
        ],
    );
    errors(
        "",
        "",
        "  x: { path: /servers/y/mcp, backends: [a] }\n  y: { path: /mcp, backends: [b] }",
        &[
            "virtual_servers.y.path: `/servers/y/mcp` leads to both virtual server `x` and virtual server `y` on listener `main`",
        ],
    );
    errors(
        "",
        "",
        "  x: { path: /mcp, backends: [a, b], sse: true }\n  y: { path: /mcp/sse, backends: [b] }",
        &["the event stream of virtual server `x` has the same path"],
    );
    errors(
        "",
        "",
        "  y: { path: /mcp/b, backends: [b] }\n  x: { path: /mcp, backends: [a, b], direct_views: true }",
        &[
            "x.direct_views: `/mcp/b` leads to both virtual server `y` and the direct view of backend `b` in virtual server `x`",
        ],
    );
    errors(
        "",
        "",
        "  x: { path: /mcp, listeners: [main], backends: [a] }\n  y: { path: /mcp, listeners: [side], backends: [b] }",
        &[],
    );
    let text = text("", "", "  x: { path: /mcp, backends: [a, sse], direct_views: true, sse: true }")
        .replace("  b:", "  sse:");
    let errors = errors_of(&text);
    assert!(errors[0].contains("x.sse: `/mcp/sse` leads to both the direct view of backend `sse`"), "{errors:?}");
}

#[test]
fn some_era_fits_all_backends() {
    let (modern, legacy, old) = ("protocol: modern", "protocol: legacy", "protocol: sse");
    let server = |more: &str| format!("  x: {{ backends: [a, b]{more} }}");
    errors(modern, "", &server(""), &[]);
    errors(legacy, old, &server(", sse: true"), &[]);
    errors(
        modern,
        legacy,
        &server(""),
        &["x.backends: no era fits all: `a` speaks only the stateless era, `b` speaks only the session era"],
    );
    errors(
        "",
        old,
        &server(", revisions: [2026-07-28]"),
        &["x.revisions: no era fits all: `b` speaks only the session era, `revisions` has none of it"],
    );
    errors(
        modern,
        "",
        &server(", revisions: [2025-06-18, 2025-11-25]"),
        &["x.revisions: no era fits all: `a` speaks only the stateless"],
    );
    errors(modern, "", &server(", revisions: [2025-11-25, 2026-07-28]"), &[]);
    errors(modern, modern, &server(", revisions: [2025-11-25]"), &["`a` and `b` speak only the stateless era"]);
    errors(
        modern,
        "",
        &server(", sse: true"),
        &["x.sse: HTTP+SSE carries the session era: `a` speaks only the stateless era"],
    );
    errors(
        "",
        "",
        &server(", sse: true, revisions: [2026-07-28]"),
        &["x.sse: HTTP+SSE carries the session era: `revisions` has none"],
    );
    errors("", "", &server(", revisions: []"), &["x.revisions: a virtual server offers a revision"]);
    errors(
        "",
        "",
        &server(", revisions: [2025-11-25, 2025-11-25]"),
        &["revisions[1]: this revision stands here twice"],
    );
    errors("", "", &server(", revisions: [2025-01-01]"), &["expected one of `2024-11-05`"]);
    assert!(ProtocolRevision::V2025_11_25 < ProtocolRevision::V2026_07_28 && ProtocolRevision::V2026_07_28.is_modern());
}
