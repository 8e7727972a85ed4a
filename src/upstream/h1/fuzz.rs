//! The response reader without a network, for fuzz targets and their replay: bytes go in, what was read comes out.

use super::{FIRST_READ_BYTES, Reader, exchange};
use crate::upstream::fault::{AttemptFault, FaultKind};
use http::{HeaderMap, StatusCode};
use lockgate_filters::splice::Outbound;
use lockgate_filters::splice::wire::encode;
use pingora_core::protocols::Stream;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::io::AsyncWrite;

/// Room for the request that the response answers, in bytes.
const REQUEST_BYTES: usize = 1024;

/// What was read of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FuzzedResponse {
    /// The status, where the header could be read.
    pub status: Option<StatusCode>,
    /// The header fields that would be passed on.
    pub headers: HeaderMap,
    /// The body as far as it was read.
    pub body: Vec<u8>,
    /// Why reading ended early.
    pub fault: Option<FaultKind>,
    /// Whether the connection would be used for another request.
    pub reusable: bool,
}

/// Reads the response that these bytes are, arriving in pieces of `step` bytes before the connection ends.
///
/// `None` if the reader still waits for something after the end.
pub fn fuzz_response(bytes: &[u8], step: usize) -> Option<FuzzedResponse> {
    let (near, mut far) = tokio::io::duplex(bytes.len() + REQUEST_BYTES);
    let mut context = Context::from_waker(Waker::noop());
    let mut reading = pin!(read(Box::new(near)));
    for piece in bytes.chunks(step.max(1)) {
        if let Poll::Ready(read) = reading.as_mut().poll(&mut context) {
            return Some(read);
        }
        // There is room for all of them, so none is cut or has to wait.
        let _ = Pin::new(&mut far).poll_write(&mut context, piece);
    }
    if let Poll::Ready(read) = reading.as_mut().poll(&mut context) {
        return Some(read);
    }
    drop(far);
    match reading.poll(&mut context) {
        Poll::Ready(read) => Some(read),
        Poll::Pending => None,
    }
}

async fn read(stream: Stream) -> FuzzedResponse {
    let mut seen = FuzzedResponse::default();
    let request = encode(b"GET / HTTP/1.1\r\n", &Outbound::new(), None, FIRST_READ_BYTES);
    let answer = match exchange(stream, request).await {
        Ok(answer) => answer,
        Err(fault) => return FuzzedResponse { fault: Some(fault.kind), ..seen },
    };
    seen.status = Some(answer.status);
    seen.headers = answer.headers;
    let mut reader = answer.body;
    match read_body(&mut reader, &mut seen.body).await {
        Ok(()) => seen.reusable = reader.into_reusable().is_some(),
        Err(fault) => seen.fault = Some(fault.kind),
    }
    seen
}

async fn read_body(reader: &mut Reader, body: &mut Vec<u8>) -> Result<(), AttemptFault> {
    while let Some(piece) = reader.chunk().await? {
        body.extend_from_slice(&piece);
    }
    Ok(())
}
