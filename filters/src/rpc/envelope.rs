//! The JSON-RPC 2.0 envelope as MCP narrows it: which members make a message, and which of them are remembered.

use super::scan::{Form, Kind, Message, Meta, Params, Scan, ScanFault, Span, Value};
use super::walk::{Flaw, Walker};
use crate::fault::Fault;
use smallvec::SmallVec;

/// Reads a whole body: one message or a batch.
pub(super) fn body(walker: &mut Walker<'_>, batch: usize) -> Result<Scan, ScanFault> {
    if walker.peek() == Some(b'[') {
        return Reader::new(walker).batch(batch);
    }
    let message = single(walker)?;
    Ok(Scan { messages: SmallVec::from_buf([message]), batch: false })
}

/// Reads a body that must be one message.
pub(super) fn single(walker: &mut Walker<'_>) -> Result<Message, ScanFault> {
    let mut reader = Reader::new(walker);
    let message = reader.message()?;
    reader.walker.end().map_err(|flaw| ScanFault { id: reader.last_id, ..flaw.into() })?;
    match (reader.refused, message) {
        (None, Some(message)) => Ok(message),
        (Some(fault), _) => Err(fault),
        (None, None) => Err(ScanFault { fault: Fault::NotJsonRpc, at: 0, id: None }),
    }
}

struct Reader<'w, 'a> {
    walker: &'w mut Walker<'a>,
    /// The first message that is refused although it is JSON.
    refused: Option<ScanFault>,
    /// The id of the message that was read last.
    last_id: Option<Span>,
}

/// The members of one message, as found.
#[derive(Default)]
struct Parts {
    jsonrpc: Option<Value>,
    id: Option<Value>,
    method: Option<Value>,
    params: Option<Params>,
    params_form: Option<Form>,
    result: Option<Value>,
    error: Option<Value>,
    /// `id` stands twice or in another case: which one counts cannot be said.
    ambiguous: bool,
}

impl Parts {
    /// The id that an error answer may carry.
    fn answerable(&self) -> Option<Span> {
        let id = self.id.filter(|id| matches!(id.form, Form::String { .. } | Form::Number))?;
        (!self.ambiguous).then_some(id.span)
    }

    /// What these members make; `None` when they make no message.
    fn kind(&self, body: &[u8]) -> Option<Kind> {
        let version = self.jsonrpc?.text(body)?;
        let params_fit = matches!(self.params_form, None | Some(Form::Object));
        if version != "2.0" || !params_fit {
            return None;
        }
        let id = self.id.map(|id| id.form);
        match (self.method.map(|method| method.form), self.result, self.error.map(|error| error.form)) {
            (Some(Form::String { .. }), None, None) => match id {
                Some(Form::String { .. } | Form::Number) => Some(Kind::Request),
                None => Some(Kind::Notification),
                Some(_) => None,
            },
            (None, Some(_), None) => matches!(id, Some(Form::String { .. } | Form::Number)).then_some(Kind::Response),
            // An error may answer a message whose id could not be read: `null` in JSON-RPC, absent in MCP.
            (None, None, Some(Form::Object)) => {
                matches!(id, None | Some(Form::String { .. } | Form::Number | Form::Null)).then_some(Kind::Response)
            }
            _ => None,
        }
    }
}

impl<'w, 'a> Reader<'w, 'a> {
    fn new(walker: &'w mut Walker<'a>) -> Reader<'w, 'a> {
        Reader { walker, refused: None, last_id: None }
    }

    fn batch(mut self, limit: usize) -> Result<Scan, ScanFault> {
        let mut scan = Scan { messages: SmallVec::new(), batch: true };
        self.walker.enter_array()?;
        let mut first = true;
        let mut count = 0;
        while self.walker.item(&mut first)? {
            let at = self.walker.at();
            if count == limit {
                return Err(ScanFault { fault: Fault::BatchTooLong, at, id: None });
            }
            count += 1;
            let Some(message) = self.message()? else { continue };
            if message.is(b"initialize", self.walker.body()) {
                self.refuse(Fault::BatchRefused, message.span.start as usize);
            }
            scan.messages.push(message);
        }
        self.walker.end()?;
        if count == 0 {
            return Err(ScanFault { fault: Fault::BatchRefused, at: 0, id: None });
        }
        self.refused.map_or(Ok(scan), Err)
    }

    /// Reads one message; `None` when it is refused for something that leaves it JSON.
    fn message(&mut self) -> Result<Option<Message>, ScanFault> {
        let mut parts = Parts::default();
        let read = self.parts(&mut parts);
        self.last_id = parts.answerable();
        let span = read.map_err(|flaw| ScanFault { id: self.last_id, ..flaw.into() })?;
        let kind = parts.kind(self.walker.body());
        if let Some(Flaw { fault, at }) = self.walker.objection.take() {
            self.refuse(fault, at);
        }
        let Some(kind) = kind else {
            self.refuse(Fault::NotJsonRpc, span.start as usize);
            return Ok(None);
        };
        let id = parts.id.filter(|id| id.form != Form::Null);
        let Parts { method, params, result, error, .. } = parts;
        Ok(Some(Message { span, kind, id, method, params, result, error }))
    }

    fn refuse(&mut self, fault: Fault, at: usize) {
        self.refused.get_or_insert(ScanFault { fault, at, id: self.last_id });
    }

    fn parts(&mut self, parts: &mut Parts) -> Result<Span, Flaw> {
        let walker = &mut *self.walker;
        if walker.peek() != Some(b'{') {
            return walker.value().map(|value| value.span);
        }
        let start = walker.at() as u32;
        walker.enter_object(true)?;
        let mut first = true;
        while let Some(key) = walker.member(&mut first)? {
            match &*key.text {
                b"jsonrpc" => parts.jsonrpc = Some(walker.value()?),
                b"id" => {
                    parts.ambiguous |= parts.id.is_some();
                    parts.id = Some(walker.value()?);
                }
                b"method" => parts.method = Some(walker.value()?),
                b"params" => parts.params_form = Some(read_params(walker, &mut parts.params)?),
                b"result" => parts.result = Some(read_result(walker)?),
                b"error" => parts.error = Some(walker.value()?),
                other => {
                    walker.value()?;
                    if let Some(known) = MESSAGE_MEMBERS.iter().find(|known| folds_equal(other, known)) {
                        parts.ambiguous |= *known == "id";
                        walker.raise(Fault::DuplicateMember, key.span.start as usize);
                    }
                }
            }
        }
        Ok(Span { start, end: walker.at() as u32 })
    }
}

/// Whether a decoder that ignores case would take a name for one that makes a message what it is.
pub(super) fn is_ambiguous(name: &[u8]) -> bool {
    MESSAGE_MEMBERS.iter().any(|known| folds_equal(name, known))
}

const MESSAGE_MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// A member that is remembered, and where.
type Slot<T> = (&'static str, fn(&mut T) -> &mut Option<Value>);

const PARAMS: [Slot<Params>; 15] = [
    ("name", |params| &mut params.name),
    ("arguments", |params| &mut params.arguments),
    ("uri", |params| &mut params.uri),
    ("taskId", |params| &mut params.task_id),
    ("cursor", |params| &mut params.cursor),
    ("ref", |params| &mut params.reference),
    ("protocolVersion", |params| &mut params.protocol_version),
    ("capabilities", |params| &mut params.capabilities),
    ("clientInfo", |params| &mut params.client_info),
    ("requestState", |params| &mut params.request_state),
    ("inputResponses", |params| &mut params.input_responses),
    ("level", |params| &mut params.level),
    ("requestId", |params| &mut params.request_id),
    ("progressToken", |params| &mut params.progress_token),
    ("notifications", |params| &mut params.notifications),
];

const META: [Slot<Meta>; 9] = [
    ("io.modelcontextprotocol/protocolVersion", |meta| &mut meta.protocol_version),
    ("io.modelcontextprotocol/clientCapabilities", |meta| &mut meta.client_capabilities),
    ("io.modelcontextprotocol/clientInfo", |meta| &mut meta.client_info),
    ("io.modelcontextprotocol/logLevel", |meta| &mut meta.log_level),
    ("io.modelcontextprotocol/subscriptionId", |meta| &mut meta.subscription_id),
    ("progressToken", |meta| &mut meta.progress_token),
    ("traceparent", |meta| &mut meta.traceparent),
    ("tracestate", |meta| &mut meta.tracestate),
    ("baggage", |meta| &mut meta.baggage),
];

fn slot<'t, T>(slots: &[Slot<T>], into: &'t mut T, name: &[u8]) -> Option<&'t mut Option<Value>> {
    slots.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, place)| place(into))
}

/// Reads the value of `params`, whatever it is.
fn read_params(walker: &mut Walker<'_>, into: &mut Option<Params>) -> Result<Form, Flaw> {
    if walker.peek() != Some(b'{') {
        return walker.value().map(|value| value.form);
    }
    let start = walker.at() as u32;
    let mut params = Params::at(start);
    let mut has_meta = false;
    walker.enter_object(walker.unique())?;
    let mut first = true;
    while let Some(key) = walker.member(&mut first)? {
        let again = if let Some(slot) = slot(&PARAMS, &mut params, &key.text) {
            slot.replace(walker.value()?).is_some()
        } else if *key.text == *b"_meta" {
            match walker.peek() {
                Some(b'{') => params.meta = Some(read_meta(walker)?),
                _ => params.malformed_meta = Some(walker.value()?),
            }
            std::mem::replace(&mut has_meta, true)
        } else {
            walker.value()?;
            walker.unique() && folds_to_param(&key.text)
        };
        if again {
            walker.raise(Fault::DuplicateMember, key.span.start as usize);
        }
    }
    params.value.span.end = walker.at() as u32;
    *into = Some(params);
    Ok(Form::Object)
}

fn read_meta(walker: &mut Walker<'_>) -> Result<Meta, Flaw> {
    let mut meta = Meta::at(walker.at() as u32);
    walker.enter_object(true)?;
    let mut first = true;
    while let Some(key) = walker.member(&mut first)? {
        let value = walker.value()?;
        if let Some(slot) = slot(&META, &mut meta, &key.text) {
            *slot = Some(value);
        }
    }
    meta.value.span.end = walker.at() as u32;
    Ok(meta)
}

/// Reads a result: only its `_meta` is looked into.
fn read_result(walker: &mut Walker<'_>) -> Result<Value, Flaw> {
    if walker.peek() != Some(b'{') {
        return walker.value();
    }
    let start = walker.at() as u32;
    let mut has_meta = false;
    walker.enter_object(walker.unique())?;
    let mut first = true;
    while let Some(key) = walker.member(&mut first)? {
        if *key.text != *b"_meta" || walker.peek() != Some(b'{') {
            walker.value()?;
            continue;
        }
        read_meta(walker)?;
        if std::mem::replace(&mut has_meta, true) {
            walker.raise(Fault::DuplicateMember, key.span.start as usize);
        }
    }
    Ok(Value { span: Span { start, end: walker.at() as u32 }, form: Form::Object })
}

fn folds_to_param(name: &[u8]) -> bool {
    PARAMS.iter().map(|(known, _)| *known).chain(["_meta"]).any(|known| folds_equal(name, known))
}

/// Whether a decoder that ignores case would take `name` for `known`.
///
/// Go's folds by Unicode's simple rules, under which two characters outside ASCII equal an ASCII letter: U+017F is an s,
/// U+212A is a k.
fn folds_equal(name: &[u8], known: &str) -> bool {
    if name.len() == known.len() {
        return name.eq_ignore_ascii_case(known.as_bytes());
    }
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let folded = name.chars().map(|letter| match letter {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    name.len() > known.len() && folded.eq(known.chars().map(|letter| letter.to_ascii_lowercase()))
}

impl Params {
    /// Params that begin here and of which nothing is known yet.
    fn at(start: u32) -> Params {
        Params {
            value: object_at(start),
            name: None,
            uri: None,
            arguments: None,
            task_id: None,
            cursor: None,
            reference: None,
            protocol_version: None,
            capabilities: None,
            client_info: None,
            request_state: None,
            input_responses: None,
            level: None,
            request_id: None,
            progress_token: None,
            notifications: None,
            meta: None,
            malformed_meta: None,
        }
    }
}

impl Meta {
    /// Metadata that begins here and of which nothing is known yet.
    fn at(start: u32) -> Meta {
        Meta {
            value: object_at(start),
            protocol_version: None,
            client_capabilities: None,
            client_info: None,
            log_level: None,
            subscription_id: None,
            progress_token: None,
            traceparent: None,
            tracestate: None,
            baggage: None,
        }
    }
}

fn object_at(start: u32) -> Value {
    Value { span: Span { start, end: start }, form: Form::Object }
}
