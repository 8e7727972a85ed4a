//! Patterns in which `*` is any run of characters, and everything else is itself.
//!
//! Unlike the patterns of [`federate::glob`](crate::federate::glob) there is no `?`: permissions name URIs, and a `?` begins
//! the query of one.

use memchr::memmem;

/// A pattern. Matching takes time in proportion to the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wild {
    text: Box<str>,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    /// `*`.
    Any,
    /// No `*`.
    Exact,
    /// One `*`, at the end.
    Prefix,
    /// Anything else.
    Mixed,
}

impl Wild {
    /// A pattern. Every text is one; two `*` side by side are one.
    pub fn new(pattern: &str) -> Wild {
        let mut text = String::with_capacity(pattern.len());
        for symbol in pattern.chars() {
            if symbol != '*' || !text.ends_with('*') {
                text.push(symbol);
            }
        }
        let shape = match text.find('*') {
            None => Shape::Exact,
            Some(0) if text.len() == 1 => Shape::Any,
            Some(at) if at + 1 == text.len() => Shape::Prefix,
            Some(_) => Shape::Mixed,
        };
        Wild { text: text.into(), shape }
    }

    /// What a URI template may expand to, as far as its literal parts say: each expression may be anything.
    pub fn of_template(template: &str) -> Wild {
        let mut text = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((literal, behind)) = rest.split_once('{') {
            text.push_str(literal);
            text.push('*');
            rest = behind.split_once('}').map_or("", |(_, rest)| rest);
        }
        text.push_str(rest);
        Wild::new(&text)
    }

    /// As it was written, less doubled `*`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether everything matches.
    pub fn is_any(&self) -> bool {
        self.shape == Shape::Any
    }

    /// Whether only one text matches: the pattern itself.
    pub fn is_exact(&self) -> bool {
        self.shape == Shape::Exact
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        match self.shape {
            Shape::Any => true,
            Shape::Exact => *self.text == *text,
            Shape::Prefix => text.as_bytes().starts_with(&self.text.as_bytes()[..self.text.len() - 1]),
            Shape::Mixed => self.matches_mixed(text.as_bytes()),
        }
    }

    fn matches_mixed(&self, text: &[u8]) -> bool {
        let (prefix, rest) = self.text.split_once('*').unwrap_or((&self.text, ""));
        let (middle, suffix) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(mut left) = text.strip_prefix(prefix.as_bytes()).and_then(|left| left.strip_suffix(suffix.as_bytes()))
        else {
            return false;
        };
        // The first place for each part leaves the most for those behind it.
        middle.split('*').all(|part| match memmem::find(left, part.as_bytes()) {
            None => false,
            Some(at) => {
                left = &left[at + part.len()..];
                true
            }
        })
    }

    /// Whether all that the other matches, this matches too.
    pub fn covers(&self, other: &Wild) -> bool {
        // A `*` of the other can only be taken by a `*` of this: no literal part has one.
        self.matches(&other.text)
    }

    /// Whether some text matches both.
    pub fn meets(&self, other: &Wild) -> bool {
        if self.is_exact() {
            return other.matches(&self.text);
        }
        if other.is_exact() {
            return self.matches(&other.text);
        }
        // Both have a `*` for all that the other wants in the middle: only the ends can be at odds.
        let (ours, theirs) = (self.ends(), other.ends());
        (ours.0.starts_with(theirs.0) || theirs.0.starts_with(ours.0))
            && (ours.1.ends_with(theirs.1) || theirs.1.ends_with(ours.1))
    }

    /// What stands before the first `*` and behind the last.
    fn ends(&self) -> (&str, &str) {
        let before = self.text.split_once('*').map_or(&*self.text, |(before, _)| before);
        let behind = self.text.rsplit_once('*').map_or(&*self.text, |(_, behind)| behind);
        (before, behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_stars_are_special() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "a/b", true),
            ("get_*", "get_", true),
            ("get_*", "forget_", false),
            ("*_get", "x_get", true),
            ("a?c", "abc", false),
            ("a?c", "a?c", true),
            ("file:///a/*", "file:///a/b/c?d=e", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("*é*", "café!", true),
        ] {
            assert_eq!(Wild::new(pattern).matches(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_text_takes_no_longer_than_it_is_long() {
        let pattern = Wild::new(&format!("{}c", "*ab".repeat(150)));
        assert!(!pattern.matches(&"ab".repeat(1 << 20)));
    }

    #[test]
    fn templates_match_what_they_may_expand_to() {
        let template = Wild::of_template("file:///{+path}/x{?q,r}");
        assert_eq!(template.text(), "file:///*/x*");
        assert!(template.matches("file:///a/b/x?q=1") && !template.matches("http://a/x"));
        assert_eq!(Wild::of_template("a{b").text(), "a*");
    }

    /// The definition, written for clarity.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if by_definition(rest, text) => true,
            (Some((b'*', _)), Some((_, behind))) => by_definition(pattern, behind),
            (Some((symbol, rest)), Some((character, behind))) => symbol == character && by_definition(rest, behind),
            _ => false,
        }
    }

    fn texts() -> impl Iterator<Item = String> {
        (0..5).flat_map(|length| {
            (0..3_usize.pow(length)).map(move |mut number| {
                let digit = |_| {
                    let letter = b"abc"[number % 3] as char;
                    number /= 3;
                    letter
                };
                (0..length).map(digit).collect()
            })
        })
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(Wild::new(&pattern).matches(&text), by_definition(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn covering_and_meeting_agree_with_matching(one in "[ab*]{0,4}", other in "[ab*]{0,4}") {
            let (one, other) = (Wild::new(&one), Wild::new(&other));
            // `c` is in no pattern, so it stands for all that only a `*` takes; longer texts tell nothing new.
            let both: Vec<_> = texts().map(|text| (one.matches(&text), other.matches(&text))).collect();
            if one.covers(&other) {
                prop_assert!(both.iter().all(|(one, other)| *one || !*other));
            } else {
                prop_assert!(both.iter().any(|(one, other)| !*one && *other) || other.text().len() > 3);
            }
            if both.iter().any(|(one, other)| *one && *other) {
                prop_assert!(one.meets(&other));
            } else {
                prop_assert!(!one.meets(&other) || one.text().len() + other.text().len() > 4);
            }
        }
    }
}
