//! What a caller may be allowed: the kinds and verbs of permissions.

use crate::federate::Kind;

/// Something that a caller does, or that a backend does to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// `tools:call`: to call a tool, and to see it listed.
    CallTool,
    /// `prompts:get`: to get a prompt, to complete its arguments, and to see it listed.
    GetPrompt,
    /// `resources:read`: to read a resource, and to see it or its template listed.
    ReadResource,
    /// `resources:subscribe`: to be told when a resource changes.
    Subscribe,
    /// `tasks:use`: to ask for a task, to answer it, to cancel it.
    UseTask,
    /// `sampling:create`: a backend may have the caller's model asked.
    Sample,
    /// `elicitation:create`: a backend may ask the caller's user.
    Elicit,
    /// `roots:list`: a backend may see the caller's roots.
    ListRoots,
}

impl Action {
    /// All actions, in the order of their numbers.
    pub const ALL: [Action; 8] = [
        Action::CallTool,
        Action::GetPrompt,
        Action::ReadResource,
        Action::Subscribe,
        Action::UseTask,
        Action::Sample,
        Action::Elicit,
        Action::ListRoots,
    ];

    /// What listing an item of this kind is governed by.
    pub const fn of(kind: Kind) -> Action {
        match kind {
            Kind::Tools => Action::CallTool,
            Kind::Prompts => Action::GetPrompt,
            Kind::Resources | Kind::Templates => Action::ReadResource,
        }
    }

    /// The first part of its permission.
    pub const fn kind(self) -> &'static str {
        match self {
            Action::CallTool => "tools",
            Action::GetPrompt => "prompts",
            Action::ReadResource | Action::Subscribe => "resources",
            Action::UseTask => "tasks",
            Action::Sample => "sampling",
            Action::Elicit => "elicitation",
            Action::ListRoots => "roots",
        }
    }

    /// The second part of its permission.
    pub const fn verb(self) -> &'static str {
        match self {
            Action::CallTool => "call",
            Action::GetPrompt => "get",
            Action::ReadResource => "read",
            Action::Subscribe => "subscribe",
            Action::UseTask => "use",
            Action::Sample | Action::Elicit => "create",
            Action::ListRoots => "list",
        }
    }

    /// Both parts: also the text that conditions see as `action`, and the label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Action::CallTool => "tools:call",
            Action::GetPrompt => "prompts:get",
            Action::ReadResource => "resources:read",
            Action::Subscribe => "resources:subscribe",
            Action::UseTask => "tasks:use",
            Action::Sample => "sampling:create",
            Action::Elicit => "elicitation:create",
            Action::ListRoots => "roots:list",
        }
    }

    /// Whether it comes with arguments that a condition may be about.
    pub const fn has_arguments(self) -> bool {
        matches!(self, Action::CallTool | Action::GetPrompt)
    }
}

/// A set of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Actions(u16);

impl Actions {
    /// Those for which this holds.
    pub fn filter(holds: impl Fn(Action) -> bool) -> Actions {
        let chosen = Action::ALL.into_iter().filter(|action| holds(*action));
        Actions(chosen.fold(0, |set, action| set | 1 << action as u16))
    }

    /// Whether this is one of them.
    pub const fn contains(self, action: Action) -> bool {
        self.0 & 1 << action as u16 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in one of both.
    #[must_use]
    pub const fn or(self, other: Actions) -> Actions {
        Actions(self.0 | other.0)
    }

    /// Whether all of the others are in this.
    pub const fn covers(self, other: Actions) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether one is in both.
    pub const fn meets(self, other: Actions) -> bool {
        self.0 & other.0 != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.into_iter().filter(move |action| self.contains(*action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_made_of_kind_and_verb() {
        for (number, action) in Action::ALL.into_iter().enumerate() {
            assert_eq!(action.label(), format!("{}:{}", action.kind(), action.verb()));
            assert_eq!(action as usize, number);
        }
    }
}
