//! JSON as values that conditions can be evaluated with: read in one pass, with bounds on depth and number.

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt};
use cel::common::value::Val;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

/// A value that conditions can be evaluated with.
pub type Value = Box<dyn Val>;

/// How large a JSON text may be that conditions are evaluated with.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// In bytes.
    pub bytes: usize,
    /// How many objects and arrays may stand within each other.
    pub depth: usize,
    /// How many values there may be in all.
    pub values: usize,
}

/// The bounds of arguments.
pub const ARGUMENTS: Bounds = Bounds { bytes: 64 << 10, depth: 32, values: 4_096 };
/// The bounds of annotations.
pub const ANNOTATIONS: Bounds = Bounds { bytes: 16 << 10, depth: 8, values: 256 };
/// The bounds of claims.
pub const CLAIMS: Bounds = Bounds { bytes: 64 << 10, depth: 16, values: 2_048 };

/// Reads a JSON object; nothing at all is an empty one.
///
/// # Errors
/// Says why the text is no object, or which bound it passes.
pub fn object(json: &[u8], bounds: Bounds) -> Result<Value, String> {
    if json.is_empty() {
        return Ok(map(HashMap::new()));
    }
    if json.len() > bounds.bytes {
        return Err(format!("longer than {} bytes", bounds.bytes));
    }
    if json.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err("no JSON object".to_owned());
    }
    let left = Cell::new(bounds.values);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Seed { depth: bounds.depth, left: &left }.deserialize(&mut deserializer).map_err(reason)?;
    deserializer.end().map_err(reason)?;
    Ok(value)
}

/// The same of what is parsed already.
///
/// # Errors
/// Says which bound it passes.
pub fn parsed(json: &serde_json::Map<String, serde_json::Value>, bounds: Bounds) -> Result<Value, String> {
    let left = Cell::new(bounds.values);
    Seed { depth: bounds.depth, left: &left }.deserialize(json).map_err(reason)
}

// What the text was stays out of it: faults are logged.
fn reason(fault: serde_json::Error) -> String {
    let text = fault.to_string();
    if fault.is_data() { text.split(" at line").next().unwrap_or_default().to_owned() } else { "no JSON".to_owned() }
}

/// A map of these members.
pub fn map(members: HashMap<CelMapKey<'static>, Value>) -> Value {
    Box::new(CelMap::from(members))
}

/// A map of these few members.
pub fn members<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    map(members.into_iter().map(|(name, value)| (CelMapKey::from(name), value)).collect())
}

/// A text.
pub fn text(text: &str) -> Value {
    Box::new(CelString::from(text.to_owned()))
}

/// A list of texts.
pub fn texts(texts: &[Box<str>]) -> Value {
    Box::new(CelList::from(texts.iter().map(|it| text(it)).collect::<Vec<_>>()))
}

#[derive(Clone, Copy)]
struct Seed<'c> {
    depth: usize,
    left: &'c Cell<usize>,
}

impl Seed<'_> {
    fn count<E: Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| E::custom("too many values"))?;
        self.left.set(left);
        Ok(())
    }

    fn inner<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nests too deeply"))?;
        Ok(Seed { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Box::new(CelBool::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Box::new(CelInt::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value)
            .map_or_else(|_| Box::new(CelUInt::from(value)) as Value, |int| Box::new(CelInt::from(int))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Box::new(CelDouble::from(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(text(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Box::new(CelNull))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element_seed(inner)? {
            elements.push(element);
        }
        Ok(Box::new(CelList::from(elements)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut found = HashMap::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if found.insert(CelMapKey::from(name), value).is_some() {
                return Err(A::Error::custom("an object names a member twice"));
            }
        }
        Ok(map(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> String {
        object(json.as_bytes(), ARGUMENTS).expect_err(json)
    }

    #[test]
    fn what_is_too_large_or_unclear_is_refused() {
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(object(deep(31).as_bytes(), ARGUMENTS).is_ok());
        assert_eq!(fault(&deep(32)), "nests too deeply");
        assert_eq!(fault(&format!("{{\"a\":[{}1]}}", "1,".repeat(4_094))), "too many values");
        assert!(object(format!("{{\"a\":[{}1]}}", "1,".repeat(4_093)).as_bytes(), ARGUMENTS).is_ok());
        assert_eq!(fault(r#"{"a":1,"a":2}"#), "an object names a member twice");
        assert_eq!(fault(&format!("{{\"a\":\"{}\"}}", "x".repeat(64 << 10))), "longer than 65536 bytes");
        assert_eq!(fault(r#"{"a":1e999}"#), "no JSON");
        assert_eq!(fault(r#"{"a":1}x"#), "no JSON");
        assert_eq!(fault("[1]"), "no JSON object");
        assert!(object(b"", ARGUMENTS).is_ok());
    }
}
