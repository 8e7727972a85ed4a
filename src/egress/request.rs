//! What is asked, and what came back.

use super::error::FetchError;
use super::rules::Origin;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::time::Duration;
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

/// What kind of answer is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Any: what it is shows when it is read.
    Any,
    /// `application/json`, or a type built on it (`application/…+json`).
    Json,
}

/// A request. Its body, if any, is a form (`application/x-www-form-urlencoded`): it is then a POST.
pub struct Request {
    pub(super) url: Url,
    pub(super) origin: Origin,
    pub(super) form: Option<Zeroizing<String>>,
    pub(super) headers: HeaderMap,
    pub(super) accept: Accept,
    pub(super) body_bytes: usize,
    pub(super) total_time: Duration,
}

impl Request {
    /// The most bytes of an answer when nothing else is said.
    pub const BODY_BYTES: usize = 1 << 20;

    /// How long all of it may take when nothing else is said.
    pub const TOTAL_TIME: Duration = Duration::from_secs(10);

    /// A GET.
    pub fn get(url: Url, origin: Origin) -> Request {
        Request {
            url,
            origin,
            form: None,
            headers: HeaderMap::new(),
            accept: Accept::Any,
            body_bytes: Request::BODY_BYTES,
            total_time: Request::TOTAL_TIME,
        }
    }

    /// A POST of a form.
    pub fn post<'a>(url: Url, origin: Origin, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Request {
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        Request { form: Some(Zeroizing::new(form)), ..Request::get(url, origin) }
    }

    /// With a header, which goes to the origin of the URL only: no redirect takes it elsewhere.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Request {
        self.headers.append(name, value);
        self
    }

    /// Taking only answers of this kind, where they are successes.
    #[must_use]
    pub fn accept(mut self, accept: Accept) -> Request {
        self.accept = accept;
        self
    }

    /// With an answer of at most this many bytes.
    #[must_use]
    pub fn body_bytes(mut self, bytes: usize) -> Request {
        self.body_bytes = bytes;
        self
    }

    /// Taking at most this long, lookups and redirects included.
    #[must_use]
    pub fn total_time(mut self, time: Duration) -> Request {
        self.total_time = time;
        self
    }
}

/// An answer, whatever its status. Redirects have been followed.
#[derive(Clone)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
}

impl Response {
    /// The body of an answer with status 200.
    ///
    /// # Errors
    /// [`FetchError::Status`] with another one.
    pub fn ok(self) -> Result<Bytes, FetchError> {
        if self.status == StatusCode::OK { Ok(self.body) } else { Err(FetchError::Status(self.status)) }
    }
}

impl Accept {
    /// What is asked for in the header.
    pub(super) const fn value(self) -> HeaderValue {
        match self {
            Accept::Any => HeaderValue::from_static("*/*"),
            Accept::Json => HeaderValue::from_static("application/json"),
        }
    }

    /// Whether an answer with this header is taken. Nothing that would have to be unpacked is: a little could become a lot.
    pub(super) fn takes(self, headers: &HeaderMap) -> bool {
        let plain = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
        if !headers.get_all(header::CONTENT_ENCODING).iter().all(plain) {
            return false;
        }
        match self {
            Accept::Any => true,
            Accept::Json => headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(is_json),
        }
    }
}

fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let sub = essence.strip_prefix("application/");
    sub.is_some_and(|sub| sub == "json" || sub.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(accept: Accept, fields: &[(HeaderName, &str)]) -> bool {
        let headers = fields.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect();
        accept.takes(&headers)
    }

    #[test]
    fn json_is_known_by_its_type() {
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/jwk-set+json"] {
            assert!(takes(Accept::Json, &[(header::CONTENT_TYPE, kind)]), "{kind}");
        }
        for kind in ["", "text/html", "text/json", "application/jsonp", "application/jwt", "x/y+json"] {
            assert!(!takes(Accept::Json, &[(header::CONTENT_TYPE, kind)]), "{kind}");
        }
        assert!(!takes(Accept::Json, &[]));
        assert!(takes(Accept::Any, &[]));
    }

    #[test]
    fn nothing_is_unpacked() {
        assert!(takes(Accept::Any, &[(header::CONTENT_ENCODING, "identity")]));
        assert!(!takes(Accept::Any, &[(header::CONTENT_ENCODING, "gzip")]));
        assert!(!takes(Accept::Any, &[(header::CONTENT_ENCODING, "identity"), (header::CONTENT_ENCODING, "br")]));
    }

    #[test]
    fn forms_are_encoded() {
        let url = Url::parse("https://idp.example/token").expect("a URL");
        let request = Request::post(url, Origin::Operator, [("a b", "1&2"), ("token", "x=y")]);
        assert_eq!(request.form.expect("a form").as_str(), "a+b=1%262&token=x%3Dy");
    }
}
