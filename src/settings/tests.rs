//! Every number of a configuration reaches the room that it is for.

use super::*;
use crate::config::load_str;
use crate::upstream::CommandSettings;
use std::time::Duration;

const TEXT: &str = "\
listeners: { main: { address: 127.0.0.1:8080 } }
backends:
  demo:
    endpoints: [{ url: http://127.0.0.1:9000/mcp }]
    forward_headers: [user-agent]
    pool: { idle_connections: 1, idle_time: 2s, idle_time_http2: 3s, streams_per_connection: 4, resolve_interval: 5s }
virtual_servers: { default: { path: /mcp, backends: [demo] } }
admin:
  limits:
    { connections: 6, header_time: 7s, header_bytes: 8KiB, body_bytes: 9B, request_time: 10s, connection_time: 11s }
limits:
  { write_time: 12s, write_rate: 13B, ended_sessions: 14, subscriptions: 15, subscription_bytes: 16B, replay_bytes: 17B,
    replay_time: 18s, replay_streams: 19, replay_bytes_total: 20B, replay_streams_total: 21, sessions: 22,
    session_idle: 23s, list_items: 24, list_pages: 25, list_time: 26s, tool_headers: 27, tool_depth: 28,
    left_bytes: 31B, detached: 32, detached_total: 33, detached_bytes: 34KiB,
    caller_lists: 35, caller_list_bytes: 128KiB }
drain: { time: 29s, idle: 30s }
cluster:
  { peers: [a.internal:35, '[::1]:36'], connections: 37, exchanges: 38, connect_time: 39s, resolve_interval: 40s }
";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn config(text: &str) -> Config {
    load_str("test", text, Path::new("/")).unwrap_or_else(|report| panic!("{report}")).config
}

#[test]
fn the_rooms_are_told() {
    let config = config(TEXT);
    let main = listener("main", &config.listeners["main"], &config).limits;
    assert_eq!((main.write_time, main.write_rate), (seconds(12), 13));
    assert_eq!(drain(&config), DrainSettings { time: seconds(29), idle: seconds(30) });
    let replay = ReplayLimits { bytes: 17, time: seconds(18), streams: 19, bytes_total: 20, streams_total: 21 };
    let expected = SessionLimits {
        sessions: 22,
        session_idle: seconds(23),
        ended_sessions: 14,
        subscriptions: 15,
        subscription_bytes: 16,
        left_bytes: 31,
        replay,
        detached: DetachedLimits { session: 32, total: 33, bytes: 34 << 10, time: seconds(18) },
    };
    assert_eq!(sessions(&config), expected);
    let nodes = cluster::Settings {
        peers: vec![cluster::Peer::Named("a.internal".into(), 35), cluster::Peer::At("[::1]:36".parse().unwrap())],
        connections: 37,
        exchanges: 38,
        connect_time: seconds(39),
        resolve_interval: seconds(40),
        write_time: seconds(12 + (64 << 10) / 13),
    };
    assert_eq!(cluster(&config), nodes);
    let operators = admin(&config);
    assert_eq!((operators.connections, operators.header_bytes, operators.body_bytes), (6, 8 << 10, 9));
    let times = [operators.header_time, operators.request_time, operators.connection_time];
    assert_eq!(times, [7, 10, 11].map(seconds));
    let settings = backend("demo".into(), &config.backends["demo"], &config, None).unwrap();
    let pool = PoolSettings {
        idle_connections: 1,
        idle_time: seconds(2),
        idle_time_h2: seconds(3),
        h2_streams: 4,
        resolve_interval: seconds(5),
    };
    assert_eq!(settings.pool, pool);
    let params = ParamLimits { tools: 24, mirrors: 27, depth: 28 };
    assert_eq!(settings.tools, ToolSettings { pages: 25, time: seconds(26), params });
    assert!(settings.endpoints[0].forwards_user_agent);
    assert_eq!(settings.stock.callers, CallerLimits { callers: 35, bytes: 128 << 10 });
    assert!(!settings.stock.varies, "a program is not a caller");
}

#[test]
fn fields_that_may_say_who_calls_make_callers_differ() {
    let text = TEXT
        .replace("forward_headers: [user-agent]", "forward_headers: [user-agent, authorization]")
        .replace("path: /mcp, backends: [demo]", "path: /mcp, prefix: always, backends: [demo]");
    let config = config(&text);
    let settings = backend("demo".into(), &config.backends["demo"], &config, None).unwrap();
    assert!(settings.stock.varies);
    let federation = federation(&config, &config.virtual_servers["default"]).unwrap();
    assert_eq!(*federation.policy.members[0].identity, [http::header::AUTHORIZATION]);
}

#[test]
fn the_defaults_of_the_configuration_are_those_of_the_rooms() {
    let head = TEXT.split("admin:").next().unwrap();
    let text: String = head.lines().filter(|line| !line.contains("pool:")).map(|line| format!("{line}\n")).collect();
    let config = config(&text);
    assert_eq!(listener("main", &config.listeners["main"], &config).limits, ConnectionLimits::default());
    assert_eq!(drain(&config), DrainSettings::default());
    assert_eq!(sessions(&config), SessionLimits::default());
    assert_eq!(admin(&config), admin::Limits::default());
    assert_eq!(cluster(&config), cluster::Settings::default());
    let settings = backend("demo".into(), &config.backends["demo"], &config, None).unwrap();
    assert_eq!((settings.pool, settings.tools), (PoolSettings::default(), ToolSettings::default()));
    assert_eq!(settings.stock.callers, CallerLimits::default());
}

#[test]
fn what_waits_for_a_restart_is_named() {
    let from = config(TEXT);
    let wanted =
        config(&TEXT.replace("connections: 6,", "connections: 5,").replace("drain: {", "workers: 7\ndrain: {"));
    let named = fixed_at_start(&from, &wanted);
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(named[0].starts_with("admin.limits: ") && named[1].starts_with("workers: "), "{named:?}");
    let keyed = config(&format!("{TEXT}tickets: {{ keys: [{{ id: k1, secret: '{}' }}] }}\n", "0f".repeat(32)));
    assert!(fixed_at_start(&from, &Config { workers: from.workers, ..keyed }).is_empty(), "keys rotate at run time");
}

#[test]
fn the_upstream_room_is_told_what_is_started() {
    let text = "\
listeners: { main: { address: 127.0.0.1:8080 } }
backends:
  files:
    command:
      run: [server, -y, two words]
      environment: { KEY: secret }
      inherit: [PATH]
      directory: work
      shared: true
      instances: 2
      idle_stop: 3s
      restart: { first: 4s, most: 5s }
      memory: 60MiB
      open_files: 70
      cpu_time: 8s
      stop_time: 9s
  old: { endpoints: [{ url: http://127.0.0.1:9000/sse }], protocol: sse }
virtual_servers: { default: { path: /mcp, backends: [files, old] } }
";
    let config = config(text);
    let files = backend("files".into(), &config.backends["files"], &config, None).unwrap();
    let expected = CommandSettings {
        environment: vec![("KEY".into(), "secret".into())],
        inherit: vec!["PATH".into()],
        directory: Some("/work".into()),
        shared: true,
        instances: 2,
        idle_stop: seconds(3),
        restart: (seconds(4), seconds(5)),
        memory: Some(60 << 20),
        open_files: Some(70),
        cpu_time: Some(seconds(8)),
        stop_time: seconds(9),
        ..CommandSettings::new(["server", "-y", "two words"])
    };
    assert!(files.command == Some(expected) && files.endpoints.is_empty(), "{files:?}");
    let old = backend("old".into(), &config.backends["old"], &config, None).unwrap();
    assert_eq!((old.protocol, old.command), (Protocol::Sse, None));
}
