//! `--backend NAME=URL` and `--command NAME=COMMAND`.

use crate::config::{BackendFlag, Reached};

/// Takes the value of `--backend` apart. What the parts mean is looked at with the rest of the configuration.
pub(super) fn backend(value: &str) -> Result<BackendFlag, String> {
    match value.split_once('=') {
        Some((name, url)) if !name.is_empty() && !name.contains("://") && !url.is_empty() => {
            Ok(BackendFlag { name: name.to_owned(), reached: Reached::Url(url.to_owned()) })
        }
        _ => Err("write NAME=URL, such as `github=https://mcp.example.com/mcp`".to_owned()),
    }
}

/// Takes the value of `--command` apart.
pub(super) fn command(value: &str) -> Result<BackendFlag, String> {
    match value.split_once('=') {
        Some((name, line)) if !name.is_empty() && !name.contains(char::is_whitespace) && !line.trim().is_empty() => {
            Ok(BackendFlag { name: name.to_owned(), reached: Reached::Command(line.to_owned()) })
        }
        _ => Err("write NAME=COMMAND, such as `'files=npx -y some-mcp-server /data'`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_has_a_name_and_a_url() {
        let parts = |value: &str| backend(value).map(|flag| (flag.name, flag.reached)).ok();
        let url = Reached::Url("http://b/mcp?c=d".to_owned());
        assert_eq!(parts("a=http://b/mcp?c=d"), Some(("a".to_owned(), url)));
        for wrong in ["", "a", "=", "a=", "=http://b", "http://b/mcp?c=d"] {
            assert_eq!(parts(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_command_has_a_name_and_a_line() {
        let parts = |value: &str| command(value).map(|flag| (flag.name, flag.reached)).ok();
        let line = Reached::Command("npx -y x --key=v".to_owned());
        assert_eq!(parts("a=npx -y x --key=v"), Some(("a".to_owned(), line)));
        for wrong in ["", "a", "=", "a=", "a= ", "=npx", "npx -y x --key=v"] {
            assert_eq!(parts(wrong), None, "{wrong:?}");
        }
    }
}
