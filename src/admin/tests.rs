//! The admin listener over real sockets.

use super::overview::{BackendReport, Backends, ServerReport, Servers};
use super::*;
use async_trait::async_trait;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Fake {
    ready: AtomicBool,
    policy: Mutex<MetricsPolicy>,
    outcome: Mutex<ReloadOutcome>,
    reload_may_end: Notify,
    reload_ended: Notify,
}

impl Default for Fake {
    fn default() -> Fake {
        let outcome = ReloadOutcome::Applied {
            generation: 8,
            changed: vec!["backends.demo".into()],
            needs_restart: vec!["listeners.main.address: a bound socket stays where it is".into()],
        };
        let fake = Fake {
            ready: AtomicBool::new(true),
            policy: Mutex::default(),
            outcome: Mutex::new(outcome),
            reload_may_end: Notify::new(),
            reload_ended: Notify::new(),
        };
        fake.reload_may_end.notify_one();
        fake
    }
}

#[async_trait]
impl Control for Fake {
    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn detail(&self) -> Detail {
        let outcome = ReloadOutcome::Rejected {
            generation: 7,
            diagnostics: vec![Diagnostic { path: None, line: Some(3), column: Some(5), message: "no".into() }],
        };
        Detail {
            ready: self.ready(),
            draining: !self.ready(),
            generation: 7,
            last_reload: Some(LastReload { unix_seconds: 1_700_000_000, outcome }),
            backends: vec![BackendState { name: "demo".into(), up: Some(true), eras: vec!["legacy", "modern"] }],
        }
    }

    fn config(&self, form: ConfigForm) -> EffectiveConfig {
        let text = match form {
            ConfigForm::Yaml => "listeners: {}\n",
            ConfigForm::Json => r#"{"listeners":{}}"#,
        };
        EffectiveConfig { generation: 7, since_unix_seconds: 1_785_196_800, text: text.into() }
    }

    fn backends(&self) -> Backends {
        let report = BackendReport { name: "demo".into(), up: Some(false), ..BackendReport::default() };
        Backends { generation: 7, backends: vec![report] }
    }

    fn servers(&self) -> Servers {
        let report = ServerReport { name: "default".into(), direct: true, ..ServerReport::default() };
        Servers { generation: 7, servers: vec![report] }
    }

    async fn reload(&self) -> ReloadOutcome {
        self.reload_may_end.notified().await;
        self.reload_ended.notify_one();
        self.outcome.lock().clone()
    }

    fn metrics(&self) -> String {
        "lockgate_in_flight 1\n".into()
    }

    fn metrics_policy(&self) -> MetricsPolicy {
        *self.policy.lock()
    }

    fn token(&self) -> Arc<str> {
        TOKEN.into()
    }

    fn allowed_hosts(&self) -> Arc<[String]> {
        ["gw.example".to_owned()].into()
    }
}

struct Admin {
    address: SocketAddr,
    control: Arc<Fake>,
    server: tokio::task::JoinHandle<()>,
}

impl Admin {
    async fn start(limits: Limits) -> Admin {
        Admin::start_bound(limits, true).await
    }

    /// A listener that takes itself for one bound to loopback or not.
    async fn start_bound(limits: Limits, loopback: bool) -> Admin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let control = Arc::new(Fake::default());
        let server = tokio::spawn(serve_as(listener, control.clone(), limits, loopback, std::future::pending()));
        Admin { address, control, server }
    }

    /// Sends a request with `Connection: close` and these further header lines; gives status, header and body.
    async fn ask(&self, line: &str, headers: &[&str]) -> Answer {
        let host = if headers.iter().any(|header| header.starts_with("Host:")) { "" } else { "Host: localhost\r\n" };
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        self.send(&format!("{line} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n")).await
    }

    async fn send(&self, request: &str) -> Answer {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer counts as its end.
        let _ = client.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    async fn operator(&self, line: &str) -> Answer {
        self.ask(line, &[&format!("Authorization: Bearer {TOKEN}")]).await
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap()
    }
}

#[tokio::test]
async fn health_is_open_to_everybody_under_any_name() {
    let admin = Admin::start(Limits::default()).await;
    for path in ["/healthz", "/health", "/livez", "/readyz"] {
        let answer = admin.ask(&format!("GET {path}"), &["Host: 10.1.2.3:9901", "Origin: http://x.example"]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "{path}");
        assert!(answer.head.contains("cache-control: no-store"));
    }
    admin.control.ready.store(false, Ordering::Relaxed);
    let answer = admin.ask("GET /readyz", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "not ready\n"));
    assert_eq!(admin.ask("GET /livez", &[]).await.status, 200);
}

#[tokio::test]
async fn the_token_shows_why_it_is_not_ready() {
    let admin = Admin::start(Limits::default()).await;
    admin.control.ready.store(false, Ordering::Relaxed);
    let answer = admin.operator("GET /readyz").await;
    assert_eq!(answer.status, 503);
    let detail = answer.json();
    assert_eq!(detail["generation"], 7);
    assert_eq!(detail["draining"], true);
    assert_eq!(detail["last_reload"]["outcome"], "rejected");
    assert_eq!(detail["last_reload"]["diagnostics"][0]["line"], 3);
    assert_eq!(detail["backends"][0]["eras"][1], "modern");
    assert_eq!(admin.ask("GET /readyz", &["Authorization: Bearer wrong"]).await.status, 401);
}

#[tokio::test]
async fn what_is_not_open_needs_the_token_our_host_and_no_page() {
    let admin = Admin::start(Limits::default()).await;
    let token = format!("Authorization: Bearer {TOKEN}");
    for line in ["GET /config", "GET /backends", "GET /servers", "POST /reload", "GET /readyz"] {
        let origin = admin.ask(line, &[&token, "Origin: http://localhost"]).await;
        assert_eq!((origin.status, &origin.json()["error"]), (403, &"origin".into()), "{line}");
        let foreign = admin.ask(line, &[&token, "Host: evil.example"]).await;
        assert_eq!((foreign.status, &foreign.json()["error"]), (403, &"foreign_host".into()), "{line}");
        let wrong = admin.ask(line, &["Authorization: Bearer 0123"]).await;
        assert_eq!((wrong.status, &wrong.json()["error"]), (401, &"token".into()), "{line}");
        assert!(wrong.head.contains("www-authenticate: bearer"));
    }
    for line in ["GET /config", "GET /backends", "GET /servers", "POST /reload"] {
        assert_eq!(admin.ask(line, &[]).await.status, 401, "{line}");
    }
    assert_eq!(admin.ask("GET /config", &[&token, "Host: gw.example:9901"]).await.status, 200);
}

#[tokio::test]
async fn backends_and_servers_are_told() {
    let admin = Admin::start(Limits::default()).await;
    let told = admin.operator("GET /backends").await.json();
    assert_eq!((&told["generation"], &told["backends"][0]["name"]), (&7.into(), &"demo".into()));
    assert_eq!((&told["backends"][0]["up"], &told["backends"][0]["last_error"]), (&false.into(), &().into()));
    let told = admin.operator("GET /servers").await.json();
    assert_eq!((&told["servers"][0]["name"], &told["servers"][0]["direct"]), (&"default".into(), &true.into()));
    assert_eq!(admin.operator("POST /servers").await.status, 405);
}

#[tokio::test]
async fn metrics_follow_their_policy() {
    let admin = Admin::start(Limits::default()).await;
    let token = format!("Authorization: Bearer {TOKEN}");
    let metrics = async |headers: &[&str]| admin.ask("GET /metrics", headers).await.status;
    let answer = admin.ask("GET /metrics", &[]).await;
    assert!(answer.status == 200 && answer.body.starts_with("lockgate_") && answer.head.contains("version=0.0.4"));
    assert_eq!(metrics(&["Host: rebound.example"]).await, 403);

    *admin.control.policy.lock() = MetricsPolicy::Open;
    assert_eq!(metrics(&["Host: pod-7.example"]).await, 200);
    assert_eq!(metrics(&["Origin: http://x.example"]).await, 403);

    *admin.control.policy.lock() = MetricsPolicy::Token;
    assert_eq!(metrics(&[]).await, 401);
    assert_eq!(metrics(&[&token]).await, 200);
}

#[tokio::test]
async fn a_listener_that_is_not_loopback_wants_the_token_and_a_configured_host() {
    let admin = Admin::start_bound(Limits::default(), false).await;
    let token = format!("Authorization: Bearer {TOKEN}");
    let metrics = async |headers: &[&str]| admin.ask("GET /metrics", headers).await.status;
    assert_eq!(metrics(&["Host: gw.example"]).await, 401);
    assert_eq!(metrics(&["Host: gw.example", &token]).await, 200);
    assert_eq!(metrics(&["Host: localhost", &token]).await, 403);
}

#[tokio::test]
async fn the_configuration_comes_as_yaml_or_json() {
    let admin = Admin::start(Limits::default()).await;
    let yaml = admin.operator("GET /config").await;
    assert!(yaml.head.contains("application/yaml") && yaml.head.contains("x-lockgate-generation: 7"));
    assert_eq!(yaml.body, "# generation 7, loaded 2026-07-28T00:00:00Z\nlisteners: {}\n");
    let token = format!("Authorization: Bearer {TOKEN}");
    let json = admin.ask("GET /config", &[&token, "Accept: text/html, application/json;q=0.9"]).await;
    assert_eq!(json.json()["config"]["listeners"], serde_json::json!({}));
    let both = admin.ask("GET /config", &[&token, "Accept: application/yaml, application/json"]).await;
    assert!(both.head.contains("application/yaml"));
}

#[tokio::test]
async fn a_reload_says_what_it_did() {
    let admin = Admin::start(Limits::default()).await;
    let applied = admin.operator("POST /reload").await;
    assert_eq!(applied.status, 200);
    assert_eq!(applied.json()["outcome"], "applied");
    assert_eq!(applied.json()["changed"][0], "backends.demo");
    assert!(applied.json()["needs_restart"][0].as_str().unwrap().starts_with("listeners.main.address"));

    *admin.control.outcome.lock() = ReloadOutcome::Rejected {
        generation: 8,
        diagnostics: vec![Diagnostic {
            path: Some("backends.demo".into()),
            line: Some(12),
            column: Some(3),
            message: "unknown key".into(),
        }],
    };
    admin.control.reload_may_end.notify_one();
    let rejected = admin.operator("POST /reload").await;
    assert_eq!(rejected.status, 422);
    assert_eq!(rejected.json()["diagnostics"][0]["line"], 12);
    assert_eq!(admin.operator("GET /reload").await.status, 405);
}

#[tokio::test]
async fn a_reload_ends_even_when_nobody_waits() {
    let limits = Limits { request_time: Duration::from_millis(50), ..Limits::default() };
    let admin = Admin::start(limits).await;
    admin.control.reload_may_end.notified().await;
    assert_eq!(admin.operator("POST /reload").await.status, 504);
    admin.control.reload_may_end.notify_one();
    admin.control.reload_ended.notified().await;
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let admin = Admin::start(Limits::default()).await;
    let head =
        format!("POST /reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n");
    let long = admin.send(&format!("{head}Content-Length: 65537\r\n\r\n")).await;
    assert_eq!((long.status, &long.json()["error"]), (413, &"body_too_long".into()));
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n10001\r\n{}\r\n0\r\n\r\n", "x".repeat(65537));
    assert_eq!(admin.send(&chunked).await.status, 413);
    assert_eq!(admin.send(&format!("{head}Content-Length: 2\r\n\r\n{{}}")).await.status, 200);
    let hasty = Admin::start(Limits { request_time: Duration::from_millis(50), ..Limits::default() }).await;
    assert_eq!(hasty.send(&format!("{head}Content-Length: 2\r\n\r\nx")).await.status, 504);
}

#[tokio::test]
async fn unknown_paths_and_methods_get_small_json_errors() {
    let admin = Admin::start(Limits::default()).await;
    assert_eq!(admin.ask("GET /nothing", &[]).await.json()["error"], "not_found");
    let method = admin.ask("DELETE /healthz", &[]).await;
    assert_eq!((method.status, &method.json()["error"]), (405, &"method_not_allowed".into()));
    assert!(method.head.contains("allow: get,head"), "{}", method.head);
    assert!(!admin.server.is_finished());
}
