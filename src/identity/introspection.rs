//! Asking an issuer about an opaque token (RFC 7662).
//!
//! Requests that show the same token at the same time share one question. Nothing is kept of an answer here: how long it
//! counts is decided where it is judged. Whatever is no clear answer is an error, and the token is refused.

use super::settings::{ClientAuth, IntrospectionSettings};
use crate::egress::{Accept, Client, FetchError, Origin, Request};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, header};
use lockgate_filters::rpc::scan::{Limits, skim};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::OnceCell;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How deeply an answer may nest.
const DEPTH: usize = 16;

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The most questions to one issuer at a time.
const QUESTIONS_MAX: usize = 256;

/// The longest token that is asked about, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// Why nothing is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IntrospectionFault {
    /// The issuer could not be asked.
    #[error("{0}")]
    Fetch(FetchError),
    /// What it answered is no answer: no JSON object with unique members, or without `active`.
    #[error("the issuer's answer about a token cannot be used")]
    Malformed,
    /// Too many questions are being asked.
    #[error("too many tokens are being asked about")]
    Busy,
    /// The token is longer than any.
    #[error("the token is too long to be asked about")]
    TooLong,
}

impl IntrospectionFault {
    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            IntrospectionFault::Fetch(error) => error.label(),
            IntrospectionFault::Malformed => "malformed",
            IntrospectionFault::Busy => "busy",
            IntrospectionFault::TooLong => "too_long",
        }
    }
}

type Answer = Result<Arc<Map<String, Value>>, IntrospectionFault>;
type Questions = HashMap<[u8; 32], Arc<OnceCell<Answer>>>;

/// Asks one issuer.
pub struct Introspector {
    settings: IntrospectionSettings,
    /// With [`ClientAuth::Basic`].
    authorization: Option<HeaderValue>,
    client: Client,
    questions: Mutex<Questions>,
}

impl fmt::Debug for Introspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspector").finish_non_exhaustive()
    }
}

/// The secret cannot stand in a header.
pub(super) struct UnfitSecret;

impl Introspector {
    pub(super) fn new(settings: IntrospectionSettings, client: Client) -> Result<Introspector, UnfitSecret> {
        let authorization = match settings.method {
            ClientAuth::Post => None,
            ClientAuth::Basic => Some(basic(&settings).ok_or(UnfitSecret)?),
        };
        Ok(Introspector { settings, authorization, client, questions: Mutex::default() })
    }

    /// What the issuer says of a token: an object with `active`, whose other members are for the caller to judge.
    ///
    /// # Errors
    /// [`IntrospectionFault`].
    pub async fn ask(&self, token: &str) -> Answer {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(IntrospectionFault::TooLong);
        }
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        let question = {
            let mut questions = self.questions.lock();
            if !questions.contains_key(&key) && questions.len() >= QUESTIONS_MAX {
                return Err(IntrospectionFault::Busy);
            }
            Arc::clone(questions.entry(key).or_default())
        };
        let asked = Asked { questions: &self.questions, key, question };
        // Where whoever asked goes away, the next one who waits asks again.
        asked.question.get_or_init(|| self.fetch(token)).await.clone()
    }

    async fn fetch(&self, token: &str) -> Answer {
        let settings = &self.settings;
        let mut fields = vec![("token", token), ("token_type_hint", "access_token")];
        if settings.method == ClientAuth::Post {
            fields.extend([("client_id", &*settings.client_id), ("client_secret", settings.client_secret.as_str())]);
        }
        let mut request = Request::post(settings.url.clone(), Origin::Operator, fields)
            .accept(Accept::Json)
            .body_bytes(ANSWER_BYTES_MAX)
            .total_time(ANSWER_TIME);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        let answer = self.client.fetch(request).await.and_then(|response| response.ok());
        read(&answer.map_err(IntrospectionFault::Fetch)?)
    }
}

fn read(answer: &[u8]) -> Answer {
    let malformed = || IntrospectionFault::Malformed;
    skim(answer, &Limits { depth: DEPTH, batch: 0 }).map_err(|_| malformed())?;
    let members: Map<String, Value> = serde_json::from_slice(answer).map_err(|_| malformed())?;
    match members.get("active") {
        Some(Value::Bool(_)) => Ok(Arc::new(members)),
        _ => Err(malformed()),
    }
}

/// RFC 6749 section 2.3.1: both are encoded as in a form before they are put together.
fn basic(settings: &IntrospectionSettings) -> Option<HeaderValue> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let secret = Zeroizing::new(encoded(&settings.client_secret));
    let both = Zeroizing::new(format!("{}:{}", encoded(&settings.client_id), *secret));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(both.as_bytes()))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Somebody who waits for an answer. The last one to leave takes the question away.
struct Asked<'a> {
    questions: &'a Mutex<Questions>,
    key: [u8; 32],
    question: Arc<OnceCell<Answer>>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut questions = self.questions.lock();
        let ours = questions.get(&self.key).is_some_and(|question| Arc::ptr_eq(question, &self.question));
        // An answer is for those who have waited for it; who comes later asks again.
        if ours && (self.question.initialized() || Arc::strong_count(&self.question) <= 2) {
            questions.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::Rules;
    use crate::egress::testing::{Server, answer, here, json};

    fn settings(server: &Server, method: ClientAuth) -> IntrospectionSettings {
        IntrospectionSettings {
            url: server.url("https", "idp.example", "/introspect"),
            client_id: "gate:way".into(),
            client_secret: Zeroizing::new("p&ss word".to_owned()),
            method,
        }
    }

    fn asking(server: &Server, method: ClientAuth) -> Introspector {
        let introspector = Introspector::new(settings(server, method), server.client(Rules::default(), here()));
        introspector.unwrap_or_else(|_| panic!("fit"))
    }

    #[tokio::test]
    async fn the_gateway_proves_itself_in_the_header_or_in_the_form() {
        let server = Server::tls(|_| json(r#"{"active":true,"sub":"ada"}"#)).await;
        let said = asking(&server, ClientAuth::Basic).ask("t/1").await.unwrap();
        assert_eq!(said.get("sub"), Some(&Value::from("ada")));
        let request = server.seen().remove(0);
        let expected = STANDARD.encode("gate%3Away:p%26ss+word");
        assert!(request.contains(&format!("Basic {expected}")), "{request}");
        assert!(request.ends_with("\r\n\r\ntoken=t%2F1&token_type_hint=access_token"), "{request}");
        asking(&server, ClientAuth::Post).ask("t").await.unwrap();
        let request = server.seen().remove(1);
        assert!(!request.to_ascii_lowercase().contains("authorization"), "{request}");
        assert!(request.ends_with("&client_id=gate%3Away&client_secret=p%26ss+word"), "{request}");
        assert!(
            !format!("{:?} {:?}", asking(&server, ClientAuth::Post), settings(&server, ClientAuth::Post))
                .contains("p&ss")
        );
    }

    #[tokio::test]
    async fn requests_with_one_token_share_a_question() {
        let server = Server::tls(|_| json(r#"{"active":false}"#)).await;
        let introspector = asking(&server, ClientAuth::Basic);
        let (one, two, other) = tokio::join!(introspector.ask("t"), introspector.ask("t"), introspector.ask("u"));
        assert!(one.is_ok() && two.is_ok() && other.is_ok());
        assert_eq!(server.seen().len(), 2);
        introspector.ask("t").await.unwrap();
        assert_eq!(server.seen().len(), 3, "nothing is kept");
        assert!(introspector.questions.lock().is_empty());
    }

    #[tokio::test]
    async fn fail_open_never_what_is_no_answer_is_an_error() {
        let server = Server::tls(|request| {
            let token = request.split("token=").nth(1).unwrap_or_default().split('&').next().unwrap_or_default();
            match token {
                "text" => json("\"active\""),
                "list" => json(r#"[{"active":true}]"#),
                "none" => json("{}"),
                "word" => json(r#"{"active":"true"}"#),
                "twice" => json(r#"{"active":false,"active":true}"#),
                "deep" => json(&format!(r#"{{"active":true,"x":{}{}}}"#, "[".repeat(64), "]".repeat(64))),
                "large" => json(&format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(70_000))),
                "html" => answer("200 OK", "content-type: text/html\r\n", r#"{"active":true}"#),
                "error" => answer("401 Unauthorized", "content-type: application/json\r\n", r#"{"active":true}"#),
                _ => answer("302 Found", "location: /elsewhere\r\n", ""),
            }
        })
        .await;
        let introspector = asking(&server, ClientAuth::Basic);
        for token in ["text", "list", "none", "word", "twice", "deep"] {
            assert_eq!(introspector.ask(token).await, Err(IntrospectionFault::Malformed), "{token}");
        }
        for (token, error) in [
            ("large", FetchError::TooLarge),
            ("html", FetchError::ContentType),
            ("error", FetchError::Status(http::StatusCode::UNAUTHORIZED)),
            ("moved", FetchError::Redirect),
        ] {
            assert_eq!(introspector.ask(token).await, Err(IntrospectionFault::Fetch(error)), "{token}");
        }
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(introspector.ask(&long).await, Err(IntrospectionFault::TooLong));
        assert!(introspector.questions.lock().is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn who_goes_away_leaves_no_question_behind() {
        let server = Server::tls(|_| Vec::new()).await;
        let introspector = asking(&server, ClientAuth::Basic);
        {
            let asked = introspector.ask("t");
            tokio::pin!(asked);
            assert!(futures_ready(asked.as_mut()).await.is_none());
        }
        assert!(introspector.questions.lock().is_empty());
    }

    /// Polls once.
    async fn futures_ready<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
