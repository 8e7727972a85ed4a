//! The resources that a session's client is subscribed to, and whose they are.

use super::{Gone, Session, SubscribeFault, URI_BYTES_MAX, Whose};
use crate::session::journal::{Ack, Change, Slot};
use crate::session::limits::Limits;

impl Session {
    /// The URIs that the client is subscribed to, sorted.
    pub fn subscriptions(&self) -> Vec<Box<str>> {
        self.state.lock().subscriptions.keys().cloned().collect()
    }

    /// The URIs that the client is subscribed to, and whose each is, where this process knows.
    pub fn subscribed(&self) -> Vec<(Box<str>, Option<Whose>)> {
        self.state.lock().subscriptions.iter().map(|(uri, whose)| (uri.clone(), whose.clone())).collect()
    }

    /// Whether the client is subscribed to something of which this process does not know whose it is.
    pub fn has_nobodys(&self) -> bool {
        self.state.lock().subscriptions.values().any(Option::is_none)
    }

    /// Notes whose a resource is that the client is subscribed to, where there is room for what its backend calls it; where
    /// there is none, that must be found out each time that it matters.
    pub(in crate::session) fn belongs(&self, uri: &str, whose: Whose, limits: &Limits) {
        let mut state = self.state.lock();
        let Some(known) = state.subscriptions.get(uri) else { return };
        let bytes = state.subscription_bytes - original_bytes(known) + whose.original.len();
        if bytes <= limits.subscription_bytes {
            state.subscription_bytes = bytes;
            state.subscriptions.insert(uri.into(), Some(whose));
        }
    }

    /// What the client calls a backend's resource that it is subscribed to, where this process knows.
    pub fn subscribed_as(&self, backend: &str, original: &str) -> Option<Box<str>> {
        let state = self.state.lock();
        let is_it = |whose: &Whose| *whose.backend == *backend && *whose.original == *original;
        let mut subscribed = state.subscriptions.iter();
        subscribed.find(|(_, whose)| whose.as_ref().is_some_and(is_it)).map(|(uri, _)| uri.clone())
    }

    pub(in crate::session) fn subscribe(
        &self,
        uri: &str,
        limits: &Limits,
        slot: Slot<'_>,
    ) -> Result<Ack, SubscribeFault> {
        if uri.len() > URI_BYTES_MAX {
            return Err(SubscribeFault::UriTooLong);
        }
        let mut state = self.state.lock();
        if state.gone {
            return Err(SubscribeFault::Gone);
        }
        if state.subscriptions.contains_key(uri) {
            return Ok(Ack::nothing());
        }
        let bytes = state.subscription_bytes + uri.len();
        if state.subscriptions.len() >= limits.subscriptions || bytes > limits.subscription_bytes {
            return Err(SubscribeFault::TooMany);
        }
        state.subscription_bytes = bytes;
        state.subscriptions.insert(uri.into(), None);
        Ok(slot.put(&Change::Subscribed { id: self.id, uri: uri.into() }))
    }

    pub(in crate::session) fn unsubscribe(&self, uri: &str, slot: Slot<'_>) -> Result<Ack, Gone> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(Gone);
        }
        let Some(whose) = state.subscriptions.remove(uri) else { return Ok(Ack::nothing()) };
        state.subscription_bytes -= uri.len() + original_bytes(&whose);
        Ok(slot.put(&Change::Unsubscribed { id: self.id, uri: uri.into() }))
    }
}

/// What is held beside the URI that the client knows; the backend's name is shared.
fn original_bytes(whose: &Option<Whose>) -> usize {
    whose.as_ref().map_or(0, |whose| whose.original.len())
}
