//! `authorize`: who may do what, decided by one rule set, in one function.
//!
//! Start at [`spec`] (what the configuration says) and [`decide`] (what comes of it). [`policy`] is the first compiled;
//! [`view`] keeps what is decided for one caller and all items of a catalog, so that a call looks it up; [`explain`] tells how
//! a decision came about, and [`lint`] what is wrong with a policy that compiles. Conditions are CEL ([`cel`]).

pub mod action;
mod bits;
pub mod cel;
mod compile;
pub mod decide;
pub mod explain;
pub mod filter;
pub mod lint;
pub mod permission;
pub mod policy;
pub mod query;
#[cfg(test)]
mod reference;
pub mod roles;
pub mod scopes;
mod shown;
pub mod spec;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod view;
pub mod who;
pub mod wild;

pub use action::Action;
pub use decide::{Decision, Ruling};
pub use explain::Explanation;
pub use filter::{Authorize, DeniedAs};
pub use policy::{Caller, Policy, RuleId, RuleInfo};
pub use query::{Args, Item, Moment, Query};
pub use scopes::MissingScope;
pub use spec::{AssignmentSpec, Effect, Place, PolicyFault, PolicySpec, RoleSpec, RuleSpec, ScopeSpec, Undecided};
pub use view::{View, Visible};
pub use who::Who;
