//! Byte counts as people write them: `4MiB`, `64KiB`, `512B`, `10MB`, or a plain number of bytes.

use super::{Invalid, write_as_text};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// The units, largest first; the binary ones are what a size is written back in.
const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size of so many bytes.
    pub const fn bytes(bytes: u64) -> ByteSize {
        ByteSize(bytes)
    }

    /// A size of so many KiB (1024 bytes), saturating.
    pub const fn kib(kib: u64) -> ByteSize {
        ByteSize(kib.saturating_mul(1 << 10))
    }

    /// A size of so many MiB (1024 KiB), saturating.
    pub const fn mib(mib: u64) -> ByteSize {
        ByteSize(mib.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory, saturating where memory is smaller.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ByteSize, Invalid> {
        let text = text.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(Invalid::new("a size is a whole number and a unit, such as `4MiB`"));
        }
        let number: u64 = number.parse().map_err(|_| Invalid::new("this size is too large"))?;
        let unit = unit.trim_start();
        let scale = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, scale)) => *scale,
            None if unit.is_empty() => 1,
            None => {
                return Err(Invalid::new("the unit of a size is one of B, kB, MB, GB, KiB, MiB, GiB (such as `4MiB`)"));
            }
        };
        number.checked_mul(scale).map(ByteSize).ok_or_else(|| Invalid::new("this size is too large"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, scale): &&(&str, u64)| self.0 >= *scale && self.0.is_multiple_of(*scale);
        match UNITS.iter().find(fits) {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => write!(f, "{}B", self.0),
        }
    }
}

write_as_text!(ByteSize);

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        struct Size;
        impl de::Visitor<'_> for Size {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as `4MiB` or a number of bytes")
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Size)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A size: a whole number with a unit (B, kB, MB, GB, KiB, MiB, GiB), or a number of bytes.",
            "type": ["string", "integer"],
            "pattern": "^[0-9]+ ?(B|kB|MB|GB|KiB|MiB|GiB)?$",
            "minimum": 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        let bytes = |text: &str| text.parse::<ByteSize>().map(ByteSize::get);
        assert_eq!(bytes("4MiB"), Ok(4 << 20));
        assert_eq!(bytes("64 KiB"), Ok(64 << 10));
        assert_eq!(bytes("512B"), Ok(512));
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("10kB"), Ok(10_000));
        assert_eq!(bytes("3MB"), Ok(3_000_000));
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        for wrong in
            ["", "MiB", "-1B", "1.5MiB", "4M", "4mib", "4KB", "99999999999999999999B", "99999999999GiB", "1 2B"]
        {
            assert!(bytes(wrong).is_err(), "{wrong:?} is no size");
        }
    }

    #[test]
    fn a_size_is_written_in_the_largest_unit_that_divides_it() {
        assert_eq!(ByteSize::mib(4).to_string(), "4MiB");
        assert_eq!(ByteSize::kib(1536).to_string(), "1536KiB");
        assert_eq!(ByteSize::bytes(1000).to_string(), "1kB");
        assert_eq!(ByteSize::bytes(1025).to_string(), "1025B");
        assert_eq!(ByteSize::bytes(0).to_string(), "0B");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes in any::<u64>()) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
