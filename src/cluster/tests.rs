//! Processes that find each other, without anything behind them.

use super::testing::ring;
use super::*;
use crate::drain::Drain;
use crate::listen::Within;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

fn process(number: u8) -> Process {
    Process { node: lockgate_filters::ticket::NodeId([number; 8]), boot: Boot([number; 8]) }
}

/// A process with this number, and where it is.
async fn start(number: u8, keys: &[u8], peers: &[SocketAddr]) -> (Arc<Cluster>, SocketAddr, Drain) {
    let keys = ring(keys);
    let cluster = Arc::new(Cluster::new(process(number)));
    let peers = peers.iter().copied().map(Peer::At).collect();
    cluster.apply(Cluster::prepare(Settings { peers, ..Settings::default() }, &keys).unwrap());
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let place = socket.local_addr().unwrap();
    let drain = Drain::new();
    tokio::spawn(Arc::clone(&cluster).serve(socket, Arc::new(Within::new()), drain.clone()));
    (cluster, place, drain)
}

fn arriving(aim: Aim) -> Arriving {
    let nowhere = SocketAddr::from(([192, 0, 2, 1], 1));
    Arriving {
        aim,
        listener: "main".into(),
        peer: nowhere,
        client: nowhere,
        correlation: "c".into(),
        news: false,
        returns: false,
        certificate: None,
    }
}

fn told(peers: &[SocketAddr]) -> Change {
    let peers = peers.iter().copied().map(Peer::At).collect();
    Cluster::prepare(Settings { peers, connect_time: Duration::from_millis(300), ..Settings::default() }, &ring(&[1]))
        .unwrap()
}

#[tokio::test]
async fn a_process_is_found_by_what_it_says_of_itself() {
    let (_one, at_one, _) = start(1, &[1], &[]).await;
    let (_two, at_two, _) = start(2, &[1], &[]).await;
    let (asking, at_itself, _) = start(3, &[1], &[]).await;
    assert!(asking.is_alone());
    asking.apply(told(&[at_one, at_two, at_itself]));
    // There is no listener behind them, which is said by who was meant.
    for aim in [Aim::Boot(Boot([2; 8])), Aim::Process(process(2))] {
        let found = asking.reach(&arriving(aim), Errand::Exchange).await;
        assert!(matches!(found, Err(Unreached::Refused(Refused::NoListener))), "{found:?}");
    }
    assert!(matches!(
        asking.reach(&arriving(Aim::Boot(Boot([9; 8]))), Errand::Exchange).await,
        Err(Unreached::Unknown)
    ));
    assert_eq!(asking.known(), 2);
    let mut others = asking.others();
    others.sort();
    let mut expected = vec![at_one, at_two];
    expected.sort();
    assert_eq!(others, expected, "it has found itself");
    assert!(matches!(
        asking.reach(&arriving(Aim::Boot(Boot([3; 8]))), Errand::Exchange).await,
        Err(Unreached::Refused(_) | Unreached::Unknown)
    ));
}

#[tokio::test]
async fn a_process_that_is_gone_is_unknown_and_its_successor_is_found() {
    let (_one, at_one, drain) = start(1, &[1], &[]).await;
    let (asking, ..) = start(3, &[1], &[]).await;
    asking.apply(told(&[at_one]));
    let aim = Aim::Boot(Boot([1; 8]));
    assert!(matches!(
        asking.reach(&arriving(aim), Errand::Exchange).await,
        Err(Unreached::Refused(Refused::NoListener))
    ));
    drain.close();
    let gone = async {
        while asking
            .reach(&arriving(aim), Errand::Exchange)
            .await
            .is_err_and(|why| matches!(why, Unreached::Refused(_)))
        {}
    };
    timeout(Duration::from_secs(30), gone).await.unwrap();
    assert!(matches!(asking.reach(&arriving(aim), Errand::Exchange).await, Err(Unreached::Unknown)));
    // Another process at the same address, that does not speak at all.
    let silent = TcpListener::bind(at_one).await.unwrap();
    let since = Instant::now();
    assert!(matches!(asking.reach(&arriving(aim), Errand::Exchange).await, Err(Unreached::Unknown)));
    assert!(since.elapsed() < Duration::from_secs(10), "nobody waits for one that says nothing");
    drop(silent);
}

#[tokio::test]
async fn who_has_another_key_is_nobody() {
    let (stranger, at_stranger, _) = start(1, &[2], &[]).await;
    let (asking, at_asking, _) = start(3, &[1], &[]).await;
    asking.apply(told(&[at_stranger]));
    assert!(matches!(
        asking.reach(&arriving(Aim::Boot(Boot([1; 8]))), Errand::Exchange).await,
        Err(Unreached::Unknown)
    ));
    let refused = asking.reach_at(at_stranger, &arriving(Aim::Anyone), Errand::Exchange).await;
    assert!(matches!(refused, Err(Unreached::Broken(..))), "{refused:?}");
    let refused = stranger.reach_at(at_asking, &arriving(Aim::Anyone), Errand::Exchange).await;
    assert!(matches!(refused, Err(Unreached::Broken(..))), "{refused:?}");
    assert_eq!(asking.known(), 0);
    let counted = async {
        while asking.turned_away() == 0 {
            tokio::task::yield_now().await
        }
    };
    timeout(Duration::from_secs(30), counted).await.unwrap();
}

#[tokio::test]
async fn only_so_many_are_under_way() {
    let (_one, at_one, _) = start(1, &[1], &[]).await;
    let (asking, ..) = start(3, &[1], &[]).await;
    let settings = Settings { peers: vec![Peer::At(at_one)], exchanges: 0, ..Settings::default() };
    asking.apply(Cluster::prepare(settings, &ring(&[1])).unwrap());
    let aim = Aim::Boot(Boot([1; 8]));
    assert!(matches!(asking.reach(&arriving(aim), Errand::Exchange).await, Err(Unreached::Full)));
    // Notices have a room of their own.
    let told = asking.reach_at(at_one, &arriving(Aim::Anyone), Errand::Notice).await;
    assert!(matches!(told, Err(Unreached::Refused(Refused::NoListener))), "{told:?}");
}

#[tokio::test]
async fn who_is_where_is_known_before_it_is_needed() {
    let (one, at_one, _) = start(1, &[1], &[]).await;
    let (two, at_two, _) = start(2, &[1], &[]).await;
    one.apply(told(&[at_one, at_two]));
    let known = async {
        while one.known() == 0 || one.others() != [at_two] {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = Arc::clone(&one).keep() => {}
        found = timeout(Duration::from_secs(30), known) => found.unwrap(),
    }
    assert_eq!(two.known(), 0, "who is asked learns nothing by it");
}

#[tokio::test]
async fn who_says_nothing_keeps_its_place_from_strangers_alone() {
    let (taking, place, _) = start(1, &[1], &[]).await;
    let settings = Settings { connections: 0, ..Settings::default() };
    taking.apply(Cluster::prepare(settings, &ring(&[1])).unwrap());
    let (asking, ..) = start(3, &[1], &[]).await;
    asking.apply(told(&[place]));
    // Who is there is said although there is no place for a request.
    asking.look_around().await;
    assert_eq!(asking.known(), 1);
    let mut silent = Vec::new();
    while taking.turned_away() == 0 {
        assert!(silent.len() <= 2 * room::STRANGERS_OF_ONE_MAX, "they are bounded");
        silent.push(tokio::net::TcpStream::connect(place).await.unwrap());
        tokio::task::yield_now().await;
    }
    assert!(silent.len() > room::STRANGERS_OF_ONE_MAX);
}

/// An application to which nothing comes.
struct Nothing;

#[async_trait::async_trait]
impl pingora_core::apps::HttpServerApp for Nothing {
    async fn process_new_http(
        self: &Arc<Self>,
        _session: pingora_core::protocols::http::ServerSession,
        _shutdown: &pingora_core::server::ShutdownWatch,
    ) -> Option<pingora_core::apps::ReusedHttpStream> {
        None
    }
}

#[tokio::test]
async fn what_was_welcome_is_waited_for_by_a_stop() {
    let (taking, _, _) = start(1, &[1], &[]).await;
    let (within, drain, app) = (Arc::new(Within::new()), Drain::new(), Arc::new(Nothing));
    let settings = crate::listen::ListenerSettings::new("main", SocketAddr::from(([127, 0, 0, 1], 0)));
    let bound = crate::listen::BoundListener::bind(settings, crate::listen::Admission::new()).unwrap();
    within.open(&app, drain.clone(), vec![bound.handle()]);
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let place = socket.local_addr().unwrap();
    tokio::spawn(Arc::clone(&taking).serve(socket, within, drain.clone()));
    let (asking, ..) = start(3, &[1], &[]).await;
    asking.apply(told(&[place]));
    assert_eq!(asking.known(), 0);
    asking.look_around().await;
    assert_eq!((asking.known(), drain.in_flight()), (1, 0), "who only asks is nothing to wait for");
    let reached = asking.reach(&arriving(Aim::Boot(Boot([1; 8]))), Errand::Exchange).await.unwrap();
    assert_eq!(drain.in_flight(), 1, "though nothing of it is here yet");
    let come_to = async |lines: usize| {
        while drain.in_flight() != lines || taking.lines() != (0, lines) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), come_to(1)).await.unwrap();
    assert_eq!(asking.lines(), (1, 0));
    drop(reached);
    assert_eq!(asking.lines(), (0, 0));
    timeout(Duration::from_secs(30), come_to(0)).await.unwrap();
}

#[test]
fn a_nodes_own_key_is_known_whenever_it_is_looked_at() {
    let cluster = Cluster::new(process(1));
    let identities = [&[1][..], &[2]].map(|keys| Identity::of(&ring(keys)).unwrap());
    let apply = |turn: usize| {
        cluster.apply(Change { settings: Settings::default(), identity: identities[turn % 2].clone() });
    };
    apply(0);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (1..20_000).for_each(apply);
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            let before = cluster.identity().unwrap();
            let known = cluster.keys.borrow().contains(&before.shown);
            // One that was replaced meanwhile may be known no more.
            assert!(known || !Arc::ptr_eq(&before, &cluster.identity().unwrap()));
        }
    });
}
