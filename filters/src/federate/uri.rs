//! Exposed URIs: reversible without any memory, whatever a backend's URIs look like.
//!
//! `ui://rest` becomes `ui://<prefix>+rest`, because hosts know MCP Apps by their scheme; `http://` and `https://` stay,
//! because clients may fetch these themselves; everything else, `X`, becomes `<prefix>+X`. Only a literal prefix is added,
//! so opaque URIs work, and templates work: what a template expands to is mapped like the template.

use super::policy::Policy;
use foldhash::fast::RandomState;
use std::borrow::Cow;
use std::collections::HashMap;

/// The separator between a prefix and a backend's own URI.
const PLUS: char = '+';

/// The prefixes of one virtual server's members.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    by_member: Box<[Box<str>]>,
    members: HashMap<Box<str>, usize, RandomState>,
}

/// What a URI's scheme means for its mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `http` or `https`: it stays as it is.
    Web,
    /// `ui`: the scheme stays, the prefix follows it.
    App,
    /// Anything else, with a scheme or without.
    Other,
}

impl Form {
    /// The form of a URI or of a URI template.
    pub fn of(uri: &str) -> Form {
        let begins = |scheme: &str| uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if begins("http://") || begins("https://") {
            Form::Web
        } else if begins(APP) {
            Form::App
        } else {
            Form::Other
        }
    }
}

const APP: &str = "ui://";

impl Prefixes {
    /// The prefixes of a policy's members.
    pub fn of(policy: &Policy) -> Prefixes {
        let by_member: Box<[Box<str>]> = policy.members.iter().map(|member| uri_prefix(&member.prefix)).collect();
        let members = by_member.iter().enumerate().map(|(member, prefix)| (prefix.clone(), member)).collect();
        Prefixes { by_member, members }
    }

    /// A member's URI, or URI template, as clients see it.
    pub fn add<'a>(&self, member: usize, uri: &'a str) -> Cow<'a, str> {
        let Some(prefix) = self.by_member.get(member) else { return Cow::Borrowed(uri) };
        match Form::of(uri) {
            Form::Web => Cow::Borrowed(uri),
            Form::App => {
                let (scheme, rest) = uri.split_at(APP.len());
                Cow::Owned(format!("{scheme}{prefix}{PLUS}{rest}"))
            }
            Form::Other => Cow::Owned(format!("{prefix}{PLUS}{uri}")),
        }
    }

    /// Whose an exposed URI is, and what its owner calls it; `None` where it has no known prefix.
    pub fn split<'a>(&self, exposed: &'a str) -> Option<(usize, Cow<'a, str>)> {
        match Form::of(exposed) {
            Form::Web => None,
            Form::App => {
                let (scheme, rest) = exposed.split_at(APP.len());
                let (member, rest) = self.known(rest)?;
                Some((member, Cow::Owned(format!("{scheme}{rest}"))))
            }
            Form::Other => self.known(exposed).map(|(member, rest)| (member, Cow::Borrowed(rest))),
        }
    }

    fn known<'a>(&self, text: &'a str) -> Option<(usize, &'a str)> {
        let (prefix, rest) = text.split_once(PLUS)?;
        self.members.get(prefix).map(|member| (*member, rest))
    }
}

/// A scheme begins with a letter (RFC 3986 section 3.1); no prefix holds a dot, so none is taken twice.
fn uri_prefix(prefix: &str) -> Box<str> {
    match prefix.starts_with(|first: char| first.is_ascii_alphabetic()) {
        true => prefix.into(),
        false => format!("r.{prefix}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federate::policy::Member;
    use proptest::prelude::*;

    fn prefixes() -> Prefixes {
        let members = ["gh", "fs", "1st", "ui", "http", "https"].map(Member::new);
        Prefixes::of(&Policy { members: members.into(), ..Policy::default() })
    }

    #[test]
    fn each_form_is_mapped_as_it_needs() {
        let prefixes = prefixes();
        for (member, own, exposed) in [
            (0, "file:///a", "gh+file:///a"),
            (0, "memo:insights", "gh+memo:insights"),
            (0, "git+ssh://x", "gh+git+ssh://x"),
            (0, "ui://app/x", "ui://gh+app/x"),
            (0, "UI://app", "UI://gh+app"),
            (0, "ui://", "ui://gh+"),
            (0, "", "gh+"),
            (0, "+", "gh++"),
            (0, "file:///{+path}", "gh+file:///{+path}"),
            (1, "{scheme}://x", "fs+{scheme}://x"),
            (2, "a:b", "r.1st+a:b"),
            (3, "ui://x", "ui://ui+x"),
            (4, "a:b", "http+a:b"),
            (5, "//x", "https+//x"),
            (0, "ui:/x", "gh+ui:/x"),
        ] {
            assert_eq!(prefixes.add(member, own), exposed);
            assert_eq!(prefixes.split(exposed).unwrap(), (member, own.into()));
        }
        for web in ["https://x/y", "HTTP://x", "http://"] {
            assert_eq!(prefixes.add(0, web), web);
            assert_eq!(prefixes.split(web), None);
        }
        for unknown in ["file:///a", "zz+file:///a", "GH+file:///a", "ui://zz+x", "ui://x", "+x", "", "1st+x"] {
            assert_eq!(prefixes.split(unknown), None, "{unknown}");
        }
    }

    /// Texts of every kind that a backend might call a URI.
    fn any_uri() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "(gh|fs|ui|http|[a-z]{1,4})(://|:|\\+|:///|)[a-z+/%{}.é0-9]{0,12}",
            "ui://[a-z+/]{0,8}",
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_mapped_outward_comes_back(uri in any_uri(), member in 0usize..6) {
            let prefixes = prefixes();
            let exposed = prefixes.add(member, &uri);
            match Form::of(&uri) {
                Form::Web => prop_assert_eq!(&exposed, &uri),
                _ => prop_assert_eq!(prefixes.split(&exposed), Some((member, uri.as_str().into()))),
            }
        }

        #[test]
        fn an_expanded_template_comes_back(
            before in "(ui://|file:///|memo:|)[a-z/]{0,6}",
            value in "[a-zA-Z0-9%+:/~._-]{0,10}",
            after in "[a-z/]{0,6}",
            member in 0usize..4,
        ) {
            let prefixes = prefixes();
            let expanded = format!("{before}{value}{after}");
            let template = prefixes.add(member, &format!("{before}{{v}}{after}")).replace("{v}", &value);
            // A value may not make another scheme out of a template that has none.
            prop_assume!(!before.is_empty());
            prop_assert_eq!(prefixes.split(&template), Some((member, expanded.into())));
        }
    }
}
