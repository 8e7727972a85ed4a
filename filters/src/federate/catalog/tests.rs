use super::*;
use crate::federate::glob::Selection;
use crate::federate::naming::{self, Prefixing};
use crate::federate::policy::{Member, Policy, Rename};
use crate::federate::testing::{inventory, merge, policy, tools};
use proptest::prelude::*;
use serde_json::Value;

fn exposed(catalog: &Catalog, kind: Kind) -> Vec<&str> {
    catalog.items(kind).map(|(exposed, _)| exposed).collect()
}

fn owner(member: usize, original: &str) -> Option<Owner<'_>> {
    Some(Owner { member, original: original.into(), sent: None })
}

fn rename(member: &mut Member, original: &str, name: Option<&str>, description: Option<&str>) {
    let rename = Rename { name: name.map(Into::into), description: description.map(Into::into) };
    member.tools.renames.insert(original.into(), rename);
}

/// The items of a whole list, parsed.
fn parsed(catalog: &Catalog, kind: Kind) -> Vec<Value> {
    let page = catalog.page(kind, None);
    serde_json::from_slice(&[b"[", &page.items[..], b"]"].concat()).unwrap()
}

#[test]
fn names_are_prefixed_ordered_and_looked_up_by_table() {
    let policy = policy(Prefixing::Always, &["gh", "fs"]);
    let catalog = merge(&policy, vec![tools(&["z", "search"]), tools(&["search", "a.b"])]);
    let names = exposed(&catalog, Kind::Tools);
    assert_eq!(names[..3], ["gh__z", "gh__search", "fs__search"]);
    assert_eq!(catalog.tool("fs__search"), owner(1, "search"));
    assert_eq!(catalog.tool(names[3]), owner(1, "a.b"));
    for unknown in ["search", "gh__", "gh__a.b", "fs__a.b", "", "GH__z"] {
        assert_eq!(catalog.tool(unknown), None, "{unknown}");
    }
    assert_eq!(catalog.prompt("gh__z"), None, "tools are no prompts");
    assert!(catalog.clashes().is_empty());
    let listed: Vec<_> =
        parsed(&catalog, Kind::Tools).iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, names);
}

#[test]
fn without_prefixes_the_first_owner_keeps_a_name_and_both_are_named() {
    let policy = policy(Prefixing::Never, &["a", "b"]);
    let catalog = merge(&policy, vec![tools(&["x", "y.z"]), tools(&["y.z", "w"])]);
    assert_eq!(exposed(&catalog, Kind::Tools), ["x", "y.z", "w"]);
    let clash = Clash { kind: Kind::Tools, exposed: "y.z".into(), kept: (0, "y.z".into()), lost: (1, "y.z".into()) };
    assert_eq!(catalog.clashes(), [clash]);
    assert_eq!(catalog.tool("y.z"), owner(0, "y.z"));
}

#[test]
fn on_conflict_only_shared_names_get_prefixes() {
    let mut policy = policy(Prefixing::OnConflict, &["a", "b"]);
    rename(&mut policy.members[0], "r", Some("w"), None);
    let catalog = merge(&policy, vec![tools(&["x", "s", "r"]), tools(&["s", "y", "w"])]);
    assert_eq!(exposed(&catalog, Kind::Tools), ["x", "a__s", "w", "b__s", "y", "b__w"]);
    assert_eq!(catalog.tool("w"), owner(0, "r"));
    assert_eq!(catalog.tool("s"), None);
    let alone = merge(&policy, vec![tools(&["s"])]);
    assert_eq!(exposed(&alone, Kind::Tools), ["s"]);
    assert_eq!(alone.tool("a__s"), owner(0, "s"), "as it was called while another was there");
    assert_eq!(alone.tool("b__s"), None);
    let taken = merge(&policy, vec![tools(&["s"]), tools(&["a__s"])]);
    assert_eq!(taken.tool("a__s"), owner(1, "a__s"), "who has the name keeps it");
}

#[test]
fn a_part_of_a_catalog_is_a_whole_one_of_what_is_visible() {
    let policy = Policy { page_size: 2, ..policy(Prefixing::Always, &["a", "b"]) };
    let catalog = merge(&policy, vec![tools(&["x", "y"]), tools(&["x", "z"])]);
    let part = catalog.only(|kind, place| kind == Kind::Tools && place != 1);
    assert_eq!(exposed(&part, Kind::Tools), ["a__x", "b__x", "b__z"]);
    assert_eq!(part.tool("b__z"), owner(1, "z"));
    assert_eq!(part.tool("a__y"), None);
    let first = part.page(Kind::Tools, None);
    let second = part.page(Kind::Tools, first.next.as_ref());
    let listed = |page: &Page| serde_json::from_slice::<Value>(&[b"[", &page.items[..], b"]"].concat()).unwrap();
    assert_eq!((listed(&first)[1]["name"].as_str(), listed(&second)[0]["name"].as_str()), (Some("b__x"), Some("b__z")));
    assert_eq!(second.closed.as_deref(), Some([&second.items[..], CLOSE].concat().as_slice()));
    assert_ne!(part.digest(Kind::Tools), catalog.digest(Kind::Tools));
    let all = catalog.only(|_, _| true);
    assert_eq!(all.digest(Kind::Tools), catalog.digest(Kind::Tools));
    assert_eq!((catalog.scope(), all.scope()), (Scope::Public, Scope::Private), "others might not see all");
    assert_eq!(catalog.only(|_, _| false).count(Kind::Tools), 0);
}

#[test]
fn what_an_operator_names_nobody_takes() {
    let mut policy = policy(Prefixing::Never, &["a", "b"]);
    rename(&mut policy.members[1], "read", Some("open"), Some("Opens \"it\"."));
    let catalog = merge(&policy, vec![tools(&["open", "other"]), tools(&["read"])]);
    assert_eq!(catalog.tool("open"), owner(1, "read"));
    assert_eq!(catalog.tool("read"), None);
    assert_eq!(catalog.clashes()[0].lost, (0, "open".into()));
    assert_eq!(parsed(&catalog, Kind::Tools)[1]["description"], "Opens \"it\".");
}

#[test]
fn only_what_is_selected_is_there() {
    let mut policy = policy(Prefixing::Never, &["a"]);
    policy.members[0].tools.selection = Selection::new(&["read_*"], &["*secret*"]);
    policy.members[0].resources = Selection::new(&["m:*"], &[]);
    let pages = [
        (Kind::Tools, r#"{"tools":[{"name":"read_x"},{"name":"read_secret"},{"name":"write"}]}"#),
        (Kind::Prompts, r#"{"prompts":[{"name":"write"}]}"#),
        (Kind::Resources, r#"{"resources":[{"uri":"m:1"},{"uri":"n:1"}]}"#),
    ];
    let catalog = merge(&policy, vec![inventory(r#"{"capabilities":{}}"#, &pages)]);
    assert_eq!(exposed(&catalog, Kind::Tools), ["read_x"]);
    assert_eq!(exposed(&catalog, Kind::Prompts), ["write"]);
    assert_eq!(exposed(&catalog, Kind::Resources), ["m:1"]);
    assert_eq!(catalog.tool("write"), None);
}

#[test]
fn resources_and_templates_are_mapped_like_everything_that_names_them() {
    let policy = policy(Prefixing::Always, &["a", "b"]);
    let pages = [
        (Kind::Resources, r#"{"resources":[{"uri":"memo:x","name":"x"},{"uri":"https:\/\/h\/x"},{"uri":"ui://app"}]}"#),
        (Kind::Templates, r#"{"resourceTemplates":[{"uriTemplate":"file:///{+path}"}]}"#),
        (
            Kind::Tools,
            r#"{"tools":[{"name":"t","_meta":{"ui":{"resourceUri":"ui:\/\/app","x":1},"ui/resourceUri":"ui://app","openai/outputTemplate":"ui://app"}}]}"#,
        ),
    ];
    let one = || inventory(r#"{"capabilities":{"resources":{}}}"#, &pages);
    let catalog = merge(&policy, vec![one(), one()]);
    assert_eq!(exposed(&catalog, Kind::Resources), ["a+memo:x", "https://h/x", "ui://a+app", "b+memo:x", "ui://b+app"]);
    assert_eq!(catalog.clashes().len(), 1, "the web has no prefixes: {:?}", catalog.clashes());
    assert_eq!(exposed(&catalog, Kind::Templates), ["a+file:///{+path}", "b+file:///{+path}"]);
    assert_eq!(catalog.template("b+file:///{+path}"), owner(1, "file:///{+path}"));
    assert_eq!(catalog.resource("b+file:///etc/x"), owner(1, "file:///etc/x"));
    assert_eq!(catalog.resource("ui://b+app"), owner(1, "ui://app"));
    assert_eq!(catalog.resource("https://h/x"), owner(0, "https://h/x"));
    let meta = &parsed(&catalog, Kind::Tools)[1]["_meta"];
    assert_eq!(meta["ui"], serde_json::json!({"resourceUri": "ui://b+app", "x": 1}));
    assert_eq!((&meta["ui/resourceUri"], &meta["openai/outputTemplate"]), (&"ui://b+app".into(), &"ui://b+app".into()));
    assert_eq!(catalog.uris(1).outward("memo:x"), "b+memo:x");
}

#[test]
fn on_conflict_a_template_is_prefixed_where_another_may_give_the_same() {
    let policy = policy(Prefixing::OnConflict, &["a", "b"]);
    let templates = |templates: &[&str]| {
        let items: Vec<_> = templates.iter().map(|text| serde_json::json!({ "uriTemplate": text })).collect();
        let page = serde_json::json!({ "resourceTemplates": items }).to_string();
        inventory(r#"{"capabilities":{"resources":{}}}"#, &[(Kind::Templates, &page)])
    };
    let catalog = merge(&policy, vec![templates(&["m:{x}", "n:{x}", "{any}"]), templates(&["m:deep/{x}", "b+{x}"])]);
    assert_eq!(exposed(&catalog, Kind::Templates), ["a+m:{x}", "n:{x}", "a+{any}", "b+m:deep/{x}", "b+b+{x}"]);
    let apart = merge(&policy, vec![templates(&["m:{x}", "n:{x}"]), templates(&["o:{x}", "b{x}"])]);
    assert_eq!(exposed(&apart, Kind::Templates), ["m:{x}", "n:{x}", "o:{x}", "b+b{x}"]);
    assert_eq!(apart.resource("o:7"), owner(1, "o:7"));
}

#[test]
fn items_keep_every_byte_that_nothing_is_decided_on() {
    let policy = policy(Prefixing::Always, &["a"]);
    let page = r#"{"tools":[{ "inputSchema" : {"type":"object","a":1.0e0,"uri":"x:y"} , "name":"t","x":"\u00e9\/" }]}"#;
    let catalog = merge(&policy, vec![inventory(r#"{"capabilities":{}}"#, &[(Kind::Tools, page)])]);
    let expected = r#"{ "inputSchema" : {"type":"object","a":1.0e0,"uri":"x:y"} , "name":"a__t","x":"\u00e9\/" }"#;
    assert_eq!(catalog.page(Kind::Tools, None).items, expected);
}

#[test]
fn pages_go_on_behind_the_same_item_whatever_has_changed() {
    let policy = Policy { page_size: 2, ..policy(Prefixing::Never, &["a"]) };
    let catalog = merge(&policy, vec![tools(&["1", "2", "3", "4", "5"])]);
    let names = |page: &Page| -> Vec<String> {
        let items: Vec<Value> = serde_json::from_slice(&[b"[", &page.items[..], b"]"].concat()).unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = catalog.page(Kind::Tools, None);
    assert_eq!((names(&first), first.count), (vec!["1".into(), "2".into()], 2));
    let second = catalog.page(Kind::Tools, first.next.as_ref());
    assert_eq!(names(&second), ["3", "4"]);
    let third = catalog.page(Kind::Tools, second.next.as_ref());
    assert_eq!((names(&third), third.next), (vec!["5".into()], None));

    let behind_2 = first.next.as_ref();
    for (changed, goes_on) in [
        (&["0", "1", "2", "3"][..], &["3"][..]),
        (&["2", "3", "4"], &["3", "4"]),
        (&["1", "3", "4"], &["3", "4"]),
        (&["1"], &[]),
        (&[], &[]),
    ] {
        let catalog = merge(&policy, vec![tools(changed)]);
        assert_eq!(names(&catalog.page(Kind::Tools, behind_2)), goes_on, "{changed:?}");
    }
    let exact = merge(&policy, vec![tools(&["1", "2"])]);
    assert_eq!(exact.page(Kind::Tools, None).next, None, "no empty page is promised");
}

#[test]
fn a_digest_changes_only_with_what_clients_see() {
    let mut policy = policy(Prefixing::Always, &["a", "b"]);
    policy.members[0].tools.selection = Selection::new(&[], &["hidden*"]);
    let before = merge(&policy, vec![tools(&["x"]), tools(&["y"])]);
    let hidden = merge(&policy, vec![tools(&["x", "hidden"]), tools(&["y"])]);
    assert_eq!(hidden.changes(&before).count(), 0);
    let more = merge(&policy, vec![tools(&["x"]), tools(&["y", "z"])]);
    assert_eq!(more.changes(&before).collect::<Vec<_>>(), [Kind::Tools]);
}

#[test]
fn a_missing_member_takes_nothing_from_the_others() {
    let policy = policy(Prefixing::Always, &["a", "b", "c"]);
    let offers = [
        Offer::default(),
        Offer { inventory: Some(Arc::new(tools(&["x"]))), standing: Standing::Stale },
        Offer { inventory: Some(Arc::new(tools(&["y"]))), standing: Standing::Fresh },
    ];
    let catalog = Catalog::merge(&policy, &offers);
    assert_eq!(catalog.standings(), [Standing::Missing, Standing::Stale, Standing::Fresh]);
    assert_eq!(exposed(&catalog, Kind::Tools), ["b__x", "c__y"]);
    assert!(catalog.is_filled());
    let nothing = Catalog::merge(&policy, &[]);
    assert!(!nothing.is_filled());
    assert_eq!((nothing.standings().len(), nothing.ttl(UnixMillis(5))), (3, 0));
}

#[test]
fn the_shortest_time_and_the_narrowest_scope_count() {
    let policy = policy(Prefixing::Always, &["a", "b"]);
    let page = r#"{"tools":[],"ttlMs":100,"cacheScope":"private"}"#;
    let private = inventory(r#"{"capabilities":{}}"#, &[(Kind::Tools, page)]);
    let catalog = merge(&policy, vec![tools(&["x"]), private]);
    assert_eq!((catalog.scope(), catalog.fresh_until()), (Scope::Private, UnixMillis(1_100)));
    assert_eq!((catalog.ttl(UnixMillis(1_050)), catalog.ttl(UnixMillis(2_000))), (50, 0));
}

#[test]
fn clients_may_believe_only_what_is_whole_and_fresh() {
    let policy = policy(Prefixing::Always, &["a", "b"]);
    let known = Arc::new(tools(&["x"]));
    let fresh = || Offer { inventory: Some(Arc::clone(&known)), standing: Standing::Fresh };
    let now = UnixMillis(1_000);
    assert_eq!(Catalog::merge(&policy, &[fresh(), fresh()]).ttl(now), 60_000);
    for standing in [Standing::Stale, Standing::Missing] {
        let catalog = Catalog::merge(&policy, &[fresh(), Offer { standing, ..fresh() }]);
        assert_eq!(catalog.ttl(now), 0, "{standing:?}");
    }
    let catalog = Catalog::merge(&policy, &[fresh(), fresh()]);
    known.freshness.renew(UnixMillis(90_000));
    assert_eq!(catalog.ttl(now), 89_000, "another look prolongs it");
}

#[test]
fn clashes_are_bounded() {
    let names: Vec<String> = (0..CLASHES_MAX + 5).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let catalog = merge(&policy(Prefixing::Never, &["a", "b"]), vec![tools(&names), tools(&names)]);
    assert_eq!((catalog.clashes().len(), catalog.further_clashes()), (CLASHES_MAX, 5));
}

proptest! {
    #[test]
    fn exposed_names_are_legal_and_unique_and_lead_back(
        lists in prop::collection::vec(prop::collection::vec("[ab_. é]{1,5}|.{1,80}|[a-z]{60,140}", 0..6), 1..4),
        prefixing in prop::sample::select(vec![Prefixing::Always, Prefixing::OnConflict, Prefixing::Never]),
    ) {
        let policy = policy(prefixing, &["one", "two", "a-backend-with-a-long-name"][..lists.len()]);
        let inventories = || lists.iter().map(|names| tools(&names.iter().map(String::as_str).collect::<Vec<_>>())).collect();
        let catalog = merge(&policy, inventories());
        let mut seen = std::collections::HashSet::new();
        for (exposed, owner) in catalog.items(Kind::Tools) {
            prop_assert!(naming::is_mcp_name(exposed), "{exposed}");
            if prefixing == Prefixing::Always {
                prop_assert!(exposed.len() <= naming::NAME_BYTES_MAX && !exposed.contains('.'));
            }
            prop_assert!(seen.insert(exposed.to_owned()), "{exposed} twice");
            prop_assert!(lists[owner.member].iter().any(|name| *name == owner.original));
            prop_assert_eq!(catalog.tool(exposed), Some(owner));
        }
        let again = merge(&policy, inventories());
        prop_assert_eq!(catalog.digest(Kind::Tools), again.digest(Kind::Tools));
        // What is listed twice, or holds control characters, never came so far.
        let mut shown: std::collections::BTreeSet<(usize, &str)> = Default::default();
        for (member, names) in lists.iter().enumerate() {
            shown.extend(names.iter().filter(|name| !name.chars().any(char::is_control)).map(|name| (member, name.as_str())));
        }
        prop_assert_eq!(catalog.count(Kind::Tools) + catalog.clashes().len(), shown.len());
    }
}
