//! Taking stock of scripted legacy backends on real sockets.

use super::*;
use crate::upstream::settings::{BackendSettings, CommandSettings, Protocol, StockSettings};
use crate::upstream::testing::{
    EVENTS, PATIENT, Received, answer, backend_at, live, receive, say, serve, set, started, until,
};
use crate::upstream::{LiveBackend, Registry};
use lockgate_filters::federate::Kind;
use serde_json::json;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// A legacy backend that announces changes, and what it was asked.
struct Scripted {
    address: SocketAddr,
    /// Methods, and verbs of requests without one.
    heard: mpsc::UnboundedReceiver<String>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    sessions: Vec<String>,
    opened: usize,
    tools: Vec<&'static str>,
    /// Whether lists are never answered.
    hangs: bool,
}

impl Scripted {
    async fn start(tools: &[&'static str]) -> Scripted {
        let state = Arc::new(Mutex::new(State { tools: tools.to_vec(), ..State::default() }));
        let (hear, heard) = mpsc::unbounded_channel();
        let shared = Arc::clone(&state);
        let address = serve(move |_, mut stream| {
            let (state, hear) = (Arc::clone(&shared), hear.clone());
            async move {
                while let Some(request) = receive(&mut stream).await {
                    let method = request.method();
                    let _ = hear.send(if method.is_empty() { request.verb().to_owned() } else { method.clone() });
                    match State::answer(&state, &request, &method) {
                        Some(answer) => say(&mut stream, answer).await,
                        None => {
                            say(&mut stream, EVENTS).await;
                            pending().await
                        }
                    }
                }
            }
        });
        Scripted { address: address.await, heard, state }
    }

    /// The state, to be changed.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    async fn until(&mut self, wanted: &str) {
        loop {
            let heard = timeout(PATIENT, self.heard.recv()).await.expect("in time").expect("a server");
            if heard == wanted {
                return;
            }
        }
    }

    /// It is looked at whenever somebody asks, for so long.
    fn settings(&self, time: Duration) -> BackendSettings {
        BackendSettings {
            protocol: Protocol::Legacy,
            stock: StockSettings { time, spacing: Duration::ZERO, ..StockSettings::default() },
            stocked: true,
            ..backend_at("demo", format!("http://{}/mcp", self.address))
        }
    }
}

impl State {
    /// The answer; `None` for a stream that stays silent.
    fn answer(state: &Mutex<State>, request: &Received, method: &str) -> Option<Vec<u8>> {
        let mut state = state.lock().expect("no panic");
        if method == "initialize" {
            state.opened += 1;
            let id = format!("s{}", state.opened);
            state.sessions.push(id.clone());
            let capabilities = json!({"tools": {"listChanged": true}});
            let described = json!({
                "protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": {"name": "x", "version": "1"},
            });
            return Some(request.result_with(&format!("mcp-session-id: {id}\r\n"), described));
        }
        let session = request.field("mcp-session-id").unwrap_or_default().to_owned();
        if !state.sessions.contains(&session) {
            return Some(answer("404 Not Found", "", ""));
        }
        match (request.verb(), method) {
            ("GET", _) => None,
            ("DELETE", _) => {
                state.sessions.retain(|known| *known != session);
                Some(answer("200 OK", "", ""))
            }
            (_, "tools/list") if state.hangs => None,
            (_, "tools/list") => {
                let tools: Vec<_> = state.tools.iter().map(|name| json!({"name": name})).collect();
                Some(request.result(json!({"tools": tools})))
            }
            _ => Some(answer("202 Accepted", "", "")),
        }
    }
}

fn known(live: &LiveBackend) -> Arc<Inventory> {
    live.backend.facts().inventory.clone().expect("an inventory")
}

/// Waits for the end of another look.
async fn look(live: &LiveBackend) -> Result<(), AttemptFault> {
    live.stock().gate.pass(PATIENT).await
}

#[tokio::test]
async fn a_session_that_the_backend_forgot_is_opened_again_and_nothing_is_lost() {
    let mut backend = Scripted::start(&["a"]).await;
    let (_registry, live) = started(backend.settings(PATIENT));
    live.ensure_inventory(PATIENT).await;
    backend.until("GET").await;
    backend.state().sessions.clear();
    look(&live).await.expect("the backend is there, whatever it forgot");
    assert!(live.backend.facts().lost.is_none());
    assert_eq!(backend.state().opened, 2);
}

#[tokio::test]
async fn what_has_not_changed_is_not_news() {
    let backend = Scripted::start(&["a"]).await;
    let (registry, live) = started(backend.settings(PATIENT));
    let mut news = registry.news();
    live.ensure_inventory(PATIENT).await;
    let first = known(&live);
    news.mark_unchanged();
    first.freshness.renew(lockgate_filters::exchange::UnixMillis(0));
    look(&live).await.expect("a look");
    assert!(Arc::ptr_eq(&first, &known(&live)) && !news.has_changed().expect("a registry"));
    assert!(first.freshness.end() > now(), "but it is believed again");
    backend.state().tools.push("b");
    look(&live).await.expect("a look");
    assert!(!Arc::ptr_eq(&first, &known(&live)) && news.has_changed().expect("a registry"));
}

#[tokio::test]
async fn a_session_in_which_nothing_ends_is_left() {
    let mut backend = Scripted::start(&["a"]).await;
    let (_registry, live) = started(backend.settings(Duration::from_millis(200)));
    live.ensure_inventory(PATIENT).await;
    backend.until("GET").await;
    backend.state().hangs = true;
    look(&live).await.expect_err("it takes too long");
    backend.until("DELETE").await;
    backend.state().hangs = false;
    look(&live).await.expect("a look in another session");
    assert!(backend.state().opened >= 2);
}

#[tokio::test]
async fn a_session_in_which_one_list_hangs_is_left() {
    let mut backend = Scripted::start(&["a"]).await;
    backend.state().hangs = true;
    let mut settings = backend.settings(PATIENT);
    settings.timeouts.first_byte = Duration::from_millis(100);
    settings.timeouts.idle_stream = Duration::from_millis(100);
    let (_registry, _live) = started(settings);
    backend.until("tools/list").await;
    backend.until("DELETE").await;
}

#[tokio::test(start_paused = true)]
async fn announced_changes_are_told_at_a_distance_and_the_last_is_not_lost() {
    let stock = Stock::new(Arc::default(), Duration::ZERO);
    let backend = Backend::new("demo", lockgate_filters::backend::Facts::default());
    for _ in 0..50 {
        stock.changed(&backend);
    }
    stock.tell_due(&backend);
    assert_eq!(backend.changes(), 1);
    tokio::time::advance(TELLING).await;
    for _ in 0..2 {
        stock.tell_due(&backend);
        assert_eq!(backend.changes(), 2);
        tokio::time::advance(TELLING).await;
    }
}

#[tokio::test(start_paused = true)]
async fn changes_that_were_not_announced_are_told_when_they_are_seen_and_others_once() {
    let stock = Stock::new(Arc::default(), Duration::ZERO);
    let backend = Backend::new("demo", lockgate_filters::backend::Facts::default());
    for (announced, changed, told) in
        [(false, false, 0), (true, true, 1), (false, true, 1), (false, false, 0), (true, false, 1), (false, true, 1)]
    {
        let before = backend.changes();
        if announced {
            stock.changed(&backend);
        }
        stock.was_read(&backend, changed);
        tokio::time::advance(TELLING).await;
        stock.tell_due(&backend);
        assert_eq!(backend.changes() - before, told, "{announced} {changed}");
        tokio::time::advance(TELLING).await;
    }
}

#[tokio::test]
async fn the_gateways_own_session_is_ended_when_nobody_wants_it() {
    // Another configuration that does not want the lists; one without the backend; the end of the process.
    for way in 0..3 {
        let mut backend = Scripted::start(&["a"]).await;
        let settings = backend.settings(PATIENT);
        let registry = Registry::with_grace(Duration::ZERO);
        set(&registry, std::slice::from_ref(&settings));
        registry.start(Handle::current());
        live(&registry, "demo").ensure_inventory(PATIENT).await;
        backend.until("GET").await;
        let begun = Instant::now();
        match way {
            0 => set(&registry, &[BackendSettings { stocked: false, ..settings }]),
            1 => set(&registry, &[]),
            _ => registry.stop_children().await,
        }
        backend.until("DELETE").await;
        assert!(backend.state().sessions.is_empty(), "{way}");
        assert!(way != 2 || begun.elapsed() < PATIENT, "a stop is not held up");
    }
}

#[tokio::test]
async fn a_stop_is_not_held_up_by_a_backend_that_does_not_answer() {
    let backend = Scripted::start(&["a"]).await;
    backend.state().hangs = true;
    let (registry, _live) = started(backend.settings(PATIENT));
    let begun = Instant::now();
    registry.stop_children().await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// A command that says after each handshake that its tools have changed, and has another one at each look within a process.
const RESTLESS: &str = r#"
looks=0
say() { printf '%s\n' "$1"; }
while read -r line; do
  id=${line#*\"id\":}; id=${id%%[,\}]*}
  case $line in
    *'"method":"initialize"'*) say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{\"listChanged\":true}},\"serverInfo\":{\"name\":\"sh\",\"version\":\"1\"}}}" ;;
    *'"method":"tools/list"'*) looks=$((looks+1))
      say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"tools\":[{\"name\":\"look$looks\"}]}}"
      say '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}' ;;
  esac
done
"#;

#[tokio::test]
async fn a_command_that_changes_right_after_the_handshake_is_looked_at_once_more_in_the_same_process() {
    let script = CommandSettings::new(["/bin/sh", "-c", RESTLESS]);
    let backend = Scripted::start(&[]).await;
    let settings = BackendSettings { endpoints: Vec::new(), command: Some(script), ..backend.settings(PATIENT) };
    let (registry, live) = started(settings);
    let mut news = registry.news();
    let tool = || live.backend.facts().inventory.as_ref().map(|known| known.list(Kind::Tools).items[0].name.clone());
    while tool().as_deref() != Some("look2") {
        timeout(PATIENT, news.changed()).await.expect("in time").expect("a registry");
    }
    let counters = live.counters().expect("a command").clone();
    let started = counters.starts();
    until("a process is left", || counters.running() == 0).await;
    assert_eq!((tool().as_deref(), counters.starts()), (Some("look2"), started), "and then it is left alone");
    registry.stop_children().await;
}

#[test]
fn lists_that_may_not_be_kept_are_not_read_all_the_time() {
    let (zero, minute, hour) = (Duration::ZERO, Duration::from_secs(60), Duration::from_secs(3600));
    let near = |time: Duration, expected: Duration| {
        let ratio = time.as_secs_f64() / expected.as_secs_f64();
        assert!((0.89..1.11).contains(&ratio), "{time:?} {expected:?}");
    };
    assert_eq!(wait(zero, hour, true).soon, HEARD_REFRESH);
    assert_eq!(wait(zero, hour, false).soon, LEAST_REFRESH);
    near(wait(zero, hour, false).late, hour);
    near(wait(10 * minute, hour, true).soon, 10 * minute);
    near(wait(10 * hour, hour, true).soon, hour);
}
