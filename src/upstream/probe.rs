//! Which eras a backend speaks, found out by asking it (MCP 2026-07-28, "era detection").
//!
//! `server/discover` goes first. A modern result or a modern error says yes; any other refusal says no. An outage says
//! nothing: a backend that cannot be reached, asks for credentials or fails inside is never taken for a legacy one. That
//! it *answers* proves no era either: some legacy servers answer whatever they are asked.

mod command;

use super::fault::AttemptFault;
use super::fetch::{Fetcher, LEGACY, MODERN, Outcome, Reply, SESSION_ID, Speech, client_info};
use super::reach::Reach;
use super::settings::Protocol;
use super::watch::Declared;
use bytes::Bytes;
use http::StatusCode;
use lockgate_filters::backend::Speaks;
use lockgate_filters::revision::{Era, Revision};
use serde::Deserialize;

/// What a modern backend says of itself.
#[derive(Debug)]
pub(super) struct Description {
    /// The JSON of the `result` member.
    pub(super) result: Bytes,
    /// `ttlMs`: how long it may be kept, in milliseconds.
    pub(super) ttl_millis: u64,
    /// Which lists it has, and of which it tells when they change.
    pub(super) declared: Declared,
}

/// What one probe found out. [`Speaks::Unknown`] where the backend could not be asked.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) modern: Speaks,
    pub(super) legacy: Speaks,
    pub(super) description: Option<Description>,
    /// Why something is unknown.
    pub(super) fault: Option<AttemptFault>,
}

/// Asks a backend for its eras, as far as its configuration leaves that open.
pub(super) async fn probe(fetcher: &Fetcher, protocol: Protocol) -> Findings {
    let sse = fetcher.reach.over_sse();
    let fetcher = &fetcher.over(fetcher.reach.over_http());
    let mut findings = match protocol {
        Protocol::Legacy | Protocol::Sse => {
            Findings { modern: Speaks::No, legacy: Speaks::Yes, description: None, fault: None }
        }
        Protocol::Auto if fetcher.reach.command().is_some() => return command::probe(fetcher).await,
        Protocol::Auto | Protocol::Modern => discover(fetcher).await,
    };
    match (protocol, findings.modern) {
        (Protocol::Modern, _) => {
            findings.modern = Speaks::Yes;
            findings.legacy = Speaks::No;
        }
        // During an outage `initialize` would be refused as well, or worse: be taken by something in between.
        (Protocol::Legacy | Protocol::Sse, _) | (Protocol::Auto, Speaks::Unknown) => {}
        (Protocol::Auto, Speaks::Yes | Speaks::No) => match legacy(fetcher, findings.modern, sse).await {
            Ok(speaks) => findings.legacy = speaks,
            Err(fault) => findings.fault = Some(fault),
        },
    }
    findings
}

/// Asks a modern backend to describe itself.
pub(super) async fn discover(fetcher: &Fetcher) -> Findings {
    let mut findings = Findings { modern: Speaks::Unknown, legacy: Speaks::Unknown, description: None, fault: None };
    match fetcher.call("server/discover", "", Speech::Modern { capabilities: "{}" }).await {
        Ok(reply) => match modern(&reply) {
            Verdict::Speaks(description) => {
                findings.modern = Speaks::Yes;
                findings.description = description;
            }
            Verdict::SpeaksNot => findings.modern = Speaks::No,
            Verdict::Outage(fault) => findings.fault = Some(fault),
        },
        Err(fault) => findings.fault = Some(fault),
    }
    findings
}

enum Verdict {
    Speaks(Option<Description>),
    SpeaksNot,
    Outage(AttemptFault),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DiscoverResult {
    supported_versions: Vec<String>,
    #[serde(default)]
    capabilities: Capabilities,
    #[serde(default)]
    ttl_ms: u64,
}

#[derive(Default, Deserialize)]
struct Capabilities {
    tools: Option<ListCapability>,
    prompts: Option<ListCapability>,
    resources: Option<ListCapability>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListCapability {
    #[serde(default)]
    list_changed: bool,
}

impl Capabilities {
    fn declared(&self) -> Declared {
        let changes = |list: Option<ListCapability>| list.is_some_and(|list| list.list_changed);
        Declared {
            tools: self.tools.is_some(),
            tools_changed: changes(self.tools),
            lists_changed: [self.tools, self.prompts, self.resources].into_iter().any(changes),
        }
    }
}

fn modern(reply: &Reply) -> Verdict {
    match &reply.outcome {
        Some(Outcome::Result(result)) if reply.status.is_success() => {
            match serde_json::from_slice::<DiscoverResult>(result) {
                // A backend that is only newer than we are cannot be spoken to in this era.
                Ok(said) if said.supported_versions.iter().any(|version| version == MODERN.as_str()) => {
                    Verdict::Speaks(Some(Description {
                        result: result.clone(),
                        ttl_millis: said.ttl_ms,
                        declared: said.capabilities.declared(),
                    }))
                }
                _ => Verdict::SpeaksNot,
            }
        }
        // Header mismatch and missing capability exist in the modern era alone: it is spoken, though not fluently.
        Some(Outcome::Error(error)) if matches!(error.code, -32020 | -32021) => Verdict::Speaks(None),
        // It is modern, but does not speak the revision that was asked for, which is the only one we have.
        Some(Outcome::Error(error)) if error.code == -32022 => Verdict::SpeaksNot,
        _ => outage(reply.status).map_or(Verdict::SpeaksNot, Verdict::Outage),
    }
}

/// Whether a status says nothing about what a backend speaks, but that it cannot be asked now, or not by us.
fn outage(status: StatusCode) -> Option<AttemptFault> {
    let text = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            "it asks for credentials that the gateway does not have"
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            "it takes no requests now"
        }
        status if status.is_server_error() => "it answers with a server error",
        _ => return None,
    };
    Some(AttemptFault::protocol(text))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult {
    protocol_version: String,
}

/// Whether a backend speaks the legacy era, in whichever transport. Where it speaks Streamable HTTP at all, the older
/// one is not asked for.
async fn legacy(fetcher: &Fetcher, modern: Speaks, sse: Option<Reach>) -> Result<Speaks, AttemptFault> {
    let mut speaks = initialize(fetcher).await?;
    let Some(sse) = sse else { return Ok(speaks) };
    let Some(adapter) = sse.sse().cloned() else { return Ok(speaks) };
    let mut over_sse = false;
    if (modern, speaks) == (Speaks::No, Speaks::No) {
        match initialize(&fetcher.over(sse)).await {
            Ok(spoken) => (speaks, over_sse) = (spoken, spoken == Speaks::Yes),
            // An outage, of a backend that is known to speak this.
            Err(fault) if adapter.is_spoken() => return Err(fault),
            Err(_) => {}
        }
    }
    adapter.found(over_sse);
    Ok(speaks)
}

/// Opens a legacy session and ends it again.
async fn initialize(fetcher: &Fetcher) -> Result<Speaks, AttemptFault> {
    let params = format!(r#""protocolVersion":"{LEGACY}","capabilities":{{}},"clientInfo":{}"#, client_info());
    let speech = Speech::Legacy { session: None, revision: None };
    let reply = fetcher.call("initialize", &params, speech).await?;
    let Some(Outcome::Result(result)) = &reply.outcome else {
        return outage(reply.status).map_or(Ok(Speaks::No), Err);
    };
    let negotiated = serde_json::from_slice::<InitializeResult>(result)
        .ok()
        .and_then(|said| Revision::parse(said.protocol_version.as_bytes()))
        .filter(|revision| revision.era() == Era::Legacy);
    let Some(revision) = negotiated else { return Ok(Speaks::No) };
    if let Some(session) = reply.headers.get(SESSION_ID)
        && let Err(fault) = fetcher.end_session(session, Some(revision)).await
    {
        // It expires at the backend: nothing that the verdict depends on.
        tracing::debug!(%fault, cause = ?fault.cause, "a session opened to find out about a backend could not be ended");
    }
    Ok(Speaks::Yes)
}

#[cfg(test)]
mod tests;
