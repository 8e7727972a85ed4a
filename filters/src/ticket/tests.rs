use super::*;
use proptest::prelude::*;
use std::time::Instant;

fn keyring(seed: u8) -> Keyring {
    let secret: Vec<u8> = (0..32).map(|i| seed ^ (i * 7)).collect();
    Keyring::new(vec![Key::derive("k1", &secret).unwrap()]).unwrap()
}

fn ticket() -> Ticket {
    Ticket {
        id: SessionId([9; 16]),
        principal: PrincipalDigest::ANONYMOUS,
        revision: Revision::V2025_11_25,
        client_name: ClientText::new("claude-code"),
        client_version: ClientText::new("2.1.0"),
        capabilities: ClientCapabilities::ROOTS | ClientCapabilities::ELICITATION_FORM,
        issued: UnixMillis(1_700_000_000_000),
        expires: UnixMillis(1_702_592_000_000),
        node: NodeId([3; 8]),
    }
}

const NOW: UnixMillis = UnixMillis(1_700_000_100_000);

#[test]
fn a_sealed_ticket_opens_at_its_server_until_it_expires() {
    let keys = keyring(1);
    let text = ticket().seal(&keys, "default").unwrap();
    assert_eq!(Ticket::open(&keys, "default", &text, NOW), Ok(ticket()));
    assert_eq!(Ticket::open(&keys, "other", &text, NOW), Err(TicketFault::Forged));
    assert_eq!(Ticket::open(&keyring(2), "default", &text, NOW), Err(TicketFault::UnknownKey));
    let last = UnixMillis(ticket().expires.0 - 1);
    assert!(Ticket::open(&keys, "default", &text, last).is_ok());
    assert_eq!(Ticket::open(&keys, "default", &text, ticket().expires), Err(TicketFault::Expired));
}

#[test]
fn the_text_is_visible_ascii_and_short_even_at_its_longest() {
    let longest = Ticket {
        client_name: ClientText::new(&"n".repeat(4000)),
        client_version: ClientText::new(&"ü".repeat(4000)),
        ..ticket()
    };
    let text = longest.seal(&keyring(1), &"s".repeat(63)).unwrap();
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    assert!(text.len() <= TICKET_BYTES_MAX, "{}", text.len());
    assert_eq!(longest.encode().len(), codec::PLAIN_BYTES_MAX);
}

#[test]
fn two_seals_of_one_ticket_differ() {
    let keys = keyring(1);
    assert_ne!(ticket().seal(&keys, "default").unwrap(), ticket().seal(&keys, "default").unwrap());
}

#[test]
fn what_is_too_long_is_refused_whatever_it_holds() {
    let keys = keyring(1);
    for length in [TICKET_BYTES_MAX + 1, 1 << 20] {
        let fault = Ticket::open(&keys, "default", &"A".repeat(length), NOW);
        assert_eq!(fault, Err(TicketFault::Malformed));
    }
}

#[test]
fn a_client_cannot_smuggle_control_characters_or_length() {
    assert_eq!(ClientText::new("a\r\nb\u{7f}\u{85}c\u{1b}[0m").as_str(), "abc[0m");
    let cut = ClientText::new(&format!("{}é", "x".repeat(127)));
    assert_eq!(cut.as_str(), "x".repeat(127));
}

#[test]
fn a_revision_has_a_stable_code() {
    for revision in Revision::ALL {
        let one = Ticket { revision, ..ticket() };
        assert_eq!(Ticket::decode(&one.encode()), Some(one));
    }
    assert_eq!(ticket().encode()[48], 4);
}

/// Prints what opening costs: `cargo test --release -p lockgate-filters ticket -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn the_cost_of_opening() {
    let keys = keyring(1);
    let text = ticket().seal(&keys, "default").unwrap();
    let rounds = 200_000;
    for (what, run) in [
        ("open", (&|| drop(Ticket::open(&keys, "default", &text, NOW))) as &dyn Fn()),
        ("seal", &|| drop(ticket().seal(&keys, "default"))),
    ] {
        let best = (0..5)
            .map(|_| {
                let start = Instant::now();
                (0..rounds).for_each(|_| run());
                start.elapsed().as_nanos() / rounds
            })
            .min();
        println!("{what}: {} ns, ticket of {} bytes", best.unwrap(), text.len());
    }
}

prop_compose! {
    fn any_ticket()(
        id: [u8; 16], principal: [u8; 32], revision in 0..5usize, name in ".*", version in ".*", bits: u32,
        issued: u64, expires: u64, node: [u8; 8],
    ) -> Ticket {
        Ticket {
            id: SessionId(id),
            principal: PrincipalDigest(principal),
            revision: Revision::ALL[revision],
            client_name: ClientText::new(&name),
            client_version: ClientText::new(&version),
            capabilities: ClientCapabilities::from_bits(bits),
            issued: UnixMillis(issued),
            expires: UnixMillis(expires),
            node: NodeId(node),
        }
    }
}

proptest! {
    #[test]
    fn every_ticket_survives_encoding(ticket in any_ticket()) {
        prop_assert_eq!(Ticket::decode(&ticket.encode()), Some(ticket));
    }

    #[test]
    fn decoding_anything_neither_panics_nor_accepts_a_second_form(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Some(ticket) = Ticket::decode(&bytes) {
            prop_assert_eq!(ticket.encode(), bytes);
        }
    }

    #[test]
    fn damaged_bytes_never_panic(ticket in any_ticket(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = ticket.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Some(ticket) = Ticket::decode(&bytes) {
            prop_assert_eq!(ticket.encode(), bytes);
        }
    }

    #[test]
    fn no_text_opens_by_chance(text in ".{0,1100}") {
        prop_assert!(Ticket::open(&keyring(1), "default", &text, NOW).is_err());
    }

    #[test]
    fn no_changed_text_opens(at: prop::sample::Index, byte in "[A-Za-z0-9_-]") {
        let keys = keyring(1);
        let text = ticket().seal(&keys, "default").unwrap();
        let at = at.index(text.len());
        let changed = format!("{}{}{}", &text[..at], byte, &text[at + 1..]);
        prop_assume!(changed != text);
        prop_assert!(Ticket::open(&keys, "default", &changed, NOW).is_err());
    }
}
