//! Receiving the head of a request before anything is built for it.
//!
//! Pingora reads a head with a timeout for each read, parses it from its beginning after each, and reserves a request's
//! whole state while it waits. Received here first, a head has one deadline and one size, a byte at a time costs the
//! client a byte's worth of work, and a connection without a request costs next to nothing.

use super::alarm::Alarm;
use super::resets::PREFACE;
use super::scan::{Head, Scan};
use super::stream::ClientStream;
use bytes::BytesMut;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// How a wait for a request ended.
#[derive(Debug)]
pub(crate) enum Begun {
    /// With its first bytes.
    Bytes(BytesMut),
    /// The client closed the connection.
    Gone,
    /// We should leave, and nothing has come.
    Leave,
    /// Nothing came in time.
    Idle,
}

/// What the bytes of a connection turned out to be.
#[derive(Debug)]
pub(crate) enum Received {
    /// A whole head, and perhaps what follows it.
    Head(BytesMut, Head),
    /// The HTTP/2 connection preface, and perhaps more.
    Preface(BytesMut),
    /// The client closed the connection within the head.
    Gone,
    /// The head did not end in time.
    TooSlow,
    /// The head does not end within its size.
    TooLarge,
}

/// What a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    /// From the first byte to the last.
    pub(crate) time: Duration,
    /// The longest head that is read, in bytes.
    pub(crate) bytes: usize,
    /// Whether an HTTP/2 preface is looked for.
    pub(crate) preface: bool,
}

/// Waits for the first bytes of a request, for as long as `patience`. `leave` ends the wait, unless something has come;
/// it must not be used again then.
pub(crate) async fn begin<L: Future<Output = ()>>(
    stream: &mut ClientStream,
    patience: Duration,
    alarm: &mut Alarm,
    mut leave: Pin<&mut L>,
) -> io::Result<Begun> {
    let mut bytes = BytesMut::new();
    let until = Instant::now() + patience;
    let ended = poll_fn(|cx| {
        if let Poll::Ready(read) = stream.poll_first(cx, &mut bytes) {
            return Poll::Ready(read.map(|read| if read == 0 { Some(Begun::Gone) } else { None }));
        }
        if leave.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(Some(Begun::Leave)));
        }
        alarm.poll_at(cx, until).map(|()| Ok(Some(Begun::Idle)))
    });
    Ok(ended.await?.unwrap_or(Begun::Bytes(bytes)))
}

/// Receives the rest of a head of which `bytes` have come.
pub(crate) async fn finish(
    stream: &mut ClientStream,
    mut bytes: BytesMut,
    limits: HeadLimits,
    alarm: &mut Alarm,
) -> io::Result<Received> {
    let mut scan = Scan::default();
    let mut until = None;
    loop {
        match look(&bytes, limits.preface) {
            Look::Preface => return Ok(Received::Preface(bytes)),
            Look::PrefaceSoFar => {}
            Look::Request => {
                if let Some(head) = scan.ended(&bytes) {
                    return Ok(Received::Head(bytes, head));
                }
            }
        }
        if bytes.len() >= limits.bytes {
            return Ok(Received::TooLarge);
        }
        if bytes.len() == bytes.capacity() {
            bytes.reserve(bytes.len().min(limits.bytes - bytes.len()));
        }
        // Nearly every head is there at once, and needs no deadline.
        let until = *until.get_or_insert_with(|| Instant::now() + limits.time);
        let more = poll_fn(|cx| {
            if let Poll::Ready(read) = stream.poll_more(cx, &mut bytes) {
                return Poll::Ready(read.map(Some));
            }
            alarm.poll_at(cx, until).map(|()| Ok(None))
        });
        match more.await? {
            Some(0) => return Ok(Received::Gone),
            Some(_) => {}
            None => return Ok(Received::TooSlow),
        }
    }
}

enum Look {
    Preface,
    PrefaceSoFar,
    Request,
}

fn look(bytes: &[u8], preface: bool) -> Look {
    let both = bytes.len().min(PREFACE.len());
    if !preface || bytes[..both] != PREFACE[..both] {
        Look::Request
    } else if both == PREFACE.len() {
        Look::Preface
    } else {
        Look::PrefaceSoFar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_seen_before_the_empty_line_in_it() {
        assert!(matches!(look(PREFACE, true), Look::Preface));
        assert!(matches!(look(&PREFACE[..20], true), Look::PrefaceSoFar));
        assert!(matches!(look(b"PROPFIND / HTTP/1.1", true), Look::Request));
        assert!(matches!(look(PREFACE, false), Look::Request));
    }
}
