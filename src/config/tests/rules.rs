//! Rules that no type can hold, and defaults that depend on other values.

use super::*;

#[test]
fn a_listener_beyond_loopback_says_who_may_come() {
    let open = "address: 0.0.0.0:8080";
    expect(
        "address: 127.0.0.1:8080",
        open,
        "",
        &[
            "listeners.main.allowed_hosts: `allowed_hosts` is missing",
            "listeners.main.public_url: `public_url` is missing",
        ],
    );
    expect(
        "address: 127.0.0.1:8080",
        &format!("{open}, public_url: 'https://gw.example.com'"),
        "",
        &[
            "2:3 listeners.main: everybody who reaches this address",
            "2:3 listeners.main.allowed_hosts: `allowed_hosts` is missing",
        ],
    );
    let named = format!("{open}, public_url: 'https://gw.example.com', allowed_hosts: [gw.example.com]");
    expect("address: 127.0.0.1:8080", &format!("{named}, acknowledge_no_auth: true"), "", &[]);
    expect(
        "address: 127.0.0.1:8080",
        "address: 127.0.0.1:8080, allowed_hosts: []",
        "",
        &["an empty list lets nobody in"],
    );
    expect("address: 127.0.0.1:8080", "", "", &["2:3 listeners.main.address: `address` is missing"]);
}

#[test]
fn the_admin_listener_beyond_loopback_names_its_hosts() {
    expect("path", "path", "admin: { address: 0.0.0.0:9901 }\n", &["admin.allowed_hosts: `allowed_hosts` is missing"]);
    expect("path", "path", "admin: { address: 0.0.0.0:9901, allowed_hosts: [ops.example.com] }\n", &[]);
    expect("path", "path", "admin: { token: tooshort }\n", &["7:17 admin.token: the admin token has at least 16"]);
    expect("path", "path", "admin: { token: 'has some spaces in it' }\n", &["admin.token"]);
}

#[test]
fn addresses_are_bound_once() {
    expect(
        "path",
        "path",
        "admin: { address: 127.0.0.1:8080 }\n",
        &["2:20 listeners.main.address: this address is taken by the admin listener"],
    );
    expect(
        "  main: { address: 127.0.0.1:8080 }",
        "  a: { address: 127.0.0.1:80 }\n  b: { address: 127.0.0.1:80 }\n  c: { address: 127.0.0.1:9901 }",
        "",
        &[
            "3:17 listeners.b.address: this address is taken by listener `a`",
            "listeners.c.address: this address is taken by the admin listener",
        ],
    );
    expect(
        "  main: { address: 127.0.0.1:8080 }",
        "  a: { address: 127.0.0.1:0 }\n  b: { address: 127.0.0.1:0 }",
        "",
        &[],
    );
}

#[test]
fn the_proxy_protocol_needs_somebody_to_trust() {
    expect("address", "proxy_protocol: v2, address", "", &["believed only from trusted proxies"]);
    expect("address", "proxy_protocol: v2, trusted_proxies: [10.0.0.0/8], address", "", &[]);
}

#[test]
fn a_backend_has_one_endpoint_for_now() {
    let url = "{ url: http://127.0.0.1:9000/mcp }";
    expect(
        url,
        &format!("{url}, {url}"),
        "",
        &["backends.demo.endpoints[1]: several endpoints come with load balancing; list one"],
    );
    expect(url, "", "", &["backends.demo.endpoints: `endpoints` is missing"]);
    expect(&format!("endpoints: [{url}]"), "", "", &["4:3 backends.demo.endpoints: `endpoints` is missing"]);
    expect(url, "{}", "", &["backends.demo.endpoints[0]: `url` is missing here"]);
}

#[test]
fn header_fields_are_set_or_passed_on() {
    let with = |more: &str| format!("demo: {{ {more}, ");
    expect("demo: { ", &with("forward_headers: [X-A], headers: { x-a: b }"), "", &["not both"]);
    expect(
        "demo: { ",
        &with("headers: { host: b }"),
        "",
        &["backends.demo.headers.host: the gateway sets this header field"],
    );
    expect("demo: { ", &with("forward_headers: [mcp-session-id]"), "", &["the gateway sets this header field itself"]);
    expect(
        "demo: { ",
        &with("forward_headers: [x-a, Mcp-Param-Tenant]"),
        "",
        &["forward_headers[1]: the gateway sets this header field itself: `mcp-*` fields pass on by themselves"],
    );
    expect(
        "demo: { ",
        &with("forward_headers: [user-agent, connection]"),
        "",
        &["forward_headers[1]: the gateway sets this header field itself: it belongs to one connection"],
    );
    expect(
        "demo: { ",
        &with("headers: { X-A: \"b\\nc\" }"),
        "",
        &["4:27 backends.demo.headers.x-a: the value of a header"],
    );
    expect("demo: { ", &with("headers: { x-a: b, X-A: c }"), "", &["stands here twice, in different spellings"]);
    expect("demo: { ", &with("forward_headers: [authorization, cookie], headers: { x-a: b }"), "", &[]);
}

#[test]
fn tls_towards_a_backend_is_whole_and_used() {
    let with = |tls: &str, url: &str| {
        let text = RIGHT.replace("demo: {", &format!("demo: {{ tls: {tls},")).replace("http://127.0.0.1:9000", url);
        let pem = certificate();
        let sources =
            FakeSources::default().with_file("/etc/lockgate/c.pem", &pem.0).with_file("/etc/lockgate/k.pem", &pem.1);
        load_with(&text, &sources).map_err(|report| findings(&report))
    };
    let fails = |tls: &str, url: &str, part: &str| {
        let errors = with(tls, url).map(|_| ()).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(part), "{errors:?}");
    };
    fails("{ server_name: x }", "http://127.0.0.1:9000", "the endpoint is not https");
    fails("{ server_name: '-' }", "https://x", "this is not a host name");
    fails("{ certificate: c.pem }", "https://x", "`certificate` needs its `key`");
    fails("{ key: k.pem }", "https://x", "`key` needs its `certificate`");
    fails("{ ca: none.pem }", "https://x", "cannot read `/etc/lockgate/none.pem`: it does not exist");
    fails("{ ca: k.pem }", "https://x", "it holds no certificate in PEM form");
    fails("{ certificate: c.pem, key: c.pem }", "https://x", "it holds no private key in PEM form");
    let loaded = with("{ ca: c.pem, certificate: c.pem, key: k.pem }", "https://x").unwrap();
    assert_eq!(loaded.watched, [Path::new("/etc/lockgate/c.pem"), Path::new("/etc/lockgate/k.pem")]);
    let tls = loaded.config.backends["demo"].tls.clone().unwrap();
    assert_eq!(tls.ca.as_deref(), Some(Path::new("/etc/lockgate/c.pem")), "paths are absolute");
}

#[test]
fn tls_towards_clients_is_whole() {
    let text = RIGHT.replace("address", "tls: { certificate: c.pem }, address");
    assert_eq!(errors_of(&text), ["2:11 listeners.main.tls: `key` is missing here"]);
    let text = RIGHT.replace("address", "tls: { certificate: c.pem, key: k.pem }, address");
    let report = load_alone(&text).unwrap_err();
    assert_eq!(report.error_count(), 2, "{report}");
    assert_eq!(report.watched().len(), 2, "a file that is missing is watched: it may come");
    let pem = certificate();
    let sources =
        FakeSources::default().with_file("/etc/lockgate/c.pem", &pem.0).with_file("/etc/lockgate/k.pem", &pem.1);
    let loaded = load_with(&text, &sources).unwrap();
    assert_eq!(loaded.config.listeners["main"].public_url.to_string(), "https://127.0.0.1:8080");
}

fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn virtual_servers_refer_to_what_there_is() {
    expect("[demo]", "[]", "", &["virtual_servers.default.backends: `backends` is missing"]);
    expect("[demo]", "[other]", "", &["6:37 virtual_servers.default.backends[0]: there is no backend `other`"]);
    expect(
        "backends: [demo]",
        "backends: [demo], listeners: [mian]",
        "",
        &["there is no listener `mian` (did you mean `main`?)"],
    );
    expect("backends: [demo]", "backends: [demo], listeners: [main, main]", "", &["this listener stands here twice"]);
    expect("backends: [demo]", "backends: [demo], listeners: []", "", &["a virtual server is offered on a listener"]);
}

#[test]
fn a_path_is_taken_once_on_a_listener() {
    expect(
        "path",
        "path",
        "  more: { path: /mcp, backends: [demo] }\n",
        &["7:17 virtual_servers.more.path: virtual server `default` has the same path on listener `main`"],
    );
    let text = "\
listeners: { a: { address: 127.0.0.1:1 }, b: { address: 127.0.0.1:2 } }
backends: { demo: { endpoints: [{ url: 'demo:' }] } }
virtual_servers:
  one: { path: /mcp, listeners: [a], backends: [demo] }
  two: { path: /mcp, listeners: [b], backends: [demo] }
";
    let loaded = load_alone(text).unwrap();
    let b = "b".parse().unwrap();
    let offered: Vec<_> = loaded.config.offered_on(&b).map(|(name, _)| name.as_str()).collect();
    assert_eq!(offered, ["two"]);
}

#[test]
fn numbers_have_ranges() {
    expect("path", "path", "limits: { depth: 0 }\n", &["7:18 limits.depth: this must be from 1 to 512"]);
    expect("path", "path", "limits: { body_bytes: 2GiB }\n", &["must be from 1B to 1GiB"]);
    expect("path", "path", "limits: { header_time: 0s }\n", &["must be from 1ms to 1h"]);
    expect("path", "path", "streams: { keep_alive: 2h }\n", &["streams.keep_alive: this must be from 1ms to 1h"]);
    expect("path", "path", "drain: { time: 2d, idle: 2d }\n", &["drain.time", "drain.idle"]);
    expect("path", "path", "limits: { write_time: 1ms, write_rate: 0 }\n", &["write_time", "write_rate"]);
    expect(
        "path",
        "path",
        "limits: { tool_depth: 0, list_items: 0, list_pages: 0, list_bytes: 1, catalog_refresh: 0s }\n",
        &["tool_depth", "list_items", "list_pages", "list_bytes", "catalog_refresh"],
    );
    expect("url", "url", "limits: { subscriptions: 0, replay_streams: 0, replay_bytes_total: 0 }\n", &[]);
    expect("path", "path", "admin: { limits: { header_bytes: 1KiB } }\n", &["must be from 8KiB to 1MiB"]);
    expect(
        "demo: {",
        "demo: { pool: { idle_time: 2h, streams_per_connection: 0 },",
        "",
        &[
            "backends.demo.pool.idle_time: this must be from 0s to 1h",
            "pool.streams_per_connection: this must be from 1",
        ],
    );
    expect("path", "path", "workers: 0\n", &["7:10 workers: the number of workers is from 1 to 1024"]);
    expect("path", "path", "tickets: { lifetime: 1s }\n", &["a ticket lives at least 1m"]);
    expect("url", "url", "limits: { replay_bytes: 0, replay_time: 0s }\n", &[]);
    expect(
        "demo: {",
        "demo: { timeouts: { connect: 0s },",
        "",
        &["backends.demo.timeouts.connect: this must be from 1ms to 1h"],
    );
}

#[test]
fn sealing_keys_are_long_enough_and_told_apart() {
    let key = "0f".repeat(32);
    let keys = |one: &str, two: &str| {
        format!("tickets: {{ keys: [{{ id: {one}, secret: '{key}' }}, {{ id: {two}, secret: '{key}' }}] }}\n")
    };
    expect("path", "path", &keys("k1", "k2"), &[]);
    expect("path", "path", &keys("k1", "k1"), &["tickets.keys[1].id: an earlier key has the same id"]);
    expect("path", "path", "tickets: { keys: [{ id: k1, secret: 0f0f }] }\n", &["this one has 2"]);
    expect("path", "path", "tickets: { keys: [{ id: k1 }] }\n", &["tickets.keys[0]: `secret` is missing here"]);
}

#[test]
fn the_state_directory_follows_the_environment() {
    let state_dir = |sources: FakeSources, more: &str| {
        load_with(&format!("{RIGHT}{more}"), &sources).unwrap().config.state_dir.map(|path| path.display().to_string())
    };
    let home = || FakeSources::default().with_env("HOME", "/home/ada");
    assert_eq!(state_dir(home(), "").as_deref(), Some("/home/ada/.local/state/lockgate"));
    assert_eq!(state_dir(home().with_env("XDG_STATE_HOME", "/x"), "").as_deref(), Some("/x/lockgate"));
    assert_eq!(
        state_dir(home().with_env("XDG_STATE_HOME", "x"), "").as_deref(),
        Some("/home/ada/.local/state/lockgate")
    );
    assert_eq!(state_dir(FakeSources::default(), ""), None);
    assert_eq!(state_dir(home(), "state_dir: state\n").as_deref(), Some("/etc/lockgate/state"));
    assert_eq!(state_dir(home(), "state_dir: ${env:HOME}/s\n").as_deref(), Some("/home/ada/s"));
    expect("path", "path", "state_dir: ~/state\n", &["state_dir: `~` does not stand for anything here"]);
}

#[test]
fn what_nobody_uses_is_a_warning() {
    let text = RIGHT
        .replace("listeners:", "listeners:\n  idle: { address: 127.0.0.1:8081 }")
        .replace("backends:\n", "backends:\n  spare: { endpoints: [{ url: 'demo:' }] }\n")
        .replace("backends: [demo]", "backends: [demo], listeners: [main]");
    let loaded = load_alone(&text).unwrap();
    assert_eq!(
        findings(&loaded.warnings),
        [
            "2:3 listeners.idle: no virtual server is offered on this listener",
            "5:3 backends.spare: no virtual server uses this backend"
        ]
    );
    assert_eq!(loaded.warnings.error_count(), 0);
}

#[test]
fn the_defaults_are_those_that_are_documented() {
    let config = load_alone(RIGHT).unwrap().config;
    let main = &config.listeners["main"];
    assert_eq!(main.public_url.to_string(), "http://127.0.0.1:8080");
    assert!(main.public_url_is_derived && main.http2 && main.trusted_proxies.is_empty());
    let hosts: Vec<String> = main.allowed_hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["localhost", "127.0.0.1", "[::1]"]);
    assert_eq!(main.allowed_origins.len(), 6);
    assert_eq!(config.admin.address.to_string(), "127.0.0.1:9901");
    assert_eq!(config.admin.metrics, sections::MetricsAccess::Loopback);
    assert_eq!(config.tickets.lifetime.to_string(), "30d");
    let timeouts = &config.backends["demo"].timeouts;
    let times =
        [timeouts.connect, timeouts.first_byte, timeouts.idle_stream, timeouts.total].map(|time| time.get().as_secs());
    assert_eq!(times, [5, 120, 300, 3600]);
    let pool = &config.backends["demo"].pool;
    assert_eq!((pool.idle_connections, pool.streams_per_connection), (1024, 100));
    assert_eq!(
        [pool.idle_time, pool.idle_time_http2, pool.resolve_interval].map(|time| time.get().as_secs()),
        [4, 60, 30]
    );
    let limits = &config.limits;
    assert_eq!((limits.header_bytes.get(), limits.body_bytes.get()), (64 << 10, 4 << 20));
    assert_eq!(
        (limits.sse_event.get(), limits.answer_bytes.get(), limits.replay_bytes.get()),
        (4 << 20, 16 << 20, 1 << 20)
    );
    assert_eq!((limits.header_fields, limits.depth, limits.batch), (100, 64, 32));
    assert_eq!((limits.connections, limits.connections_per_address), (10_000, 512));
    assert_eq!((limits.sessions, limits.streams_per_connection), (100_000, 100));
    assert_eq!(limits.header_time.get().as_secs() + limits.body_time.get().as_secs(), 40);
    assert_eq!(config.virtual_servers["default"].listeners, ["main".parse().unwrap()]);
    assert_eq!(config.workers.get(), 4);
}

#[test]
fn the_host_of_the_public_url_is_always_let_in() {
    let text = RIGHT.replace("address", "public_url: 'https://GW.example.com:8443/x/', address");
    let main = &load_alone(&text).unwrap().config.listeners["main"];
    assert_eq!(main.public_url.join("/mcp"), "https://gw.example.com:8443/x/mcp");
    assert_eq!(main.allowed_hosts.last().map(ToString::to_string).as_deref(), Some("gw.example.com"));
    let bound = std::net::SocketAddr::from(([127, 0, 0, 1], 40_000));
    assert_eq!(main.public_url_at(bound), main.public_url, "what is written is not changed");
}

#[test]
fn one_body_must_find_room_among_all() {
    let small = "limits: { body_bytes: 2MiB, body_bytes_total: 1MiB }\n";
    expect("path", "path", small, &["limits.body_bytes_total: this must be at least body_bytes"]);
}

#[test]
fn a_cluster_is_bounded_and_has_an_address_of_its_own() {
    let keys = format!("tickets: {{ keys: [{{ id: k1, secret: {} }}] }}\n", "0f1e2d3c4b5a6978".repeat(4));
    let with = |cluster: &str| format!("{keys}cluster: {cluster}\n");
    expect("path", "path", &with("{ listen: 10.0.0.1:7801, peers: [a.internal:7801, '[fd00::2]:7801'] }"), &[]);
    let taken = ["cluster.listen: this address is taken by listener `main`"];
    expect("path", "path", &with("{ listen: 127.0.0.1:8080 }"), &taken);
    let wrong = ["cluster.connections: this must be from", "cluster.connect_time: this must be from"];
    expect("path", "path", &with("{ connections: 0, connect_time: 2m }"), &wrong);
    let many = format!("{{ peers: [{}] }}", vec!["a.internal:1"; 65].join(", "));
    expect("path", "path", &with(&many), &["cluster.peers: there are at most 64"]);
    expect("path", "path", &with("{ peers: [a.internal] }"), &["cluster.peers[0]: a peer needs a port"]);
}

#[test]
fn nodes_without_a_common_key_are_warned_of() {
    let text = format!("{RIGHT}cluster: {{ peers: [a.internal:7801] }}\n");
    let loaded = load_alone(&text).unwrap();
    assert!(loaded.warnings.to_string().contains("the nodes know each other by `tickets.keys`"), "{}", loaded.warnings);
    assert!(load_alone(RIGHT).unwrap().warnings.is_empty());
}
