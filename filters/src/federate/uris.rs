//! Whose a URI is, both ways, with everything that the backends of one virtual server list.
//!
//! The way in and the way out are made for each other: a URI goes out as it is only where it would come back to the same
//! backend, and with a prefix otherwise (unless no prefix is wanted at all, or clients may fetch it themselves).

use super::naming::Prefixing;
use super::policy::Policy;
use super::template::{Steps, Template};
use super::uri::{Form, Prefixes};
use foldhash::fast::RandomState;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// The URIs of one catalog.
#[derive(Debug, Default)]
pub struct Uris {
    prefixing: Prefixing,
    prefixes: Prefixes,
    listed: HashMap<Box<str>, Lister, RandomState>,
    /// In member order, then in the backend's own.
    templates: Vec<(usize, Template)>,
    /// Who has resources: there may be some that nobody lists.
    resourceful: Resourceful,
}

/// Who lists a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lister {
    first: usize,
    shared: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Resourceful {
    #[default]
    Nobody,
    Only(usize),
    Several,
}

impl Uris {
    /// No URIs yet.
    pub(super) fn of(policy: &Policy) -> Uris {
        Uris { prefixing: policy.prefixing, prefixes: Prefixes::of(policy), ..Uris::default() }
    }

    /// Notes a URI that a member lists and that is shown.
    pub(super) fn list(&mut self, member: usize, uri: &str) {
        match self.listed.get_mut(uri) {
            Some(lister) => lister.shared |= lister.first != member,
            None => {
                self.listed.insert(uri.into(), Lister { first: member, shared: false });
            }
        }
    }

    /// Notes a template that a member lists and that is shown.
    pub(super) fn template(&mut self, member: usize, template: &str) {
        self.templates.push((member, Template::new(template)));
    }

    /// Notes a member that has resources, or may have: nobody could ask it yet.
    pub(super) fn resourceful(&mut self, member: usize) {
        self.resourceful = match self.resourceful {
            Resourceful::Nobody => Resourceful::Only(member),
            Resourceful::Only(only) if only == member => Resourceful::Only(member),
            _ => Resourceful::Several,
        };
    }

    /// A member's URI as clients see it.
    pub fn outward<'a>(&self, member: usize, uri: &'a str) -> Cow<'a, str> {
        let stays = match self.prefixing {
            Prefixing::Never => true,
            Prefixing::Always => false,
            Prefixing::OnConflict => self.comes_back(member, uri),
        };
        if stays { Cow::Borrowed(uri) } else { self.prefixes.add(member, uri) }
    }

    /// A member's template as clients see it: whatever it expands to must come back to the same member.
    pub(super) fn outward_template<'a>(&self, member: usize, template: &'a str, contested: bool) -> Cow<'a, str> {
        let stays = match self.prefixing {
            Prefixing::Never => true,
            Prefixing::Always => false,
            Prefixing::OnConflict => !contested && !may_look_prefixed(Template::new(template).literal()),
        };
        if stays { Cow::Borrowed(template) } else { self.prefixes.add(member, template) }
    }

    /// Whose an exposed URI is, listed or not, and what its owner calls it.
    pub fn inward<'a>(&self, exposed: &'a str) -> Option<(usize, Cow<'a, str>)> {
        if self.prefixing != Prefixing::Never
            && let Some(found) = self.prefixes.split(exposed)
        {
            return Some(found);
        }
        if self.prefixing == Prefixing::Always && Form::of(exposed) != Form::Web {
            return None;
        }
        self.owner(exposed).map(|member| (member, Cow::Borrowed(exposed)))
    }

    /// Whose a URI is that has no prefix.
    fn owner(&self, uri: &str) -> Option<usize> {
        match self.listed.get(uri) {
            // With prefixes, each of several owners shows it under its own; the web's URIs have none.
            Some(lister) if lister.shared && self.prefixing == Prefixing::OnConflict && Form::of(uri) != Form::Web => {
                None
            }
            Some(lister) => Some(lister.first),
            None => self.covering(uri).or(match self.resourceful {
                Resourceful::Only(member) if self.prefixing != Prefixing::Always => Some(member),
                _ => None,
            }),
        }
    }

    /// The first member with a template that covers a URI. Each may cost only so much: what of its templates is not
    /// compared covers nothing, and takes nothing from the others.
    fn covering(&self, uri: &str) -> Option<usize> {
        let each_members = self.templates.chunk_by(|(one, _), (other, _)| one == other);
        let covers = |templates: &&[(usize, Template)]| {
            let mut steps = Steps::with(uri);
            for (_, template) in templates.iter() {
                if template.covers(uri, &mut steps) {
                    return true;
                }
                if steps.left() == 0 {
                    break;
                }
            }
            false
        };
        each_members.into_iter().find(covers).and_then(|templates| templates.first()).map(|(member, _)| *member)
    }

    fn comes_back(&self, member: usize, uri: &str) -> bool {
        self.prefixes.split(uri).is_none() && self.owner(uri) == Some(member)
    }

    /// For each template, in the order in which they were noted: whether another member's template may give the same URI.
    ///
    /// That is taken to be so where the text before one's first expression begins with the text before the other's.
    pub(super) fn contested(&self) -> Vec<bool> {
        let mut contested = vec![false; self.templates.len()];
        let mut order: Vec<usize> = (0..self.templates.len()).collect();
        order.sort_by_key(|&at| self.templates[at].1.literal());
        // The templates whose literal text the present one's begins with; in this order they lie before it.
        let mut around: Vec<usize> = Vec::new();
        for at in order {
            let (member, template) = &self.templates[at];
            while around.last().is_some_and(|&outer| !template.literal().starts_with(self.templates[outer].1.literal()))
            {
                around.pop();
            }
            for &outer in &around {
                if self.templates[outer].0 != *member {
                    contested[outer] = true;
                    contested[at] = true;
                }
            }
            // Equal ones of one member say the same of all that follows.
            let same = around.last().is_some_and(|&outer| {
                self.templates[outer].0 == *member && self.templates[outer].1.literal() == template.literal()
            });
            if !same {
                around.push(at);
            }
        }
        self.spread(&mut contested);
        contested
    }

    /// Carries what was found over to templates of the same member with the same literal text.
    fn spread(&self, contested: &mut [bool]) {
        let mut found: HashMap<(usize, &str), bool, RandomState> = HashMap::default();
        for ((member, template), contested) in self.templates.iter().zip(contested.iter()) {
            *found.entry((*member, template.literal())).or_default() |= *contested;
        }
        for ((member, template), contested) in self.templates.iter().zip(contested) {
            *contested = found.get(&(*member, template.literal())).copied().unwrap_or_default();
        }
    }

    /// Whether every URI goes out as it is.
    pub fn is_identity(&self) -> bool {
        self.prefixing == Prefixing::Never
    }
}

/// Whether a URI that begins so may go on like one that has a prefix.
fn may_look_prefixed(literal: &str) -> bool {
    let literal = literal.to_ascii_lowercase();
    let rest = literal.strip_prefix("ui://").unwrap_or(&literal);
    let before_plus = rest.split('+').next().unwrap_or_default();
    let scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    before_plus.bytes().all(scheme) || "ui://".starts_with(&literal)
}

/// How one member's URIs look to clients: what answers of that member are rewritten with.
#[derive(Clone, Debug)]
pub struct MemberUris {
    uris: Arc<Uris>,
    member: usize,
}

impl MemberUris {
    pub(super) fn new(uris: Arc<Uris>, member: usize) -> MemberUris {
        MemberUris { uris, member }
    }

    /// A URI of this member as clients see it.
    pub fn outward<'a>(&self, uri: &'a str) -> Cow<'a, str> {
        self.uris.outward(self.member, uri)
    }

    /// Whether every URI goes out as it is: then no answer needs to be looked at.
    pub fn is_identity(&self) -> bool {
        self.uris.is_identity()
    }

    /// Whose URIs these are.
    pub fn member(&self) -> usize {
        self.member
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federate::policy::Member;
    use proptest::prelude::*;

    fn uris(prefixing: Prefixing, listed: &[(usize, &str)], templates: &[(usize, &str)]) -> Uris {
        let members = ["a", "b", "c"].map(Member::new).into();
        let mut uris = Uris::of(&Policy { prefixing, members, ..Policy::default() });
        for (member, uri) in listed {
            uris.list(*member, uri);
            uris.resourceful(*member);
        }
        for (member, template) in templates {
            uris.template(*member, template);
            uris.resourceful(*member);
        }
        uris
    }

    #[test]
    fn without_prefixes_the_owner_is_found_by_list_then_template_then_elimination() {
        let several = uris(Prefixing::Never, &[(0, "m:1"), (1, "m:1"), (1, "m:2")], &[(2, "t:{x}"), (1, "t:{x}")]);
        assert_eq!(several.inward("m:1"), Some((0, "m:1".into())));
        assert_eq!(several.inward("m:2"), Some((1, "m:2".into())));
        assert_eq!(several.inward("t:9"), Some((2, "t:9".into())));
        assert_eq!(several.inward("else:1"), None);
        assert_eq!(several.inward("b+else:1"), None, "prefixes mean nothing here");
        let only = uris(Prefixing::Never, &[(1, "m:1")], &[]);
        assert_eq!(only.inward("else:1"), Some((1, "else:1".into())));
    }

    #[test]
    fn with_prefixes_only_the_web_is_looked_up() {
        let always = uris(Prefixing::Always, &[(0, "m:1"), (1, "https://x/1")], &[(2, "https://y/{x}")]);
        assert_eq!(always.inward("m:1"), None);
        assert_eq!(always.inward("a+m:1"), Some((0, "m:1".into())));
        assert_eq!(always.inward("a+never:listed"), Some((0, "never:listed".into())));
        assert_eq!(always.inward("https://x/1"), Some((1, "https://x/1".into())));
        assert_eq!(always.inward("https://y/1"), Some((2, "https://y/1".into())));
        assert_eq!(always.inward("https://z/1"), None);
    }

    #[test]
    fn on_conflict_only_what_would_go_astray_is_prefixed() {
        let some = uris(
            Prefixing::OnConflict,
            &[(0, "m:1"), (1, "m:1"), (1, "m:2"), (1, "b+x"), (0, "https://x"), (1, "https://x")],
            &[(0, "t:{x}"), (1, "t:long{x}"), (1, "u:{x}")],
        );
        for (member, own, exposed) in [
            (0, "m:1", "a+m:1"),
            (1, "m:1", "b+m:1"),
            (1, "m:2", "m:2"),
            (0, "m:2", "a+m:2"),
            (1, "b+x", "b+b+x"),
            (1, "u:9", "u:9"),
            (0, "u:9", "a+u:9"),
            (1, "t:long1", "b+t:long1"),
            (0, "t:long1", "t:long1"),
            (2, "else:1", "c+else:1"),
        ] {
            assert_eq!(some.outward(member, own), exposed);
            assert_eq!(some.inward(exposed), Some((member, own.into())));
        }
        assert_eq!(some.inward("https://x"), Some((0, "https://x".into())));
        assert_eq!(some.contested(), [true, true, false]);
    }

    #[test]
    fn a_member_with_costly_templates_takes_nothing_from_the_others() {
        let costly = format!("{}y", "{+a}".repeat(16));
        let mut templates = vec![(0, costly.as_str()); 20];
        templates.push((0, "t:{+x}"));
        templates.push((1, "t:{+x}"));
        let uri = format!("t:{}", "x".repeat(4_000));
        let found = uris(Prefixing::Never, &[], &templates);
        // All of the first member's would take 20 × 16 × 4,000 steps: its last one is not reached.
        assert_eq!(found.inward(&uri).map(|(member, _)| member), Some(1));
        assert_eq!(found.inward("t:").map(|(member, _)| member), Some(0), "what is cheap is compared");
    }

    #[test]
    fn templates_that_may_meet_are_all_found() {
        let templates =
            [(0, "a:{x}"), (0, "a:{y}"), (0, "a:b{x}"), (1, "a:bc{x}"), (1, "z:{x}"), (2, "a:bd{x}"), (0, "q{x}")];
        let found = uris(Prefixing::OnConflict, &[], &templates).contested();
        assert_eq!(found, [true, true, true, true, false, true, false]);
    }

    proptest! {
        #[test]
        fn whatever_goes_out_comes_back(
            listed in prop::collection::vec((0usize..3, "[abm+:]{0,4}"), 0..6),
            templates in prop::collection::vec((0usize..3, "[abm:]{0,2}\\{x\\}"), 0..4),
            member in 0usize..3,
            uri in "(ui://)?[abm+:]{0,5}",
        ) {
            let listed: Vec<_> = listed.iter().map(|(member, uri)| (*member, uri.as_str())).collect();
            let templates: Vec<_> = templates.iter().map(|(member, text)| (*member, text.as_str())).collect();
            for prefixing in [Prefixing::Always, Prefixing::OnConflict] {
                let uris = uris(prefixing, &listed, &templates);
                let exposed = uris.outward(member, &uri).into_owned();
                prop_assert_eq!(uris.inward(&exposed), Some((member, uri.as_str().into())));
            }
        }
    }
}
