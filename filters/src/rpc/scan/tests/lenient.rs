//! What is read of a backend, which may write as it likes where nobody decides on it.

use super::*;

fn envelope(body: &str) -> Result<Message, Fault> {
    scan_envelope(body.as_bytes(), &LIMITS).map_err(|fault| fault.fault)
}

#[test]
fn what_a_backend_nests_is_its_own_affair() {
    let body =
        r#"{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2,"content":[{"text":"\ud83d","text":""}],"_meta":{"x":1}}}"#;
    let answer = envelope(body).unwrap();
    assert_eq!(answer.kind, Kind::Response);
    assert!(answer.result.unwrap().span.of(body.as_bytes()).starts_with(br#"{"a":1"#));
    let request =
        r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"Name":1,"other":1,"other":2,"_meta":{"progressToken":5}}}"#;
    assert!(envelope(request).unwrap().params.unwrap().meta.unwrap().progress_token.is_some());
}

#[test]
fn what_is_read_of_a_backend_must_be_unambiguous() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"Result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"a":1,"a":2}}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{},"_meta":{}}}"#,
        r#"{"jsonrpc":"2.0","method":"x","params":{"_meta":{"a":1,"\u0061":2}}}"#,
        r#"{"jsonrpc":"2.0","method":"x","params":{"requestId":1,"requestId":2}}"#,
    ] {
        assert_eq!(envelope(body), Err(Fault::DuplicateMember), "{body}");
    }
    assert_eq!(envelope("[]"), Err(Fault::NotJsonRpc));
    assert_eq!(envelope(r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#), Err(Fault::NotJsonRpc));
    assert_eq!(envelope("{"), Err(Fault::NotJson));
}

#[test]
fn a_value_is_skimmed() {
    assert_eq!(skim(br#" {"a":[1,2,{"b":"\ud800"}]} "#, &LIMITS), Ok(()));
    assert_eq!(skim(b"1", &LIMITS), Ok(()));
    assert_eq!(skim(br#"{"a":{"b":1,"b":2}}"#, &LIMITS).unwrap_err().fault, Fault::DuplicateMember);
    assert_eq!(skim(b"1 1", &LIMITS).unwrap_err().fault, Fault::NotJson);
    assert_eq!(skim(b"[[1]]", &Limits { depth: 1, batch: 0 }).unwrap_err().fault, Fault::TooDeep);
}
