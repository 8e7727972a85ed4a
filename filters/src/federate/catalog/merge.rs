//! Making one catalog of what several members offer.

use super::{CLASHES_MAX, CLOSE, Catalog, Clash, Entry, Offer, Sent, Shelf, Standing};
use crate::federate::cursor::Fingerprint;
use crate::federate::describe::{self, Capabilities};
use crate::federate::inventory::{Inventory, Item, Scope};
use crate::federate::kind::Kind;
use crate::federate::naming::{self, Prefixing};
use crate::federate::policy::Policy;
use crate::federate::render::{self, Shown};
use crate::federate::uris::Uris;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::{BufMut, BytesMut};
use foldhash::fast::RandomState;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

impl Catalog {
    /// Merges what the members offer: one offer for each member of the policy, in the same order. What is missing behind
    /// the last offer is a member of which nothing is known.
    pub fn merge(policy: &Policy, offers: &[Offer]) -> Catalog {
        let members = 0..policy.members.len();
        let known: Vec<Option<&Inventory>> =
            members.clone().map(|member| offers.get(member)?.inventory.as_deref()).collect();
        let standings: Box<[Standing]> =
            members.map(|member| offers.get(member).map_or(Standing::Missing, Offer::standing)).collect();
        let counts =
            |(inventory, standing): (&Option<_>, &Standing)| inventory.filter(|_| *standing != Standing::Missing);
        let shown: Vec<Option<&Inventory>> = known.iter().zip(&standings).map(counts).collect();
        let mut merging = Merging { policy, known: &known, shown: &shown, clashes: Vec::new(), further_clashes: 0 };
        let uris = merging.uris();
        let shelves = Kind::ALL.map(|kind| merging.shelf(kind, &uris));
        let all = || shown.iter().flatten();
        let whole = standings.iter().all(|standing| *standing == Standing::Fresh);
        let private = all().any(|inventory| inventory.scope == Scope::Private);
        Catalog {
            shelves,
            uris: Arc::new(uris),
            standings,
            completers: known.iter().map(|it| it.is_some_and(|inventory| inventory.declares("completions"))).collect(),
            subscribers: known.iter().map(|it| it.is_some_and(Inventory::subscribes)).collect(),
            params: shown.iter().map(|it| it.and_then(|inventory| inventory.params.clone())).collect(),
            clashes: merging.clashes.into(),
            further_clashes: merging.further_clashes,
            capabilities: Capabilities::union(&known),
            instructions: describe::instructions(policy, &shown),
            scope: if private { Scope::Private } else { Scope::Public },
            freshness: all().filter(|_| whole).map(|inventory| inventory.freshness.clone()).collect(),
            page_size: policy.page_size,
        }
    }
}

/// A merge on its way.
struct Merging<'a> {
    policy: &'a Policy,
    /// What each member offers, as last known.
    known: &'a [Option<&'a Inventory>],
    /// The same of those whose items are shown.
    shown: &'a [Option<&'a Inventory>],
    clashes: Vec<Clash>,
    further_clashes: usize,
}

/// An item that is shown, and whose it is.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    member: usize,
    item: &'a Item,
}

impl<'a> Merging<'a> {
    /// The items that are shown, in order.
    fn candidates(&self, kind: Kind) -> Vec<Candidate<'a>> {
        let of = |(member, inventory): (usize, &Option<&'a Inventory>)| {
            let items = inventory.map(|inventory| &*inventory.list(kind).items).unwrap_or_default();
            items.iter().map(move |item| Candidate { member, item })
        };
        let all = self.shown.iter().enumerate().flat_map(of);
        all.filter(|it| self.policy.members.get(it.member).is_some_and(|rules| rules.shows(kind, &it.item.name)))
            .collect()
    }

    /// Whose each URI is: known before any item is written, because items name URIs.
    fn uris(&self) -> Uris {
        let mut uris = Uris::of(self.policy);
        for candidate in self.candidates(Kind::Resources) {
            uris.list(candidate.member, &candidate.item.name);
        }
        for candidate in self.candidates(Kind::Templates) {
            uris.template(candidate.member, &candidate.item.name);
        }
        for (member, inventory) in self.known.iter().enumerate() {
            // A member that nobody could ask may have resources.
            if inventory.is_none_or(has_resources) {
                uris.resourceful(member);
            }
        }
        uris
    }

    fn shelf(&mut self, kind: Kind, uris: &Uris) -> Shelf {
        let candidates = self.candidates(kind);
        let names = self.names(kind, &candidates, uris);
        let mut shelf =
            Shelf { table: HashMap::with_capacity_and_hasher(names.len(), RandomState::default()), ..Shelf::default() };
        let winners = winners(&names);
        let mut json = BytesMut::new();
        for (place, (candidate, name)) in candidates.iter().zip(&names).enumerate() {
            let winner = winners.get(&*name.exposed).copied().unwrap_or(place);
            if winner != place {
                self.clash(kind, &name.exposed, &candidates[winner], candidate);
                continue;
            }
            if !json.is_empty() {
                json.put_u8(b',');
            }
            let start = json.len();
            let rename = self.policy.members[candidate.member].rename(kind, &candidate.item.name);
            let description = rename.and_then(|rename| rename.description.as_deref());
            json.put_slice(&render::item(&Shown {
                kind,
                item: candidate.item,
                exposed: &name.exposed,
                description,
                member: candidate.member,
                uris,
            }));
            let exposed: Arc<str> = (&*name.exposed).into();
            shelf.table.insert(Arc::clone(&exposed), shelf.entries.len() as u32);
            let original = (*candidate.item.name != *exposed).then(|| candidate.item.name.clone());
            let is_called = matches!(kind, Kind::Tools | Kind::Prompts);
            shelf.entries.push(Entry {
                sent: original.as_deref().filter(|_| is_called).map(|name| Box::new(Sent::of(name))),
                fingerprint: Fingerprint::of(&exposed),
                exposed,
                member: candidate.member,
                original,
                start,
                end: json.len(),
            });
        }
        if self.policy.prefixing == Prefixing::OnConflict && matches!(kind, Kind::Tools | Kind::Prompts) {
            self.add_aliases(&mut shelf);
        }
        json.put_slice(CLOSE);
        shelf.json = json.freeze();
        shelf.digest.copy_from_slice(digest(&SHA256, &shelf.json).as_ref());
        shelf
    }

    /// Adds the prefixed form of every name that nobody else has: a name that was shared while another backend was there is
    /// still understood when that is gone.
    fn add_aliases(&self, shelf: &mut Shelf) {
        for (place, entry) in shelf.entries.iter().enumerate() {
            let member = &self.policy.members[entry.member];
            let owner = entry.owner();
            let alias = naming::prefixed(&member.prefix, &self.policy.separator, &member.backend, &owner.original);
            shelf.table.entry(alias.into()).or_insert(place as u32);
        }
    }

    /// What each candidate is called by clients, and whether an operator said so.
    fn names(&self, kind: Kind, candidates: &[Candidate<'a>], uris: &Uris) -> Vec<Name<'a>> {
        let free = |exposed| Name { exposed, chosen: false };
        match kind {
            Kind::Tools | Kind::Prompts => self.item_names(kind, candidates),
            Kind::Resources => candidates.iter().map(|it| free(uris.outward(it.member, &it.item.name))).collect(),
            Kind::Templates => {
                let contested = uris.contested();
                let each = candidates.iter().enumerate();
                each.map(|(at, it)| {
                    let contested = contested.get(at).copied().unwrap_or_default();
                    free(uris.outward_template(it.member, &it.item.name, contested))
                })
                .collect()
            }
        }
    }

    fn item_names(&self, kind: Kind, candidates: &[Candidate<'a>]) -> Vec<Name<'a>> {
        let plain = |it: &Candidate<'a>| naming::unprefixed(&self.policy.members[it.member].backend, &it.item.name);
        let chosen = |it: &Candidate<'a>| {
            self.policy.members[it.member].rename(kind, &it.item.name).and_then(|rename| rename.name.as_deref())
        };
        let shared = match self.policy.prefixing {
            Prefixing::OnConflict => {
                // What an operator wrote is nobody's natural name.
                let wanted = |it: &Candidate<'a>| match chosen(it) {
                    Some(name) => (usize::MAX, Cow::Owned(name.to_owned())),
                    None => (it.member, plain(it)),
                };
                shared(candidates.iter().map(wanted))
            }
            _ => HashMap::default(),
        };
        let name = |it: &Candidate<'a>| {
            if let Some(name) = chosen(it) {
                return Name { exposed: Cow::Owned(name.to_owned()), chosen: true };
            }
            let plain = plain(it);
            let prefixed = match self.policy.prefixing {
                Prefixing::Always => true,
                Prefixing::Never => false,
                Prefixing::OnConflict => shared.get(&*plain).copied().flatten().is_none(),
            };
            let member = &self.policy.members[it.member];
            let exposed = match prefixed {
                true => naming::prefixed(&member.prefix, &self.policy.separator, &member.backend, &it.item.name)
                    .into_string()
                    .into(),
                false => plain,
            };
            Name { exposed, chosen: false }
        };
        candidates.iter().map(name).collect()
    }

    fn clash(&mut self, kind: Kind, exposed: &str, kept: &Candidate<'_>, lost: &Candidate<'_>) {
        if self.clashes.len() >= CLASHES_MAX {
            self.further_clashes += 1;
            return;
        }
        let owner = |it: &Candidate<'_>| (it.member, it.item.name.clone());
        self.clashes.push(Clash { kind, exposed: exposed.into(), kept: owner(kept), lost: owner(lost) });
    }
}

/// An exposed name.
struct Name<'a> {
    exposed: Cow<'a, str>,
    /// An operator wrote it.
    chosen: bool,
}

/// Who keeps each name: whoever an operator gave it to, then the first. So no backend can take what was given to another.
fn winners<'n>(names: &'n [Name<'_>]) -> HashMap<&'n str, usize, RandomState> {
    let mut winners: HashMap<&str, usize, RandomState> =
        HashMap::with_capacity_and_hasher(names.len(), Default::default());
    let mut claim = |chosen: bool| {
        for (place, name) in names.iter().enumerate().filter(|(_, name)| name.chosen == chosen) {
            winners.entry(&name.exposed).or_insert(place);
        }
    };
    claim(true);
    claim(false);
    winners
}

/// For each name its only member, or nothing where several have it.
fn shared<'n>(names: impl Iterator<Item = (usize, Cow<'n, str>)>) -> HashMap<Cow<'n, str>, Option<usize>, RandomState> {
    let mut owners: HashMap<Cow<'n, str>, Option<usize>, RandomState> = HashMap::default();
    for (member, name) in names {
        let owner = owners.entry(name).or_insert(Some(member));
        if *owner != Some(member) {
            *owner = None;
        }
    }
    owners
}

fn has_resources(inventory: &Inventory) -> bool {
    let listed = [Kind::Resources, Kind::Templates].into_iter().any(|kind| !inventory.list(kind).items.is_empty());
    listed || inventory.declares(Kind::Resources.capability())
}
