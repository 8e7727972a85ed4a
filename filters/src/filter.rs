//! The filter contract: what a filter is given, and what it may say.
//!
//! A filter is one step of a request's way. It acts on the request (header only, before a byte of the body is read), on
//! each JSON-RPC message of the body, or on both. It never waits: where it needs something from outside it answers
//! [`Verdict::Ask`]; the gateway looks it up and calls the same filter again.

use crate::authenticate::access::{Access, Issuer, Opaque};
use crate::backend::Backend;
use crate::exchange::Exchange;
use crate::fault::Refusal;
use crate::federate::{Callers, Identity};
use crate::rpc::scan::Message;
use crate::virtual_server::VirtualServer;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use std::sync::Arc;

/// The request line and header, borrowed from the connection.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The HTTP method.
    pub method: &'a Method,
    /// The path, as sent (not percent-decoded).
    pub path: &'a str,
    /// The query, without its question mark.
    pub query: Option<&'a str>,
    /// `:authority` of HTTP/2, or the authority of an absolute-form target; wins over `Host` (RFC 9112 section 3.2.2).
    pub authority: Option<&'a str>,
    /// All header fields.
    pub headers: &'a HeaderMap,
}

impl<'a> Head<'a> {
    /// The value of a header that must not be repeated: `Err` when it is, or when it is not visible ASCII.
    pub fn single(&self, name: &str) -> Result<Option<&'a str>, HeaderFault> {
        let mut values = self.headers.get_all(name).iter();
        let Some(first) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(HeaderFault::Repeated);
        }
        first.to_str().map(|text| Some(text.trim_matches([' ', '\t']))).map_err(|_| HeaderFault::NotAscii)
    }
}

/// Why [`Head::single`] could not give one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// The field is there more than once.
    Repeated,
    /// The value has bytes outside visible ASCII.
    NotAscii,
}

/// One step of a request's way: pure policy over data.
///
/// A filter holds its compiled configuration; it is built with the snapshot and shared by all exchanges, so it has no
/// state of one request: that lives in the [`Exchange`].
pub trait Filter: Send + Sync {
    /// The name used in traces, refusals and metrics.
    fn name(&self) -> &'static str;

    /// Looks at the request before its body is read.
    fn request(&self, _head: &Head<'_>, _exchange: &mut Exchange) -> Verdict {
        Verdict::Continue
    }

    /// Looks at one JSON-RPC message of the body.
    ///
    /// Called once for each member of a batch, in order.
    fn message(&self, _head: &Head<'_>, _message: &Message, _exchange: &mut Exchange) -> Verdict {
        Verdict::Continue
    }
}

/// What a filter says.
#[must_use]
#[derive(Debug)]
pub enum Verdict {
    /// Nothing against it: the next filter decides.
    Continue,
    /// Here is the whole answer: no later filter and no backend is asked.
    Answer(Answer),
    /// No.
    Refuse(Refusal),
    /// Something must be looked up first; the same filter is called again afterwards.
    Ask(Ask),
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Verdict {
        Verdict::Refuse(refusal)
    }
}

/// What a filter may ask the gateway to find out.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Which eras a backend speaks. Answered in the backend's facts.
    Eras(Arc<Backend>),
    /// A backend's tool schemas again: what is known does not fit what the client sent.
    Tools(Arc<Backend>),
    /// What the backends of a virtual server speak and offer: nothing is known yet of any of them. Answered in their
    /// facts and in the server's catalog.
    Catalog(Arc<VirtualServer>),
    /// What a virtual server shows these callers, whose fields some backends tell callers apart by. Answered in the
    /// exchange's catalog, always.
    Own {
        /// The virtual server.
        server: Arc<VirtualServer>,
        /// Who calls.
        callers: Arc<Callers>,
        /// What says so.
        identity: Identity,
    },
    /// What these callers are shown, once more, where the tools of one member may have changed: what is known of them does
    /// not fit what the client sent. Answered in the exchange's catalog.
    OwnTools {
        /// The virtual server.
        server: Arc<VirtualServer>,
        /// Who calls.
        callers: Arc<Callers>,
        /// What says so.
        identity: Identity,
        /// The member whose tools it is about.
        member: usize,
    },
    /// The keys of an issuer again: a token was signed with one that is not among them. Answered where the issuer has them.
    Keys(Arc<Issuer>),
    /// What its issuers say of a token that only they understand. Answered among the tokens that are known.
    Opinion {
        /// Where the token is shown.
        access: Arc<Access>,
        /// The token.
        opaque: Opaque,
    },
}

/// The bit of [`Ask::Keys`] and [`Ask::Opinion`]: a request shows one token.
pub(crate) const IDENTITY: u8 = 32;
/// The bit of [`Ask::Own`].
pub(crate) const OWN: u8 = 8;
/// The bit of [`Ask::OwnTools`].
pub(crate) const OWN_TOOLS: u8 = 16;

impl Ask {
    pub(crate) const fn bit(&self) -> u8 {
        match self {
            Ask::Eras(_) => 1,
            Ask::Tools(_) => 2,
            Ask::Catalog(_) => 4,
            Ask::Own { .. } => OWN,
            Ask::OwnTools { .. } => OWN_TOOLS,
            Ask::Keys(_) | Ask::Opinion { .. } => IDENTITY,
        }
    }
}

/// A complete answer made by a filter.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// Response headers, beside those that the exchange adds to every response.
    pub headers: HeaderMap,
    /// The body; empty for a bodiless status.
    pub body: Bytes,
}

impl Answer {
    /// A bodiless answer.
    pub fn empty(status: StatusCode) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A JSON answer with status 200.
    pub fn json(body: impl Into<Bytes>) -> Answer {
        let mut answer = Answer::empty(StatusCode::OK);
        answer.headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        answer.body = body.into();
        answer
    }
}
