//! Requests that backends send to clients: their ids, and their progress tokens, so that what the client says to them finds
//! its way back.
//!
//! Backends count their requests each for itself, so their ids meet in the one session that the client sees. The id that
//! the client gets says everything: which process of the gateway holds the connection on which the answer is waited for,
//! which backend asked, and under which id. It is sealed, so that no client can answer what it was not asked; and alike
//! each time it is sealed, so that an event that is sent again is still the same request.

use super::event_id::{SOURCE_BYTES, Source};
use crate::rpc::scan::{Form, Span, Value};
use crate::splice::quoted;
use crate::ticket::{Keyring, NodeId, Purpose, SessionId};
use bytes::Bytes;

/// The longest id or token of a backend, in bytes of JSON.
pub const RAW_BYTES_MAX: usize = 256;

/// What a sealed text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The id of a request.
    Id,
    /// The progress token that a request carries.
    Token,
}

/// A backend's request to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which node has the connection.
    pub node: NodeId,
    /// Which process there: its backends' requests end with it.
    pub boot: [u8; 8],
    /// Which backend asks, by its name in the configuration.
    pub backend: Box<str>,
    /// Which client is asked: the id of its session.
    pub session: SessionId,
    /// In which session there it is asked: another one may have asked something else under the same id.
    pub source: Source,
    /// Whether `raw` is an id or a token.
    pub subject: Subject,
    /// The backend's own id or token: a JSON string or number, byte for byte.
    pub raw: Bytes,
}

/// Why a question cannot be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionFault {
    /// The backend's id, or its name, is too long.
    #[error("the id is longer than {RAW_BYTES_MAX} bytes")]
    TooLong,
    /// The cryptographic library failed.
    #[error("the id could not be sealed")]
    Unsealed,
    /// It names too many resources.
    #[error("{}", super::outward::TooManyUris)]
    TooManyUris,
}

impl Question {
    /// The text that the client gets as id or token: a JSON string, quotes included.
    ///
    /// # Errors
    /// [`QuestionFault`]
    pub fn seal(&self, keys: &Keyring, server: &str) -> Result<Bytes, QuestionFault> {
        let length = u8::try_from(self.backend.len()).map_err(|_| QuestionFault::TooLong)?;
        if self.raw.len() > RAW_BYTES_MAX {
            return Err(QuestionFault::TooLong);
        }
        let mut plain = Vec::with_capacity(34 + SOURCE_BYTES + self.backend.len() + self.raw.len());
        plain.push(self.subject as u8);
        plain.extend_from_slice(&self.node.0);
        plain.extend_from_slice(&self.boot);
        plain.extend_from_slice(&self.session.0);
        plain.extend_from_slice(&self.source.to_bytes());
        plain.push(length);
        plain.extend_from_slice(self.backend.as_bytes());
        plain.extend_from_slice(&self.raw);
        let text = keys.seal_alike(Purpose::Question, server, &plain).map_err(|_| QuestionFault::Unsealed)?;
        Ok(quoted(&text))
    }

    /// Opens an id or token that a client sends back; `None` for whatever was not sealed here, for this virtual server, as
    /// this subject.
    pub fn open(keys: &Keyring, server: &str, subject: Subject, text: &str) -> Option<Question> {
        let plain = keys.open_small(Purpose::Question, server, text).ok()?;
        let (&number, rest) = plain.split_first()?;
        let (node, rest) = rest.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk()?;
        let (session, rest) = rest.split_first_chunk()?;
        let (source, rest) = rest.split_first_chunk()?;
        let (&length, rest) = rest.split_first()?;
        let (backend, raw) = rest.split_at_checked(usize::from(length))?;
        (number == subject as u8).then_some(())?;
        Some(Question {
            node: NodeId(*node),
            boot: *boot,
            backend: std::str::from_utf8(backend).ok()?.into(),
            session: SessionId(*session),
            source: Source::from_bytes(*source),
            subject,
            raw: Bytes::copy_from_slice(raw),
        })
    }

    /// Opens the value of an id or token in `body`.
    pub(super) fn open_value(
        keys: &Keyring,
        server: &str,
        subject: Subject,
        value: Value,
        body: &[u8],
    ) -> Option<Question> {
        Question::open(keys, server, subject, &value.text(body)?)
    }
}

/// The raw JSON of an id or token, if it can be put into a question.
pub fn raw(value: Value, body: &[u8]) -> Option<&[u8]> {
    let bytes = Span::of(&value.span, body);
    (matches!(value.form, Form::String { .. } | Form::Number) && bytes.len() <= RAW_BYTES_MAX).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federate::testing::keys;
    use proptest::prelude::*;

    fn question(raw: &str) -> Question {
        Question {
            node: NodeId([1; 8]),
            boot: [2; 8],
            backend: "files".into(),
            session: SessionId([3; 16]),
            source: Source::of("https://files.example/mcp", b"session"),
            subject: Subject::Id,
            raw: Bytes::copy_from_slice(raw.as_bytes()),
        }
    }

    fn text(sealed: &Bytes) -> &str {
        std::str::from_utf8(sealed).unwrap().trim_matches('"')
    }

    #[test]
    fn the_same_question_has_one_id_and_another_has_another() {
        let keys = keys();
        let once = question("7").seal(&keys, "s").unwrap();
        assert_eq!(once, question("7").seal(&keys, "s").unwrap());
        assert_ne!(once, question("\"7\"").seal(&keys, "s").unwrap());
        assert_ne!(once, question("7").seal(&keys, "t").unwrap());
        let elsewhere = Question { session: SessionId([4; 16]), ..question("7") };
        assert_ne!(once, elsewhere.seal(&keys, "s").unwrap());
        let later = Question { source: Source::of("https://files.example/mcp", b"another"), ..question("7") };
        assert_ne!(once, later.seal(&keys, "s").unwrap());
    }

    #[test]
    fn an_id_opens_only_where_and_as_what_it_was_sealed() {
        let keys = keys();
        let sealed = question("0").seal(&keys, "s").unwrap();
        assert_eq!(Question::open(&keys, "s", Subject::Id, text(&sealed)), Some(question("0")));
        assert_eq!(Question::open(&keys, "t", Subject::Id, text(&sealed)), None);
        assert_eq!(Question::open(&keys, "s", Subject::Token, text(&sealed)), None);
        for other in ["", "0", "AAAA", &text(&sealed)[1..], &format!("{}A", text(&sealed))] {
            assert_eq!(Question::open(&keys, "s", Subject::Id, other), None);
        }
    }

    #[test]
    fn long_ids_are_refused() {
        let keys = keys();
        let longest = format!("\"{}\"", "x".repeat(RAW_BYTES_MAX - 2));
        let mut most = question(&longest);
        most.backend = "b".repeat(63).into();
        assert_eq!(Question::open(&keys, "s", Subject::Id, text(&most.seal(&keys, "s").unwrap())), Some(most));
        assert_eq!(question(&format!("{longest} ")).seal(&keys, "s"), Err(QuestionFault::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(raw in "[ -~]{0,256}", backend in "[a-z0-9-]{1,63}", token in any::<bool>()) {
            let keys = keys();
            let subject = if token { Subject::Token } else { Subject::Id };
            let asked = Question { backend: backend.into(), subject, ..question(&raw) };
            let sealed = asked.seal(&keys, "default").unwrap();
            prop_assert_eq!(Question::open(&keys, "default", subject, text(&sealed)), Some(asked));
        }
    }
}
