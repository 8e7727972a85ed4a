//! What the journal holds: one change of one session a record, framed so that damage is seen.
//!
//! A record is a marker (4 bytes), the payload's length and the CRC-32 of length and payload (4 bytes each,
//! little-endian), then the payload: JSON, so that members can be added without a new format. The marker lets a reader
//! find the next record behind damage.

use crate::session::before::Before;
use crate::session::keys;
use crate::session::level::LogLevel;
use crate::session::upstream_session::{UpstreamId, UpstreamSession};
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::revision::Revision;
use lockgate_filters::ticket::SessionId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::borrow::Cow;
use std::sync::Arc;

/// The longest payload, in bytes. Session limits keep real records far below it.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// What a record begins with.
pub(super) const MARKER: [u8; 4] = *b"\x1eLGr";
/// Marker, length and checksum.
pub(super) const HEAD_BYTES: usize = 12;

/// One change that must survive this process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A session began, with nothing but what its backends gave.
    Opened(SessionRecord),
    /// A backend gave the session an upstream session.
    Bound {
        /// The session.
        #[serde(with = "hex")]
        id: SessionId,
        /// Which backend: its name and a digest of its URL.
        backend: Arc<str>,
        /// What it gave.
        upstream: UpstreamSession,
    },
    /// A backend has lost the upstream session.
    Unbound {
        /// The session.
        #[serde(with = "hex")]
        id: SessionId,
        /// Which backend: its name and a digest of its URL.
        backend: Arc<str>,
    },
    /// The client set its log level.
    LogLevel {
        /// The session.
        #[serde(with = "hex")]
        id: SessionId,
        /// The level.
        level: LogLevel,
    },
    /// The client subscribed to a resource.
    Subscribed {
        /// The session.
        #[serde(with = "hex")]
        id: SessionId,
        /// The resource's URI, as the client wrote it.
        uri: Box<str>,
    },
    /// The client gave a subscription up.
    Unsubscribed {
        /// The session.
        #[serde(with = "hex")]
        id: SessionId,
        /// The resource's URI, as the client wrote it.
        uri: Box<str>,
    },
    /// Idle for too long: the session is given up, the ticket stays valid, and what the client had set is kept.
    Forgotten {
        /// The session.
        #[serde(with = "hex")]
        id: SessionId,
    },
    /// What is kept of a session that was given up before the journal was written anew.
    Left {
        /// The session.
        #[serde(with = "hex")]
        id: SessionId,
        /// When its ticket expires.
        #[serde(with = "millis")]
        until: UnixMillis,
        /// The log level that the client had set.
        level: Option<LogLevel>,
        /// The URIs that it was subscribed to.
        uris: Vec<Box<str>>,
        /// Where it was open.
        #[serde(default, skip_serializing_if = "Before::is_nowhere")]
        before: Before,
    },
    /// What its client has yet to hear of what was lost.
    Losses {
        /// The session.
        #[serde(with = "hex")]
        id: SessionId,
        /// Where it was open before, and its client does not know that it no longer is.
        #[serde(default, skip_serializing_if = "Before::is_nowhere")]
        before: Before,
        /// The backends whose next result is to say that the session was opened again there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unmarked: Vec<Arc<str>>,
    },
    /// Ended on purpose: never to be served again.
    Ended {
        /// The session.
        #[serde(with = "hex")]
        id: SessionId,
        /// When its ticket expires and it may be forgotten.
        #[serde(with = "millis")]
        until: UnixMillis,
    },
}

/// What a session begins with, as far as it survives this process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The session.
    #[serde(with = "hex")]
    pub id: SessionId,
    /// When its ticket expires.
    #[serde(with = "millis")]
    pub expires: UnixMillis,
    /// What the backends gave it, by name and digest of the URL.
    pub upstream: Vec<(Arc<str>, UpstreamSession)>,
    /// Where it was open before it was taken in.
    #[serde(default, skip_serializing_if = "Before::is_nowhere")]
    pub before: Before,
}

/// Appends the framed record of a change; `false` (and nothing appended) when it is too long to be read back.
pub(super) fn append(buffer: &mut Vec<u8>, change: &Change) -> bool {
    let start = buffer.len();
    buffer.extend_from_slice(&MARKER);
    buffer.extend_from_slice(&[0; HEAD_BYTES - MARKER.len()]);
    let written = serde_json::to_writer(&mut *buffer, change);
    let payload = buffer.len() - start - HEAD_BYTES;
    let Some(length) = u32::try_from(payload).ok().filter(|_| written.is_ok() && payload <= PAYLOAD_BYTES_MAX) else {
        buffer.truncate(start);
        return false;
    };
    let length = length.to_le_bytes();
    let crc = checksum(length, &buffer[start + HEAD_BYTES..]);
    buffer[start + 4..start + 8].copy_from_slice(&length);
    buffer[start + 8..start + HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    true
}

/// The checksum covers the length too: a run of zeros, as a power cut may leave, is no record.
pub(super) fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&length);
    crc.update(payload);
    crc.finalize()
}

/// Reads a payload; `None` when it is of a kind that this version does not know.
pub(super) fn decode(payload: &[u8]) -> Option<Change> {
    serde_json::from_slice(payload).ok()
}

impl Serialize for UpstreamSession {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let id = self.id.as_ref().and_then(|id| id.header().to_str().ok());
        (id, self.revision.as_str()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for UpstreamSession {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<UpstreamSession, D::Error> {
        let (id, revision) = <(Option<Cow<'de, str>>, Cow<'de, str>)>::deserialize(deserializer)?;
        let id = id.map(|id| UpstreamId::new(id.as_bytes()).ok_or_else(|| D::Error::custom("no session id")));
        let revision = Revision::parse(revision.as_bytes()).ok_or_else(|| D::Error::custom("unknown revision"))?;
        Ok(UpstreamSession { id: id.transpose()?, revision })
    }
}

mod hex {
    use super::*;

    pub fn serialize<S: Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = keys::hex(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(SessionId).ok_or_else(|| D::Error::custom("no session"))
    }
}

mod millis {
    use super::*;

    pub fn serialize<S: Serializer>(time: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixMillis, D::Error> {
        u64::deserialize(deserializer).map(UnixMillis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_survives_its_record() {
        let id = SessionId([0xa7; 16]);
        let upstream = UpstreamSession { id: UpstreamId::new(b"up\"\\~1"), revision: Revision::V2025_06_18 };
        let stateless = UpstreamSession { id: None, revision: Revision::V2025_03_26 };
        let record = SessionRecord {
            id,
            expires: UnixMillis(9),
            upstream: vec![("a".into(), upstream.clone()), ("b".into(), stateless)],
            before: Before::Nowhere,
        };
        let again = |before| Change::Opened(SessionRecord { before, ..record.clone() });
        for change in [
            again(Before::Unknown(vec!["a".into()])),
            again(Before::At(vec!["a".into(), "b".into()])),
            Change::Opened(record),
            Change::Left {
                id,
                until: UnixMillis(9),
                level: None,
                uris: Vec::new(),
                before: Before::At(vec!["a".into()]),
            },
            Change::Bound { id, backend: "a".into(), upstream },
            Change::Unbound { id, backend: "a".into() },
            Change::LogLevel { id, level: LogLevel::Debug },
            Change::Subscribed { id, uri: "test://ü\n".into() },
            Change::Unsubscribed { id, uri: "test://x".into() },
            Change::Losses { id, before: Before::Unknown(vec!["a".into()]), unmarked: vec!["b".into()] },
            Change::Losses { id, before: Before::Nowhere, unmarked: Vec::new() },
            Change::Forgotten { id },
            Change::Ended { id, until: UnixMillis(u64::MAX) },
        ] {
            let mut bytes = Vec::new();
            assert!(append(&mut bytes, &change));
            assert_eq!(decode(&bytes[HEAD_BYTES..]), Some(change));
        }
    }

    #[test]
    fn what_is_no_change_is_no_change() {
        for payload in [
            r#"{"forgotten":{"id":"0123"}}"#,
            r#"{"forgotten":{"id":"+0000000000000000000000000000000"}}"#,
            r#"{"reversed":{}}"#,
            r#"{"bound":{"id":"00000000000000000000000000000000","backend":"a","upstream":["a b","2025-11-25"]}}"#,
            "",
        ] {
            assert_eq!(decode(payload.as_bytes()), None, "{payload}");
        }
    }

    #[test]
    fn a_record_that_could_not_be_read_back_is_not_written() {
        let mut bytes = b"before".to_vec();
        let change = Change::Subscribed { id: SessionId([0; 16]), uri: "x".repeat(PAYLOAD_BYTES_MAX).into() };
        assert!(!append(&mut bytes, &change));
        assert_eq!(bytes, b"before");
    }
}
