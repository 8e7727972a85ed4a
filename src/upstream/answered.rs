//! Whether a backend answered when it was last asked: what operators are shown.

use super::fault::AttemptFault;
use http::StatusCode;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

const NOT_ASKED: u8 = 0;
const ANSWERED: u8 = 1;
const FAILED: u8 = 2;

/// How the last attempt at a backend ended, a client's or the gateway's own.
#[derive(Debug, Default)]
pub(super) struct Answered {
    last: AtomicU8,
    flipped: Notify,
}

impl Answered {
    /// Takes note of an attempt.
    ///
    /// 502, 503 and 504 come from whatever stands in front of a backend that does not answer, or say that it takes no
    /// requests now. Any other status is the backend's own, whatever it thinks of the request.
    pub(super) fn note(&self, outcome: Result<StatusCode, &AttemptFault>) {
        let now = match outcome {
            Ok(StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) | Err(_) => {
                FAILED
            }
            Ok(_) => ANSWERED,
        };
        // Mostly a read: requests do not fight for the cache line.
        if self.last.load(Ordering::Relaxed) != now && self.last.swap(now, Ordering::Relaxed) != NOT_ASKED {
            self.flipped.notify_waiters();
        }
    }

    /// Waits until it answers again, or does so no more.
    pub(super) fn flips(&self) -> Notified<'_> {
        self.flipped.notified()
    }

    /// Whether traffic has shown something else than a look that ended now: that succeeded, or did not, and before which
    /// the backend had answered, or had not.
    pub(super) fn contradicts(before: Option<bool>, now: Option<bool>, succeeded: bool) -> bool {
        match succeeded {
            true => now == Some(false),
            // What fails though the backend answers, as it did before, is no matter of being there.
            false => now == Some(true) && before != Some(true),
        }
    }

    /// `None` until it was asked.
    pub(super) fn last(&self) -> Option<bool> {
        match self.last.load(Ordering::Relaxed) {
            NOT_ASKED => None,
            answered => Some(answered == ANSWERED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_contradicted_by_what_changed_during_it() {
        for (before, now, succeeded, contradicted) in [
            (Some(true), Some(false), true, true),
            (Some(false), Some(true), true, false),
            (Some(false), Some(true), false, true),
            (None, Some(true), false, true),
            (Some(true), Some(true), false, false),
            (Some(true), Some(false), false, false),
            (None, None, false, false),
        ] {
            assert_eq!(Answered::contradicts(before, now, succeeded), contradicted, "{before:?} {now:?} {succeeded}");
        }
    }
}
