//! Logging: one subscriber for the process, to standard error.
//!
//! `log.level` is a level (`info`) or a list of `target=level` (`info,lockgate::upstream=debug`). The environment
//! variable `RUST_LOG`, when set, wins over it, so that an operator can look closer without editing a file.

use super::log_bridge::Bridge;
use super::log_writer::LogWriter;
use std::env;
use std::io::{self, IsTerminal};
use tracing::Subscriber;
use tracing_log::log;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// A library that logs each event of a folder: quiet unless `log.level` names it.
const QUIET: &str = "notify=warn";

/// Libraries through whose hands requests go. Below `warn` they log headers and frames with the credentials in them, so
/// what they say there is not logged, whatever is asked for. Pingora's records come another way: see [`Bridge`].
const DISCREET: [&str; 6] = ["h2", "hyper", "hyper_util", "reqwest", "rmcp", "rustls"];

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people, coloured on a terminal.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Logging could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The text is neither a level nor a list of `target=level`.
    #[error("log level `{level}`: {reason}")]
    Level {
        /// The text.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another part of the process set up logging first.
    #[error("logging is already set up: {0}")]
    AlreadySetUp(String),
    /// The writing thread could not be started.
    #[error("the thread that writes the log could not be started: {0}")]
    Thread(#[from] io::Error),
}

/// Changes the level while the process runs, and writes out what is left at its end.
#[must_use = "the last lines are written when this is dropped"]
pub struct LogHandle {
    filter: Filter,
    writer: LogWriter,
    overridden: bool,
}

/// Sets logging up for the whole process; `on_dropped` is called for each line that was given up because standard error
/// was not read.
///
/// # Errors
///
/// When `level` (or `RUST_LOG`, when set) cannot be read, or logging is set up already.
pub fn init(
    format: LogFormat,
    level: &str,
    on_dropped: impl Fn() + Send + Sync + 'static,
) -> Result<LogHandle, LogError> {
    let override_level = env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let filter = filter(override_level.as_deref().unwrap_or(level))?;
    let max_level = filter.max_level_hint();
    let terminal = io::stderr().is_terminal();
    let colours = terminal && env::var_os("NO_COLOR").is_none();
    let writer = LogWriter::start(io::stderr(), on_dropped)?;
    let (subscriber, filter) = subscriber(format.is_json(terminal), colours, filter, writer.clone());
    // The subscriber's own `init` would also install tracing's plain bridge from `log`.
    tracing::subscriber::set_global_default(subscriber).map_err(|error| LogError::AlreadySetUp(error.to_string()))?;
    log::set_logger(&Bridge).map_err(|error| LogError::AlreadySetUp(error.to_string()))?;
    log::set_max_level(as_log(max_level));
    Ok(LogHandle { filter, writer, overridden: override_level.is_some() })
}

impl LogFormat {
    fn is_json(self, terminal: bool) -> bool {
        match self {
            LogFormat::Auto => !terminal,
            LogFormat::Pretty => false,
            LogFormat::Json => true,
        }
    }
}

type Filter = reload::Handle<EnvFilter, Registry>;

fn subscriber(
    json: bool,
    colours: bool,
    filter: EnvFilter,
    writer: LogWriter,
) -> (impl Subscriber + Send + Sync, Filter) {
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_ansi(colours).with_writer(writer);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        lines.boxed()
    };
    (tracing_subscriber::registry().with(filter).with(discretion()).with(lines), handle)
}

/// What may be logged at all.
fn discretion() -> Targets {
    let discreet = DISCREET.map(|library| (library, LevelFilter::WARN));
    Targets::new().with_default(LevelFilter::TRACE).with_targets(discreet)
}

impl LogHandle {
    /// Uses another `log.level` from now on. `false` when `RUST_LOG` is set and goes on to decide.
    ///
    /// # Errors
    ///
    /// When the text cannot be read; then the old level stays.
    pub fn set_level(&self, level: &str) -> Result<bool, LogError> {
        let filter = filter(level)?;
        if self.overridden {
            return Ok(false);
        }
        let max_level = filter.max_level_hint();
        self.filter.reload(filter).map_err(|error| LogError::AlreadySetUp(error.to_string()))?;
        log::set_max_level(as_log(max_level));
        Ok(true)
    }

    /// Waits, at most two seconds, until everything logged so far is written.
    pub fn flush(&self) {
        self.writer.flush();
    }
}

impl Drop for LogHandle {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Whether `log.level` can be used: what a configuration is checked with.
///
/// # Errors
///
/// When it cannot, saying why.
pub fn check_level(level: &str) -> Result<(), LogError> {
    filter(level).map(drop)
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let refuse = |reason: String| LogError::Level { level: level.to_owned(), reason };
    let directives: Vec<&str> = level.split(',').map(str::trim).collect();
    for directive in &directives {
        // A bare word that is no level would be read as a target with everything switched on.
        if directive.is_empty() || (!directive.contains('=') && directive.parse::<LevelFilter>().is_err()) {
            return Err(refuse(format!(
                "`{directive}` is not one of off, error, warn, info, debug, trace, nor has it the form target=level"
            )));
        }
    }
    let text = format!("{QUIET},{}", directives.join(","));
    EnvFilter::builder().parse(text).map_err(|error| refuse(error.to_string()))
}

/// What the `log` crate's macros let through before anything is formatted.
fn as_log(level: Option<LevelFilter>) -> log::LevelFilter {
    match level {
        Some(LevelFilter::OFF) => log::LevelFilter::Off,
        Some(LevelFilter::ERROR) => log::LevelFilter::Error,
        Some(LevelFilter::WARN) => log::LevelFilter::Warn,
        Some(LevelFilter::INFO) => log::LevelFilter::Info,
        Some(LevelFilter::DEBUG) => log::LevelFilter::Debug,
        _ => log::LevelFilter::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::super::log_writer::tests::Shared;
    use super::*;
    use tracing_log::log::Log;

    #[test]
    fn levels_and_target_lists_are_taken() {
        for good in ["info", "OFF", "warn,lockgate=debug", "info, lockgate::upstream=trace", "h2=debug,info"] {
            check_level(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
    }

    #[test]
    fn a_misspelt_level_is_refused_not_taken_for_a_target() {
        for bad in ["inof", "", "info,lockgate", "lockgate=loud"] {
            let error = check_level(bad).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }

    #[test]
    fn naming_a_quiet_library_makes_it_heard() {
        assert!(filter("info").unwrap().to_string().contains("notify=warn"));
        let named = filter("info,notify=debug").unwrap().to_string();
        assert!(named.contains("notify=debug") && !named.contains("notify=warn"), "{named}");
    }

    /// What is written when everything is asked for.
    fn written_at_trace(level: &str, log: impl FnOnce()) -> String {
        let output = Shared::default();
        let writer = LogWriter::start(output.clone(), || ()).unwrap();
        let (subscriber, handle) = subscriber(true, false, filter(level).unwrap(), writer.clone());
        let handle = LogHandle { filter: handle, writer, overridden: false };
        tracing::subscriber::with_default(subscriber, log);
        handle.flush();
        output.text()
    }

    #[test]
    fn no_level_makes_libraries_write_credentials() {
        let record = |level, target: &str, text: &str| {
            let record = log::Record::builder();
            Bridge.log(&{ record }.level(level).target(target).args(format_args!("{text}")).build());
        };
        let all = "trace,pingora_proxy=trace,h2=trace,h2::codec=trace,hyper=trace,rmcp=trace";
        let written = written_at_trace(all, || {
            use log::Level::{Debug, Error, Trace};
            record(Trace, "pingora_proxy", r#"Request header: {"authorization": "Bearer s3cret"}"#);
            record(Debug, "pingora_proxy", r"Fail to proxy: InvalidHTTPHeader context: buf: Cookie: s3cret");
            record(Error, "pingora_core::apps::http_app", r"fails to read: InvalidHTTPHeader context: buf: s3cret");
            record(Debug, "rustls::common_state", "s3cret");
            tracing::trace!(target: "h2::codec", field = "s3cret", "send");
            tracing::debug!(target: "hyper::proto", "s3cret");
            tracing::debug!(target: "rmcp::service", "s3cret");
            tracing::warn!(target: "h2", "a warning is heard");
            tracing::trace!(target: "lockgate::test", "and so are we");
        });
        assert!(!written.contains("s3cret"), "{written}");
        assert!(written.contains("a warning is heard") && written.contains("and so are we"), "{written}");
        assert!(written.contains("fails to read: InvalidHTTPHeader"), "what went wrong is still told: {written}");
    }

    #[test]
    fn pingora_is_asked_for_no_more_than_is_shown() {
        assert_eq!(as_log(filter("info").unwrap().max_level_hint()), log::LevelFilter::Info);
        assert_eq!(as_log(filter("error,lockgate=debug").unwrap().max_level_hint()), log::LevelFilter::Debug);
    }

    #[test]
    fn a_json_line_names_where_it_comes_from_and_the_level_can_change() {
        let output = Shared::default();
        let writer = LogWriter::start(output.clone(), || ()).unwrap();
        let (subscriber, handle) = subscriber(true, false, filter("info").unwrap(), writer.clone());
        let handle = LogHandle { filter: handle, writer, overridden: false };
        tracing::subscriber::with_default(subscriber, || {
            let record = |level, text: &str| {
                let record = log::Record::builder();
                Bridge.log(&{ record }.level(level).target("pingora_proxy").args(format_args!("{text}")).build());
            };
            tracing::info!(target: "lockgate::test", backend = "demo", "asked");
            tracing::debug!(target: "lockgate::test", "not shown");
            record(log::Level::Error, "a client hung up");
            assert!(handle.set_level("debug").unwrap());
            record(log::Level::Error, "another client hung up");
            assert!(handle.set_level("nonsense").is_err());
        });
        handle.flush();
        let lines: Vec<serde_json::Value> =
            output.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!((&lines[0]["level"], &lines[0]["backend"]), (&"INFO".into(), &"demo".into()));
        assert_eq!((&lines[0]["message"], &lines[0]["target"]), (&"asked".into(), &"lockgate::test".into()));
        assert_eq!((&lines[1]["level"], &lines[1]["target"]), (&"DEBUG".into(), &"pingora_proxy".into()));
    }
}
