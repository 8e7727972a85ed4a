//! The one decision: whether a caller may do something.
//!
//! In this order: a scope that is needed and not held refuses; a rule that denies wins over any that allows; a rule that
//! allows; the default. A condition that cannot be evaluated counts against the caller: where it is to allow it does not,
//! where it is to deny it does.
//!
//! While arguments are not there, a rule may be undecided, and so may be what is decided: then some arguments may be allowed.

use super::cel::evaluate::Finding;
use super::cel::{Outcomes, Variable};
use super::permission::Reach;
use super::policy::{Caller, Guard, Policy, Rule, RuleId};
use super::query::{Query, Scene};
use super::scopes::MissingScope;
use super::spec::Effect;
use crate::principal::Principal;
use std::sync::Arc;

/// Whether it may be done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ruling {
    /// Yes.
    Allow,
    /// No.
    Deny,
    /// That depends on arguments that are not there yet, or on which resource a template is expanded to.
    Undecided,
    /// Not with the scopes that the caller was given.
    MissingScope(Arc<MissingScope>),
}

impl Ruling {
    /// The label in audit, metrics and explanations.
    pub const fn label(&self) -> &'static str {
        match self {
            Ruling::Allow => "allow",
            Ruling::Deny => "deny",
            Ruling::Undecided => "undecided",
            Ruling::MissingScope(_) => "missing_scope",
        }
    }
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Whether it may be done.
    pub ruling: Ruling,
    /// Which rule decided; see [`Policy::rule`].
    pub rule: RuleId,
    /// Whether it was refused because a condition could not be evaluated.
    pub failed: bool,
}

impl Decision {
    fn new(ruling: Ruling, rule: RuleId) -> Decision {
        Decision { ruling, rule, failed: false }
    }

    /// Whether it may be done now.
    pub fn is_allowed(&self) -> bool {
        self.ruling == Ruling::Allow
    }

    /// Whether it may be done with some arguments: what is listed.
    pub fn is_listed(&self) -> bool {
        matches!(self.ruling, Ruling::Allow | Ruling::Undecided)
    }
}

/// What is told of a rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is for other callers.
    NotForCaller,
    /// It is about other items.
    NotForItem,
    /// What it came to, and what its parts did.
    Weighed(Outcomes, Vec<Finding>),
}

/// Who wants to know how a decision came about.
pub(super) trait Recorder {
    /// Whether rules are looked at, too, that cannot change the decision.
    const THOROUGH: bool;

    /// A rule was looked at.
    fn saw(&mut self, rule: RuleId, seen: impl FnOnce() -> Seen);
}

/// Nobody wants to know.
impl Recorder for () {
    const THOROUGH: bool = false;

    fn saw(&mut self, _: RuleId, _: impl FnOnce() -> Seen) {}
}

impl Policy {
    /// Decides whether a caller may do something at a virtual server.
    pub fn decide(&self, principal: &Principal, server: &str, query: &Query<'_>) -> Decision {
        self.decide_for(&self.caller(principal, server), query)
    }

    /// The same for a caller who was looked at before.
    pub fn decide_for(&self, caller: &Caller<'_>, query: &Query<'_>) -> Decision {
        let scene = Scene::new(&caller.standing.values, query, &self.headers, false);
        self.decide_in(caller, &scene, &mut ())
    }

    pub(super) fn decide_in<R: Recorder>(&self, caller: &Caller<'_>, scene: &Scene<'_>, recorder: &mut R) -> Decision {
        let missing = self.lacking(caller, scene);
        if let Some(missing) = &missing
            && !R::THOROUGH
        {
            return missing.clone();
        }
        let denies = self.matching(&self.denies, caller, scene, recorder);
        let allows = self.matching(&self.allows, caller, scene, recorder);
        let decision = self.weigh(denies.into_iter(), allows.into_iter(), scene, recorder);
        missing.unwrap_or(decision)
    }

    /// What is decided for want of a scope.
    pub(super) fn lacking(&self, caller: &Caller<'_>, scene: &Scene<'_>) -> Option<Decision> {
        let held = caller.standing.scopes.as_ref()?;
        let given = caller.principal.facts().scopes.as_deref().unwrap_or_default();
        let missing = self.scopes.lacking(given, held, &scene.asked())?;
        let rule = missing.sufficient.first().map_or_else(|| self.by_default(), |scope| self.by_scope(scope));
        Some(Decision::new(Ruling::MissingScope(missing), rule))
    }

    /// The rules that are for this caller and about this item.
    pub(super) fn matching<R: Recorder>(
        &self,
        rules: &[RuleId],
        caller: &Caller<'_>,
        scene: &Scene<'_>,
        recorder: &mut R,
    ) -> Vec<(RuleId, Reach)> {
        let asked = scene.asked();
        let mut found = Vec::new();
        for &id in rules {
            let Some(rule) = self.get(id) else { continue };
            let reach = asked.reach_any(&rule.permissions);
            if reach == Reach::Never {
                recorder.saw(id, || Seen::NotForItem);
            } else if caller.is_meant(rule) {
                found.push((id, reach));
            } else {
                recorder.saw(id, || Seen::NotForCaller);
            }
        }
        found
    }

    /// What the rules come to that are for the caller and about the item, each list in the order of the policy.
    pub(super) fn weigh<R: Recorder>(
        &self,
        denies: impl Iterator<Item = (RuleId, Reach)>,
        allows: impl Iterator<Item = (RuleId, Reach)>,
        scene: &Scene<'_>,
        recorder: &mut R,
    ) -> Decision {
        let (mut denied, mut may_deny) = (None, None);
        for (id, outcomes) in denies.map(|(id, reach)| (id, self.outcomes(id, reach, scene, recorder))) {
            if !outcomes.may_be(Outcomes::FALSE) {
                let failed = !outcomes.may_be(Outcomes::TRUE);
                denied.get_or_insert(Decision { ruling: Ruling::Deny, rule: id, failed });
                if !R::THOROUGH {
                    break;
                }
            } else if outcomes != Outcomes::FALSE {
                may_deny.get_or_insert(id);
            }
        }
        if let Some(denied) = &denied
            && !R::THOROUGH
        {
            return denied.clone();
        }
        let (mut allowed, mut may_allow, mut failed) = (None, None, false);
        for (id, outcomes) in allows.map(|(id, reach)| (id, self.outcomes(id, reach, scene, recorder))) {
            failed |= outcomes == Outcomes::ERROR;
            if outcomes == Outcomes::TRUE {
                allowed.get_or_insert(id);
                if !R::THOROUGH {
                    break;
                }
            } else if outcomes.may_be(Outcomes::TRUE) {
                may_allow.get_or_insert(id);
            }
        }
        let by_default = (self.default == Effect::Allow).then(|| self.by_default());
        denied.unwrap_or_else(|| match (allowed.or(by_default), may_deny, may_allow) {
            (Some(rule), None, _) => Decision::new(Ruling::Allow, rule),
            (Some(_), Some(rule), _) | (None, _, Some(rule)) => Decision::new(Ruling::Undecided, rule),
            (None, _, None) => Decision { ruling: Ruling::Deny, rule: self.by_default(), failed },
        })
    }

    /// What a rule may come to.
    pub(super) fn outcomes<R: Recorder>(
        &self,
        id: RuleId,
        reach: Reach,
        scene: &Scene<'_>,
        recorder: &mut R,
    ) -> Outcomes {
        let Some(rule) = self.get(id) else { return Outcomes::ERROR };
        let (decided, findings) = guarded(rule, scene, R::THOROUGH);
        // Which expansion of a template is asked for is not known, and some are not what the rule is about.
        let outcomes = if reach == Reach::Partly { decided.or_else(Outcomes::FALSE) } else { decided };
        recorder.saw(id, || Seen::Weighed(outcomes, findings));
        outcomes
    }
}

fn guarded(rule: &Rule, scene: &Scene<'_>, thorough: bool) -> (Outcomes, Vec<Finding>) {
    let program = match &rule.guard {
        Guard::Always => return (Outcomes::TRUE, Vec::new()),
        Guard::OnlyReads => return (Outcomes::of(scene.only_reads()), Vec::new()),
        Guard::When(program) => program,
    };
    // What hides while arguments are not there must not be decided by them when they are.
    let unknown = if rule.hides { scene.unknown().with(Variable::Args) } else { scene.unknown() };
    let (outcomes, findings) = match thorough {
        true => program.trace(scene, unknown),
        false => (program.evaluate(scene, unknown), Vec::new()),
    };
    // With a moment that is not known either, it is not the arguments alone that are waited for.
    let waits = scene.unknown().meets(super::cel::Variables::VOLATILE) && rule.is_volatile();
    let settled = match (outcomes.is_certain() || !rule.hides || waits, rule.effect) {
        (true, _) => outcomes,
        (false, Effect::Allow) => Outcomes::FALSE,
        (false, Effect::Deny) => Outcomes::TRUE,
    };
    (settled, findings)
}
