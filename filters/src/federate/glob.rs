//! Which items of a backend a virtual server shows: `allow` and `deny` patterns of `*` and `?`.

/// A pattern: `*` is any run of characters (also none), `?` is one character, everything else is itself.
///
/// Matching takes at most as many steps as the pattern is long, for each character of the text: there is one place to
/// come back to, the last `*`, so no pattern explodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<[char]>);

impl Glob {
    /// A pattern. Every text is one.
    pub fn new(pattern: &str) -> Glob {
        let mut symbols: Vec<char> = pattern.chars().collect();
        symbols.dedup_by(|next, last| *next == '*' && *last == '*');
        Glob(symbols.into())
    }

    /// Whether the whole text fits the pattern.
    pub fn matches(&self, text: &str) -> bool {
        let pattern = &self.0;
        let mut rest = text.chars();
        let mut at = 0;
        // Behind the last `*`, and the text that it has not taken yet.
        let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            if pattern.get(at) == Some(&'*') {
                at += 1;
                if at == pattern.len() {
                    return true;
                }
                retry = Some((at, rest.clone()));
                continue;
            }
            let fits = match (rest.next(), pattern.get(at)) {
                (None, None) => return true,
                // The text is over: what a `*` takes more of it can only make it shorter.
                (None, Some(_)) => return false,
                (Some(character), Some(symbol)) => *symbol == '?' || *symbol == character,
                (Some(_), None) => false,
            };
            if fits {
                at += 1;
                continue;
            }
            let Some((behind, taken)) = &mut retry else { return false };
            taken.next();
            at = *behind;
            rest = taken.clone();
        }
    }
}

/// What is shown of a backend's items, by their original names or URIs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    allow: Box<[Glob]>,
    deny: Box<[Glob]>,
}

impl Selection {
    /// Shows what fits one of `allow` (everything, where that is empty) and none of `deny`.
    pub fn new<S: AsRef<str>>(allow: &[S], deny: &[S]) -> Selection {
        let compiled = |patterns: &[S]| patterns.iter().map(|pattern| Glob::new(pattern.as_ref())).collect();
        Selection { allow: compiled(allow), deny: compiled(deny) }
    }

    /// Whether an item of this original name or URI is shown.
    pub fn admits(&self, original: &str) -> bool {
        (self.allow.is_empty() || self.allow.iter().any(|glob| glob.matches(original)))
            && !self.deny.iter().any(|glob| glob.matches(original))
    }

    /// Whether everything is shown.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_and_question_marks_match_and_nothing_else_does() {
        for (pattern, text, fits) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "anything/at all", true),
            ("read_*", "read_", true),
            ("read_*", "read_file", true),
            ("read_*", "xread_file", false),
            ("*delete*", "file_delete", true),
            ("*delete*", "undeleted", true),
            ("*delete*", "delet", false),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("file:///data/**", "file:///data/x/y", true),
            ("*.txt", "a.txt.txt", true),
            ("[a-z]+.", "[a-z]+.", true),
            ("[a-z]+.", "abc", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXcYb", false),
            ("*?", "", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_text_costs_no_more_than_pattern_times_text() {
        let pattern = Glob::new(&"a*".repeat(30));
        assert!(pattern.matches(&"a".repeat(20_000)));
        let pattern = Glob::new(&format!("{}b", "a*".repeat(30)));
        assert!(!pattern.matches(&"a".repeat(20_000)));
    }

    #[test]
    fn deny_wins_and_no_allow_is_all() {
        let open = Selection::default();
        assert!(open.admits("x") && open.is_open());
        let some = Selection::new(&["read_*"], &["*secret*"]);
        assert!(some.admits("read_file"));
        assert!(!some.admits("read_secret"));
        assert!(!some.admits("write_file"));
        assert!(Selection::new(&[], &["a"]).admits("b"));
    }

    /// The definition, written for clarity.
    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) if by_definition(rest, text) => true,
            (Some(('*', _)), Some((_, behind))) => by_definition(pattern, behind),
            (Some((symbol, rest)), Some((character, behind))) => {
                (*symbol == '?' || symbol == character) && by_definition(rest, behind)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(pattern in "[ab?*]{0,8}", text in "[abc]{0,10}") {
            let symbols: Vec<char> = pattern.chars().collect();
            let characters: Vec<char> = text.chars().collect();
            prop_assert_eq!(Glob::new(&pattern).matches(&text), by_definition(&symbols, &characters));
        }
    }
}
