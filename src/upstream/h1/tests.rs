use super::*;
use lockgate_filters::splice::Outbound;
use lockgate_filters::splice::wire::{COPIED_BODY_BYTES, encode};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn header_and_body_leave_in_one_write() {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let body = Bytes::from(vec![b'x'; COPIED_BODY_BYTES]);
    let wire = encode(b"POST / HTTP/1.1\r\n", &Outbound::new(), Some(&body), FIRST_READ_BYTES);
    let whole = wire.front.len();
    assert!(whole > COPIED_BODY_BYTES);
    let (answer, ()) = tokio::join!(exchange(Box::new(near), wire), async {
        // The first read sees what the first write brought: the two take turns on one thread.
        let mut read = vec![0; 2 * whole];
        assert_eq!(far.read(&mut read).await.expect("a request"), whole);
        far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await.expect("open");
    });
    let mut reader = answer.expect("an answer").body;
    assert_eq!(reader.chunk().await.expect("a piece"), Some(Bytes::from("[]")));
    assert!(reader.into_reusable().is_some());
}

/// The pieces in which a body comes that was announced with `length` and written at once, until `wanted` bytes are there.
async fn pieces(length: usize, body: &[u8], wanted: usize) -> Vec<usize> {
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let wire = encode(b"POST / HTTP/1.1\r\n", &Outbound::new(), Some(&Bytes::from("{}")), FIRST_READ_BYTES);
    let header = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let whole = [header.as_bytes(), body].concat();
    far.write_all(&whole).await.expect("open");
    let mut reader = exchange(Box::new(near), wire).await.expect("an answer").body;
    let mut pieces = Vec::new();
    let mut got = Vec::new();
    while got.len() < wanted {
        let piece = reader.chunk().await.expect("a piece").expect("more");
        pieces.push(piece.len());
        got.extend_from_slice(&piece);
    }
    assert_eq!(got, body[..wanted]);
    pieces
}

#[tokio::test]
async fn a_short_body_that_is_there_is_handed_on_in_one_piece() {
    let body: Vec<u8> = (0..60_000_u32).map(|at| at as u8).collect();
    assert_eq!(pieces(60_000, &body, 60_000).await, [60_000]);
    // What is still to come is not waited for, what is beyond the body is not taken for a part of it.
    assert_eq!(pieces(60_001, &body, 60_000).await.len(), 1);
    assert_eq!(pieces(59_999, &body, 59_999).await, [59_999]);
    // A long one is passed on as it comes.
    let long = vec![b'x'; 500_000];
    assert!(pieces(500_000, &long, 500_000).await.len() > 4);
}
