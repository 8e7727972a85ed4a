//! Whether a URI can come from a URI template (RFC 6570), as far as that is needed to find whose it is.
//!
//! `{name}` takes a run without `/`, `?` and `#` (a simple expansion percent-encodes these); any other expression takes
//! anything. That admits some URIs that no expansion gives, and none is lost.

/// The longest URI that is compared with templates, in bytes. What is longer belongs to none.
pub const URI_BYTES_MAX: usize = 8 * 1024;

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The text before the first expression.
    literal: Box<str>,
    /// Each expression, and the text between it and the next.
    pieces: Box<[Piece]>,
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
        Template { literal: literal.into(), pieces: pieces.into() }
    }

    /// The text before the first expression, which every expansion begins with.
    pub fn literal(&self) -> &str {
        &self.literal
    }

    /// Whether an expansion of this template may be this URI.
    ///
    /// Takes steps in proportion to the URI and the template, multiplied in the worst case; both are bounded.
    pub fn covers(&self, uri: &str) -> bool {
        if uri.len() > URI_BYTES_MAX {
            return false;
        }
        let Some(rest) = uri.as_bytes().strip_prefix(self.literal.as_bytes()) else { return false };
        // The places of `rest` that the template can have come to. One more at each piece, one less at each mismatch.
        let mut reached = vec![false; rest.len() + 1];
        reached[0] = true;
        for piece in &self.pieces {
            let literal = piece.literal.as_bytes();
            let mut next = vec![false; rest.len() + 1];
            let mut open = false;
            for at in 0..=rest.len() {
                open |= reached[at];
                if open && rest[at..].starts_with(literal) {
                    next[at + literal.len()] = true;
                }
                if piece.simple && matches!(rest.get(at), Some(b'/' | b'?' | b'#')) {
                    open = false;
                }
            }
            reached = next;
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

    #[test]
    fn expansions_are_covered_and_others_are_not() {
        for (template, uri, covers) in [
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
            assert_eq!(Template::new(template).covers(uri), covers, "{template} {uri}");
        }
        assert!(!Template::new("a:{+x}").covers(&format!("a:{}", "x".repeat(URI_BYTES_MAX))));
        assert_eq!(Template::new("file:///{path}").literal(), "file:///");
    }

    proptest! {
        #[test]
        fn any_template_covers_its_expansions(parts in prop::collection::vec(("[a-z/:]{0,4}", "[a-z0-9%-]{0,4}"), 0..5)) {
            let template: String = parts.iter().map(|(literal, _)| format!("{literal}{{v}}")).collect();
            let uri: String = parts.iter().map(|(literal, value)| format!("{literal}{value}")).collect();
            prop_assert!(Template::new(&template).covers(&uri));
        }

        #[test]
        fn any_text_is_a_template(text in any::<String>(), uri in any::<String>()) {
            let _ = Template::new(&text).covers(&uri);
            let plain = text.replace('{', "");
            prop_assert!(Template::new(&plain).covers(&plain) || plain.len() > URI_BYTES_MAX);
        }
    }
}
