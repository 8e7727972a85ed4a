//! HTTP/2 of a listener: its limits, and each stream counted as a request in flight.

use super::settings::ConnectionLimits;
use crate::drain::Drain;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use std::sync::Arc;
use std::time::Duration;

/// Streams that were reset by the client before they were taken up, kept at once.
const PENDING_RESETS: usize = 20;

/// Streams that we had to reset for a client's protocol errors, over a connection's life.
const ERROR_RESETS: usize = 256;

/// Streams that we reset, remembered to ignore what still arrives for them.
const REMEMBERED_RESETS: usize = 50;

/// What a client may send on a stream, and on all streams together, before we have read it: enough for a body at the
/// pace of a long line, little enough for many clients at once.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;

/// Bytes of an answer that wait for the client in our memory, for each stream.
const SEND_BUFFER: usize = 128 * 1024;

/// The application of one HTTP/2 connection.
pub(crate) struct Http2<A> {
    app: Arc<A>,
    drain: Drain,
    options: HttpServerOptions,
    header_bytes: usize,
    streams: u32,
    write_time: Duration,
}

impl<A> Http2<A> {
    pub(crate) fn new(app: Arc<A>, drain: Drain, limits: &ConnectionLimits) -> Http2<A> {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(limits.keep_alive_idle);
        Http2 {
            app,
            drain,
            options,
            header_bytes: limits.header_bytes,
            streams: limits.streams_per_connection,
            write_time: limits.write_time,
        }
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Http2<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let _in_flight = self.drain.enter();
        let notice = self.drain.notice();
        tokio::pin!(notice);
        Drain::stir(notice.as_mut()).await;
        // A client may read its socket and yet grant this stream no window.
        session.set_write_timeout(Some(self.write_time));
        self.app.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options
            .max_header_list_size(u32::try_from(self.header_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(self.streams)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(Some(ERROR_RESETS))
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
