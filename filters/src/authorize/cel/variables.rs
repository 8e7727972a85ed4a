//! What a condition may be about.

/// A variable of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variable {
    /// `principal`: issuer, subject, tenant, groups, scopes, proof, anonymous.
    Principal,
    /// `claims`: what the caller's token says.
    Claims,
    /// `tool`: name, backend, original, annotations, title.
    Tool,
    /// `prompt`: name, backend, original, title.
    Prompt,
    /// `resource`: uri (as its backend knows it), backend.
    Resource,
    /// `action`: such as `tools:call`.
    Action,
    /// `args`: the arguments of the call.
    Args,
    /// `server`: the name of the virtual server.
    Server,
    /// `source`: the client's address.
    Source,
    /// `now`: seconds since 1970.
    Now,
    /// `time`: hour, minute, weekday, date; in UTC.
    Time,
    /// `headers`: those that the policy names.
    Headers,
}

impl Variable {
    /// All variables, in the order of their numbers.
    pub const ALL: [Variable; 12] = [
        Variable::Principal,
        Variable::Claims,
        Variable::Tool,
        Variable::Prompt,
        Variable::Resource,
        Variable::Action,
        Variable::Args,
        Variable::Server,
        Variable::Source,
        Variable::Now,
        Variable::Time,
        Variable::Headers,
    ];

    /// Its name in conditions.
    pub const fn name(self) -> &'static str {
        match self {
            Variable::Principal => "principal",
            Variable::Claims => "claims",
            Variable::Tool => "tool",
            Variable::Prompt => "prompt",
            Variable::Resource => "resource",
            Variable::Action => "action",
            Variable::Args => "args",
            Variable::Server => "server",
            Variable::Source => "source",
            Variable::Now => "now",
            Variable::Time => "time",
            Variable::Headers => "headers",
        }
    }

    /// The members it always has, where these are known.
    pub const fn members(self) -> Option<&'static [&'static str]> {
        match self {
            Variable::Principal => Some(&["issuer", "subject", "tenant", "groups", "scopes", "proof", "anonymous"]),
            Variable::Tool => Some(&["name", "backend", "original", "annotations", "title"]),
            Variable::Prompt => Some(&["name", "backend", "original", "title"]),
            Variable::Resource => Some(&["uri", "backend"]),
            Variable::Time => Some(&["hour", "minute", "weekday", "date"]),
            _ => None,
        }
    }

    /// The variable of this name.
    pub fn named(name: &str) -> Option<Variable> {
        Variable::ALL.into_iter().find(|variable| variable.name() == name)
    }
}

/// A set of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Variables(u16);

impl Variables {
    /// None.
    pub const NONE: Variables = Variables(0);
    /// Those that are others with each request of one caller, whatever it is for: nothing that depends on them can be kept.
    pub const VOLATILE: Variables =
        Variables::NONE.with(Variable::Source).with(Variable::Now).with(Variable::Time).with(Variable::Headers);

    /// These and one more.
    #[must_use]
    pub const fn with(self, variable: Variable) -> Variables {
        Variables(self.0 | 1 << variable as u16)
    }

    /// Those of both.
    #[must_use]
    pub const fn or(self, other: Variables) -> Variables {
        Variables(self.0 | other.0)
    }

    /// Whether this is one of them.
    pub const fn contains(self, variable: Variable) -> bool {
        self.0 & 1 << variable as u16 != 0
    }

    /// Whether one is in both.
    pub const fn meets(self, other: Variables) -> bool {
        self.0 & other.0 != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Variable> {
        Variable::ALL.into_iter().filter(move |variable| self.contains(*variable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_by_their_names() {
        for (number, variable) in Variable::ALL.into_iter().enumerate() {
            assert_eq!(Variable::named(variable.name()), Some(variable));
            assert_eq!(variable as usize, number);
        }
        assert_eq!(Variables::VOLATILE.iter().count(), 4);
        assert!(!Variables::VOLATILE.contains(Variable::Args));
    }
}
