//! Showing and comparing configurations.

use super::*;

fn effective(text: &str, sources: &FakeSources) -> Effective {
    load_with(text, sources).unwrap_or_else(|report| panic!("{report}")).effective
}

fn changes(from: &str, to: &str) -> Vec<String> {
    let none = FakeSources::default();
    diff(&effective(from, &none), &effective(to, &none)).iter().map(|change| format!("{change:?}")).collect()
}

#[test]
fn what_is_shown_can_be_loaded_again() {
    let text = format!("{RIGHT}state_dir: /var/lib/lockgate\nworkers: 3\nlimits: {{ body_bytes: 1MB }}\n");
    let first = load_alone(&text).unwrap();
    let second = load_alone(&first.effective.to_yaml()).unwrap();
    assert_eq!(first.effective, second.effective);
    let written = |config: &Config| {
        let mut config = config.clone();
        config.listeners.values_mut().for_each(|listener| listener.public_url_is_derived = true);
        config
    };
    assert_eq!(written(&first.config), written(&second.config));
}

#[test]
fn differences_are_told_by_path() {
    assert!(changes(RIGHT, RIGHT).is_empty());
    assert!(
        changes(RIGHT, &format!("{RIGHT}limits: {{ depth: 64 }}\n")).is_empty(),
        "a default written out is no change"
    );
    let to = RIGHT.replace("main:", "other:").replace("/mcp, ", "/x, ");
    let all = changes(RIGHT, &to).join("\n");
    assert!(all.contains("virtual_servers"), "{all}");
    let none = FakeSources::default();
    let changed = diff(&effective(RIGHT, &none), &effective(&format!("{RIGHT}limits: {{ depth: 3 }}\n"), &none));
    assert_eq!(
        changed,
        [Change::Changed {
            path: path::KeyPath::from(["limits", "depth"]),
            from: 64.into(),
            to: 3.into(),
            masked: false
        }]
    );
}

#[test]
fn entries_come_and_go() {
    let more = RIGHT.replace("backends: [demo] }", "backends: [demo] }\n  more: { path: /more, backends: [demo] }");
    let added = changes(RIGHT, &more);
    assert!(added.len() > 3 && added.iter().all(|change| change.starts_with("Added")), "{added:?}");
    let removed = changes(&more, RIGHT);
    assert!(removed.iter().all(|change| change.starts_with("Removed")), "{removed:?}");
}

#[test]
fn a_changed_secret_is_seen_and_not_shown() {
    let with = |token: &str| {
        let sources = FakeSources::default().with_env("T", token);
        effective(&format!("{RIGHT}admin: {{ token: '${{env:T}}' }}\n"), &sources)
    };
    let (one, two) = (with("secret-token-number-one"), with("secret-token-number-two"));
    assert!(diff(&one, &with("secret-token-number-one")).is_empty());
    let changed = diff(&one, &two);
    assert_eq!(changed.len(), 1);
    assert!(matches!(&changed[0], Change::Changed { masked: true, .. }));
    assert!(!format!("{changed:?}").contains("number"), "{changed:?}");
}

#[test]
fn a_changed_value_from_the_environment_is_seen_and_not_shown() {
    let with = |depth: &str| {
        let sources = FakeSources::default().with_env("D", depth);
        effective(&format!("{RIGHT}limits: {{ depth: '${{env:D}}' }}\n"), &sources)
    };
    let changed = diff(&with("31"), &with("32"));
    assert!(matches!(&changed[..], [Change::Changed { masked: true, .. }]), "{changed:?}");
    assert!(!format!("{changed:?}").contains("31"));
    assert!(diff(&with("31"), &with("31")).is_empty());
}
