//! What a client declared in `initialize`, as a set of bits that fits a ticket.
//!
//! A ticket must stay small, so it keeps which capabilities were declared and not their JSON. That is enough to open the
//! session at a backend again in the same terms; `experimental` has no fixed meaning and is not kept.

use serde_json::{Map, Value};
use std::ops::BitOr;

/// The client capabilities of one session: the legacy revisions' `ClientCapabilities`.
///
/// Bits that this version does not know (minted by a newer gateway with the same keys) are carried untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ClientCapabilities(u32);

impl ClientCapabilities {
    /// Nothing declared.
    pub const NONE: ClientCapabilities = ClientCapabilities(0);
    /// `roots`.
    pub const ROOTS: ClientCapabilities = ClientCapabilities(1);
    /// `roots.listChanged`.
    pub const ROOTS_LIST_CHANGED: ClientCapabilities = ClientCapabilities(1 << 1);
    /// `sampling`.
    pub const SAMPLING: ClientCapabilities = ClientCapabilities(1 << 2);
    /// `sampling.tools` (2025-11-25).
    pub const SAMPLING_TOOLS: ClientCapabilities = ClientCapabilities(1 << 3);
    /// `sampling.context` (2025-11-25).
    pub const SAMPLING_CONTEXT: ClientCapabilities = ClientCapabilities(1 << 4);
    /// `elicitation.form`; also an empty `elicitation`, which means the same (2025-11-25).
    pub const ELICITATION_FORM: ClientCapabilities = ClientCapabilities(1 << 5);
    /// `elicitation.url` (2025-11-25).
    pub const ELICITATION_URL: ClientCapabilities = ClientCapabilities(1 << 6);
    /// `tasks` (2025-11-25, experimental).
    pub const TASKS: ClientCapabilities = ClientCapabilities(1 << 7);
    /// `tasks.list`.
    pub const TASKS_LIST: ClientCapabilities = ClientCapabilities(1 << 8);
    /// `tasks.cancel`.
    pub const TASKS_CANCEL: ClientCapabilities = ClientCapabilities(1 << 9);
    /// `tasks.requests.sampling.createMessage`.
    pub const TASKS_SAMPLING: ClientCapabilities = ClientCapabilities(1 << 10);
    /// `tasks.requests.elicitation.create`.
    pub const TASKS_ELICITATION: ClientCapabilities = ClientCapabilities(1 << 11);
    /// `extensions["io.modelcontextprotocol/ui"]`: the client shows MCP Apps.
    pub const UI: ClientCapabilities = ClientCapabilities(1 << 12);

    /// Reads the `capabilities` member of `initialize`; what is no JSON object declares nothing.
    pub fn declared(json: &[u8]) -> ClientCapabilities {
        let Ok(declared) = serde_json::from_slice::<Value>(json) else { return ClientCapabilities::NONE };
        let mut all = ClientCapabilities::NONE;
        for (pointer, capability) in POINTERS {
            if declared.pointer(pointer).is_some_and(is_declared) {
                all = all | capability;
            }
        }
        if declared.get("elicitation").is_some_and(is_declared) && !all.contains(ClientCapabilities::ELICITATION_URL) {
            all = all | ClientCapabilities::ELICITATION_FORM;
        }
        all
    }

    /// Whether all of these were declared.
    pub const fn contains(self, wanted: ClientCapabilities) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// The `capabilities` of an `initialize` that declares the same again.
    pub fn to_json(self) -> Value {
        let mut declared = Value::Object(Map::new());
        for (pointer, capability) in POINTERS {
            // An empty `elicitation` means forms in every revision; naming them would be new to older ones.
            let implied = capability == ClientCapabilities::ELICITATION_FORM
                && !self.contains(ClientCapabilities::ELICITATION_URL);
            if self.contains(capability) {
                declare(&mut declared, if implied { "/elicitation" } else { pointer });
            }
        }
        declared
    }

    /// Whether a server may ask this client anything: for its roots, to sample, to elicit.
    pub fn may_be_asked(self) -> bool {
        let questions = ClientCapabilities::ROOTS
            | ClientCapabilities::SAMPLING
            | ClientCapabilities::ELICITATION_FORM
            | ClientCapabilities::ELICITATION_URL;
        self.0 & questions.0 != 0
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }

    pub(super) const fn from_bits(bits: u32) -> ClientCapabilities {
        ClientCapabilities(bits)
    }
}

impl BitOr for ClientCapabilities {
    type Output = ClientCapabilities;

    fn bitor(self, other: ClientCapabilities) -> ClientCapabilities {
        ClientCapabilities(self.0 | other.0)
    }
}

/// Where each capability stands below `capabilities` (RFC 6901 pointers).
const POINTERS: [(&str, ClientCapabilities); 13] = [
    ("/roots", ClientCapabilities::ROOTS),
    ("/roots/listChanged", ClientCapabilities::ROOTS_LIST_CHANGED),
    ("/sampling", ClientCapabilities::SAMPLING),
    ("/sampling/tools", ClientCapabilities::SAMPLING_TOOLS),
    ("/sampling/context", ClientCapabilities::SAMPLING_CONTEXT),
    ("/elicitation/form", ClientCapabilities::ELICITATION_FORM),
    ("/elicitation/url", ClientCapabilities::ELICITATION_URL),
    ("/tasks", ClientCapabilities::TASKS),
    ("/tasks/list", ClientCapabilities::TASKS_LIST),
    ("/tasks/cancel", ClientCapabilities::TASKS_CANCEL),
    ("/tasks/requests/sampling/createMessage", ClientCapabilities::TASKS_SAMPLING),
    ("/tasks/requests/elicitation/create", ClientCapabilities::TASKS_ELICITATION),
    ("/extensions/io.modelcontextprotocol~1ui", ClientCapabilities::UI),
];

/// Writes one capability where its pointer says.
fn declare(declared: &mut Value, pointer: &str) {
    let flag = pointer == "/roots/listChanged";
    let mut at = declared;
    for key in pointer.split('/').skip(1) {
        let Value::Object(members) = at else { return };
        at = members.entry(key.replace("~1", "/")).or_insert_with(|| Value::Object(Map::new()));
    }
    if flag {
        *at = Value::Bool(true);
    }
}

/// Capabilities are objects, flags within them booleans; some clients write `true` for both.
fn is_declared(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_declared_can_be_declared_again() {
        let all = r#"{"roots":{"listChanged":true},"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"tasks":{"requests":{"sampling":{"createMessage":{}}}},"extensions":{"io.modelcontextprotocol/ui":{}}}"#;
        for declared in [all, r#"{"elicitation":{}}"#, r#"{"elicitation":{"url":{}}}"#, "{}"] {
            let known = ClientCapabilities::declared(declared.as_bytes());
            assert_eq!(ClientCapabilities::declared(known.to_json().to_string().as_bytes()), known, "{declared}");
        }
        let form = ClientCapabilities::declared(br#"{"elicitation":{}}"#).to_json();
        assert_eq!(form, serde_json::json!({"elicitation": {}}));
    }

    #[test]
    fn what_is_declared_is_kept() {
        let all = ClientCapabilities::declared(
            br#"{"roots":{"listChanged":true},"sampling":{"tools":{}},"elicitation":{"url":{}},
                "tasks":{"list":{},"requests":{"elicitation":{"create":{}}}},"experimental":{"x":{}},
                "extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":[]}}}"#,
        );
        let wanted = ClientCapabilities::ROOTS
            | ClientCapabilities::ROOTS_LIST_CHANGED
            | ClientCapabilities::SAMPLING
            | ClientCapabilities::SAMPLING_TOOLS
            | ClientCapabilities::ELICITATION_URL
            | ClientCapabilities::TASKS
            | ClientCapabilities::TASKS_LIST
            | ClientCapabilities::TASKS_ELICITATION
            | ClientCapabilities::UI;
        assert_eq!(all, wanted);
    }

    #[test]
    fn an_empty_elicitation_means_forms() {
        assert_eq!(ClientCapabilities::declared(br#"{"elicitation":{}}"#), ClientCapabilities::ELICITATION_FORM);
    }

    #[test]
    fn a_false_flag_a_null_and_nonsense_declare_nothing() {
        for json in [&br#"{"roots":null,"sampling":false,"tasks":3}"#[..], b"[]", b"7", b"", b"{"] {
            assert_eq!(ClientCapabilities::declared(json), ClientCapabilities::NONE);
        }
        assert_eq!(ClientCapabilities::declared(br#"{"roots":{"listChanged":false}}"#), ClientCapabilities::ROOTS);
    }
}
