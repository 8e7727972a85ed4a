//! From the configuration's words to the settings that rooms take: each room has its own plain structs, so that none
//! depends on the shape of the file.

mod command;
mod federation;
pub mod identity;
mod judge;
mod policy;

pub use federation::{federation, is_stocked, pinned, view};
pub use judge::{judge, judge_with};
pub use policy::{denied_as, policy};

use crate::admin;
use crate::cluster;
use crate::config::Objection;
use crate::config::model::{Config, Listener};
use crate::config::sections::{self, BackendHttp2, BackendProtocol};
use crate::config::values::{EndpointUrl, PeerAddress};
use crate::drain::DrainSettings;
use crate::listen::{self, Certificate, ClientTls, ConnectionLimits, ListenerSettings, ProxyProtocol, TlsFiles};
use crate::session::keys::ConfiguredKey;
use crate::session::{DetachedLimits, Limits as SessionLimits, ReplayLimits};
use crate::upstream::{
    BackendSettings, CallerLimits, EndpointSettings, Http2, PoolSettings, Protocol, Setting, SettingsError,
    StockSettings, Timeouts, TlsIdentity, TlsSettings, ToolSettings, UnusableBackend,
};
use bytes::Bytes;
use http::{HeaderValue, header};
use lockgate_filters::federate::InventoryLimits;
use lockgate_filters::federate::audience::may_identify;
use lockgate_filters::rpc::params::ParamLimits;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};

/// A listener's settings.
pub fn listener(name: &str, settings: &Listener, config: &Config) -> ListenerSettings {
    let limits = &config.limits;
    ListenerSettings {
        tls: listener_files(settings),
        http2: settings.http2,
        proxy_protocol: match settings.proxy_protocol {
            sections::ProxyProtocol::Off => ProxyProtocol::Off,
            sections::ProxyProtocol::V1 => ProxyProtocol::V1,
            sections::ProxyProtocol::V2 => ProxyProtocol::V2,
            sections::ProxyProtocol::Any => ProxyProtocol::Any,
        },
        trusted_proxies: settings.trusted_proxies.iter().map(|network| *network.net()).collect(),
        limits: ConnectionLimits {
            connections: limits.connections as usize,
            connections_per_address: limits.connections_per_address as usize,
            header_bytes: limits.header_bytes.as_usize(),
            header_time: limits.header_time.get(),
            keep_alive_idle: limits.keep_alive_idle.get(),
            streams_per_connection: limits.streams_per_connection,
            write_time: limits.write_time.get(),
            write_rate: limits.write_rate.get(),
            ..ConnectionLimits::default()
        },
        ..ListenerSettings::new(name, settings.address.socket())
    }
}

/// Where a listener's certificate lies, if it has one.
fn listener_files(settings: &Listener) -> Option<TlsFiles> {
    settings.tls.as_ref().map(|tls| TlsFiles {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        clients: tls.client_ca.as_ref().map(|ca| ClientTls {
            ca: ca.clone(),
            required: tls.client_certificates == Some(sections::ClientCertificates::Required),
        }),
    })
}

/// The settings of a running listener under another configuration: what cannot change while it runs stays as it is
/// ([`fixed_at_start`] names it). A certificate that the configuration names no more is kept as it was read: its files may
/// be gone.
pub fn listener_again(running: &listen::Listener, config: &Config) -> (ListenerSettings, Certificate) {
    let now = running.settings();
    let wanted = config.listeners.iter().find(|(name, _)| name.as_str() == now.name);
    let Some((name, wanted)) = wanted else { return (ListenerSettings::clone(&now), Certificate::Keep) };
    let mut settings = listener(name.as_str(), wanted, config);
    settings.address = now.address;
    if settings.tls.is_some() == now.tls.is_some() {
        return (settings, Certificate::Read);
    }
    settings.tls = now.tls.clone();
    (settings, Certificate::Keep)
}

/// What differs from the configuration that the process started with and takes effect only after a restart, by path.
pub fn fixed_at_start(started: &Config, wanted: &Config) -> Vec<String> {
    let mut fixed = Vec::new();
    let mut differs = |path: String, why: &str, different: bool| {
        if different {
            fixed.push(format!("{path}: {why}"));
        }
    };
    for (name, listener) in &started.listeners {
        let path = format!("listeners.{name}");
        match wanted.listeners.get(name) {
            None => differs(path, "a listener is closed only by a restart; until then it serves nothing", true),
            Some(other) => {
                differs(format!("{path}.address"), "the address is bound at start", other.address != listener.address);
                let mode = other.tls.is_some() != listener.tls.is_some();
                differs(format!("{path}.tls"), "TLS cannot be switched on or off while the listener runs", mode);
            }
        }
    }
    for name in wanted.listeners.keys().filter(|name| !started.listeners.contains_key(*name)) {
        differs(format!("listeners.{name}"), "a listener is opened only at start", true);
    }
    differs("cluster.listen".into(), "the address is bound at start", wanted.cluster.listen != started.cluster.listen);
    differs("admin.address".into(), "the address is bound at start", wanted.admin.address != started.admin.address);
    let admin_limits = wanted.admin.limits != started.admin.limits;
    differs("admin.limits".into(), "the admin listener is opened at start", admin_limits);
    differs("state_dir".into(), "state is opened at start", wanted.state_dir != started.state_dir);
    differs("workers".into(), "threads are started once", wanted.workers != started.workers);
    differs("log.format".into(), "the log is opened at start", wanted.log.format != started.log.format);
    fixed
}

/// How the gateway stops.
pub fn drain(config: &Config) -> DrainSettings {
    DrainSettings { time: config.drain.time.get(), idle: config.drain.idle.get() }
}

/// What operators' connections may use.
pub fn admin(config: &Config) -> admin::Limits {
    let limits = &config.admin.limits;
    admin::Limits {
        connections: limits.connections as usize,
        header_time: limits.header_time.get(),
        header_bytes: limits.header_bytes.as_usize(),
        body_bytes: limits.body_bytes.as_usize(),
        request_time: limits.request_time.get(),
        connection_time: limits.connection_time.get(),
    }
}

/// How much of an answer is on its way through another node at most, beside what the kernel holds, in bytes.
const ON_THE_WAY: u64 = 64 << 10;

/// How other nodes are found.
pub fn cluster(config: &Config) -> cluster::Settings {
    let settings = &config.cluster;
    let peer = |peer: &PeerAddress| match peer.host() {
        Host::Ipv4(ip) => cluster::Peer::At((*ip, peer.port()).into()),
        Host::Ipv6(ip) => cluster::Peer::At((*ip, peer.port()).into()),
        Host::Domain(name) => cluster::Peer::Named(name.clone(), peer.port()),
    };
    cluster::Settings {
        peers: settings.peers.iter().map(peer).collect(),
        connections: settings.connections as usize,
        exchanges: settings.exchanges as usize,
        connect_time: settings.connect_time.get(),
        resolve_interval: settings.resolve_interval.get(),
        // Between two times that a node takes something, its client may take all that is on its way through it.
        write_time: config.limits.write_time.get()
            + Duration::from_secs(ON_THE_WAY / config.limits.write_rate.get().max(1)),
    }
}

/// The sealing keys that are configured.
pub fn ticket_keys(config: &Config) -> Vec<ConfiguredKey<'_>> {
    let keys = config.tickets.keys.iter();
    keys.map(|key| ConfiguredKey { id: key.id.as_str(), secret: key.secret.expose() }).collect()
}

/// Whether a backend is the demo server inside this process.
pub fn uses_demo(config: &Config) -> bool {
    config.backends.values().flat_map(|backend| &backend.endpoints).any(|endpoint| endpoint.url == EndpointUrl::Demo)
}

/// The bounds of session state.
pub fn sessions(config: &Config) -> SessionLimits {
    let limits = &config.limits;
    SessionLimits {
        sessions: limits.sessions as usize,
        session_idle: limits.session_idle.get(),
        ended_sessions: limits.ended_sessions as usize,
        subscriptions: limits.subscriptions as usize,
        subscription_bytes: limits.subscription_bytes.as_usize(),
        left_bytes: limits.left_bytes.as_usize(),
        replay: ReplayLimits {
            bytes: limits.replay_bytes.as_usize(),
            time: limits.replay_time.get(),
            streams: limits.replay_streams as usize,
            bytes_total: limits.replay_bytes_total.as_usize(),
            streams_total: limits.replay_streams_total as usize,
        },
        detached: DetachedLimits {
            session: limits.detached as usize,
            total: limits.detached_total as usize,
            bytes: limits.detached_bytes.as_usize(),
            time: limits.replay_time.get(),
        },
    }
}

/// A backend's settings, or what is wrong with them, at its path. Reads the certificates that it names, so it blocks.
///
/// # Errors
/// As [`backend`].
pub fn usable_backend(
    name: Arc<str>,
    section: &sections::Backend,
    config: &Config,
    demo: Option<&str>,
) -> Result<BackendSettings, Objection> {
    backend(Arc::clone(&name), section, config, demo).map_err(|error| judge::objection(&name, error))
}

/// What is wrong with a backend that could not be compiled, at its path.
pub fn unusable_backend(unusable: UnusableBackend) -> Objection {
    judge::objection(&unusable.name, unusable.error)
}

/// A backend's settings. Reads the certificates that it names, so it blocks.
///
/// # Errors
/// When a file cannot be read, or a value is of no use.
fn backend(
    name: Arc<str>,
    backend: &sections::Backend,
    config: &Config,
    demo: Option<&str>,
) -> Result<BackendSettings, SettingsError> {
    let tls = match &backend.tls {
        Some(tls) => self::tls(tls)?,
        None => TlsSettings::default(),
    };
    let mut headers = Vec::with_capacity(backend.headers.len());
    for (key, value) in &backend.headers {
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| {
            SettingsError::new(Setting::Header(key.name().clone()), "it has characters that a header cannot hold")
        })?;
        value.set_sensitive(true);
        headers.push((key.name().clone(), value));
    }
    let endpoint = |one: &sections::Endpoint| {
        let (url, socket) = location(&one.url, demo)?;
        Ok(EndpointSettings {
            socket,
            http2: match backend.http2 {
                BackendHttp2::Auto => Http2::Auto,
                BackendHttp2::Always => Http2::Always,
                BackendHttp2::Never => Http2::Never,
            },
            tls: tls.clone(),
            headers: headers.clone(),
            forwards_user_agent: backend.forward_headers.iter().any(|key| *key.name() == header::USER_AGENT),
            ..EndpointSettings::new(url)
        })
    };
    let limits = &config.limits;
    Ok(BackendSettings {
        endpoints: backend.endpoints.iter().map(endpoint).collect::<Result<_, _>>()?,
        command: backend.command.as_ref().map(command::command),
        protocol: match backend.protocol {
            BackendProtocol::Auto => Protocol::Auto,
            BackendProtocol::Modern => Protocol::Modern,
            BackendProtocol::Legacy => Protocol::Legacy,
            BackendProtocol::Sse => Protocol::Sse,
        },
        timeouts: Timeouts {
            connect: backend.timeouts.connect.get(),
            first_byte: backend.timeouts.first_byte.get(),
            idle_stream: backend.timeouts.idle_stream.get(),
            total: backend.timeouts.total.get(),
        },
        pool: PoolSettings {
            idle_connections: backend.pool.idle_connections as usize,
            idle_time: backend.pool.idle_time.get(),
            idle_time_h2: backend.pool.idle_time_http2.get(),
            h2_streams: backend.pool.streams_per_connection as usize,
            resolve_interval: backend.pool.resolve_interval.get(),
        },
        forward_headers: backend.forward_headers.iter().map(|key| key.name().clone()).collect(),
        answer_bytes: limits.answer_bytes.as_usize(),
        sse_event: limits.sse_event.as_usize(),
        tools: ToolSettings {
            pages: limits.list_pages as usize,
            time: limits.list_time.get(),
            params: ParamLimits {
                tools: limits.list_items as usize,
                mirrors: limits.tool_headers as usize,
                depth: limits.tool_depth as usize,
            },
        },
        stock: StockSettings {
            limits: InventoryLimits {
                items: limits.list_items as usize,
                bytes: limits.list_bytes.as_usize(),
                pages: limits.list_pages as usize,
                ..InventoryLimits::default()
            },
            time: limits.list_time.get(),
            refresh: limits.catalog_refresh.get(),
            varies: backend.forward_headers.iter().any(|key| may_identify(key.name())),
            callers: CallerLimits { callers: limits.caller_lists as usize, bytes: limits.caller_list_bytes.as_usize() },
            ..StockSettings::default()
        },
        stocked: is_stocked(config, &name),
        name,
    })
}

/// What is requested of an endpoint, and the unix socket through which, if any. The configuration has taken its URL apart.
fn location(url: &EndpointUrl, demo: Option<&str>) -> Result<(Url, Option<PathBuf>), SettingsError> {
    let unusable = |message: String| SettingsError::new(Setting::Url, message);
    let parse = |text: &str| Url::parse(text).map_err(|error| unusable(error.to_string()));
    match url {
        EndpointUrl::Http(url) => Ok((url.clone(), None)),
        EndpointUrl::Unix { socket, path } => Ok((parse(&format!("http://localhost{path}"))?, Some(socket.clone()))),
        EndpointUrl::Demo => {
            let demo = demo.ok_or_else(|| unusable("the demo server does not run".to_owned()))?;
            Ok((parse(demo)?, None))
        }
    }
}

fn tls(tls: &sections::BackendTls) -> Result<TlsSettings, SettingsError> {
    let read = |setting: Setting, path: &Path| {
        std::fs::read(path).map(Bytes::from).map_err(|error| SettingsError::new(setting, error.to_string()))
    };
    let identity = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            Some(TlsIdentity { certificate: read(Setting::Certificate, certificate)?, key: read(Setting::Key, key)? })
        }
        _ => None,
    };
    let ca = tls.ca.as_deref().map(|path| read(Setting::Ca, path)).transpose()?;
    Ok(TlsSettings { ca, server_name: tls.server_name.clone(), identity })
}

#[cfg(test)]
mod tests;
