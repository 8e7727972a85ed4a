//! Whether a URI can come from a URI template (RFC 6570), as far as that is needed to find whose it is.
//!
//! `{name}` takes a run without `/`, `?` and `#` (a simple expansion percent-encodes these); any other expression takes
//! anything. That admits some URIs that no expansion gives, and none is lost.

/// The longest URI that is compared with templates, in bytes. What is longer belongs to none.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// The most expressions of a template that are looked at. One that has more covers all that begins like it.
pub const EXPRESSIONS_MAX: usize = 16;
/// How many steps the comparison of one URI with the templates of one backend may take: so many, and for each byte of the
/// URI so many more. A step is about a nanosecond.
const STEPS: (usize, usize) = (4096, 32);

/// The steps that are left for comparing one URI with the templates of one backend: templates come from backends, URIs
/// from anybody, and the product of their lengths and number must delay nobody.
#[derive(Clone, Copy, Debug)]
pub struct Steps(usize);

impl Steps {
    /// What a comparison with this URI may take.
    pub fn with(uri: &str) -> Steps {
        Steps(STEPS.0 + STEPS.1 * uri.len().min(URI_BYTES_MAX))
    }

    /// How many are left.
    pub fn left(self) -> usize {
        self.0
    }

    /// Takes some; `false`, and none are left from then on, where there are not so many.
    fn take(&mut self, steps: usize) -> bool {
        let left = self.0.checked_sub(steps);
        self.0 = left.unwrap_or_default();
        left.is_some()
    }
}

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The text before the first expression.
    literal: Box<str>,
    /// Each expression, and the text between it and the next; none where there are too many.
    pieces: Box<[Piece]>,
    /// Whether only the beginning is compared.
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    /// Whether the expression takes one path segment at most.
    simple: bool,
    literal: Box<str>,
}

impl Template {
    /// Compiles a template; a brace without its partner is literal text.
    pub fn new(text: &str) -> Template {
        let mut parts = text.split('{');
        let mut literal = parts.next().unwrap_or_default().to_owned();
        let mut pieces: Vec<Piece> = Vec::new();
        for part in parts {
            match part.split_once('}') {
                Some((expression, behind)) => {
                    pieces.push(Piece { simple: is_simple(expression), literal: behind.into() });
                }
                None => {
                    let last = pieces.pop();
                    let text = format!("{}{{{part}", last.as_ref().map_or(&*literal, |piece| &piece.literal));
                    match last {
                        Some(piece) => pieces.push(Piece { literal: text.into(), ..piece }),
                        None => literal = text,
                    }
                }
            }
        }
        let open = pieces.len() > EXPRESSIONS_MAX;
        if open {
            pieces.clear();
        }
        Template { literal: literal.into(), pieces: pieces.into(), open }
    }

    /// The text before the first expression, which every expansion begins with.
    pub fn literal(&self) -> &str {
        &self.literal
    }

    /// Whether an expansion of this template may be this URI; not where that takes more steps than are left.
    pub fn covers(&self, uri: &str, steps: &mut Steps) -> bool {
        if uri.len() > URI_BYTES_MAX || !steps.take(1 + self.literal.len() / 64) {
            return false;
        }
        let Some(rest) = uri.as_bytes().strip_prefix(self.literal.as_bytes()) else { return false };
        if self.open {
            return true;
        }
        // The places of `rest` that the template can have come to. One more at each piece, one less at each mismatch.
        let mut reached = vec![false; rest.len() + 1];
        let mut next = reached.clone();
        reached[0] = true;
        for piece in &self.pieces {
            let literal = piece.literal.as_bytes();
            if !steps.take(reached.len().saturating_mul(1 + literal.len() / 64)) {
                return false;
            }
            let mut open = false;
            next.fill(false);
            for at in 0..=rest.len() {
                open |= reached[at];
                if open && rest[at..].starts_with(literal) {
                    next[at + literal.len()] = true;
                }
                if piece.simple && matches!(rest.get(at), Some(b'/' | b'?' | b'#')) {
                    open = false;
                }
            }
            std::mem::swap(&mut reached, &mut next);
        }
        reached[rest.len()]
    }
}

/// Whether an expression is of level 1: a name, or several, without operator and without explosion.
fn is_simple(expression: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'%' | b',' | b':');
    expression.starts_with(|first: char| first.is_ascii_alphanumeric() || matches!(first, '_' | '%'))
        && expression.bytes().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(template: &str, uri: &str) -> bool {
        Template::new(template).covers(uri, &mut Steps::with(uri))
    }

    #[test]
    fn expansions_are_covered_and_others_are_not() {
        for (template, uri, expected) in [
            ("file:///{path}", "file:///a", true),
            ("file:///{path}", "file:///a%2Fb", true),
            ("file:///{path}", "file:///a/b", false),
            ("file:///{+path}", "file:///a/b", true),
            ("file:///{path*}", "file:///a/b", true),
            ("test://template/{id}/data", "test://template/7/data", true),
            ("test://template/{id}/data", "test://template//data", true),
            ("test://template/{id}/data", "test://template/7/data/x", false),
            ("test://template/{id}/data", "test://template/7/8/data", false),
            ("a:{x}-{y}", "a:1-2-3", true),
            ("a:{x}-{y}", "a:123", false),
            ("a:{x}{?q,r}", "a:1?q=2/3", true),
            ("a:b", "a:b", true),
            ("a:b", "a:bc", false),
            ("a:{open", "a:{open", true),
            ("a:{x}{open", "a:1{open", true),
            ("a:{x}{open", "a:1", false),
            ("{x}", "", true),
            ("", "", true),
        ] {
            assert_eq!(covers(template, uri), expected, "{template} {uri}");
        }
        assert!(!covers("a:{+x}", &format!("a:{}", "x".repeat(URI_BYTES_MAX))));
        assert_eq!(Template::new("file:///{path}").literal(), "file:///");
    }

    #[test]
    fn of_a_template_with_too_many_expressions_the_beginning_counts() {
        let (most, more) = ("{+x}".repeat(EXPRESSIONS_MAX), "{+x}".repeat(EXPRESSIONS_MAX + 1));
        assert!(!covers(&format!("a:{most}!"), "a:1"));
        assert!(covers(&format!("a:{more}!"), "a:1") && !covers(&format!("a:{more}!"), "b:1"));
    }

    #[test]
    fn what_takes_too_many_steps_is_not_covered_and_none_are_left() {
        let uri = format!("a:{}", "x".repeat(URI_BYTES_MAX - 2));
        let template = Template::new(&format!("a:{}", "{+a}x".repeat(EXPRESSIONS_MAX)));
        let mut steps = Steps::with(&uri);
        let most = steps.left();
        assert!(most <= 300_000, "{most}");
        assert!(template.covers(&uri, &mut steps), "one such template can be compared");
        assert!(most - steps.left() >= (URI_BYTES_MAX - 2) * EXPRESSIONS_MAX, "and its steps are counted");
        while steps.left() > 0 {
            let before = steps.left();
            template.covers(&uri, &mut steps);
            assert!(steps.left() < before);
        }
        assert!(!template.covers(&uri, &mut steps), "nothing is free");
        let long = Template::new(&format!("a:{{+a}}{}", "x".repeat(4000)));
        assert!(!long.covers(&uri, &mut Steps::with(&uri)), "each place costs what is compared there");
    }

    proptest! {
        #[test]
        fn any_template_covers_its_expansions(parts in prop::collection::vec(("[a-z/:]{0,4}", "[a-z0-9%-]{0,4}"), 0..5)) {
            let template: String = parts.iter().map(|(literal, _)| format!("{literal}{{v}}")).collect();
            let uri: String = parts.iter().map(|(literal, value)| format!("{literal}{value}")).collect();
            prop_assert!(covers(&template, &uri));
        }

        #[test]
        fn any_text_is_a_template(text in any::<String>(), uri in any::<String>()) {
            let _ = covers(&text, &uri);
            let plain = text.replace('{', "");
            prop_assert!(covers(&plain, &plain) || plain.len() > URI_BYTES_MAX);
        }
    }
}
