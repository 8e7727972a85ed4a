//! Accepting clients: sockets, limits, PROXY protocol, TLS.
//!
//! Pingora has no caps on connections, waits without end for a slow head or a silent HTTP/2 client, and closes idle
//! connections under requests that are on their way. So the accept loop and the life of a connection are ours, and
//! Pingora gets a connection only when a whole request head has come, or an HTTP/2 preface:
//!
//! - [`settings`] is what a listener is told; [`listener`] binds it and changes it while it runs.
//! - [`accept`] accepts, within the caps of [`admission`], and is the service that Pingora runs.
//! - `serve` is the life of one connection: [`proxy_protocol`], [`tls`], then heads received by `head`, one after
//!   another, each handed to the application; or `http2`.
//! - `stream` is the connection as Pingora sees it, over `socket`; [`connection`] is what is known of it. `scan` and
//!   `framing` tell where a request ends in it, so that one that is sent early waits for its turn.
//! - [`refusal`] answers what never becomes a request.
//! - [`tally`] counts what was refused.
//! - [`within`] is the way in for requests that the gateway itself makes on behalf of a client that is connected.

pub mod accept;
pub mod admission;
mod alarm;
mod clients;
pub mod connection;
mod framing;
mod head;
mod http2;
pub mod listener;
mod names;
pub mod proxy_protocol;
pub mod refusal;
mod resets;
mod scan;
mod serve;
pub mod settings;
mod socket;
mod stream;
pub mod tally;
pub mod tls;
pub mod within;

#[cfg(test)]
mod tests;

pub use accept::ListenService;
pub use admission::Admission;
pub use clients::ClientCertificate;
pub use connection::Connection;
pub use listener::{BoundListener, Certificate, Change, ListenError, Listener};
pub use refusal::{Refuse, Worded};
pub use settings::{ClientTls, ConnectionLimits, ListenerSettings, ProxyProtocol, TlsFiles};
pub use tally::{Event, Tally};
pub use within::Within;
