use super::compile::{Fault, Program};
use super::evaluate::{Outcomes, Values};
use super::read::{self, ARGUMENTS, Value};
use super::variables::{Variable, Variables};
use cel::common::value::Val;
use std::collections::HashMap;

struct Fixed(HashMap<Variable, Value>);

impl Values for Fixed {
    fn value(&self, variable: Variable) -> Option<&dyn Val> {
        self.0.get(&variable).map(|value| &**value)
    }
}

fn fixed(values: &[(&str, &str)]) -> Fixed {
    let named = |(name, json): &(&str, &str)| {
        let wrapped = read::object(json.as_bytes(), ARGUMENTS).expect("a good object");
        (Variable::named(name).expect("a variable"), wrapped)
    };
    let mut values: HashMap<_, _> = values.iter().map(named).collect();
    values.insert(Variable::Source, read::text("::ffff:10.1.2.3"));
    values.insert(Variable::Action, read::text("tools:call"));
    Fixed(values)
}

fn program(text: &str) -> Program {
    Program::compile(text, &["x-team".into()]).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

fn fault(text: &str) -> Fault {
    Program::compile(text, &["x-team".into()]).expect_err(text)
}

const ARGS: Variables = Variables::NONE.with(Variable::Args);

#[test]
fn conditions_hold_as_cel_says() {
    let values = fixed(&[
        (
            "args",
            r#"{"amount":999,"to":["a@x.org","b@x.org"],"big":18446744073709551615,"f":1.5,"nested":{"k":[1,2]},"s":"é"}"#,
        ),
        ("claims", r#"{"department":"sales","level":3,"a-b":true}"#),
        ("principal", r#"{"tenant":"acme","groups":["data"],"scopes":[],"subject":"alice"}"#),
        ("headers", r#"{"x-team":"red"}"#),
    ]);
    for (text, outcome) in [
        ("args.amount < 1000 && principal.tenant == 'acme'", Outcomes::TRUE),
        ("args.amount < 1000.5", Outcomes::TRUE),
        ("args.amount == 999.0", Outcomes::TRUE),
        ("args.big > 5", Outcomes::TRUE),
        ("args.to.all(r, r.endsWith('@x.org'))", Outcomes::TRUE),
        ("args.to.exists(r, r.startsWith('b'))", Outcomes::TRUE),
        ("args.to.exists_one(r, r.contains('@'))", Outcomes::FALSE),
        ("args.to.filter(r, r.startsWith('a')).size() == 1", Outcomes::TRUE),
        ("args.to.map(r, size(r)) == [7, 7]", Outcomes::TRUE),
        ("args.to.map(r, r.startsWith('a'), size(r)) == [7]", Outcomes::TRUE),
        ("'data' in principal.groups", Outcomes::TRUE),
        ("'k' in args.nested && args.nested.k[1] == 2", Outcomes::TRUE),
        ("has(args.amount) && !has(args.missing)", Outcomes::TRUE),
        ("args.missing == 1", Outcomes::ERROR),
        ("args.missing == 1 || true", Outcomes::TRUE),
        ("args.missing == 1 && false", Outcomes::FALSE),
        ("args.amount == '999'", Outcomes::FALSE),
        ("args.amount < '999'", Outcomes::ERROR),
        ("args.amount", Outcomes::ERROR),
        ("args.s.size() == 1 && args.s.matches('^\\\\w$')", Outcomes::TRUE),
        ("claims['a-b'] && claims.level > 2", Outcomes::TRUE),
        ("matches(principal.subject, 'li')", Outcomes::TRUE),
        ("in_network(source, '10.0.0.0/8') && !source.in_network('10.1.2.4')", Outcomes::TRUE),
        ("in_network(principal.subject, '10.0.0.0/8')", Outcomes::ERROR),
        ("headers['x-team'] == 'red'", Outcomes::TRUE),
        ("type(args.amount) == int && type(args.f) == double", Outcomes::TRUE),
        ("args.amount / 0 == 1", Outcomes::ERROR),
        ("args.big + 1u == 0u", Outcomes::ERROR),
        ("-9223372036854775808 / -1 == 1", Outcomes::ERROR),
        ("9223372036854775807 % -1 == 0", Outcomes::TRUE),
        ("args.nested.k[5] == 1", Outcomes::ERROR),
        ("args.nested.k[-1] == 1", Outcomes::ERROR),
        ("args.amount > 5 ? principal.tenant == 'acme' : args.none", Outcomes::TRUE),
        ("int(args.s) == 1", Outcomes::ERROR),
        ("tool.name == 'x'", Outcomes::ERROR),
    ] {
        assert_eq!(program(text).evaluate(&values, Variables::NONE), outcome, "{text}");
    }
}

#[test]
fn a_part_without_arguments_is_evaluated_while_they_are_not_there() {
    let values = fixed(&[("principal", r#"{"tenant":"acme"}"#)]);
    let (yes, no, any) = (Outcomes::TRUE, Outcomes::FALSE, Outcomes::ANY);
    for (text, outcomes) in [
        ("args.a == 1", any),
        ("args.a == 1 && principal.tenant == 'other'", no),
        ("principal.tenant == 'other' && args.a == 1", no),
        ("principal.tenant == 'acme' || args.a == 1", yes),
        ("!(args.a == 1 && false)", yes),
        ("principal.tenant == 'acme' ? true : args.a == 1", yes),
        ("args.a == 1 ? false : false", no.or_else(Outcomes::ERROR)),
        ("args.a == 1 && principal.none == 2".replace("none", "subject").as_str(), no.or_else(Outcomes::ERROR)),
        ("args.a == 1 && principal.tenant == 'acme'", any),
        ("args.a == 1 || principal.tenant == 'other'", any),
        ("has(args.a)", any),
    ] {
        assert_eq!(program(text).evaluate(&values, ARGS), outcomes, "{text}");
    }
}

#[test]
fn what_cannot_be_evaluated_in_bounded_time_is_refused_where_it_stands() {
    for (text, column, what) in [
        ("args.a == 1 && tenant == 'x'", 16, "there is no variable `tenant`"),
        ("principal.team == 'x'", 10, "`principal` has no member `team`"),
        ("lower(args.a) == 'x'", 6, "there is no function `lower`"),
        ("args.a.lower() == 'x'", 13, "there is no function `lower`"),
        ("args.a.matches(args.b)", 20, "a regular expression must be a text that stands here"),
        ("args.a.matches('(')", 16, "unclosed group"),
        ("in_network(source, '10.0.0.0/99')", 20, "is no network"),
        ("headers['x-other'] == 'a'", 8, "not one of `policy.headers`"),
        ("headers.authorization == 'a'", 8, "not one of `policy.headers`"),
        ("args.a.all(x, args.b.all(y, x == y))", 25, "cannot stand within one another"),
        ("args.a.all(x, x in args.b)", 20, "`args` cannot be mentioned once more"),
        ("args.a.map(x, principal.groups).size() > 0", 11, "its element alone"),
        ("args.a.all(args, args > 1)", 11, "is no name for an element"),
        ("contains(args.a, 'b')", 9, "`x.contains(y)`"),
        ("args.a.int() == 1", 11, "`int(x)`"),
        ("size() == 1", 5, "takes 1"),
        ("x.y{a: 1}.a == 1", 4, "structures"),
        ("args.?a == 1", 1, ""),
        ("args.a == ", 11, ""),
        ("args.a == 1\n  && foo", 6, "no variable `foo`"),
        ("@result", 1, ""),
        ("a @c0", 1, ""),
    ] {
        let fault = fault(text);
        assert!(fault.what.contains(what), "{text}: {fault}");
        if !what.is_empty() {
            assert_eq!(fault.at.column, column, "{text}: {fault}");
        }
    }
    assert_eq!(fault("args.a == 1\n  && foo").at.line, 2);
}

#[test]
fn texts_at_every_bound_fit_on_a_small_stack() {
    let nested = |open: &str, close: &str| format!("{}1{} == 1", open.repeat(8), close.repeat(8));
    let texts = [
        nested("(", ")"),
        nested("[", "]"),
        nested("size(", ")"),
        nested("true ? 1 : (", ")"),
        format!("1{}", "+1".repeat(299)),
        format!("args{}", ".b".repeat(299)),
        format!("args{}", "[0]".repeat(199)),
        format!("{}true", "!".repeat(599)),
        format!("{}1", "-".repeat(599)),
        format!("true{}", " && true".repeat(299)),
        "(((((((([[[[[[[[".to_owned(),
        "a?b:".repeat(8),
        format!("{}1{}{}", "[".repeat(8), "+1".repeat(280), "]".repeat(8)),
        format!("{}args{}{}", "size(".repeat(8), ".b".repeat(270), ")".repeat(8)),
        format!("{}[1].all(x, x{}){}", "(".repeat(7), " + 1".repeat(270), ")".repeat(7)),
        format!("{}1{} == 7", "size([".repeat(4), "+1".repeat(30) + &"])".repeat(4)),
    ];
    for text in texts {
        if let Ok(program) = Program::compile(&text, &[]) {
            program.trace(&fixed(&[("args", "{}")]), Variables::NONE);
        }
    }
}

#[test]
fn parts_and_what_they_were_made_on_are_told() {
    let values =
        fixed(&[("args", r#"{"amount":2000,"password":"hunter2","list":[1,2]}"#), ("headers", r#"{"x-team":"red"}"#)]);
    let text = "args.amount < 1000 || args.password == 'x' || headers['x-team'] == 'blue' || args.none.size() > -1";
    let (outcome, findings) = program(text).trace(&values, Variables::NONE);
    assert_eq!(outcome, Outcomes::ERROR);
    let told: Vec<String> =
        findings.iter().map(|it| format!("{} is {}: {:?}", it.part, it.outcomes.label(), it.operands)).collect();
    let told = told.join("\n");
    assert!(told.contains(r#"args.amount < 1000 is false: [("args.amount", "2000")]"#), "{told}");
    assert!(told.contains("(not there)") && !told.contains("hunter2") && !told.contains("red"), "{told}");
}

#[test]
fn what_is_printed_means_the_same() {
    for text in [
        "args.to.all(r, r.endsWith(\"@x.org\"))",
        "args.to.exists_one(r, r.contains(\"@\"))",
        "args.to.filter(r, r == 1).size() == 1",
        "args.to.map(r, r > 1, size(r)) == [7]",
        "args.to.map(r, size(r)) == [7, 7]",
        "((args.a + 1) * 2) == (-(3 - args.b))",
        "in_network(source, \"10.0.0.0/8\")",
        "args.a.matches(\"^a\\\\d\")",
        "has(args.a.b) == true",
        "{\"a\": 1}[\"a\"] == args.x[0]",
        "args.a == b\"x\" || args.c == 1.5",
    ] {
        let first = program(text).trace(&fixed(&[]), ARGS).1;
        let printed: Vec<_> = first.iter().map(|finding| finding.part.to_string()).collect();
        assert_eq!(printed.join(" || "), text);
    }
}
