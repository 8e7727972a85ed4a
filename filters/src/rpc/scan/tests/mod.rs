//! Scanning messages, good and bad.

mod as_serde;
mod envelope;
mod lenient;
mod strictness;

use super::*;
use crate::rpc::members;

const LIMITS: Limits = Limits { depth: 64, batch: 32 };

fn message(body: &str) -> Message {
    let scan = scan(body.as_bytes(), &LIMITS).unwrap_or_else(|fault| panic!("{body}: {fault:?}"));
    assert!(!scan.batch);
    scan.messages[0].clone()
}

fn fault(body: impl AsRef<[u8]>) -> ScanFault {
    let body = body.as_ref();
    scan(body, &LIMITS).expect_err(&String::from_utf8_lossy(body))
}

/// The fault of a body, and the id that goes with it.
fn refused(body: &str) -> (Fault, Option<&str>) {
    let fault = fault(body);
    assert!(fault.at <= body.len());
    (fault.fault, fault.id.map(|id| &body[id.start as usize..id.end as usize]))
}

fn text(value: Option<Value>, body: &str) -> String {
    value.unwrap().text(body.as_bytes()).unwrap().into_owned()
}

#[test]
fn text_is_for_strings_only() {
    let body = br#"[1,"a","b\n",null]"#;
    let texts: Vec<_> = members::items(body).map(|value| value.text(body)).collect();
    assert_eq!(texts, [None, Some("a".into()), Some("b\n".into()), None]);
    assert!(matches!(members::items(body).nth(1).unwrap().text(body), Some(Cow::Borrowed("a"))));
    let beyond = Value { span: Span { start: 5, end: 900 }, form: Form::String { escaped: false } };
    assert_eq!(beyond.text(body), None);
}
