//! The test bed proved by itself: everything that later goes through the gateway, first without it.

mod clients;
mod conformance;
mod fixtures;
