use super::*;
use http::{HeaderName, HeaderValue};
use tokio::io::AsyncWriteExt;

#[test]
fn a_request_is_prefix_fields_and_length() {
    let mut fields = Outbound::new();
    fields.set(HeaderName::from_static("mcp-method"), HeaderValue::from_static("ping"));
    let body = Bytes::from(vec![b'x'; 1234]);
    let wire = encode(b"POST / HTTP/1.1\r\n", &fields, Some(&body));
    assert_eq!(wire, &b"POST / HTTP/1.1\r\nmcp-method: ping\r\ncontent-length: 1234\r\n\r\n"[..]);
    let wire = encode(b"GET / HTTP/1.1\r\n", &Outbound::new(), None);
    assert_eq!(wire, &b"GET / HTTP/1.1\r\n\r\n"[..]);
    assert!(encode(b"", &Outbound::new(), Some(&Bytes::new())).starts_with(b"content-length: 0\r\n"));
}

#[tokio::test]
async fn header_and_body_leave_in_one_write() {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let body = Bytes::from(vec![b'x'; COPIED_BODY_BYTES]);
    let wire = encode(b"POST / HTTP/1.1\r\n", &Outbound::new(), Some(&body));
    let whole = wire.len() + body.len();
    let (answer, ()) = tokio::join!(exchange(Box::new(near), wire, &body), async {
        // The first read sees what the first write brought: the two take turns on one thread.
        let mut read = vec![0; 2 * whole];
        assert_eq!(far.read(&mut read).await.expect("a request"), whole);
        far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await.expect("open");
    });
    let mut reader = answer.expect("an answer").body;
    assert_eq!(reader.chunk().await.expect("a piece"), Some(Bytes::from("[]")));
    assert!(reader.into_reusable().is_some());
}
