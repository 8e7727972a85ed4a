//! What a virtual server takes of one backend, and under which names.

use crate::config::values::{Glob, ItemName, ItemPrefix, Name};
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A backend of a virtual server, and what is taken of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The backend.
    pub backend: Name,
    /// What stands before the names of its items here, where it is not the backend's own prefix.
    pub prefix: Option<ItemPrefix>,
    /// Which tools are taken, and how they are called.
    pub tools: Selection,
    /// Which prompts are taken, and how they are called.
    pub prompts: Selection,
    /// Which resources and resource templates are taken.
    pub resources: ResourceSelection,
}

impl Member {
    /// A backend with all that it offers.
    pub fn of(backend: Name) -> Member {
        Member {
            backend,
            prefix: None,
            tools: Selection::default(),
            prompts: Selection::default(),
            resources: ResourceSelection::default(),
        }
    }

    /// Whether all that the backend offers is taken, under its own names.
    pub fn takes_all(&self) -> bool {
        self.tools == Selection::default()
            && self.prompts == Selection::default()
            && self.resources == ResourceSelection::default()
    }
}

/// A backend of a virtual server, and what is taken of it. The name of a backend alone means all that it offers.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MemberMap {
    /// The backend.
    backend: Name,
    /// What stands before the names of its items here. Default: the backend's own prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<ItemPrefix>,
    /// Which tools are taken, and how they are called.
    #[serde(default, skip_serializing_if = "is_default")]
    tools: Selection,
    /// Which prompts are taken, and how they are called.
    #[serde(default, skip_serializing_if = "is_default")]
    prompts: Selection,
    /// Which resources are taken, by URI, and which resource templates, by their URI template.
    #[serde(default, skip_serializing_if = "is_default")]
    resources: ResourceSelection,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        struct NameOrMap;
        impl<'de> Visitor<'de> for NameOrMap {
            type Value = Member;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a backend, or a map with `backend`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Member, E> {
                text.parse().map(Member::of).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Member, A::Error> {
                let MemberMap { backend, prefix, tools, prompts, resources } =
                    MemberMap::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Member { backend, prefix, tools, prompts, resources })
            }
        }
        deserializer.deserialize_any(NameOrMap)
    }
}

/// Written as people write it: the name alone where that says all.
impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.prefix.is_none() && self.takes_all() {
            return self.backend.serialize(serializer);
        }
        let Member { backend, prefix, tools, prompts, resources } = self.clone();
        MemberMap { backend, prefix, tools, prompts, resources }.serialize(serializer)
    }
}

impl JsonSchema for Member {
    fn schema_name() -> Cow<'static, str> {
        "Member".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (map, name) = (MemberMap::json_schema(generator), generator.subschema_for::<Name>());
        json_schema!({ "anyOf": [map, name] })
    }
}

/// Which of a backend's items are taken, and how they are called. Patterns match the backend's own names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Patterns of what is taken. Empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Glob>,
    /// Patterns of what is not, whatever `allow` says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Glob>,
    /// Other names and descriptions, by the backend's own names. A name given here is the whole name: it gets no prefix.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub rename: IndexMap<String, Rename>,
}

/// Which of a backend's resources are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceSelection {
    /// Patterns of what is taken. Empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Glob>,
    /// Patterns of what is not, whatever `allow` says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Glob>,
}

/// Another name, another description, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rename {
    /// The whole name that clients see.
    pub name: Option<ItemName>,
    /// The description that clients see.
    pub description: Option<String>,
}

/// Another name, another description, or both. A text alone is the name.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RenameMap {
    /// The whole name that clients see.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<ItemName>,
    /// The description that clients see.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl<'de> Deserialize<'de> for Rename {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rename, D::Error> {
        struct NameOrMap;
        impl<'de> Visitor<'de> for NameOrMap {
            type Value = Rename;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or a map with `name`, `description` or both")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Rename, E> {
                let name = text.parse().map_err(E::custom)?;
                Ok(Rename { name: Some(name), description: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rename, A::Error> {
                let RenameMap { name, description } = RenameMap::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Rename { name, description })
            }
        }
        deserializer.deserialize_any(NameOrMap)
    }
}

impl Serialize for Rename {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Rename { name, description } = self.clone();
        match (name, description) {
            (Some(name), None) => name.serialize(serializer),
            (name, description) => RenameMap { name, description }.serialize(serializer),
        }
    }
}

impl JsonSchema for Rename {
    fn schema_name() -> Cow<'static, str> {
        "Rename".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (map, name) = (RenameMap::json_schema(generator), generator.subschema_for::<ItemName>());
        json_schema!({ "anyOf": [map, name] })
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
