//! What a child is given: its arguments, the variables that it is meant to have, a place to run.

use crate::upstream::settings::CommandSettings;
use std::env;
use std::process::Stdio;
use tokio::process::Command;

/// The command of these settings, with nothing of the gateway's that is not listed.
///
/// `None` where there is no program.
pub(super) fn command(settings: &CommandSettings) -> Option<Command> {
    let (program, arguments) = settings.run.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in &settings.inherit {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(settings.environment.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = &settings.directory {
        command.current_dir(directory);
    }
    Some(command)
}
