//! Taking stock of scripted legacy backends on real sockets.

use super::*;
use crate::upstream::backends::{LiveBackend, Registry};
use crate::upstream::settings::{
    BackendSettings, CommandSettings, PoolSettings, Protocol, StockSettings, Timeouts, ToolSettings,
};
use crate::upstream::testing::{Received, answer, at, json, receive, say, serve};
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

const PATIENT: Duration = Duration::from_secs(20);

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
                    let verb = request.line().split(' ').next().unwrap_or_default().to_owned();
                    let _ = hear.send(if method.is_empty() { verb.clone() } else { method.clone() });
                    match State::answer(&state, &request, &verb, &method) {
                        Some(answer) => say(&mut stream, answer).await,
                        None => {
                            say(&mut stream, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
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

    fn settings(&self, time: Duration) -> BackendSettings {
        BackendSettings {
            name: "demo".into(),
            endpoints: vec![at(format!("http://{}/mcp", self.address))],
            command: None,
            protocol: Protocol::Legacy,
            timeouts: Timeouts::default(),
            pool: PoolSettings::default(),
            forward_headers: Vec::new(),
            answer_bytes: 1 << 20,
            sse_event: 1 << 16,
            tools: ToolSettings::default(),
            stock: StockSettings { time, ..StockSettings::default() },
            stocked: true,
        }
    }
}

impl State {
    /// The answer; `None` for a stream that stays silent.
    fn answer(state: &Mutex<State>, request: &Received, verb: &str, method: &str) -> Option<Vec<u8>> {
        let mut state = state.lock().expect("no panic");
        let message: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let result = |result: serde_json::Value| {
            json(&serde_json::json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string())
        };
        if method == "initialize" {
            state.opened += 1;
            let id = format!("s{}", state.opened);
            state.sessions.push(id.clone());
            let capabilities = serde_json::json!({"tools": {"listChanged": true}});
            let said = serde_json::json!({
                "jsonrpc": "2.0", "id": message["id"],
                "result": {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": {"name": "x", "version": "1"}},
            });
            let fields = format!("content-type: application/json\r\nmcp-session-id: {id}\r\n");
            return Some(answer("200 OK", &fields, &said.to_string()));
        }
        let session = request.field("mcp-session-id").unwrap_or_default().to_owned();
        if !state.sessions.contains(&session) {
            return Some(answer("404 Not Found", "", ""));
        }
        match (verb, method) {
            ("GET", _) => None,
            ("DELETE", _) => {
                state.sessions.retain(|known| *known != session);
                Some(answer("200 OK", "", ""))
            }
            (_, "tools/list") if state.hangs => None,
            (_, "tools/list") => {
                let tools: Vec<_> = state.tools.iter().map(|name| serde_json::json!({"name": name})).collect();
                Some(result(serde_json::json!({"tools": tools})))
            }
            _ => Some(answer("202 Accepted", "", "")),
        }
    }
}

fn started(settings: BackendSettings) -> (Registry, Arc<LiveBackend>) {
    let registry = Registry::new();
    let generation = registry.prepare(&[settings]).expect("usable settings");
    registry.commit(&generation);
    registry.start(Handle::current());
    let live = generation.get("demo").expect("there").clone();
    (registry, live)
}

fn known(live: &LiveBackend) -> Arc<Inventory> {
    live.backend.facts().inventory.clone().expect("an inventory")
}

/// Waits for the end of another look.
async fn look(live: &LiveBackend) -> Result<(), AttemptFault> {
    tokio::time::sleep(live.stock().gate.rest(SPACING)).await;
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
    let stock = Stock::new(Arc::default());
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

#[tokio::test]
async fn the_gateways_own_session_is_ended_when_nobody_wants_it() {
    // Another configuration that does not want the lists; one without the backend; the end of the process.
    for way in 0..3 {
        let mut backend = Scripted::start(&["a"]).await;
        let settings = backend.settings(PATIENT);
        let (registry, live) = started(settings.clone());
        live.ensure_inventory(PATIENT).await;
        backend.until("GET").await;
        let begun = Instant::now();
        match way {
            0 => {
                let unwanted = BackendSettings { stocked: false, ..settings };
                registry.commit(&registry.prepare(&[unwanted]).expect("usable settings"));
            }
            1 => registry.commit(&registry.prepare(&[]).expect("usable settings")),
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
    while counters.running() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
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
