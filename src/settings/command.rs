//! A backend that is a command, in the words of the upstream room.

use crate::config::sections::Command;
use crate::upstream::CommandSettings;

/// How a command is started, kept and bounded.
pub(super) fn command(section: &Command) -> CommandSettings {
    let environment = section.environment.iter();
    CommandSettings {
        environment: environment.map(|(name, value)| (name.as_str().into(), value.expose().into())).collect(),
        inherit: section.inherit.iter().map(|name| name.as_str().into()).collect(),
        directory: section.directory.clone(),
        shared: section.shared,
        instances: section.instances as usize,
        idle_stop: section.idle_stop.get(),
        restart: (section.restart.first.get(), section.restart.most.get()),
        memory: Some(section.memory.get()),
        open_files: Some(section.open_files.into()),
        cpu_time: section.cpu_time.map(|time| time.get()),
        stop_time: section.stop_time.get(),
        ..CommandSettings::new(&section.run)
    }
}
