//! Clients that do not speak Streamable HTTP: their channel of JSON-RPC messages on one side, one endpoint that does on
//! the other.
//!
//! A channel is standard input and output ([`stdio`]), or whatever else brings messages one by one. A [`Bridge`] stands
//! for one client. It is a client of Streamable HTTP like any other, of both eras: which one a message is of, the message
//! itself says, and a server that does not offer it answers for itself. So nothing is decided here that the endpoint
//! decides, and no message is rewritten:
//!
//! - `hear` takes the client's messages in their order, and says what becomes of each;
//! - `ask` carries requests out, `answer` reads what comes back; `inflight` knows which are not answered yet;
//! - `session` is the legacy session, its stream included, `renew` opens it again where the server has lost it; `tools` what modern calls mirror into headers.
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
pub mod stdio;
#[cfg(test)]
mod tests;
mod tools;
mod wire;

pub use hear::{Bridge, Said};
pub use settings::{Limits, Patience, Server};
