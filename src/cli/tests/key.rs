//! `lockgate key new`.

use super::*;
use crate::config::{Config, load_str};

const ALL: [&str; 19] = [
    "key",
    "new",
    "--id",
    "ci-bot",
    "--subject",
    "ci",
    "--tenant",
    "acme",
    "--group",
    "ops",
    "--group",
    "data",
    "--scope",
    "mcp:use",
    "--expires",
    "2027-01-01T00:00:00Z",
    "--virtual-server",
    "default",
    "--json",
];

/// A configuration with this entry.
fn configured(entry: &str) -> Config {
    let text = format!(
        "listeners: {{ main: {{ address: 127.0.0.1:0 }} }}\nbackends: {{ a: {{ endpoints: [{{ url: http://127.0.0.1:1/mcp }}] }} }}\n\
         virtual_servers: {{ default: {{ backends: [a] }} }}\napi_keys:\n{entry}"
    );
    load_str("test.yaml", &text, Path::new("/")).unwrap_or_else(|report| panic!("{report}")).config
}

#[test]
fn a_new_key_is_shown_once_with_the_entry_that_takes_it() {
    let (exit, out, err) = lockgate(&ALL[..18]);
    assert_eq!(exit, Exit::Ok, "{err}");
    let (key, entry) = out.split_once("\n\n").unwrap();
    assert!(key.starts_with("lgk_ci-bot_") && !entry.contains(key) && !err.contains(key), "{out}{err}");
    let config = configured(entry);
    let [known] = &*config.api_keys.keys else { panic!() };
    assert_eq!(
        (known.id.as_str(), known.subject.as_deref(), known.tenant.as_deref()),
        ("ci-bot", Some("ci"), Some("acme"))
    );
    assert_eq!(
        (known.groups.as_slice(), known.scopes.as_ref().map(Vec::len)),
        (&["ops".to_owned(), "data".to_owned()][..], Some(1))
    );
    assert!(known.expires.is_some() && known.virtual_servers.as_ref().is_some_and(|servers| servers.len() == 1));
    let digest = hash_of(key);
    assert_eq!(known.hash.to_string(), digest);
    assert_ne!(lockgate(&ALL[..18]).1.split_once("\n\n").unwrap().0, key, "another key each time");
}

/// The hash of a key, by the filters' account.
fn hash_of(key: &str) -> String {
    lockgate_filters::authenticate::api_key::KeyHash::of(key).to_string()
}

#[test]
fn what_is_not_asked_for_is_not_in_the_entry() {
    let (exit, out, _) = lockgate(&["key", "new", "--id", "a"]);
    assert_eq!(exit, Exit::Ok);
    let entry = out.split_once("\n\n").unwrap().1;
    assert_eq!(entry.lines().count(), 2, "{entry}");
    assert!(configured(entry).api_keys.keys[0].scopes.is_none(), "not limited by scopes");
    let (_, out, _) = lockgate(&ALL);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["entry"]["hash"], hash_of(json["key"].as_str().unwrap()));
}

#[test]
fn what_cannot_be_an_entry_makes_no_key() {
    for wrong in [
        &["--id", "Not an id"][..],
        &["--id", "With_Capitals"],
        &["--id", "a-name-that-is-longer-than-thirty-two"],
        &["--id", "a", "--subject", ""],
        &["--id", "a", "--expires", "tomorrow"],
        &["--id", "a", "--scope", "two words"],
        &[],
    ] {
        let (exit, out, err) = lockgate(&[&["key", "new"][..], wrong].concat());
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""), "{wrong:?}: {err}");
    }
}
