//! The four kinds of items that are listed, and what MCP calls their parts.

/// A kind of item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Tools, by `name`.
    Tools,
    /// Prompts, by `name`.
    Prompts,
    /// Resources, by `uri`.
    Resources,
    /// Resource templates, by `uriTemplate`.
    Templates,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 4] = [Kind::Tools, Kind::Prompts, Kind::Resources, Kind::Templates];

    /// The kind that a method lists.
    pub fn listed_by(method: &[u8]) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.method().as_bytes() == method)
    }

    /// The method that lists them.
    pub const fn method(self) -> &'static str {
        match self {
            Kind::Tools => "tools/list",
            Kind::Prompts => "prompts/list",
            Kind::Resources => "resources/list",
            Kind::Templates => "resources/templates/list",
        }
    }

    /// The member of the result that holds them: also the label in metrics and messages.
    pub const fn member(self) -> &'static str {
        match self {
            Kind::Tools => "tools",
            Kind::Prompts => "prompts",
            Kind::Resources => "resources",
            Kind::Templates => "resourceTemplates",
        }
    }

    /// The member of an item that names it.
    pub const fn key(self) -> &'static str {
        match self {
            Kind::Tools | Kind::Prompts => "name",
            Kind::Resources => "uri",
            Kind::Templates => "uriTemplate",
        }
    }

    /// The capability that a server declares when it has such items.
    pub const fn capability(self) -> &'static str {
        match self {
            Kind::Tools => "tools",
            Kind::Prompts => "prompts",
            Kind::Resources | Kind::Templates => "resources",
        }
    }

    /// The notification that says that the list changed.
    pub const fn list_changed(self) -> &'static str {
        match self {
            Kind::Tools => "notifications/tools/list_changed",
            Kind::Prompts => "notifications/prompts/list_changed",
            Kind::Resources | Kind::Templates => "notifications/resources/list_changed",
        }
    }

    /// One such item, in a message for people.
    pub const fn noun(self) -> &'static str {
        match self {
            Kind::Tools => "tool",
            Kind::Prompts => "prompt",
            Kind::Resources => "resource",
            Kind::Templates => "resource template",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_by_the_method_that_lists_it() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(Kind::listed_by(kind.method().as_bytes()), Some(kind));
            assert_eq!(kind as usize, number);
        }
        assert_eq!(Kind::listed_by(b"tools/call"), None);
    }
}
