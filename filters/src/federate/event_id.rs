//! Sealed ids of events on the streams of a federated server: where a client stands on the streams of its backends.
//!
//! A client that lost a stream names the last event that it has. That one id tells any node where to go on at each backend
//! that the stream came from; the backends' own ids mean nothing to anybody else.

use crate::ticket::{Keyring, Purpose, SessionId};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

/// The longest id of a backend's event that is kept, in bytes.
pub const RAW_BYTES_MAX: usize = 255;
/// The longest JSON-RPC id that is kept, in bytes.
const ASKED_BYTES_MAX: usize = 128;
/// The most bytes of backends' ids in one id of ours, with that of the request: those that do not fit cannot be resumed.
const BEHIND_BYTES_MAX: usize = 560;

/// A session at a place where events come from, in short. Ids of events mean nothing in another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    place: [u8; 4],
    session: [u8; 4],
}

impl Source {
    /// What a session at a place is called in ids, the same in every process; `session` is the backend's id of it, empty
    /// where it has none.
    pub fn of(place: &str, session: &[u8]) -> Source {
        Source { place: short(place.as_bytes()), session: short(session) }
    }

    /// As it stands in what is sealed.
    pub(super) fn to_bytes(self) -> [u8; SOURCE_BYTES] {
        let [[a, b, c, d], [e, f, g, h]] = [self.place, self.session];
        [a, b, c, d, e, f, g, h]
    }

    pub(super) fn from_bytes([a, b, c, d, e, f, g, h]: [u8; SOURCE_BYTES]) -> Source {
        Source { place: [a, b, c, d], session: [e, f, g, h] }
    }

    /// Whether it is a session at this place.
    pub fn is_at(self, place: &str) -> bool {
        self.place == short(place.as_bytes())
    }
}

/// The length of a [`Source`] in what is sealed.
pub(super) const SOURCE_BYTES: usize = 8;

fn short(text: &[u8]) -> [u8; 4] {
    let mut short = [0; 4];
    for (byte, hashed) in short.iter_mut().zip(digest(&SHA256, text).as_ref()) {
        *byte = *hashed;
    }
    short
}

/// Which kind of stream an event was on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The answer to a request, from one backend: one that names no resources.
    Answer,
    /// What the backends say of their own accord, all together.
    News,
    /// The answer to `tools/call`.
    ToolAnswer,
    /// The answer to `prompts/get`.
    PromptAnswer,
    /// The answer to `resources/read`.
    ResourceAnswer,
}

impl Stream {
    const ALL: [Stream; 5] =
        [Stream::Answer, Stream::News, Stream::ToolAnswer, Stream::PromptAnswer, Stream::ResourceAnswer];

    /// The stream that answers a request of this method.
    pub fn answering(method: &[u8]) -> Stream {
        match method {
            b"tools/call" => Stream::ToolAnswer,
            b"prompts/get" => Stream::PromptAnswer,
            b"resources/read" => Stream::ResourceAnswer,
            _ => Stream::Answer,
        }
    }

    /// The method whose answers it brings, where it matters how these are read; empty where it does not. `None` where it
    /// answers nothing.
    pub fn method(self) -> Option<&'static str> {
        match self {
            Stream::News => None,
            Stream::Answer => Some(""),
            Stream::ToolAnswer => Some("tools/call"),
            Stream::PromptAnswer => Some("prompts/get"),
            Stream::ResourceAnswer => Some("resources/read"),
        }
    }
}

/// Where a client stands behind one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// Whose stream it was.
    pub session: SessionId,
    /// Which kind of stream.
    pub stream: Stream,
    /// Which process sent it: it may have more that no backend can send again.
    pub boot: [u8; 8],
    /// Tells the events of one process apart, where their backends' ids do not.
    pub number: u64,
    /// The raw JSON-RPC id of the request that is answered; empty where none is, or where it is long. A node that cannot
    /// give the answer can then at least say so.
    pub asked: Bytes,
    /// The last event of each backend that gives its events ids.
    pub behind: Vec<(Source, Bytes)>,
}

impl EventId {
    /// The text that the client gets; `None` where it cannot be sealed. What does not fit of `behind` is left out, the
    /// longest first.
    pub fn seal(&self, keys: &Keyring, server: &str) -> Option<Bytes> {
        let mut behind: Vec<&(Source, Bytes)> =
            self.behind.iter().filter(|(_, id)| id.len() <= RAW_BYTES_MAX).collect();
        behind.sort_by_key(|(source, id)| (id.len(), *source));
        let mut plain = Vec::with_capacity(64);
        plain.push(self.stream as u8);
        plain.extend_from_slice(&self.session.0);
        plain.extend_from_slice(&self.boot);
        plain.extend_from_slice(&self.number.to_be_bytes());
        let asked = if self.asked.len() <= ASKED_BYTES_MAX { &self.asked[..] } else { &[] };
        plain.push(u8::try_from(asked.len()).ok()?);
        plain.extend_from_slice(asked);
        let mut left = BEHIND_BYTES_MAX - asked.len();
        for (source, id) in behind {
            let Some(rest) = left.checked_sub(id.len() + SOURCE_BYTES + 1) else { break };
            left = rest;
            plain.extend_from_slice(&source.to_bytes());
            plain.push(u8::try_from(id.len()).ok()?);
            plain.extend_from_slice(id);
        }
        keys.seal_alike(Purpose::Event, server, &plain).ok().map(Bytes::from)
    }

    /// Opens an id that a client names; `None` for whatever was not sealed here, for this virtual server.
    pub fn open(keys: &Keyring, server: &str, text: &str) -> Option<EventId> {
        let plain = keys.open_small(Purpose::Event, server, text).ok()?;
        let (&stream, rest) = plain.split_first()?;
        let stream = *Stream::ALL.iter().find(|known| **known as u8 == stream)?;
        let (session, rest) = rest.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (asked, mut rest) = text_of(rest)?;
        let mut behind = Vec::new();
        while let Some((source, more)) = rest.split_first_chunk() {
            let (id, more) = text_of(more)?;
            behind.push((Source::from_bytes(*source), Bytes::copy_from_slice(id)));
            rest = more;
        }
        rest.is_empty().then_some(EventId {
            session: SessionId(*session),
            stream,
            boot: *boot,
            number: u64::from_be_bytes(*number),
            asked: Bytes::copy_from_slice(asked),
            behind,
        })
    }

    /// Whether it was on a stream from this place.
    pub fn comes_from(&self, place: &str) -> bool {
        self.behind.iter().any(|(source, _)| source.is_at(place))
    }

    /// Where to go on in a session at a backend.
    pub fn at(&self, source: Source) -> Option<&Bytes> {
        self.behind.iter().find(|(known, _)| *known == source).map(|(_, id)| id)
    }
}

/// Bytes behind their length, and the rest.
fn text_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federate::testing::keys;
    use crate::ticket::TICKET_BYTES_MAX;
    use proptest::prelude::*;

    fn id(behind: Vec<(Source, Bytes)>) -> EventId {
        EventId {
            session: SessionId([1; 16]),
            stream: Stream::News,
            boot: [2; 8],
            number: 7,
            asked: Bytes::new(),
            behind,
        }
    }

    fn open(text: &Bytes) -> Option<EventId> {
        EventId::open(&keys(), "s", std::str::from_utf8(text).unwrap())
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let long = Bytes::from(vec![b'x'; RAW_BYTES_MAX]);
        let many = (0..9).map(|n| (Source::of(&n.to_string(), b"s"), long.clone()));
        let short = (Source::of("short", b""), Bytes::from_static(b"1"));
        let sealed = id(many.chain([short.clone()]).collect()).seal(&keys(), "s").unwrap();
        assert!(sealed.len() <= TICKET_BYTES_MAX, "{}", sealed.len());
        let opened = open(&sealed).unwrap();
        assert_eq!(opened.at(short.0), Some(&short.1));
        assert_eq!(opened.behind.len(), 3);
    }

    #[test]
    fn another_session_at_the_same_place_is_another_source() {
        let (one, other) = (Source::of("place", b"one"), Source::of("place", b"other"));
        let id = id(vec![(one, Bytes::from_static(b"7"))]);
        assert!(one.is_at("place") && other.is_at("place") && !one.is_at("elsewhere"));
        assert!(id.comes_from("place") && !id.comes_from("elsewhere"));
        assert_eq!((id.at(one), id.at(other)), (Some(&Bytes::from_static(b"7")), None));
    }

    #[test]
    fn the_id_of_the_request_is_kept_where_it_is_short() {
        for (length, kept) in [(0, 0), (ASKED_BYTES_MAX, ASKED_BYTES_MAX), (ASKED_BYTES_MAX + 1, 0)] {
            let long = vec![(Source::of("a", b"s"), Bytes::from(vec![b'x'; RAW_BYTES_MAX]))];
            let id = EventId { asked: Bytes::from(vec![b'7'; length]), stream: Stream::Answer, ..id(long.clone()) };
            let opened = open(&id.seal(&keys(), "s").unwrap()).unwrap();
            assert_eq!((opened.asked.len(), opened.behind), (kept, long));
        }
    }

    #[test]
    fn what_was_answered_is_known_again() {
        for method in ["tools/call", "prompts/get", "resources/read"] {
            let sealed =
                EventId { stream: Stream::answering(method.as_bytes()), ..id(Vec::new()) }.seal(&keys(), "s").unwrap();
            assert_eq!(open(&sealed).unwrap().stream.method(), Some(method));
        }
        assert_eq!(Stream::answering(b"completion/complete").method(), Some(""));
        assert_eq!(Stream::News.method(), None);
    }

    #[test]
    fn an_id_opens_only_where_it_was_sealed() {
        let sealed = id(Vec::new()).seal(&keys(), "s").unwrap();
        assert_eq!(open(&sealed), Some(id(Vec::new())));
        assert_eq!(EventId::open(&keys(), "t", std::str::from_utf8(&sealed).unwrap()), None);
        for other in [&b""[..], b"7", b"AAAA", &sealed[1..]] {
            assert_eq!(open(&Bytes::copy_from_slice(other)), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(raw in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8)) {
            let mut behind: Vec<_> =
                raw.into_iter().enumerate().map(|(n, raw)| (Source::of(&n.to_string(), b"s"), Bytes::from(raw))).collect();
            let sealed = id(behind.clone()).seal(&keys(), "s").unwrap();
            behind.sort_by_key(|(source, id)| (id.len(), *source));
            prop_assert_eq!(open(&sealed), Some(id(behind)));
        }
    }
}
