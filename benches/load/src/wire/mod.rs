//! HTTP/1.1 on raw sockets, both sides: a decoder without I/O, and a client that counts what goes wrong.

pub mod client;
pub mod decoder;
pub mod head;
