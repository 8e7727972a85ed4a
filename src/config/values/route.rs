//! The URL path at which a virtual server is found.

use super::{Invalid, Name, read_from_text, write_as_text};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The most bytes of a path.
const ROUTE_LENGTH_MAX: usize = 512;

/// An absolute URL path in its one normal form: no query, no escapes, no empty or dotted segments, no slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutePath(Arc<str>);

impl RoutePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path with this segment behind it.
    #[must_use]
    pub fn below(&self, segment: &str) -> RoutePath {
        RoutePath(format!("{}/{segment}", self.0.trim_end_matches('/')).into())
    }

    /// The path of a virtual server by its name: `/servers/NAME/what`.
    pub fn of_server(name: &Name, what: &str) -> RoutePath {
        RoutePath(format!("/servers/{name}/{what}").into())
    }
}

impl FromStr for RoutePath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<RoutePath, Invalid> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(Invalid::new("a path starts with `/`, such as `/mcp`"));
        };
        if text.len() > ROUTE_LENGTH_MAX {
            return Err(Invalid::new(format!("a path has at most {ROUTE_LENGTH_MAX} characters")));
        }
        if !rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte)) {
            return Err(Invalid::new("a path consists of letters, digits, `/` and -._~!$&'()*+,;=:@ only"));
        }
        if !rest.is_empty() && rest.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(Invalid::new("a path has no empty, `.` or `..` segments and no `/` at the end"));
        }
        if rest == ".well-known" || rest.starts_with(".well-known/") {
            return Err(Invalid::new("paths below `/.well-known` are the gateway's own"));
        }
        Ok(RoutePath(text.into()))
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

write_as_text!(RoutePath);
read_from_text!(RoutePath, expecting: "a path such as `/mcp`", schema: {
    "description": "An absolute URL path without query, escapes, empty segments or a slash at the end.",
    "type": "string",
    "pattern": "^/[A-Za-z0-9/._~!$&'()*+,;=:@-]*$",
    "maxLength": 512
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_on() {
        let below = |path: &str| path.parse::<RoutePath>().unwrap().below("x").to_string();
        assert_eq!((below("/"), below("/mcp")), ("/x".to_owned(), "/mcp/x".to_owned()));
        assert_eq!(RoutePath::of_server(&"a".parse().unwrap(), "mcp").as_str(), "/servers/a/mcp");
    }

    #[test]
    fn paths_have_one_normal_form() {
        for right in ["/", "/mcp", "/mcp/demo", "/servers/a/mcp", "/a.b/~c:@"] {
            assert!(right.parse::<RoutePath>().is_ok(), "{right:?} is a path");
        }
        for wrong in [
            "",
            "mcp",
            "/mcp/",
            "//",
            "/a//b",
            "/./a",
            "/a/..",
            "/a b",
            "/a%41",
            "/a?b",
            "/a#b",
            "/ä",
            "/.well-known/x",
        ] {
            assert!(wrong.parse::<RoutePath>().is_err(), "{wrong:?} is no path");
        }
    }
}
