//! A client on standard input and output: one message a line, nothing else on either.

use super::hear::{Bridge, Said};
use super::lines::{self, Line, Lines};
use super::settings::{Limits, Patience, Server};
use lockgate_filters::splice::Outbound;
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};

/// How long the last lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Serves a client until it has said its last word and has its answers, or takes none any more, or `stop` ends.
pub async fn serve<R, W>(input: R, output: W, server: Server, limits: Limits, patience: Patience, stop: impl Future)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (mut bridge, messages) = Bridge::new(server, limits, patience);
    let mut writer = tokio::spawn(lines::write(output, messages));
    let mut lines = Lines::of(input, limits.message_bytes);
    tokio::pin!(stop);
    let at_once = tokio::select! {
        () = hear_all(&mut bridge, &mut lines) => false,
        _ = &mut writer => true,
        _ = &mut stop => true,
    };
    bridge
        .end(async {
            if !at_once {
                tokio::select! {
                    _ = stop => {}
                    _ = &mut writer => {}
                    () = sleep(patience.answers) => {}
                }
            }
        })
        .await;
    if !writer.is_finished() {
        // It ends with the bridge, which has dropped its end of the channel.
        let _ = timeout(LAST_LINES, writer).await;
    }
}

async fn hear_all<R: AsyncRead + Unpin>(bridge: &mut Bridge, lines: &mut Lines<R>) {
    loop {
        match lines.next().await {
            Ok(Some(Line::Whole(line))) => bridge.hear(Said::Message(line, Outbound::new())).await,
            Ok(Some(Line::TooLong)) => bridge.hear(Said::TooLong).await,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "standard input cannot be read");
                return;
            }
        }
    }
}
