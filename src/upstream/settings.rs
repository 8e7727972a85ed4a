//! What the upstream room must be told about backends: plain values, already validated as text by the configuration.
//!
//! These structs stand between the configuration room and this one, so that neither depends on the other's shape.

use super::callers::CallerLimits;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use lockgate_filters::federate::InventoryLimits;
use lockgate_filters::rpc::params::ParamLimits;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Which eras a backend may be spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Find out by asking.
    #[default]
    Auto,
    /// Modern only: `initialize` is never sent.
    Modern,
    /// Legacy only: `server/discover` is never sent.
    Legacy,
    /// Legacy over the transport of 2024-11-05: an event stream, and a URL of its own for messages.
    Sse,
}

/// Whether HTTP/2 is spoken to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Http2 {
    /// By ALPN on `https`; HTTP/1.1 on `http` and unix sockets.
    #[default]
    Auto,
    /// Always: prior knowledge on plain connections, nothing else offered in ALPN.
    Always,
    /// Never.
    Never,
}

/// One backend.
#[derive(Clone, Debug)]
pub struct BackendSettings {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its replicas; exactly one until balancing exists. None where it is a command.
    pub endpoints: Vec<EndpointSettings>,
    /// The command that is the server, spoken to over its standard input and output.
    pub command: Option<CommandSettings>,
    /// Which eras it may be spoken to in.
    pub protocol: Protocol,
    /// How long it may take for what.
    pub timeouts: Timeouts,
    /// How connections to each of its endpoints are kept.
    pub pool: PoolSettings,
    /// Extra client headers passed upstream by name.
    pub forward_headers: Vec<HeaderName>,
    /// The longest answer that is buffered whole, in bytes (`limits.answer_bytes`).
    pub answer_bytes: usize,
    /// The longest SSE event that is read, in bytes (`limits.sse_event`).
    pub sse_event: usize,
    /// How much of its tool list is read and remembered.
    pub tools: ToolSettings,
    /// How much of all its lists is read and remembered, where somebody wants them.
    pub stock: StockSettings,
    /// Whether a virtual server answers from memory what this backend offers.
    pub stocked: bool,
}

/// One URL of a backend and how to connect to it.
///
/// Equal settings mean the same endpoint: its connections and what is known of it survive a reload.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// What is requested: `http` or `https`. Over a unix socket its host is only a name.
    pub url: Url,
    /// The unix socket that leads there, where the network does not.
    pub socket: Option<PathBuf>,
    /// Whether HTTP/2 is spoken.
    pub http2: Http2,
    /// TLS, for `https`.
    pub tls: TlsSettings,
    /// Headers sent with every request; values may be secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether requests of clients carry the client's `User-Agent` instead of the gateway's.
    pub forwards_user_agent: bool,
    /// What requests name as their host, where that must not be put in the URL's own form.
    pub authority: Option<Box<str>>,
}

impl EndpointSettings {
    /// An endpoint with nothing special about it.
    pub fn new(url: Url) -> EndpointSettings {
        EndpointSettings {
            url,
            socket: None,
            http2: Http2::Auto,
            tls: TlsSettings::default(),
            headers: Vec::new(),
            forwards_user_agent: false,
            authority: None,
        }
    }
}

impl fmt::Debug for EndpointSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("EndpointSettings")
            .field("url", &self.url.as_str())
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

/// TLS towards an endpoint. The certificate is always verified; there is no switch.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// PEM certificates that are trusted instead of the system's.
    pub ca: Option<Bytes>,
    /// The name to ask for (SNI) and to verify, where it is not the URL's host.
    pub server_name: Option<String>,
    /// Our own certificate, where the endpoint asks for one.
    pub identity: Option<TlsIdentity>,
}

/// A client certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// PEM certificate chain, leaf first.
    pub certificate: Bytes,
    /// PEM private key.
    pub key: Bytes,
}

/// A server that is a command: a child process of the gateway, spoken to over its standard input and output.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandSettings {
    /// The program and its arguments; no shell reads them.
    pub run: Vec<String>,
    /// Variables that are set for it; values may be secrets.
    pub environment: Vec<(String, String)>,
    /// Which of the gateway's own variables it gets; no others.
    pub inherit: Vec<String>,
    /// Where it runs; where the gateway does, without.
    pub directory: Option<PathBuf>,
    /// Whether one process serves everybody in the legacy era. It is then offered no sampling, elicitation or roots.
    pub shared: bool,
    /// The most processes at a time.
    pub instances: usize,
    /// How long a process is kept that nobody uses.
    pub idle_stop: Duration,
    /// The first and the longest time between a failure and the next start.
    pub restart: (Duration, Duration),
    /// The most memory of a process and its descendants, in bytes.
    pub memory: Option<u64>,
    /// The most files that each of its processes may have open.
    pub open_files: Option<u64>,
    /// The most CPU time that each of its processes may use.
    pub cpu_time: Option<Duration>,
    /// How long it is given to end by itself when its input closes, and again when it is told to (`SIGTERM`).
    pub stop_time: Duration,
}

impl CommandSettings {
    /// A command with nothing special about it.
    pub fn new(run: impl IntoIterator<Item = impl Into<String>>) -> CommandSettings {
        CommandSettings {
            run: run.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            inherit: CommandSettings::INHERITED.map(str::to_owned).to_vec(),
            directory: None,
            shared: false,
            instances: 32,
            idle_stop: Duration::from_secs(600),
            restart: (Duration::from_millis(500), Duration::from_secs(60)),
            memory: None,
            open_files: None,
            cpu_time: None,
            stop_time: Duration::from_secs(5),
        }
    }

    /// The gateway's own variables that a command gets where nothing else is said: what programs need to find others, their
    /// user's files and their language. None of them is a secret.
    pub const INHERITED: [&str; 10] =
        ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "TERM"];

    /// Whether a process that was started with these settings is one that `other` wants: the rest is about how processes
    /// are kept, and can change while they run.
    pub(super) fn starts_the_same(&self, other: &CommandSettings) -> bool {
        let CommandSettings { instances, idle_stop, restart, stop_time, .. } = *other;
        CommandSettings { instances, idle_stop, restart, stop_time, ..self.clone() } == *other
    }
}

impl fmt::Debug for CommandSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("CommandSettings")
            .field("program", &self.run.first())
            .field("environment", &names)
            .finish_non_exhaustive()
    }
}

/// How long a backend may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To resolve, connect and finish the TLS handshake, over all its addresses.
    pub connect: Duration,
    /// From the first request byte written to the whole response header read.
    pub first_byte: Duration,
    /// Between two reads that bring something.
    pub idle_stream: Duration,
    /// For the whole exchange.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(120),
            idle_stream: Duration::from_secs(300),
            total: Duration::from_secs(3600),
        }
    }
}

/// How connections to one endpoint are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// How many idle HTTP/1.1 connections are kept; zero closes each after its request.
    pub idle_connections: usize,
    /// How long an HTTP/1.1 connection is kept idle.
    ///
    /// The default is below the 5 s after which uvicorn and Node close theirs: a request that meets the close on the
    /// wire is lost, and a tool call must not be sent twice.
    pub idle_time: Duration,
    /// How long an HTTP/2 connection without streams is kept.
    pub idle_time_h2: Duration,
    /// How many streams share one HTTP/2 connection before another is opened.
    pub h2_streams: usize,
    /// How often the addresses of a host name are looked up again.
    pub resolve_interval: Duration,
}

impl Default for PoolSettings {
    fn default() -> PoolSettings {
        PoolSettings {
            idle_connections: 1024,
            idle_time: Duration::from_secs(4),
            idle_time_h2: Duration::from_secs(60),
            h2_streams: 100,
            resolve_interval: Duration::from_secs(30),
        }
    }
}

/// Bounds on what is read of a backend's tool list, and remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolSettings {
    /// The most pages of one list.
    pub pages: usize,
    /// The longest the whole list may take.
    pub time: Duration,
    /// Bounds on what is remembered of the tools.
    pub params: ParamLimits,
}

impl Default for ToolSettings {
    fn default() -> ToolSettings {
        ToolSettings { pages: 64, time: Duration::from_secs(30), params: ParamLimits::default() }
    }
}

/// How much is read of a backend's lists, and how often, where virtual servers answer from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockSettings {
    /// Bounds on what is read and remembered.
    pub limits: InventoryLimits,
    /// The longest that reading all lists may take.
    pub time: Duration,
    /// How long lists are believed that say nothing about it, and the longest that others are.
    pub refresh: Duration,
    /// The shortest time between two looks at all lists, whoever asks for them.
    pub spacing: Duration,
    /// Whether the backend may tell clients apart: lists of which it does not say that all may share them are private.
    pub varies: bool,
    /// How many lists of single callers are kept.
    pub callers: CallerLimits,
}

impl Default for StockSettings {
    fn default() -> StockSettings {
        StockSettings {
            limits: InventoryLimits::default(),
            time: Duration::from_secs(30),
            refresh: Duration::from_secs(300),
            spacing: Duration::from_millis(500),
            varies: false,
            callers: CallerLimits::default(),
        }
    }
}

/// A setting that cannot be used, with the reason for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub struct SettingsError {
    /// Which one.
    pub setting: Setting,
    /// Why.
    pub message: String,
}

impl SettingsError {
    /// An error about a setting.
    pub fn new(setting: Setting, message: impl Into<String>) -> SettingsError {
        SettingsError { setting, message: message.into() }
    }
}

/// A setting of a backend that may turn out to be of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The list of its endpoints.
    Endpoints,
    /// The command and its arguments.
    Command,
    /// Which transport and eras are spoken.
    Protocol,
    /// The URL of its first endpoint.
    Url,
    /// The trusted authorities.
    Ca,
    /// The name to verify.
    ServerName,
    /// The client certificate.
    Certificate,
    /// The key of the client certificate.
    Key,
    /// The value of a header that is set.
    Header(HeaderName),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Endpoints => f.write_str("endpoints"),
            Setting::Command => f.write_str("command.run"),
            Setting::Protocol => f.write_str("protocol"),
            Setting::Url => f.write_str("endpoints[0].url"),
            Setting::Ca => f.write_str("tls.ca"),
            Setting::ServerName => f.write_str("tls.server_name"),
            Setting::Certificate => f.write_str("tls.certificate"),
            Setting::Key => f.write_str("tls.key"),
            Setting::Header(name) => write!(f, "headers.{name}"),
        }
    }
}
