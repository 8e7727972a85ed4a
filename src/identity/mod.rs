//! Issuers at run time: where their keys come from and how old they may become, what they say of opaque tokens, and what
//! no longer counts.
//!
//! ```text
//! settings ─► prepare ─► commit ──► one task an issuer: discovery ─► key set ─► published (ArcSwap)
//!                                                                                    │
//!                                          requests read without waiting ◄───────────┘
//! ```
//!
//! Everything fails closed: without keys, with keys that are too old, or with a list that is too old, the answer is that
//! nothing is known, never that everything is right. What is fetched goes through [`crate::egress`].

mod discovery;
mod introspection;
mod issuer;
mod keys;
mod registry;
mod revocation;
mod settings;
mod source;

pub use discovery::DiscoveryFault;
pub use introspection::{IntrospectionFault, Introspector};
pub use issuer::{Believed, Issuer, KeyFault, KeyState, Keys, NoKeys, Report};
pub use keys::revoker;
pub use registry::{Identities, Prepared, Unusable, UnusableReason};
pub use revocation::{ListFault, RevocationSettings, RevocationWatch, Revoked, Revoker};
pub use settings::{ClientAuth, IntrospectionSettings, IssuerSettings, KeySettings, KeysFrom};

use lockgate_filters::exchange::UnixMillis;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What time it is; tests bring their own.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

#[cfg(test)]
mod testing;
