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

    /// Whether it was open there, as far as anybody knows.
    pub fn may_have_been_at(&self, place: &str) -> bool {
        match self {
            Before::Nowhere => false,
            Before::At(places) => places.iter().any(|known| **known == *place),
            Before::Unknown(heard) => !heard.iter().any(|known| **known == *place),
        }
    }

    /// The client hears that what is opened there begins anew.
    pub fn told(&mut self, place: &Arc<str>) {
        match self {
            Before::Nowhere => {}
            Before::At(places) => places.retain(|known| known != place),
            Before::Unknown(heard) => {
                if !heard.contains(place) {
                    // Rather told twice than not at all.
                    if heard.len() >= BACKENDS_MAX {
                        heard.remove(0);
                    }
                    heard.push(Arc::clone(place));
                }
            }
        }
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
