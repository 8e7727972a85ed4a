//! Whom a rule or an assignment is for.

use super::spec::Effect;
use crate::principal::Principal;

/// Of whom something holds: within each list one is enough, and each list that is not empty must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Subjects, exactly. Two issuers may call two callers the same: name the issuer, too.
    pub subjects: Vec<Box<str>>,
    /// Teams: the caller must be in one of them.
    pub groups: Vec<Box<str>>,
    /// Tenants.
    pub tenants: Vec<Box<str>>,
    /// Issuers: by their names in the configuration, or as `iss`, or one of
    /// [`API_KEYS`](crate::principal::API_KEYS), [`CERTIFICATES`](crate::principal::CERTIFICATES) and
    /// [`ANONYMOUS`](crate::principal::ANONYMOUS).
    pub issuers: Vec<Box<str>>,
    /// Virtual servers, by name.
    pub servers: Vec<Box<str>>,
}

impl Who {
    /// Whether it says nothing of who calls (it may say where).
    pub fn is_everybody(&self) -> bool {
        self.subjects.is_empty() && self.groups.is_empty() && self.tenants.is_empty() && self.issuers.is_empty()
    }

    /// Whether what has this effect is for this caller at this virtual server.
    ///
    /// Everybody is everybody who is authenticated where something is allowed, and really everybody where it is denied:
    /// nobody gains anything by not saying who they are.
    pub fn applies(&self, principal: &Principal, server: &str, effect: Effect) -> bool {
        let facts = principal.facts();
        if self.is_everybody() && principal.is_anonymous() && effect == Effect::Allow {
            return false;
        }
        let named = facts.proof.issuer();
        one_of(&self.servers, |name| name == server)
            && one_of(&self.issuers, |name| *name == *facts.issuer || named.is_some_and(|named| **named == *name))
            && one_of(&self.tenants, |name| facts.tenant.as_deref() == Some(name))
            && one_of(&self.subjects, |name| !principal.is_anonymous() && *name == *facts.subject)
            && one_of(&self.groups, |name| facts.groups.iter().any(|group| **group == *name))
    }

    /// Whether all of whom the other holds, this holds too, as far as the lists tell.
    pub fn covers(&self, other: &Who) -> bool {
        let within = |ours: &[Box<str>], theirs: &[Box<str>]| {
            ours.is_empty() || !theirs.is_empty() && theirs.iter().all(|name| ours.contains(name))
        };
        within(&self.subjects, &other.subjects)
            && within(&self.groups, &other.groups)
            && within(&self.tenants, &other.tenants)
            && within(&self.issuers, &other.issuers)
            && within(&self.servers, &other.servers)
    }
}

fn one_of(names: &[Box<str>], holds: impl Fn(&str) -> bool) -> bool {
    names.is_empty() || names.iter().any(|name| holds(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::testing::caller;
    use crate::principal::ANONYMOUS;

    fn names(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn every_list_must_hold_and_one_of_each_is_enough() {
        let alice = caller("alice").groups(&["data", "ops"]).tenant("acme").principal();
        let applies = |who: Who| who.applies(&alice, "main", Effect::Allow);
        assert!(applies(Who::default()));
        assert!(applies(Who { groups: names(&["x", "ops"]), tenants: names(&["acme"]), ..Who::default() }));
        assert!(!applies(Who { groups: names(&["x", "ops"]), tenants: names(&["other"]), ..Who::default() }));
        assert!(applies(Who { issuers: names(&["corp"]), subjects: names(&["alice"]), ..Who::default() }));
        assert!(applies(Who { issuers: names(&["https://login.example"]), ..Who::default() }));
        assert!(!applies(Who { issuers: names(&["other"]), subjects: names(&["alice"]), ..Who::default() }));
        assert!(!applies(Who { servers: names(&["other"]), ..Who::default() }));
    }

    #[test]
    fn nobody_gains_by_being_nobody() {
        let nobody = Principal::anonymous();
        let everybody = Who { servers: names(&["main"]), ..Who::default() };
        assert!(!everybody.applies(nobody, "main", Effect::Allow));
        assert!(everybody.applies(nobody, "main", Effect::Deny));
        let named = Who { issuers: names(&[ANONYMOUS]), ..Who::default() };
        assert!(named.applies(nobody, "main", Effect::Allow));
        assert!(!Who { subjects: names(&[""]), ..Who::default() }.applies(nobody, "main", Effect::Allow));
    }

    #[test]
    fn fewer_lists_cover_more() {
        let narrow = Who { groups: names(&["a"]), tenants: names(&["t"]), ..Who::default() };
        let wide = Who { groups: names(&["a", "b"]), ..Who::default() };
        assert!(wide.covers(&narrow) && !narrow.covers(&wide) && Who::default().covers(&narrow));
        assert!(!narrow.covers(&Who::default()));
    }
}
