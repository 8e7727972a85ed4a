//! Dates and times of day at a fixed offset from UTC, without a time zone database.

use std::time::{SystemTime, UNIX_EPOCH};

const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

const SECONDS_PER_DAY: i64 = 86_400;

/// The largest offset in use, Kiribati's, in minutes.
const OFFSET_MINUTES_MAX: i64 = 14 * 60;

/// Seconds since the Unix epoch.
pub(super) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Reads `Z` or `+HH:MM` or `-HH:MM`, at most 14 hours; gives seconds east of UTC.
pub(super) fn parse_offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let two_digits = |text: &str| match text.as_bytes() {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0')),
        _ => None,
    };
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= OFFSET_MINUTES_MAX).then_some(sign * total * 60)
}

/// A moment as RFC 3339 says it at an offset of so many seconds east of UTC, such as `2026-11-20T14:03:05+01:00`.
pub(super) fn rfc3339(unix_seconds: i64, offset_seconds: i64) -> String {
    let local = unix_seconds.saturating_add(offset_seconds);
    let (year, month, day) = civil(local.div_euclid(SECONDS_PER_DAY));
    let second = local.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let zone = if offset_seconds == 0 {
        "Z".to_owned()
    } else {
        let sign = if offset_seconds < 0 { '-' } else { '+' };
        let minutes = offset_seconds.abs() / 60;
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
}

/// The English name of the day of the week.
pub(super) fn weekday(unix_seconds: i64, offset_seconds: i64) -> &'static str {
    let day = unix_seconds.saturating_add(offset_seconds).div_euclid(SECONDS_PER_DAY);
    // 1970-01-01 was a Thursday.
    WEEKDAYS[day.rem_euclid(7) as usize]
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar.
///
/// After Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`: years begin in March, so that
/// the leap day is the last of its year, and repeat every 400 years of 146 097 days.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_are_written_right() {
        assert_eq!(rfc3339(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400, 0), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_795_179_785, 3600), "2026-11-20T14:03:05+01:00");
        assert_eq!(rfc3339(0, -9000), "1969-12-31T21:30:00-02:30");
        assert_eq!(rfc3339(4_107_542_399, 0), "2100-02-28T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400, 0), "2100-03-01T00:00:00Z");
        assert_eq!(weekday(0, 0), "Thursday");
        assert_eq!(weekday(0, -3600), "Wednesday");
        assert_eq!(weekday(1_795_179_785, 0), "Friday");
    }

    #[test]
    fn offsets_are_read_strictly() {
        assert_eq!(parse_offset("Z"), Some(0));
        assert_eq!(parse_offset("+05:45"), Some(20_700));
        assert_eq!(parse_offset("-02:30"), Some(-9000));
        assert_eq!(parse_offset("+14:00"), Some(50_400));
        for bad in
            ["", "z", "+1:00", "+01:0", "01:00", "+14:01", "+01:60", "+0a:00", "+01:00:00", "+é1:00", "Europe/Rome"]
        {
            assert_eq!(parse_offset(bad), None, "{bad}");
        }
    }
}
