//! HTTP/1.1 towards backends: one request on one connection.
//!
//! Pingora's own client sends header and body in two writes, allocates 64 KiB for each body and copies what it reads.
//! A gateway spends most of its time in the kernel, so here header and body leave in one write, and what arrives is
//! handed on in the buffer it was read into. The connection underneath is Pingora's.

mod body;
pub mod fuzz;
mod head;

use super::fault::{AttemptFault, FaultKind};
use body::{Decoder, Step};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::StatusCode;
use lockgate_filters::splice::wire::Wire;
use pingora_core::protocols::Stream;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Room for a response header and a small body: what the buffer of the request has, which is read into afterwards.
pub(super) const FIRST_READ_BYTES: usize = 4 * 1024;
/// The most that one read of a body may bring.
const READ_BYTES: usize = 64 * 1024;
/// What a read of a stream brings before a buffer is allocated for it: an idle stream holds none.
const PROBE_BYTES: usize = 2 * 1024;

/// A response whose header was read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Reader,
}

/// Sends one request and reads the header of its response.
///
/// Not bounded in time: the caller drops it, and the connection with it, when it takes too long.
pub(super) async fn exchange(mut stream: Stream, wire: Wire) -> Result<Answer, AttemptFault> {
    let Wire { mut front, rest } = wire;
    let mut early = BytesMut::new();
    let written = write(&mut stream, &front, &rest, &mut early).await;
    let mut buffer = if early.is_empty() {
        front.clear();
        front
    } else {
        early
    };
    let head = match read_head(&mut stream, &mut buffer).await {
        Ok(head) => head,
        Err(mut fault) => {
            // A request that was not handed over whole cannot have been run, unless something answered to it.
            if fault.kind == FaultKind::Closed
                && let Err(error) = written
            {
                fault.provably_not_run = true;
                fault = fault.because(error);
            }
            return Err(fault);
        }
    };
    let reusable = head.keep_alive && matches!(written, Ok(Written::Whole));
    let body =
        Reader { stream, buffer, decoder: Decoder::new(head.framing), reusable, keep_for: head.keep_for, busy: false };
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// How far the writing of a request came.
enum Written {
    Whole,
    /// The response began first: what is left of the request is not sent.
    Overtaken,
}

/// Writes header and body, watching for a response that does not wait for them.
///
/// An error is not the end: the backend may have answered before it stopped reading.
async fn write(stream: &mut Stream, head: &[u8], body: &[u8], early: &mut BytesMut) -> io::Result<Written> {
    let mut done = 0;
    let total = head.len() + body.len();
    poll_fn(|cx| {
        while done < total {
            let parts = [
                IoSlice::new(head.get(done..).unwrap_or_default()),
                IoSlice::new(body.get(done.saturating_sub(head.len())..).unwrap_or_default()),
            ];
            let parts = if body.is_empty() { &parts[..1] } else { &parts[..] };
            match Pin::new(&mut *stream).poll_write_vectored(cx, parts) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => done += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return poll_overtaken(stream, cx, early),
            }
        }
        match Pin::new(&mut *stream).poll_flush(cx) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map(|()| Written::Whole)),
            Poll::Pending => poll_overtaken(stream, cx, early),
        }
    })
    .await
}

fn poll_overtaken(stream: &mut Stream, cx: &mut Context<'_>, early: &mut BytesMut) -> Poll<io::Result<Written>> {
    match ready!(poll_probe(stream, cx, early))? {
        0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        _ => Poll::Ready(Ok(Written::Overtaken)),
    }
}

/// Reads a little into `buffer`, which stays unallocated while nothing comes.
fn poll_probe(stream: &mut Stream, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
    let mut space = [MaybeUninit::<u8>::uninit(); PROBE_BYTES];
    let mut read = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(cx, &mut read))?;
    buffer.extend_from_slice(read.filled());
    Poll::Ready(Ok(read.filled().len()))
}

async fn read_head(stream: &mut Stream, buffer: &mut BytesMut) -> Result<head::Head, AttemptFault> {
    let mut searched = 0;
    // Whatever was read before, an interim response included, shows that the request was seen.
    let mut seen = !buffer.is_empty();
    loop {
        if let Some(head) = head::take(buffer, &mut searched)? {
            return Ok(head);
        }
        if buffer.capacity() - buffer.len() < FIRST_READ_BYTES / 2 {
            buffer.reserve(FIRST_READ_BYTES);
        }
        let ended = match stream.read_buf(buffer).await {
            Ok(0) => AttemptFault::new(FaultKind::Closed).because("end of connection"),
            Ok(_) => {
                seen = true;
                continue;
            }
            Err(error) => AttemptFault::new(FaultKind::Closed).because(error),
        };
        return Err(if seen { AttemptFault { kind: FaultKind::Cut, ..ended } } else { ended });
    }
}

/// A connection that may be used again.
pub(super) struct Reusable {
    pub(super) stream: Stream,
    /// How long the backend says it keeps it.
    pub(super) keep_for: Option<Duration>,
}

/// The body of a response. Dropping it closes the connection, which is how an HTTP/1.1 request is cancelled.
#[derive(Debug)]
pub(super) struct Reader {
    stream: Stream,
    buffer: BytesMut,
    decoder: Decoder,
    reusable: bool,
    keep_for: Option<Duration>,
    /// Whether the last read of a stream brought more than a probe holds.
    busy: bool,
}

impl Reader {
    /// The next piece of the body; `None` at its end.
    ///
    /// Cancel-safe: all it has read stays in `self`.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, AttemptFault> {
        self.join().await;
        loop {
            match self.decoder.next(&mut self.buffer)? {
                Step::Data(data) => {
                    self.decoder.settle(&mut self.buffer);
                    return Ok(Some(data));
                }
                Step::End => return Ok(None),
                Step::More => {
                    let read = poll_fn(|cx| self.poll_fill(cx)).await;
                    match read {
                        Ok(0) => self.decoder.end_of_connection()?,
                        Ok(_) => {}
                        Err(error) => return Err(AttemptFault::new(FaultKind::Cut).because(error)),
                    }
                }
            }
        }
    }

    /// Puts what has arrived of a short body behind what came with its header, so that it is handed on in one piece that
    /// nobody has to put together. Waits for nothing; an end or an error shows again in the next read.
    async fn join(&mut self) {
        let Some(missing) = self.decoder.missing().and_then(|missing| usize::try_from(missing).ok()) else { return };
        if self.buffer.is_empty() || missing > READ_BYTES + FIRST_READ_BYTES {
            return;
        }
        poll_fn(|cx| {
            while self.buffer.len() < missing {
                self.buffer.reserve(missing - self.buffer.len());
                let read = std::pin::pin!(self.stream.read_buf(&mut self.buffer)).poll(cx);
                if !matches!(read, Poll::Ready(Ok(1..))) {
                    break;
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let known = self.decoder.missing().map(|missing| usize::try_from(missing).unwrap_or(READ_BYTES));
        if known.is_none() && !self.busy {
            if self.buffer.is_empty() {
                // Lets go of the last read's memory, which would otherwise stay while the stream is idle.
                self.buffer = BytesMut::new();
            }
            let count = ready!(poll_probe(&mut self.stream, cx, &mut self.buffer))?;
            self.busy = count == PROBE_BYTES;
            return Poll::Ready(Ok(count));
        }
        self.buffer.reserve(known.unwrap_or(READ_BYTES).min(READ_BYTES));
        let mut read = std::pin::pin!(self.stream.read_buf(&mut self.buffer));
        let count = ready!(read.as_mut().poll(cx))?;
        self.busy = count >= PROBE_BYTES;
        Poll::Ready(Ok(count))
    }

    /// Whether the body was read to its end.
    pub(super) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// The connection, where the body was read to its end and nothing speaks against using it again.
    pub(super) fn into_reusable(self) -> Option<Reusable> {
        (self.reusable && self.decoder.is_done() && self.buffer.is_empty())
            .then_some(Reusable { stream: self.stream, keep_for: self.keep_for })
    }
}

#[cfg(test)]
mod tests;
