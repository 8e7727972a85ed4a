//! Against scripted servers on real sockets.

use super::*;
use crate::upstream::fault::FaultKind;
use crate::upstream::testing::{answer, error, fetcher, json, serve_mcp};

const LEGACY_SPEECH: Speech<'static> = Speech::Legacy { session: None, revision: Some(LEGACY) };

async fn ping(response: Vec<u8>) -> Result<Reply, AttemptFault> {
    fetcher(serve_mcp(move |_| response.clone()).await).call("ping", "", LEGACY_SPEECH).await
}

fn events(data: &[&str]) -> Vec<u8> {
    let body: String = data.iter().map(|data| format!("data: {data}\n\n")).collect();
    answer("200 OK", "content-type: text/event-stream\r\n", &body)
}

#[tokio::test]
async fn the_response_is_found_among_other_messages() {
    let reply = ping(events(&[
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#,
        r#"{"jsonrpc":"2.0","id":2,"result":{"foreign":true}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"ours":true}}"#,
    ]))
    .await
    .expect("an answer");
    assert!(matches!(reply.outcome, Some(Outcome::Result(result)) if result == r#"{"ours":true}"#));
}

#[tokio::test]
async fn errors_are_read_whatever_status_they_come_with() {
    for status in ["200 OK", "400 Bad Request", "404 Not Found", "500 Internal Server Error"] {
        let reply = ping(error(status, -32601)).await.expect("an answer");
        assert!(matches!(reply.outcome, Some(Outcome::Error(error)) if error.code == -32601), "{status}");
    }
    let nameless = json(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700}}"#);
    assert!(matches!(ping(nameless).await.expect("an answer").outcome, Some(Outcome::Error(_))));
}

#[tokio::test]
async fn what_is_no_response_has_no_outcome() {
    let bodies =
        ["", "<html>", "[]", r#"{"jsonrpc":"2.0","id":1}"#, r#"{"id":1,"result":{},"result":{}}"#, r#"{"result":{}}"#];
    for body in bodies {
        assert!(ping(json(body)).await.expect("an answer").outcome.is_none(), "{body}");
    }
    assert!(ping(events(&["hello"])).await.expect("an answer").outcome.is_none());
}

#[tokio::test]
async fn answers_are_bounded() {
    let long = "x".repeat((1 << 20) + 1);
    assert_eq!(ping(json(&long)).await.map(|_| ()).expect_err("too long").kind, FaultKind::TooLong);
    assert_eq!(ping(events(&[&long])).await.map(|_| ()).expect_err("too long").kind, FaultKind::TooLong);
    let many = vec![r#"{"jsonrpc":"2.0","method":"x"}"#; 40_000];
    assert_eq!(ping(events(&many)).await.map(|_| ()).expect_err("too long").kind, FaultKind::TooLong);
}

#[tokio::test]
async fn sessions_are_spoken_of_in_headers() {
    let address = serve_mcp(|request| {
        assert_eq!(request.field("mcp-session-id"), Some("s-1"));
        assert_eq!(request.field("mcp-protocol-version"), Some("2025-06-18"));
        match (request.line().split(' ').next(), request.method().as_str()) {
            (Some("POST"), "notifications/initialized") => answer("202 Accepted", "", ""),
            (Some("DELETE"), "") => answer("405 Method Not Allowed", "", ""),
            _ => request.result("{}"),
        }
    })
    .await;
    let fetcher = fetcher(address);
    let session = HeaderValue::from_static("s-1");
    let revision = Revision::V2025_06_18;
    let speech = Speech::Legacy { session: Some(&session), revision: Some(revision) };
    fetcher.notify("notifications/initialized", "", speech).await.expect("accepted");
    assert!(fetcher.call("ping", "", speech).await.expect("an answer").outcome.is_some());
    fetcher.end_session(&session, Some(revision)).await.expect("a backend need not let sessions be ended");
}

/// Servers find their way back by ids: they must not meet with each other's, nor with those of the client whose session it
/// is (2025-11-25, "Requests").
#[tokio::test]
async fn no_two_requests_in_a_session_have_one_id() {
    let (sender, ids) = std::sync::mpsc::channel();
    let address = serve_mcp(move |request| {
        sender.send(request.id()).expect("somebody listens");
        request.result("{}")
    })
    .await;
    let (one, other) = (fetcher(address), fetcher(address));
    let session = HeaderValue::from_static("s-1");
    let speech = Speech::Legacy { session: Some(&session), revision: Some(LEGACY) };
    for fetcher in [&one, &one.clone(), &other] {
        assert!(fetcher.call("ping", "", speech).await.expect("an answer").outcome.is_some());
    }
    let ids: Vec<String> = ids.try_iter().collect();
    assert!(ids.iter().all(|id| id.starts_with("\"lockgate-")), "{ids:?}");
    let distinct: std::collections::HashSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), 3, "{ids:?}");
}

#[tokio::test]
async fn the_error_of_another_request_is_none_of_ours() {
    let foreign = json(r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"no"}}"#);
    assert!(ping(foreign).await.expect("an answer").outcome.is_none());
}

#[tokio::test]
async fn a_session_is_ended_only_where_the_backend_says_so() {
    let ends = async |status: &'static str| {
        let address = serve_mcp(move |_| answer(status, "", "")).await;
        fetcher(address).end_session(&HeaderValue::from_static("s-1"), None).await.is_ok()
    };
    for fine in ["200 OK", "204 No Content", "404 Not Found", "405 Method Not Allowed"] {
        assert!(ends(fine).await, "{fine}");
    }
    for refused in ["401 Unauthorized", "500 Internal Server Error", "400 Bad Request"] {
        assert!(!ends(refused).await, "{refused}");
    }
}

#[tokio::test]
async fn what_a_client_forwards_goes_along_and_never_replaces_what_is_ours() {
    let address = serve_mcp(|request| {
        assert_eq!(request.field("authorization"), Some("Bearer x"));
        assert_eq!(request.field("mcp-session-id"), Some("s-1"));
        request.result("{}")
    })
    .await;
    let mut fields = Outbound::new();
    fields.set(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    fields.set(SESSION_ID, HeaderValue::from_static("the client's"));
    let session = HeaderValue::from_static("s-1");
    let speech = Speech::Legacy { session: Some(&session), revision: None };
    let reply = fetcher(address).on_behalf(fields).call("ping", "", speech).await.expect("an answer");
    assert!(reply.outcome.is_some());
}
