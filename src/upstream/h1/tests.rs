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
