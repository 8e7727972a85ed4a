use super::*;
use crate::federate::testing::keys;
use crate::ticket::SMALL_TEXT_BYTES_MAX;
use proptest::prelude::*;

#[test]
fn a_cursor_opens_only_for_its_list_at_its_server() {
    let keys = keys();
    let position = Position::of(7, "gh__search");
    let text = position.seal(&keys, "default", Kind::Tools, None).unwrap();
    assert_eq!(Position::open(&keys, "default", Kind::Tools, None, &text), Ok(position));
    assert_eq!(Position::open(&keys, "default", Kind::Prompts, None, &text), Err(NoCursor));
    assert_eq!(Position::open(&keys, "other", Kind::Tools, None, &text), Err(NoCursor));
    let mut changed = text.clone();
    changed.pop();
    for other in ["", "0", "null", &changed, &format!("{text}A"), &"A".repeat(SMALL_TEXT_BYTES_MAX + 1)] {
        assert_eq!(Position::open(&keys, "default", Kind::Tools, None, other), Err(NoCursor), "{other}");
    }
}

#[test]
fn a_cursor_of_one_caller_is_none_of_another() {
    let keys = keys();
    let [one, other] = ["one", "other"].map(crate::federate::testing::audience).map(Some);
    let position = Position::of(7, "gh__search");
    for (of, by) in [(one, other), (one, None), (None, one)] {
        let text = position.seal(&keys, "default", Kind::Tools, of).unwrap();
        assert_eq!(Position::open(&keys, "default", Kind::Tools, of, &text), Ok(position));
        assert_eq!(Position::open(&keys, "default", Kind::Tools, by, &text), Err(NoCursor));
    }
}

#[test]
fn something_else_that_was_sealed_is_no_cursor() {
    let keys = keys();
    for (purpose, plain) in [
        (Purpose::Event, &[0; 21][..]),
        (Purpose::Cursor, &[0; 20]),
        (Purpose::Cursor, &[0; 22]),
        (Purpose::Cursor, &[9; 21]),
    ] {
        let text = keys.seal_small(purpose, "default", plain).unwrap();
        assert_eq!(Position::open(&keys, "default", Kind::Tools, None, &text), Err(NoCursor));
    }
}

proptest! {
    #[test]
    fn every_position_survives(index in any::<u32>(), name in any::<String>()) {
        let position = Position::of(index as usize, &name);
        let keys = keys();
        let text = position.seal(&keys, "s", Kind::Resources, None).unwrap();
        prop_assert!(text.len() <= 96);
        prop_assert_eq!(Position::open(&keys, "s", Kind::Resources, None, &text), Ok(position));
    }

    #[test]
    fn a_list_goes_on_behind_the_item_wherever_it_stands(names in prop::collection::hash_set("[a-e]{1,2}", 0..8), index in 0usize..10) {
        let names: Vec<String> = names.into_iter().collect();
        let fingerprints: Vec<Fingerprint> = names.iter().map(|name| Fingerprint::of(name)).collect();
        let list = || fingerprints.iter().copied();
        for (at, name) in names.iter().enumerate() {
            prop_assert_eq!(Position::of(index, name).resume(list()), at + 1);
        }
        prop_assert_eq!(Position::of(index, "gone").resume(list()), index.min(names.len()));
    }
}
