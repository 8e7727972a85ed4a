//! `lockgate version`.

use super::Exit;
use super::terminal::Terminal;

/// Print the version, the commit and the features of this build
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// The commit that this build was made from, where whoever built it said so.
pub const COMMIT: Option<&str> = option_env!("LOCKGATE_COMMIT");

/// The optional parts that a build may carry.
const FEATURES: [(&str, bool); 2] =
    [("mimalloc", cfg!(feature = "mimalloc")), ("jemalloc", cfg!(feature = "jemalloc"))];

/// Prints the version.
pub(super) fn execute(_: &Args, terminal: &mut Terminal<'_>) -> Exit {
    let features: Vec<&str> = FEATURES.iter().filter(|(_, present)| *present).map(|(name, _)| *name).collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    terminal.print(&format!(
        "lockgate {}\ncommit: {}\nfeatures: {features}\ntarget: {}-{}\n",
        env!("CARGO_PKG_VERSION"),
        COMMIT.unwrap_or("unknown"),
        std::env::consts::ARCH,
        std::env::consts::OS,
    ));
    Exit::Ok
}
