//! JSON-RPC answers that are made here.
