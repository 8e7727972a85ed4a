//! The loop that walks arrays and objects, whatever is remembered of them.
//!
//! Requests must not repeat a name at any depth, so each open object's names are remembered. Of what is only passed over, one
//! bit a level says whether it is an object: that is most of what backends say.

use super::scan::MAX_DEPTH;
use super::token::{self, End};
use super::walk::{Flaw, not_json};
use crate::fault::Fault;

/// What is remembered of the containers that are open.
pub(super) trait Levels {
    /// What is known of the innermost one; small enough to stay in a register.
    type Inside: Copy;

    /// Enters the container whose bracket stands at `at`.
    fn enter(&mut self, object: bool, at: usize) -> Result<Self::Inside, Flaw>;

    /// Leaves the innermost container; gives the one around it, unless that was the outermost.
    fn leave(&mut self) -> Option<Self::Inside>;

    fn is_object(inside: Self::Inside) -> bool;

    /// Passes the name that begins at `at` and the colon behind it.
    fn name(&mut self, inside: Self::Inside, at: usize) -> End;
}

/// Walks the value that begins at `at`, to behind its last byte.
#[inline(always)]
pub(super) fn walk<L: Levels>(body: &[u8], mut at: usize, paired: bool, levels: &mut L) -> Result<usize, Flaw> {
    let end = |inside| if L::is_object(inside) { b'}' } else { b']' };
    let mut inside = None;
    'value: loop {
        at = match body.get(at) {
            Some(b'"') => token::string(body, at, paired).map_err(not_json)?.0,
            Some(&bracket @ (b'{' | b'[')) => {
                let entered = levels.enter(bracket == b'{', at)?;
                inside = Some(entered);
                at = token::space(body, at + 1);
                if body.get(at) != Some(&end(entered)) {
                    if L::is_object(entered) {
                        at = levels.name(entered, at).map_err(not_json)?;
                    }
                    continue;
                }
                // The container is empty: its end is found below, like that of any other.
                at
            }
            Some(b'-' | b'0'..=b'9') => token::number(body, at).map_err(not_json)?,
            Some(b't') => token::literal(body, at, b"true").map_err(not_json)?,
            Some(b'f') => token::literal(body, at, b"false").map_err(not_json)?,
            Some(b'n') => token::literal(body, at, b"null").map_err(not_json)?,
            // Rare in what machines write, so it is looked for last.
            Some(b' ' | b'\n' | b'\r' | b'\t') => {
                at = token::space(body, at + 1);
                continue;
            }
            _ => return Err(not_json(at)),
        };
        // A value has ended. What ends with it is closed, then the next value begins.
        while let Some(around) = inside {
            match body.get(at) {
                Some(b',') if L::is_object(around) => {
                    at = levels.name(around, token::space(body, at + 1)).map_err(not_json)?;
                    continue 'value;
                }
                Some(b',') => {
                    at += 1;
                    continue 'value;
                }
                Some(&byte) if byte == end(around) => {
                    at += 1;
                    inside = levels.leave();
                }
                Some(b' ' | b'\n' | b'\r' | b'\t') => at = token::space(body, at + 1),
                _ => return Err(not_json(at)),
            }
        }
        return Ok(at);
    }
}

/// The levels of a container whose names may repeat.
pub(super) struct Unchecked<'a> {
    body: &'a [u8],
    paired: bool,
    /// Whether the containers around the innermost one are objects.
    objects: [u64; MAX_DEPTH / 64],
    /// Whether the innermost one is.
    object: bool,
    depth: usize,
    /// How deep it may be.
    room: usize,
}

const _: () = assert!(MAX_DEPTH.is_multiple_of(64), "each level has its bit");

impl<'a> Unchecked<'a> {
    /// At most `room` levels, and never more than [`MAX_DEPTH`].
    pub(super) fn new(body: &'a [u8], paired: bool, room: usize) -> Unchecked<'a> {
        let room = room.min(MAX_DEPTH);
        Unchecked { body, paired, objects: [0; MAX_DEPTH / 64], object: false, depth: 0, room }
    }
}

impl Levels for Unchecked<'_> {
    type Inside = bool;

    #[inline(always)]
    fn enter(&mut self, object: bool, at: usize) -> Result<bool, Flaw> {
        if self.depth >= self.room {
            return Err(Flaw { fault: Fault::TooDeep, at });
        }
        if let Some(word) = self.objects.get_mut(self.depth / 64) {
            let bit = self.depth % 64;
            *word = *word & !(1 << bit) | u64::from(self.object) << bit;
        }
        self.depth += 1;
        self.object = object;
        Ok(object)
    }

    #[inline(always)]
    fn leave(&mut self) -> Option<bool> {
        self.depth -= 1;
        if self.depth == 0 {
            return None;
        }
        let word = self.objects.get(self.depth / 64).copied().unwrap_or_default();
        self.object = word >> (self.depth % 64) & 1 != 0;
        Some(self.object)
    }

    #[inline(always)]
    fn is_object(inside: bool) -> bool {
        inside
    }

    #[inline(always)]
    fn name(&mut self, _: bool, at: usize) -> End {
        token::byte(self.body, at, b'"')?;
        let (end, _) = token::string(self.body, at, self.paired)?;
        token::colon(self.body, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::scan::{Limits, skim_content};

    /// So many levels, of which every third is an array.
    fn mixed(levels: usize, end: &str) -> String {
        let opens = |level: usize| if level.is_multiple_of(3) { "[" } else { r#"{"a":"# };
        let closes = |level: usize| if level.is_multiple_of(3) { "]" } else { "}" };
        let opened: String = (0..levels).map(opens).collect();
        let closed: String = (0..levels).rev().map(closes).collect();
        format!("{opened}{end}{closed}")
    }

    #[test]
    fn each_level_is_left_as_what_was_entered() {
        for levels in [1, 2, 63, 64, 65, 127, 128, 129, 511, 512] {
            let limits = Limits { depth: levels, batch: 0 };
            let whole = mixed(levels, "7");
            assert!(skim_content(whole.as_bytes(), &limits).is_ok(), "{levels}");
            // The end of one level in the place of that of another.
            for at in whole.rfind('7').unwrap() + 1..whole.len() {
                let mut wrong = whole.clone().into_bytes();
                wrong[at] = if wrong[at] == b'}' { b']' } else { b'}' };
                let fault = skim_content(&wrong, &limits).unwrap_err();
                assert_eq!((fault.fault, fault.at), (Fault::NotJson, at), "{levels}");
            }
            if levels > 1 {
                let fault = skim_content(whole.as_bytes(), &Limits { depth: levels - 1, batch: 0 }).unwrap_err();
                let innermost = whole[..whole.find('7').unwrap()].rfind(['{', '[']).unwrap();
                assert_eq!((fault.fault, fault.at), (Fault::TooDeep, innermost), "{levels}");
            }
        }
    }

    #[test]
    fn nothing_is_deeper_than_there_are_bits() {
        let limits = Limits { depth: usize::MAX, batch: 0 };
        assert!(skim_content(mixed(MAX_DEPTH, "{}").as_bytes(), &limits).is_err());
        assert!(skim_content(mixed(MAX_DEPTH, "[]").as_bytes(), &limits).is_err());
        assert!(skim_content(mixed(MAX_DEPTH - 1, "{}").as_bytes(), &limits).is_ok());
    }
}
