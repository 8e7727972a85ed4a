//! What a running gateway tells at its admin listener: for `lockgate config show --running`, `backends` and `servers`.

use super::http::{self, Problem};
use super::{Exit, Hooks};
use crate::config::model::Admin;
use crate::config::values::AllowedHost;
use crate::config::{Config, Sources};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use url::Url;

/// The environment variable that holds the admin token.
const TOKEN_VARIABLE: &str = "LOCKGATE_ADMIN_TOKEN";

/// How long the whole answer may take.
const TIME: Duration = Duration::from_secs(10);

/// How long is looked for whoever listens.
const LOOK: Duration = Duration::from_secs(2);

/// The longest answer, in bytes: defaults and masks make a configuration longer than its file, but not much.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The longest file with a token, in bytes.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Which gateway is meant.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct RunningArgs {
    /// Print what a running gateway serves, with its generation; without ADDR, the gateway of the configuration
    #[arg(long, value_name = "ADDR", num_args = 0..=1)]
    running: Option<Option<String>>,
    /// The file that holds the gateway's admin token [default: $LOCKGATE_ADMIN_TOKEN, else as configured]
    #[arg(long, value_name = "FILE", requires = "running")]
    token_file: Option<PathBuf>,
}

/// Where to ask, and under which name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// A URL of the listener, whatever its path.
    pub(super) url: Url,
    /// The `Host` to ask for, where it is not the URL's.
    pub(super) host: Option<String>,
}

/// Why there is no answer: what to say, and the exit.
pub(super) type Refused = (String, Exit);

pub(super) fn failed(message: impl Into<String>) -> Refused {
    (message.into(), Exit::Failed)
}

pub(super) fn usage(message: impl Into<String>) -> Refused {
    (message.into(), Exit::Usage)
}

/// What became of a question.
pub(super) enum Told {
    /// The answer's body.
    Text(String),
    /// No gateway answers there; in words.
    Nobody(String),
}

impl Told {
    /// The answer; that nobody gave one is a failure.
    pub(super) fn text(self) -> Result<String, Refused> {
        match self {
            Told::Text(text) => Ok(text),
            Told::Nobody(message) => Err(failed(message)),
        }
    }
}

impl RunningArgs {
    /// Whether a running gateway is asked for.
    pub(super) fn is_meant(&self) -> bool {
        self.running.is_some()
    }

    /// How it is asked.
    pub(super) fn way(&self) -> Way<'_> {
        Way { address: self.running.as_ref().and_then(Option::as_deref), token_file: self.token_file.as_deref() }
    }
}

/// How a running gateway is found, and what is proven to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    /// Its admin address; without one, that of the configuration.
    pub(super) address: Option<&'a str>,
    /// The file that holds its admin token.
    pub(super) token_file: Option<&'a Path>,
}

impl Way<'_> {
    /// Whether a configuration is needed to find it.
    pub(super) fn needs_config(&self, sources: &dyn Sources) -> Result<bool, Refused> {
        Ok(self.address.is_none() || self.token(sources)?.is_none())
    }

    /// Asks for what is at this path, in this media type.
    pub(super) fn ask(
        &self,
        path: &str,
        media_type: &str,
        config: Option<&Config>,
        hooks: Hooks,
        sources: &dyn Sources,
    ) -> Result<Told, Refused> {
        let place = match (self.address, config) {
            (Some(address), _) => named(address)?,
            (None, Some(config)) => configured(&config.admin)?,
            (None, None) => return Err(usage("which gateway is meant? Name its admin address")),
        };
        let token = match (self.token(sources)?, config) {
            (Some(token), _) => token,
            (None, Some(config)) => kept(config, hooks)?,
            (None, None) => return Err(usage("the admin token is missing")),
        };
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) || token.is_empty() {
            return Err(failed("what should be the admin token is none: a token has visible ASCII characters only"));
        }
        fetch(&place, path, &token, media_type)
    }

    /// The token that was given on the way: by flag or by environment.
    fn token(&self, sources: &dyn Sources) -> Result<Option<String>, Refused> {
        if let Some(file) = self.token_file {
            let content = sources.file(file, TOKEN_BYTES_MAX);
            let content = content.map_err(|error| failed(format!("cannot read `{}`: {error}", file.display())))?;
            let text = String::from_utf8(content);
            let text = text.map_err(|_| failed(format!("`{}` holds no token", file.display())))?;
            return Ok(Some(text.trim().to_owned()));
        }
        let variable = sources.env(TOKEN_VARIABLE);
        let variable = variable.map_err(|_| failed(format!("the value of `{TOKEN_VARIABLE}` is not UTF-8")))?;
        Ok(variable.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()))
    }
}

/// The place that was named: `HOST:PORT`, or a URL.
fn named(address: &str) -> Result<Place, Refused> {
    let text = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = Url::parse(&text).and_then(|url| url.join("/"));
    let url = url.map_err(|error| usage(format!("`{address}` is no address of an admin listener: {error}")))?;
    Ok(Place { url, host: None })
}

/// The place that a configuration names.
pub(super) fn configured(admin: &Admin) -> Result<Place, Refused> {
    let address = admin.address.socket();
    if address.port() == 0 {
        return Err(usage("the system chooses the port of this admin listener: name its address"));
    }
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let place = named(&SocketAddr::new(ip, address.port()).to_string())?;
    // Beyond loopback only the hosts that are listed are let in, even from this machine.
    let host = if admin.address.is_loopback() { None } else { admin.allowed_hosts.first().map(AllowedHost::to_string) };
    Ok(Place { host, ..place })
}

/// Whether anybody listens where the gateway of a configuration has its admin listener.
pub(super) fn listens(admin: &Admin) -> bool {
    let Ok(place) = configured(admin) else { return false };
    !matches!(http::get(&place.url, place.host.as_deref(), &[], Instant::now() + LOOK), Err(Problem::Unreachable(_)))
}

/// The token that a configuration names, or that its gateway keeps in the state directory.
fn kept(config: &Config, hooks: Hooks) -> Result<String, Refused> {
    if let Some(token) = &config.admin.token {
        return Ok(token.expose().to_owned());
    }
    let missing = |place: String| {
        failed(format!(
            "the admin token is missing: {place}; name its file with `--token-file`, or set `{TOKEN_VARIABLE}`"
        ))
    };
    let Some(state_dir) = config.state_dir.as_deref() else {
        return Err(missing("no state directory is known".to_owned()));
    };
    let read = |dir: &Path| hooks.admin_token.map_or(Ok(None), |read| read(dir));
    match read(state_dir) {
        Ok(Some(token)) => Ok(token),
        Ok(None) => Err(missing(format!("there is none in `{}`", state_dir.display()))),
        Err(error) => Err(failed(format!("the admin token cannot be read: {error}"))),
    }
}

fn fetch(place: &Place, path: &str, token: &str, media_type: &str) -> Result<Told, Refused> {
    let bearer = format!("Bearer {token}");
    let fields = [("Authorization", bearer.as_str()), ("Accept", media_type)];
    let at = &place.url[url::Position::BeforeHost..url::Position::AfterPort];
    let trouble = |problem: Problem| match problem {
        Problem::Usage(message) => usage(message),
        Problem::Unreachable(message) | Problem::Failed(message) => failed(format!("{at}: {message}")),
    };
    let url = place.url.join(path).map_err(|error| usage(error.to_string()))?;
    let answer = match http::get(&url, place.host.as_deref(), &fields, Instant::now() + TIME) {
        Ok(answer) => answer,
        Err(Problem::Unreachable(message)) => {
            return Ok(Told::Nobody(format!("no gateway answers at {at} ({message})")));
        }
        Err(problem) => return Err(trouble(problem)),
    };
    let status = answer.status;
    let body = answer.body(ANSWER_BYTES_MAX).map_err(trouble)?;
    let text = String::from_utf8(body).map_err(|_| failed(format!("{at}: the answer is not UTF-8")))?;
    match status {
        200 => Ok(Told::Text(text)),
        401 => Err(failed(format!(
            "{at} refuses the admin token (401): it is the token of another gateway, or an old one"
        ))),
        status => {
            let said = serde_json::from_str::<Value>(&text).ok();
            let said =
                said.and_then(|said| said["message"].as_str().map(|message| message.replace(char::is_control, " ")));
            let said = said.unwrap_or_else(|| "that is no admin listener of a gateway".to_owned());
            Err(failed(format!("{at} answers {status}: {said}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigSource, Overrides, SystemSources, load_text};

    fn admin(section: &str) -> Admin {
        let text = format!(
            "listeners: {{ main: {{ address: 127.0.0.1:8080 }} }}\nadmin: {section}\n\
             backends: {{ demo: {{ endpoints: [{{ url: 'demo:' }}] }} }}\n\
             virtual_servers: {{ default: {{ path: /mcp, backends: [demo] }} }}\n"
        );
        load_text("test", &text, Path::new("/"), &crate::config::NoSources).unwrap().config.admin
    }

    fn place(section: &str) -> (String, Option<String>) {
        let place = configured(&admin(section)).unwrap();
        (place.url.to_string(), place.host)
    }

    #[test]
    fn the_configuration_says_where_to_ask() {
        assert_eq!(place("{}"), ("http://127.0.0.1:9901/".into(), None));
        assert_eq!(place("{ address: '[::1]:7' }"), ("http://[::1]:7/".into(), None));
        let open = "{ address: 0.0.0.0:9901, allowed_hosts: [ops.example.com] }";
        assert_eq!(place(open), ("http://127.0.0.1:9901/".into(), Some("ops.example.com".into())));
        assert_eq!(configured(&admin("{ address: 127.0.0.1:0 }")).unwrap_err().1, Exit::Usage);
    }

    #[test]
    fn an_address_is_named_in_either_form() {
        for (address, url) in [
            ("127.0.0.1:7", "http://127.0.0.1:7/"),
            ("ops.example.com:9901", "http://ops.example.com:9901/"),
            ("http://127.0.0.1:7/readyz", "http://127.0.0.1:7/"),
        ] {
            assert_eq!(named(address).unwrap().url.as_str(), url);
        }
        assert_eq!(named("a b").unwrap_err().1, Exit::Usage);
    }

    #[test]
    fn the_quickstart_is_the_gateway_of_those_who_name_none() {
        let loaded = crate::config::load(&ConfigSource::Quickstart, &Overrides::default(), &SystemSources).unwrap();
        assert_eq!(configured(&loaded.config.admin).unwrap().url.as_str(), "http://127.0.0.1:9901/");
    }
}
