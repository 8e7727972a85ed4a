//! HTTP/1.1 by the byte: requests that no HTTP library would send, and answers read without judgement.

use crate::wait::PATIENCE;
use serde_json::Value;
use std::fmt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request that is written exactly as it is put together.
#[derive(Clone, Debug)]
pub struct Raw {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Raw {
    pub fn new(method: &str, target: &str) -> Self {
        Self { line: format!("{method} {target} HTTP/1.1"), headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header, even if there is one of that name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes every header of that name.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// Replaces every header of that name by one.
    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// Sets the body and its length.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.set("content-length", &length)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends the request on a connection of its own and reads what comes until the server closes (the request should
    /// ask for that). `None` if the server closed without a word.
    pub async fn send(&self, address: &str) -> Option<RawAnswer> {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        // A server may well answer and close before it has read everything.
        let _ = stream.write_all(&self.bytes()).await;
        RawAnswer::read(&mut stream).await
    }
}

pub struct RawAnswer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl fmt::Debug for RawAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", format!("{}\n\n{}", self.head, String::from_utf8_lossy(&self.body)))
    }
}

impl RawAnswer {
    /// Reads one answer: to its declared length, or else to the end of the connection.
    pub async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let done = async {
            while whole_length(&bytes).is_none_or(|length| bytes.len() < length) {
                if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, done).await.unwrap_or_else(|_| panic!("no whole answer within {PATIENCE:?}"));
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut body = bytes.split_off(end + 4);
        if field(&head, "transfer-encoding").is_some() {
            body = dechunked(&body);
        }
        Some(Self { status, head, body })
    }

    /// Reads one answer with a length, and not a byte of what follows it.
    pub async fn read_one(stream: &mut TcpStream) -> Option<Self> {
        let one = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.ok()?);
            }
            let length = whole_length(&head)? - head.len();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.ok()?;
            let head = String::from_utf8_lossy(&head).trim_end().to_owned();
            Some(Self { status: head.split(' ').nth(1)?.parse().ok()?, head, body })
        };
        tokio::time::timeout(PATIENCE, one).await.unwrap_or_else(|_| panic!("no whole answer within {PATIENCE:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn code(&self) -> (u16, i64) {
        (self.status, self.json()["error"]["code"].as_i64().unwrap_or(0))
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Head and body, if the head has arrived and declares a length.
fn whole_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let length: usize = field(&head, "content-length")?.parse().ok()?;
    Some(end + 4 + length)
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = String::from_utf8_lossy(&bytes[..line]).into_owned();
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        let rest = &bytes[line + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        bytes = rest.get(size + 2..).unwrap_or_default();
    }
    body
}
