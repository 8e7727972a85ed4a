//! No text makes loading a configuration panic, and none is accepted with a key that stands twice.

use lockgate::config::{Style, load_untrusted};

/// Checks a configuration, and what becomes of one that is accepted when any of its keys is doubled.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match load_untrusted(&text) {
        Ok(loaded) => {
            let _ = (loaded.effective.to_yaml(), loaded.warnings.render(Style::Coloured), loaded.warnings.summary());
            doubled(&text);
        }
        Err(report) => {
            assert!(report.error_count() > 0, "refused, and nothing is wrong with it");
            let _ = (report.render(Style::Plain), report.render(Style::Coloured), report.summary(), report.entries());
        }
    }
}

/// Writes each entry that has lines of its own a second time, right behind itself.
fn doubled(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    if lines.iter().any(|line| !is_plain(line)) {
        return;
    }
    for (at, line) in lines.iter().enumerate() {
        let indent = indent(line);
        if !begins_an_entry(&line[indent..]) {
            continue;
        }
        let belongs = |line: &&&str| line.trim().is_empty() || self::indent(line) > indent;
        let end = at + 1 + lines[at + 1..].iter().take_while(belongs).count();
        let twice = [&lines[..end], &lines[at..]].concat().join("\n");
        let Err(report) = load_untrusted(&twice) else { panic!("accepted with line {} doubled:\n{twice}", at + 1) };
        assert!(report.error_count() > 0);
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Whether a line cannot be part of a text of several lines, where what looks like a key is none.
fn is_plain(line: &str) -> bool {
    let code = line.find('#').map_or(line, |comment| &line[..comment]);
    let even = |quote| code.matches(quote).count() % 2 == 0;
    even('"') && even('\'') && !code.contains(['|', '>', '\\', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
}

/// Whether a line, less its indent, begins with a key of the plainest form.
fn begins_an_entry(line: &str) -> bool {
    let name = line.bytes().take_while(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')).count();
    name > 0 && (&line[name..] == ":" || line[name..].starts_with(": "))
}
