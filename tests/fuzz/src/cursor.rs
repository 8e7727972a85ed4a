//! No text is a cursor, or the id of a question, that was not sealed here for this; what was sealed opens as it was, and no
//! bit may change.
//!
//! The input is taken both for the text and for what is sealed.

use crate::keys::{KEYS, SERVER};
use lockgate_filters::federate::Kind;
use lockgate_filters::federate::cursor::{NoCursor, Position};
use lockgate_filters::federate::event_id::Source;
use lockgate_filters::federate::question::{Question, RAW_BYTES_MAX, Subject};
use lockgate_filters::ticket::{NodeId, Purpose, SMALL_TEXT_BYTES_MAX, SessionId};

/// Checks a text, or what is sealed in one.
pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        for kind in Kind::ALL {
            assert_eq!(Position::open(&KEYS, SERVER, kind, None, text), Err(NoCursor), "opened, but never sealed");
        }
        for subject in [Subject::Id, Subject::Token] {
            assert_eq!(Question::open(&KEYS, SERVER, subject, text), None, "opened, but never sealed");
        }
        cursor(text, data.len());
    }
    // Bytes that nobody but us can seal, in any form: they are refused or read, and do no harm.
    let Ok(sealed) = KEYS.seal_small(Purpose::Cursor, SERVER, data) else { return };
    assert!(sealed.len() <= SMALL_TEXT_BYTES_MAX, "sealed, but too long to open");
    let _ = Position::open(&KEYS, SERVER, Kind::Tools, None, &sealed);
    let sealed = KEYS.seal_alike(Purpose::Question, SERVER, data).expect("as long as the other");
    assert_eq!(Ok(&sealed), KEYS.seal_alike(Purpose::Question, SERVER, data).as_ref(), "not sealed alike");
    let _ = Question::open(&KEYS, SERVER, Subject::Id, &sealed);
    question(data);
}

fn cursor(name: &str, index: usize) {
    let position = Position::of(index, name);
    let text = position.seal(&KEYS, SERVER, Kind::Prompts, None).expect("a cursor can be sealed");
    assert_eq!(Position::open(&KEYS, SERVER, Kind::Prompts, None, &text), Ok(position));
    assert_eq!(Position::open(&KEYS, SERVER, Kind::Tools, None, &text), Err(NoCursor), "opened for another list");
    assert_eq!(Position::open(&KEYS, "other", Kind::Prompts, None, &text), Err(NoCursor), "opened at another server");
    for changed in changed(&text, index) {
        assert_eq!(Position::open(&KEYS, SERVER, Kind::Prompts, None, &changed), Err(NoCursor), "opened, but changed");
    }
}

fn question(raw: &[u8]) {
    let asked = Question {
        node: NodeId([1; 8]),
        boot: [2; 8],
        backend: "files".into(),
        session: SessionId([3; 16]),
        source: Source::of("files", raw),
        subject: Subject::Token,
        raw: bytes::Bytes::copy_from_slice(raw),
    };
    let sealed = asked.seal(&KEYS, SERVER);
    assert_eq!(sealed.is_ok(), raw.len() <= RAW_BYTES_MAX);
    let Ok(sealed) = sealed else { return };
    let text = std::str::from_utf8(&sealed).expect("base64").trim_matches('"');
    assert_eq!(Question::open(&KEYS, SERVER, Subject::Token, text).as_ref(), Some(&asked));
    assert_eq!(Question::open(&KEYS, SERVER, Subject::Id, text), None, "opened as something else");
    for changed in changed(text, raw.len()) {
        assert_eq!(Question::open(&KEYS, SERVER, Subject::Token, &changed), None, "opened, but changed");
    }
}

/// The text with one bit flipped somewhere, and with another end.
fn changed(text: &str, seed: usize) -> Vec<String> {
    let mut bytes = text.as_bytes().to_vec();
    let at = seed % bytes.len();
    bytes[at] ^= 1 << (seed % 7);
    let cut = text[..seed % text.len()].to_owned();
    let flipped = String::from_utf8(bytes).into_iter();
    flipped.chain([cut, format!("{text}A"), format!("{text}=")]).collect()
}
