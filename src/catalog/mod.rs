//! What each federated virtual server shows, kept true while backends come, go and change.
//!
//! Backends are asked in the upstream room; here their inventories become catalogs ([`keeper`]), and whoever holds a stream
//! open is told what changed ([`news`]).

mod callers;
mod keeper;
mod news;

pub use keeper::Catalogs;
pub use news::{News, Versions};
