//! A deadline that is cheap to ask about again and again.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for many deadlines, one after another.
///
/// A timer that is armed for an earlier time than asked is left alone and re-armed when it fires: deadlines of
/// connections nearly always move to later, long before they are reached, and arming takes a lock.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once `deadline` has passed.
    pub(crate) fn poll_at(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    #[tokio::test]
    async fn it_rings_at_the_deadline_asked_last_whether_sooner_or_later() {
        let mut alarm = Alarm::default();
        let began = Instant::now();
        for (at, then) in [(10, 30), (60_000, 50), (50, 20)] {
            let (at, then) = (began + Duration::from_millis(at), began + Duration::from_millis(then));
            poll_fn(|cx| {
                let _ = alarm.poll_at(cx, at);
                Poll::Ready(())
            })
            .await;
            poll_fn(|cx| alarm.poll_at(cx, then)).await;
            assert!(Instant::now() >= then);
        }
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
