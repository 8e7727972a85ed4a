//! What may be seen of a request in logs and errors.
//!
//! Headers are shown by an allow list: a header that nobody thought of is as likely to hold a key as not.

use http::{HeaderMap, HeaderName};
use std::fmt;

/// How many characters of an identifier are shown.
const SHOWN_CHARS: usize = 6;

/// An identifier shorter than this is not shown at all: six characters of it would be too much.
const SHOWN_FROM_CHARS: usize = 16;

/// Headers whose values say how a message is framed, negotiated or routed, and nothing about who sent it.
const HARMLESS: &[&str] = &[
    "accept",
    "accept-encoding",
    "allow",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "mcp-method",
    "mcp-protocol-version",
    "origin",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "x-accel-buffering",
    "x-request-id",
];

/// Headers that hold an identifier which, whole, lets its bearer act.
const IDENTIFIERS: &[&str] = &["last-event-id", "mcp-session-id"];

/// An identifier (a session id, an event id) of which only the beginning is shown.
#[derive(Clone, Copy)]
pub struct Masked<'a>(pub &'a str);

impl fmt::Display for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.chars().nth(SHOWN_FROM_CHARS - 1).is_some() {
            let shown = self.0.char_indices().nth(SHOWN_CHARS).map_or(self.0.len(), |(index, _)| index);
            f.write_str(&self.0[..shown])?;
        }
        f.write_str("…")
    }
}

impl fmt::Debug for Masked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A header map that may be logged: `debug!(headers = ?Headers(&map))`.
#[derive(Clone, Copy)]
pub struct Headers<'a>(pub &'a HeaderMap);

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.0 {
            let value = value.as_bytes();
            if listed(HARMLESS, name) {
                map.entry(&name.as_str(), &String::from_utf8_lossy(value));
            } else if listed(IDENTIFIERS, name) {
                map.entry(&name.as_str(), &Masked(&String::from_utf8_lossy(value)));
            } else {
                map.entry(&name.as_str(), &format_args!("[{} bytes]", value.len()));
            }
        }
        map.finish()
    }
}

fn listed(list: &[&str], name: &HeaderName) -> bool {
    list.binary_search(&name.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_lists_are_sorted_for_the_binary_search() {
        assert!(HARMLESS.is_sorted());
        assert!(IDENTIFIERS.is_sorted());
    }

    #[test]
    fn an_identifier_shows_its_beginning_only_when_it_is_long() {
        assert_eq!(Masked("0123456789abcdef").to_string(), "012345…");
        assert_eq!(Masked("0123456789abcde").to_string(), "…");
        assert_eq!(Masked("").to_string(), "…");
        assert_eq!(Masked("äöüäöüäöüäöüäöüäöü").to_string(), "äöüäöü…");
    }

    #[test]
    fn a_header_that_nobody_thought_of_is_not_shown() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("authorization", "Bearer s3cret-token"),
            ("cookie", "sid=s3cret"),
            ("x-company-key", "s3cret"),
            ("mcp-param-password", "s3cret"),
            ("mcp-session-id", "abcdef-s3cret-0123456789"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let shown = format!("{:?}", Headers(&headers));
        assert!(shown.contains("application/json"));
        assert!(shown.contains("abcdef…"));
        assert!(shown.contains("[19 bytes]"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
