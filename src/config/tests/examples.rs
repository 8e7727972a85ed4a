//! The published schema and examples.

use super::*;
use std::path::PathBuf;

fn conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

/// What the examples expect of their surroundings.
fn surroundings() -> FakeSources {
    let made = rcgen::generate_simple_self_signed(["gw.example.com".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let at = |name: &str| conf().join(name).display().to_string();
    FakeSources::default()
        .with_env("HOME", "/home/ada")
        .with_env("GITHUB_TOKEN", "ghp_0123456789")
        .with_env("LOCKGATE_KEY_2", &"2f".repeat(32))
        .with_env("LOCKGATE_KEY_1", &"1f".repeat(32))
        .with_file("/run/secrets/lockgate-admin-token", "0123456789abcdef0123456789abcdef\n")
        .with_file(&at("certs/gw.example.com.pem"), &certificate)
        .with_file(&at("certs/gw.example.com.key"), &key)
        .with_file(&at("certs/internal-ca.pem"), &certificate)
}

#[test]
fn every_example_loads_without_warnings() {
    let mut count = 0;
    for file in std::fs::read_dir(conf()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text.lines().next(),
            Some("# yaml-language-server: $schema=./lockgate.schema.json"),
            "{}",
            path.display()
        );
        let name = path.display().to_string();
        let loaded = load_text(&name, &text, &conf(), &surroundings()).unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn the_limits_example_spells_out_the_defaults() {
    let text = std::fs::read_to_string(conf().join("limits.yaml")).unwrap();
    let written = load_alone(&text).unwrap().config;
    assert_eq!(written, load_alone(&RIGHT.replace("demo", "tools")).unwrap().config);
    let keys = |value: &serde_yaml::Value| value.as_mapping().map(|map| map.keys().cloned().collect::<Vec<_>>());
    let raw: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let all = serde_yaml::to_value(&written.limits).unwrap();
    assert_eq!(keys(&raw["limits"]), keys(&all), "every limit, in the order of the documentation");
}

#[test]
fn the_quickstart_needs_nothing() {
    let loaded = load(&ConfigSource::Quickstart, &Overrides::default(), &NoSources).unwrap();
    assert_eq!(loaded.config.backends["demo"].endpoints[0].url, values::EndpointUrl::Demo);
    assert_eq!(loaded.config.virtual_servers["default"].path.as_str(), "/mcp");
}

#[test]
fn the_published_schema_is_current() {
    let path = conf().join(schema::SCHEMA_FILE);
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    let current = schema::schema_text();
    assert!(published == current, "stale: run `cargo run -- config schema > {}`", path.display());
}

/// Every secret of the schema is masked, and every setting is described.
#[test]
fn the_schema_describes_every_setting_and_knows_the_secrets() {
    let schema = schema::schema();
    let mut secrets = Vec::new();
    walk(&schema, &schema, &path::KeyPath::root(), &mut secrets, 0);
    let written: Vec<String> = secrets.iter().map(ToString::to_string).collect();
    let expected = [
        "admin.token",
        "backends.x.command.environment.x",
        "backends.x.headers.x",
        "issuers.x.introspection.client_secret",
        "tickets.keys[0].secret",
    ];
    assert_eq!(written, expected);
    assert!(secrets.iter().all(loader::is_secret));
}

fn walk(
    root: &serde_json::Value,
    node: &serde_json::Value,
    path: &path::KeyPath,
    secrets: &mut Vec<path::KeyPath>,
    depth: usize,
) {
    assert!(depth < 20, "{path}");
    if let Some(name) = node.get("$ref").and_then(|name| name.as_str()) {
        let target = root.pointer(name.trim_start_matches('#')).unwrap();
        walk(root, target, path, secrets, depth + 1);
    }
    if node.get("writeOnly").is_some() && !secrets.contains(path) {
        secrets.push(path.clone());
    }
    for member in node.get("anyOf").and_then(|members| members.as_array()).into_iter().flatten() {
        walk(root, member, path, secrets, depth + 1);
    }
    for (key, member) in node.get("properties").and_then(|members| members.as_object()).into_iter().flatten() {
        assert!(member.get("description").is_some(), "{path}.{key} has no description");
        walk(root, member, &path.key(key), secrets, depth + 1);
    }
    for (_, member) in node.get("patternProperties").and_then(|members| members.as_object()).into_iter().flatten() {
        walk(root, member, &path.key("x"), secrets, depth + 1);
    }
    if let Some(member) = node.get("additionalProperties").filter(|member| member.is_object()) {
        walk(root, member, &path.key("x"), secrets, depth + 1);
    }
    if let Some(member) = node.get("items") {
        walk(root, member, &path.index(0), secrets, depth + 1);
    }
}
