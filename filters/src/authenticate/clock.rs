//! Numeric dates (RFC 7519 section 2): seconds since 1970, perhaps with a fraction, perhaps absurd.
//!
//! Dates become whole milliseconds so that comparing them has one answer. What does not fit ends at the last millisecond
//! that does; what lies before 1970 is 1970. A fraction of a millisecond is taken against the token: it expires earlier and
//! begins later.

use super::fault::TokenFault;
use crate::exchange::UnixMillis;
use serde_json::{Map, Number, Value};

/// The most that clocks may differ by, in milliseconds: 5 minutes.
pub const LEEWAY_MILLIS_MAX: u64 = 300_000;

/// When a token counts, as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// `exp`: the first millisecond at which it no longer does.
    pub expires: Option<UnixMillis>,
    /// `nbf`: the first millisecond at which it does.
    pub not_before: Option<UnixMillis>,
    /// `iat`.
    pub issued: Option<UnixMillis>,
}

impl Validity {
    /// Reads the three dates.
    ///
    /// # Errors
    /// [`TokenFault::Date`] where one of them is there and is no number.
    pub fn read(claims: &Map<String, Value>) -> Result<Validity, TokenFault> {
        let date = |name: &str, up: bool| match claims.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(millis(number, up))),
            Some(_) => Err(TokenFault::Date),
        };
        Ok(Validity { expires: date("exp", false)?, not_before: date("nbf", true)?, issued: date("iat", true)? })
    }

    /// The first moment at which the token no longer counts: `exp` and the leeway.
    ///
    /// # Errors
    /// [`TokenFault::NoExpiry`], [`TokenFault::Expired`] (from `exp` + leeway on), [`TokenFault::NotYet`] (before `nbf` -
    /// leeway), [`TokenFault::IssuedLater`] (before `iat` - leeway).
    pub fn check(&self, now: UnixMillis, leeway_millis: u64) -> Result<UnixMillis, TokenFault> {
        let leeway = leeway_millis.min(LEEWAY_MILLIS_MAX);
        let end = self.expires.ok_or(TokenFault::NoExpiry)?.plus(leeway);
        if now >= end {
            return Err(TokenFault::Expired);
        }
        let later = now.plus(leeway);
        if self.not_before.is_some_and(|begin| later < begin) {
            return Err(TokenFault::NotYet);
        }
        if self.issued.is_some_and(|issued| later < issued) {
            return Err(TokenFault::IssuedLater);
        }
        Ok(end)
    }
}

/// Seconds to milliseconds; `up` says where a fraction of a millisecond goes.
fn millis(number: &Number, up: bool) -> UnixMillis {
    if let Some(seconds) = number.as_u64() {
        return UnixMillis(seconds.saturating_mul(1000));
    }
    let seconds = number.as_f64().unwrap_or(0.0);
    let millis = seconds * 1000.0;
    // A cast saturates at both ends.
    UnixMillis(if up { millis.ceil() } else { millis.floor() } as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const AT: u64 = 1_800_000_000_000;

    fn checked(claims: Value, now: u64, leeway: u64) -> Result<UnixMillis, TokenFault> {
        Validity::read(claims.as_object().unwrap())?.check(UnixMillis(now), leeway)
    }

    #[test]
    fn exp_ends_a_token_at_its_millisecond() {
        let claims = || json!({"exp": AT / 1000});
        assert_eq!(checked(claims(), AT - 1, 0), Ok(UnixMillis(AT)));
        assert_eq!(checked(claims(), AT, 0), Err(TokenFault::Expired));
        assert_eq!(checked(claims(), AT + 1, 0), Err(TokenFault::Expired));
        assert_eq!(checked(claims(), AT + 29_999, 30_000), Ok(UnixMillis(AT + 30_000)));
        assert_eq!(checked(claims(), AT + 30_000, 30_000), Err(TokenFault::Expired));
        assert_eq!(checked(claims(), AT + 30_001, 30_000), Err(TokenFault::Expired));
    }

    #[test]
    fn nbf_begins_a_token_at_its_millisecond() {
        let claims = || json!({"exp": AT, "nbf": AT / 1000});
        assert_eq!(checked(claims(), AT - 1, 0), Err(TokenFault::NotYet));
        assert!(checked(claims(), AT, 0).is_ok());
        assert!(checked(claims(), AT + 1, 0).is_ok());
        assert_eq!(checked(claims(), AT - 30_001, 30_000), Err(TokenFault::NotYet));
        assert!(checked(claims(), AT - 30_000, 30_000).is_ok());
        assert!(checked(claims(), AT - 29_999, 30_000).is_ok());
    }

    #[test]
    fn iat_in_the_future_is_refused_from_its_millisecond_on() {
        let claims = || json!({"exp": AT, "iat": AT / 1000});
        assert_eq!(checked(claims(), AT - 1, 0), Err(TokenFault::IssuedLater));
        assert!(checked(claims(), AT, 0).is_ok());
        assert!(checked(claims(), AT + 1, 0).is_ok());
        assert_eq!(checked(claims(), AT - 30_001, 30_000), Err(TokenFault::IssuedLater));
        assert!(checked(claims(), AT - 30_000, 30_000).is_ok());
        assert!(checked(claims(), AT - 29_999, 30_000).is_ok());
    }

    #[test]
    fn a_fraction_is_taken_against_the_token() {
        assert_eq!(checked(json!({"exp": 10.5}), 10_499, 0), Ok(UnixMillis(10_500)));
        assert_eq!(checked(json!({"exp": 10.5}), 10_500, 0), Err(TokenFault::Expired));
        assert_eq!(checked(json!({"exp": 10.000_25}), 9_999, 0), Ok(UnixMillis(10_000)));
        assert_eq!(checked(json!({"exp": 99, "nbf": 10.000_25}), 10_000, 0), Err(TokenFault::NotYet));
        assert!(checked(json!({"exp": 99, "nbf": 10.000_25}), 10_001, 0).is_ok());
    }

    #[test]
    fn absurd_dates_overflow_nothing() {
        assert_eq!(checked(json!({"exp": -1}), 0, 0), Err(TokenFault::Expired));
        assert_eq!(checked(json!({"exp": i64::MIN}), 0, LEEWAY_MILLIS_MAX - 1), Ok(UnixMillis(LEEWAY_MILLIS_MAX - 1)));
        for exp in [json!(u64::MAX), json!(1e300), json!(i64::MAX), json!(f64::MAX)] {
            assert!(checked(json!({"exp": exp}), AT, 0).is_ok(), "{exp}");
            assert!(checked(json!({"exp": exp}), u64::MAX - 1, u64::MAX).is_ok());
            assert_eq!(checked(json!({"exp": AT, "nbf": exp}), AT, u64::MAX), Err(TokenFault::NotYet));
        }
        assert!(checked(json!({"exp": AT, "nbf": -1e300, "iat": i64::MIN}), AT, 0).is_ok());
        // No leeway is greater than the bound.
        assert_eq!(checked(json!({"exp": 0}), LEEWAY_MILLIS_MAX, u64::MAX), Err(TokenFault::Expired));
    }

    #[test]
    fn what_is_no_number_is_no_date() {
        for wrong in [json!("1800000000"), json!(null), json!(true), json!([1]), json!({})] {
            for name in ["exp", "nbf", "iat"] {
                assert_eq!(checked(json!({"exp": AT, name: wrong}), AT, 0), Err(TokenFault::Date), "{name} {wrong}");
            }
        }
        assert_eq!(checked(json!({"iat": 1}), AT, 0), Err(TokenFault::NoExpiry));
    }

    proptest! {
        #[test]
        fn a_token_counts_exactly_between_its_dates(
            exp in 0..4_000_u64, nbf in 0..4_000_u64, now in 0..4_000_000_u64, leeway in 0..400_000_u64,
        ) {
            let bounded = leeway.min(LEEWAY_MILLIS_MAX);
            let counts = now < exp * 1000 + bounded && now + bounded >= nbf * 1000;
            prop_assert_eq!(checked(json!({"exp": exp, "nbf": nbf}), now, leeway).is_ok(), counts);
        }

        #[test]
        fn no_number_panics(exp in any::<f64>(), nbf in any::<i64>(), iat in any::<u64>(), now in any::<u64>(), leeway in any::<u64>()) {
            let _ = checked(json!({"exp": exp, "nbf": nbf, "iat": iat}), now, leeway);
        }
    }
}
