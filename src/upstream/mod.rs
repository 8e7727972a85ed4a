//! Backends, their endpoints, and how bytes get there and back.
//!
//! [`exchange`] is the centre: one request to one endpoint. Below it stand the endpoint, its addresses, its TLS and its
//! open connections. Beside it stand adapters that behave like a Streamable HTTP server and are none: [`stdio`] and [`sse`], over what
//! [`channel`] makes of one duplex of messages. [`reach`] is the one or the other; above it [`fetch`] asks backends on the gateway's own behalf, for `probe` and `tools`, which find
//! out what [`backends`] publishes to the filters.

mod announced;
mod answered;
pub mod backends;
mod caller;
mod callers;
mod channel;
pub mod connector;
mod control;
mod counters;
mod decode;
pub mod endpoint;
mod events;
pub mod exchange;
pub mod fault;
pub mod fetch;
mod gate;
mod ground;
mod h1;
mod h2;
pub mod headers;
mod inventory;
mod live;
mod pool;
mod probe;
mod reach;
mod resolve;
pub mod response;
pub mod settings;
mod sse;
mod stdio;
#[cfg(test)]
pub(crate) mod testing;
mod time;
mod tls;
mod tools;
mod watch;

pub use backends::{Generation, Registry, UnusableBackend};
pub use caller::Caller;
pub use callers::{CallerLimits, Unread};
#[doc(hidden)]
pub use channel::fuzz::{FUZZED_IDS, FuzzedPeer, fuzz_peer};
pub use counters::{Counters, Taken};
pub use endpoint::Verb;
pub use exchange::UpstreamRequest;
pub use fault::{AttemptFault, FaultKind};
pub use fetch::{Fetcher, Outcome, Reply, RpcError, Speech};
#[doc(hidden)]
pub use h1::fuzz::{FuzzedResponse, fuzz_response};
pub use live::LiveBackend;
pub use resolve::Dial;
pub use response::{Form, UpstreamResponse};
pub use settings::{
    BackendSettings, CommandSettings, EndpointSettings, Http2, PoolSettings, Protocol, Setting, SettingsError,
    StockSettings, Timeouts, TlsIdentity, TlsSettings, ToolSettings,
};
