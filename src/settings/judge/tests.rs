//! Configurations that are right by themselves, and of no use on this machine.

use super::*;
use crate::config::values::HeaderKey;
use crate::config::{ConfigSource, Overrides, Report, SystemSources, load, load_judged};
use lockgate_filters::splice::Forwarding;
use std::path::Path;

/// A certificate and its key (PEM).
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// PEM in form, and nothing in it.
const HOLLOW: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// A folder with two certificates, their keys, and a certificate that is none.
fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let (certificate, key) = certificate();
        std::fs::write(folder.path().join(format!("{name}.pem")), certificate).unwrap();
        std::fs::write(folder.path().join(format!("{name}.key")), key).unwrap();
    }
    std::fs::write(folder.path().join("hollow.pem"), HOLLOW).unwrap();
    folder
}

fn text(listener: &str, backend: &str, more: &str) -> String {
    format!(
        "listeners:\n  main: {{ address: 127.0.0.1:8080{listener} }}\n\
         backends:\n  demo: {{ {backend} }}\n\
         virtual_servers:\n  default: {{ path: /mcp, backends: [demo] }}\n{more}"
    )
}

fn judged(folder: &Path, text: &str) -> Result<(), Report> {
    let file = folder.join("lockgate.yaml");
    std::fs::write(&file, text).unwrap();
    let source = ConfigSource::File(file);
    load(&source, &Overrides::default(), &SystemSources).unwrap_or_else(|report| panic!("right by itself: {report}"));
    load_judged(&source, &Overrides::default(), &SystemSources, &judge).map(drop)
}

/// The findings about a text, as `line:column path: message`.
fn objections(folder: &Path, text: &str) -> Vec<String> {
    let report = judged(folder, text).expect_err(text);
    let entries = report.entries().into_iter();
    entries
        .map(|entry| {
            let at = entry.position.expect("a position");
            format!("{}:{} {}: {}", at.line, at.column, entry.path, entry.message)
        })
        .collect()
}

const PLAIN: &str = "endpoints: [{ url: http://127.0.0.1:9000/mcp }]";
const SECURE: &str = "endpoints: [{ url: https://127.0.0.1:9000/mcp }]";

#[test]
fn what_can_be_used_is_let_pass() {
    let files = files();
    let tls = ", tls: { certificate: a.pem, key: a.key }";
    let backend = format!("{SECURE}, tls: {{ ca: a.pem, certificate: b.pem, key: b.key }}");
    assert!(judged(files.path(), &text(tls, &backend, "")).is_ok());
    assert!(judged(files.path(), &text("", "endpoints: [{ url: 'demo:' }]", "")).is_ok());
}

#[test]
fn certificates_and_keys_are_tried() {
    let files = files();
    for (certificate, key, expected) in [
        ("a.pem", "b.key", "listeners.main.tls.key: with this certificate: "),
        ("hollow.pem", "a.key", "listeners.main.tls.certificate: it holds no X.509 certificate"),
    ] {
        let tls = format!(", tls: {{ certificate: {certificate}, key: {key} }}");
        let found = objections(files.path(), &text(&tls, PLAIN, ""));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("2:") && found[0].contains(expected), "{found:?}");
        assert!(!found[0].contains(files.path().to_str().unwrap()), "where files lie may be a secret: {found:?}");
    }
    for (tls, expected) in [
        ("{ ca: hollow.pem }", "4:72 backends.demo.tls.ca: it holds a certificate that cannot be used: "),
        ("{ ca: a.pem, certificate: a.pem, key: b.key }", "backends.demo.tls.key: with this certificate: "),
    ] {
        let found = objections(files.path(), &text("", &format!("{SECURE}, tls: {tls}"), ""));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("4:") && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn whoever_vouches_for_clients_reaches_the_listener() {
    let folder = files();
    let tls = |more: &str| text(&format!(", tls: {{ certificate: a.pem, key: a.key, {more} }}"), PLAIN, "");
    let told = |more: &str| {
        let text = tls(more);
        let config = crate::config::load_str("test", &text, folder.path()).unwrap_or_else(|report| panic!("{report}"));
        let files = listener_files(&config.config.listeners["main"]).expect("TLS");
        files.clients.map(|clients| (clients.ca == folder.path().join("b.pem"), clients.required))
    };
    assert_eq!(told(""), None);
    assert_eq!(told("client_ca: b.pem"), Some((true, false)));
    assert_eq!(told("client_ca: b.pem, client_certificates: required"), Some((true, true)));
    let objections = objections(folder.path(), &tls("client_ca: hollow.pem"));
    assert_eq!(objections.len(), 1, "{objections:?}");
    assert!(objections[0].contains("listeners.main.tls.client_ca"), "{objections:?}");
}

#[test]
fn all_objections_are_told_at_once() {
    let files = files();
    let tls = ", tls: { certificate: a.pem, key: b.key }";
    let backend = format!("{SECURE}, tls: {{ ca: hollow.pem }}");
    let keys = format!("tickets: {{ keys: [{{ id: k1, secret: '{}' }}] }}\n", "00".repeat(32));
    let found = objections(files.path(), &text(tls, &backend, &keys));
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn sealing_keys_are_random_and_differ() {
    let folder = tempfile::tempdir().unwrap();
    let good = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let two = |one: &str, other: &str| {
        let keys =
            format!("tickets:\n  keys:\n  - {{ id: k1, secret: '{one}' }}\n  - {{ id: k2, secret: '{other}' }}\n");
        objections(folder.path(), &text("", PLAIN, &keys))
    };
    let found = two(good, &"5a".repeat(32));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("10:23 tickets.keys[1].secret: this key repeats itself"), "{found:?}");
    let found = two(good, good);
    assert!(found[0].starts_with("10:23 tickets.keys[1].secret: an earlier key has the same secret"), "{found:?}");
    assert_eq!(two(&"5a".repeat(32), &"00".repeat(32)).len(), 2);
    assert!(found.iter().all(|found| !found.contains(good)));
}

#[test]
fn a_unix_socket_is_the_one_that_the_configuration_read() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = |url: &str| {
        let file = folder.path().join("unix.yaml");
        std::fs::write(&file, text("", &format!("endpoints: [{{ url: '{url}' }}]"), "")).unwrap();
        let config = load(&ConfigSource::File(file), &Overrides::default(), &SystemSources).unwrap().config;
        let (name, section) = config.backends.get_index(0).unwrap();
        let settings = backend(name.shared(), section, &config, None).unwrap();
        let endpoint = &settings.endpoints[0];
        let socket = endpoint.socket.as_ref().unwrap().display().to_string();
        (socket, endpoint.url.to_string())
    };
    let is = |socket: &str, url: &str| (socket.to_owned(), url.to_owned());
    assert_eq!(loaded("unix:///run/x.sock:/mcp"), is("/run/x.sock", "http://localhost/mcp"));
    assert_eq!(loaded("unix:///run/a:/b.sock:/mcp"), is("/run/a:/b.sock", "http://localhost/mcp"));
    assert_eq!(loaded("unix:///run/a:b.sock:/mcp?x=1"), is("/run/a:b.sock", "http://localhost/mcp?x=1"));
    assert_eq!(loaded("unix:///run/x.sock"), is("/run/x.sock", "http://localhost/mcp"));
    assert_eq!(loaded("unix:///run/x.sock://evil/mcp"), is("/run/x.sock", "http://localhost//evil/mcp"));
}

#[test]
fn what_is_never_forwarded_cannot_be_listed() {
    for name in Forwarding::never() {
        assert!(HeaderKey::is_owned(name), "{name} could be listed in vain");
    }
}
