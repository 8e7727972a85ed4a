//! Who may do what.

use crate::config::values::{HeaderKey, Name, Scope};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may do what. A permission is written `KIND:VERB:BACKEND/NAME`, such as `tools:call:github/get_*`: the name is the one
/// that the backend gives the item, and a `*` stands for anything within its part. Kinds and verbs are `tools:call`,
/// `prompts:get`, `resources:read`, `resources:subscribe`, `tasks:use`, and what a backend may ask of a caller:
/// `sampling:create`, `elicitation:create`, `roots:list`. What may be used is listed, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// What is decided where nothing else does.
    pub default: PolicyEffect,
    /// What becomes of an item, while it is listed, whose rules need the arguments of a call. A rule may say its own.
    pub undecided: UndecidedChoice,
    /// What callers are told of what they may not do.
    pub denied_as: DeniedAnswer,
    /// Header fields that conditions may read. Not those that hold credentials.
    pub headers: Vec<HeaderKey>,
    /// Scopes of tokens, by name. What some scope allows can be done only with a token that holds it, where the token holds
    /// scopes at all.
    pub scopes: IndexMap<Scope, ScopePolicy>,
    /// Roles, besides the built-in `owner`, `admin`, `developer`, `read-only` and `service`, by name.
    pub roles: IndexMap<Name, Role>,
    /// Who has which role: all that fit count together.
    pub assignments: Vec<Assignment>,
    /// Rules. Any that denies wins over all that allow.
    pub rules: Vec<PolicyRule>,
}

/// Whether something may be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyEffect {
    /// It may not.
    #[default]
    Deny,
    /// It may.
    Allow,
}

/// What becomes of an item, while it is listed, whose rules need the arguments of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UndecidedChoice {
    /// It is listed; each call is decided by its arguments.
    #[default]
    Show,
    /// It is not listed, and calls are refused whatever their arguments.
    Hide,
}

/// What callers are told of what they may not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeniedAnswer {
    /// That there is no such item.
    #[default]
    Unknown,
    /// That it is refused (-31005), with the rule's `reason`.
    Denied,
}

/// A scope of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScopePolicy {
    /// Scopes that whoever holds this one holds, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub implies: Vec<Scope>,
    /// What needs this scope, or another one that allows it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
}

/// What somebody who has a role may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Role {
    /// Roles whose permissions and denials it has, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inherits: Vec<Name>,
    /// What may be done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// What may not be done, whatever else allows it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// Who has a role. Without further keys: everybody who is let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The role.
    pub role: Name,
    /// Subjects, as their issuers call them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// Teams; one of them is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Tenants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Issuers: by name, by `iss`, or `lockgate:api-key`, `lockgate:certificate`, `lockgate:anonymous`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// Virtual servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_servers: Vec<Name>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// Its name, unique among the rules.
    pub name: Name,
    /// What it does.
    pub effect: PolicyEffect,
    /// What it is about.
    pub permissions: Vec<String>,
    /// Subjects, as their issuers call them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// Teams; one of them is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Tenants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Issuers: by name, by `iss`, or `lockgate:api-key`, `lockgate:certificate`, `lockgate:anonymous`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<String>,
    /// Virtual servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_servers: Vec<Name>,
    /// A condition in CEL, such as `args.amount < 1000 && principal.tenant == "acme"`. One that cannot be evaluated counts
    /// against the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What becomes of it while the arguments are not there. Default: as `policy.undecided` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided: Option<UndecidedChoice>,
    /// What a denied caller is told, where `denied_as` is `denied`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
