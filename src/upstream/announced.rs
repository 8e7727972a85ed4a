//! What processes of a command say of changed lists, and when that is worth a look.
//!
//! A command is listed in a process that is started for it and then stopped; what changes later is announced to the
//! processes of clients alone. But many servers announce changes in every new session, right after its handshake, and each
//! look is one: so what is said early is told apart from what is said later, and from what is said to the gateway itself.

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// For how long after its handshake a process is still settling.
const SETTLING: Duration = Duration::from_secs(5);
/// The shortest time between looks that announcements cause.
const SPACING: Duration = Duration::from_secs(5);
/// The first and the longest time for which early announcements are left alone once they have caused a look in vain.
const IN_VAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// How often changes were announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// To a client, by a process that was still settling.
    early: u64,
    /// To a client, later.
    late: u64,
    /// To the gateway itself.
    own: u64,
}

/// Announcements of all processes of one command.
#[derive(Debug, Default)]
pub(super) struct Announced(watch::Sender<Heard>);

impl Announced {
    /// How often changes have been announced to the gateway itself.
    pub(super) fn own(&self) -> u64 {
        self.0.borrow().own
    }

    /// Waits until changes have been announced to the gateway itself more often than this.
    pub(super) async fn own_after(&self, count: u64) {
        // The sender is part of this value, so there is no other way out.
        let _ = self.0.subscribe().wait_for(|heard| heard.own > count).await;
    }
}

/// How one process is listened to.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    to: Arc<Announced>,
    own: bool,
    ready: OnceLock<Instant>,
}

impl Announcer {
    /// Of a process of a client, or of the gateway itself (`own`).
    pub(super) fn new(to: Arc<Announced>, own: bool) -> Announcer {
        Announcer { to, own, ready: OnceLock::new() }
    }

    /// The handshake is over.
    pub(super) fn ready(&self) {
        self.ready.get_or_init(Instant::now);
    }

    /// The process says that a list has changed.
    pub(super) fn announce(&self) {
        let settling = self.ready.get().is_none_or(|ready| ready.elapsed() < SETTLING);
        self.to.0.send_modify(|heard| match (self.own, settling) {
            (true, _) => heard.own += 1,
            (false, true) => heard.early += 1,
            (false, false) => heard.late += 1,
        });
    }
}

/// Which announcements to clients have been looked after, and when the next look is due.
#[derive(Debug)]
pub(super) struct Attention {
    heard: Heard,
    looked: Instant,
    /// How long early announcements wait after a look.
    patience: Duration,
    /// Whether the look that goes on was caused by early announcements alone.
    early: bool,
}

impl Default for Attention {
    fn default() -> Attention {
        Attention { heard: Heard::default(), looked: Instant::now(), patience: SPACING, early: false }
    }
}

impl Attention {
    /// A look begins: what was announced until now is looked after by it.
    pub(super) fn looks(&mut self, announced: &Announced) {
        self.heard = *announced.0.borrow();
    }

    /// The look has ended, and brought something new or not.
    pub(super) fn looked(&mut self, news: bool) {
        self.looked = Instant::now();
        if news {
            self.patience = SPACING;
        } else if self.early {
            self.patience = (2 * self.patience).clamp(IN_VAIN.0, IN_VAIN.1);
        }
        self.early = false;
    }

    /// Waits until announcements make another look due.
    pub(super) async fn due(&mut self, announced: &Announced) {
        let mut changes = announced.0.subscribe();
        loop {
            let heard = *changes.borrow_and_update();
            let early = heard.late == self.heard.late;
            let due = match early {
                false => Some(self.looked + SPACING),
                true => (heard.early != self.heard.early).then(|| self.looked + self.patience),
            };
            tokio::select! {
                // The sender is borrowed, so it is there.
                _ = changes.changed() => {}
                () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                    self.early = early;
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    const HOUR: Duration = Duration::from_secs(3600);

    fn processes() -> (Arc<Announced>, Announcer, Announcer) {
        let announced = Arc::<Announced>::default();
        let of = |own| Announcer::new(announced.clone(), own);
        let (client, own) = (of(false), of(true));
        client.ready();
        own.ready();
        (announced, client, own)
    }

    /// After how many seconds a look is due; it ends at once.
    async fn due(attention: &mut Attention, announced: &Announced, news: bool) -> Option<u64> {
        let begun = Instant::now();
        timeout(2 * HOUR, attention.due(announced)).await.ok()?;
        attention.looks(announced);
        attention.looked(news);
        Some(begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_later_is_looked_at_and_not_too_often() {
        let (announced, client, _) = processes();
        let mut attention = Attention::default();
        assert_eq!(due(&mut attention, &announced, false).await, None, "nothing was announced");
        client.announce();
        assert_eq!(due(&mut attention, &announced, false).await, Some(0));
        client.announce();
        client.announce();
        assert_eq!(due(&mut attention, &announced, false).await, Some(5));
        assert_eq!(due(&mut attention, &announced, false).await, None, "once for all");
    }

    #[tokio::test(start_paused = true)]
    async fn what_every_new_process_says_causes_fewer_and_fewer_looks() {
        let (announced, _, _) = processes();
        let mut attention = Attention::default();
        attention.looked(true);
        let begin = || {
            let client = Announcer::new(announced.clone(), false);
            client.announce();
            client.ready();
            client.announce();
        };
        for expected in [5, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            begin();
            assert_eq!(due(&mut attention, &announced, false).await, Some(expected));
        }
        begin();
        assert_eq!(due(&mut attention, &announced, true).await, Some(3600), "not for ever in vain");
        begin();
        assert_eq!(due(&mut attention, &announced, false).await, Some(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_announcement_does_not_wait_for_an_early_one() {
        let (announced, client, _) = processes();
        advance(SETTLING).await;
        let mut attention = Attention { patience: HOUR, ..Attention::default() };
        Announcer::new(announced.clone(), false).announce();
        assert!(timeout(HOUR / 2, attention.due(&announced)).await.is_err());
        client.announce();
        assert_eq!(due(&mut attention, &announced, false).await, Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_to_the_gateway_itself_causes_no_look_for_clients() {
        let (announced, _, own) = processes();
        advance(HOUR).await;
        own.announce();
        assert_eq!(due(&mut Attention::default(), &announced, false).await, None);
        assert!(timeout(HOUR, announced.own_after(0)).await.is_ok());
        assert!(timeout(HOUR, announced.own_after(1)).await.is_err());
    }
}
