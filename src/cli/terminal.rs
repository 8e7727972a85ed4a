//! Where a verb writes: to people, coloured, or to programs and files, plain.

use crate::config::Style;
use std::io::{self, IsTerminal as _, Write};

/// The two outputs of a process. Failures to write are passed over: whoever closed a pipe has read enough.
pub struct Terminal<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    out_style: Style,
    err_style: Style,
}

impl<'a> Terminal<'a> {
    /// Plain outputs, to be read by a test or a program.
    pub fn plain(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Terminal<'a> {
        Terminal { out, err, out_style: Style::Plain, err_style: Style::Plain }
    }

    /// Calls with the outputs of this process, coloured where they are terminals and nobody objects.
    pub fn of_process<T>(then: impl FnOnce(&mut Terminal<'_>) -> T) -> T {
        let (mut out, mut err) = (io::stdout(), io::stderr());
        let objection =
            objects_to_colour(std::env::var("NO_COLOR").ok().as_deref(), std::env::var("TERM").ok().as_deref());
        let style = |terminal: bool| if terminal && !objection { Style::Coloured } else { Style::Plain };
        let (out_style, err_style) = (style(out.is_terminal()), style(err.is_terminal()));
        then(&mut Terminal { out: &mut out, err: &mut err, out_style, err_style })
    }

    /// How results may look.
    pub const fn out_style(&self) -> Style {
        self.out_style
    }

    /// How complaints may look.
    pub const fn err_style(&self) -> Style {
        self.err_style
    }

    /// Writes a result, ending its last line.
    pub fn print(&mut self, text: &str) {
        write_whole(self.out, text);
    }

    /// Writes a complaint or a remark, ending its last line.
    pub fn error(&mut self, text: &str) {
        write_whole(self.err, text);
    }
}

/// Whether the environment asks for no colours (no-color.org).
fn objects_to_colour(no_color: Option<&str>, term: Option<&str>) -> bool {
    no_color.is_some_and(|value| !value.is_empty()) || term == Some("dumb")
}

fn write_whole(output: &mut dyn Write, text: &str) {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let _ =
        output.write_all(text.as_bytes()).and_then(|()| output.write_all(end.as_bytes())).and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_can_be_declined() {
        assert!(!objects_to_colour(None, Some("xterm")));
        assert!(!objects_to_colour(Some(""), None));
        assert!(objects_to_colour(Some("1"), Some("xterm")));
        assert!(objects_to_colour(None, Some("dumb")));
    }
}
