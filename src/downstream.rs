//! The client's side of a connection while an answer is on its way.

use pingora::ErrorType;
use pingora_proxy::Session;
use std::future::pending;

/// Resolves when the client has gone: its connection closed, or its HTTP/2 stream was reset.
///
/// Cancel-safe. A client that sends its next request early (pipelining, RFC 9112 section 9.3.2) has not gone. The listener
/// keeps that request back; only what follows a body without a plain end is seen here, and costs the client its connection
/// after this answer.
pub async fn gone(session: &mut Session) {
    match session.downstream_session.read_body_or_idle(true).await {
        Ok(_) => pending().await,
        Err(error) if *error.etype() == ErrorType::ConnectError => {
            session.set_keepalive(None);
            pending().await
        }
        Err(_) => {}
    }
}
