//! No text opens that was not sealed here, for this virtual server; what was sealed opens as it was, and no bit may change.
//!
//! The input is taken both for the text of a ticket and for the bytes inside one.

use crate::keys::{KEYS, SERVER};
use lockgate_filters::exchange::UnixMillis;
use lockgate_filters::ticket::{TICKET_BYTES_MAX, Ticket, TicketFault};

/// Checks a text, or the inside of a ticket.
pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let opened = Ticket::open(&KEYS, SERVER, text, UnixMillis(0));
        assert!(opened.is_err(), "opened, but never sealed");
        assert!(text.len() <= TICKET_BYTES_MAX || opened == Err(TicketFault::Malformed), "too long, but looked at");
    }
    let Some(ticket) = Ticket::decode(data) else { return };
    assert_eq!(ticket.encode(), data, "two ways to write one ticket");
    let sealed = ticket.seal(&KEYS, SERVER).expect("a ticket can be sealed");
    assert!(sealed.len() <= TICKET_BYTES_MAX, "sealed, but too long to open");
    let before = UnixMillis(ticket.expires.0.saturating_sub(1));
    if ticket.expires.0 > 0 {
        assert_eq!(Ticket::open(&KEYS, SERVER, &sealed, before).as_ref(), Ok(&ticket));
    }
    assert_eq!(Ticket::open(&KEYS, SERVER, &sealed, ticket.expires), Err(TicketFault::Expired));
    assert_eq!(Ticket::open(&KEYS, "other", &sealed, before), Err(TicketFault::Forged));
    changed(&sealed, data, before);
}

/// Flips one bit of each byte, which one depends on the input; leaves out the end; puts something behind it.
fn changed(sealed: &str, data: &[u8], now: UnixMillis) {
    let seed = data.iter().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    for at in 0..sealed.len() {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[at] ^= 1 << (seed.wrapping_add(at as u8) % 8);
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        assert!(Ticket::open(&KEYS, SERVER, text, now).is_err(), "opened, but byte {at} was changed");
    }
    let cut = &sealed[..usize::from(seed) % sealed.len()];
    for text in [cut, &format!("{sealed}A"), &format!("{sealed}="), &format!("{sealed}\n")] {
        assert!(Ticket::open(&KEYS, SERVER, text, now).is_err(), "opened, but its end was changed");
    }
}
