//! One URL of a backend: where it is, how it is spoken to, and the connections that are open to it.
//!
//! Everything that is the same for all requests is prepared here once, the request line and constant fields included.

use super::answered::Answered;
use super::connector::Connector;
use super::h1::Reusable;
use super::pool::{IdlePool, SharedPool};
use super::resolve::{Address, Dial, Resolver};
use super::settings::{EndpointSettings, Http2, PoolSettings, Setting, SettingsError};
use super::tls::{self, Tls};
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri, header};
use pingora_core::protocols::ALPN;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use url::Url;

/// The product name that backends see.
pub(super) const USER_AGENT: &str = concat!("lockgate/", env!("CARGO_PKG_VERSION"));

/// What is done to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Send a message; both answer forms are accepted.
    Post,
    /// Open a legacy session's event stream.
    Get,
    /// End a legacy session.
    Delete,
}

impl Verb {
    const ALL: [Verb; 3] = [Verb::Post, Verb::Get, Verb::Delete];

    pub(super) fn method(self) -> Method {
        match self {
            Verb::Post => Method::POST,
            Verb::Get => Method::GET,
            Verb::Delete => Method::DELETE,
        }
    }
}

/// One replica of a backend.
///
/// It lives as long as its settings stay the same: a reload keeps it, its connections and what it learnt.
pub struct Endpoint {
    settings: EndpointSettings,
    pool: ArcSwap<PoolSettings>,
    target: Arc<Target>,
    moved: ArcSwapOption<Target>,
    pub(super) resolver: Resolver,
    pub(super) tls: Option<Tls>,
    pub(super) idle: IdlePool,
    pub(super) shared: SharedPool,
    pub(super) answered: Arc<Answered>,
    version: AtomicU8,
}

/// What is known of the HTTP version that connections speak.
const UNDECIDED: u8 = 0;
const HTTP_1: u8 = 1;
const HTTP_2: u8 = 2;

impl Endpoint {
    /// Prepares an endpoint. Nothing is connected or looked up.
    pub fn new(
        settings: &EndpointSettings,
        pool: PoolSettings,
        connector: &Connector,
    ) -> Result<Endpoint, SettingsError> {
        let base = &settings.url;
        check(base)?;
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = base.port_or_known_default().unwrap_or(80);
        let resolver = match (&settings.socket, host.parse::<IpAddr>()) {
            (Some(path), _) => Resolver::fixed(Address::Unix(Arc::new(path.clone()))),
            (None, Ok(ip)) => Resolver::fixed(Address::Inet((ip, port).into())),
            (None, Err(_)) => Resolver::named(host.to_owned(), port, connector.lookup()),
        };
        let tls = (base.scheme() == "https")
            .then(|| tls::build(&settings.tls, host, settings.http2, connector.system_roots()))
            .transpose()?;
        let target = Arc::new(Target::new(base, settings)?);
        let version = match (settings.http2, &tls) {
            (Http2::Always, _) => HTTP_2,
            (Http2::Auto, Some(_)) => UNDECIDED,
            (Http2::Auto, None) | (Http2::Never, _) => HTTP_1,
        };
        Ok(Endpoint {
            settings: settings.clone(),
            pool: ArcSwap::from_pointee(pool),
            target,
            moved: ArcSwapOption::empty(),
            resolver,
            tls,
            idle: IdlePool::default(),
            shared: SharedPool::default(),
            answered: Arc::default(),
            version: AtomicU8::new(version),
        })
    }

    /// An endpoint within this process: of the URL only path and host are used.
    ///
    /// # Errors
    /// As [`Endpoint::new`].
    pub fn within(
        settings: &EndpointSettings,
        pool: PoolSettings,
        connector: &Connector,
        dial: Dial,
    ) -> Result<Endpoint, SettingsError> {
        let endpoint = Endpoint::new(settings, pool, connector)?;
        Ok(Endpoint { resolver: Resolver::fixed(Address::Within(dial)), tls: None, ..endpoint })
    }

    /// Another way to the same backend, with connections of its own: what is said of one answers for both.
    pub(super) fn beside(self, other: &Endpoint) -> Endpoint {
        Endpoint { answered: Arc::clone(&other.answered), ..self }
    }

    /// Keeps no connection from now on: those that wait for a request are closed, and those in use when they are done.
    pub(super) fn retire(&self) {
        self.idle.close();
        self.shared.close();
    }

    /// Whether these settings describe this endpoint.
    pub fn is(&self, settings: &EndpointSettings) -> bool {
        self.settings == *settings
    }

    /// How connections are kept now.
    pub(super) fn pool(&self) -> Guard<Arc<PoolSettings>> {
        self.pool.load()
    }

    /// Keeps connections in another way from now on.
    pub(super) fn set_pool(&self, pool: PoolSettings) {
        if **self.pool.load() != pool {
            self.pool.store(Arc::new(pool));
        }
    }

    /// Keeps an HTTP/1.1 connection for the next request, where there is room.
    pub(super) fn keep(&self, connection: Reusable, address: Address) {
        self.idle.put(connection, address, &self.resolver, &self.pool.load());
    }

    /// Closes idle connections that are too old, or that the backend closed.
    pub(super) fn sweep(&self) {
        self.idle.sweep();
        self.shared.sweep(self.pool.load().idle_time_h2);
    }

    /// Whether the `User-Agent` of a request is the client's, or none.
    pub(super) fn forwards_user_agent(&self) -> bool {
        self.settings.forwards_user_agent
    }

    /// What sessions at this endpoint are remembered under: the backend's name and a digest of the URL, in which there may
    /// be a secret. The same in every process; other settings, such as credentials, do not make it another server.
    pub(super) fn place(&self, backend: &str) -> Arc<str> {
        let socket = self.settings.socket.as_deref().map(Path::as_os_str).unwrap_or_default();
        let whole = [self.settings.url.as_str().as_bytes(), b"\n", socket.as_encoded_bytes()].concat();
        let mut place = format!("{backend}@");
        for byte in digest(&SHA256, &whole).as_ref().iter().take(8) {
            place.push_str(&format!("{byte:02x}"));
        }
        place.into()
    }

    /// Whether the next connection may turn out to be one that requests share (HTTP/2).
    pub(super) fn may_share(&self) -> bool {
        self.version.load(Ordering::Relaxed) != HTTP_1
    }

    /// Remembers what a connection turned out to speak, by ALPN or by prior knowledge; tells whether it is HTTP/2.
    pub(super) fn negotiated(&self, alpn: Option<&ALPN>) -> bool {
        let h2 = alpn == Some(&ALPN::H2) || (self.tls.is_none() && self.settings.http2 == Http2::Always);
        self.version.store(if h2 { HTTP_2 } else { HTTP_1 }, Ordering::Relaxed);
        h2
    }

    /// Whether only HTTP/2 may be spoken.
    pub(super) fn insists_on_h2(&self) -> bool {
        self.settings.http2 == Http2::Always
    }

    /// Where requests go now, and whether a redirect sent them there.
    pub(super) fn target(&self) -> (Arc<Target>, bool) {
        match Guard::into_inner(self.moved.load()) {
            Some(moved) => (moved, true),
            None => (self.target.clone(), false),
        }
    }

    /// The target a redirect names, when it has the same origin.
    pub(super) fn redirected(&self, from: &Target, location: &str) -> Option<Target> {
        let base = &self.settings.url;
        let current = base.join(&from.path).ok()?;
        let next = current.join(location).ok()?;
        let same = next.origin() == base.origin() && next.username().is_empty() && next.password().is_none();
        if same { Target::new(&next, &self.settings).ok() } else { None }
    }

    /// Sends later requests where a redirect sent this one.
    pub(super) fn remember(&self, target: Arc<Target>) {
        self.moved.store(Some(target));
    }

    /// Sends later requests to the configured URL again.
    pub(super) fn forget_redirect(&self) {
        self.moved.store(None);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.settings.url.as_str()).finish_non_exhaustive()
    }
}

/// Refuses a URL that no request can be made of.
fn check(url: &Url) -> Result<(), SettingsError> {
    let unusable = |message: &str| Err(SettingsError::new(Setting::Url, message));
    if !matches!(url.scheme(), "http" | "https") {
        return unusable("it begins with neither http:// nor https://");
    }
    // Not repeated in the message: it may hold a secret.
    if !url.username().is_empty() || url.password().is_some() {
        return unusable("a URL must not hold a user name or password: use `headers`");
    }
    if url.fragment().is_some() {
        return unusable("it must not have a fragment");
    }
    Ok(())
}

/// What requests to one path of an endpoint have in common.
#[derive(Debug)]
pub(super) struct Target {
    path: String,
    uri: Uri,
    prefixes: [Bytes; 3],
    constants: [Vec<(HeaderName, HeaderValue)>; 3],
}

impl Target {
    fn new(url: &Url, settings: &EndpointSettings) -> Result<Target, SettingsError> {
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let host = url.host_str().unwrap_or_default();
        let authority = match (&settings.authority, url.port()) {
            (Some(authority), _) => authority.to_string(),
            (None, Some(port)) => format!("{host}:{port}"),
            (None, None) => host.to_owned(),
        };
        let unusable = |error: &dyn fmt::Display| SettingsError::new(Setting::Url, error.to_string());
        let uri = Uri::builder()
            .scheme(url.scheme())
            .authority(authority.as_str())
            .path_and_query(path.as_str())
            .build()
            .map_err(|error| unusable(&error))?;
        let host = HeaderValue::from_str(&authority).map_err(|error| unusable(&error))?;
        let constants = Verb::ALL.map(|verb| constants(verb, settings));
        let prefixes = Verb::ALL.map(|verb| prefix(verb, &path, &host, constants_of(&constants, verb)));
        Ok(Target { path, uri, prefixes, constants })
    }

    /// The request line and constant fields, as HTTP/1.1 writes them.
    pub(super) fn prefix(&self, verb: Verb) -> &[u8] {
        self.prefixes.get(verb as usize).map_or(&[], |prefix| &prefix[..])
    }

    /// The constant fields beside `Host`.
    pub(super) fn constants(&self, verb: Verb) -> &[(HeaderName, HeaderValue)] {
        constants_of(&self.constants, verb)
    }

    /// Scheme, authority, path and query, as HTTP/2 wants them.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }
}

fn constants_of(constants: &[Vec<(HeaderName, HeaderValue)>; 3], verb: Verb) -> &[(HeaderName, HeaderValue)] {
    constants.get(verb as usize).map_or(&[], |fields| &fields[..])
}

fn constants(verb: Verb, settings: &EndpointSettings) -> Vec<(HeaderName, HeaderValue)> {
    let configured = &settings.headers;
    let accept = match verb {
        Verb::Get => "text/event-stream",
        // Servers that see only one form answer 406, whatever the request.
        Verb::Post | Verb::Delete => "application/json, text/event-stream",
    };
    let mut fields = vec![
        (header::USER_AGENT, HeaderValue::from_static(USER_AGENT)),
        (header::ACCEPT, HeaderValue::from_static(accept)),
        (header::ACCEPT_ENCODING, HeaderValue::from_static("identity")),
    ];
    if verb == Verb::Post {
        fields.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    }
    if settings.forwards_user_agent || configured.iter().any(|(set, _)| *set == header::USER_AGENT) {
        fields.retain(|(name, _)| *name != header::USER_AGENT);
    }
    let taken: Vec<_> = fields.iter().map(|(name, _)| name.clone()).collect();
    fields.extend(configured.iter().filter(|(name, _)| !taken.contains(name) && *name != header::HOST).cloned());
    fields
}

fn prefix(verb: Verb, path: &str, host: &HeaderValue, fields: &[(HeaderName, HeaderValue)]) -> Bytes {
    let mut wire = format!("{} {path} HTTP/1.1\r\nhost: ", verb.method()).into_bytes();
    wire.extend_from_slice(host.as_bytes());
    wire.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    wire.into()
}

#[cfg(test)]
mod tests;
