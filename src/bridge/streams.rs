//! Streams that a server holds for GET: asked for, and listened to for what it says of its own accord.

use super::answer::{Stream, is_stream};
use super::renew::renew;
use super::session::Session;
use super::settings::Patience;
use super::shared::Shared;
use super::wire::send;
use crate::upstream::{UpstreamResponse, Verb};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use lockgate_filters::headers::LAST_EVENT_ID;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How many sessions in a row are opened in the place of others whose stream the server does not know (404), before that
/// is taken for its way to say that it has none.
const UNHEARD_MAX: u32 = 5;

/// How long a stream must last for it not to be in vain though it brought nothing.
const LASTED: Duration = Duration::from_secs(20);

/// Asks for a stream: behind this event, or for what the server says of its own accord.
pub(super) async fn open(shared: &Shared, session: &Session, behind: Option<HeaderValue>) -> Opened {
    let mut fields = shared.server.fields.clone();
    session.name(&mut fields);
    if let Some(behind) = behind {
        fields.set(LAST_EVENT_ID, behind);
    }
    match send(&shared.server, &shared.limits, Verb::Get, fields, Bytes::new()).await {
        Ok(response) if is_stream(&response) => Opened::Stream(Box::new(response)),
        // No such stream, no such session, no right: asking again would not help.
        Ok(response) if response.status.is_client_error() && response.status != StatusCode::TOO_MANY_REQUESTS => {
            Opened::Never(response.status)
        }
        Ok(_) | Err(_) => Opened::NotNow,
    }
}

/// What became of asking for a stream.
pub(super) enum Opened {
    /// Here it is.
    Stream(Box<UpstreamResponse>),
    /// There is none.
    Never(StatusCode),
    /// Perhaps later.
    NotNow,
}

/// How long to wait before something is asked for again.
#[derive(Debug)]
pub(super) struct Pause {
    patience: Patience,
    next: Duration,
    /// What the server named last.
    named: Option<Duration>,
    /// When the last wait was over.
    since: Instant,
}

impl Pause {
    pub(super) fn new(patience: Patience) -> Pause {
        Pause { patience, next: patience.again, named: None, since: Instant::now() }
    }

    /// The stream that has ended named this time, and had news or not; the next is asked for soon, unless that was in vain.
    /// A stream that lasted was not: what is between here and the server may cut all that are silent.
    pub(super) fn after(&mut self, named: Option<Duration>, had_news: bool) {
        self.named = named.or(self.named);
        if had_news || self.since.elapsed() >= LASTED.min(self.patience.again_most) {
            self.next = self.patience.again;
        }
    }

    /// Waits; longer the next time.
    pub(super) async fn wait(&mut self) {
        let wait = self.named.unwrap_or(self.next).min(self.patience.again_most);
        self.next = self.next.saturating_mul(2).min(self.patience.again_most);
        sleep(wait).await;
        self.since = Instant::now();
    }
}

/// How listening in one session came to its end.
enum End {
    /// Another session is in its place, or none.
    Left,
    /// The client takes nothing more.
    Gone,
    /// The server has no stream.
    Silent,
    /// The server does not know the session, or has no stream: both are said with 404.
    Unknown,
}

/// Brings what the server says of its own accord, until the client leaves its session: a server that loses it, and opens
/// another only later, is listened to again then. Does nothing where somebody listens already.
pub(super) async fn listen(shared: Arc<Shared>, mut session: Arc<Session>) {
    if !session.claim_listening() {
        return;
    }
    let mut pause = Pause::new(shared.patience);
    // How many sessions had no stream since one had; `None` where none ever had.
    let mut unheard = None;
    loop {
        let mut heard = false;
        let end = tokio::select! {
            biased;
            () = session.left() => End::Left,
            end = keep_listening(&shared, &session, &mut heard) => end,
        };
        if heard {
            (pause, unheard) = (Pause::new(shared.patience), Some(0));
        }
        match (end, &mut unheard) {
            (End::Left, _) => {}
            (End::Gone, _) => return,
            (End::Unknown, Some(unheard)) if *unheard < UNHEARD_MAX => {
                if !heard {
                    *unheard += 1;
                    leave_or(&session, pause.wait()).await;
                }
                renew_at_last(&shared, &session, &mut pause).await;
            }
            // A server need not have one. Another session may have, in the place of this one.
            (End::Silent | End::Unknown, _) => session.left().await,
        }
        match shared.session().filter(|now| now.continues(&session) && !Arc::ptr_eq(now, &session)) {
            Some(now) => session = now,
            // The client has opened another, or wants none any more.
            None => return,
        }
    }
}

/// Ends when another session is in the place of this one, whoever opens that, or the client has left it.
async fn renew_at_last(shared: &Arc<Shared>, session: &Arc<Session>, pause: &mut Pause) {
    // It is not dropped half way: what it has begun at the server it ends there.
    while let Err(failure) = renew(shared, session, &shared.server.fields).await {
        tracing::warn!(reason = failure.text(), "the server is not listened to for now");
        if leave_or(session, pause.wait()).await {
            return;
        }
    }
}

/// Waits for this or until the session is left; tells whether it is.
async fn leave_or(session: &Session, wait: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = session.left() => true,
        () = wait => false,
    }
}

/// Listens until that makes no sense any more; notes whether there was a stream.
async fn keep_listening(shared: &Shared, session: &Session, heard: &mut bool) -> End {
    let mut pause = Pause::new(shared.patience);
    let mut behind = None;
    loop {
        match open(shared, session, behind.clone()).await {
            Opened::Stream(response) => {
                *heard = true;
                let mut stream = Stream::of(*response, &shared.limits);
                loop {
                    match stream.next().await {
                        Ok(Some(message)) => {
                            if shared.bring_unasked(message).await.is_err() {
                                return End::Gone;
                            }
                        }
                        Ok(None) => break,
                        Err(fault) => {
                            tracing::debug!(%fault, "the server's stream broke off");
                            break;
                        }
                    }
                }
                behind = stream.last_id().or(behind);
                pause.after(stream.retry, stream.has_news);
            }
            Opened::Never(StatusCode::NOT_FOUND) if session.has_id() => return End::Unknown,
            Opened::Never(status) => {
                tracing::debug!(%status, "the server has no stream of its own");
                return End::Silent;
            }
            Opened::NotNow => {}
        }
        pause.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_in_vain_is_waited_for_longer() {
        async fn waited(pause: &mut Pause) -> u64 {
            let begin = Instant::now();
            pause.wait().await;
            begin.elapsed().as_secs()
        }
        let mut pause = Pause::new(Patience::default());
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(waited(&mut pause).await, expected);
            pause.after(None, false);
        }
        // One that lasts is not in vain, nor is one that brings something.
        sleep(LASTED).await;
        pause.after(None, false);
        assert_eq!([waited(&mut pause).await, waited(&mut pause).await], [1, 2]);
        pause.after(None, true);
        assert_eq!(waited(&mut pause).await, 1);
        // The server's word goes before that.
        pause.after(Some(Duration::from_secs(5)), false);
        assert_eq!([waited(&mut pause).await, waited(&mut pause).await], [5, 5]);
        pause.after(Some(Duration::from_secs(500)), true);
        assert_eq!(waited(&mut pause).await, 60);
    }
}
