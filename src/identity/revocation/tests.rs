//! Lists from files and URLs, fresh and stale.

use super::*;
use crate::egress::Rules;
use crate::egress::testing::{Server, answer, here};
use crate::identity::testing::clock;
use std::sync::atomic::AtomicBool;

type Seen = (Vec<Revoked>, UnixMillis);

fn make() -> Revoker<Seen> {
    Arc::new(|entries, until| Ok((entries.to_vec(), until)))
}

fn lists(file: Option<PathBuf>, url: Option<Url>) -> RevocationSettings {
    RevocationSettings { file, url, refresh: Duration::from_millis(5), max_stale: Duration::from_secs(300) }
}

async fn published(watch: &RevocationWatch<Seen>, fits: impl Fn(&Seen) -> bool) -> Arc<Seen> {
    let mut changes = watch.changes();
    let waiting = async {
        loop {
            changes.mark_unchanged();
            let current = watch.current();
            if fits(&current) {
                return current;
            }
            changes.changed().await.expect("alive");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("in time")
}

fn key(id: &str) -> Revoked {
    Revoked::ApiKey(id.to_owned())
}

#[test]
fn lists_are_yaml_or_json_and_each_entry_is_one_thing() {
    let token = Revoked::Token { jti: "1".to_owned(), issuer: Some("corp".to_owned()) };
    let subject = Revoked::Subject { subject: "ada".to_owned(), issuer: None };
    let expected = Ok(vec![token, subject, key("ci")]);
    assert_eq!(parse(b"- { jti: '1', issuer: corp }\n- subject: ada\n- api_key: ci\n"), expected);
    assert_eq!(parse(br#"[{"jti":"1","issuer":"corp"},{"subject":"ada"},{"api_key":"ci"}]"#), expected);
    assert_eq!(parse(b""), Ok(Vec::new()));
    assert_eq!(parse(b"[]"), Ok(Vec::new()));
    for wrong in [&b"x"[..], b"{}", b"- x", b"- { jti: 1, sub: x }", b"- [", b"\xff", b"- { jti: a, jti: b }"] {
        assert_eq!(parse(wrong), Err(ListFault::Malformed), "{wrong:?}");
    }
    for wrong in ["- {}", "- { jti: a, subject: b }", "- { api_key: a, issuer: b }", "- { issuer: b }"] {
        assert_eq!(parse(wrong.as_bytes()), Err(ListFault::Entry(0)), "{wrong}");
    }
}

#[tokio::test]
async fn fail_open_never_a_list_that_was_not_read_says_nothing() {
    let server = Server::tls(|_| answer("503 Service Unavailable", "", "")).await;
    let settings = lists(None, Some(server.url("https", "idp.example", "/revoked")));
    let client = server.client(Rules::default(), here());
    let watch = RevocationWatch::start(settings, client, clock(), make()).unwrap();
    assert_eq!(watch.current().1, UnixMillis(0), "before anything was read");
    watch.changes().changed().await.unwrap();
    assert_eq!(watch.current().1, UnixMillis(0));
    let unavailable = FetchError::Status(http::StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(watch.report().2, Some(ListFault::Fetch(unavailable)));
    watch.revoke(key("ci")).unwrap();
    assert_eq!(watch.current().1, UnixMillis(0), "what is added does not make the rest known");
}

#[tokio::test]
async fn a_file_is_read_again_and_again() {
    let server = Server::tls(|_| Vec::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revoked.yaml");
    std::fs::write(&file, "- api_key: one\n").unwrap();
    let client = server.client(Rules::default(), here());
    let clock = clock();
    let watch = RevocationWatch::start(lists(Some(file.clone()), None), client, Arc::clone(&clock), make()).unwrap();
    let first = published(&watch, |(entries, _)| *entries == [key("one")]).await;
    assert!(first.1 > clock(), "it counts for a while");
    watch.revoke(key("extra")).unwrap();
    assert_eq!(watch.current().0, [key("one"), key("extra")], "at once");
    std::fs::write(&file, "- api_key: two\n").unwrap();
    published(&watch, |(entries, _)| *entries == [key("two"), key("extra")]).await;
    std::fs::write(&file, "nonsense").unwrap();
    let (_, until) = *watch.current();
    let mut changes = watch.changes();
    while watch.report().2 != Some(ListFault::Malformed) {
        changes.changed().await.unwrap();
    }
    assert_eq!(watch.current().0, [key("two"), key("extra")], "the last good list stays");
    assert!(watch.current().1.0 < until.0 + 60_000, "and grows old");
}

#[tokio::test]
async fn the_oldest_list_says_how_long_all_count() {
    let up = Arc::new(AtomicBool::new(false));
    let answers = Arc::clone(&up);
    let server = Server::tls(move |_| {
        if answers.load(Ordering::SeqCst) {
            answer("200 OK", "", r#"[{"jti":"j"}]"#)
        } else {
            answer("500 Internal Server Error", "", "")
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revoked.yaml");
    std::fs::write(&file, "- api_key: one\n").unwrap();
    let settings = lists(Some(file), Some(server.url("https", "idp.example", "/revoked")));
    let watch = RevocationWatch::start(settings, server.client(Rules::default(), here()), clock(), make()).unwrap();
    let half = published(&watch, |(entries, _)| !entries.is_empty()).await;
    assert_eq!(half.1, UnixMillis(0), "one of two is not enough");
    up.store(true, Ordering::SeqCst);
    let whole = published(&watch, |(entries, _)| entries.len() == 2).await;
    assert!(whole.1 > UnixMillis(0));
}
