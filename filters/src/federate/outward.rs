//! A backend's words as the gateway's: URIs in answers and notifications, ids in requests.
//!
//! By spans: whatever is not replaced keeps its bytes. Where an answer cannot hold a URI, which a few searches tell, it is
//! not looked into at all.

use super::event_id::Source;
use super::question::{Question, QuestionFault, Subject, raw};
use super::render::{meta_uris, uri};
use super::uris::MemberUris;
use crate::rpc::members::{items, members};
use crate::rpc::scan::{Form, Message, Span, Value};
use crate::splice::{Edit, edited};
use crate::ticket::{Keyring, NodeId, SessionId};
use bytes::Bytes;
use memchr::memmem;
use std::borrow::Cow;
use std::sync::LazyLock;

/// The most URIs that are replaced in one message. One with more is not passed on: half of them would lead nowhere.
pub const EDITS_MAX: usize = 100_000;

/// A message names more than [`EDITS_MAX`] resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it names more than {EDITS_MAX} resources")]
pub struct TooManyUris;

/// What a message must hold if it holds the name of a member that may be replaced: `uri` or `resourceUri`, both by their end.
static URI: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("ri\""));
/// Or else, behind the beginning of a `_meta` or an escape: `outputTemplate`, or an escape that may stand for one of these names.
static RARE: LazyLock<[memmem::Finder<'static>; 2]> =
    LazyLock::new(|| ["outputTemplate\"", "\\u00"].map(memmem::Finder::new));

/// What a client is asked with resources before it.
const SAMPLING: &str = "sampling/createMessage";

/// Whether a message can hold anything to replace.
pub fn may_name_uris(message: &[u8]) -> bool {
    // A template stands in `_meta`: one look for two rare bytes saves two searches.
    URI.find(message).is_some()
        || memchr::memchr2(b'_', b'\\', message)
            .is_some_and(|at| RARE.iter().any(|sign| sign.find(&message[at..]).is_some()))
}

/// Whether the results of a method can hold URIs of a backend, or questions that do.
pub fn bears_uris(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read")
}

/// A backend's response to `method`, with its URIs as clients see them; `None` where nothing is to be replaced.
///
/// `response` is the whole JSON-RPC message, which must have been scanned.
///
/// # Errors
/// [`TooManyUris`].
pub fn response(method: &str, response: &Bytes, uris: &MemberUris) -> Result<Option<Bytes>, TooManyUris> {
    if uris.is_identity() || !bears_uris(method) || !may_name_uris(response) {
        return Ok(None);
    }
    let mut rewriter = Rewriter::new(response, uris);
    rewriter.each(Rewriter::WHOLE, "result", |rewriter, result| {
        match method {
            "tools/call" => {
                rewriter.each_item(result, "content", Rewriter::content);
                rewriter.meta(result);
            }
            "prompts/get" => rewriter.messages(result, Rewriter::content),
            _ => rewriter.each_item(result, "contents", |rewriter, contents| {
                rewriter.each(contents, "uri", Rewriter::uri);
            }),
        }
        // What the modern era asks in an answer (2026-07-28, `input_required`).
        rewriter.each(result, "inputRequests", |rewriter, requests| rewriter.values(requests, Rewriter::request));
    });
    let edits = rewriter.edits()?;
    let whole = Span { start: 0, end: response.len() as u32 };
    Ok((!edits.is_empty()).then(|| edited(response, whole, &edits)))
}

/// The methods whose results a backend may call public, and only their reader may keep where callers are told apart.
pub fn is_kept_private(method: &str) -> bool {
    method == "resources/read"
}

/// A backend's response that only its reader may keep (MCP 2026-07-28, `cacheScope`); `None` where it says so already, or
/// nothing of it may be kept.
pub fn private(response: &Bytes) -> Option<Bytes> {
    let whole = Span { start: 0, end: u32::try_from(response.len()).ok()? };
    let mut edits = Vec::new();
    for result in members(response).filter(|member| member.name == "result") {
        let object = result.value.span.of(response);
        let scopes = members(object).filter(|member| member.name == "cacheScope");
        for scope in scopes.filter(|scope| scope.value.span.of(object) != br#""private""#) {
            edits.push(Edit::text(scope.value.span.within(result.value.span), "private"));
        }
    }
    (!edits.is_empty()).then(|| edited(response, whole, &edits))
}

/// A backend's notification with its URIs as clients see them; `None` where nothing is to be replaced.
pub fn notification(message: &Message, body: &Bytes, uris: &MemberUris) -> Option<Bytes> {
    if uris.is_identity() || !message.is(b"notifications/resources/updated", body) {
        return None;
    }
    let uri = message.params.as_ref()?.uri?;
    updated_as(message, body, &uris.outward(&uri.text(body)?))
}

/// What a backend says was updated, where a message is that.
pub fn updated<'a>(message: &Message, body: &'a [u8]) -> Option<Cow<'a, str>> {
    if !message.is(b"notifications/resources/updated", body) {
        return None;
    }
    message.params.as_ref()?.uri?.text(body)
}

/// A notification that this was updated, as clients call it; `None` where it says so already.
pub fn updated_as(message: &Message, body: &Bytes, exposed: &str) -> Option<Bytes> {
    let uri = message.params.as_ref()?.uri?;
    if uri.text(body).is_none_or(|known| known == exposed) {
        return None;
    }
    Some(edited(body, message.span, &[Edit::text(uri.span, exposed)]))
}

/// Who asks a client: what ids and tokens are sealed with.
#[derive(Clone, Debug)]
pub struct Asking<'a> {
    /// What they are sealed with.
    pub keys: &'a Keyring,
    /// The virtual server's name.
    pub server: &'a str,
    /// Which node this is.
    pub node: NodeId,
    /// Which process.
    pub boot: [u8; 8],
    /// The backend's name in the configuration.
    pub backend: &'a str,
    /// Which session is asked.
    pub session: SessionId,
    /// In which session of the backend.
    pub source: Source,
}

impl Asking<'_> {
    /// A backend's request as the client gets it: with a sealed id, and a sealed progress token if it has one; with its URIs
    /// as clients see them, where it wants something sampled.
    ///
    /// # Errors
    /// [`QuestionFault`]: its id or token is too long, or it names too many resources.
    pub fn request(&self, message: &Message, body: &Bytes, uris: &MemberUris) -> Result<Bytes, QuestionFault> {
        let token = message.params.as_ref().and_then(|params| params.meta.as_ref()?.progress_token);
        let token = token.filter(|value| value.is_string() || value.form == Form::Number);
        let mut edits = Vec::new();
        if !uris.is_identity() && message.is(SAMPLING.as_bytes(), body) && may_name_uris(body) {
            let mut rewriter = Rewriter::new(body, uris);
            rewriter.request(Value { span: message.span, form: Form::Object });
            edits = rewriter.edits().map_err(|TooManyUris| QuestionFault::TooManyUris)?;
        }
        self.sealed(message, body, [(message.id, Subject::Id), (token, Subject::Token)], edits)
    }

    /// A backend's notification as the client gets it: what it cancels is known to the client under a sealed id.
    ///
    /// # Errors
    /// [`QuestionFault`]: the id is too long, so no request of that id was put to the client.
    pub fn cancellation(&self, message: &Message, body: &Bytes) -> Result<Bytes, QuestionFault> {
        let cancelled = message.params.as_ref().and_then(|params| params.request_id);
        self.sealed(message, body, [(cancelled, Subject::Id)], Vec::new())
    }

    fn sealed<const N: usize>(
        &self,
        message: &Message,
        body: &Bytes,
        values: [(Option<Value>, Subject); N],
        mut edits: Vec<Edit>,
    ) -> Result<Bytes, QuestionFault> {
        for (value, subject) in values {
            if let Some(value) = value {
                edits.push(Edit { span: value.span, with: self.seal(value, subject, body)? });
            }
        }
        edits.sort_by_key(|edit| edit.span.start);
        Ok(edited(body, message.span, &edits))
    }

    fn seal(&self, value: Value, subject: Subject, body: &[u8]) -> Result<Bytes, QuestionFault> {
        let question = Question {
            node: self.node,
            boot: self.boot,
            backend: self.backend.into(),
            session: self.session,
            source: self.source,
            subject,
            raw: Bytes::copy_from_slice(raw(value, body).ok_or(QuestionFault::TooLong)?),
        };
        question.seal(self.keys, self.server)
    }
}

/// A message that is being rewritten. Nothing here recurses: each level is a function of its own.
struct Rewriter<'a> {
    body: &'a Bytes,
    uris: &'a MemberUris,
    edits: Vec<Edit>,
    too_many: bool,
}

impl<'a> Rewriter<'a> {
    /// Stands for the message itself.
    const WHOLE: Value = Value { span: Span { start: 0, end: u32::MAX }, form: Form::Object };

    fn new(body: &'a Bytes, uris: &'a MemberUris) -> Rewriter<'a> {
        Rewriter { body, uris, edits: Vec::new(), too_many: false }
    }

    /// What is to be replaced, in order.
    fn edits(mut self) -> Result<Vec<Edit>, TooManyUris> {
        // A member that stands twice is replaced twice, but one may lie behind what was looked at first.
        self.edits.sort_by_key(|edit| edit.span.start);
        if self.too_many { Err(TooManyUris) } else { Ok(self.edits) }
    }

    /// Visits each member of that name; a name that stands twice is visited twice.
    fn each(&mut self, object: Value, name: &str, mut visit: impl FnMut(&mut Rewriter<'a>, Value)) {
        let (bytes, outer) = self.inside(object);
        for member in members(bytes).filter(|member| member.name == name) {
            visit(self, Value { span: member.value.span.within(outer), ..member.value });
        }
    }

    /// Visits each member, whatever its name.
    fn values(&mut self, object: Value, visit: impl Fn(&mut Rewriter<'a>, Value)) {
        let (bytes, outer) = self.inside(object);
        for member in members(bytes) {
            visit(self, Value { span: member.value.span.within(outer), ..member.value });
        }
    }

    fn each_item(&mut self, object: Value, name: &str, mut visit: impl FnMut(&mut Rewriter<'a>, Value)) {
        self.each(object, name, |rewriter, array| rewriter.items(array, &mut visit));
    }

    fn items(&mut self, array: Value, mut visit: impl FnMut(&mut Rewriter<'a>, Value)) {
        let (bytes, outer) = self.inside(array);
        for item in items(bytes) {
            visit(self, Value { span: item.span.within(outer), ..item });
        }
    }

    fn inside(&self, value: Value) -> (&'a [u8], Span) {
        let body: &'a [u8] = self.body;
        let end = value.span.end.min(u32::try_from(body.len()).unwrap_or(u32::MAX));
        let span = Span { start: value.span.start, end };
        (span.of(body), span)
    }

    /// A request that a client may be asked: only to sample, it is shown resources.
    fn request(&mut self, request: Value) {
        let mut samples = false;
        self.each(request, "method", |rewriter, method| {
            samples |= method.text(rewriter.body).as_deref() == Some(SAMPLING)
        });
        if samples {
            self.each(request, "params", |rewriter, params| rewriter.messages(params, Rewriter::sampled));
        }
    }

    /// The messages of a prompt or of a conversation: each has one content block, or several.
    fn messages(&mut self, object: Value, block: impl Fn(&mut Rewriter<'a>, Value)) {
        self.each_item(object, "messages", |rewriter, message| {
            rewriter.each(message, "content", |rewriter, content| match content.form {
                Form::Array => rewriter.items(content, &block),
                _ => block(rewriter, content),
            });
        });
    }

    /// What is said in a conversation: a content block, or the result of a tool (2025-11-25), which holds some.
    fn sampled(&mut self, block: Value) {
        if self.sort(block).as_deref() == Some("tool_result") {
            self.each_item(block, "content", Rewriter::content);
            self.meta(block);
        } else {
            self.content(block);
        }
    }

    fn sort(&mut self, block: Value) -> Option<String> {
        let mut sort = None;
        self.each(block, "type", |rewriter, value| sort = value.text(rewriter.body).map(|text| text.into_owned()));
        sort
    }

    /// A content block: a link to a resource, or a resource in full.
    fn content(&mut self, block: Value) {
        match self.sort(block).as_deref() {
            Some("resource_link") => self.each(block, "uri", Rewriter::uri),
            Some("resource") => {
                self.each(block, "resource", |rewriter, resource| rewriter.each(resource, "uri", Rewriter::uri));
            }
            _ => {}
        }
    }

    fn meta(&mut self, object: Value) {
        self.each(object, "_meta", |rewriter, meta| {
            let (body, uris): (&'a Bytes, _) = (rewriter.body, rewriter.uris);
            let outward = |own: &str| Some(uris.outward(own).into_owned());
            meta_uris(body, meta.span, &outward, &mut |edit| rewriter.take(edit));
        });
    }

    fn uri(&mut self, value: Value) {
        let (body, uris): (&'a Bytes, _) = (self.body, self.uris);
        let outward = |own: &str| Some(uris.outward(own).into_owned());
        uri(body, value, &outward, &mut |edit| self.take(edit));
    }

    fn take(&mut self, edit: Edit) {
        if self.edits.len() < EDITS_MAX {
            self.edits.push(edit);
        } else {
            self.too_many = true;
        }
    }
}

#[cfg(test)]
mod tests;
