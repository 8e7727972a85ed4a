//! One MCP endpoint as its clients see it.

use crate::backend::{Backend, Speaks, eras_changed, packed};
use crate::chain::Chain;
use crate::federate::Federation;
use crate::revision::{Era, Revision};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A virtual server of one snapshot: its backends and the chain that guards it.
pub struct VirtualServer {
    /// Its place among the virtual servers of its snapshot.
    pub index: usize,
    /// Its name in the configuration: a metric label, and part of what tickets are bound to.
    pub name: Arc<str>,
    /// The backends whose items it exposes, in the order of the configuration.
    pub backends: Box<[Arc<Backend>]>,
    /// The filters of this virtual server, in order.
    pub chain: Chain,
    /// How its backends' items become its own; `None` where everything passes as its only backend says it.
    pub federation: Option<Arc<Federation>>,
    /// The only revisions that clients are offered; `None` for all.
    pub pinned: Option<Box<[Revision]>>,
    /// Which eras its backends speak together.
    pub offered: Offered,
}

/// Which eras the backends of a virtual server speak together, as it was found out last: there may be hundreds of them, and
/// each request asks.
#[derive(Debug, Default)]
pub struct Offered(AtomicU64);

impl Offered {
    /// What was found when this many changes were known; nothing where there are more by now.
    fn get(&self, changes: u64, era: Era) -> Option<Speaks> {
        let known = self.0.load(Ordering::Acquire);
        let bits = if era == Era::Modern { known >> 2 & 3 } else { known & 3 };
        (known >> 4 == changes + 1).then(|| Speaks::unpacked(bits as u8))
    }

    fn set(&self, changes: u64, modern: Speaks, legacy: Speaks) {
        self.0.store((changes + 1) << 4 | u64::from(packed(modern, legacy)), Ordering::Release);
    }
}

impl VirtualServer {
    /// Whether clients of an era can be served: only if every backend speaks it, and a revision of it is offered.
    ///
    /// Of several backends, one that nobody could ask yet, or that speaks neither era, does not decide as long as another
    /// is known: a backend that is down or broken must not keep the others from being used.
    pub fn offers(&self, era: Era) -> Speaks {
        // Before they are looked at: what changes meanwhile is looked at the next time.
        let changes = eras_changed();
        if let Some(known) = self.offered.get(changes, era) {
            return known;
        }
        let (modern, legacy) = (self.offers_now(Era::Modern), self.offers_now(Era::Legacy));
        self.offered.set(changes, modern, legacy);
        if era == Era::Modern { modern } else { legacy }
    }

    fn offers_now(&self, era: Era) -> Speaks {
        if !self.admitted().any(|revision| revision.era() == era) {
            return Speaks::No;
        }
        let mut offered = Speaks::No;
        for backend in &self.backends {
            let (modern, legacy) = backend.eras();
            if (modern, legacy) == (Speaks::No, Speaks::No) {
                continue;
            }
            match if era == Era::Modern { modern } else { legacy } {
                Speaks::No => return Speaks::No,
                Speaks::Unknown if offered == Speaks::No => offered = Speaks::Unknown,
                Speaks::Unknown => {}
                Speaks::Yes => offered = Speaks::Yes,
            }
        }
        offered
    }

    /// Why neither era can be served although there are backends that speak one; `None` where one can, or may.
    pub fn misfit(&self) -> Option<String> {
        if [Era::Modern, Era::Legacy].into_iter().any(|era| self.offers(era) != Speaks::No) {
            return None;
        }
        let speaking = |which: (Speaks, Speaks), what: &str| {
            let names: Vec<&str> =
                self.backends.iter().filter(|backend| backend.eras() == which).map(|backend| &*backend.name).collect();
            (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
        };
        let modern = speaking((Speaks::Yes, Speaks::No), "without sessions only");
        let legacy = speaking((Speaks::No, Speaks::Yes), "with sessions only");
        let both = speaking((Speaks::Yes, Speaks::Yes), "either way");
        let said: Vec<String> = [modern, legacy, both].into_iter().flatten().collect();
        (!said.is_empty()).then(|| {
            format!(
                "no protocol revision that this server may offer fits all its backends. They speak {}",
                said.join("; ")
            )
        })
    }

    /// The revisions that can be served as far as is known, newest first.
    pub fn revisions(&self) -> impl Iterator<Item = Revision> {
        let modern = self.offers(Era::Modern) == Speaks::Yes;
        let legacy = self.offers(Era::Legacy) == Speaks::Yes;
        self.admitted().filter(move |revision| match revision.era() {
            Era::Modern => modern,
            Era::Legacy => legacy,
        })
    }

    /// What `initialize` negotiates: the revision that the client asks for, or else the newest of the legacy era that is
    /// offered; `None` where none is.
    pub fn negotiate(&self, requested: &str) -> Option<Revision> {
        let requested = Revision::parse(requested.as_bytes());
        let legacy = || self.admitted().filter(|revision| revision.era() == Era::Legacy);
        legacy().find(|revision| Some(*revision) == requested).or_else(|| legacy().next())
    }

    /// The revisions that the configuration admits, newest first.
    fn admitted(&self) -> impl Iterator<Item = Revision> {
        let pinned = self.pinned.as_deref();
        Revision::ALL.into_iter().rev().filter(move |revision| pinned.is_none_or(|pinned| pinned.contains(revision)))
    }
}

impl fmt::Debug for VirtualServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualServer").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Facts;

    fn server(spoken: &[(Speaks, Speaks)], pinned: Option<&[Revision]>) -> VirtualServer {
        let backend = |(modern, legacy): &(Speaks, Speaks)| {
            Arc::new(Backend::new("b", Facts { modern: *modern, legacy: *legacy, ..Facts::default() }))
        };
        VirtualServer {
            index: 0,
            name: "default".into(),
            backends: spoken.iter().map(backend).collect(),
            chain: Chain::default(),
            federation: None,
            pinned: pinned.map(Box::from),
            offered: Default::default(),
        }
    }

    #[test]
    fn an_era_is_offered_where_all_that_are_known_speak_it() {
        use Speaks::{No, Unknown, Yes};
        for (spoken, offered) in [
            (&[Yes][..], Yes),
            (&[Unknown], Unknown),
            (&[No], No),
            (&[Yes, Unknown], Yes),
            (&[Unknown, Unknown], Unknown),
            (&[Unknown, No], No),
            (&[Yes, No], No),
        ] {
            let spoken: Vec<_> = spoken.iter().map(|speaks| (*speaks, Yes)).collect();
            assert_eq!(server(&spoken, None).offers(Era::Modern), offered, "{spoken:?}");
            assert_eq!(server(&spoken, None).offers(Era::Legacy), Yes);
        }
    }

    #[test]
    fn a_backend_that_speaks_nothing_decides_nothing() {
        use Speaks::{No, Unknown, Yes};
        for (spoken, modern, legacy) in [
            (&[(No, No), (Yes, Yes)][..], Yes, Yes),
            (&[(No, No), (No, Yes)], No, Yes),
            (&[(No, No), (Unknown, Unknown)], Unknown, Unknown),
            (&[(No, No), (No, No)], No, No),
        ] {
            let server = server(spoken, None);
            assert_eq!((server.offers(Era::Modern), server.offers(Era::Legacy)), (modern, legacy), "{spoken:?}");
        }
    }

    #[test]
    fn only_pinned_revisions_are_offered_and_negotiated() {
        let both = [(Speaks::Yes, Speaks::Yes)];
        let pinned = server(&both, Some(&[Revision::V2025_06_18, Revision::V2025_03_26]));
        assert_eq!(pinned.offers(Era::Modern), Speaks::No);
        assert_eq!(pinned.revisions().collect::<Vec<_>>(), [Revision::V2025_06_18, Revision::V2025_03_26]);
        assert_eq!(pinned.negotiate("2025-03-26"), Some(Revision::V2025_03_26));
        assert_eq!(pinned.negotiate("2025-11-25"), Some(Revision::V2025_06_18));
        assert_eq!(pinned.negotiate("2026-07-28"), Some(Revision::V2025_06_18));
        let modern = server(&both, Some(&[Revision::V2026_07_28]));
        assert_eq!(modern.negotiate("2025-11-25"), None);
        assert_eq!(modern.offers(Era::Legacy), Speaks::No);
        let free = server(&both, None);
        assert_eq!(free.negotiate("2024-11-05"), Some(Revision::V2024_11_05));
        assert_eq!(free.negotiate("nonsense"), Some(Revision::V2025_11_25));
        assert_eq!(free.revisions().count(), 5);
    }
}
