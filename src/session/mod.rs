//! What must outlive an exchange of a legacy session.
//!
//! A ticket (sealed, in the client's hands) says who began a session and on what terms. What changes afterwards is kept
//! here, by the node: upstream session ids, log level, subscriptions ([`store`]), written through to the state directory
//! ([`journal`]) so that a killed process loses nothing that was answered; for a while also the events that a client may
//! ask for again ([`streams`]), in memory only. What goes on without its client ([`detached`]) and what it says without
//! waiting ([`notices`]) is counted. [`Sessions`] is the front; [`open`] puts it together.

pub mod before;
pub mod detached;
mod ended;
pub mod journal;
pub mod keys;
pub mod left;
pub mod level;
pub mod limits;
pub mod lists;
pub mod live;
pub mod notices;
pub mod secrets;
pub mod sessions;
pub mod start;
pub mod state_dir;
pub mod store;
pub mod streams;
#[cfg(test)]
mod tests;
pub mod underway;
pub mod upstream_session;

pub use before::Before;
pub use detached::{Cost, Detached};
pub use journal::SessionRecord;
pub use left::Left;
pub use level::LogLevel;
pub use limits::{DetachedLimits, Limits, ReplayLimits};
pub use lists::Lists;
pub use live::{Listening, Loss, Session as NodeSession, Whose};
pub use notices::{About, Notice, Notices};
pub use secrets::Secrets;
pub use sessions::Sessions;
pub use start::{Opened, Options, StartFault, open};
pub use store::{InsertFault, Standing};
pub use streams::{End, Resume, StreamKind, StreamRecord, Told};
pub use underway::Underway;
pub use upstream_session::{UpstreamId, UpstreamSession};
