//! How much of each thing the session room keeps. Every number has a name in the configuration's `limits`.

use std::time::Duration;

/// Bounds on what legacy sessions may keep on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `sessions`: live sessions at once.
    pub sessions: usize,
    /// `session_idle`: how long nobody must use a session before it may be given up. Its ticket stays valid.
    pub session_idle: Duration,
    /// `ended_sessions`: ended sessions that are remembered until their tickets expire.
    pub ended_sessions: usize,
    /// `subscriptions`: resource subscriptions of one session.
    pub subscriptions: usize,
    /// `subscription_bytes`: all subscribed URIs of one session together, and what backends call them where that is kept.
    pub subscription_bytes: usize,
    /// `left_bytes`: what is left of sessions that were given up for idleness, all together, in bytes.
    pub left_bytes: usize,
    /// What is kept for clients that come back with `Last-Event-ID`.
    pub replay: ReplayLimits,
    /// What goes on without a client, beside streams.
    pub detached: DetachedLimits,
}

/// Bounds on exchanges that go on although their client has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachedLimits {
    /// `detached`: those of one session, at once.
    pub session: usize,
    /// `detached_total`: those of all sessions.
    pub total: usize,
    /// `detached_bytes`: the request bodies that they hold.
    pub bytes: usize,
    /// `replay_time`: how long one goes on.
    pub time: Duration,
}

/// Bounds on recorded events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayLimits {
    /// `replay_bytes`: recorded events of one session.
    pub bytes: usize,
    /// `replay_time`: how long an event is kept, and how long a stream without a client goes on.
    pub time: Duration,
    /// `replay_streams`: streams of one session that go on without a client.
    pub streams: usize,
    /// `replay_bytes_total`: recorded events of all sessions.
    pub bytes_total: usize,
    /// `replay_streams_total`: streams of all sessions that go on without a client.
    pub streams_total: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sessions: 100_000,
            session_idle: Duration::from_secs(3600),
            ended_sessions: 100_000,
            subscriptions: 1000,
            subscription_bytes: 64 * 1024,
            left_bytes: 32 * 1024 * 1024,
            replay: ReplayLimits::default(),
            detached: DetachedLimits::default(),
        }
    }
}

impl Default for DetachedLimits {
    fn default() -> DetachedLimits {
        DetachedLimits { session: 32, total: 1000, bytes: 64 * 1024 * 1024, time: Duration::from_secs(300) }
    }
}

impl Default for ReplayLimits {
    fn default() -> ReplayLimits {
        ReplayLimits {
            bytes: 1024 * 1024,
            time: Duration::from_secs(300),
            streams: 32,
            bytes_total: 256 * 1024 * 1024,
            streams_total: 1000,
        }
    }
}
