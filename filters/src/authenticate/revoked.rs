//! Proofs and callers that no longer count, whatever their tokens and keys say.
//!
//! The list is looked into on every request, also where the token is known, so a lookup is one hash of a short text. A list
//! that could not be read again for too long says so on every lookup, and the caller is refused: what is not known to be
//! good is not.

use crate::exchange::UnixMillis;
use crate::principal::{Facts, Principal, Proof};
use foldhash::fast::RandomState;
use smallvec::SmallVec;
use std::collections::HashSet;
use std::fmt;

/// The most entries of a list.
pub const REVOCATIONS_MAX: usize = 100_000;
/// The longest text of an entry, in bytes.
pub const REVOKED_BYTES_MAX: usize = 2048;

/// What is revoked. Where an issuer is named, by its `iss` or by its name in the configuration, nothing of another one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// One token.
    Token {
        /// Its `jti`.
        id: Box<str>,
        /// Who has issued it.
        issuer: Option<Box<str>>,
    },
    /// Everything of a caller, whatever it shows.
    Subject {
        /// Who it is.
        subject: Box<str>,
        /// Who says so.
        issuer: Option<Box<str>>,
    },
    /// An API key.
    ApiKey {
        /// Its id.
        id: Box<str>,
    },
}

/// Why a list is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationsFault {
    /// More than [`REVOCATIONS_MAX`].
    #[error("the list has more than 100,000 entries")]
    TooMany,
    /// An entry's text is empty, or longer than [`REVOKED_BYTES_MAX`].
    #[error("entry {0}: a jti, subject, issuer or key has 1 to 2048 bytes")]
    Length(usize),
}

/// What the list says of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nothing against it.
    Clear,
    /// The token or the key that it shows was revoked.
    Credential,
    /// It was revoked itself.
    Subject,
    /// The list is too old to say anything: refuse.
    Stale,
}

impl Standing {
    /// The metric label: lower case, stable.
    pub const fn label(self) -> &'static str {
        match self {
            Standing::Clear => "clear",
            Standing::Credential => "credential",
            Standing::Subject => "subject",
            Standing::Stale => "stale",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Token,
    Subject,
    ApiKey,
}

/// The entry as one text: kind, whose (its length first), what.
type Text = SmallVec<[u8; 256]>;

fn text(kind: Kind, issuer: Option<&str>, value: &str) -> Text {
    let mut text = Text::new();
    text.push(kind as u8);
    match issuer {
        None => text.push(0),
        Some(issuer) => {
            text.push(1);
            text.extend_from_slice(&(issuer.len() as u64).to_le_bytes());
            text.extend_from_slice(issuer.as_bytes());
        }
    }
    text.extend_from_slice(value.as_bytes());
    text
}

/// A list of what is revoked.
#[derive(Clone, Default)]
pub struct Revocations {
    entries: HashSet<Box<[u8]>, RandomState>,
    /// Which kinds of entries there are, by their bits: most lists lack some.
    kinds: u8,
    stale_after: Option<UnixMillis>,
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Revocations {
    /// This list, which says nothing from `stale_after` on.
    ///
    /// # Errors
    /// [`RevocationsFault`].
    pub fn new(entries: &[Revoked], stale_after: Option<UnixMillis>) -> Result<Revocations, RevocationsFault> {
        let mut list = Revocations { stale_after, ..Revocations::default() };
        for (at, entry) in entries.iter().enumerate() {
            list.add(entry, at)?;
        }
        Ok(list)
    }

    /// The same list with one entry more, such as an operator adds at run time.
    ///
    /// # Errors
    /// [`RevocationsFault`].
    pub fn with(&self, entry: &Revoked) -> Result<Revocations, RevocationsFault> {
        let mut list = self.clone();
        list.add(entry, self.entries.len())?;
        Ok(list)
    }

    /// The same list, read again: it says nothing from this later moment on.
    #[must_use]
    pub fn fresh(&self, stale_after: Option<UnixMillis>) -> Revocations {
        Revocations { stale_after, ..self.clone() }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the list is too old to say anything.
    pub fn is_stale(&self, now: UnixMillis) -> bool {
        self.stale_after.is_some_and(|stale| now >= stale)
    }

    /// What the list says of this caller.
    pub fn standing(&self, principal: &Principal, now: UnixMillis) -> Standing {
        if self.is_stale(now) {
            return Standing::Stale;
        }
        let facts = principal.facts();
        let kind = match facts.proof {
            Proof::Token { .. } | Proof::Introspection { .. } => Some(Kind::Token),
            Proof::ApiKey => Some(Kind::ApiKey),
            Proof::Certificate | Proof::Nothing => None,
        };
        if let (Some(kind), Some(credential)) = (kind, &facts.credential)
            && self.holds(kind, facts, credential)
        {
            return Standing::Credential;
        }
        match facts.proof {
            Proof::Nothing => Standing::Clear,
            _ if self.holds(Kind::Subject, facts, &facts.subject) => Standing::Subject,
            _ => Standing::Clear,
        }
    }

    fn holds(&self, kind: Kind, facts: &Facts, value: &str) -> bool {
        if self.kinds & 1 << kind as u8 == 0 {
            return false;
        }
        let named = facts.proof.issuer().map(|name| Some(&**name));
        let whose = [None, Some(&*facts.issuer)].into_iter().chain(named);
        whose.into_iter().any(|issuer| self.entries.contains(&text(kind, issuer, value)[..]))
    }

    fn add(&mut self, entry: &Revoked, at: usize) -> Result<(), RevocationsFault> {
        if self.entries.len() >= REVOCATIONS_MAX {
            return Err(RevocationsFault::TooMany);
        }
        let (kind, issuer, value) = match entry {
            Revoked::Token { id, issuer } => (Kind::Token, issuer.as_deref(), id),
            Revoked::Subject { subject, issuer } => (Kind::Subject, issuer.as_deref(), subject),
            Revoked::ApiKey { id } => (Kind::ApiKey, None, id),
        };
        let fits = |text: &str| (1..=REVOKED_BYTES_MAX).contains(&text.len());
        if !fits(value) || !issuer.is_none_or(fits) {
            return Err(RevocationsFault::Length(at));
        }
        self.kinds |= 1 << kind as u8;
        self.entries.insert(text(kind, issuer, value).as_slice().into());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::principal::{API_KEYS, CERTIFICATES};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn principal(issuer: &str, subject: &str, proof: Proof, credential: Option<&str>) -> Principal {
        Principal::new(Facts {
            issuer: issuer.into(),
            subject: subject.into(),
            tenant: None,
            groups: Box::default(),
            scopes: None,
            proof,
            claims: Arc::default(),
            expires: None,
            credential: credential.map(Into::into),
        })
    }

    fn bearer(issuer: &str, subject: &str, id: Option<&str>) -> Principal {
        principal(issuer, subject, Proof::Token { issuer: "corp".into() }, id)
    }

    fn standing(entries: &[Revoked], principal: &Principal) -> Standing {
        Revocations::new(entries, None).unwrap().standing(principal, UnixMillis(0))
    }

    fn token(id: &str, issuer: Option<&str>) -> Revoked {
        Revoked::Token { id: id.into(), issuer: issuer.map(Into::into) }
    }

    fn subject(subject: &str, issuer: Option<&str>) -> Revoked {
        Revoked::Subject { subject: subject.into(), issuer: issuer.map(Into::into) }
    }

    #[test]
    fn a_token_is_revoked_by_its_jti() {
        let shown = bearer("https://i", "alice", Some("j"));
        for (entry, revoked) in [
            (token("j", None), true),
            (token("j", Some("https://i")), true),
            (token("j", Some("corp")), true),
            (token("j", Some("https://other")), false),
            (token("k", None), false),
            (Revoked::ApiKey { id: "j".into() }, false),
            (subject("j", None), false),
        ] {
            let expected = if revoked { Standing::Credential } else { Standing::Clear };
            assert_eq!(standing(std::slice::from_ref(&entry), &shown), expected, "{entry:?}");
        }
        assert_eq!(standing(&[token("j", None)], &bearer("https://i", "alice", None)), Standing::Clear);
    }

    #[test]
    fn a_subject_is_revoked_whatever_it_shows() {
        for shown in [
            bearer("https://i", "alice", Some("j")),
            principal(API_KEYS, "alice", Proof::ApiKey, Some("ci")),
            principal(CERTIFICATES, "alice", Proof::Certificate, Some("0a")),
        ] {
            assert_eq!(standing(&[subject("alice", None)], &shown), Standing::Subject);
            assert_eq!(standing(&[subject("alice", Some("https://other"))], &shown), Standing::Clear);
            assert_eq!(standing(&[subject("Alice", None)], &shown), Standing::Clear);
        }
        assert_eq!(
            standing(&[subject("alice", Some("https://i"))], &bearer("https://i", "alice", None)),
            Standing::Subject
        );
        assert_eq!(standing(&[subject("alice", None)], Principal::anonymous()), Standing::Clear);
    }

    #[test]
    fn an_api_key_is_revoked_by_its_id() {
        let shown = principal(API_KEYS, "ci", Proof::ApiKey, Some("ci-bot"));
        assert_eq!(standing(&[Revoked::ApiKey { id: "ci-bot".into() }], &shown), Standing::Credential);
        assert_eq!(standing(&[token("ci-bot", None)], &shown), Standing::Clear);
        let certificate = principal(CERTIFICATES, "x", Proof::Certificate, Some("ci-bot"));
        assert_eq!(standing(&[Revoked::ApiKey { id: "ci-bot".into() }], &certificate), Standing::Clear);
    }

    #[test]
    fn fail_closed_a_list_that_is_too_old_says_so_of_everybody() {
        let list = Revocations::new(&[], Some(UnixMillis(1_000))).unwrap();
        for shown in [bearer("https://i", "alice", None), principal(API_KEYS, "ci", Proof::ApiKey, Some("ci"))] {
            let at = |now| list.standing(&shown, UnixMillis(now));
            assert_eq!((at(999), at(1_000), at(1_001)), (Standing::Clear, Standing::Stale, Standing::Stale));
            assert_eq!(list.fresh(Some(UnixMillis(2_000))).standing(&shown, UnixMillis(1_000)), Standing::Clear);
        }
    }

    #[test]
    fn an_entry_can_be_added() {
        let list = Revocations::new(&[token("j", None)], Some(UnixMillis(9))).unwrap();
        let more = list.with(&subject("alice", None)).unwrap();
        let shown = bearer("https://i", "alice", None);
        assert_eq!(more.standing(&shown, UnixMillis(0)), Standing::Subject);
        assert_eq!((list.len(), more.len(), more.is_stale(UnixMillis(9))), (1, 2, true));
        assert_eq!(list.standing(&shown, UnixMillis(0)), Standing::Clear);
    }

    #[test]
    fn a_list_is_bounded() {
        let fault = |entry: Revoked| Revocations::new(&[token("x", None), entry], None).unwrap_err();
        assert_eq!(fault(token("", None)), RevocationsFault::Length(1));
        assert_eq!(fault(token("j", Some(""))), RevocationsFault::Length(1));
        assert_eq!(fault(subject(&"x".repeat(REVOKED_BYTES_MAX + 1), None)), RevocationsFault::Length(1));
        let many: Vec<_> = (0..=REVOCATIONS_MAX).map(|n| token(&n.to_string(), None)).collect();
        assert_eq!(Revocations::new(&many, None).unwrap_err(), RevocationsFault::TooMany);
        assert_eq!(Revocations::new(&many[1..], None).unwrap().len(), REVOCATIONS_MAX);
    }

    proptest! {
        #[test]
        fn no_two_entries_run_into_each_other(a in "[ab]{1,3}", b in "[ab]{1,3}", c in "[ab]{1,3}", d in "[ab]{1,3}") {
            let revoked = standing(&[token(&a, Some(&b))], &bearer(&d, "s", Some(&c))) == Standing::Credential;
            prop_assert_eq!(revoked, a == c && b == d);
        }
    }
}
