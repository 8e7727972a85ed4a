use super::*;
use crate::exchange::UnixMillis;
use crate::federate::catalog::{Offer, Standing};
use crate::federate::naming::Prefixing;
use crate::federate::testing::{inventory, merge, policy};
use serde_json::{Value, json};
use std::sync::Arc;

fn saying(instructions: &str) -> Inventory {
    inventory(&json!({"capabilities": {}, "instructions": instructions}).to_string(), &[])
}

#[test]
fn capabilities_are_united_and_what_cannot_be_carried_is_left_out() {
    let one = inventory(
        r#"{"capabilities":{"tools":{},"experimental":{"x":{}},"resources":{"subscribe":true},"logging":null}}"#,
        &[],
    );
    let other = inventory(
        r#"{"capabilities":{"tools":{"listChanged":true},"completions":{},"tasks":{},"extensions":{"a/b":{}}}}"#,
        &[],
    );
    let catalog = merge(&policy(Prefixing::Always, &["a", "b"]), vec![one, other]);
    let declared: Value = serde_json::from_str(&catalog.capabilities().json()).unwrap();
    assert_eq!(
        declared,
        json!({"tools": {"listChanged": true}, "resources": {"listChanged": true, "subscribe": true}, "completions": {}})
    );
    assert!(catalog.completes(1) && !catalog.completes(0));
    assert!(catalog.capabilities().has(Kind::Templates) && !catalog.capabilities().has(Kind::Prompts));
}

#[test]
fn a_member_that_nobody_knows_may_be_able_to_do_anything() {
    let known = inventory(r#"{"capabilities":{}}"#, &[]);
    let offers = [Offer { inventory: Some(Arc::new(known)), standing: Standing::Fresh }];
    let catalog = Catalog::merge(&policy(Prefixing::Always, &["a", "b"]), &offers);
    let declared: Value = serde_json::from_str(&catalog.capabilities().json()).unwrap();
    let changing = json!({"listChanged": true});
    let resources = json!({"listChanged": true, "subscribe": true});
    let all = json!({"tools": changing, "prompts": changing, "resources": resources, "completions": {}, "logging": {}});
    assert_eq!(declared, all);
}

#[test]
fn what_a_lost_member_could_do_is_still_declared_and_what_it_had_is_not_shown() {
    let said = r#"{"capabilities":{"tools":{},"logging":{},"resources":{"subscribe":true}},"instructions":"Hi."}"#;
    let lost = Arc::new(inventory(said, &[(Kind::Tools, r#"{"tools":[{"name":"x"}],"cacheScope":"private"}"#)]));
    let policy = policy(Prefixing::Never, &["a"]);
    let as_last_known = |standing| Catalog::merge(&policy, &[Offer { inventory: Some(Arc::clone(&lost)), standing }]);
    let (before, after) = (as_last_known(Standing::Fresh), as_last_known(Standing::Missing));
    assert_eq!(before.capabilities(), after.capabilities());
    assert_eq!((before.count(Kind::Tools), after.count(Kind::Tools)), (1, 0));
    assert_eq!(after.standings(), [Standing::Missing]);
    assert_eq!((after.instructions(), after.scope().as_str(), after.is_filled()), (None, "public", false));
}

#[test]
fn instructions_are_merged_under_headings_or_replaced() {
    let mut policy = policy(Prefixing::Always, &["a", "b", "c"]);
    let members = || vec![saying(" Do this. "), saying(""), saying("Or that.")];
    assert_eq!(merge(&policy, members()).instructions(), Some("## a\n\nDo this.\n\n## c\n\nOr that."));
    policy.instructions = Some("Mine.".into());
    assert_eq!(merge(&policy, members()).instructions(), Some("Mine."));
    policy.instructions = Some("".into());
    assert_eq!(merge(&policy, members()).instructions(), None);
    let alone = super::super::testing::policy(Prefixing::Never, &["a"]);
    assert_eq!(merge(&alone, vec![saying("Alone.")]).instructions(), Some("Alone."));
}

#[test]
fn nobody_talks_so_long_that_others_are_not_heard() {
    let policy = policy(Prefixing::Always, &["a", "b"]);
    let catalog = merge(&policy, vec![saying(&"é".repeat(INSTRUCTIONS_BYTES_MAX)), saying("Short.")]);
    let merged = catalog.instructions().unwrap();
    assert!(merged.len() <= INSTRUCTIONS_BYTES_MAX && merged.ends_with("## b\n\nShort."));
}

#[test]
fn results_of_both_eras_are_json() {
    let policy = policy(Prefixing::Always, &["a"]);
    let catalog = merge(&policy, vec![saying("Say \"hi\".\n")]);
    let info = r#"{"name":"lockgate","version":"1"}"#;
    let legacy: Value = serde_json::from_slice(&initialize_result(&catalog, Revision::V2025_06_18, info)).unwrap();
    assert_eq!(legacy["protocolVersion"], "2025-06-18");
    assert_eq!((&legacy["instructions"], &legacy["serverInfo"]["name"]), (&"Say \"hi\".".into(), &"lockgate".into()));
    let revisions = [Revision::V2026_07_28, Revision::V2025_11_25].into_iter();
    let modern: Value =
        serde_json::from_slice(&discover_result(&catalog, revisions, info, Caching::of(&catalog, UnixMillis(1_000))))
            .unwrap();
    assert_eq!(modern["supportedVersions"], json!(["2026-07-28", "2025-11-25"]));
    assert_eq!((&modern["resultType"], &modern["ttlMs"]), (&"complete".into(), &60_000.into()));
    assert_eq!(modern["_meta"]["io.modelcontextprotocol/serverInfo"]["version"], "1");
}
