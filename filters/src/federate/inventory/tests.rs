use super::*;
use proptest::prelude::*;

fn limits() -> InventoryLimits {
    InventoryLimits {
        items: 3,
        bytes: 400,
        item_bytes: 200,
        name_bytes: 16,
        depth: 4,
        pages: 3,
        offences: 4,
        ..InventoryLimits::default()
    }
}

fn builder() -> InventoryBuilder {
    InventoryBuilder::within(limits(), UnixMillis(1_000))
}

fn names(inventory: &Inventory, kind: Kind) -> Vec<&str> {
    inventory.list(kind).items.iter().map(|item| &*item.name).collect()
}

/// What is left of one page of tools, and what is said of the others.
fn tools(page: &str) -> (Vec<String>, Vec<(String, Wrong)>) {
    let mut builder = builder();
    assert_eq!(builder.page(Kind::Tools, page.as_bytes()), Ok(None));
    let inventory = builder.finish(0);
    let kept = names(&inventory, Kind::Tools).into_iter().map(str::to_owned).collect();
    (kept, inventory.offences.iter().map(|offence| (offence.name.to_string(), offence.what)).collect())
}

#[test]
fn pages_are_read_in_order_and_items_keep_their_bytes() {
    let mut builder = builder();
    builder
        .describe(br#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"logging":{}},"instructions":"Be\nkind.","serverInfo":{"name":"x"}}"#)
        .unwrap();
    assert!(builder.declares(Kind::Tools) && !builder.declares(Kind::Templates));
    let next = builder.page(Kind::Tools, b"{\"tools\":[{ \"x\":\"\\u00e9\",\n\"name\":\"b\"}],\"nextCursor\":\"1\"}");
    assert_eq!(next, Ok(Some("1".to_owned())));
    assert_eq!(builder.page(Kind::Tools, br#"{"nextCursor":null,"tools":[{"name":"a"}]}"#), Ok(None));
    assert_eq!(builder.page(Kind::Templates, br#"{"resourceTemplates":[{"uriTemplate":"x:{y}"}]}"#), Ok(None));
    let inventory = builder.finish(5_000);
    assert_eq!(names(&inventory, Kind::Tools), ["b", "a"]);
    assert_eq!(inventory.list(Kind::Tools).items[0].json, "{ \"x\":\"\\u00e9\", \"name\":\"b\"}", "on one line");
    assert_eq!(names(&inventory, Kind::Templates), ["x:{y}"]);
    assert_eq!(inventory.list(Kind::Prompts).extent, Extent::Absent);
    assert_eq!(inventory.instructions.as_deref(), Some("Be\nkind."));
    assert_eq!(inventory.server_info.as_deref(), Some(&br#"{"name":"x"}"#[..]));
    assert!(inventory.declares("logging") && !inventory.declares("completions"));
    assert!(inventory.is_whole());
    assert_eq!((inventory.scope, inventory.freshness.end()), (Scope::Public, UnixMillis(6_000)));
}

#[test]
fn the_shortest_time_and_the_narrowest_scope_count() {
    let mut builder = builder();
    builder.describe(br#"{"capabilities":{},"ttlMs":9000,"cacheScope":"public"}"#).unwrap();
    builder.page(Kind::Tools, br#"{"tools":[],"ttlMs":500,"cacheScope":"private"}"#).unwrap();
    builder.page(Kind::Prompts, br#"{"prompts":[],"ttlMs":"soon","cacheScope":"public"}"#).unwrap();
    let inventory = builder.finish(100);
    assert_eq!((inventory.scope, inventory.freshness.end()), (Scope::Private, UnixMillis(1_500)));
}

#[test]
fn who_says_nothing_of_sharing_is_private_where_that_must_be_said() {
    for (page, legacy, modern) in [
        (r#"{"tools":[]}"#, Scope::Public, Scope::Private),
        (r#"{"tools":[],"cacheScope":"team"}"#, Scope::Public, Scope::Private),
        (r#"{"tools":[],"cacheScope":"public"}"#, Scope::Public, Scope::Public),
        (r#"{"tools":[],"cacheScope":"private"}"#, Scope::Private, Scope::Private),
    ] {
        for (mut builder, expected) in [(builder(), legacy), (builder().private_unless_said(), modern)] {
            builder.page(Kind::Tools, page.as_bytes()).unwrap();
            assert_eq!(builder.finish(0).scope, expected, "{page}");
        }
    }
}

#[test]
fn what_was_said_earlier_is_not_believed_longer_for_being_read_again() {
    let mut builder = builder();
    builder.describe(br#"{"capabilities":{},"ttlMs":9000}"#).unwrap();
    builder.believe_until(UnixMillis(1_200));
    builder.page(Kind::Tools, br#"{"tools":[],"ttlMs":500}"#).unwrap();
    assert_eq!(builder.finish(10_000).freshness.end(), UnixMillis(1_200));
}

#[test]
fn an_offender_is_left_out_and_named_and_the_others_stay() {
    let long = "n".repeat(17);
    let page = format!(r#"{{"tools":[{{"name":"good"}},{{"name":"{long}"}},{{"name":"good"}},{{"name":"fine"}}]}}"#);
    let (kept, offences) = tools(&page);
    assert_eq!(kept, ["good", "fine"]);
    assert_eq!(offences, [(long, Wrong::NameTooLong), ("good".to_owned(), Wrong::Repeated)]);
    for (item, name, what) in [
        (r#"{}"#, "", Wrong::Unnamed),
        (r#"{"name":7}"#, "", Wrong::Unnamed),
        (r#"{"name":""}"#, "", Wrong::Unnamed),
        (r#"{"name":"\ud800"}"#, "", Wrong::Unnamed),
        (r#""name""#, "", Wrong::Unnamed),
        (r#"null"#, "", Wrong::Unnamed),
        (r#"{"name":"a\u0000b"}"#, "ab", Wrong::NameIllegal),
        (r#"{"name":"a","name":"b"}"#, "", Wrong::Ambiguous),
        (r#"{"name":"a","x":1,"x":2}"#, "a", Wrong::Ambiguous),
        (r#"{"name":"a","_meta":{"ui":{"resourceUri":"a","resourceUri":"b"}}}"#, "a", Wrong::Ambiguous),
        (r#"{"name":"a","inputSchema":{"a":{"b":{"c":{}}}}}"#, "a", Wrong::TooDeep),
        (&format!(r#"{{"name":"a","x":"{}"}}"#, "x".repeat(200)), "a", Wrong::TooBig),
    ] {
        let (kept, offences) = tools(&format!(r#"{{"tools":[{item},{{"name":"good"}}]}}"#));
        assert_eq!((kept, offences), (vec!["good".to_owned()], vec![(name.to_owned(), what)]), "{item}");
    }
    let twice_inside = r#"{"tools":[{"name":"a","inputSchema":{"x":1,"x":2}}]}"#;
    assert_eq!(tools(twice_inside).0, ["a"], "what nothing is decided on is the client's to judge");
}

#[test]
fn what_is_no_page_fails_its_list_and_keeps_the_pages_before() {
    for page in [
        &b""[..],
        b"null",
        b"[]",
        b"{}",
        br#"{"tools":{}}"#,
        br#"{"prompts":[]}"#,
        br#"{"tools":[],"tools":[]}"#,
        br#"{"tools":[],"nextCursor":"a","nextCursor":"b"}"#,
        br#"{"tools":[],"nextCursor":7}"#,
        br#"{"tools":[{"name":"a"}]"#,
        b"{\"tools\":[{\"name\":\"\xff\"}]}",
        format!(r#"{{"tools":{}{}}}"#, "[".repeat(600), "]".repeat(600)).as_bytes(),
    ] {
        let mut builder = builder();
        builder.page(Kind::Tools, br#"{"tools":[{"name":"before"}],"nextCursor":"1"}"#).unwrap();
        builder.page(Kind::Prompts, br#"{"prompts":[{"name":"other"}]}"#).unwrap();
        assert!(builder.page(Kind::Tools, page).is_err(), "{}", page.escape_ascii());
        let inventory = builder.finish(0);
        assert_eq!(names(&inventory, Kind::Tools), ["before"]);
        assert_eq!(inventory.list(Kind::Tools).extent, Extent::Failed);
        assert_eq!(inventory.list(Kind::Prompts).extent, Extent::Whole);
        assert!(!inventory.is_whole());
    }
    assert_eq!(builder().describe(b"[]"), Err(PageFault::Malformed));
    assert_eq!(builder().describe(br#"{"capabilities":{},"capabilities":{"tools":{}}}"#), Err(PageFault::Malformed));
    let giant = format!(r#"{{"capabilities":{{"x":"{}"}}}}"#, "x".repeat(200));
    assert_eq!(builder().describe(giant.as_bytes()), Err(PageFault::Malformed));
    assert_eq!(builder().describe(b"\xff"), Err(PageFault::Unreadable));
}

#[test]
fn a_list_is_cut_at_each_limit() {
    let mut many = builder();
    let page = r#"{"tools":[{"name":"a"},{"name":"b"},{"name":"c"},{"name":"d"}],"nextCursor":"1"}"#;
    assert_eq!(many.page(Kind::Tools, page.as_bytes()), Ok(None), "nothing more is asked for");
    assert_eq!(many.page(Kind::Prompts, br#"{"prompts":[{"name":"p"}]}"#), Ok(None), "other lists go on");
    let inventory = many.finish(0);
    assert_eq!(names(&inventory, Kind::Tools), ["a", "b", "c"]);
    assert_eq!(inventory.list(Kind::Tools).extent, Extent::Cut);
    assert_eq!(&*inventory.offences, [Offence { kind: Kind::Tools, name: "d".into(), what: Wrong::TooMany }]);
    assert_eq!(names(&inventory, Kind::Prompts), ["p"]);

    let heavy =
        format!(r#"{{"name":"a","x":"{0}"}},{{"name":"b","x":"{0}"}},{{"name":"c","x":"{0}"}}"#, "x".repeat(120));
    let (kept, offences) = tools(&format!(r#"{{"tools":[{heavy}]}}"#));
    assert_eq!((kept.len(), offences[0].1), (2, Wrong::TooMany));

    let mut endless = builder();
    for page in 0..2 {
        let text = format!(r#"{{"tools":[],"nextCursor":"{page}"}}"#);
        assert_eq!(endless.page(Kind::Tools, text.as_bytes()), Ok(Some(page.to_string())));
    }
    assert_eq!(endless.page(Kind::Tools, br#"{"tools":[],"nextCursor":"2"}"#), Ok(None));
    assert_eq!(endless.finish(0).offences[0].what, Wrong::Endless);

    let mut circular = builder();
    circular.page(Kind::Tools, br#"{"tools":[],"nextCursor":"x"}"#).unwrap();
    assert_eq!(circular.page(Kind::Tools, br#"{"tools":[],"nextCursor":"x"}"#), Ok(None));
    let inventory = circular.finish(0);
    assert_eq!((inventory.list(Kind::Tools).extent, inventory.offences[0].what), (Extent::Cut, Wrong::Endless));
}

#[test]
fn offences_beyond_the_limit_are_counted() {
    let mut builder = builder();
    let page = format!(r#"{{"tools":[{}7]}}"#, "7,".repeat(9));
    builder.page(Kind::Tools, page.as_bytes()).unwrap();
    let inventory = builder.finish(0);
    assert_eq!((inventory.offences.len(), inventory.further_offences), (4, 6));
}

#[test]
fn an_empty_cursor_is_a_cursor() {
    assert_eq!(builder().page(Kind::Tools, br#"{"tools":[],"nextCursor":""}"#), Ok(Some(String::new())));
}

proptest! {
    #[test]
    fn no_page_breaks_anything(pages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)) {
        let mut builder = builder();
        for page in &pages {
            let _ = builder.describe(page);
            for kind in Kind::ALL {
                let _ = builder.page(kind, page);
            }
        }
        let inventory = builder.finish(0);
        prop_assert!(inventory.bytes() <= limits().bytes);
    }
}

#[test]
fn a_list_that_cannot_be_read_keeps_what_it_held() {
    let mut before = InventoryBuilder::within(InventoryLimits::default(), UnixMillis(0));
    before.page(Kind::Tools, br#"{"tools":[{"name":"a"},{"name":"b"}]}"#).unwrap();
    before.page(Kind::Prompts, br#"{"prompts":[{"name":"p"}]}"#).unwrap();
    let before = before.finish(0);
    let mut builder = InventoryBuilder::within(InventoryLimits::default(), UnixMillis(0));
    builder.page(Kind::Tools, br#"{"tools":[{"name":"a"}],"nextCursor":"1"}"#).unwrap();
    builder.failed(Kind::Tools);
    builder.failed(Kind::Tools);
    builder.page(Kind::Prompts, br#"{"prompts":[]}"#).unwrap();
    builder.keep(&before);
    let after = builder.finish(0);
    assert!(after.has_failed() && !before.has_failed());
    assert_eq!(after.list(Kind::Tools).items, before.list(Kind::Tools).items);
    assert!(after.list(Kind::Prompts).items.is_empty(), "this one was read");
    let offences: Vec<_> = after.offences.iter().map(|offence| (offence.kind, offence.what)).collect();
    assert_eq!(offences, [(Kind::Tools, Wrong::Unread)]);
}
