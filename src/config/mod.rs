//! From YAML to a validated configuration, with positions.
//!
//! ```text
//! file, text ─► gate ──────► parser ──► references ─► decode ─► resolve ──► judge ─► Config
//!               (refuses,    (values)   (${env:…})    (types)   (defaults,  (whoever
//!                positions)                                      rules)      will use it)
//! ```
//!
//! The clients' own JSON files and the command line become the same document and go the same way. No step stops at the
//! first mistake: a [`Report`] holds all of them, each with its path, line and column.

mod decode;
mod diagnostic;
mod diff;
mod document;
pub mod file;
mod flags;
mod gate;
mod interpolate;
mod judge;
mod loader;
mod mask;
mod mcp_json;
pub mod model;
pub mod path;
mod report;
mod resolve;
pub mod schema;
pub mod sections;
mod show;
mod source;
mod sources;
mod suggest;
mod text;
mod tree;
pub mod values;

pub use diagnostic::Severity;
pub use diff::{Change, diff};
pub use judge::{Judge, Objection};
pub use loader::{CONFIG_BYTES_MAX, Loaded, load, load_file, load_judged, load_str, load_text, load_untrusted};
pub use model::Config;
pub use report::{Entry, Report, Style};
pub use show::Effective;
pub use source::{BackendFlag, ConfigSource, Overrides, Reached};
pub use sources::{NoSources, NotUtf8, Sources, SystemSources};
pub use text::LineColumn;

#[cfg(test)]
mod tests;
