//! `Accept` (RFC 9110 section 12.5.1): the most specific range that matches a media type gives its weight.

use crate::exchange::Accepts;
use http::HeaderMap;
use http::header::ACCEPT;

/// How closely a range names a media type; a closer range outweighs a wider one, whatever its weight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Any,
    Type,
    Exact,
}

/// What the client takes; no `Accept` at all takes everything.
pub(super) fn accepts(headers: &HeaderMap) -> Accepts {
    if !headers.contains_key(ACCEPT) {
        return Accepts { json: true, sse: true };
    }
    Accepts { json: admits(headers, "application", "json"), sse: admits(headers, "text", "event-stream") }
}

fn admits(headers: &HeaderMap, kind: &str, subtype: &str) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| judge(range, kind, subtype))
        .max_by_key(|(closeness, _)| *closeness)
        .is_some_and(|(_, wanted)| wanted)
}

/// How closely a range names the type, and whether its weight is above zero.
fn judge(range: &str, kind: &str, subtype: &str) -> Option<(Closeness, bool)> {
    let mut parts = range.split(';').map(|part| part.trim_matches([' ', '\t']));
    let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
    let closeness = match (range_kind, range_subtype) {
        ("*", "*") => Closeness::Any,
        (own, "*") if own.eq_ignore_ascii_case(kind) => Closeness::Type,
        (own, sub) if own.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) => Closeness::Exact,
        _ => return None,
    };
    let refused = parts.filter_map(|parameter| parameter.split_once('=')).any(|(name, weight)| {
        name.eq_ignore_ascii_case("q") && weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0)
    });
    Some((closeness, !refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> (bool, bool) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        let accepts = accepts(&headers);
        (accepts.json, accepts.sse)
    }

    #[test]
    fn ranges_weights_and_closeness() {
        assert_eq!(of(&[]), (true, true));
        assert_eq!(of(&["*/*"]), (true, true));
        assert_eq!(of(&["application/*"]), (true, false));
        assert_eq!(of(&["application/json, text/event-stream"]), (true, true));
        assert_eq!(of(&["application/json", "text/event-stream"]), (true, true));
        assert_eq!(of(&["Application/JSON;q=0.1"]), (true, false));
        assert_eq!(of(&["*/*, application/json;q=0"]), (false, true));
        assert_eq!(of(&["application/json; q=0.000, text/event-stream ;q=1"]), (false, true));
        assert_eq!(of(&["text/html"]), (false, false));
        assert_eq!(of(&["", "garbage", ";;;,,"]), (false, false));
    }
}
