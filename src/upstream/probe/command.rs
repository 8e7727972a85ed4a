//! Which eras a command speaks.
//!
//! A server over standard input may do with `server/discover` what a server over HTTP cannot: say nothing, or end (2026-07-28,
//! "era detection"). Neither is an outage as long as it takes `initialize`. Silence may also mean that it is slow to start,
//! as package runners are; so after a while `initialize` goes to another process, and whichever answers decides.

use super::{Findings, discover, initialize};
use crate::upstream::fault::{AttemptFault, FaultKind};
use crate::upstream::fetch::Fetcher;
use lockgate_filters::backend::Speaks;
use std::time::Duration;
use tokio::time::timeout;

/// After how long without an answer `initialize` is tried as well, and how much longer than that one's answer this one may
/// take.
const SILENCE: Duration = Duration::from_secs(3);

/// Asks a command for its eras. What was only started for this is stopped.
pub(super) async fn probe(fetcher: &Fetcher) -> Findings {
    let findings = ask(fetcher).await;
    if findings.modern != Speaks::Yes
        && let Some(command) = fetcher.reach.command()
    {
        command.end_probe();
    }
    findings
}

async fn ask(fetcher: &Fetcher) -> Findings {
    let mut discovering = Box::pin(discover(fetcher));
    if let Ok(findings) = timeout(SILENCE, &mut discovering).await {
        let said_nothing = findings.fault.as_ref().is_some_and(says_nothing);
        if findings.modern == Speaks::Unknown && !said_nothing {
            return findings;
        }
        return conclude(findings, initialize(fetcher).await);
    }
    let mut initializing = Box::pin(initialize(fetcher));
    tokio::select! {
        findings = &mut discovering => conclude(findings, initializing.await),
        initialized = &mut initializing => {
            let findings = match &initialized {
                Ok(_) => timeout(SILENCE, &mut discovering).await.unwrap_or_else(|_| Findings::silent()),
                Err(_) => discovering.await,
            };
            conclude(findings, initialized)
        }
    }
}

/// Puts both answers together. Who does not even take `initialize` has not refused the modern era by saying nothing.
fn conclude(mut findings: Findings, initialized: Result<Speaks, AttemptFault>) -> Findings {
    match initialized {
        Ok(legacy) => {
            findings.legacy = legacy;
            if findings.modern == Speaks::Unknown && legacy == Speaks::Yes {
                findings.modern = Speaks::No;
                findings.fault = None;
            }
        }
        Err(fault) => findings.fault = Some(fault),
    }
    findings
}

impl Findings {
    fn silent() -> Findings {
        let fault = Some(AttemptFault::new(FaultKind::FirstByteTimeout));
        Findings { modern: Speaks::Unknown, legacy: Speaks::Unknown, description: None, fault }
    }
}

/// Whether a command that was started has ended or kept silent, or said what is no answer.
fn says_nothing(fault: &AttemptFault) -> bool {
    matches!(
        fault.kind,
        FaultKind::Closed
            | FaultKind::FirstByteTimeout
            | FaultKind::TotalTimeout
            | FaultKind::TooLong
            | FaultKind::Protocol
    )
}
