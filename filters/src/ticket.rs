//! Sealed tickets: our state in the client's hands.

/// An opened session ticket.
#[derive(Clone, Debug)]
pub struct Ticket;
