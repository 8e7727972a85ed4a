//! Whether an answer is the right one: status, kind, id, result, length.

use crate::mcp::skim;
use crate::wire::client::Client;

/// How long the JSON message of an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// To the byte: results pass a gateway untouched.
    Exactly(usize),
    /// A gateway may add to it (lists).
    AtLeast(usize),
}

/// What is expected of an answer.
#[derive(Clone, Debug)]
pub struct Expect {
    /// A stream with the answer as an event, not a JSON body.
    pub sse: bool,
    /// Length of the message.
    pub length: Length,
    /// Bytes that must be in the message.
    pub contains: Option<Vec<u8>>,
}

/// Checks the answer that `client` last read, to the request with this id.
pub fn answer(client: &Client, id: u64, expect: &Expect) -> Result<(), String> {
    let sse = client.head().is_some_and(|head| head.sse);
    if client.status() != 200 {
        return Err(format!("status {}: {}", client.status(), excerpt(client.body())));
    }
    if sse != expect.sse {
        return Err(format!("a stream: {sse}, expected: {}", expect.sse));
    }
    if !sse {
        return message(client.body(), id, expect);
    }
    let last = data_lines(client.body()).last().unwrap_or_default();
    message(last, id, expect)
}

/// Checks a status alone, for answers without a body.
pub fn status(client: &Client, fitting: &[u16]) -> Result<(), String> {
    if fitting.contains(&client.status()) {
        Ok(())
    } else {
        Err(format!("status {}, expected {fitting:?}: {}", client.status(), excerpt(client.body())))
    }
}

/// Checks one JSON-RPC answer.
fn message(body: &[u8], id: u64, expect: &Expect) -> Result<(), String> {
    let found = skim::answer(body);
    if !found.has_result {
        return Err(format!("no result: {}", excerpt(body)));
    }
    let echoed = found.id.and_then(|raw| std::str::from_utf8(raw).ok()?.parse::<u64>().ok());
    if echoed != Some(id) {
        return Err(format!("id {echoed:?} instead of {id}: {}", excerpt(body)));
    }
    let fits = match expect.length {
        Length::Exactly(length) => body.len() == length,
        Length::AtLeast(length) => body.len() >= length,
    };
    if !fits {
        return Err(format!("{} bytes instead of {:?}: {}", body.len(), expect.length, excerpt(body)));
    }
    match &expect.contains {
        Some(needle) if memchr::memmem::find(body, needle).is_none() => {
            Err(format!("{} is missing: {}", excerpt(needle), excerpt(body)))
        }
        _ => Ok(()),
    }
}

/// The values of the non-empty `data:` lines of a stream.
pub fn data_lines(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    stream
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"data:"))
        .map(|value| value.trim_ascii())
        .filter(|value| !value.is_empty())
}

fn excerpt(bytes: &[u8]) -> String {
    const SHOWN: usize = 300;
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = br#"{"jsonrpc":"2.0","id":1000000007,"result":{"a":"received 3"}}"#;

    fn expect(length: Length) -> Expect {
        Expect { sse: false, length, contains: None }
    }

    #[test]
    fn a_right_answer_passes() {
        message(GOOD, 1_000_000_007, &expect(Length::Exactly(GOOD.len()))).unwrap();
        message(GOOD, 1_000_000_007, &expect(Length::AtLeast(10))).unwrap();
    }

    #[test]
    fn every_difference_is_told() {
        let length = Length::Exactly(GOOD.len());
        assert!(message(GOOD, 1_000_000_008, &expect(length)).unwrap_err().contains("id Some"));
        assert!(message(GOOD, 1_000_000_007, &expect(Length::Exactly(1))).unwrap_err().contains("bytes"));
        assert!(message(GOOD, 1_000_000_007, &expect(Length::AtLeast(1000))).unwrap_err().contains("bytes"));
        let error = br#"{"jsonrpc":"2.0","id":1000000007,"error":{"code":-31001}}"#;
        assert!(message(error, 1_000_000_007, &expect(length)).unwrap_err().contains("-31001"));
        let contains = Expect { contains: Some(b"received 4".to_vec()), ..expect(length) };
        assert!(message(GOOD, 1_000_000_007, &contains).unwrap_err().contains("missing"));
    }

    #[test]
    fn finds_data_between_comments_and_priming_events() {
        let stream = b": keep-alive\n\nid: 1\ndata:\n\nevent: message\r\ndata: {\"a\":1}\r\n\r\ndata:{\"b\":2}\n\n";
        let lines: Vec<&[u8]> = data_lines(stream).collect();
        assert_eq!(lines, [&b"{\"a\":1}"[..], b"{\"b\":2}"]);
    }
}
