//! Properties that hold for any input, each in a file of its own.

pub mod cel_compile;
pub mod claims;
pub mod config;
pub mod cursor;
pub mod greeting;
pub mod inventory;
pub mod issuer;
pub mod keys;
pub mod metadata_path;
pub mod mirror;
pub mod peer;
pub mod response;
pub mod scan;
pub mod sse;
pub mod ticket;
pub mod token;
pub mod uri;
