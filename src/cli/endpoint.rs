//! The MCP endpoint that a verb speaks to: one that is named, or a virtual server of a gateway that runs already or is
//! started for it.

use super::http;
use super::run::{RunOptions, Start};
use super::running::{self, Refused};
use super::source::SourceArgs;
use super::terminal::Terminal;
use super::{Exit, Hooks, clients};
use crate::config::values::Name;
use crate::config::{Config, ConfigSource, Loaded, Sources, SystemSources};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use url::Url;

/// The environment variable that holds the token.
const TOKEN_VARIABLE: &str = "LOCKGATE_TOKEN";

/// The longest file with a token, in bytes.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// How long is looked for a gateway that runs already.
const LOOK: Duration = Duration::from_secs(2);

/// Which endpoint is meant.
#[derive(Debug, clap::Args)]
pub(super) struct EndpointArgs {
    /// The endpoint, instead of one of a configuration
    #[arg(long, value_name = "URL", conflicts_with_all = ["server", "config", "backend", "command", "mcp_json"])]
    url: Option<Url>,
    /// The virtual server [default: the only one, or the one named `default`]
    #[arg(long, value_name = "NAME")]
    server: Option<Name>,
    #[command(flatten)]
    source: SourceArgs,
    /// The file that holds the token to send as `Authorization: Bearer` [default: $LOCKGATE_TOKEN]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// An endpoint, and what is proven to it.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is.
    pub target: Target,
    /// The token that is sent along.
    pub token: Option<String>,
}

/// Where an endpoint is.
#[derive(Debug)]
pub enum Target {
    /// Somebody serves it.
    There(Url),
    /// It is a virtual server of a gateway that is yet to be started.
    Within(Box<Start>, Name),
}

/// Which gateways are looked for before one is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Those that run with a configuration file.
    File,
    /// Those, and the quickstart's where no configuration is named.
    FileOrNone,
}

impl EndpointArgs {
    /// Finds the endpoint.
    pub(super) fn find(self, look: Look, terminal: &mut Terminal<'_>, hooks: Hooks) -> Result<Endpoint, Refused> {
        let token = token(self.token_file.as_ref(), &SystemSources)?;
        if let Some(url) = self.url {
            return Ok(Endpoint { target: Target::There(url), token });
        }
        let source: ConfigSource = self.source.into();
        let may_run = match source {
            ConfigSource::File(_) => true,
            ConfigSource::Quickstart => look == Look::FileOrNone,
            ConfigSource::McpJson(_) | ConfigSource::Backends(_) => false,
        };
        if may_run {
            let loaded = load(&RunOptions::new(source.clone()), terminal, hooks)?;
            let server = chosen(&loaded.config, self.server.as_ref())?;
            if let Some(url) = running(&loaded.config, server) {
                return Ok(Endpoint { target: Target::There(url), token });
            }
        }
        let start = private(source, terminal, hooks)?;
        let server = chosen(&start.loaded.config, self.server.as_ref())?.clone();
        Ok(Endpoint { target: Target::Within(Box::new(start), server), token })
    }
}

/// A gateway to be started for this process alone.
pub(super) fn private(source: ConfigSource, terminal: &mut Terminal<'_>, hooks: Hooks) -> Result<Start, Refused> {
    let mut options = RunOptions::new(source);
    options.overrides.private = true;
    let loaded = load(&options, terminal, hooks)?;
    if !loaded.warnings.is_empty() {
        terminal.error(&loaded.warnings.render(terminal.err_style()));
    }
    Ok(Start { options, loaded })
}

fn load(options: &RunOptions, terminal: &Terminal<'_>, hooks: Hooks) -> Result<Loaded, Refused> {
    options.load(&|config| hooks.objections(config)).map_err(|report| wrong(&report, terminal))
}

fn wrong(report: &crate::config::Report, terminal: &Terminal<'_>) -> Refused {
    (report.render(terminal.err_style()), Exit::Failed)
}

/// The virtual server that is meant.
fn chosen<'a>(config: &'a Config, wanted: Option<&Name>) -> Result<&'a Name, Refused> {
    let names = || config.virtual_servers.keys();
    let found = match wanted {
        Some(wanted) => names().find(|name| *name == wanted),
        None if config.virtual_servers.len() == 1 => names().next(),
        None => names().find(|name| name.as_str() == "default"),
    };
    found.ok_or_else(|| {
        let known: Vec<&str> = names().map(Name::as_str).collect();
        let what = wanted.map_or("say which virtual server: `--server NAME`".to_owned(), |wanted| {
            format!("there is no virtual server `{wanted}`")
        });
        (format!("error: {what}; there are: {}", known.join(", ")), Exit::Usage)
    })
}

/// The URL of a virtual server of the gateway that runs with this configuration; `None` where none does.
fn running(config: &Config, server: &Name) -> Option<Url> {
    let until = Instant::now() + LOOK;
    let place = running::configured(&config.admin).ok()?;
    let ready = place.url.join("/readyz").ok()?;
    let answer = http::get(&ready, place.host.as_deref(), &[], until).ok()?;
    if answer.status != 200 {
        return None;
    }
    let urls = clients::urls_of(config, server, |_, listener| {
        // A listener with TLS, or one that only lets others in, is found by its public name.
        let plain = listener.tls.is_none() && listener.address.is_loopback();
        plain.then(|| format!("http://{}", listener.address))
    });
    let reachable = |url: &Url| {
        let mut addresses = url.socket_addrs(|| None).unwrap_or_default().into_iter();
        addresses.any(|address| TcpStream::connect_timeout(&here(address), LOOK).is_ok())
    };
    urls.into_iter().filter_map(|url| Url::parse(&url).ok()).find(reachable)
}

/// An address of any interface, as one that can be connected to.
fn here(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        address => address,
    }
}

/// The token that was given by file or by environment: never on the command line, which others can read.
fn token(file: Option<&PathBuf>, sources: &dyn Sources) -> Result<Option<String>, Refused> {
    let failed = |message: String| (format!("error: {message}"), Exit::Failed);
    let text = match file {
        Some(file) => {
            let content = sources.file(file, TOKEN_BYTES_MAX);
            let content = content.map_err(|error| failed(format!("cannot read `{}`: {error}", file.display())))?;
            let text = String::from_utf8(content);
            Some(text.map_err(|_| failed(format!("`{}` holds no token", file.display())))?)
        }
        None => sources
            .env(TOKEN_VARIABLE)
            .map_err(|_| failed(format!("the value of `{TOKEN_VARIABLE}` is not UTF-8")))?
            .filter(|token| !token.trim().is_empty()),
    };
    let Some(text) = text else { return Ok(None) };
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(failed("what should be the token is none: a token has visible ASCII characters only".to_owned()));
    }
    Ok(Some(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BackendFlag, NoSources, Overrides, Reached, load, load_text};
    use std::path::Path;

    fn config(servers: &[&str]) -> Config {
        let servers: String = servers.iter().map(|name| format!("  {name}: {{ backends: [demo] }}\n")).collect();
        let text = format!(
            "listeners: {{ main: {{ address: 127.0.0.1:0 }} }}\n\
             backends: {{ demo: {{ endpoints: [{{ url: 'demo:' }}] }} }}\nvirtual_servers:\n{servers}"
        );
        load_text("test", &text, Path::new("/"), &NoSources).unwrap().config
    }

    #[test]
    fn the_only_virtual_server_needs_no_name() {
        assert_eq!(chosen(&config(&["one"]), None).unwrap().as_str(), "one");
        assert_eq!(chosen(&config(&["one", "default"]), None).unwrap().as_str(), "default");
        let two = config(&["one", "two"]);
        let (message, exit) = chosen(&two, None).unwrap_err();
        assert!(exit == Exit::Usage && message.contains("one, two"), "{message}");
        let name: Name = "two".parse().unwrap();
        assert_eq!(chosen(&two, Some(&name)).unwrap(), &name);
        let other: Name = "three".parse().unwrap();
        assert!(chosen(&two, Some(&other)).unwrap_err().0.contains("`three`"));
    }

    #[test]
    fn a_token_comes_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, " s3cret\n").unwrap();
        assert_eq!(token(Some(&file), &SystemSources).unwrap().as_deref(), Some("s3cret"));
        for wrong in ["", "a b", "a\nb", "ü"] {
            std::fs::write(&file, wrong).unwrap();
            let (message, exit) = token(Some(&file), &SystemSources).unwrap_err();
            assert!(exit == Exit::Failed && !message.contains(wrong) | wrong.is_empty(), "{message}");
        }
        assert_eq!(token(None, &crate::config::NoSources).unwrap(), None);
    }

    #[test]
    fn a_private_gateway_has_only_ports_of_its_own() {
        let reached = |name: &str| Reached::Url(format!("http://{name}/mcp"));
        let flag = |name: &str| BackendFlag { name: name.to_owned(), reached: reached(name) };
        let source = ConfigSource::Backends(vec![flag("one"), flag("two")]);
        let config = load(&source, &Overrides { private: true, ..Overrides::default() }, &NoSources).unwrap().config;
        assert!(config.listeners.values().all(|listener| listener.address.socket().port() == 0));
        assert_eq!(config.admin.address.socket().port(), 0);
        assert_eq!(running(&config, &"default".parse().unwrap()), None);
    }
}
