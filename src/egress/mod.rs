//! Everything that the gateway fetches by itself goes out here: key sets, metadata, tokens, questions about tokens.
//!
//! ```text
//! URL ─► rules (scheme, literal) ─► lookup ─► rules (every address) ─► connect to what was looked up ─► bounded answer
//!          ▲                                                                                                │
//!          └──────────────────────── redirect: a learned URL, at most three ────────────────────────────────┘
//! ```
//!
//! A URL that the operator wrote may lead anywhere. One that was learned, from a document or a redirect, is what somebody
//! else wants fetched from inside this network: it leads to public addresses only, over TLS.

pub mod address;
mod client;
mod error;
mod request;
mod resolver;
mod rules;
mod trust;

pub use client::{Bounds, Client, Egress};
pub use error::FetchError;
pub use request::{Accept, Request, Response};
pub use resolver::{Looking, Lookup, system_lookup};
pub use rules::{Origin, Rules};
pub use trust::{Identity, Trust, TrustError};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
