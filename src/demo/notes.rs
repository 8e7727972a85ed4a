//! Notes that clients write: state to see change. In memory, shared by everybody who uses this demo server.

use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Notes that are kept.
pub(super) const NOTES_MAX: usize = 64;

/// Bytes in a note.
pub(super) const NOTE_BYTES_MAX: usize = 4096;

/// Characters in a note's name.
const NAME_CHARS_MAX: usize = 40;

/// Changes that a slow subscriber may be behind; then it misses the oldest.
const CHANGES_QUEUED_MAX: usize = 16;

/// The index of the notes as a resource.
pub(super) const INDEX_URI: &str = "demo://notes";

/// The resource of a note.
pub(super) fn uri(name: &str) -> String {
    format!("{INDEX_URI}/{name}")
}

/// What happened to a note.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    /// The resource of the note.
    pub uri: Arc<str>,
    /// Whether the note is new or gone, so that the list of resources is another.
    pub list: bool,
}

/// All notes, by name.
#[derive(Debug)]
pub(super) struct Notes {
    by_name: RwLock<BTreeMap<String, Arc<str>>>,
    changes: broadcast::Sender<Change>,
}

impl Default for Notes {
    fn default() -> Notes {
        Notes { by_name: RwLock::default(), changes: broadcast::Sender::new(CHANGES_QUEUED_MAX) }
    }
}

impl Notes {
    /// Everything that changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub fn names(&self) -> Vec<String> {
        self.by_name.read().keys().cloned().collect()
    }

    pub fn read(&self, name: &str) -> Option<Arc<str>> {
        self.by_name.read().get(name).cloned()
    }

    /// Writes a note; the error is for whoever called.
    pub fn write(&self, name: &str, text: &str) -> Result<(), String> {
        if name.is_empty()
            || name.len() > NAME_CHARS_MAX
            || !name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        {
            return Err(format!("a note's name has 1 to {NAME_CHARS_MAX} characters out of a-z, 0-9 and -"));
        }
        if text.len() > NOTE_BYTES_MAX {
            return Err(format!("a note has at most {NOTE_BYTES_MAX} bytes"));
        }
        let mut notes = self.by_name.write();
        if notes.len() >= NOTES_MAX && !notes.contains_key(name) {
            return Err(format!("there are {NOTES_MAX} notes already: delete one first"));
        }
        let new = notes.insert(name.to_owned(), text.into()).is_none();
        drop(notes);
        self.tell(name, new);
        Ok(())
    }

    /// Deletes a note; `false` when there was none.
    pub fn delete(&self, name: &str) -> bool {
        let deleted = self.by_name.write().remove(name).is_some();
        if deleted {
            self.tell(name, true);
        }
        deleted
    }

    fn tell(&self, name: &str, list: bool) {
        // An error says that nobody listens.
        let _ = self.changes.send(Change { uri: uri(name).into(), list });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_say_whether_the_list_is_another() {
        let notes = Notes::default();
        let mut changes = notes.changes();
        notes.write("milk", "two bottles").unwrap();
        notes.write("milk", "three bottles").unwrap();
        assert!(notes.delete("milk") && !notes.delete("milk"));
        let list: Vec<bool> = std::iter::from_fn(|| changes.try_recv().ok()).map(|change| change.list).collect();
        assert_eq!(list, [true, false, true]);
    }

    #[test]
    fn notes_are_bounded_in_name_size_and_number() {
        let notes = Notes::default();
        for bad in ["", "A", "a/b", "ä", &"x".repeat(41)] {
            assert!(notes.write(bad, "").is_err(), "{bad}");
        }
        assert!(notes.write("a", &"x".repeat(NOTE_BYTES_MAX + 1)).is_err());
        for number in 0..NOTES_MAX {
            notes.write(&number.to_string(), "").unwrap();
        }
        assert!(notes.write("one-more", "").is_err());
        notes.write("0", "still writable").unwrap();
        assert_eq!(&*notes.read("0").unwrap(), "still writable");
    }
}
