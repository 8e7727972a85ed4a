//! What one caller may do with the items of a catalog, decided once.
//!
//! Four bytes an item: a number of something that was decided, which many items share. Where rules have conditions on what is
//! not known yet, that is the few rules that are still to be weighed, and a call weighs these alone.

use super::action::Action;
use super::bits::Bits;
use super::cel::Outcomes;
use super::decide::{Decision, Ruling};
use super::permission::Reach;
use super::policy::{Caller, Policy, Rule, RuleId};
use super::query::{CallerValues, Item, Moment, Query, Scene};
use crate::exchange::UnixMillis;
use crate::federate::Kind;
use crate::principal::Principal;
use aws_lc_rs::digest::{Context, SHA256};
use http::HeaderMap;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// What a caller may do with the items of a catalog.
pub struct View {
    policy: Arc<Policy>,
    values: CallerValues,
    /// For each kind and item the number of its standing.
    items: [Box<[u32]>; 4],
    standings: Box<[Standing]>,
    /// What is listed, unless that is another thing with each request.
    visible: Option<Arc<Visible>>,
}

/// What is known of the items that have it in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Standing {
    /// It is decided.
    Settled(Decision),
    /// These rules are still to be weighed.
    Open {
        denies: Box<[(RuleId, Reach)]>,
        allows: Box<[(RuleId, Reach)]>,
        /// What is decided while the arguments are not there, unless that is another thing with each request.
        listed: Option<Decision>,
    },
}

/// Which items of a catalog are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible {
    items: [Bits; 4],
    digest: [u8; 32],
}

impl Visible {
    fn new(items: [Bits; 4]) -> Visible {
        let mut context = Context::new(&SHA256);
        for bits in &items {
            context.update(&(bits.words().len() as u64).to_le_bytes());
            bits.words().iter().for_each(|word| context.update(&word.to_le_bytes()));
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Visible { items, digest }
    }

    /// Whether the item of this kind and place is listed.
    pub fn contains(&self, kind: Kind, index: usize) -> bool {
        self.items[kind as usize].contains(index)
    }

    /// The places of the items of this kind that are listed, in order.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = usize> {
        self.items[kind as usize].iter()
    }

    /// Equal where the same items of one catalog are listed, whoever asks.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl View {
    /// Decides what can be decided beforehand about these items, whose places are counted for each kind by itself.
    pub fn build<'a>(
        policy: &Arc<Policy>,
        principal: &Principal,
        server: &str,
        items: impl Iterator<Item = Item<'a>>,
    ) -> View {
        let caller = policy.caller(principal, server);
        let headers = HeaderMap::new();
        // Nobody looks at it: what is made beforehand knows no moment.
        let moment =
            Moment { source: IpAddr::V4(Ipv4Addr::UNSPECIFIED), now: UnixMillis::default(), headers: &headers };
        let mut numbers: HashMap<Standing, u32> = HashMap::new();
        let mut standings = Vec::new();
        let mut places: [Vec<u32>; 4] = Default::default();
        for item in items {
            let standing = stand(policy, &caller, &Query::listing(item, moment));
            let number = *numbers.entry(standing).or_insert_with_key(|standing| {
                standings.push(standing.clone());
                (standings.len() - 1) as u32
            });
            places[item.kind as usize].push(number);
        }
        let mut view = View {
            policy: Arc::clone(policy),
            values: caller.standing.values,
            items: places.map(Vec::into_boxed_slice),
            standings: standings.into(),
            visible: None,
        };
        view.visible = view.visible_always().map(Arc::new);
        view
    }

    /// The policy that it was made with.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Decides about the item of this place among those of its kind, as [`Policy::decide`] does. What is not there is denied,
    /// and so is every action but the one that listing the item is governed by.
    pub fn decide(&self, index: usize, query: &Query<'_>) -> Decision {
        let standing = self.standing(query.item.kind, index);
        match standing.filter(|_| query.action == Action::of(query.item.kind)) {
            Some(Standing::Settled(decision)) => decision.clone(),
            Some(Standing::Open { denies, allows, .. }) => self.weigh(denies, allows, query),
            None => Decision { ruling: Ruling::Deny, rule: self.policy.by_default(), failed: false },
        }
    }

    /// Decides whether an item is listed.
    pub fn listed(&self, index: usize, item: Item<'_>, moment: Moment<'_>) -> Decision {
        match self.standing(item.kind, index) {
            Some(Standing::Open { listed: Some(decision), .. }) => decision.clone(),
            _ => self.decide(index, &Query::listing(item, moment)),
        }
    }

    /// Which items are listed now. `item` gives the item of a kind and place; it is asked only where a condition on the moment
    /// is to be weighed.
    pub fn visible<'i>(&self, moment: Moment<'_>, item: &dyn Fn(Kind, usize) -> Option<Item<'i>>) -> Arc<Visible> {
        if let Some(visible) = &self.visible {
            return Arc::clone(visible);
        }
        let now = |kind, index| item(kind, index).is_some_and(|item| self.listed(index, item, moment).is_listed());
        Arc::new(
            self.collect(|kind, index, standing| Some(standing.always().unwrap_or_else(|| now(kind, index))))
                .unwrap_or_else(Visible::nothing),
        )
    }

    /// Whether what is listed is the same with each request.
    pub fn is_settled(&self) -> bool {
        self.visible.is_some()
    }

    /// How many bytes it takes, about.
    pub fn bytes(&self) -> usize {
        let open = |standing: &Standing| match standing {
            Standing::Settled(_) => 0,
            Standing::Open { denies, allows, .. } => size_of_val(&**denies) + size_of_val(&**allows),
        };
        let numbers: usize = self.items.iter().map(|items| size_of_val(&**items)).sum();
        numbers + size_of_val(&*self.standings) + self.standings.iter().map(open).sum::<usize>()
    }

    fn standing(&self, kind: Kind, index: usize) -> Option<&Standing> {
        let number = self.items[kind as usize].get(index)?;
        self.standings.get(*number as usize)
    }

    fn weigh(&self, denies: &[(RuleId, Reach)], allows: &[(RuleId, Reach)], query: &Query<'_>) -> Decision {
        let scene = Scene::new(&self.values, query, &self.policy.headers, false);
        self.policy.weigh(denies.iter().copied(), allows.iter().copied(), &scene, &mut ())
    }

    fn visible_always(&self) -> Option<Visible> {
        self.collect(|_, _, standing| standing.always())
    }

    fn collect(&self, listed: impl Fn(Kind, usize, &Standing) -> Option<bool>) -> Option<Visible> {
        let mut items = [const { None }; 4];
        for kind in Kind::ALL {
            let mut bits = Bits::below(self.items[kind as usize].len());
            for index in 0..self.items[kind as usize].len() {
                if let Some(standing) = self.standing(kind, index)
                    && listed(kind, index, standing)?
                {
                    bits.insert(index);
                }
            }
            items[kind as usize] = Some(bits);
        }
        Some(Visible::new(items.map(Option::unwrap_or_default)))
    }
}

impl Visible {
    fn nothing() -> Visible {
        Visible::new(Default::default())
    }
}

impl Standing {
    /// Whether the item is listed, unless that is another thing with each request.
    fn always(&self) -> Option<bool> {
        match self {
            Standing::Settled(decision) => Some(decision.is_listed()),
            Standing::Open { listed, .. } => listed.as_ref().map(Decision::is_listed),
        }
    }
}

/// What can be decided beforehand about an item.
fn stand(policy: &Policy, caller: &Caller<'_>, query: &Query<'_>) -> Standing {
    let scene = Scene::new(&caller.standing.values, query, &policy.headers, true);
    if let Some(missing) = policy.lacking(caller, &scene) {
        return Standing::Settled(missing);
    }
    let denies = policy.matching(&policy.denies, caller, &scene, &mut ());
    let allows = policy.matching(&policy.allows, caller, &scene, &mut ());
    let is = |id: &RuleId, what: fn(&Rule) -> bool| policy.get(*id).is_some_and(what);
    let all = || denies.iter().chain(&allows);
    if !all().any(|(id, _)| is(id, Rule::is_open)) {
        return Standing::Settled(policy.weigh(denies.into_iter(), allows.into_iter(), &scene, &mut ()));
    }
    // Those that are not open come first, so one of them that decides does so whatever the others come to.
    let settled =
        |rules: &[(RuleId, Reach)]| rules.iter().copied().filter(|(id, _)| !is(id, Rule::is_open)).collect::<Vec<_>>();
    let fixed = policy.weigh(settled(&denies).into_iter(), [].into_iter(), &scene, &mut ());
    if fixed.ruling == Ruling::Deny && fixed.rule != policy.by_default() {
        return Standing::Settled(fixed);
    }
    let listed = (!all().any(|(id, _)| is(id, Rule::is_volatile)))
        .then(|| policy.weigh(denies.iter().copied(), allows.iter().copied(), &scene, &mut ()));
    let keep = |rules: Vec<(RuleId, Reach)>| {
        rules.into_iter().filter(|(id, reach)| may_matter(policy, *id, *reach, &scene)).collect()
    };
    Standing::Open { denies: keep(denies), allows: keep(allows), listed }
}

/// Whether a rule can still come to anything but that it does not match. One that allows and was an error stays: it is told.
fn may_matter(policy: &Policy, id: RuleId, reach: Reach, scene: &Scene<'_>) -> bool {
    policy.outcomes(id, reach, scene, &mut ()) != Outcomes::FALSE
}
