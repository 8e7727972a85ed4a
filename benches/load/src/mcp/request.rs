//! Requests rendered once and stamped with a fresh id each time, so that sending one costs a copy of ten digits.

use std::ops::Range;

use super::{Era, LEGACY_REVISION, MODERN_REVISION};

/// Ids have a fixed width, so that lengths of requests and answers do not vary.
const FIRST_ID: u64 = 1_000_000_000;
const ID_DIGITS: usize = 10;

/// The id of the `count`-th request of a run.
pub fn id(count: u64) -> u64 {
    FIRST_ID + count % (9 * FIRST_ID)
}

/// Where requests go: the authority and path that stand in the head.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `host:port` for the `Host` field.
    pub authority: String,
    /// Path of the virtual server.
    pub path: String,
}

/// A rendered request.
#[derive(Clone, Debug)]
pub struct Prepared {
    bytes: Vec<u8>,
    id: Option<Range<usize>>,
}

impl Prepared {
    /// The bytes to send under this id (ten digits, see [`id`]); without one for a notification or bodiless request.
    pub fn stamp(&mut self, id: u64) -> &[u8] {
        if let Some(range) = self.id.clone() {
            let mut rest = id;
            for digit in self.bytes[range].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        &self.bytes
    }
}

/// Renders the requests of one client: an era, and a session where the era has one.
#[derive(Clone, Debug)]
pub struct Composer {
    endpoint: Endpoint,
    era: Era,
    session: Option<String>,
    /// What it declares in `initialize`: a JSON object.
    capabilities: &'static str,
}

impl Composer {
    /// A client that has no session yet, and can do nothing of its own.
    pub fn new(endpoint: Endpoint, era: Era) -> Self {
        Self { endpoint, era, session: None, capabilities: "{}" }
    }

    /// The same client, which servers may ask something.
    pub fn answering(self) -> Self {
        Self { capabilities: r#"{"elicitation":{}}"#, ..self }
    }

    /// The same client inside a session.
    pub fn within(&self, session: &str) -> Self {
        Self { session: Some(session.to_owned()), ..self.clone() }
    }

    /// `initialize`, legacy only.
    pub fn initialize(&self) -> Prepared {
        let capabilities = self.capabilities;
        let params = format!(
            r#"{{"protocolVersion":"{LEGACY_REVISION}","capabilities":{capabilities},"clientInfo":{{"name":"lockgate-load","version":"1"}}}}"#
        );
        self.post("initialize", None, &params, true)
    }

    /// `notifications/initialized`, legacy only.
    pub fn initialized(&self) -> Prepared {
        self.post("notifications/initialized", None, "{}", false)
    }

    /// `tools/call` of `tool`; `arguments` is JSON.
    pub fn call(&self, tool: &str, arguments: &str) -> Prepared {
        let meta = self.meta(Some("progress-1"));
        let params = format!(r#"{{"name":"{tool}",{meta},"arguments":{arguments}}}"#);
        self.post("tools/call", Some(tool), &params, true)
    }

    /// `tools/list`, first page.
    pub fn list(&self) -> Prepared {
        self.post("tools/list", None, &format!("{{{}}}", self.meta(None)), true)
    }

    /// `subscriptions/listen`, modern only: a stream held open.
    pub fn listen(&self) -> Prepared {
        let params = format!(r#"{{{},"notifications":{{"toolsListChanged":true}}}}"#, self.meta(None));
        self.post("subscriptions/listen", None, &params, true)
    }

    /// The legacy GET stream.
    pub fn stream(&self) -> Prepared {
        self.bodiless("GET", "Accept: text/event-stream\r\n")
    }

    /// Ends the session.
    pub fn delete(&self) -> Prepared {
        self.bodiless("DELETE", "")
    }

    fn meta(&self, progress: Option<&str>) -> String {
        let progress = progress.map(|token| format!(r#""progressToken":"{token}""#));
        let modern = (self.era == Era::Modern).then(|| {
            format!(
                r#""io.modelcontextprotocol/protocolVersion":"{MODERN_REVISION}","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"lockgate-load","version":"1"}}"#
            )
        });
        let members: Vec<String> = [modern, progress].into_iter().flatten().collect();
        format!(r#""_meta":{{{}}}"#, members.join(","))
    }

    fn post(&self, method: &str, name: Option<&str>, params: &str, answered: bool) -> Prepared {
        let id = if answered { format!(r#""id":{FIRST_ID},"#) } else { String::new() };
        let body = format!(r#"{{"jsonrpc":"2.0",{id}"method":"{method}","params":{params}}}"#);
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {}\r\n",
            self.endpoint.path,
            self.endpoint.authority,
            body.len()
        );
        match self.era {
            Era::Modern => {
                head.push_str(&format!("MCP-Protocol-Version: {MODERN_REVISION}\r\nMcp-Method: {method}\r\n"));
                if let Some(name) = name {
                    head.push_str(&format!("Mcp-Name: {name}\r\n"));
                }
            }
            Era::Legacy => head.push_str(&self.session_fields()),
        }
        head.push_str("\r\n");
        let id_at = head.len() + r#"{"jsonrpc":"2.0","id":"#.len();
        let id = answered.then(|| id_at..id_at + ID_DIGITS);
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body.as_bytes());
        Prepared { bytes, id }
    }

    fn bodiless(&self, method: &str, fields: &str) -> Prepared {
        let head = format!(
            "{method} {} HTTP/1.1\r\nHost: {}\r\n{fields}{}\r\n",
            self.endpoint.path,
            self.endpoint.authority,
            self.session_fields()
        );
        Prepared { bytes: head.into_bytes(), id: None }
    }

    fn session_fields(&self) -> String {
        match &self.session {
            Some(session) => format!("Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: {LEGACY_REVISION}\r\n"),
            None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::mcp::skim;

    impl Prepared {
        fn body(&self) -> &[u8] {
            &self.bytes[self.head().len()..]
        }

        fn head(&self) -> &str {
            let end = memchr::memmem::find(&self.bytes, b"\r\n\r\n").unwrap() + 4;
            std::str::from_utf8(&self.bytes[..end]).unwrap()
        }
    }

    fn composer(era: Era) -> Composer {
        Composer::new(Endpoint { authority: "127.0.0.1:1".into(), path: "/mcp".into() }, era)
    }

    #[test]
    fn stamps_the_id_in_place() {
        let mut call = composer(Era::Modern).call("small", r#"{"a":1}"#);
        let before = call.stamp(id(0)).len();
        assert_eq!(call.stamp(id(41)).len(), before);
        assert_eq!(skim::request(call.body()).id, Some(&b"1000000041"[..]));
    }

    #[test]
    fn ids_keep_their_width_for_ever() {
        for count in [0, 1, 8_999_999_999, 9_000_000_000, u64::MAX] {
            assert_eq!(id(count).to_string().len(), ID_DIGITS);
        }
    }

    #[test]
    fn modern_headers_repeat_the_body() {
        let call = composer(Era::Modern).call("small", "{}");
        let body: Value = serde_json::from_slice(call.body()).unwrap();
        assert_eq!(body["params"]["name"], "small");
        assert_eq!(body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], MODERN_REVISION);
        assert!(body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"].is_object());
        for field in ["MCP-Protocol-Version: 2026-07-28\r\n", "Mcp-Method: tools/call\r\n", "Mcp-Name: small\r\n"] {
            assert!(call.head().contains(field), "{field} missing");
        }
        assert!(call.head().contains(&format!("Content-Length: {}\r\n", call.body().len())));
    }

    #[test]
    fn legacy_requests_carry_the_session_once_there_is_one() {
        let outside = composer(Era::Legacy);
        assert!(!outside.initialize().head().contains("Mcp-"));
        let inside = outside.within("abc");
        for request in [inside.call("small", "{}"), inside.initialized(), inside.stream(), inside.delete()] {
            assert!(request.head().contains("Mcp-Session-Id: abc\r\nMCP-Protocol-Version: 2025-11-25\r\n"));
        }
    }

    #[test]
    fn every_body_is_json() {
        for era in [Era::Legacy, Era::Modern] {
            let composer = composer(era);
            for request in [
                composer.initialize(),
                composer.clone().answering().initialize(),
                composer.initialized(),
                composer.call("push", r#"{"events":3}"#),
                composer.list(),
                composer.listen(),
            ] {
                let body: Value = serde_json::from_slice(request.body()).unwrap();
                assert_eq!(body["jsonrpc"], "2.0");
            }
        }
    }

    #[test]
    fn a_notification_has_no_id_to_stamp() {
        let mut notification = composer(Era::Legacy).initialized();
        let before = notification.bytes.clone();
        assert_eq!(notification.stamp(id(9)), &before[..]);
    }
}
