//! Records of the `log` crate (Pingora's) as tracing events, at the level they deserve.
//!
//! Pingora logs at `error` what every public server sees all day: a client that hangs up, a handshake that fails. The
//! gateway counts those itself and answers what can be answered, so here they are details. Its own details are left out,
//! whatever the level: they hold requests' headers, and with them their credentials. Its errors may quote the bytes of a
//! malformed head; that part is cut off.

use tracing_log::log::{Level, Log, Metadata, Record, RecordBuilder};

/// Passes records on to whatever tracing subscriber is installed.
pub(super) struct Bridge;

impl Log for Bridge {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        // The subscriber's filter decides, and it decides on the adjusted level.
        true
    }

    fn log(&self, record: &Record<'_>) {
        let pingora = record.target().starts_with("pingora");
        if pingora && record.level() > Level::Info {
            return;
        }
        let level = adjusted(record);
        // It never fails: its result is there for compatibility.
        let _ = if pingora {
            let text = record.args().to_string();
            tracing_log::format_trace(&revised(record, level).args(format_args!("{}", discreet(&text))).build())
        } else {
            tracing_log::format_trace(record)
        };
    }

    fn flush(&self) {}
}

/// A record at another level, its text still to be given.
fn revised<'a>(record: &Record<'a>, level: Level) -> RecordBuilder<'a> {
    let mut revised = Record::builder();
    revised
        .metadata(Metadata::builder().level(level).target(record.target()).build())
        .module_path(record.module_path())
        .file(record.file())
        .line(record.line());
    revised
}

/// A text without the bytes of a request that Pingora quotes behind `buf:`.
fn discreet(text: &str) -> &str {
    text.find("buf:").map_or(text, |quoted| text[..quoted].trim_end())
}

/// Pingora's modules in which an error is about one client's connection or request.
const ABOUT_ONE_CLIENT: &[&str] =
    &["pingora_core::apps", "pingora_core::protocols", "pingora_core::services::listening", "pingora_proxy"];

fn adjusted(record: &Record<'_>) -> Level {
    let target = record.target();
    if !target.starts_with("pingora") {
        return record.level();
    }
    let about_one_client = ABOUT_ONE_CLIENT.iter().any(|module| target.starts_with(module));
    match record.level() {
        Level::Error if about_one_client && !is_accept_failure(record) => Level::Debug,
        Level::Warn if about_one_client => Level::Debug,
        Level::Info => Level::Debug,
        level => level,
    }
}

/// `Accept() failed` comes from the same module as handshake errors, but is about this machine: too many open files.
fn is_accept_failure(record: &Record<'_>) -> bool {
    record.target() == "pingora_core::services::listening" && record.args().to_string().starts_with("Accept() failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(target: &str, level: Level, text: &str) -> Level {
        adjusted(&Record::builder().level(level).target(target).args(format_args!("{text}")).build())
    }

    #[test]
    fn hang_ups_are_details_and_broken_machinery_is_not() {
        assert_eq!(level("pingora_proxy", Level::Error, "Fail to proxy: ConnectionClosed"), Level::Debug);
        assert_eq!(level("pingora_core::apps::http_app", Level::Error, "fails to read"), Level::Debug);
        let listening = "pingora_core::services::listening";
        assert_eq!(level(listening, Level::Error, "Downstream handshake error: eof"), Level::Debug);
        assert_eq!(level(listening, Level::Error, "Accept() failed Too many open files"), Level::Error);
        assert_eq!(level("pingora_core::server", Level::Error, "Bootstrap failed"), Level::Error);
        assert_eq!(level("pingora_core::server", Level::Info, "Server starting"), Level::Debug);
        assert_eq!(level("notify", Level::Error, "x"), Level::Error);
    }
}
