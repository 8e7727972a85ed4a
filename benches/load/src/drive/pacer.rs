//! Releases the requests of a fixed rate when they are due.
//!
//! The runtime's own timer ticks in milliseconds, too coarse for thousands of requests a second. A kernel timer
//! wakes the thread at each start instead; whoever is free takes the next ticket.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;

use super::schedule::Schedule;

/// Requests that are due and not yet taken.
pub struct Tickets {
    due: Semaphore,
    next: Cell<u64>,
}

impl Tickets {
    /// None due yet.
    pub fn new() -> Rc<Self> {
        Rc::new(Self { due: Semaphore::new(0), next: Cell::new(0) })
    }

    /// Waits for the next due request and takes its number; `None` when the schedule is over.
    pub async fn take(&self) -> Option<u64> {
        self.due.acquire().await.ok()?.forget();
        let number = self.next.get();
        self.next.set(number + 1);
        Some(number)
    }

    fn close_when_taken(&self, total: u64) -> bool {
        if self.next.get() >= total {
            self.due.close();
        }
        self.due.is_closed()
    }
}

/// Releases tickets until the schedule is over and all are taken.
pub async fn release(schedule: Schedule, started: Instant, tickets: Rc<Tickets>) {
    let Ok((timer, mut expired)) = timer() else {
        tickets.due.close();
        return;
    };
    let mut released = 0;
    while !tickets.close_when_taken(schedule.total()) {
        let due = schedule.due(started.elapsed());
        if due > released {
            tickets.due.add_permits(usize::try_from(due - released).unwrap_or(0));
            released = due;
        }
        // Set anew for each start: a timer that repeats by itself drifts away from the schedule.
        let mut expirations = [0; 8];
        let wait = once(schedule.wait(released, started.elapsed()));
        let set = timerfd_settime(&timer, TimerfdTimerFlags::empty(), &wait);
        if set.is_err() || expired.read(&mut expirations).await.is_err() {
            tickets.due.close();
        }
    }
}

/// A kernel timer, and the same behind the runtime's pipe type: the one safe way to have the runtime read a
/// descriptor that is neither socket nor file. A timer is read as a pipe is: eight bytes when it has expired.
fn timer() -> std::io::Result<(OwnedFd, Receiver)> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let expired = Receiver::from_owned_fd_unchecked(timer.try_clone()?)?;
    Ok((timer, expired))
}

fn once(wait: Duration) -> Itimerspec {
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    let wait = Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(1), tv_nsec: i64::from(wait.subsec_nanos()) };
    Itimerspec { it_interval: never, it_value: wait }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn every_ticket_is_taken_once_in_order_and_then_it_ends() {
        LocalSet::new()
            .run_until(async {
                let schedule = Schedule::new(20_000.0, Duration::from_millis(20));
                let tickets = Tickets::new();
                let started = Instant::now();
                tokio::task::spawn_local(release(schedule, started, tickets.clone()));
                let mut taken = Vec::new();
                while let Some(number) = tickets.take().await {
                    assert!(
                        started.elapsed() + Duration::from_nanos(10) >= schedule.start(number),
                        "{number} too early"
                    );
                    taken.push(number);
                }
                assert_eq!(taken, (0..400).collect::<Vec<u64>>());
            })
            .await;
    }
}
