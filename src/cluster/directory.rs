//! Who is where: what the other nodes said of themselves when they were last asked.

use super::greeting::{Aim, Boot, Process};
use lockgate_filters::ticket::NodeId;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

/// How long a node is not sought again that was sought in vain once, and how long at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// The most nodes that are known to be gone.
const MISSING_MAX: usize = 1024;

/// Which process is at which address.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// By address; nobody where somebody was and is not any more.
    known: Mutex<HashMap<SocketAddr, Option<Process>>>,
    turn: tokio::sync::Mutex<()>,
    /// How often all were asked, and which time was the last that came to its end.
    begun: AtomicU64,
    ended: AtomicU64,
    /// The nodes that nobody turned out to be when they were sought.
    missing: Mutex<HashMap<NodeId, Missing>>,
}

/// A node that was sought in vain.
#[derive(Clone, Copy, Debug)]
struct Missing {
    last: Instant,
    times: u32,
}

impl Missing {
    fn is_recent(&self) -> bool {
        self.last.elapsed() < (PAUSE.0 * 2_u32.saturating_pow(self.times - 1)).min(PAUSE.1)
    }
}

/// The right to ask all, which one has at a time.
pub(super) struct Turn<'d> {
    directory: &'d Directory,
    number: u64,
    _turn: MutexGuard<'d, ()>,
}

impl Directory {
    /// Where a process is that is meant; it itself rather than another one of its node.
    pub fn find(&self, aim: Aim) -> Option<SocketAddr> {
        let known = self.known.lock();
        let of = |aim: Aim| {
            let mut all = known.iter();
            all.find(|(_, is)| is.is_some_and(|is| aim.means(is))).map(|(place, _)| *place)
        };
        let exact = match aim {
            Aim::Process(process) => of(Aim::Boot(process.boot)),
            Aim::Boot(_) | Aim::Anyone => None,
        };
        exact.or_else(|| of(aim))
    }

    /// The process of a node.
    pub fn of_node(&self, node: NodeId) -> Option<Process> {
        self.known.lock().values().flatten().find(|is| is.node == node).copied()
    }

    /// Whether a node was sought in vain so lately that it need not be sought again: it may only have started anew at first, and
    /// is the longer left alone the oftener that was in vain.
    pub fn is_missing(&self, node: NodeId) -> bool {
        self.missing.lock().get(&node).is_some_and(Missing::is_recent)
    }

    /// A node was sought in vain; by many at once it was so once.
    pub fn miss(&self, node: NodeId) {
        let mut missing = self.missing.lock();
        // It may have turned up meanwhile.
        if self.of_node(node).is_some() || missing.get(&node).is_some_and(Missing::is_recent) {
            return;
        }
        let times = missing.get(&node).map_or(0, |missing| missing.times).saturating_add(1);
        // There are as many as tickets say, which only nodes can make.
        if missing.len() >= MISSING_MAX {
            missing.clear();
        }
        missing.insert(node, Missing { last: Instant::now(), times });
    }

    /// One process of each node that is known.
    pub fn nodes(&self) -> Vec<Process> {
        let mut nodes: Vec<Process> = self.known.lock().values().flatten().copied().collect();
        nodes.sort_unstable_by_key(|is| is.node.0);
        nodes.dedup_by_key(|is| is.node);
        nodes
    }

    /// Who is at an address.
    pub fn at(&self, place: &SocketAddr) -> Option<Process> {
        self.known.lock().get(place).copied().flatten()
    }

    /// Whether anybody has ever been found at an address.
    pub fn was_taken(&self, place: &SocketAddr) -> bool {
        self.known.lock().contains_key(place)
    }

    /// How many other processes than this are known.
    pub fn others(&self, than: Process) -> usize {
        let known = self.known.lock();
        let others: HashSet<Boot> = known.values().flatten().map(|is| is.boot).collect();
        others.iter().filter(|boot| **boot != than.boot).count()
    }

    /// Remembers who is at an address.
    pub fn note(&self, place: SocketAddr, is: Process) {
        self.known.lock().insert(place, Some(is));
        self.missing.lock().remove(&is.node);
    }

    /// Forgets who was there.
    pub fn forget(&self, place: &SocketAddr) {
        if let Some(is) = self.known.lock().get_mut(place) {
            *is = None;
        }
    }

    /// Forgets all but those at these addresses.
    pub fn keep(&self, places: &[SocketAddr]) {
        self.known.lock().retain(|place, _| places.contains(place));
    }

    /// Waits until all may be asked; `None` where somebody else has asked all meanwhile, and found what there is.
    pub async fn turn(&self) -> Option<Turn<'_>> {
        let begun = self.begun.load(Relaxed);
        let turn = self.turn.lock().await;
        if self.ended.load(Relaxed) > begun {
            return None;
        }
        let number = self.begun.fetch_add(1, Relaxed) + 1;
        Some(Turn { directory: self, number, _turn: turn })
    }
}

impl Turn<'_> {
    /// All have been asked, and have answered or had their time.
    pub fn ended(self) {
        self.directory.ended.store(self.number, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(node: u8, boot: u8) -> Process {
        Process { node: NodeId([node; 8]), boot: Boot([boot; 8]) }
    }

    fn place(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_process_goes_before_its_successor() {
        let directory = Directory::default();
        let aim = Aim::Process(process(1, 1));
        assert_eq!(directory.find(aim), None);
        directory.note(place(2), process(1, 2));
        assert_eq!((directory.find(aim), directory.find(Aim::Boot(Boot([1; 8])))), (Some(place(2)), None));
        for port in 3..30 {
            directory.note(place(port), process(1, port as u8));
        }
        directory.note(place(1), process(1, 1));
        assert_eq!(directory.find(aim), Some(place(1)));
        directory.keep(&[place(1), place(2)]);
        assert_eq!(directory.others(process(1, 1)), 1);
        directory.note(place(3), process(1, 2));
        assert_eq!(directory.others(process(1, 1)), 1, "one process at two addresses");
        directory.forget(&place(1));
        assert!([place(2), place(3)].contains(&directory.find(aim).unwrap()));
        assert!(directory.was_taken(&place(1)) && !directory.was_taken(&place(9)));
        assert_eq!(directory.at(&place(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_gone_is_not_sought_again_for_a_while() {
        let directory = Directory::default();
        let node = NodeId([1; 8]);
        for pause in [2, 4, 8, 16, 30, 30] {
            // Whoever sought it at the same time comes to the same end.
            directory.miss(node);
            directory.miss(node);
            tokio::time::advance(Duration::from_secs(pause) - Duration::from_millis(1)).await;
            assert!(directory.is_missing(node) && !directory.is_missing(NodeId([2; 8])), "{pause} s");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(!directory.is_missing(node), "{pause} s");
        }
        directory.miss(node);
        directory.note(place(1), process(1, 1));
        assert!(!directory.is_missing(node), "it is back");
        directory.miss(node);
        assert!(!directory.is_missing(node), "it turned up meanwhile");
        for number in 0..=MISSING_MAX as u64 {
            directory.miss(NodeId(number.to_be_bytes()));
        }
        assert!(directory.missing.lock().len() <= MISSING_MAX);
    }

    #[tokio::test]
    async fn who_waited_while_all_were_asked_need_not_ask() {
        let directory = Directory::default();
        let first = directory.turn().await.unwrap();
        // This one came when the first had begun: it may have been answered before what is sought was there.
        let waiting = directory.turn();
        let mut waiting = Box::pin(waiting);
        assert!(futures_are_pending(waiting.as_mut()).await);
        first.ended();
        let second = waiting.await.expect("asks anew");
        let mut third = Box::pin(directory.turn());
        assert!(futures_are_pending(third.as_mut()).await);
        // Given up before the end.
        drop(second);
        let third = third.await.expect("asks anew");
        third.ended();
        assert!(directory.turn().await.is_some());
    }

    #[tokio::test]
    async fn one_round_is_enough_for_all_who_came_before_it() {
        let directory = Directory::default();
        let first = directory.turn().await.unwrap();
        let (mut one, mut two) = (Box::pin(directory.turn()), Box::pin(directory.turn()));
        assert!(futures_are_pending(one.as_mut()).await && futures_are_pending(two.as_mut()).await);
        first.ended();
        one.await.expect("asks for both").ended();
        assert!(two.await.is_none());
    }

    async fn futures_are_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }
}
