//! `negotiate`: HTTP method, `Content-Type`, `Content-Encoding` and `Accept`, before the body is read.

mod accept;

use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::filter::{Filter, Head, Verdict};
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

/// Which methods and media types an MCP endpoint takes.
#[derive(Debug)]
pub struct Negotiate {
    body_bytes: u64,
}

impl Negotiate {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "negotiate";

    /// Refuses bodies that announce more than `body_bytes` bytes.
    pub fn new(body_bytes: u64) -> Negotiate {
        Negotiate { body_bytes }
    }

    fn check_body(&self, head: &Head<'_>) -> Result<(), Refusal> {
        if !head.single(CONTENT_TYPE.as_str()).is_ok_and(|value| value.is_some_and(is_json)) {
            return Err(Refusal::new(Fault::ContentType, Negotiate::NAME));
        }
        let coded = head
            .headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
        if coded {
            return Err(Refusal::new(Fault::ContentEncoding, Negotiate::NAME));
        }
        let announced =
            head.single(CONTENT_LENGTH.as_str()).ok().flatten().and_then(|length| length.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.body_bytes) {
            return Err(too_long(self.body_bytes));
        }
        Ok(())
    }
}

/// The refusal of a body longer than `limit` bytes, wherever that is noticed.
pub fn too_long(limit: u64) -> Refusal {
    Refusal::new(Fault::BodyTooLong, Negotiate::NAME).saying(format!("the body is longer than {limit} bytes"))
}

impl Filter for Negotiate {
    fn name(&self) -> &'static str {
        Negotiate::NAME
    }

    fn request(&self, head: &Head<'_>, exchange: &mut Exchange) -> Verdict {
        let refuse = |fault| Verdict::from(Refusal::new(fault, Negotiate::NAME));
        exchange.accepts = accept::accepts(head.headers);
        match *head.method {
            Method::POST => {
                if !exchange.accepts.json && !exchange.accepts.sse {
                    return refuse(Fault::NotAcceptable);
                }
                self.check_body(head).map_or_else(Verdict::from, |()| Verdict::Continue)
            }
            Method::GET if !exchange.accepts.sse => refuse(Fault::NotAcceptable),
            Method::GET | Method::DELETE => Verdict::Continue,
            _ => Refusal::new(Fault::MethodNotAllowed, Negotiate::NAME)
                .with_header("allow", "POST, GET, DELETE, OPTIONS")
                .into(),
        }
    }
}

/// `application/json`, whatever its parameters, except a charset other than UTF-8 (RFC 8259 section 8.1).
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(|part| part.trim_matches([' ', '\t']));
    let media_type = parts.next().unwrap_or_default();
    media_type.eq_ignore_ascii_case("application/json")
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::UnixMillis;
    use http::HeaderMap;
    use std::net::{IpAddr, Ipv4Addr};

    fn fault(method: Method, headers: &[(&str, &str)]) -> Option<Fault> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let mut exchange = Exchange::new(UnixMillis(0), IpAddr::V4(Ipv4Addr::LOCALHOST));
        let head = Head { method: &method, path: "/mcp", query: None, authority: None, headers: &map };
        match Negotiate::new(100).request(&head, &mut exchange) {
            Verdict::Refuse(refusal) => Some(refusal.fault),
            _ => None,
        }
    }

    #[test]
    fn a_post_needs_plain_json_within_the_limit() {
        let json = ("content-type", "application/json; charset=UTF-8");
        assert_eq!(fault(Method::POST, &[json]), None);
        assert_eq!(fault(Method::POST, &[json, ("content-length", "100")]), None);
        assert_eq!(fault(Method::POST, &[json, ("content-length", "101")]), Some(Fault::BodyTooLong));
        assert_eq!(fault(Method::POST, &[json, ("content-encoding", "gzip")]), Some(Fault::ContentEncoding));
        assert_eq!(fault(Method::POST, &[]), Some(Fault::ContentType));
        assert_eq!(fault(Method::POST, &[("content-type", "text/plain")]), Some(Fault::ContentType));
        assert_eq!(
            fault(Method::POST, &[("content-type", "application/json; charset=utf-16")]),
            Some(Fault::ContentType)
        );
        assert_eq!(fault(Method::POST, &[json, json]), Some(Fault::ContentType));
    }

    #[test]
    fn accept_is_judged_by_method() {
        let json = ("content-type", "application/json");
        assert_eq!(fault(Method::POST, &[json, ("accept", "text/html")]), Some(Fault::NotAcceptable));
        assert_eq!(fault(Method::POST, &[json, ("accept", "application/json")]), None);
        assert_eq!(fault(Method::GET, &[("accept", "application/json")]), Some(Fault::NotAcceptable));
        assert_eq!(fault(Method::GET, &[("accept", "text/event-stream")]), None);
        assert_eq!(fault(Method::DELETE, &[]), None);
        assert_eq!(fault(Method::PUT, &[]), Some(Fault::MethodNotAllowed));
    }
}
