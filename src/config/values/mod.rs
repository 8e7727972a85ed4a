//! The values that a configuration is made of: sizes, time spans, names, addresses, secrets.
//!
//! Each type accepts one way of writing and holds nothing that breaks its rule, so no reader of the configuration checks
//! again. An error never repeats the value: it may have come from the environment or from a secret file.

mod address;
mod endpoint;
mod fetch_url;
mod glob;
mod header;
mod host;
mod identity;
mod item;
mod moment;
mod name;
mod network;
mod origin;
mod peer;
mod public_url;
mod reach;
mod route;
mod secret;
mod size;
mod span;
mod variable;

pub use address::ListenAddress;
pub use endpoint::EndpointUrl;
pub use fetch_url::FetchUrl;
pub use glob::Glob;
pub use header::HeaderKey;
pub use host::AllowedHost;
pub use identity::{ClaimPath, IssuerUrl, KeyHash, Scope};
pub use item::{ItemName, ItemPrefix, Separator};
pub use moment::Moment;
pub use name::Name;
pub use network::Network;
pub use origin::{AllowedOrigin, OriginPort};
pub use peer::PeerAddress;
pub use public_url::PublicUrl;
pub use reach::Reach;
pub use route::RoutePath;
pub use secret::{KeyMaterial, MASK, Secret};
pub use size::ByteSize;
pub use span::TimeSpan;
pub use variable::{VariableName, VariableValue};

use std::fmt;

/// Why a text is not a value of its type. Says what is wanted, never what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(String);

impl Invalid {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Invalid {
        Invalid(message.into())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// Reads a type from text through `FromStr` and describes it in the JSON Schema.
macro_rules! read_from_text {
    ($type:ident, expecting: $expecting:literal, schema: $schema:tt) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

/// Writes a type as its `Display` form.
macro_rules! write_as_text {
    ($type:ident) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

pub(in crate::config) use read_from_text;
pub(in crate::config) use write_as_text;
