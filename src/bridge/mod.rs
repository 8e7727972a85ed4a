//! Clients that do not speak Streamable HTTP: their channel of JSON-RPC messages on one side, one endpoint that does on
//! the other.
//!
//! A channel is standard input and output ([`stdio`]), or whatever else brings messages one by one. A [`Bridge`] stands
//! for one client. It is a client of Streamable HTTP like any other, of both eras: which one a message is of, the message
//! itself says, and a server that does not offer it answers for itself. So nothing is decided here that the endpoint
//! decides, and no message is rewritten:
//!
//! - `hear` takes the client's messages in their order, and says what becomes of each;
//! - `ask` carries requests out, `answer` reads what comes back; `inflight` knows which are not answered yet,
//!   and `shared` is what they have in common;
//! - `session` is the legacy session, `streams` what the server says in it of its own accord; `renew` opens it again where the
//!   server has lost it, and says again what the client had set (`wishes`);
//! - `tools` is what modern calls mirror into headers.
//!
//! Everything is bounded ([`Limits`]); what does not fit is refused in the protocol's own form.

mod answer;
mod ask;
mod hear;
mod inflight;
mod lines;
mod renew;
mod session;
mod settings;
mod shared;
pub mod stdio;
mod streams;
#[cfg(test)]
mod tests;
mod tools;
mod wire;
mod wishes;

pub use hear::{Bridge, Said};
pub use settings::{Limits, Patience, Server};
