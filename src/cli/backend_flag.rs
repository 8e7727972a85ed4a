//! `--backend NAME=URL`.

use crate::config::BackendFlag;

/// Takes the flag's value apart. What the parts mean is looked at with the rest of the configuration.
pub(super) fn parse(value: &str) -> Result<BackendFlag, String> {
    match value.split_once('=') {
        Some((name, url)) if !name.is_empty() && !name.contains("://") && !url.is_empty() => {
            Ok(BackendFlag { name: name.to_owned(), url: url.to_owned() })
        }
        _ => Err("write NAME=URL, such as `github=https://mcp.example.com/mcp`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_has_a_name_and_a_url() {
        let parts = |value: &str| parse(value).map(|flag| (flag.name, flag.url)).ok();
        assert_eq!(parts("a=http://b/mcp?c=d"), Some(("a".to_owned(), "http://b/mcp?c=d".to_owned())));
        for wrong in ["", "a", "=", "a=", "=http://b", "http://b/mcp?c=d"] {
            assert_eq!(parts(wrong), None, "{wrong:?}");
        }
    }
}
