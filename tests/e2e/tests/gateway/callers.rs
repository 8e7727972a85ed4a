//! Who calls, how they are told whom to ask, and what they may do.

use lockgate_e2e::gateway::federation;
use lockgate_e2e::issuer::{Issuer, api_key};
use lockgate_e2e::mcp::{Answer, NEWEST_LEGACY, client, client_showing};
use lockgate_e2e::scripted::tools;
use lockgate_e2e::{Gateway, Mcp, Scripted};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Two virtual servers over one backend, whose callers have tokens of one issuer, or the API key `ci`.
struct House {
    issuer: Issuer,
    key: String,
    backend: Scripted,
    gateway: Gateway,
    config: String,
}

const POLICY: &str = "policy:
  denied_as: unknown
  scopes:
    'tools:write': { allow: ['tools:call:one/write'], implies: ['tools:read'] }
    'tools:read': { allow: ['tools:call:one/read'] }
  roles:
    reader: { allow: ['tools:call:one/read', 'tools:call:one/write', 'tools:call:one/pay'] }
  assignments:
    - { role: reader, groups: [staff] }
  rules:
    - { name: small, effect: deny, permissions: ['tools:call:one/pay'], when: 'args.amount > 10' }
";

impl House {
    async fn start() -> House {
        let backend = Scripted::http(tools(&["read", "write", "pay", "hidden"])).await;
        let issuer = Issuer::new("https://login.example/a");
        let (key, hash) = api_key("ci");
        let other =
            "  other:\n    path: /other\n    backends: [one]\n    auth: { mode: required, default_resource: true }\n";
        let top = format!(
            "{other}issuers:\n{}api_keys:\n  - {{ id: ci, hash: '{hash}', groups: [staff], virtual_servers: [default] }}\n{POLICY}",
            issuer.section("corp")
        );
        let config = federation(&[("one", backend.backend("one", ""))], "    auth: required\n", &top);
        let gateway = Gateway::start(&config).await;
        gateway.settled().await;
        House { issuer, key, backend, gateway, config }
    }

    fn token(&self, subject: &str, more: Value) -> String {
        self.issuer.token(subject, &self.gateway.mcp(), more)
    }

    fn modern(&self, token: &str) -> Mcp {
        Mcp { http: client_showing(token), ..Mcp::modern(&self.gateway.mcp()) }
    }
}

fn staff(scope: &str) -> Value {
    json!({"groups": ["staff"], "scope": scope})
}

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").unwrap_or_else(|| panic!("a challenge: {answer:?}"))
}

async fn names(client: &Mcp) -> Vec<String> {
    let answer = client.send("tools/list", json!({})).await;
    let tools = answer.json()["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer:?}")).clone();
    tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()).collect()
}

/// Without a proof there is only the way to one: a challenge, and metadata that anybody may read (RFC 9728).
#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_is_told_whom_to_ask() {
    let house = House::start().await;
    let url = house.gateway.mcp();
    let nobody = Mcp::modern(&url);
    let refused = nobody.send("tools/list", json!({})).await;
    assert_eq!(refused.code(), (401, -31008));
    let said = challenge(&refused);
    assert!(said.starts_with("Bearer ") && !said.contains("error"), "{said}");
    let metadata = said.split("resource_metadata=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a URL");
    assert_eq!(metadata, house.gateway.url("/.well-known/oauth-protected-resource/mcp"));
    let read = client().get(metadata).header("origin", "https://anywhere.example").send().await.expect("an answer");
    let read = Answer::read(read).await;
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, Some("*")));
    let document = read.json();
    assert_eq!(document["resource"], url.as_str());
    assert_eq!(document["authorization_servers"], json!([house.issuer.url]));
    assert_eq!(document["scopes_supported"], json!(["tools:write", "tools:read"]));
    let root =
        client().get(house.gateway.url("/.well-known/oauth-protected-resource")).send().await.expect("an answer");
    assert_eq!(Answer::read(root).await.json()["resource"], house.gateway.url("/other").as_str(), "of the default one");

    // Era, method and body do not matter: nobody learns anything.
    for method in ["initialize", "no/such/method"] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}});
        let answer = Answer::read(client().post(&url).body(body.to_string()).send().await.expect("an answer")).await;
        assert_eq!(answer.status, 401, "{method}");
    }
    for (token, error) in [("nonsense", "invalid_token"), ("a.b.c", "invalid_token"), ("lgk_ci_wrong", "invalid_token")]
    {
        let refused = house.modern(token).send("tools/list", json!({})).await;
        assert_eq!(refused.status, 401, "{token}");
        assert!(challenge(&refused).contains(&format!("error=\"{error}\"")), "{token}");
    }
    let token = house.token("ada", staff("tools:read"));
    let misplaced = client().post(format!("{url}?access_token={token}")).send().await.expect("an answer");
    assert_eq!(misplaced.status().as_u16(), 400, "tokens stand in no query");
    assert!(house.backend.heard_of("tools/call").is_empty());
}

/// A token counts where it is for, as long as it says, and for nothing that its issuer did not sign.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_where_it_is_for() {
    let house = House::start().await;
    let good = house.token("ada", staff("tools:read"));
    assert_eq!(house.modern(&good).tool("read", json!({})).await.status, 200);
    let elsewhere = Mcp { url: house.gateway.url("/other"), ..house.modern(&good) };
    let refused = elsewhere.send("tools/list", json!({})).await;
    assert_eq!(refused.status, 401, "a token for one virtual server is none at another");
    assert!(challenge(&refused).contains("/.well-known/oauth-protected-resource/other"));
    let stranger = Issuer::new(&house.issuer.url);
    for (token, why) in [
        (house.token("ada", json!({"exp": 1})), "ended"),
        (house.token("ada", json!({"nbf": 9_999_999_999_u64})), "not begun"),
        (house.token("ada", json!({"iss": "https://login.example/b"})), "of another issuer"),
        (house.token("ada", json!({"cnf": {"jkt": "x"}})), "bound to a key that was not shown"),
        (stranger.token("ada", &house.gateway.mcp(), json!({})), "signed by somebody else"),
    ] {
        assert_eq!(house.modern(&token).tool("read", json!({})).await.status, 401, "{why}");
    }
    // What is for us goes no further.
    let heard = house.backend.heard_of("tools/call");
    assert!(heard.len() == 1 && heard.iter().all(|heard| heard.header("authorization").is_none()));
}

/// What is listed may be called, and nothing else; in both eras, and for tokens and keys alike.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_may_be_called_and_nothing_else() {
    let house = House::start().await;
    let (url, token) = (house.gateway.mcp(), house.token("ada", staff("tools:write")));
    let session = Mcp::legacy_by(client_showing(&token), &url, NEWEST_LEGACY).await;
    for client in [house.modern(&token), session, house.modern(&house.key)] {
        assert_eq!(names(&client).await, ["read", "write", "pay"], "{}", client.revision);
        assert_eq!(client.tool("write", json!({})).await.status, 200);
        assert_eq!(client.tool("hidden", json!({})).await.code(), (200, -32602), "as if it were not there");
        assert_eq!(client.tool("nothing", json!({})).await.code(), (200, -32602));
        assert_eq!(client.tool("pay", json!({"amount": 10})).await.code(), (200, 0));
        assert_eq!(client.tool("pay", json!({"amount": 11})).await.code(), (200, -32602));
        assert_eq!(
            client.tool("pay", json!({"amount": "11"})).await.code(),
            (200, -32602),
            "what cannot be told is no"
        );
    }
    let listed = house.modern(&token).send("tools/list", json!({})).await.json();
    assert_eq!(listed["result"]["cacheScope"], "private");
    let discovered = house.modern(&token).send("server/discover", json!({})).await.json();
    assert_eq!(discovered["result"]["cacheScope"], "private");
    // Who has no role has nothing.
    let guest = house.modern(&house.token("bob", json!({"scope": "tools:write"})));
    assert!(names(&guest).await.is_empty());
    assert_eq!(guest.tool("read", json!({})).await.code(), (200, -32602));
    assert!(house.backend.heard_of("tools/call").iter().all(|heard| heard.json()["params"]["name"] != "hidden"));
}

/// A scope that is missing is asked for, with all that the operation needs; one that implies it will do.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_scope_is_asked_for() {
    let house = House::start().await;
    let reader = house.modern(&house.token("ada", staff("tools:read")));
    assert_eq!(names(&reader).await, ["read", "pay"]);
    let refused = reader.tool("write", json!({})).await;
    assert_eq!(refused.code(), (403, -31009));
    let said = challenge(&refused);
    assert!(
        said.contains("error=\"insufficient_scope\"") && said.contains("scope=\"tools:write tools:read\""),
        "{said}"
    );
    let writer = house.modern(&house.token("ada", staff("tools:write")));
    assert_eq!(writer.tool("write", json!({})).await.status, 200);
    assert_eq!(writer.tool("read", json!({})).await.status, 200, "implied");
}

/// A session belongs to whoever has opened it: to others it does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_openers_alone() {
    let house = House::start().await;
    let url = house.gateway.mcp();
    let ada = Mcp::legacy_by(client_showing(&house.token("ada", staff("tools:write"))), &url, NEWEST_LEGACY).await;
    let bob = Mcp { http: client_showing(&house.token("bob", staff("tools:write"))), ..ada.clone() };
    assert_eq!(bob.tool("read", json!({})).await.status, 404);
    assert_eq!(bob.delete().await.status, 404);
    assert_eq!(ada.tool("read", json!({})).await.status, 200);
    // A newer token of the same caller, with other scopes: the same session, and what that token may do.
    let later = Mcp { http: client_showing(&house.token("ada", staff("tools:read"))), ..ada.clone() };
    assert_eq!(later.tool("read", json!({})).await.status, 200);
    assert_eq!(later.tool("write", json!({})).await.status, 403);
    let nobody = Mcp { http: client(), ..ada.clone() };
    assert_eq!(nobody.tool("read", json!({})).await.status, 401);
}

/// What is held open ends, in the form of its protocol, as soon as its caller may no longer have it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_open_ends_with_the_right_to_it() {
    let house = House::start().await;
    let (url, token) = (house.gateway.mcp(), house.token("ada", staff("tools:read")));
    let session = Mcp::legacy_by(client_showing(&token), &url, NEWEST_LEGACY).await;
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let mut held = [
        house.modern(&token).stream("subscriptions/listen", wanted.clone()).await,
        house.modern(&house.key).stream("subscriptions/listen", wanted).await,
    ];
    for stream in &mut held {
        stream.notification("notifications/subscriptions/acknowledged").await;
    }
    let mut news = session.listen(None).await;
    let [mut by_token, mut by_key] = held;
    // Tokens are taken no more; keys are.
    let only_keys = "    auth: { mode: required, issuers: [], api_keys: true }\n";
    house.gateway.write(&house.config.replace("    auth: required\n", only_keys));
    assert_eq!(house.gateway.reload().await.0, 200);
    let (_, last) = by_token.answer().await;
    assert_eq!(last["result"]["resultType"], "complete");
    while news.next().await.is_some() {}
    assert_eq!(session.tool("read", json!({})).await.status, 401);
    assert_eq!(house.modern(&token).tool("read", json!({})).await.status, 401);
    // Nobody is let in any more: the key is gone.
    house.gateway.write(&house.config.replace("id: ci,", "id: cd,"));
    assert_eq!(house.gateway.reload().await.0, 200);
    let (_, last) = by_key.answer().await;
    assert_eq!(last["result"]["resultType"], "complete");
}

/// A stream ends with the token that it was opened with.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token() {
    let house = House::start().await;
    house.gateway.write(&house.config.replace("    jwks:", "    leeway: 0s\n    jwks:"));
    assert_eq!(house.gateway.reload().await.0, 200);
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let end = seconds() + 8;
    let client = house.modern(&house.token("ada", json!({"exp": end, "groups": ["staff"], "scope": "tools:read"})));
    let mut stream = client.stream("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})).await;
    stream.notification("notifications/subscriptions/acknowledged").await;
    let (_, last) = stream.answer().await;
    assert_eq!(last["result"]["resultType"], "complete");
    assert!((end..=end + 5).contains(&seconds()), "{} s after its end", seconds().saturating_sub(end));
}
