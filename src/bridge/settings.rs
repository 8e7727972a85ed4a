//! What a bridge is told.

use crate::upstream::connector::Connector;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::{EndpointSettings, PoolSettings, SettingsError, Timeouts};
use lockgate_filters::rpc::scan;
use lockgate_filters::splice::Outbound;
use std::sync::Arc;
use std::time::Duration;

/// The endpoint that messages are brought to.
#[derive(Clone, Debug)]
pub struct Server {
    /// What connects.
    pub connector: Arc<Connector>,
    /// Where it is.
    pub endpoint: Arc<Endpoint>,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Fields that every request carries which no message of the client is the cause of: streams, the end of a session.
    pub fields: Outbound,
}

impl Server {
    /// An endpoint in the network.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn at(settings: &EndpointSettings) -> Result<Server, SettingsError> {
        let connector = Arc::new(Connector::new());
        let endpoint = Arc::new(Endpoint::new(settings, PoolSettings::default(), &connector)?);
        // A call may take as long as its client likes to wait; a client that no longer does says so.
        let timeouts = Timeouts {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(3600),
            idle_stream: Duration::from_secs(3600),
            total: Duration::from_secs(86_400),
        };
        Ok(Server { connector, endpoint, timeouts, fields: Outbound::new() })
    }
}

/// What one client may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest message of the client, in bytes.
    pub message_bytes: usize,
    /// Of what is in a message.
    pub scan: scan::Limits,
    /// Requests that are not answered yet; beyond it they are refused.
    pub requests: usize,
    /// Notifications and responses of the client on their way; beyond it the client is not read.
    pub speech: usize,
    /// The longest answer in JSON, in bytes.
    pub answer_bytes: usize,
    /// The longest event of a stream, in bytes.
    pub event_bytes: usize,
    /// Messages that wait for the client to take them; beyond it the server is not read.
    pub queue: usize,
    /// Pages of a tool list that are read to learn what a call mirrors.
    pub tool_pages: usize,
    /// Resource subscriptions that are made again where the server has lost the session.
    pub subscriptions: usize,
    /// The URIs of those, together, in bytes.
    pub subscription_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes: 16 << 20,
            scan: scan::Limits { depth: 128, batch: 100 },
            requests: 256,
            speech: 32,
            answer_bytes: 64 << 20,
            event_bytes: 16 << 20,
            queue: 64,
            tool_pages: 64,
            subscriptions: 1000,
            subscription_bytes: 64 << 10,
        }
    }
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the server to take a notification, before the client's next message goes out all the same.
    pub order: Duration,
    /// For answers that are on their way when the client has said its last word.
    pub answers: Duration,
    /// For the server to end the session.
    pub farewell: Duration,
    /// For the server to open a session that it has lost again: for each who waits for it.
    pub renewal: Duration,
    /// For the tools that a call's headers depend on.
    pub tools: Duration,
    /// Before a stream is opened again whose server named no time: the first wait. It doubles while nothing comes.
    pub again: Duration,
    /// The longest of those waits, whatever the server names.
    pub again_most: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            order: Duration::from_secs(10),
            answers: Duration::from_secs(30),
            farewell: Duration::from_secs(2),
            renewal: Duration::from_secs(30),
            tools: Duration::from_secs(10),
            again: Duration::from_secs(1),
            again_most: Duration::from_secs(60),
        }
    }
}
