//! A channel whose peer says anything at all, for the fuzz target and its replay.

use super::feed::{Ending, Next};
use super::{Asks, Channel, ChannelLimits, Line, LineFramer, Outlet, Spoken, scanned};
use crate::upstream::announced::Announcer;
use crate::upstream::fault::AttemptFault;
use async_trait::async_trait;
use bytes::Bytes;
use lockgate_filters::splice::Outbound;
use parking_lot::Mutex;
use std::sync::Arc;

/// The ids of the requests that wait for the peer, as their clients wrote them. The peer knows them as 2 and 3.
pub const FUZZED_IDS: [&str; 2] = ["\"own\"", "-7"];

/// What became of what a peer wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FuzzedPeer {
    /// Its lines, and whether each was a message; `None` where it was too long.
    pub lines: Vec<(Bytes, Option<bool>)>,
    /// What was written to it.
    pub written: Vec<Bytes>,
    /// What each request heard, the response last where there is one.
    pub heard: [Vec<Bytes>; 2],
    /// Which of the requests have their response.
    pub answered: [bool; 2],
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<Bytes>>>);

#[async_trait]
impl Outlet for Written {
    async fn write(&self, message: Bytes, _: &Outbound) -> Result<(), AttemptFault> {
        self.post(message);
        Ok(())
    }

    fn post(&self, message: Bytes) {
        self.0.lock().push(message);
    }
}

/// Hears the lines that these bytes are, arriving in pieces of `step` bytes; lines may have `limit` bytes.
///
/// `None` if there is no runtime to hear them on.
pub fn fuzz_peer(bytes: &[u8], step: usize, limit: usize) -> Option<FuzzedPeer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
    Some(runtime.block_on(hear(bytes, step, limit)))
}

async fn hear(bytes: &[u8], step: usize, limit: usize) -> FuzzedPeer {
    let written = Written::default();
    let limits = ChannelLimits { queue: usize::MAX, ..ChannelLimits::default() };
    let channel = Channel::new(
        "fuzzed".into(),
        Box::new(written.clone()),
        limits,
        Asks::Clients,
        Arc::default(),
        Announcer::default(),
    );
    let mut seen = FuzzedPeer::default();
    let Ok(session) = channel.open_session() else { return seen };
    let mut waiting = Vec::new();
    for id in FUZZED_IDS {
        let body = Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"_meta":{{"progressToken":{id}}}}}}}"#
        ));
        let Some(message) = scanned(&body) else { return seen };
        let fields = Outbound::new();
        let spoken = Spoken { session: Some(session), body: &body, message: &message, fields: &fields };
        if let Ok((listening, _)) = channel.register(spoken) {
            waiting.push(listening);
        }
    }
    let mut lines = LineFramer::new(limit);
    for piece in bytes.chunks(step.max(1)) {
        lines.room().extend_from_slice(piece);
        while let Some(line) = lines.next_line() {
            match line {
                Line::Whole(line) => {
                    let heard = channel.hear(&line).await;
                    seen.lines.push((line, Some(heard)));
                }
                Line::TooLong(begins) => seen.lines.push((begins, None)),
            }
        }
    }
    seen.written = written.0.lock().clone();
    for ((listening, heard), answered) in waiting.into_iter().zip(&mut seen.heard).zip(&mut seen.answered) {
        let feed = Arc::clone(&listening.feed);
        feed.end(Ending::Over);
        loop {
            match feed.next().await {
                Next::Said(message) => heard.push(message),
                Next::Ended(Ending::Answer(answer)) => {
                    *answered = true;
                    heard.push(answer);
                }
                Next::Ended(_) => break,
            }
        }
    }
    seen
}
