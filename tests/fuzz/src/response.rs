//! What is read of a backend's HTTP/1.1 response depends on its bytes alone, not on the pieces in which they arrive.
//!
//! The input's first byte says how the rest is cut into pieces.

use lockgate::upstream::{FaultKind, FuzzedResponse, fuzz_response};

/// A response of this many bytes is read in one piece when it arrives in one piece.
const ONE_READ_BYTES: usize = 2000;
/// The fields that belong to one connection: none may be passed on.
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"];

/// Checks a response.
pub fn check(data: &[u8]) {
    let Some((&step, response)) = data.split_first() else { return };
    let whole = read(response, usize::MAX);
    let pieces = read(response, step as usize + 1);
    // Whether more came behind the response is known only where it came with it.
    let reusable = whole.reusable;
    assert_eq!(FuzzedResponse { reusable: pieces.reusable, ..whole.clone() }, pieces, "what is read depends on pieces");
    assert!(!reusable || pieces.reusable, "cut into pieces, the connection is lost");
    assert!(whole.body.len() <= response.len(), "more than there was");
    assert!(HOP_BY_HOP.iter().all(|name| !whole.headers.contains_key(*name)), "passed on: {:?}", whole.headers);
    match whole.status {
        Some(status) => assert!((200..600).contains(&status.as_u16()), "{status}"),
        None => assert!(whole.fault.is_some() && whole.body.is_empty()),
    }
    assert!(matches!(whole.fault, None | Some(FaultKind::Closed | FaultKind::Cut | FaultKind::Protocol)));
    assert_eq!(whole.fault == Some(FaultKind::Closed), response.is_empty(), "{:?}", whole.fault);
    if reusable && response.len() < ONE_READ_BYTES {
        let longer = read(&[response, b"H"].concat(), usize::MAX);
        assert_eq!(longer, FuzzedResponse { reusable: false, ..whole }, "what comes behind a response is not noticed");
    }
}

fn read(response: &[u8], step: usize) -> FuzzedResponse {
    let read = fuzz_response(response, step).expect("the connection ended, so reading ends");
    assert!(!read.reusable || (read.fault.is_none() && read.status.is_some()), "{read:?}");
    read
}
