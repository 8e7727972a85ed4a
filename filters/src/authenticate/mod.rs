//! Who calls: what a request shows, taken for what it proves.
//!
//! Everything here is pure: keys, revocations and caches are handed in, and so is the time. Nothing that a token says is
//! believed before its signature was checked with a key that the configuration leads to; a token is never asked where its
//! keys are. Whatever cannot be decided is refused.
//!
//! Clients are told no more than `invalid_token`. Why, is in the label and text of each fault: for metrics and for the
//! operator's log.

pub mod access;
pub mod algorithm;
pub mod api_key;
pub mod audience;
pub mod cache;
pub mod certificate;
pub mod challenge;
pub mod claims;
pub mod clock;
pub mod credentials;
pub mod fault;
pub mod filter;
pub mod generation;
pub mod keys;
pub mod metadata;
pub mod profile;
pub mod revoked;
pub mod selector;
#[cfg(test)]
mod testing;
pub mod token;
pub mod verify;

use aws_lc_rs::digest::{SHA256, digest};

/// The SHA-256 digest of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Whether a text can stand for somebody or something: not empty, no longer than `most` bytes, no control characters.
pub(crate) fn is_name(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
}
