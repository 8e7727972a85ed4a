//! The range of every number: a limit of nothing stops the gateway, and one without end is none.

use super::Resolver;
use crate::config::diagnostic::Finding;
use crate::config::path::KeyPath;
use crate::config::sections::{Drain, Limits, Streams, Timeouts};
use crate::config::values::{ByteSize, TimeSpan};
use std::fmt;

const DAY: TimeSpan = TimeSpan::seconds(86_400);
const HOUR: TimeSpan = TimeSpan::seconds(3_600);
const SECOND: TimeSpan = TimeSpan::seconds(1);
const MILLISECOND: TimeSpan = TimeSpan::millis(1);

/// The largest amount of memory that one message may take.
const GIB: ByteSize = ByteSize::mib(1024);

impl Resolver<'_> {
    /// Checks the sections that hold limits.
    pub(super) fn check_limits(&mut self, limits: &Limits, streams: &Streams, drain: &Drain) {
        let path = KeyPath::from(["limits"]);
        let sizes = [
            ("header_bytes", limits.header_bytes, ByteSize::kib(1), ByteSize::mib(1)),
            ("body_bytes", limits.body_bytes, ByteSize::bytes(1), GIB),
            ("sse_event", limits.sse_event, ByteSize::kib(1), GIB),
            ("answer_bytes", limits.answer_bytes, ByteSize::kib(1), GIB),
            ("replay_bytes", limits.replay_bytes, ByteSize::bytes(0), GIB),
            ("detached_bytes", limits.detached_bytes, ByteSize::kib(1), ByteSize::mib(65_536)),
        ];
        for (key, value, least, most) in sizes {
            self.check_range(path.key(key), value, least, most);
        }
        let counts = [
            ("header_fields", limits.header_fields, 10_000),
            ("depth", limits.depth, 512),
            ("batch", limits.batch, 10_000),
            ("connections", limits.connections, 1_000_000),
            ("connections_per_address", limits.connections_per_address, 1_000_000),
            ("sessions", limits.sessions, 10_000_000),
            ("detached", limits.detached, 100_000),
            ("detached_total", limits.detached_total, 1_000_000),
            ("streams_per_connection", limits.streams_per_connection, 10_000),
        ];
        for (key, value, most) in counts {
            self.check_range(path.key(key), value, 1, most);
        }
        let times = [
            ("header_time", limits.header_time, MILLISECOND, HOUR),
            ("body_time", limits.body_time, MILLISECOND, HOUR),
            ("keep_alive_idle", limits.keep_alive_idle, MILLISECOND, DAY),
            ("session_idle", limits.session_idle, SECOND, TimeSpan::seconds(365 * 86_400)),
            ("replay_time", limits.replay_time, TimeSpan::millis(0), DAY),
        ];
        for (key, value, least, most) in times {
            self.check_range(path.key(key), value, least, most);
        }
        self.check_range(KeyPath::from(["streams", "keep_alive"]), streams.keep_alive, MILLISECOND, HOUR);
        self.check_range(KeyPath::from(["drain", "time"]), drain.time, TimeSpan::millis(0), DAY);
    }

    /// Checks the timeouts of one backend.
    pub(super) fn check_timeouts(&mut self, path: &KeyPath, timeouts: &Timeouts) {
        let times = [
            ("connect", timeouts.connect, HOUR),
            ("first_byte", timeouts.first_byte, DAY),
            ("idle_stream", timeouts.idle_stream, DAY),
            ("total", timeouts.total, TimeSpan::seconds(30 * 86_400)),
        ];
        for (key, value, most) in times {
            self.check_range(path.key(key), value, MILLISECOND, most);
        }
    }

    fn check_range<T: PartialOrd + fmt::Display>(&mut self, path: KeyPath, value: T, least: T, most: T) {
        if value < least || value > most {
            self.note(Finding::error(path, format!("this must be from {least} to {most}")));
        }
    }
}
