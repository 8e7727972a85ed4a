//! Accepting clients: sockets, limits, PROXY protocol, TLS.
