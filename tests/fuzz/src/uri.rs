//! A backend's URI that goes out comes back to the same backend as the same URI, whatever is listed; so does what a template
//! expands to.
//!
//! The input is lines: `r0 URI` lists a resource of the first backend, `t1 TEMPLATE` a template of the second; any other line
//! is a URI that a backend mentions without listing it.

use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::federate::naming::Prefixing;
use lockgate_filters::federate::uri::Form;
use lockgate_filters::federate::{Catalog, InventoryBuilder, InventoryLimits, Kind, Member, Offer, Policy, Standing};
use std::sync::Arc;

const BACKENDS: [&str; 3] = ["a", "ui", "1st"];

/// Checks the mapping of URIs in all modes.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines: Vec<&str> = text.split('\n').take(32).collect();
    for prefixing in [Prefixing::Always, Prefixing::OnConflict, Prefixing::Never] {
        let catalog = catalog(prefixing, &lines);
        for kind in [Kind::Resources, Kind::Templates] {
            for (exposed, owner) in catalog.items(kind) {
                assert_eq!(catalog.item(kind, exposed), Some(owner.clone()), "listed, but not found");
                match kind {
                    Kind::Resources => assert_eq!(catalog.resource(exposed), Some(owner), "listed, but not readable"),
                    _ if prefixing == Prefixing::Never => {}
                    _ => expands(&catalog, exposed, owner.member, &owner.original),
                }
            }
        }
        for uri in &lines {
            comes_back(&catalog, prefixing, uri);
        }
    }
}

fn catalog(prefixing: Prefixing, lines: &[&str]) -> Catalog {
    let list = |kind: Kind, letter: char, member: usize| {
        let own = lines.iter().filter_map(|line| line.strip_prefix(&format!("{letter}{member} ")));
        let items: Vec<_> = own.map(|name| serde_json::json!({ kind.key(): name })).collect();
        serde_json::json!({ kind.member(): items }).to_string()
    };
    let offer = |member| {
        let mut builder = InventoryBuilder::within(InventoryLimits::default(), UnixMillis(0));
        for (kind, letter) in [(Kind::Resources, 'r'), (Kind::Templates, 't')] {
            builder.page(kind, list(kind, letter, member).as_bytes()).expect("a page");
        }
        Offer { inventory: Some(Arc::new(builder.finish(0))), standing: Standing::Fresh }
    };
    let members = BACKENDS.map(Member::new).into();
    let policy = Policy { prefixing, separator: "__".into(), members, page_size: 10, instructions: None };
    Catalog::merge(&policy, &[0, 1, 2].map(offer))
}

fn comes_back(catalog: &Catalog, prefixing: Prefixing, uri: &str) {
    for member in 0..BACKENDS.len() {
        let uris = catalog.uris(member);
        let exposed = uris.outward(uri);
        if prefixing == Prefixing::Never || Form::of(uri) == Form::Web {
            assert_eq!(exposed, uri, "changed, but must stay");
            continue;
        }
        let owner = catalog.resource(&exposed).expect("went out, but is nobody's");
        assert_eq!((owner.member, &*owner.original), (member, uri), "went out as {exposed}");
    }
    // Whatever a client sends does no harm, and is the same to whoever gets it.
    if let Some(owner) = catalog.resource(uri) {
        assert!(uri.ends_with(&*owner.original) || Form::of(uri) == Form::App, "became something else");
    }
}

fn expands(catalog: &Catalog, exposed: &str, member: usize, original: &str) {
    let (shown, own) = (expand(exposed), expand(original));
    if Form::of(&shown) == Form::Web || Form::of(&own) == Form::Web || shown.len() > 4096 {
        return;
    }
    // What somebody lists is theirs, even if a template of another gives it too.
    let listed = catalog.items(Kind::Resources).any(|(exposed, _)| exposed == shown);
    let shared = catalog.items(Kind::Resources).any(|(_, owner)| owner.original == shown);
    if listed || shared {
        return;
    }
    let owner = catalog.resource(&shown).expect("expanded, but is nobody's");
    assert_eq!((owner.member, &*owner.original), (member, &*own), "{exposed} became {shown}");
}

/// Each expression as one value.
fn expand(template: &str) -> String {
    let mut parts = template.split('{');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            Some((_, behind)) => expanded.push_str(&format!("v-1{behind}")),
            None => expanded.push_str(&format!("{{{part}")),
        }
    }
    expanded
}
