//! The first words on a connection between nodes, before the request: who speaks, and for whom the request is.
//!
//! Each side says one frame: its length in two bytes, and JSON. What stands here is what no client may say: that a request
//! has been handed on, from whom it came, and what it is called in logs. So none of it is in a header field.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lockgate_filters::ticket::NodeId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest frame, in bytes. A client's certificate is most of it.
pub const FRAME_BYTES_MAX: usize = 16 * 1024;

/// The longest certificate of a client whose request is handed on, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

/// One process of a node; its next one is another.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Boot(pub [u8; 8]);

/// Which process of which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The node.
    #[serde(with = "node")]
    pub node: NodeId,
    /// The process.
    pub boot: Boot,
}

/// For whom a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// For whoever it is told to: all are told.
    Anyone,
    /// For this process alone.
    Boot(Boot),
    /// For this process, or another one of its node where it is gone: that one knows what was kept.
    Process(Process),
}

/// What is said first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// Who speaks.
    pub from: Boot,
    /// The request that follows; without one it was only asked who is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Arriving>,
}

/// What goes with a request that one node hands to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arriving {
    /// For whom it is.
    pub aim: Aim,
    /// The listener that the client has come to, which the other node has by the same name.
    pub listener: Box<str>,
    /// The address at the other end of the client's connection.
    pub peer: SocketAddr,
    /// The client's address, as far as its connection tells.
    pub client: SocketAddr,
    /// What answers, errors and logs call the request.
    pub correlation: Box<str>,
    /// Whether it asks for a stream of news, which a node that stops would end at once.
    pub news: bool,
    /// Whether its session was open at the node that hands it over, which had taken it for one whose node is gone.
    #[serde(default)]
    pub returns: bool,
    /// The certificate that the client has shown, in DER: the node that hands the request over has seen its proof.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "der")]
    pub certificate: Option<Arc<[u8]>>,
}

/// What is said to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Who is there.
    pub is: Process,
    /// Why the request is not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// Why a node does not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// It is for another process.
    NotMine,
    /// It was said to oneself.
    Myself,
    /// The process is stopping.
    Stopping,
    /// There is no such listener.
    NoListener,
    /// It has as many as it may have.
    Full,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::NotMine => "it is another process",
            Refused::Myself => "it is this process",
            Refused::Stopping => "it is stopping",
            Refused::NoListener => "it has no such listener",
            Refused::Full => "it has too many",
        })
    }
}

impl Aim {
    /// Whether a process is meant by it.
    pub fn means(self, is: Process) -> bool {
        match self {
            Aim::Anyone => true,
            Aim::Boot(boot) => boot == is.boot,
            Aim::Process(process) => process.boot == is.boot || process.node == is.node,
        }
    }
}

/// Reads a frame's content.
///
/// # Errors
/// What is wrong with it.
pub fn read<'a, T: Deserialize<'a>>(content: &'a [u8]) -> io::Result<T> {
    serde_json::from_slice(content).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A frame.
///
/// # Errors
/// When it would be too long.
pub fn write(said: &impl Serialize) -> io::Result<Vec<u8>> {
    let content = serde_json::to_vec(said).map_err(io::Error::other)?;
    let length = u16::try_from(content.len()).ok().filter(|length| usize::from(*length) <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("this is too long for a frame"))?;
    Ok([&length.to_be_bytes()[..], &content].concat())
}

/// Receives a frame's content.
pub(super) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
    }
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await?;
    Ok(content)
}

/// Sends a frame.
pub(super) async fn send(stream: &mut (impl AsyncWrite + Unpin), said: &impl Serialize) -> io::Result<()> {
    stream.write_all(&write(said)?).await?;
    stream.flush().await
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Boot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Boot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Boot, D::Error> {
        eight(deserializer).map(Boot)
    }
}

/// Node ids in JSON.
mod node {
    use super::{Deserializer, NodeId, Serializer, eight};

    pub fn serialize<S: Serializer>(node: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(node)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeId, D::Error> {
        eight(deserializer).map(NodeId)
    }
}

/// Certificates in JSON, as base64.
mod der {
    use super::{Arc, CERTIFICATE_BYTES_MAX, Deserialize, Deserializer, Engine, STANDARD, Serializer, de};

    pub fn serialize<S: Serializer>(der: &Option<Arc<[u8]>>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(der.as_deref().unwrap_or_default()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<[u8]>>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let der = STANDARD.decode(text).map_err(de::Error::custom)?;
        match der.len() {
            1..=CERTIFICATE_BYTES_MAX => Ok(Some(der.into())),
            _ => Err(de::Error::custom("no certificate has this length")),
        }
    }
}

/// Eight bytes as sixteen lower-case hex digits.
fn eight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 8], D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = digits.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
    number.map(u64::to_be_bytes).ok_or_else(|| de::Error::custom("expected sixteen hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn process(node: u8, boot: u8) -> Process {
        Process { node: NodeId([node; 8]), boot: Boot([boot; 8]) }
    }

    fn aim() -> impl Strategy<Value = Aim> {
        prop_oneof![
            Just(Aim::Anyone),
            any::<[u8; 8]>().prop_map(|boot| Aim::Boot(Boot(boot))),
            any::<[[u8; 8]; 2]>()
                .prop_map(|[node, boot]| Aim::Process(Process { node: NodeId(node), boot: Boot(boot) })),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard(
            aim in aim(),
            from in any::<[u8; 8]>(),
            correlation in "[!-~]{1,128}",
            listener in "[a-z0-9-]{1,63}",
            (peer, client) in any::<(SocketAddr, SocketAddr)>(),
            news in any::<bool>(),
            certificate in prop::option::of(prop::collection::vec(any::<u8>(), 1..=CERTIFICATE_BYTES_MAX)),
        ) {
            // A link-local scope has no place in the text form.
            let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
            let (peer, client) = (plain(peer), plain(client));
            let exchange =
                Arriving {
                    aim,
                    listener: listener.into(),
                    peer,
                    client,
                    correlation: correlation.into(),
                    news,
                    returns: news,
                    certificate: certificate.map(Into::into),
                };
            let said = Greeting { from: Boot(from), exchange: Some(exchange) };
            let frame = write(&said).unwrap();
            prop_assert_eq!(usize::from(u16::from_be_bytes([frame[0], frame[1]])), frame.len() - 2);
            prop_assert_eq!(read::<Greeting>(&frame[2..]).unwrap(), said);
        }

        #[test]
        fn anything_may_be_said(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (read::<Greeting>(&bytes), read::<Welcome>(&bytes));
        }
    }

    #[test]
    fn an_aim_means_a_process_or_its_successor() {
        assert!(Aim::Anyone.means(process(1, 1)));
        assert!(Aim::Boot(Boot([1; 8])).means(process(2, 1)) && !Aim::Boot(Boot([2; 8])).means(process(2, 1)));
        let aim = Aim::Process(process(1, 1));
        assert!(aim.means(process(1, 1)) && aim.means(process(1, 2)) && aim.means(process(2, 1)));
        assert!(!aim.means(process(2, 2)));
    }

    #[test]
    fn the_form_stays_what_other_nodes_know() {
        let welcome = Welcome { is: process(0xab, 1), refused: Some(Refused::NotMine) };
        let text = r#"{"is":{"node":"abababababababab","boot":"0101010101010101"},"refused":"not_mine"}"#;
        assert_eq!(&write(&welcome).unwrap()[2..], text.as_bytes());
        assert_eq!(read::<Greeting>(br#"{"from":"0101010101010101","new":1}"#).unwrap().exchange, None);
        for wrong in [r#"{"from":"01"}"#, r#"{"from":"010101010101010G"}"#, r#"{"from":"+101010101010101"}"#, "{}", ""]
        {
            assert!(read::<Greeting>(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn long_frames_are_not_read() {
        let mut frame = &[0xff, 0xff, b'{'][..];
        assert!(receive(&mut frame).await.is_err());
        assert!(write(&"x".repeat(FRAME_BYTES_MAX)).is_err());
    }
}
