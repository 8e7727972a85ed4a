//! A child process or an event stream may say anything: every request hears only what is its own, under its own id.
//!
//! The input's first byte says how the rest is cut into pieces, the second how long a line may be.

use lockgate::upstream::{FUZZED_IDS, FuzzedPeer, fuzz_peer};

/// Checks what a peer says.
pub fn check(data: &[u8]) {
    let [step, limit, said @ ..] = data else { return };
    let limit = 16 + usize::from(*limit) * 4;
    let whole = hear(said, usize::MAX, limit);
    assert_eq!(hear(said, usize::from(*step) + 1, limit), whole, "what is heard depends on pieces");
    for (line, message) in &whole.lines {
        assert!(line.len() <= limit && !line.contains(&b'\n'));
        match message {
            Some(true) => assert!(matches!(line.first(), Some(b'{' | b'[')), "{line:?}"),
            Some(false) => {}
            None => assert_eq!(line.len(), limit),
        }
    }
    assert!(whole.written.len() <= whole.lines.iter().map(|(line, _)| line.len()).sum(), "more answers than messages");
    for message in &whole.written {
        assert!(!message.contains(&b'\n'));
        assert!(read(message).get("method").is_none() && read(message)["id"] != serde_json::Value::Null, "{message:?}");
    }
    for ((id, heard), answered) in FUZZED_IDS.iter().zip(&whole.heard).zip(whole.answered) {
        let id: serde_json::Value = serde_json::from_str(id).expect("JSON");
        for (number, message) in heard.iter().enumerate() {
            let last = number + 1 == heard.len();
            // Which of two equal names counts is not said of what stands inside `params`.
            let twice = message.windows(13).filter(|window| window == b"progressToken").count() > 1;
            let message = read(message);
            if answered && last {
                assert_eq!(message["id"], id, "{message}");
                assert!(message.get("method").is_none());
            } else {
                assert!(message["method"].is_string(), "{message}");
            }
            if message["method"] == "notifications/progress" && !twice {
                assert_eq!(message["params"]["progressToken"], id, "{message}");
            }
        }
    }
}

/// Content is left as the peer wrote it, which may be what this reader refuses: half a surrogate pair, a number out of
/// range.
fn read(message: &[u8]) -> serde_json::Value {
    serde_json::from_slice(message).unwrap_or_else(|_| serde_json::json!({"id": "unreadable", "method": "unreadable"}))
}

fn hear(said: &[u8], step: usize, limit: usize) -> FuzzedPeer {
    fuzz_peer(said, step, limit).expect("a runtime")
}
