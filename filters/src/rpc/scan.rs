//! One strict pass over a body: duplicate members, depth, UTF-8 and form are checked, spans are remembered.
//!
//! Nothing is copied and nothing is interpreted twice: the bytes that a decision is made on are the bytes that are sent.
//! Whatever two JSON parsers could read differently is refused here: a name that stands twice (the one keeps the first,
//! the other the last), a name in another case (Go's decoder folds it), half of a surrogate pair (some replace it).
//!
//! The grammar is in [`super::walk`], the JSON-RPC envelope in [`super::envelope`], names in [`super::names`].

use super::envelope;
use super::text;
use super::walk::{Flaw, Rules, Walker};
use crate::fault::Fault;
use smallvec::SmallVec;
use std::borrow::Cow;

/// No walk goes deeper than this, whatever `limits.depth` says.
pub const MAX_DEPTH: usize = 512;

/// Bounds of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep arrays and objects may nest, the outermost counting as 1; at most [`MAX_DEPTH`].
    pub depth: usize,
    /// How many members a batch may have.
    pub batch: usize,
}

/// A piece of the body: byte offsets, end exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of `body` that this span names; empty when it does not fit.
    #[inline]
    pub fn of<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        body.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// What kind of JSON value a span holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string; the span includes the quotes.
    String {
        /// Whether the string holds a backslash.
        escaped: bool,
    },
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A JSON value of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Where it stands, quotes and brackets included.
    pub span: Span,
    /// What it is.
    pub form: Form,
}

impl Value {
    /// The decoded text of a string value; `None` for anything else.
    ///
    /// Borrowed unless the string holds escapes. Only a body that [`scan`] did not see can hold a string that is no
    /// Unicode text (half a surrogate pair); that is `None` too.
    pub fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let Form::String { escaped } = self.form else { return None };
        let inside = self.span.of(body).strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        text::decode(inside, escaped)
    }

    /// What a string stands for, as bytes that nobody looked at again; `None` where it is none, or an escape is illegal.
    pub fn bytes<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        let Form::String { escaped } = self.form else { return None };
        let inside = self.span.of(body).strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if !escaped {
            return Some(Cow::Borrowed(inside));
        }
        let mut decoded = Vec::with_capacity(inside.len());
        text::decode_into(inside, &mut decoded)?;
        Some(Cow::Owned(decoded))
    }

    /// Whether this is a string.
    pub fn is_string(&self) -> bool {
        matches!(self.form, Form::String { .. })
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `method` and `id`.
    Request,
    /// `method` without `id`.
    Notification,
    /// `id` and `result` or `error`.
    Response,
}

/// One JSON-RPC message of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where the message stands.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
    /// Its id, byte-exact: a string or a number. An error response may have none, or `null`, which is `None` here.
    pub id: Option<Value>,
    /// Its method: always a string.
    pub method: Option<Value>,
    /// Its params: always an object.
    pub params: Option<Params>,
    /// The result of a response.
    pub result: Option<Value>,
    /// The error of a response: always an object.
    pub error: Option<Value>,
}

impl Message {
    /// Whether this calls or notifies this method.
    pub fn is(&self, method: &[u8], body: &[u8]) -> bool {
        self.method.and_then(|value| value.bytes(body)).is_some_and(|name| *name == *method)
    }
}

/// The members of `params` that decisions are made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// The whole value: an object.
    pub value: Value,
    /// `name` of tools and prompts.
    pub name: Option<Value>,
    /// `uri` of resources.
    pub uri: Option<Value>,
    /// `arguments`.
    pub arguments: Option<Value>,
    /// `taskId` of the Tasks extension.
    pub task_id: Option<Value>,
    /// `cursor` of lists.
    pub cursor: Option<Value>,
    /// `ref` of completions.
    pub reference: Option<Value>,
    /// `protocolVersion` of `initialize`.
    pub protocol_version: Option<Value>,
    /// `capabilities` of `initialize`.
    pub capabilities: Option<Value>,
    /// `clientInfo` of `initialize`.
    pub client_info: Option<Value>,
    /// `requestState` of a retry after `input_required`.
    pub request_state: Option<Value>,
    /// `inputResponses` of a retry after `input_required`.
    pub input_responses: Option<Value>,
    /// `level` of `logging/setLevel` and of log notifications.
    pub level: Option<Value>,
    /// `requestId` of `notifications/cancelled`.
    pub request_id: Option<Value>,
    /// `progressToken` of `notifications/progress`.
    pub progress_token: Option<Value>,
    /// `notifications` of `subscriptions/listen`.
    pub notifications: Option<Value>,
    /// `_meta`, when it is an object.
    pub meta: Option<Meta>,
    /// `_meta`, when it is anything but an object: callers refuse it with `-32602`.
    pub malformed_meta: Option<Value>,
}

/// The members of `params._meta` that decisions are made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The whole object.
    pub value: Value,
    /// `io.modelcontextprotocol/protocolVersion`
    pub protocol_version: Option<Value>,
    /// `io.modelcontextprotocol/clientCapabilities`
    pub client_capabilities: Option<Value>,
    /// `io.modelcontextprotocol/clientInfo`
    pub client_info: Option<Value>,
    /// `io.modelcontextprotocol/logLevel`
    pub log_level: Option<Value>,
    /// `io.modelcontextprotocol/subscriptionId` of notifications on a listen stream.
    pub subscription_id: Option<Value>,
    /// `progressToken`
    pub progress_token: Option<Value>,
    /// `traceparent` (W3C Trace Context)
    pub traceparent: Option<Value>,
    /// `tracestate` (W3C Trace Context)
    pub tracestate: Option<Value>,
    /// `baggage` (W3C Baggage)
    pub baggage: Option<Value>,
}

/// What one pass found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The messages, in order: one, or the members of a batch.
    pub messages: SmallVec<[Message; 1]>,
    /// Whether the body is an array.
    pub batch: bool,
}

/// Why a body is refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanFault {
    /// What is wrong.
    pub fault: Fault,
    /// Byte offset at which it was seen.
    pub at: usize,
    /// The id of the message at fault, a string or a number, where it is known and there is but one.
    ///
    /// A body that is JSON is walked to its end whatever it is refused for, so its id is known wherever it stands. In a
    /// body that is no JSON, or too deep, only an id before the fault is.
    pub id: Option<Span>,
}

impl From<Flaw> for ScanFault {
    fn from(flaw: Flaw) -> ScanFault {
        ScanFault { fault: flaw.fault, at: flaw.at, id: None }
    }
}

/// Scans a request body: one JSON-RPC message or a batch.
///
/// # Errors
///
/// - [`Fault::BodyTooLong`]: longer than spans can name (4 GiB);
/// - [`Fault::NotUtf8`], [`Fault::NotJson`] (RFC 8259, and no half of a surrogate pair), [`Fault::TooDeep`];
/// - [`Fault::DuplicateMember`]: two equal names in any object, compared as decoded; or a name that differs only in case
///   from one that the envelope or `params` is read by;
/// - [`Fault::NotJsonRpc`]: not a request, notification or response of JSON-RPC 2.0 as MCP narrows it: ids are strings or
///   numbers, `params` is an object;
/// - [`Fault::BatchRefused`] (empty, or with `initialize` in it), [`Fault::BatchTooLong`].
///
/// What is no JSON is said to be so even where it is also something else; otherwise the first fault counts.
pub fn scan(body: &[u8], limits: &Limits) -> Result<Scan, ScanFault> {
    let rules = Rules { depth: limits.depth, unique: true, paired: true };
    envelope::body(&mut Walker::new(body, rules)?, limits.batch)
}

/// Scans one message of a backend: the same grammar and envelope, but content is left to those who read it.
///
/// Names must differ at the top level and in `_meta` only, and half a surrogate pair passes: JavaScript backends write
/// one whenever they cut a text in the middle of an emoji.
///
/// # Errors
///
/// As [`scan`]; a batch is [`Fault::NotJsonRpc`].
pub fn scan_envelope(body: &[u8], limits: &Limits) -> Result<Message, ScanFault> {
    let rules = Rules { depth: limits.depth, unique: false, paired: false };
    envelope::single(&mut Walker::new(body, rules)?)
}

/// Checks a bare JSON value, such as a backend's result or a catalog document, before it is kept or taken apart.
///
/// Names must differ at any depth; half a surrogate pair passes, as in [`scan_envelope`].
///
/// # Errors
///
/// As [`scan`], of which only the faults of JSON itself and [`Fault::DuplicateMember`] can occur.
pub fn skim(value: &[u8], limits: &Limits) -> Result<(), ScanFault> {
    let mut walker = Walker::new(value, Rules { depth: limits.depth, unique: true, paired: false })?;
    walker.value()?;
    walker.end()?;
    walker.objection.map_or(Ok(()), |flaw| Err(flaw.into()))
}

/// Checks a bare JSON value of which only some members will be looked at: grammar, UTF-8 and depth, nothing else.
///
/// For what backends list: whoever then looks a member up makes sure that it stands there once.
///
/// # Errors
///
/// As [`scan`], of which only the faults of JSON itself can occur.
pub fn skim_content(value: &[u8], limits: &Limits) -> Result<(), ScanFault> {
    let mut walker = Walker::new(value, Rules { depth: limits.depth, unique: false, paired: false })?;
    walker.value()?;
    Ok(walker.end()?)
}

#[cfg(test)]
mod tests;
