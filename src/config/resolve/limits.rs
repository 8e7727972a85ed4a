//! The range of every number: a limit of nothing stops the gateway, and one without end is none.

use super::Resolver;
use crate::config::diagnostic::Finding;
use crate::config::path::KeyPath;
use crate::config::sections::{AdminLimits, Command, Drain, Limits, Pool, Streams, Timeouts};
use crate::config::values::{ByteSize, TimeSpan};
use std::fmt;

const DAY: TimeSpan = TimeSpan::seconds(86_400);
pub(super) const HOUR: TimeSpan = TimeSpan::seconds(3_600);
pub(super) const SECOND: TimeSpan = TimeSpan::seconds(1);
pub(super) const MILLISECOND: TimeSpan = TimeSpan::millis(1);
const NO_TIME: TimeSpan = TimeSpan::millis(0);

/// The largest amount of memory that one message may take.
const GIB: ByteSize = ByteSize::mib(1024);

/// The largest amount of memory that all sessions together may take.
const TIB: ByteSize = ByteSize::mib(1024 * 1024);

impl Resolver<'_> {
    /// Checks the sections that hold limits.
    pub(super) fn check_limits(&mut self, limits: &Limits, streams: &Streams, drain: &Drain) {
        let path = KeyPath::from(["limits"]);
        let sizes = [
            ("header_bytes", limits.header_bytes, ByteSize::kib(1), ByteSize::mib(1)),
            ("body_bytes", limits.body_bytes, ByteSize::bytes(1), GIB),
            ("body_bytes_total", limits.body_bytes_total, ByteSize::kib(64), TIB),
            ("sse_event", limits.sse_event, ByteSize::kib(1), GIB),
            ("answer_bytes", limits.answer_bytes, ByteSize::kib(1), GIB),
            ("write_rate", limits.write_rate, ByteSize::bytes(1), GIB),
            ("subscription_bytes", limits.subscription_bytes, ByteSize::bytes(0), GIB),
            ("left_bytes", limits.left_bytes, ByteSize::bytes(0), TIB),
            ("replay_bytes", limits.replay_bytes, ByteSize::bytes(0), GIB),
            ("replay_bytes_total", limits.replay_bytes_total, ByteSize::bytes(0), TIB),
            ("detached_bytes", limits.detached_bytes, ByteSize::kib(1), ByteSize::mib(65_536)),
            ("list_bytes", limits.list_bytes, ByteSize::kib(1), GIB),
            ("caller_list_bytes", limits.caller_list_bytes, ByteSize::kib(64), TIB),
        ];
        for (key, value, least, most) in sizes {
            self.check_range(path.key(key), value, least, most);
        }
        if limits.body_bytes_total < limits.body_bytes && limits.body_bytes <= GIB {
            let text = "this must be at least body_bytes, or such a body never finds room";
            self.note(Finding::error(path.key("body_bytes_total"), text));
        }
        let counts = [
            ("header_fields", limits.header_fields, 1, 10_000),
            ("depth", limits.depth, 1, 512),
            ("batch", limits.batch, 1, 10_000),
            ("connections", limits.connections, 1, 1_000_000),
            ("connections_per_address", limits.connections_per_address, 1, 1_000_000),
            ("sessions", limits.sessions, 1, 10_000_000),
            ("sse_sessions", limits.sse_sessions, 1, 1_000_000),
            ("listen_streams", limits.listen_streams, 1, 1_000_000),
            ("ended_sessions", limits.ended_sessions, 1, 10_000_000),
            ("subscriptions", limits.subscriptions, 0, 1_000_000),
            ("replay_streams", limits.replay_streams, 0, 10_000),
            ("replay_streams_total", limits.replay_streams_total, 0, 1_000_000),
            ("detached", limits.detached, 1, 100_000),
            ("detached_total", limits.detached_total, 1, 1_000_000),
            ("streams_per_connection", limits.streams_per_connection, 1, 10_000),
            ("list_items", limits.list_items, 1, 1_000_000),
            ("list_pages", limits.list_pages, 1, 10_000),
            ("caller_lists", limits.caller_lists, 1, 100_000),
            ("tool_headers", limits.tool_headers, 0, 1_000),
            ("tool_depth", limits.tool_depth, 1, 512),
        ];
        for (key, value, least, most) in counts {
            self.check_range(path.key(key), value, least, most);
        }
        let times = [
            ("header_time", limits.header_time, MILLISECOND, HOUR),
            ("body_time", limits.body_time, MILLISECOND, HOUR),
            ("keep_alive_idle", limits.keep_alive_idle, MILLISECOND, DAY),
            ("write_time", limits.write_time, SECOND, HOUR),
            ("session_idle", limits.session_idle, SECOND, TimeSpan::seconds(365 * 86_400)),
            ("replay_time", limits.replay_time, NO_TIME, DAY),
            ("list_time", limits.list_time, MILLISECOND, HOUR),
            ("catalog_refresh", limits.catalog_refresh, SECOND, DAY),
        ];
        for (key, value, least, most) in times {
            self.check_range(path.key(key), value, least, most);
        }
        self.check_range(KeyPath::from(["streams", "keep_alive"]), streams.keep_alive, MILLISECOND, HOUR);
        self.check_range(KeyPath::from(["drain", "time"]), drain.time, NO_TIME, DAY);
        self.check_range(KeyPath::from(["drain", "idle"]), drain.idle, NO_TIME, DAY);
    }

    /// Checks the bounds of the admin listener.
    pub(super) fn check_admin_limits(&mut self, path: &KeyPath, limits: &AdminLimits) {
        self.check_range(path.key("connections"), limits.connections, 1, 10_000);
        self.check_range(path.key("header_bytes"), limits.header_bytes, ByteSize::kib(8), ByteSize::mib(1));
        self.check_range(path.key("body_bytes"), limits.body_bytes, ByteSize::bytes(0), ByteSize::mib(16));
        let times = [
            ("header_time", limits.header_time, MILLISECOND, HOUR),
            ("request_time", limits.request_time, SECOND, HOUR),
            ("connection_time", limits.connection_time, SECOND, DAY),
        ];
        for (key, value, least, most) in times {
            self.check_range(path.key(key), value, least, most);
        }
    }

    /// Checks how the connections to one backend are kept.
    pub(super) fn check_pool(&mut self, path: &KeyPath, pool: &Pool) {
        self.check_range(path.key("idle_connections"), pool.idle_connections, 0, 100_000);
        self.check_range(path.key("streams_per_connection"), pool.streams_per_connection, 1, 10_000);
        let times = [
            ("idle_time", pool.idle_time, NO_TIME, HOUR),
            ("idle_time_http2", pool.idle_time_http2, NO_TIME, DAY),
            ("resolve_interval", pool.resolve_interval, SECOND, DAY),
        ];
        for (key, value, least, most) in times {
            self.check_range(path.key(key), value, least, most);
        }
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

    /// Checks what one command and its instances may use.
    pub(super) fn check_command_limits(&mut self, path: &KeyPath, command: &Command) {
        self.check_range(path.key("instances"), command.instances, 1, 10_000);
        self.check_range(path.key("open_files"), command.open_files, 16, 1_048_576);
        self.check_range(path.key("memory"), command.memory, ByteSize::mib(16), TIB);
        let restart = path.key("restart");
        let times = [
            (path.key("idle_stop"), command.idle_stop, SECOND, DAY),
            (restart.key("first"), command.restart.first, TimeSpan::millis(10), HOUR),
            (restart.key("most"), command.restart.most, TimeSpan::millis(10), HOUR),
            (path.key("stop_time"), command.stop_time, MILLISECOND, TimeSpan::seconds(600)),
        ];
        for (path, value, least, most) in times {
            self.check_range(path, value, least, most);
        }
        if let Some(time) = command.cpu_time {
            self.check_range(path.key("cpu_time"), time, SECOND, TimeSpan::seconds(365 * 86_400));
        }
        if command.restart.most < command.restart.first && command.restart.first <= HOUR {
            self.note(Finding::error(restart.key("most"), "the longest wait must be at least the first"));
        }
    }

    /// Checks the numbers of one virtual server.
    pub(super) fn check_server_limits(&mut self, path: &KeyPath, grace: TimeSpan, page_size: u32) {
        self.check_range(path.key("grace"), grace, NO_TIME, DAY);
        self.check_range(path.key("page_size"), page_size, 1, 10_000);
    }

    pub(super) fn check_range<T: PartialOrd + fmt::Display>(&mut self, path: KeyPath, value: T, least: T, most: T) {
        if value < least || value > most {
            self.note(Finding::error(path, format!("this must be from {least} to {most}")));
        }
    }
}
