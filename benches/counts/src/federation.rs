//! Ten backends as one server: what they offer, merged as a gateway does it, and the answer to a list request.

use lockgate_filters::backend::{Backend, Facts, Speaks};
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::federate::naming::Prefixing;
use lockgate_filters::federate::render::{self, Caching, ListAnswer};
use lockgate_filters::federate::{
    Catalog, Failure, Federation, Inventory, InventoryBuilder, InventoryLimits, Kind, Member, Offer, Policy, Standing,
};
use lockgate_filters::revision::Era;
use lockgate_filters::rpc::params::ToolParams;
use std::fmt::Write;
use std::sync::Arc;

/// How many backends there are.
pub const MEMBERS: usize = 10;

/// How long the backends' lists are believed, in milliseconds.
const TRUST: u64 = 3_600_000;

/// The backends, and what a virtual server over all of them shows.
pub struct Members {
    /// The backends.
    pub backends: Box<[Arc<Backend>]>,
    /// What a virtual server makes of them.
    pub federation: Arc<Federation>,
}

impl Members {
    /// Backends with so many tools each; the first tool of each is `tool`. `None` where what they offer cannot be read, which
    /// is never.
    pub fn of(tool: &str, tools: usize, now: UnixMillis) -> Option<Members> {
        let names: Vec<Arc<str>> = (0..MEMBERS).map(|number| format!("m{number}").into()).collect();
        let members = names.iter().map(|name| Member::new(Arc::clone(name))).collect();
        let policy = Policy {
            prefixing: Prefixing::Always,
            separator: "__".into(),
            members,
            page_size: 1000,
            instructions: None,
        };
        let inventory = Arc::new(inventory(tool, tools, now)?);
        let offer = Offer { inventory: Some(Arc::clone(&inventory)), standing: Standing::Fresh };
        let catalog = Catalog::merge(&policy, &vec![offer; MEMBERS]);
        let facts = || Facts {
            modern: Speaks::Yes,
            legacy: Speaks::Yes,
            tools: Some(Arc::new(ToolParams::default())),
            inventory: Some(Arc::clone(&inventory)),
            ..Facts::default()
        };
        let backends = names.into_iter().map(|name| Arc::new(Backend::new(name, facts()))).collect();
        let federation = Federation::new(policy, Failure::Partial, 0);
        federation.publish(Arc::new(catalog));
        Some(Members { backends, federation: Arc::new(federation) })
    }

    /// The answer to `tools/list` of a modern client.
    pub fn list(&self, id: &[u8], now: UnixMillis) -> ListAnswer {
        let catalog = self.federation.pinned();
        let page = catalog.page(Kind::Tools, None);
        render::list(Kind::Tools, Era::Modern, id, &page, None, Caching::of(&catalog, now))
    }
}

/// What each backend offers: tools of about 325 bytes, 39 KB for 120 of them, as real catalogs have them.
fn inventory(tool: &str, tools: usize, now: UnixMillis) -> Option<Inventory> {
    let mut page = String::from("{\"tools\":[");
    for number in 0..tools {
        let comma = if number > 0 { "," } else { "" };
        let name = if number == 0 { tool.to_owned() } else { format!("filler_{number:03}") };
        let description = "Says at length what it is good for, and when a model had better leave it alone. ".repeat(2);
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            r#"{comma}{{"name":"{name}","description":"{description}","inputSchema":{{"type":"object","properties":{{"payload":{{"description":"What to work on"}},"limit":{{"type":"integer","minimum":0}}}}}}}}"#
        );
    }
    page.push_str("]}");
    let mut builder = InventoryBuilder::within(InventoryLimits::default(), now);
    builder.describe(br#"{"capabilities":{"tools":{}}}"#).ok()?;
    builder.page(Kind::Tools, page.as_bytes()).ok()?;
    Some(builder.finish(TRUST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tools_of_all_backends_are_listed() {
        let now = UnixMillis(1_800_000_000_000);
        let members = Members::of("store_note", 12, now).unwrap();
        let list: serde_json::Value = serde_json::from_slice(&members.list(b"17", now).whole()).unwrap();
        let tools = list["result"]["tools"].as_array().unwrap();
        assert_eq!((tools.len(), &list["id"], &list["result"]["ttlMs"]), (120, &17.into(), &TRUST.into()));
        assert_eq!((&tools[0]["name"], &tools[12]["name"]), (&"m0__store_note".into(), &"m1__store_note".into()));
        assert!((36_000..43_000).contains(&members.list(b"17", now).len()), "{}", members.list(b"17", now).len());
    }
}
