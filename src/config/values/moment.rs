//! Points in time as people write them: RFC 3339, such as `2027-01-01T00:00:00Z`.

use super::{Invalid, read_from_text, write_as_text};
use std::fmt;
use std::str::FromStr;

/// A point in time from 1970 to 9999, to the second.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    seconds: u64,
    text: Box<str>,
}

impl Moment {
    /// Seconds since the Unix epoch.
    pub const fn unix_seconds(&self) -> u64 {
        self.seconds
    }
}

impl FromStr for Moment {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Moment, Invalid> {
        let seconds = seconds(text)
            .ok_or_else(|| Invalid::new("a point in time is written such as `2027-01-01T00:00:00Z` (from 1970 on)"))?;
        Ok(Moment { seconds, text: text.into() })
    }
}

/// The seconds since the epoch that a text says; a fraction is not written.
fn seconds(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = |from: usize, length: usize| {
        let digits = bytes.get(from..from + length)?;
        let add = |sum: u64, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'));
        digits.iter().try_fold(0, add)
    };
    let is = |at: usize, one: u8| bytes.get(at).is_some_and(|byte| byte.eq_ignore_ascii_case(&one));
    if !(is(4, b'-') && is(7, b'-') && (is(10, b'T') || is(10, b' ')) && is(13, b':') && is(16, b':')) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if year < 1970 || day == 0 || day > days_of(year, month)? || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let local = (days_before(year, month)? + day - 1) * 86_400 + hour * 3_600 + minute * 60 + second;
    match bytes.get(19..)? {
        [b'Z' | b'z'] => Some(local),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(20, 2)?, number(23, 2)?);
            let offset = (hours <= 23 && minutes <= 59).then_some(hours * 3_600 + minutes * 60)?;
            if *sign == b'+' { local.checked_sub(offset) } else { local.checked_add(offset) }
        }
        _ => None,
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// How many days a month has; `None` where there is no such month.
fn days_of(year: u64, month: u64) -> Option<u64> {
    match month {
        2 => Some(if is_leap(year) { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

/// The days from the epoch to the first of a month.
fn days_before(year: u64, month: u64) -> Option<u64> {
    let last = year.checked_sub(1)?;
    let leap_years = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_years(last) - leap_years(1969);
    (1..month).try_fold(years, |days, month| Some(days + days_of(year, month)?))
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

write_as_text!(Moment);
read_from_text!(Moment, expecting: "a point in time such as `2027-01-01T00:00:00Z`", schema: {
    "description": "A point in time (RFC 3339), such as `2027-01-01T00:00:00Z`.",
    "type": "string",
    "format": "date-time",
    "examples": ["2027-01-01T00:00:00Z"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_seconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-28T23:59:59Z", 951_782_399),
            ("2000-02-29T00:00:00z", 951_782_400),
            ("2024-12-31 23:59:59Z", 1_735_689_599),
            ("2026-07-28T00:00:00Z", 1_785_196_800),
            ("2026-07-28T02:00:00+02:00", 1_785_196_800),
            ("2026-07-27T18:30:00-05:30", 1_785_196_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(text.parse::<Moment>().map(|moment| moment.unix_seconds()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for wrong in [
            "",
            "2027-01-01",
            "2027-01-01T00:00:00",
            "2027-13-01T00:00:00Z",
            "2027-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2027-01-00T00:00:00Z",
            "2027-01-01T24:00:00Z",
            "2027-01-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "2027-01-01T00:00:00+1:00",
            "2027-01-01T00:00:00Zx",
            "2027-01-01T00:00:00.5Z",
            "x027-01-01T00:00:00Z",
            "２027-01-01T00:00:00Z",
        ] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong:?}");
        }
    }
}
