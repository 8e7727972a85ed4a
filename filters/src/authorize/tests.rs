use super::testing::{World, caller, tool};
use super::*;
use crate::federate::Kind;
use crate::principal::Principal;
use http::{HeaderMap, HeaderName, HeaderValue};

fn rule(name: &str, effect: Effect, permission: &str, when: Option<&str>) -> RuleSpec {
    RuleSpec {
        name: name.into(),
        effect,
        permissions: vec![permission.into()],
        when: when.map(str::to_owned),
        ..RuleSpec::default()
    }
}

fn allow(permission: &str, when: Option<&str>) -> RuleSpec {
    rule("yes", Effect::Allow, permission, when)
}

fn deny(permission: &str, when: Option<&str>) -> RuleSpec {
    rule("no", Effect::Deny, permission, when)
}

fn with_rules(rules: Vec<RuleSpec>) -> World {
    World::new(|spec| spec.rules = rules)
}

impl World {
    fn uses(&self, principal: &Principal, item: Item<'_>, args: &str) -> Decision {
        self.policy.decide(principal, "main", &Query::using(item, args.as_bytes(), self.moment()))
    }

    fn lists(&self, principal: &Principal, item: Item<'_>) -> Decision {
        self.policy.decide(principal, "main", &Query::listing(item, self.moment()))
    }

    fn name(&self, decision: &Decision) -> String {
        format!("{} {}", decision.ruling.label(), self.policy.rule(decision.rule).name)
    }
}

#[test]
fn nothing_is_allowed_unless_something_allows_it_and_any_denial_wins() {
    let alice = caller("alice").principal();
    let item = tool("bank", "transfer", "");
    assert_eq!(World::new(|_| {}).uses(&alice, item, "").ruling, Ruling::Deny);
    let world = with_rules(vec![allow("tools:*", None), deny("tools:call:bank/tran*", None)]);
    assert_eq!(world.name(&world.uses(&alice, item, "")), "deny rules.no");
    assert_eq!(world.name(&world.uses(&alice, tool("bank", "balance", ""), "")), "allow rules.yes");
    let world = World::new(|spec| spec.default = Effect::Allow);
    assert_eq!(world.name(&world.uses(&alice, item, "")), "allow default");
}

#[test]
fn what_an_item_is_called_by_clients_changes_nothing() {
    let world = with_rules(vec![allow("tools:*", None), deny("tools:call:bank/transfer", None)]);
    let renamed = Item { exposed: "harmless", ..tool("bank", "transfer", "") };
    assert_eq!(world.uses(&caller("alice").principal(), renamed, "").ruling, Ruling::Deny);
}

#[test]
fn a_condition_that_cannot_be_evaluated_counts_against_the_caller() {
    let alice = caller("alice").principal();
    let item = tool("bank", "transfer", "");
    let when = Some("args.amount < 1000");
    let long = format!(r#"{{"amount":1,"note":"{}"}}"#, "x".repeat(64 << 10));
    let deep = format!(r#"{{"amount":1,"note":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    for args in [r#"{}"#, r#"{"amount":"1"}"#, r#"{"amount":1,"amount":2000}"#, "[1]", "not json", &long, &deep, ""] {
        let world = with_rules(vec![allow("tools:*", when)]);
        let decision = world.uses(&alice, item, args);
        assert!(decision.ruling == Ruling::Deny && decision.failed, "{args}");
        let world = with_rules(vec![allow("tools:*", None), deny("tools:*", Some("args.amount > 1000"))]);
        let decision = world.uses(&alice, item, args);
        assert!(decision.ruling == Ruling::Deny && decision.failed, "{args}");
        assert_eq!(world.name(&decision), "deny rules.no");
    }
    let world = with_rules(vec![allow("tools:*", when)]);
    assert!(world.uses(&alice, item, r#"{"amount":999}"#).is_allowed());
    assert!(!world.uses(&alice, item, r#"{"amount":1000}"#).failed);
}

#[test]
fn arguments_are_not_looked_at_where_no_condition_is_about_them() {
    let world = with_rules(vec![allow("tools:*", None), deny("tools:call:other/*", Some("args.a == 1"))]);
    assert!(world.uses(&caller("alice").principal(), tool("bank", "transfer", ""), "not json").is_allowed());
}

#[test]
fn undecided_is_listed_and_hidden_is_refused_too() {
    let alice = caller("alice").principal();
    let item = tool("bank", "transfer", "");
    let when = Some("args.amount < 1000");
    let world = with_rules(vec![allow("tools:*", when)]);
    assert_eq!(world.name(&world.lists(&alice, item)), "undecided rules.yes");
    let hide = |of: RuleSpec| RuleSpec { undecided: Some(Undecided::Hide), ..of };
    let others = rule("all", Effect::Allow, "tools:*", None);
    for rules in [vec![hide(allow("tools:*", when))], vec![others, hide(deny("tools:*", Some("args.amount > 1000")))]] {
        let world = with_rules(rules);
        assert!(!world.lists(&alice, item).is_listed());
        assert_eq!(world.uses(&alice, item, r#"{"amount":1}"#).ruling, Ruling::Deny);
    }
}

#[test]
fn a_missing_scope_is_told_before_anything_else() {
    let world = World::new(|spec| {
        spec.scopes =
            vec![ScopeSpec { name: "bank".into(), allow: vec!["tools:call:bank/*".into()], ..ScopeSpec::default() }];
        spec.rules = vec![deny("tools:call:bank/*", None), allow("tools:*", None)];
    });
    let item = tool("bank", "transfer", "");
    let decision = world.uses(&caller("a").scopes(&["other"]).principal(), item, "");
    assert_eq!(world.name(&decision), "missing_scope scopes.bank");
    assert!(!decision.is_listed());
    assert_eq!(world.uses(&caller("a").scopes(&["bank"]).principal(), item, "").ruling, Ruling::Deny);
    // A proof that knows no scopes is limited by none.
    assert_eq!(world.uses(&caller("a").principal(), item, "").ruling, Ruling::Deny);
    assert!(world.uses(&caller("a").scopes(&[]).principal(), tool("other", "x", ""), "").is_allowed());
}

#[test]
fn the_role_that_only_reads_calls_what_says_that_it_only_reads() {
    let world = World::new(|spec| {
        spec.assignments = vec![AssignmentSpec { role: "read-only".into(), ..AssignmentSpec::default() }];
    });
    let alice = caller("alice").principal();
    for (json, allowed) in [
        (r#"{"name":"x","annotations":{"readOnlyHint":true}}"#, true),
        (r#"{"name":"x","annotations":{"readOnlyHint":false}}"#, false),
        (r#"{"name":"x","annotations":{"readOnlyHint":"true"}}"#, false),
        (r#"{"name":"x","annotations":[]}"#, false),
        (r#"{"name":"x"}"#, false),
        ("", false),
    ] {
        assert_eq!(world.uses(&alice, tool("a", "x", json), "").is_allowed(), allowed, "{json}");
    }
    assert!(
        !world
            .uses(Principal::anonymous(), tool("a", "x", r#"{"annotations":{"readOnlyHint":true}}"#), "")
            .is_allowed()
    );
}

#[test]
fn a_template_is_listed_where_some_of_what_it_expands_to_may_be_read() {
    let template = Item { kind: Kind::Templates, ..tool("files", "file:///{+path}", "") };
    let alice = caller("alice").principal();
    for (rules, label) in [
        (vec![allow("resources:read:files/file:///*", None)], "allow"),
        (vec![allow("resources:read:files/file:///public/*", None)], "undecided"),
        (vec![allow("resources:*", None), deny("resources:read:files/file:///secret/*", None)], "undecided"),
        (vec![allow("resources:*", None), deny("resources:read:files/file:*", None)], "deny"),
        (vec![allow("resources:*", Some("resource.uri.startsWith('file:///a')"))], "undecided"),
        (vec![allow("resources:read:files/http:*", None)], "deny"),
    ] {
        let world = with_rules(rules);
        assert_eq!(world.lists(&alice, template).ruling.label(), label);
        let view = View::build(&world.policy, &alice, "main", [template].into_iter());
        assert_eq!(view.listed(0, template, world.moment()), world.lists(&alice, template));
    }
}

#[test]
fn a_view_weighs_what_depends_on_the_moment_each_time() {
    let mut world = with_rules(vec![
        allow("tools:call:day/*", Some("time.hour >= 8 && time.hour < 18 && time.weekday == 'sunday'")),
        rule("always", Effect::Allow, "tools:call:all/*", None),
    ]);
    let alice = caller("alice").principal();
    let items = [tool("day", "x", ""), tool("all", "x", ""), tool("none", "x", "")];
    let view = View::build(&world.policy, &alice, "main", items.into_iter());
    let find = |kind, index: usize| items.get(index).copied().filter(|_| kind == Kind::Tools);
    let listed = |world: &World, hours: u64| {
        let moment = Moment { now: world.moment().now.plus(hours * 3_600_000), ..world.moment() };
        view.visible(moment, &find)
    };
    let (noon, night) = (listed(&world, 0), listed(&world, 10));
    assert_eq!(noon.of(Kind::Tools).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(night.of(Kind::Tools).collect::<Vec<_>>(), [1]);
    assert_ne!(noon.digest(), night.digest());
    assert_eq!(listed(&world, 0).digest(), noon.digest());
    world.headers.insert("x", HeaderValue::from_static("y"));
    assert!(!view.decide(7, &Query::listing(items[1], world.moment())).is_listed());
    let subscribing = Query { action: Action::Subscribe, ..Query::listing(items[1], world.moment()) };
    assert!(!view.decide(1, &subscribing).is_listed());
}

#[test]
fn callers_who_are_shown_the_same_have_the_same_digest() {
    let world = with_rules(vec![allow("tools:call:a/*", None)]);
    let items = || [tool("a", "x", ""), tool("b", "x", "")].into_iter();
    let shown = |principal: &Principal| {
        let view = View::build(&world.policy, principal, "main", items());
        *view.visible(world.moment(), &|_, _| None).digest()
    };
    let (alice, bob) = (caller("alice").principal(), caller("bob").groups(&["x"]).principal());
    assert_eq!(shown(&alice), shown(&bob));
    assert_ne!(shown(&alice), shown(Principal::anonymous()));
}

#[test]
fn a_header_that_is_there_twice_is_no_reason_to_allow() {
    let mut world = World::new(|spec| {
        spec.headers = vec!["x-team".into()];
        spec.rules = vec![allow("tools:*", Some("headers['x-team'] == 'red'"))];
    });
    let alice = caller("alice").principal();
    let mut uses = |values: &[&'static str]| {
        let name = HeaderName::from_static("x-team");
        world.headers = HeaderMap::new();
        for value in values {
            world.headers.append(name.clone(), HeaderValue::from_static(value));
        }
        world.uses(&alice, tool("a", "x", ""), "").is_allowed()
    };
    assert!(uses(&["red"]));
    assert!(!uses(&["red", "red"]) && !uses(&["blue"]) && !uses(&[]));
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place() {
    let place = Some(Place { file: "lockgate.yaml".into(), line: 7 });
    let broken = RuleSpec { place: place.clone(), ..deny("tools:call:x", Some("args.a ==\n 1 && b")) };
    let mixed = rule("mixed", Effect::Deny, "*", Some("args.a == 1 && tool.name == 'x'"));
    let spec = PolicySpec {
        headers: vec!["authorization".into(), "b d".into()],
        roles: vec![RoleSpec {
            name: "r".into(),
            inherits: vec!["none".into()],
            place: place.clone(),
            ..RoleSpec::default()
        }],
        rules: vec![broken, mixed, rule("no", Effect::Deny, "tools:*", None), rule("", Effect::Deny, "tools:*", None)],
        ..PolicySpec::default()
    };
    let faults = Policy::compile(&spec).expect_err("much is wrong");
    let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let told = told.join("\n");
    for part in [
        "policy.headers[0]: `authorization` is a credential",
        "policy.headers[1]: `b d` is no name",
        "policy.rules[0].permissions[0]: the permission `x` is not <backend>/<name>",
        "policy.rules[0].when: line 2, column 7: there is no variable `b`",
        "policy.rules[1].when: `args` is there only for tools and prompts, and the rule's permissions are also about `resources:read`",
        "policy.rules[1].when: `tool` is there only for tools",
        "policy.rules[2].name: `no` is another rule",
        "policy.rules[3].name: a rule needs a name",
        "policy.roles[0].inherits: there is no role `none`",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert!(faults.iter().filter(|fault| fault.place == place).count() >= 3);
}
