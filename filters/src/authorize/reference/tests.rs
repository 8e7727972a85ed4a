//! What the real evaluator says, beside what the slow one does.

use super::random::{Case, Dice, ITEMS, SomeItem, json};
use super::{Said, decide};
use crate::authorize::spec::Undecided;
use crate::authorize::testing::caller;
use crate::authorize::{Decision, Item, Moment, Policy, Query, Ruling, View};
use crate::exchange::UnixMillis;
use crate::federate::Kind;
use crate::principal::Principal;
use http::HeaderMap;
use serde_json::json;
use std::sync::Arc;

const POLICIES: u64 = 600;
const CALLERS: usize = 3;

fn principal(case: &Case) -> Principal {
    let some = &case.caller;
    if some.anonymous {
        return Principal::new(Principal::anonymous().facts().clone());
    }
    let mut made = caller(some.subject).groups(&some.groups);
    if let Some(tenant) = some.tenant {
        made = made.tenant(tenant);
    }
    if let Some(scopes) = &some.scopes {
        made = made.scopes(scopes);
    }
    if let Some(level) = some.level {
        made = made.claims(json!({ "level": level }));
    }
    made.principal()
}

fn kind(item: &SomeItem) -> Kind {
    match item.kind {
        "tools:call" => Kind::Tools,
        "prompts:get" => Kind::Prompts,
        _ => Kind::Resources,
    }
}

fn item(some: &SomeItem) -> Item<'static> {
    let json = match some.only_reads {
        Some(true) => r#"{"name":"x","annotations":{"readOnlyHint":true}}"#,
        Some(false) => r#"{"name":"x","annotations":{"readOnlyHint":false}}"#,
        None => r#"{"name":"x"}"#,
    };
    Item { kind: kind(some), backend: some.backend, original: some.name, exposed: "shown", json: json.as_bytes() }
}

fn place(at: usize) -> usize {
    ITEMS[..at].iter().filter(|other| kind(other) == kind(&ITEMS[at])).count()
}

fn said(decision: &Decision) -> Said {
    match decision.ruling {
        Ruling::Allow => Said::Allow,
        Ruling::Deny => Said::Deny,
        Ruling::MissingScope(_) => Said::MissingScope,
        Ruling::Undecided => panic!("undecided, though all is known"),
    }
}

#[test]
fn ten_thousand_random_cases_are_decided_as_the_slow_evaluator_decides_them() {
    let (mut cases, mut undecided, mut allowed, mut hidden) = (0, 0, 0, 0);
    for seed in 1..=POLICIES {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut case = Case::policy(&mut dice);
        let policy = match Policy::compile(&case.spec) {
            Ok(policy) => Arc::new(policy),
            Err(faults) => panic!("{seed}: {}", faults[0]),
        };
        for _ in 0..CALLERS {
            case.asked_by_another(&mut dice);
            let principal = principal(&case);
            let headers = HeaderMap::new();
            let now = UnixMillis(1_795_305_600_000 + case.hour as u64 * 3_600_000);
            let moment = Moment { source: [10, 0, 0, 1].into(), now, headers: &headers };
            let view = View::build(&policy, &principal, "main", ITEMS.iter().map(item));
            let visible = view
                .visible(moment, &|kind, index| ITEMS.iter().filter(|it| self::kind(it) == kind).nth(index).map(item));
            for (at, some) in ITEMS.iter().enumerate() {
                case.item = *some;
                let told = format!("seed {seed}\n{:#?}", case);
                let all = case.all_arguments(&(0..case.terms.len()).collect::<Vec<_>>());
                for _ in 0..2 {
                    let arguments = &all[dice.below(all.len())];
                    let text = json(arguments);
                    let query = Query::using(item(some), text.as_bytes(), moment);
                    let decision = policy.decide(&principal, "main", &query);
                    assert_eq!(said(&decision), decide(&case, arguments), "{text} {told}");
                    assert_eq!(view.decide(place(at), &query), decision, "in the view: {text} {told}");
                    let (explained, explanation) = policy.explain(&principal, "main", &query);
                    assert_eq!(explained, decision, "explained: {text} {told}");
                    assert_eq!(*explanation.rule, *policy.rule(decision.rule).name);
                    cases += 1;
                }
                let query = Query::listing(item(some), moment);
                let listing = policy.decide(&principal, "main", &query);
                assert_eq!(view.decide(place(at), &query), listing, "listed in the view: {told}");
                assert_eq!(view.listed(place(at), item(some), moment), listing, "listed in the view: {told}");
                assert_eq!(policy.explain(&principal, "main", &query).0, listing, "listing explained: {told}");
                assert_eq!(visible.contains(kind(some), place(at)), listing.is_listed(), "visible: {told}");
                cases += 1;
                let results: Vec<_> = all.iter().map(|arguments| decide(&case, arguments)).collect();
                let some_allowed = results.contains(&Said::Allow);
                assert!(listing.is_listed() || !some_allowed, "not listed, but may be called: {told}");
                if case.independent {
                    assert_eq!(listing.is_listed(), some_allowed, "listed, but may never be called: {told}");
                }
                match listing.ruling {
                    Ruling::Allow => assert!(results.iter().all(|one| *one == Said::Allow), "{told}"),
                    Ruling::Undecided => undecided += 1,
                    Ruling::Deny | Ruling::MissingScope(_) => {}
                }
                allowed += usize::from(some_allowed);
                let hides = case.spec.rules.iter().any(|rule| rule.undecided == Some(Undecided::Hide));
                hidden += usize::from(hides && !listing.is_listed());
            }
        }
    }
    assert!(cases >= 10_000, "{cases}");
    // None of the outcomes is so rare that nothing was tested.
    assert!(undecided > 100 && allowed > 1_000 && hidden > 100, "{undecided} {allowed} {hidden}");
}
