//! Values from the environment and from files: they take the type that is wanted, and stay hidden.

use super::*;
use proptest::prelude::*;

/// A configuration in which everything that can be a reference is one.
const ALL: &str = "\
listeners:
  main:
    address: ${env:ADDRESS}
    http2: ${env:SWITCH}
    proxy_protocol: ${env:PROXY}
    trusted_proxies: [\"${env:NET}\"]
backends:
  demo:
    endpoints: [{ url: \"${env:URL}\" }]
    timeouts: { connect: \"${env:TIME}\" }
    headers: { Authorization: \"Bearer ${env:TOKEN}\" }
virtual_servers:
  default:
    path: ${env:ROUTE}
    backends: [\"${env:BACKEND}\"]
admin: { token: \"${file:token}\" }
limits: { depth: \"${env:DEPTH:-32}\", body_bytes: \"${env:BYTES}\" }
tickets: { keys: [{ id: k1, secret: \"${env:KEY}\" }] }
log: { level: \"${env:LEVEL}\" }
";

const VALUES: [(&str, &str); 13] = [
    ("ADDRESS", "127.0.0.1:48151"),
    ("SWITCH", "false"),
    ("PROXY", "any"),
    ("NET", "10.66.0.0/16"),
    ("URL", "http://hidden-host:48152/hidden?x=1"),
    ("TIME", "48153ms"),
    ("TOKEN", "hidden-token"),
    ("ROUTE", "/hidden-route"),
    ("BACKEND", "demo"),
    ("BYTES", "48154"),
    ("KEY", "hiddenhiddenhiddenhiddenhiddenhiddenhiddenQ="),
    ("LEVEL", "debug"),
    ("DEPTH", ""),
];

fn sources() -> FakeSources {
    let sources = FakeSources::default().with_file("/etc/lockgate/token", "hidden-admin-token\n");
    VALUES.iter().fold(sources, |sources, (name, value)| sources.with_env(name, value))
}

#[test]
fn references_take_the_type_that_is_wanted() {
    let loaded = load_with(ALL, &sources()).unwrap();
    let config = &loaded.config;
    assert_eq!(config.listeners["main"].address.to_string(), "127.0.0.1:48151");
    assert!(!config.listeners["main"].http2);
    assert_eq!(config.limits.depth, 32);
    assert_eq!(config.limits.body_bytes.get(), 48_154);
    assert_eq!(config.backends["demo"].timeouts.connect.as_millis(), 48_153);
    assert_eq!(config.backends["demo"].headers.values().next().unwrap().expose(), "Bearer hidden-token");
    assert_eq!(config.admin.token.as_ref().unwrap().expose(), "hidden-admin-token");
    assert_eq!(config.log.level, sections::LogLevel::Debug);
    assert_eq!(config.tickets.keys[0].secret.expose().len(), 32);
    assert_eq!(loaded.watched, [Path::new("/etc/lockgate/token")]);
}

#[test]
fn what_came_from_elsewhere_is_masked_and_what_follows_from_it_too() {
    let loaded = load_with(ALL, &sources()).unwrap();
    let shown = loaded.effective.to_yaml();
    for secret in ["hidden", "4815", "10.66", "debug", "any"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("public_url: '********'"), "it is made from the address: {shown}");
    assert!(shown.contains("depth: '********'"), "{shown}");
    assert!(!format!("{loaded:?}").contains("hidden-token"));
    assert!(!format!("{loaded:?}").contains("hidden-admin-token"));
}

#[test]
fn a_secret_is_masked_however_it_is_written() {
    let text = format!("{RIGHT}admin: {{ token: a-literal-admin-token }}\n")
        .replace("http://127.0.0.1:9000/mcp", "http://127.0.0.1:9000/mcp?key=in-the-query");
    let loaded = load_alone(&text).unwrap();
    let shown = format!("{} {loaded:?}", loaded.effective.to_yaml());
    assert!(shown.contains("token: '********'") && shown.contains("url: '********'"), "{shown}");
    assert!(!loaded.effective.to_yaml().contains("in-the-query") && !shown.contains("a-literal"), "{shown}");
}

#[test]
fn references_are_looked_up_in_scalars_only() {
    let sources = FakeSources::default().with_env("EVIL", "x, backends: {}\nadmin: { token: y }");
    let report = load_with(&RIGHT.replace("/mcp, ", "'${env:EVIL}', "), &sources).unwrap_err();
    assert_eq!(report.error_count(), 1, "{report}");
    assert!(errors_of("${env:KEY}: 1\n")[0].contains("this key is not known here"));
}

#[test]
fn a_missing_reference_is_an_error_at_its_place() {
    let text = RIGHT.replace("127.0.0.1:8080", "'${LISTEN}'").replace("/mcp, ", "'${env:ROUTE}', ");
    assert_eq!(
        errors_of(&text),
        [
            "2:20 listeners.main.address: this reference does not say where its value comes from (write `${env:LISTEN}`)",
            "6:20 virtual_servers.default.path: the environment variable `ROUTE` is not set (set it, or give a default: \
             `${env:ROUTE:-default}`)",
        ]
    );
}

proptest! {
    /// Whatever a secret is, and wherever it is put, no report and no listing shows it.
    #[test]
    fn no_secret_is_ever_shown(position in 0..VALUES.len(), secret in "Zq[A-Za-z0-9 /:.=@-]{6,40}Zq") {
        let (name, _) = VALUES[position];
        let sources = sources().with_env(name, &secret);
        let shown = match load_with(ALL, &sources) {
            Ok(loaded) => format!("{} {loaded:?} {}", loaded.effective.to_yaml(), loaded.warnings),
            Err(report) => format!("{report} {report:?} {} {}", report.summary(), report.render(Style::Coloured)),
        };
        prop_assert!(!shown.contains(secret.trim()), "{}: {}", name, shown);
    }

    /// A secret that is written out is not shown in the line of an error.
    #[test]
    fn no_literal_secret_is_shown_in_a_report(secret in "Zq[A-Za-z0-9]{6,40}", broken in any::<bool>()) {
        let text = format!(
            "admin: {{ tokn: {secret}, token: {secret} }}\nbackends:\n  demo:\n    headers: {{ x-a: {secret}, x a: {secret} }}\n    \
             header:\n      x-b: {secret}\ntickets:\n  keys:\n    - {{ id: K, secret: {secret} }}\n    - secret: {secret}\n    \
             - {{ secret: {secret}, id: K }}\n{}",
            if broken { "x: [\n" } else { "" }
        );
        let report = load_alone(&text).unwrap_err();
        let shown = format!("{report} {report:?} {}", report.summary());
        prop_assert!(!shown.contains(&secret), "{}", shown);
    }
}
