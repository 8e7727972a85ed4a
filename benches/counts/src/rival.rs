//! What a gateway would write with serde_json instead of the scan: borrowed, one pass, the rest kept raw.
//!
//! It checks less: no depth, no duplicate names below the members it knows, no lone surrogates in what it skips.

use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The envelope, with everything that is not decided on left raw.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// The JSON-RPC version.
    #[serde(borrow)]
    pub jsonrpc: Cow<'a, str>,
    /// The id as written.
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    /// The method.
    #[serde(borrow)]
    pub method: Cow<'a, str>,
    /// The params.
    #[serde(borrow)]
    pub params: Option<Params<'a>>,
}

/// The members of `params` that a gateway reads.
#[derive(Debug, Deserialize)]
pub struct Params<'a> {
    /// The tool or prompt.
    #[serde(borrow)]
    pub name: Option<Cow<'a, str>>,
    /// The resource.
    #[serde(borrow)]
    pub uri: Option<Cow<'a, str>>,
    /// The arguments as written.
    #[serde(borrow)]
    pub arguments: Option<&'a RawValue>,
    /// The metadata as written.
    #[serde(borrow, rename = "_meta")]
    pub meta: Option<&'a RawValue>,
}

/// Reads a body; `None` when it is no call.
pub fn read(body: &[u8]) -> Option<Envelope<'_>> {
    serde_json::from_slice(body).ok()
}
