//! Whatever backends list, what is shown of it is JSON, under names that are legal, differ, and lead back.
//!
//! The input is lines: a digit for the backend, one for the kind, and a page; a `d` in place of the kind is what the backend
//! says of itself.

use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::federate::naming::{self, Prefixing};
use lockgate_filters::federate::render::{self, Caching};
use lockgate_filters::federate::{
    Catalog, Inventory, InventoryBuilder, InventoryLimits, Kind, Member, Offer, Policy, Standing, describe,
};
use lockgate_filters::revision::{Era, Revision};
use lockgate_filters::rpc::members::{items, member};
use lockgate_filters::rpc::scan::{Limits, MAX_DEPTH, scan_envelope, skim_content};
use std::collections::HashSet;
use std::sync::Arc;

const LIMITS: InventoryLimits = InventoryLimits {
    items: 20,
    bytes: 8_192,
    item_bytes: 2_048,
    name_bytes: 200,
    uri_bytes: 500,
    depth: 16,
    pages: 4,
    cursor_bytes: 64,
    instructions_bytes: 256,
    offences: 4,
};
const JSON: Limits = Limits { depth: MAX_DEPTH, batch: 0 };

/// Checks pages of two backends, and the catalogs that are made of them.
pub fn check(data: &[u8]) {
    let mut builders = [(); 2].map(|()| InventoryBuilder::within(LIMITS, UnixMillis(0)));
    for line in data.split(|byte| *byte == b'\n').take(16) {
        let [backend, kind, page @ ..] = line else { continue };
        let builder = &mut builders[usize::from(backend & 1)];
        match kind {
            b'd' => drop(builder.describe(page)),
            kind => drop(builder.page(Kind::ALL[usize::from(kind & 3)], page)),
        }
    }
    let inventories = builders.map(|builder| Arc::new(builder.finish(1)));
    for inventory in &inventories {
        bounded(inventory);
    }
    for prefixing in [Prefixing::Always, Prefixing::OnConflict, Prefixing::Never] {
        let members = ["a", "b"].map(Member::new).into();
        let policy = Policy { prefixing, separator: "__".into(), members, page_size: 3, instructions: None };
        let offers =
            inventories.clone().map(|inventory| Offer { inventory: Some(inventory), standing: Standing::Fresh });
        let catalog = Catalog::merge(&policy, &offers);
        for kind in Kind::ALL {
            listed(&catalog, kind, prefixing, &inventories);
        }
        let revisions = Revision::ALL.into_iter();
        let discover = describe::discover_result(&catalog, revisions, "{}", Caching::of(&catalog, UnixMillis(0)));
        let initialize = describe::initialize_result(&catalog, Revision::V2025_11_25, "{}");
        for result in [discover, initialize] {
            assert_eq!(skim_content(&result, &JSON), Ok(()), "what is said of the server is no JSON");
        }
    }
}

fn bounded(inventory: &Inventory) {
    assert!(inventory.offences.len() <= LIMITS.offences);
    assert!(inventory.bytes() <= LIMITS.bytes, "more than the limit");
    for kind in Kind::ALL {
        let items = &inventory.list(kind).items;
        assert!(items.len() <= LIMITS.items);
        for item in items {
            assert!(!item.json.contains(&b'\n'), "more than one line");
            let depth = Limits { depth: LIMITS.depth, batch: 0 };
            assert_eq!(skim_content(&item.json, &depth), Ok(()), "no JSON, or too deep");
        }
    }
}

fn listed(catalog: &Catalog, kind: Kind, prefixing: Prefixing, inventories: &[Arc<Inventory>; 2]) {
    let mut seen = HashSet::new();
    for (exposed, owner) in catalog.items(kind) {
        assert!(seen.insert(exposed), "{exposed} twice");
        if matches!(kind, Kind::Tools | Kind::Prompts) {
            assert!(naming::is_mcp_name(exposed), "{exposed}");
            assert!(prefixing != Prefixing::Always || exposed.len() <= naming::NAME_BYTES_MAX, "{exposed}");
        }
        let own = &inventories[owner.member].list(kind).items;
        assert!(own.iter().any(|item| *item.name == owner.original), "{exposed} is nobody's");
        assert_eq!(catalog.item(kind, exposed), Some(owner));
    }
    let mut shown = Vec::new();
    let mut after = None;
    loop {
        let page = catalog.page(kind, after.as_ref());
        let caching = Caching::of(catalog, UnixMillis(0));
        let answer = render::list(kind, Era::Modern, b"1", &page, Some("cursor"), caching).whole();
        let message = scan_envelope(&answer, &JSON).expect("a response");
        let result = message.result.expect("a result").span.of(&answer);
        let list = member(result, kind.member()).expect("a list").span.of(result);
        for item in items(list).map(|item| item.span.of(list)) {
            let name = member(item, kind.key()).and_then(|value| value.text(item)).expect("a name");
            shown.push(name.into_owned());
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let all: Vec<&str> = catalog.items(kind).map(|(exposed, _)| exposed).collect();
    assert_eq!(shown, all, "the pages show something else");
}
