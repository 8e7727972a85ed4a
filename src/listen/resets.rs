//! HTTP/2 rapid reset (CVE-2023-44487): a client that opens streams and resets them at once.
//!
//! A stream that is reset no longer counts as concurrent, so the stream limit does not hold such a client, and the `h2`
//! crate counts only streams that were reset before they were taken up, which Pingora does without delay. Each of them
//! costs us a request. So resets are counted where they arrive, in the frames.

use tokio::time::Instant;

/// The connection preface of RFC 9113 section 3.4.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame's length, type, flags and stream.
const FRAME_HEADER: usize = 9;

/// The type of RST_STREAM.
const RST_STREAM: u8 = 3;

/// Counts a client's resets: as many as there may be streams at once, and as many again in each second.
#[derive(Debug)]
pub(crate) struct ResetWatch {
    header: [u8; FRAME_HEADER],
    /// How much of the header has come.
    have: usize,
    /// Bytes until the next header.
    skip: usize,
    per_second: f64,
    left: f64,
    refilled: Option<Instant>,
}

impl ResetWatch {
    /// For a connection of which nothing has been read yet, not even the preface.
    pub(crate) fn new(per_second: u32) -> ResetWatch {
        let per_second = f64::from(per_second.max(1));
        let header = [0; FRAME_HEADER];
        ResetWatch { header, have: 0, skip: PREFACE.len(), per_second, left: per_second, refilled: None }
    }

    /// Looks at what was read: whether there were too many resets.
    pub(crate) fn flooded(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let now = self.skip.min(bytes.len());
                self.skip -= now;
                bytes = &bytes[now..];
                continue;
            }
            let now = (FRAME_HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + now].copy_from_slice(&bytes[..now]);
            self.have += now;
            bytes = &bytes[now..];
            if self.have == FRAME_HEADER {
                self.have = 0;
                let [a, b, c, kind, ..] = self.header;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                if kind == RST_STREAM && !self.take(Instant::now()) {
                    return true;
                }
            }
        }
        false
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = self.refilled.replace(now).map_or(0.0, |then| (now - then).as_secs_f64());
        self.left = (self.left + since * self.per_second).min(self.per_second);
        self.left -= 1.0;
        self.left >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, 0, 0, 0, 0, 1];
        // A payload full of what would be resets if it were taken for frames.
        frame.extend([0, 0, 0, RST_STREAM].iter().cycle().take(payload));
        frame
    }

    #[test]
    fn resets_beyond_the_allowance_are_a_flood_and_time_gives_it_back() {
        let mut watch = ResetWatch::new(10);
        assert!(!watch.flooded(PREFACE));
        assert!(!(0..10).any(|_| watch.flooded(&frame(RST_STREAM, 4))));
        assert!(watch.flooded(&frame(RST_STREAM, 4)));

        let (mut watch, now) = (ResetWatch::new(10), Instant::now());
        assert!((0..10).all(|_| watch.take(now)));
        assert!((0..10).all(|_| watch.take(now + Duration::from_secs(1))));
        assert!(!watch.take(now + Duration::from_secs(1)));
        assert!((0..10).all(|_| watch.take(now + Duration::from_secs(100))));
        assert!(!watch.take(now + Duration::from_secs(100)), "nothing is saved up");
    }

    proptest! {
        #[test]
        fn frames_are_told_apart_however_they_arrive(
            frames in prop::collection::vec((0..10_u8, 0..700_usize), 0..30), cut in 1..900_usize,
        ) {
            let resets = frames.iter().filter(|(kind, _)| *kind == RST_STREAM).count();
            let wire: Vec<u8> = PREFACE.iter().copied()
                .chain(frames.iter().flat_map(|(kind, payload)| frame(*kind, *payload)))
                .collect();
            let mut watch = ResetWatch::new(1_000_000);
            prop_assert!(!wire.chunks(cut).any(|chunk| watch.flooded(chunk)));
            // What is left, but for what came back since, is what was taken.
            watch.per_second = 0.0;
            prop_assert!(1_000_000.0 - watch.left <= resets as f64);
            prop_assert!(resets == 0 || watch.refilled.is_some());
            prop_assert!(resets > 0 || watch.refilled.is_none());
        }
    }
}
