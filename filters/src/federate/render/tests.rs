use super::*;
use crate::exchange::UnixMillis;
use crate::federate::naming::Prefixing;
use crate::federate::policy::Policy;
use crate::federate::testing::{keys, merge, policy, tools};

fn answer(era: Era, catalog: &Catalog) -> (ListAnswer, serde_json::Value) {
    let page = catalog.page(Kind::Tools, None);
    let cursor = page.next.map(|next| next.seal(&keys(), "default", Kind::Tools, None).unwrap());
    let answer =
        list(Kind::Tools, era, b"\"\\u0061\"", &page, cursor.as_deref(), Caching::of(catalog, UnixMillis(2_000)));
    let whole = answer.whole();
    assert_eq!(whole.len(), answer.len());
    assert_eq!(answer.clone().pieces().concat(), whole);
    (answer, serde_json::from_slice(&whole).unwrap())
}

#[test]
fn a_list_is_made_of_what_is_there_already() {
    let policy = Policy { page_size: 2, ..policy(Prefixing::Always, &["a"]) };
    let catalog = merge(&policy, vec![tools(&["x", "y", "z"])]);
    let (pieces, legacy) = answer(Era::Legacy, &catalog);
    assert_eq!(pieces.items.as_ptr(), catalog.page(Kind::Tools, None).items.as_ptr(), "shared, not copied");
    assert!(pieces.head.starts_with(br#"{"jsonrpc":"2.0","id":"\u0061","result":{"nextCursor":""#));
    assert!(pieces.head.ends_with(br#"","tools":["#));
    let all = merge(&Policy { page_size: 3, ..policy.clone() }, vec![tools(&["x", "y", "z"])]);
    let (pieces, whole) = answer(Era::Legacy, &all);
    assert_eq!(pieces.items.as_ptr(), all.page(Kind::Tools, None).items.as_ptr(), "its end included");
    assert_eq!((pieces.tail.len(), whole["result"]["tools"].as_array().map(Vec::len)), (0, Some(3)));
    assert_eq!(legacy["result"]["tools"], serde_json::json!([{"name": "a__x"}, {"name": "a__y"}]));
    assert!(legacy["result"]["nextCursor"].is_string());
    assert_eq!(legacy["result"].as_object().unwrap().len(), 2, "no members of the other era");
    let (_, modern) = answer(Era::Modern, &catalog);
    assert_eq!(modern["result"]["resultType"], "complete");
    assert_eq!((&modern["result"]["ttlMs"], &modern["result"]["cacheScope"]), (&59_000.into(), &"public".into()));
    let (_, empty) = answer(Era::Modern, &merge(&policy, vec![tools(&[])]));
    assert_eq!(empty["result"]["tools"], serde_json::json!([]));
    assert!(empty["result"].get("nextCursor").is_none());
}

fn shown(json: &'static str, exposed: &str, description: Option<&str>) -> String {
    let uris = Uris::of(&policy(Prefixing::Always, &["a"]));
    let item = Item { name: "t".into(), json: Bytes::from_static(json.as_bytes()) };
    let made = super::item(&Shown { kind: Kind::Tools, item: &item, exposed, description, member: 0, uris: &uris });
    String::from_utf8(made.into_owned()).unwrap()
}

#[test]
fn an_item_changes_where_it_must_and_nowhere_else() {
    assert_eq!(shown(r#"{"name":"t"}"#, "t", None), r#"{"name":"t"}"#);
    assert_eq!(shown(r#"{"a":"name","name":"t" }"#, "u", None), r#"{"a":"name","name":"u" }"#);
    assert_eq!(shown(r#"{"description":"old","name":"t"}"#, "u", Some("n\"w")), r#"{"description":"n\"w","name":"u"}"#);
    assert_eq!(shown(r#"{"name":"t","x":1}"#, "u", Some("new")), r#"{"name":"u","description":"new","x":1}"#);
    assert_eq!(shown(r#"{"name":"t","description":null}"#, "t", Some("new")), r#"{"name":"t","description":"new"}"#);
    assert_eq!(
        shown(
            r#"{"_meta":{"ui":{"resourceUri":"x:y"},"z":{"resourceUri":"x:y"}},"name":"t","resourceUri":"x:y"}"#,
            "t",
            Some("d")
        ),
        r#"{"_meta":{"ui":{"resourceUri":"a+x:y"},"z":{"resourceUri":"x:y"}},"name":"t","description":"d","resourceUri":"x:y"}"#
    );
    assert_eq!(
        shown(r#"{"name":"t","_meta":{"ui":7,"ui/resourceUri":null}}"#, "t", None),
        r#"{"name":"t","_meta":{"ui":7,"ui/resourceUri":null}}"#
    );
}
