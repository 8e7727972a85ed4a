//! The one HTTP client: guarded, bounded, without redirects, proxies, cookies or compression of its own accord.

use super::error::FetchError;
use super::request::{Request, Response};
use super::resolver::{Guarded, Lookup, system_lookup};
use super::rules::{Origin, Rules};
use super::trust::{SystemRoots, Trust, TrustError, tls};
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// The most redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// The most fields in the header of an answer.
const FIELDS_MAX: usize = 100;

/// Connections to one place that are kept for the next request.
const IDLE_CONNECTIONS: usize = 4;

/// What all requests of a client keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long a lookup, a connection and its TLS may take.
    pub connect_time: Duration,
    /// The most bytes in the header of an answer: names and values. The parser stops at 400 KiB in any case.
    pub header_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { connect_time: Duration::from_secs(5), header_bytes: 32 << 10 }
    }
}

/// What all clients share: the exemptions, which may change while requests are under way, and what the system trusts.
pub struct Egress {
    rules: Arc<ArcSwap<Rules>>,
    lookup: Lookup,
    roots: SystemRoots,
}

impl Egress {
    /// With these exemptions and the system's resolver.
    pub fn new(rules: Rules) -> Egress {
        Egress::looking_up(rules, system_lookup())
    }

    /// With another resolver.
    pub fn looking_up(rules: Rules, lookup: Lookup) -> Egress {
        Egress { rules: Arc::new(ArcSwap::from_pointee(rules)), lookup, roots: SystemRoots::default() }
    }

    /// Replaces the exemptions, for the next hop of every request.
    pub fn set_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// A client. Reads the system's trusted certificates when they are first needed, so it may block then.
    ///
    /// # Errors
    /// [`TrustError`] when there is nobody to trust, or nothing to prove oneself with.
    pub fn client(&self, trust: &Trust, bounds: Bounds) -> Result<Client, TrustError> {
        let build = |origin: Origin| {
            let guard = Guarded { lookup: Arc::clone(&self.lookup), rules: Arc::clone(&self.rules), origin };
            // A connection that is kept is not looked up again, so those to learned places are not.
            let idle = if origin == Origin::Operator { IDLE_CONNECTIONS } else { 0 };
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls(trust, origin == Origin::Operator, &self.roots)?)
                .dns_resolver(guard)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .no_proxy()
                .referer(false)
                .http1_only()
                .http1_max_headers(FIELDS_MAX)
                .pool_max_idle_per_host(idle)
                .connect_timeout(bounds.connect_time)
                .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|_| TrustError::Setup)
        };
        Ok(Client(Arc::new(Inner {
            operator: build(Origin::Operator)?,
            learned: build(Origin::Learned)?,
            rules: Arc::clone(&self.rules),
            header_bytes: bounds.header_bytes,
        })))
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Fetches. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    operator: reqwest::Client,
    learned: reqwest::Client,
    rules: Arc<ArcSwap<Rules>>,
    header_bytes: usize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Fetches, and follows redirects of a GET: the place that one leads to is learned, and is told nothing but the request
    /// line where it is another.
    ///
    /// # Errors
    /// [`FetchError`]. An answer of another status than success is none.
    pub async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        timeout(request.total_time, self.follow(request)).await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn follow(&self, mut request: Request) -> Result<Response, FetchError> {
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send(&request).await?;
            if !is_redirect(answer.status()) {
                return self.receive(answer, &request).await;
            }
            // What a form holds was meant for one place.
            if request.form.is_some() {
                return Err(FetchError::Redirect);
            }
            let next = target(&request.url, answer.headers())?;
            if next.origin() != request.url.origin() {
                request.headers = HeaderMap::new();
            }
            request.url = next;
            request.origin = Origin::Learned;
        }
        Err(FetchError::Redirect)
    }

    async fn send(&self, request: &Request) -> Result<reqwest::Response, FetchError> {
        self.0.rules.load().check_url(&request.url, request.origin)?;
        let client = match request.origin {
            Origin::Operator => &self.0.operator,
            Origin::Learned => &self.0.learned,
        };
        let outgoing = match &request.form {
            None => client.get(request.url.clone()),
            Some(form) => client
                .post(request.url.clone())
                .header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
                .body(form.as_str().to_owned()),
        };
        let outgoing = outgoing.header(header::ACCEPT, request.accept.value()).headers(request.headers.clone());
        let answer = outgoing.send().await.map_err(|error| reason(&error))?;
        let bytes = answer.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        if bytes > self.0.header_bytes { Err(FetchError::HeaderTooLarge) } else { Ok(answer) }
    }

    async fn receive(&self, mut answer: reqwest::Response, request: &Request) -> Result<Response, FetchError> {
        let status = answer.status();
        if status.is_success() && !request.accept.takes(answer.headers()) {
            return Err(FetchError::ContentType);
        }
        let announced = answer.content_length().unwrap_or_default();
        if usize::try_from(announced).map_or(true, |announced| announced > request.body_bytes) {
            return Err(FetchError::TooLarge);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| reason(&error))? {
            if body.len() + chunk.len() > request.body_bytes {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(answer.headers_mut());
        Ok(Response { status, headers, body: Bytes::from(body) })
    }
}

/// Whether a status asks to go elsewhere.
fn is_redirect(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    )
}

/// Where a redirect leads.
fn target(from: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
    let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
    from.join(location.ok_or(FetchError::Protocol)?).map_err(|_| FetchError::Url)
}

/// What went wrong, from what the connector and the resolver say.
fn reason(error: &reqwest::Error) -> FetchError {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(own) = cause.downcast_ref::<FetchError>() {
            return *own;
        }
        if cause.is::<rustls::Error>() {
            return FetchError::Tls;
        }
        // What an I/O error wraps is not among its sources.
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        source = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => cause.source(),
        };
    }
    if error.is_timeout() {
        FetchError::Timeout
    } else if error.is_connect() {
        FetchError::Connect
    } else {
        FetchError::Protocol
    }
}
