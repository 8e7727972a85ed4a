//! What the tests of this folder share.

use super::catalog::{Catalog, Offer, Standing};
use super::inventory::{Inventory, InventoryBuilder, InventoryLimits};
use super::kind::Kind;
use super::naming::Prefixing;
use super::policy::{Member, Policy};
use crate::exchange::UnixMillis;
use crate::ticket::{Key, Keyring};
use std::sync::Arc;

pub fn keys() -> Keyring {
    Keyring::new(vec![Key::derive("k1", b"a secret that only this test knows").unwrap()]).unwrap()
}

/// An inventory of these pages, each a result.
pub fn inventory(description: &str, pages: &[(Kind, &str)]) -> Inventory {
    let mut builder = InventoryBuilder::within(InventoryLimits::default(), UnixMillis(1_000));
    builder.describe(description.as_bytes()).unwrap();
    for (kind, page) in pages {
        builder.page(*kind, page.as_bytes()).unwrap();
    }
    builder.finish(60_000)
}

/// An inventory of tools that have nothing but names.
pub fn tools(names: &[&str]) -> Inventory {
    let tools: Vec<_> = names.iter().map(|name| serde_json::json!({ "name": name })).collect();
    let page = serde_json::json!({ "tools": tools }).to_string();
    inventory(r#"{"capabilities":{"tools":{}}}"#, &[(Kind::Tools, &page)])
}

/// Somebody who is known by this token.
pub fn audience(token: &str) -> super::Audience {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-token", token.parse().unwrap());
    let mut member = Member::new("a");
    member.identity = Box::new([http::HeaderName::from_static("x-token")]);
    let policy = Policy { members: vec![member].into(), ..Policy::default() };
    let federation = super::Federation::new(policy, super::Failure::Partial, 0);
    let backend = Arc::new(crate::backend::Backend::new("a", Default::default()));
    super::Callers::of(&headers, &federation, &[backend]).unwrap().all()
}

pub fn policy(prefixing: Prefixing, backends: &[&str]) -> Policy {
    let members = backends.iter().map(|backend| Member::new(*backend)).collect();
    Policy { prefixing, separator: "__".into(), members, page_size: 1000, instructions: None }
}

pub fn merge(policy: &Policy, inventories: Vec<Inventory>) -> Catalog {
    let offer = |inventory| Offer { inventory: Some(Arc::new(inventory)), standing: Standing::Fresh };
    Catalog::merge(policy, &inventories.into_iter().map(offer).collect::<Vec<_>>())
}
