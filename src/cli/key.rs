//! `lockgate key new`: an API key, and what the configuration holds of it.

use super::Exit;
use super::terminal::Terminal;
use crate::config::sections::ApiKey;
use crate::config::values::{Moment, Name, Scope};
use clap::Subcommand;
use lockgate_filters::authenticate::api_key::{self, ApiKeyEntry, ApiKeys};
use lockgate_filters::exchange::UnixMillis;
use serde_json::json;

/// Make API keys
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    New(NewArgs),
}

/// Make an API key: print it, this once, and the entry for `api_keys` in the configuration
///
/// The configuration holds the hash of the key only: whoever reads it cannot call.
#[derive(Debug, clap::Args)]
struct NewArgs {
    /// Its name, which stands in the key itself: 1 to 32 characters of a-z, 0-9 and -
    #[arg(long)]
    id: Name,
    /// Who the caller is [default: the id]
    #[arg(long)]
    subject: Option<String>,
    /// On whose behalf the caller acts
    #[arg(long)]
    tenant: Option<String>,
    /// A team of the caller; may be given several times
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// What the caller has leave for; may be given several times [default: not limited by scopes]
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// When the key ends, such as 2027-01-01T00:00:00Z [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<Moment>,
    /// A virtual server that takes it; may be given several times [default: all that take API keys]
    #[arg(long = "virtual-server", value_name = "NAME")]
    virtual_servers: Vec<Name>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Carries out a verb of `lockgate key`.
pub(super) fn execute(arguments: Args, terminal: &mut Terminal<'_>) -> Exit {
    let Verb::New(arguments) = arguments.verb;
    let json = arguments.json;
    match new(arguments) {
        Ok((key, entry)) if json => terminal.print(&format!("{:#}", json!({ "key": key, "entry": entry }))),
        Ok((key, entry)) => {
            // Keys and entry go the same way, so that they can be piped on; what they are is for people only.
            terminal.error("The key, which is shown this once, and its entry for `api_keys`:");
            let entry = serde_yaml::to_string(&[entry]).unwrap_or_default();
            terminal.print(&format!("{key}\n\n{entry}"));
        }
        Err((message, exit)) => {
            terminal.error(&format!("error: {message}"));
            return exit;
        }
    }
    Exit::Ok
}

fn new(arguments: NewArgs) -> Result<(String, ApiKey), (String, Exit)> {
    let NewArgs { id, subject, tenant, groups, scopes, expires, virtual_servers, json: _ } = arguments;
    let made = api_key::generate(id.as_str()).map_err(|error| match error {
        api_key::NoKey::Id => (error.to_string(), Exit::Usage),
        api_key::NoKey::Randomness(_) => (error.to_string(), Exit::Failed),
    })?;
    let boxed = |text: &String| text.as_str().into();
    // The gateway itself says whether it would take the entry.
    let taken = ApiKeys::new(vec![ApiKeyEntry {
        id: id.as_str().into(),
        hash: made.hash,
        subject: subject.as_deref().unwrap_or(id.as_str()).into(),
        tenant: tenant.as_ref().map(boxed),
        groups: groups.iter().map(boxed).collect(),
        scopes: None,
        expires: expires.as_ref().map(|end| UnixMillis(end.unix_seconds().saturating_mul(1_000))),
        virtual_servers: None,
    }]);
    taken.map_err(|fault| (fault.to_string(), Exit::Usage))?;
    let hash = made.hash.to_string().parse();
    let entry = ApiKey {
        id,
        hash: hash.map_err(|error| (format!("{error}"), Exit::Failed))?,
        subject,
        tenant,
        groups,
        scopes: (!scopes.is_empty()).then_some(scopes),
        expires,
        virtual_servers: (!virtual_servers.is_empty()).then_some(virtual_servers),
    };
    Ok((made.text, entry))
}
