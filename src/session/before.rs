//! Where a session was open before this process took it in. What is opened there again remembers nothing of what the session
//! did: a client that relies on it must hear so.

use super::live::BACKENDS_MAX;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The places of backends at which a session was open when it was taken in again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// None: it began here.
    #[default]
    Nowhere,
    /// These, at which it was given up.
    At(Vec<Arc<str>>),
    /// Nobody here knows. Its client has heard of these.
    Unknown(Vec<Arc<str>>),
}

impl Before {
    /// Whether it is known to have been open nowhere.
    pub fn is_nowhere(&self) -> bool {
        *self == Before::Nowhere
    }

    /// How many places are remembered.
    pub fn count(&self) -> usize {
        match self {
            Before::Nowhere => 0,
            Before::At(places) | Before::Unknown(places) => places.len(),
        }
    }

    /// Whether it was open there, as far as anybody knows.
    pub fn may_have_been_at(&self, place: &str) -> bool {
        match self {
            Before::Nowhere => false,
            // Wherever that backend was then.
            Before::At(places) => places.iter().any(|known| backend(known) == backend(place)),
            Before::Unknown(heard) => !heard.iter().any(|known| **known == *place),
        }
    }

    /// The client hears that what is opened there begins anew. Whether that is new to it.
    pub fn told(&mut self, place: &Arc<str>) -> bool {
        let is_new = self.may_have_been_at(place);
        match self {
            Before::Nowhere => {}
            Before::At(places) => places.retain(|known| backend(known) != backend(place)),
            Before::Unknown(heard) => {
                if is_new {
                    // Rather told twice than not at all.
                    if heard.len() >= BACKENDS_MAX {
                        heard.remove(0);
                    }
                    heard.push(Arc::clone(place));
                }
            }
        }
        is_new
    }

    /// The session is lost there, and its client has not heard of it.
    pub fn untold(&mut self, place: &Arc<str>) {
        match self {
            Before::Nowhere => *self = Before::At(vec![Arc::clone(place)]),
            Before::At(places) if !places.contains(place) && places.len() < BACKENDS_MAX => {
                places.push(Arc::clone(place));
            }
            Before::At(_) => {}
            Before::Unknown(heard) => heard.retain(|known| known != place),
        }
    }

    /// What is known of it once it is given up, at these places by then.
    pub fn and(&self, open: impl Iterator<Item = Arc<str>>) -> Before {
        match self {
            Before::Unknown(heard) => {
                let mut heard = heard.clone();
                let open: Vec<_> = open.collect();
                heard.retain(|known| !open.contains(known));
                Before::Unknown(heard)
            }
            Before::Nowhere | Before::At(_) => {
                let mut places = if let Before::At(places) = self { places.clone() } else { Vec::new() };
                for place in open {
                    if !places.contains(&place) && places.len() < BACKENDS_MAX {
                        places.push(place);
                    }
                }
                Before::At(places)
            }
        }
    }
}

/// The backend of a place, which is its name and a digest of where it is.
pub(super) fn backend(place: &str) -> &str {
    place.rsplit_once('@').map_or(place, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_hears_once_of_each_place() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let open = |before: &Before| [before.may_have_been_at("a"), before.may_have_been_at("b")];
        for (mut before, expected) in [
            (Before::Nowhere, [false, false]),
            (Before::At(vec![Arc::clone(&a)]), [true, false]),
            (Before::Unknown(Vec::new()), [true, true]),
        ] {
            assert_eq!(open(&before), expected);
            before.told(&a);
            before.told(&a);
            assert_eq!(open(&before), [false, expected[1]]);
            before.untold(&b);
            before.untold(&b);
            assert_eq!(open(&before), [false, true]);
            before.told(&b);
            assert_eq!(open(&before), [false, false]);
        }
    }

    #[test]
    fn a_backend_that_moved_is_known_by_its_name() {
        let mut before = Before::At(vec!["a@01".into()]);
        assert!(before.may_have_been_at("a@02") && !before.may_have_been_at("b@01"));
        before.told(&"a@02".into());
        assert!(!before.may_have_been_at("a@01"));
    }

    #[test]
    fn what_a_client_was_not_told_outlives_being_given_up() {
        let open = || [Arc::from("a")].into_iter();
        assert_eq!(Before::Nowhere.and(open()), Before::At(vec!["a".into()]));
        assert_eq!(Before::At(vec!["b".into()]).and(open()), Before::At(vec!["b".into(), "a".into()]));
        let unknown = Before::Unknown(vec!["a".into(), "c".into()]).and(open());
        assert_eq!(unknown, Before::Unknown(vec!["c".into()]), "it is to be told of all but that");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut before = Before::Unknown(Vec::new());
        for n in 0..=BACKENDS_MAX {
            before.told(&n.to_string().into());
        }
        assert!(before.may_have_been_at("0") && !before.may_have_been_at("1"));
        let mut before = Before::Nowhere;
        for n in 0..=BACKENDS_MAX {
            before.untold(&n.to_string().into());
        }
        assert!(matches!(&before, Before::At(places) if places.len() == BACKENDS_MAX));
    }
}
