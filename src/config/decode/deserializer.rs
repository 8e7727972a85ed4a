//! A Serde deserializer over the tree that knows its path and passes over what is unknown or taken out.

use super::super::path::KeyPath;
use super::super::tree::{Node, Text};
use super::fault::{Fault, FaultKind, StepRef, Trail, in_words};
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Unknown keys, found on the way: they do not stop the decoding, and are found again in every round.
#[derive(Default)]
pub(super) struct Unknown(RefCell<BTreeMap<KeyPath, &'static [&'static str]>>);

impl Unknown {
    fn note(&self, path: KeyPath, known: &'static [&'static str]) {
        self.0.borrow_mut().insert(path, known);
    }

    /// What was found.
    pub fn into_faults(self) -> impl Iterator<Item = Fault> {
        self.0
            .into_inner()
            .into_iter()
            .map(|(path, known)| Fault { path: Some(path), kind: FaultKind::Unknown { known } })
    }
}

/// Decodes one node.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'a> {
    node: &'a Node,
    trail: Trail<'a>,
    unknown: &'a Unknown,
}

impl<'a> Decoder<'a> {
    /// A decoder of a whole tree.
    pub fn new(tree: &'a Node, unknown: &'a Unknown) -> Decoder<'a> {
        Decoder { node: tree, trail: Trail { parent: None, step: None }, unknown }
    }

    /// Hands a visitor whatever is there; an interpolated text may stand for the scalar that is wanted.
    fn visit<'de, V: Visitor<'de>>(self, visitor: V, want: Want) -> Result<V::Value, Fault> {
        let result = match (self.node, want) {
            (Node::Null | Node::Pruned, _) => visitor.visit_unit(),
            (Node::Bool(value), _) => visitor.visit_bool(*value),
            (Node::Unsigned(value), _) => visitor.visit_u64(*value),
            (Node::Signed(value), _) => visitor.visit_i64(*value),
            (Node::Float(value), _) => visitor.visit_f64(*value),
            (Node::Text(Text { value, interpolated: true }), Want::Bool) => match value.trim() {
                "true" => visitor.visit_bool(true),
                "false" => visitor.visit_bool(false),
                _ => visitor.visit_str(value),
            },
            (Node::Text(Text { value, interpolated: true }), Want::Integer) => match value.trim().parse() {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_str(value),
            },
            (Node::Text(text), _) => visitor.visit_str(&text.value),
            (Node::List(_), _) => self.deserialize_seq(visitor),
            (Node::Map(_), _) => self.deserialize_map(visitor),
        };
        result.map_err(|fault| fault.at(&self.trail))
    }
}

/// What a type wants a scalar to be.
#[derive(Clone, Copy)]
enum Want {
    Any,
    Bool,
    Integer,
}

macro_rules! scalars {
    ($($method:ident => $want:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.visit(visitor, Want::$want)
        })*
    };
}

macro_rules! texts {
    ($($method:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let found = match self.node {
                Node::Bool(_) => "a truth value",
                Node::Unsigned(_) | Node::Signed(_) | Node::Float(_) => "a number",
                _ => return self.visit(visitor, Want::Any),
            };
            let expected = in_words(&visitor as &dyn de::Expected);
            Err(Fault::wrong(format!("expected {expected}, found {found}: put it in quotes")).at(&self.trail))
        })*
    };
}

impl<'de> Deserializer<'de> for Decoder<'_> {
    type Error = Fault;

    scalars!(deserialize_any => Any, deserialize_bool => Bool, deserialize_unit => Any, deserialize_f32 => Any,
        deserialize_f64 => Any, deserialize_i8 => Integer, deserialize_i16 => Integer, deserialize_i32 => Integer,
        deserialize_i64 => Integer, deserialize_u8 => Integer, deserialize_u16 => Integer, deserialize_u32 => Integer,
        deserialize_u64 => Integer, deserialize_ignored_any => Any);

    texts!(
        deserialize_str,
        deserialize_string,
        deserialize_char,
        deserialize_identifier,
        deserialize_bytes,
        deserialize_byte_buf
    );

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::Null | Node::Pruned => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor, Want::Any)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node {
            Node::List(elements) => visitor.visit_seq(List { elements: elements.iter().enumerate(), at: &self }),
            Node::Null => visitor.visit_seq(List { elements: [].iter().enumerate(), at: &self }),
            Node::Map(_) => Err(Fault::invalid_type(de::Unexpected::Map, &visitor)),
            _ => self.visit(visitor, Want::Any),
        }
        .map_err(|fault| fault.at(&self.trail))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.entries(None, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.entries(Some(fields), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let found = match self.node {
            Node::Text(text) if variants.contains(&text.value.as_str()) => {
                let word: StrDeserializer<'_, Fault> = text.value.as_str().into_deserializer();
                return visitor.visit_enum(word).map_err(|fault| fault.at(&self.trail));
            }
            Node::Text(text) if !text.interpolated => Some(text.value.to_string()),
            _ => None,
        };
        Err(Fault { path: None, kind: FaultKind::Variant { found, known: variants } }.at(&self.trail))
    }
}

impl Decoder<'_> {
    /// Decodes the entries of a map: of a struct with these fields, or of any names.
    fn entries<'de, V: Visitor<'de>>(
        self,
        fields: Option<&'static [&'static str]>,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.node {
            Node::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), next: None, fields, at: &self }),
            Node::Null => visitor.visit_map(Entries {
                entries: indexmap::map::Slice::new().iter(),
                next: None,
                fields,
                at: &self,
            }),
            Node::List(_) => Err(Fault::invalid_type(de::Unexpected::Seq, &visitor)),
            _ => self.visit(visitor, Want::Any),
        }
        .map_err(|fault| fault.at(&self.trail))
    }
}

/// The elements of a list.
struct List<'a> {
    elements: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    at: &'a Decoder<'a>,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.elements.find(|(_, node)| !matches!(node, Node::Pruned)) else {
            return Ok(None);
        };
        let trail = Trail { parent: Some(&self.at.trail), step: Some(StepRef::Index(index)) };
        let element = Decoder { node, trail, unknown: self.at.unknown };
        seed.deserialize(element).map(Some).map_err(|fault| fault.at(&trail))
    }
}

/// The entries of a map.
struct Entries<'a> {
    entries: indexmap::map::Iter<'a, String, Node>,
    next: Option<(&'a String, &'a Node)>,
    fields: Option<&'static [&'static str]>,
    at: &'a Decoder<'a>,
}

impl<'a> Entries<'a> {
    fn trail(&self, key: &'a str) -> Trail<'a> {
        Trail { parent: Some(&self.at.trail), step: Some(StepRef::Key(key)) }
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        while let Some((key, node)) = self.entries.next() {
            match self.fields {
                Some(fields) if !fields.contains(&key.as_str()) => {
                    self.at.unknown.note(self.trail(key).path(), fields);
                    continue;
                }
                // An empty value of a setting means its default.
                Some(_) if matches!(node, Node::Null) => continue,
                _ if matches!(node, Node::Pruned) => continue,
                _ => {}
            }
            self.next = Some((key, node));
            let trail = self.trail(key);
            let key: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
            return seed.deserialize(key).map(Some).map_err(|fault| {
                let kind = match fault.kind {
                    FaultKind::Wrong(message) => FaultKind::Key(message),
                    kind => kind,
                };
                Fault { kind, ..fault }.at(&trail)
            });
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, node)) = self.next.take() else {
            return Err(Fault::custom("a value was asked for before its key"));
        };
        let trail = self.trail(key);
        seed.deserialize(Decoder { node, trail, unknown: self.at.unknown }).map_err(|fault| fault.at(&trail))
    }
}
