//! From the configuration's words to the settings that rooms take: each room has its own plain structs, so that none
//! depends on the shape of the file.

use crate::config::model::{Config, Listener};
use crate::config::sections::{self, BackendHttp2, BackendProtocol};
use crate::config::values::EndpointUrl;
use crate::drain::DrainSettings;
use crate::listen::{self, ConnectionLimits, ListenerSettings, ProxyProtocol, TlsFiles};
use crate::session::{DetachedLimits, Limits as SessionLimits, ReplayLimits};
use crate::upstream::{
    BackendSettings, EndpointSettings, Http2, Protocol, SettingsError, Timeouts, TlsIdentity, TlsSettings,
};
use bytes::Bytes;
use http::HeaderValue;
use std::path::Path;
use std::sync::Arc;

/// A listener's settings.
pub fn listener(name: &str, settings: &Listener, config: &Config) -> ListenerSettings {
    let limits = &config.limits;
    ListenerSettings {
        tls: settings.tls.as_ref().map(|tls| TlsFiles { certificate: tls.certificate.clone(), key: tls.key.clone() }),
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
            ..ConnectionLimits::default()
        },
        ..ListenerSettings::new(name, settings.address.socket())
    }
}

/// The settings of a running listener under another configuration: what cannot change while it runs stays as it is
/// ([`fixed_at_start`] names it).
pub fn listener_again(running: &listen::Listener, config: &Config) -> ListenerSettings {
    let now = running.settings();
    let wanted = config.listeners.iter().find(|(name, _)| name.as_str() == now.name);
    let Some((name, wanted)) = wanted else { return ListenerSettings::clone(&now) };
    let mut settings = listener(name.as_str(), wanted, config);
    settings.address = now.address;
    if settings.tls.is_some() != now.tls.is_some() {
        settings.tls = now.tls.clone();
    }
    settings
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
    differs("admin.address".into(), "the address is bound at start", wanted.admin.address != started.admin.address);
    differs("state_dir".into(), "state is opened at start", wanted.state_dir != started.state_dir);
    differs("tickets.keys".into(), "keys are read at start", wanted.tickets.keys != started.tickets.keys);
    differs("workers".into(), "threads are started once", wanted.workers != started.workers);
    differs("log.format".into(), "the log is opened at start", wanted.log.format != started.log.format);
    fixed
}

/// How the gateway stops.
pub fn drain(config: &Config) -> DrainSettings {
    DrainSettings { time: config.drain.time.get(), ..DrainSettings::default() }
}

/// The bounds of session state.
pub fn sessions(config: &Config) -> SessionLimits {
    let limits = &config.limits;
    let defaults = SessionLimits::default();
    SessionLimits {
        sessions: limits.sessions as usize,
        session_idle: limits.session_idle.get(),
        replay: ReplayLimits {
            bytes: limits.replay_bytes.as_usize(),
            time: limits.replay_time.get(),
            ..defaults.replay
        },
        detached: DetachedLimits {
            session: limits.detached as usize,
            total: limits.detached_total as usize,
            bytes: limits.detached_bytes.as_usize(),
            time: limits.replay_time.get(),
        },
        ..defaults
    }
}

/// A backend's settings. Reads the certificates that it names, so it blocks.
///
/// # Errors
/// When a file cannot be read.
pub fn backend(
    name: Arc<str>,
    backend: &sections::Backend,
    config: &Config,
    demo: Option<&str>,
) -> Result<BackendSettings, SettingsError> {
    let tls = match &backend.tls {
        Some(tls) => self::tls(&name, tls)?,
        None => TlsSettings::default(),
    };
    let mut headers = Vec::with_capacity(backend.headers.len());
    for (key, value) in &backend.headers {
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| {
            SettingsError(format!("backends.{name}.headers.{key}: the value has characters that a header cannot hold"))
        })?;
        value.set_sensitive(true);
        headers.push((key.name().clone(), value));
    }
    let endpoint = |url: &EndpointUrl| EndpointSettings {
        url: match url {
            EndpointUrl::Demo => demo.unwrap_or_default().to_owned(),
            url => url.to_string(),
        },
        http2: match backend.http2 {
            BackendHttp2::Auto => Http2::Auto,
            BackendHttp2::Always => Http2::Always,
            BackendHttp2::Never => Http2::Never,
        },
        tls: tls.clone(),
        headers: headers.clone(),
    };
    Ok(BackendSettings {
        endpoints: backend.endpoints.iter().map(|one| endpoint(&one.url)).collect(),
        protocol: match backend.protocol {
            BackendProtocol::Auto => Protocol::Auto,
            BackendProtocol::Modern => Protocol::Modern,
            BackendProtocol::Legacy => Protocol::Legacy,
        },
        timeouts: Timeouts {
            connect: backend.timeouts.connect.get(),
            first_byte: backend.timeouts.first_byte.get(),
            idle_stream: backend.timeouts.idle_stream.get(),
            total: backend.timeouts.total.get(),
        },
        forward_headers: backend.forward_headers.iter().map(|key| key.name().clone()).collect(),
        answer_bytes: config.limits.answer_bytes.as_usize(),
        sse_event: config.limits.sse_event.as_usize(),
        name,
    })
}

fn tls(name: &str, tls: &sections::BackendTls) -> Result<TlsSettings, SettingsError> {
    let read = |key: &str, path: &Path| {
        std::fs::read(path)
            .map(Bytes::from)
            .map_err(|error| SettingsError(format!("backends.{name}.tls.{key}: {error}")))
    };
    let identity = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            Some(TlsIdentity { certificate: read("certificate", certificate)?, key: read("key", key)? })
        }
        _ => None,
    };
    let ca = tls.ca.as_deref().map(|path| read("ca", path)).transpose()?;
    Ok(TlsSettings { ca, server_name: tls.server_name.clone(), identity })
}
