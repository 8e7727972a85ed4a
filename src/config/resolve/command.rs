//! Commands that the gateway starts.

use super::Resolver;
use crate::config::diagnostic::Finding;
use crate::config::path::KeyPath;
use crate::config::sections::{Backend, BackendProtocol, Command};
use std::path::{Path, PathBuf};

/// The most words of a command line.
const WORDS_MAX: usize = 1_024;

/// The longest of them, in bytes: what Linux takes in one string, its end mark left out (`MAX_ARG_STRLEN`).
const WORD_BYTES_MAX: usize = 128 * 1024 - 1;

/// The most variables that are set for a command.
const VARIABLES_MAX: usize = 1_000;

impl Resolver<'_> {
    /// Checks a backend's command and makes its paths absolute.
    pub(super) fn command(&mut self, path: &KeyPath, command: &mut Command) {
        self.run(path, &mut command.run);
        self.check_count(&path.key("environment"), command.environment.len(), VARIABLES_MAX);
        self.check_count(&path.key("inherit"), command.inherit.len(), VARIABLES_MAX);
        let directory = path.key("directory");
        command.directory = command.directory.take().map(|folder| self.absolute(&directory, folder));
        self.check_command_limits(path, command);
    }

    fn run(&mut self, path: &KeyPath, run: &mut [String]) {
        let path = path.key("run");
        let Some(program) = run.first() else {
            let help = "name the program and its arguments, such as `run: [npx, -y, some-mcp-server]`";
            self.missing(&path.parent().unwrap_or_default(), "run", help);
            return;
        };
        let first = self.element(&path, 0);
        if program.is_empty() {
            self.note(Finding::error(first.clone(), "the first word of a command is its program"));
        } else if program.contains(char::is_whitespace) && run.len() == 1 && !program.contains('/') {
            self.note(
                Finding::error(first.clone(), "no shell takes a command apart")
                    .help("write its words one by one, such as `run: [npx, -y, some-mcp-server]`"),
            );
        }
        self.check_count(&path, run.len(), WORDS_MAX);
        for (index, word) in run.iter().enumerate() {
            if word.len() > WORD_BYTES_MAX || word.contains('\0') {
                let message = "a word of a command has less than 128 KiB and no zero bytes";
                self.note(Finding::error(self.element(&path, index), message));
            }
        }
        // Where a relative program lies would otherwise hang on the folder that the gateway was started in.
        if let Some(program) = run.first_mut().filter(|program| program.contains('/') && !is_absolute(program)) {
            match self.absolute(&first, PathBuf::from(&*program)).into_os_string().into_string() {
                Ok(absolute) => *program = absolute,
                Err(_) => self.note(Finding::error(first, "the folder of the configuration file is not UTF-8")),
            }
        }
    }

    /// Checks that a backend is reached in one way, and that nothing is set that this way has no use for.
    pub(super) fn check_transport(&mut self, path: &KeyPath, backend: &Backend) {
        let Some(_) = &backend.command else {
            let reached = backend.endpoints.iter().all(|endpoint| endpoint.url.is_http());
            if backend.protocol == BackendProtocol::Sse && !reached {
                let message = "HTTP+SSE is spoken over http://, https:// and unix://";
                self.note(Finding::error(path.key("protocol"), message));
            }
            return;
        };
        let command = path.key("command");
        if !backend.endpoints.is_empty() {
            let message = "a backend is reached at `endpoints` or started by `command`, not both";
            self.note(Finding::error(command, message).at_key());
            return;
        }
        if backend.protocol == BackendProtocol::Sse {
            let message = "a command speaks on its standard input and output, not HTTP+SSE";
            self.note(Finding::error(path.key("protocol"), message).help("leave this out"));
        }
        let idle = [
            ("tls", backend.tls.is_some()),
            ("headers", !backend.headers.is_empty()),
            ("forward_headers", !backend.forward_headers.is_empty()),
        ];
        for (key, set) in idle {
            if set {
                let message = format!("`{key}` is of no use to a command: it is not reached over HTTP");
                self.note(Finding::error(path.key(key), message).at_key());
            }
        }
    }
}

fn is_absolute(program: &str) -> bool {
    Path::new(program).is_absolute()
}
