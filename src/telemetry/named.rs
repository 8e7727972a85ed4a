//! Metric handles by name, alive as long as somebody holds them.
//!
//! A reload asks for the handles of its new snapshot while the old snapshot still holds its own: the same name gives the
//! same handle, so series go on across a reload, and the series of what was removed vanish with its last exchange.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

#[derive(Debug)]
pub(super) struct Named<T>(Mutex<HashMap<Box<str>, Weak<T>>>);

impl<T> Default for Named<T> {
    fn default() -> Named<T> {
        Named(Mutex::new(HashMap::new()))
    }
}

impl<T> Named<T> {
    /// The living handle of this name, or a new one.
    pub fn get(&self, name: &str, create: impl FnOnce() -> T) -> Arc<T> {
        let mut handles = self.0.lock();
        if let Some(handle) = handles.get(name).and_then(Weak::upgrade) {
            return handle;
        }
        let handle = Arc::new(create());
        handles.insert(name.into(), Arc::downgrade(&handle));
        handle
    }

    /// Called from the drop of a handle: runs `remove_series` unless a younger handle of the same name uses them.
    pub fn forget(&self, name: &str, remove_series: impl FnOnce()) {
        let mut handles = self.0.lock();
        if handles.get(name).is_some_and(|younger| younger.strong_count() > 0) {
            return;
        }
        handles.remove(name);
        remove_series();
    }
}
