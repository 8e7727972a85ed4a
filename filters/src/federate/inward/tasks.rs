//! The Tasks extension is not carried over several backends: ids of tasks do not say whose they are.

use crate::envelope::TASKS_EXTENSION;
use crate::rpc::members::{member, members};
use crate::rpc::scan::Message;
use crate::splice::{Edit, quoted};
use memchr::memchr;
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// Takes the extension out of what the client declares that it can do: a backend that saw it might answer with a task of
/// its own, which nobody could ask for here.
pub(super) fn taken_out(message: &Message, body: &[u8]) -> Option<Edit> {
    let declared = message.params.as_ref()?.meta.as_ref()?.client_capabilities?;
    if !may_be_named(declared.span.of(body)) {
        return None;
    }
    let extensions = member(declared.span.of(body), "extensions")?.span.within(declared.span);
    let object = extensions.of(body);
    member(object, TASKS_EXTENSION)?;
    let mut kept = vec![b'{'];
    for extension in members(object).filter(|extension| extension.name != TASKS_EXTENSION) {
        if kept.len() > 1 {
            kept.push(b',');
        }
        kept.extend_from_slice(&quoted(&extension.name));
        kept.push(b':');
        kept.extend_from_slice(extension.value.span.of(object));
    }
    kept.push(b'}');
    Some(Edit { span: extensions, with: kept.into() })
}

/// Whether the extension may be named in a piece of JSON: told without reading it.
fn may_be_named(json: &[u8]) -> bool {
    static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(TASKS_EXTENSION));
    json.len() > TASKS_EXTENSION.len() && (NAME.find(json).is_some() || memchr(b'\\', json).is_some())
}
