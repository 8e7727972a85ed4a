//! Reading an SSE stream as it arrives.

use crate::wait::PATIENCE;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::Response;
use serde_json::Value;
use std::time::Duration;

/// One event: its id, if it has one, and its data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    pub id: Option<String>,
    pub data: String,
}

impl Event {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }
}

pub struct Events {
    pub status: u16,
    pub headers: http::HeaderMap,
    bytes: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    unread: String,
    /// The newest event id, for resuming.
    pub last_id: Option<String>,
    /// The stream broke off instead of ending.
    pub broken: bool,
    /// Blocks without an event, such as comments.
    pub comments: usize,
}

impl Events {
    pub fn new(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            bytes: response.bytes_stream().boxed(),
            unread: String::new(),
            last_id: None,
            broken: false,
            comments: 0,
        }
    }

    /// The next event, priming events included; `None` at the end of the stream. Panics if nothing comes in time.
    pub async fn next(&mut self) -> Option<Event> {
        self.next_within(PATIENCE).await.unwrap_or_else(|| panic!("no event within {PATIENCE:?}"))
    }

    /// As `next`; the outer `None` means that nothing came within `patience`.
    pub async fn next_within(&mut self, patience: Duration) -> Option<Option<Event>> {
        tokio::time::timeout(patience, self.read()).await.ok()
    }

    /// The next event whose message is the notification `method`.
    pub async fn notification(&mut self, method: &str) -> Value {
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended before {method}"));
            let message = event.json();
            if message["method"] == method {
                return message;
            }
        }
    }

    /// The answer that ends the stream, with everything that came before it.
    pub async fn answer(&mut self) -> (Vec<Value>, Value) {
        let mut before = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended without an answer: {before:?}"));
            let message = event.json();
            if message.get("method").is_none() && message.get("id").is_some() {
                return (before, message);
            }
            if !message.is_null() {
                before.push(message);
            }
        }
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.unread.find("\n\n") {
                let block: String = self.unread.drain(..end + 2).collect();
                if let Some(event) = parse(&block) {
                    if event.id.is_some() {
                        self.last_id.clone_from(&event.id);
                    }
                    return Some(event);
                }
                self.comments += 1;
                continue;
            }
            match self.bytes.next().await? {
                Ok(bytes) => self.unread.push_str(&String::from_utf8_lossy(&bytes).replace("\r\n", "\n")),
                Err(_) => {
                    self.broken = true;
                    return None;
                }
            }
        }
    }
}

/// The event of one block; `None` for a block of comments.
fn parse(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut data: Option<String> = None;
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = Some(value.to_owned()),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    if data.is_none() && event.id.is_none() {
        return None;
    }
    event.data = data.unwrap_or_default();
    Some(event)
}

/// The JSON messages of a whole SSE body.
pub fn messages(body: &str) -> Vec<Value> {
    let body = body.replace("\r\n", "\n");
    let events = body.split_inclusive("\n\n").filter_map(parse);
    events.map(|event| event.json()).filter(|message| !message.is_null()).collect()
}
