//! Time spans as people write them: `30s`, `5m`, `1h30m`, `250ms`, `30d`. A bare number is refused: its unit is a guess.

use super::{Invalid, write_as_text};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The units in milliseconds, largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Ten years: more is a slip, and adding it to a clock must never overflow.
const LONGEST_MS: u64 = 3_650 * 86_400_000;

/// What is said to a bare number.
const NEEDS_UNIT: &str = "a time span needs a unit: ms, s, m, h or d (such as `30s`)";

/// A length of time in whole milliseconds, at most ten years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(u64);

impl TimeSpan {
    /// A span of so many milliseconds, capped at ten years.
    pub const fn millis(millis: u64) -> TimeSpan {
        TimeSpan(if millis > LONGEST_MS { LONGEST_MS } else { millis })
    }

    /// A span of so many seconds, capped at ten years.
    pub const fn seconds(seconds: u64) -> TimeSpan {
        TimeSpan::millis(seconds.saturating_mul(1_000))
    }

    /// The span as the standard library's type.
    pub const fn get(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// The span in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl FromStr for TimeSpan {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<TimeSpan, Invalid> {
        let mut rest = text.trim();
        let mut units = UNITS.as_slice();
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(Invalid::new("a time span is a number and a unit, such as `30s`"));
        }
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let unit_length = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_length);
            if unit.is_empty() && !number.is_empty() {
                return Err(Invalid::new(NEEDS_UNIT));
            }
            let number: u64 =
                number.parse().map_err(|_| Invalid::new("a time span is whole numbers with units, such as `1h30m`"))?;
            let Some(position) = units.iter().position(|(name, _)| *name == unit) else {
                return Err(Invalid::new(
                    "the units of a time span are d, h, m, s, ms, largest first (such as `1h30m`)",
                ));
            };
            let scale = units.get(position).map_or(0, |(_, scale)| *scale);
            units = units.get(position + 1..).unwrap_or_default();
            let part = number.checked_mul(scale).filter(|part| *part <= LONGEST_MS);
            total = part
                .and_then(|part| total.checked_add(part))
                .filter(|total| *total <= LONGEST_MS)
                .ok_or_else(|| Invalid::new("a time span is at most ten years"))?;
            rest = tail;
        }
        Ok(TimeSpan(total))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0;
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, scale) in UNITS {
            if left >= scale {
                write!(f, "{}{unit}", left / scale)?;
                left %= scale;
            }
        }
        Ok(())
    }
}

write_as_text!(TimeSpan);

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TimeSpan, D::Error> {
        struct Span;
        impl de::Visitor<'_> for Span {
            type Value = TimeSpan;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time span with a unit, such as `30s`")
            }
            fn visit_u64<E: de::Error>(self, _: u64) -> Result<TimeSpan, E> {
                Err(E::custom(NEEDS_UNIT))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TimeSpan, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Span)
    }
}

impl JsonSchema for TimeSpan {
    fn schema_name() -> Cow<'static, str> {
        "TimeSpan".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time span: whole numbers with units d, h, m, s, ms, largest first, such as `1h30m`.",
            "type": "string",
            "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
            "minLength": 2
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_read_as_people_write_them() {
        let millis = |text: &str| text.parse::<TimeSpan>().map(TimeSpan::as_millis).ok();
        assert_eq!(millis("30s"), Some(30_000));
        assert_eq!(millis("5m"), Some(300_000));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("250ms"), Some(250));
        assert_eq!(millis("30d"), Some(2_592_000_000));
        assert_eq!(millis("1d2h3m4s5ms"), Some(93_784_005));
        assert_eq!(millis("0s"), Some(0));
        for wrong in
            ["", "30", "s", "30 s", "1.5s", "-1s", "30m1h", "1s1s", "30sec", "4000d", "99999999999999999999s", "1h30"]
        {
            assert_eq!(millis(wrong), None, "{wrong:?} is no time span");
        }
    }

    #[test]
    fn a_bare_number_is_told_to_take_a_unit() {
        let error = "30".parse::<TimeSpan>().map_err(|error| error.to_string());
        assert!(error.is_err_and(|message| message.contains("needs a unit")));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0..=LONGEST_MS) {
            prop_assert_eq!(TimeSpan(millis).to_string().parse(), Ok(TimeSpan(millis)));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<TimeSpan>();
        }
    }
}
