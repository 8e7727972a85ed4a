//! `lockgate completions`.

use super::Exit;
use super::terminal::Terminal;
use clap_complete::Shell;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub(super) fn execute(arguments: &Args, mut command: clap::Command, terminal: &mut Terminal<'_>) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "lockgate", &mut script);
    terminal.print(&String::from_utf8_lossy(&script));
    Exit::Ok
}
