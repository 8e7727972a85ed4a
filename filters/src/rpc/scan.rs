//! One strict pass over a body: duplicate members, depth, UTF-8 and form are checked, spans are remembered.
//!
//! Nothing is copied and nothing is interpreted twice: the bytes that a decision is made on are the bytes that are sent.

use crate::fault::Fault;
use smallvec::SmallVec;
use std::borrow::Cow;

/// Bounds of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep arrays and objects may nest, the outermost counting as 1.
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
    pub fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let _ = body;
        None
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
    /// Its id, byte-exact.
    pub id: Option<Value>,
    /// Its method: always a string.
    pub method: Option<Value>,
    /// Its params: always an object or an array.
    pub params: Option<Params>,
}

/// The members of `params` that decisions are made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// The whole value.
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
    /// `_meta`, when it is an object.
    pub meta: Option<Meta>,
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
    /// `progressToken`
    pub progress_token: Option<Value>,
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
    /// The id of the message, where it could be read before the fault.
    pub id: Option<Span>,
}
