//! What a backend promised to tell when it changes, and how a client is told that it may have missed such news.

use serde::Deserialize;

/// The lists whose changes a backend announces (`listChanged` of its capabilities).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    tools: bool,
    prompts: bool,
    resources: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Declared {
    tools: Option<Announced>,
    prompts: Option<Announced>,
    resources: Option<Announced>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Announced {
    #[serde(default)]
    list_changed: bool,
}

impl Lists {
    /// All of them.
    pub const ALL: Lists = Lists { tools: true, prompts: true, resources: true };

    /// What the `capabilities` of an `initialize` result declare; nothing where they cannot be read.
    pub fn declared(capabilities: &[u8]) -> Lists {
        let declared: Declared = serde_json::from_slice(capabilities).unwrap_or_default();
        let announced = |list: Option<Announced>| list.is_some_and(|list| list.list_changed);
        Lists {
            tools: announced(declared.tools),
            prompts: announced(declared.prompts),
            resources: announced(declared.resources),
        }
    }

    /// The notifications that make a client ask for these lists again, as JSON-RPC messages.
    pub fn notifications(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.tools, r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#),
            (self.prompts, r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#),
            (self.resources, r#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#),
        ];
        all.into_iter().filter_map(|(announced, message)| announced.then_some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_declared_is_told() {
        let lists = Lists::declared(
            br#"{"tools":{"listChanged":true},"prompts":{},"resources":{"subscribe":true,"listChanged":true},"x":1}"#,
        );
        let told: Vec<_> = lists.notifications().collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("tools/list_changed") && told[1].contains("resources/list_changed"));
        for nothing in [&b"{}"[..], b"[]", b"", br#"{"tools":{"listChanged":false}}"#, br#"{"tools":1}"#] {
            assert_eq!(Lists::declared(nothing), Lists::default());
        }
    }
}
