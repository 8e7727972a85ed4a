//! A child's three pipes: messages in, messages out, and what it has to tell its operator.

use crate::upstream::channel::{Channel, Line, LineFramer, Outlet};
use crate::upstream::fault::{AttemptFault, FaultKind};
use async_trait::async_trait;
use bytes::Bytes;
use lockgate_filters::splice::Outbound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How many messages may wait to be written.
const WAITING: usize = 64;
/// How much of a line of its log is kept, in bytes.
const LOG_LINE: usize = 2048;
/// How many lines of its log are written in each period.
const LOG_LINES: u32 = 100;
const LOG_PERIOD: Duration = Duration::from_secs(1);
/// What is said of a child whose input is closed; why is known once it has ended.
const DEAF: &str = "its process takes no more messages";
/// After how many lines in a row that are no messages a child is given up.
const NOISE: u32 = 10_000;

/// A message that is to be written, and who waits for it.
pub(super) struct Written {
    line: Bytes,
    done: Option<oneshot::Sender<Result<(), AttemptFault>>>,
}

/// The way to a child's standard input.
pub(super) struct Stdin(mpsc::Sender<Written>);

/// A way to a standard input, and its end.
pub(super) fn stdin() -> (Stdin, mpsc::Receiver<Written>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Stdin(sender), receiver)
}

#[async_trait]
impl Outlet for Stdin {
    async fn write(&self, line: Bytes, _fields: &Outbound) -> Result<(), AttemptFault> {
        let (done, written) = oneshot::channel();
        // Not written, or not as a whole: what is no message cannot be run.
        let closed = |_| AttemptFault::not_run(FaultKind::NotRunning).saying(DEAF);
        self.0.send(Written { line, done: Some(done) }).await.map_err(|_| closed(()))?;
        written.await.map_err(|_| closed(()))?
    }

    fn post(&self, line: Bytes) {
        if self.0.try_send(Written { line, done: None }).is_err() {
            tracing::debug!("a message to a child was lost: it takes none");
        }
    }
}

/// Writes messages until nobody can send one any more, or the child takes none. Its input ends with this.
pub(super) async fn write(mut stdin: ChildStdin, mut messages: mpsc::Receiver<Written>) {
    while let Some(Written { line, done }) = messages.recv().await {
        if done.as_ref().is_some_and(oneshot::Sender::is_closed) {
            continue;
        }
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(&line);
        whole.push(b'\n');
        let written = stdin.write_all(&whole).await;
        let failed = written.is_err();
        if let Some(done) = done {
            let outcome =
                written.map_err(|error| AttemptFault::not_run(FaultKind::NotRunning).saying(DEAF).because(error));
            // Who sent it may have left.
            let _ = done.send(outcome);
        }
        if failed {
            return;
        }
    }
}

/// Reads messages until the child's output ends, or there is no sense in it; `spoke` is set with the first message.
pub(super) async fn read(mut stdout: ChildStdout, channel: Arc<Channel>, spoke: Arc<AtomicBool>, line_bytes: usize) {
    let mut lines = LineFramer::new(line_bytes);
    let mut noise = 0;
    while matches!(stdout.read_buf(lines.room()).await, Ok(1..)) {
        while let Some(line) = lines.next_line() {
            let heard = match line {
                Line::Whole(line) => channel.hear(&line).await,
                Line::TooLong(begins) => {
                    channel.too_long(&begins);
                    false
                }
            };
            if heard {
                spoke.store(true, Ordering::Relaxed);
                noise = 0;
            } else {
                noise += 1;
            }
            if noise == NOISE {
                tracing::warn!(lines = NOISE, "a child writes no messages");
                return;
            }
        }
    }
}

/// Passes a child's standard error on to the log, line by line and no faster than is of use.
pub(super) async fn log(mut stderr: ChildStderr, backend: Arc<str>, pid: u32) {
    let mut lines = LineFramer::new(LOG_LINE);
    let mut period = Instant::now();
    let mut left = LOG_LINES;
    let mut unlogged: u64 = 0;
    while matches!(stderr.read_buf(lines.room()).await, Ok(1..)) {
        while let Some(line) = lines.next_line() {
            if period.elapsed() >= LOG_PERIOD {
                (period, left) = (Instant::now(), LOG_LINES);
                if std::mem::take(&mut unlogged) > 0 {
                    tracing::info!(%backend, pid, "stderr: lines were left out, there are too many");
                }
            }
            if left == 0 {
                unlogged += 1;
                continue;
            }
            left -= 1;
            let (Line::Whole(line) | Line::TooLong(line)) = line;
            let text: String = String::from_utf8_lossy(&line).chars().filter(|letter| !letter.is_control()).collect();
            tracing::info!(%backend, pid, "stderr: {text}");
        }
    }
}
