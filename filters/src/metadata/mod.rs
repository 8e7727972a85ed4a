//! `metadata`: where a client finds out whom to ask for a token (RFC 9728).
//!
//! First of a listener's filters: the documents are public, are made from the configuration alone, and are read by pages of
//! any origin before their owners are known here.

use crate::exchange::Exchange;
use crate::fault::{Fault, Refusal};
use crate::filter::{Answer, Filter, Head, Verdict};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    CACHE_CONTROL,
};
use http::{HeaderValue, Method, StatusCode};
use std::collections::HashMap;

/// For how long a client may keep a document, in seconds: as long as a configuration may be out of date.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// The documents of one listener.
#[derive(Debug)]
pub struct Metadata {
    documents: HashMap<Box<str>, Bytes>,
}

impl Metadata {
    /// The filter's name in traces and metrics.
    pub const NAME: &'static str = "metadata";

    /// A table of paths, each with the document that lies there.
    pub fn new(documents: impl IntoIterator<Item = (Box<str>, Bytes)>) -> Metadata {
        Metadata { documents: documents.into_iter().collect() }
    }
}

impl Filter for Metadata {
    fn name(&self) -> &'static str {
        Metadata::NAME
    }

    fn request(&self, head: &Head<'_>, _exchange: &mut Exchange) -> Verdict {
        let Some(document) = self.documents.get(head.path) else { return Verdict::Continue };
        let mut answer = match *head.method {
            Method::GET => Answer::json(document.clone()),
            Method::HEAD => Answer { body: Bytes::new(), ..Answer::json(Bytes::new()) },
            Method::OPTIONS => {
                let mut answer = Answer::empty(StatusCode::NO_CONTENT);
                let headers = &mut answer.headers;
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
                // Clients send the revision that they speak with whatever they fetch.
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, mcp-protocol-version"));
                headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
                answer
            }
            _ => {
                let refusal = Refusal::new(Fault::MethodNotAllowed, Metadata::NAME);
                return refusal.with_header("allow", "GET, HEAD, OPTIONS").into();
            }
        };
        answer.headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        answer.headers.insert(CACHE_CONTROL, KEPT);
        Verdict::Answer(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use std::net::{IpAddr, Ipv4Addr};

    const PATH: &str = "/.well-known/oauth-protected-resource/mcp";

    fn ask(method: Method, path: &str) -> Verdict {
        let filter = Metadata::new([(PATH.into(), Bytes::from_static(b"{}"))]);
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static("https://anywhere.example"));
        let head = Head { method: &method, path, query: None, authority: None, headers: &headers };
        filter.request(&head, &mut Exchange::new(Default::default(), IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    #[test]
    fn a_document_is_read_from_any_origin() {
        for (method, status, body) in [(Method::GET, 200, "{}"), (Method::HEAD, 200, ""), (Method::OPTIONS, 204, "")] {
            let Verdict::Answer(answer) = ask(method.clone(), PATH) else { panic!("{method} is answered") };
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (status, body.as_bytes()), "{method}");
            assert_eq!(answer.headers[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        }
    }

    #[test]
    fn what_is_not_there_is_somebody_elses_business() {
        for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp/", "/mcp", "/"]
        {
            assert!(matches!(ask(Method::GET, path), Verdict::Continue), "{path}");
        }
        assert!(
            matches!(ask(Method::POST, PATH), Verdict::Refuse(refusal) if refusal.fault == Fault::MethodNotAllowed)
        );
    }
}
