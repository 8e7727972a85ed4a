//! What opens, what does not, and what stays secret.

use super::*;

fn key(id: &str, seed: u8) -> Key {
    let secret: Vec<u8> = (0..32).map(|i| seed.wrapping_mul(31).wrapping_add(i)).collect();
    Key::derive(id, &secret).unwrap()
}

#[test]
fn the_first_key_seals_and_all_open() {
    let old = Keyring::new(vec![key("k1", 1)]).unwrap();
    let sealed_by_old = old.seal(Purpose::Session, "default", b"plain").unwrap();
    let both = Keyring::new(vec![key("k2", 2), key("k1", 1)]).unwrap();
    let mut buffer = [0; 768];
    assert_eq!(both.open(Purpose::Session, "default", &sealed_by_old, &mut buffer), Ok(&b"plain"[..]));
    let sealed_by_new = both.seal(Purpose::Session, "default", b"plain").unwrap();
    assert_eq!(old.open(Purpose::Session, "default", &sealed_by_new, &mut buffer), Err(TicketFault::UnknownKey));
}

#[test]
fn the_seed_of_nodes_is_the_secrets_own() {
    assert_eq!(key("k1", 1).node_seed(), key("renamed", 1).node_seed());
    assert_ne!(key("k1", 1).node_seed(), key("k1", 2).node_seed());
    let shown = format!("{:?}", key("k1", 1));
    assert_eq!(shown, "Key { id: \"k1\", .. }");
}

#[test]
fn a_key_is_known_by_its_secret_not_by_its_id() {
    let sealed = Keyring::new(vec![key("k1", 1)]).unwrap().seal(Purpose::Session, "s", b"plain").unwrap();
    let renamed = Keyring::new(vec![key("renamed", 1)]).unwrap();
    assert!(renamed.open(Purpose::Session, "s", &sealed, &mut [0; 768]).is_ok());
}

#[test]
fn another_server_and_any_flipped_bit_are_refused() {
    let ring = Keyring::new(vec![key("k1", 1)]).unwrap();
    let sealed = ring.seal(Purpose::Session, "a", b"plain").unwrap();
    let mut buffer = [0; 768];
    assert_eq!(ring.open(Purpose::Session, "b", &sealed, &mut buffer), Err(TicketFault::Forged));
    let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(ring.open(Purpose::Session, "a", &URL_SAFE_NO_PAD.encode(&flipped), &mut buffer).is_err());
    }
}

#[test]
fn nothing_opens_for_another_purpose() {
    let ring = Keyring::new(vec![key("k1", 1)]).unwrap();
    for (place, purpose) in Purpose::ALL.into_iter().enumerate() {
        assert_eq!(purpose as usize, place);
        let sealed = ring.seal_small(purpose, "s", b"plain").unwrap();
        for other in Purpose::ALL {
            let opened = ring.open_small(other, "s", &sealed);
            match other == purpose {
                true => assert_eq!(opened.as_deref(), Ok(&b"plain"[..])),
                false => assert_eq!(opened, Err(TicketFault::Forged)),
            }
        }
    }
}

#[test]
fn what_is_sealed_alike_differs_where_anything_differs() {
    let ring = Keyring::new(vec![key("k1", 1)]).unwrap();
    let alike = |purpose, server, plain: &[u8]| ring.seal_alike(purpose, server, plain).unwrap();
    let one = alike(Purpose::Question, "s", b"plain");
    assert_eq!(one, alike(Purpose::Question, "s", b"plain"));
    assert_eq!(ring.open_small(Purpose::Question, "s", &one).as_deref(), Ok(&b"plain"[..]));
    // The nonces differ too, or two texts could be told to begin alike.
    let nonce = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap()[5..17].to_vec();
    for other in [
        alike(Purpose::Question, "t", b"plain"),
        alike(Purpose::Event, "s", b"plain"),
        alike(Purpose::Question, "s", b"plaix"),
        alike(Purpose::Question, "sp", b"lain"),
        Keyring::new(vec![key("k2", 2)]).unwrap().seal_alike(Purpose::Question, "s", b"plain").unwrap(),
    ] {
        assert_ne!(nonce(&other), nonce(&one));
    }
    assert_ne!(nonce(&ring.seal_small(Purpose::Question, "s", b"plain").unwrap()), nonce(&one));
}

#[test]
fn what_is_too_long_to_be_opened_is_not_sealed() {
    let ring = Keyring::new(vec![key("k1", 1)]).unwrap();
    let most = SMALL_TEXT_BYTES_MAX / 4 * 3 - HEAD_BYTES - AEAD_TAG_BYTES;
    let sealed = ring.seal_small(Purpose::Event, "s", &vec![1; most]).unwrap();
    assert_eq!(sealed.len(), SMALL_TEXT_BYTES_MAX);
    assert_eq!(ring.open_small(Purpose::Event, "s", &sealed).unwrap().len(), most);
    assert_eq!(ring.seal_small(Purpose::Event, "s", &vec![1; most + 1]), Err(SealFailed));
    assert_eq!(ring.seal_alike(Purpose::Event, "s", &vec![1; most + 1]), Err(SealFailed));
    assert_eq!(ring.open_small(Purpose::Event, "s", &"A".repeat(1028)), Err(TicketFault::Malformed));
}

#[test]
fn bad_secrets_and_bad_sets_are_refused() {
    assert_eq!(Key::derive("k", &[7; 31]).unwrap_err(), KeyFault::Short("k".into()));
    assert_eq!(Key::derive("k", &[0; 32]).unwrap_err(), KeyFault::Weak("k".into()));
    assert_eq!(Keyring::new(vec![]).unwrap_err(), KeyFault::Empty);
    assert_eq!(Keyring::new(vec![key("a", 1), key("a", 2)]).unwrap_err(), KeyFault::Duplicate("a".into()));
    assert_eq!(Keyring::new(vec![key("a", 1), key("b", 1)]).unwrap_err(), KeyFault::Duplicate("b".into()));
    let many = (0..17).map(|i| key(&format!("k{i}"), i)).collect();
    assert_eq!(Keyring::new(many).unwrap_err(), KeyFault::TooMany);
}

#[test]
fn secrets_stay_out_of_debug() {
    let secret: Vec<u8> = (100..140).collect();
    let shown = format!("{:?}", Keyring::new(vec![Key::derive("k1", &secret).unwrap()]).unwrap());
    assert_eq!(shown, r#"Keyring { keys: [Key { id: "k1", .. }] }"#);
}
