//! The member names of the objects that are open at one moment, and whether one of them stands twice.
//!
//! One list serves all nesting levels: an object's names lie behind those of the objects around it and go when it
//! closes, so nothing is allocated for an ordinary body. Names are compared as decoded: `"\u006eame"` is `name`.
//!
//! A hostile body must not make this expensive. When an object closes, a quick look at the names' tags mostly says that
//! all of them differ. Where it does not, few names are compared pair by pair, and many are sorted, by tag and then by
//! bytes. Sorting costs `n log n` comparisons whatever the tags are, so there is little to gain by colliding them, and no
//! random seed to keep.

use super::scan::Span;
use super::text;
use smallvec::SmallVec;

/// Up to this many names of an object are compared pair by pair.
const PAIRWISE: usize = 16;

const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// A name: its tag in the upper half, the offset of its first byte (behind the quote) in the lower.
///
/// One machine word, because one is written for each member of each body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(u64);

impl Name {
    fn new(tag: u32, start: u32) -> Name {
        Name((tag as u64) << 32 | start as u64)
    }

    fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    fn start(self) -> u32 {
        self.0 as u32
    }

    /// What the name stands for.
    fn bytes<'n>(self, body: &'n [u8], escaped: &'n Escaped) -> &'n [u8] {
        let rest = body.get(self.start() as usize..).unwrap_or_default();
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(end) if rest[end] == b'"' => &rest[..end],
            _ => escaped.bytes_at(self.start()),
        }
    }
}

/// What a name with escapes stands for.
#[derive(Clone, Copy, Debug)]
struct Decoded {
    /// Where the name stands in the body.
    start: u32,
    /// Where its decoded bytes begin in [`Escaped::bytes`]; they end where the next one's begin.
    from: u32,
}

/// What the names with escapes stand for, so that each is decoded but once.
#[derive(Debug, Default)]
struct Escaped {
    /// In the order of the body.
    names: Vec<Decoded>,
    /// Never longer than the body.
    bytes: Vec<u8>,
}

impl Escaped {
    fn bytes_at(&self, start: u32) -> &[u8] {
        let Ok(index) = self.names.binary_search_by_key(&start, |name| name.start) else { return &[] };
        let from = self.names[index].from as usize;
        let to = self.names.get(index + 1).map_or(self.bytes.len(), |next| next.from as usize);
        self.bytes.get(from..to).unwrap_or_default()
    }
}

/// The names of all open objects.
#[derive(Debug, Default)]
pub(super) struct Names {
    seen: SmallVec<[Name; 32]>,
    escaped: Escaped,
}

impl Names {
    /// How many names are held: the mark that an object's names begin at.
    #[inline(always)]
    pub(super) fn mark(&self) -> u32 {
        self.seen.len() as u32
    }

    /// Adds a name to the innermost object: the offset of its first byte, behind the quote, and its tag.
    #[inline(always)]
    pub(super) fn add(&mut self, start: u32, tag: u32) {
        self.seen.push(Name::new(tag, start));
    }

    /// The same for a name with escapes, which must be legal.
    #[cold]
    pub(super) fn add_escaped(&mut self, body: &[u8], name: Span) {
        let from = self.escaped.bytes.len();
        let legal = text::decode_into(name.of(body), &mut self.escaped.bytes).is_some();
        debug_assert!(legal, "escapes are checked before a name is added");
        self.escaped.names.push(Decoded { start: name.start, from: from as u32 });
        self.add(name.start, tag(self.escaped.bytes.get(from..).unwrap_or_default()));
    }

    /// Forgets the names of the innermost object, which began at `mark`; where a name begins that stood there before.
    pub(super) fn close(&mut self, body: &[u8], mark: u32) -> Option<u32> {
        let names = self.seen.get(mark as usize..).unwrap_or_default();
        let repeated = if maybe_repeated(names) { self.repeated(body, mark) } else { None };
        self.seen.truncate(mark as usize);
        repeated
    }

    #[inline(never)]
    fn repeated(&mut self, body: &[u8], mark: u32) -> Option<u32> {
        let escaped = &self.escaped;
        let names = self.seen.get_mut(mark as usize..).unwrap_or_default();
        if names.len() <= PAIRWISE {
            return names.iter().enumerate().find_map(|(index, name)| {
                let mut alike = names[..index].iter().filter(|other| other.tag() == name.tag());
                alike.any(|other| other.bytes(body, escaped) == name.bytes(body, escaped)).then_some(name.start())
            });
        }
        names.sort_unstable();
        names.chunk_by(|one, other| one.tag() == other.tag()).filter(|alike| alike.len() > 1).find_map(|alike| {
            // Where an attacker makes tags equal, this is all there is: each name is found once, then only compared.
            let mut alike: Vec<_> = alike.iter().map(|name| (name.bytes(body, escaped), name.start())).collect();
            alike.sort_unstable();
            alike.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| pair[1].1)
        })
    }
}

/// A quick look: `false` says that all tags differ, `true` that the names must be compared.
///
/// Two numbers below 64 are taken of each tag: a tag that stood before shows both of its numbers again.
#[inline(always)]
fn maybe_repeated(names: &[Name]) -> bool {
    let (mut firsts, mut seconds, mut repeated) = (0u64, 0u64, 0u64);
    for name in names {
        let (first, second) = (name.0 >> 58, name.0 >> 52 & 63);
        repeated |= (firsts >> first) & (seconds >> second);
        firsts |= 1 << first;
        seconds |= 1 << second;
    }
    repeated & 1 != 0
}

/// A short fingerprint of a name: its length, its first and its last eight bytes.
pub(super) fn tag(name: &[u8]) -> u32 {
    match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            let last = u64::from_le_bytes(*last).rotate_left(29);
            tag_of_word(u64::from_le_bytes(*first) ^ last, name.len())
        }
        _ => tag_of_word(name.iter().rev().fold(0, |word, &byte| word << 8 | byte as u64), name.len()),
    }
}

/// The tag of a name shorter than eight bytes, given as a little-endian word with zeroes behind it.
#[inline(always)]
pub(super) fn tag_of_word(word: u64, length: usize) -> u32 {
    ((word ^ length as u64).wrapping_mul(SPREAD) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Whether all names are told to be different.
    fn unique(names: &[String]) -> bool {
        let mut body = Vec::new();
        let spans: Vec<(u32, &String)> = names
            .iter()
            .map(|name| {
                let start = body.len() as u32;
                body.extend_from_slice(name.as_bytes());
                body.push(b'"');
                (start, name)
            })
            .collect();
        let mut all = Names::default();
        all.add(0, 0);
        let mark = all.mark();
        for (start, name) in spans {
            match name.contains('\\') {
                true => all.add_escaped(&body, Span { start, end: start + name.len() as u32 }),
                false => all.add(start, tag(name.as_bytes())),
            }
        }
        let repeated = all.close(&body, mark);
        assert_eq!(all.mark(), mark);
        repeated.is_none()
    }

    #[test]
    fn a_duplicate_is_found_in_small_and_in_large_objects() {
        for count in [2, 16, 17, 18, 40, 1000] {
            for length in [1, 4, 7, 8, 9, 30] {
                let mut names: Vec<String> = (0..count).map(|i| format!("{i:0>length$}")).collect();
                assert!(unique(&names), "{count} names of {length}");
                names.push(names[count / 2].clone());
                assert!(!unique(&names), "{count} names of {length}");
            }
        }
    }

    #[test]
    fn escaped_names_equal_plain_ones() {
        let names = |list: &[&str]| unique(&list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(!names(&["name", r"\u006eame"]));
        assert!(!names(&[r"\u006eame", "name"]));
        assert!(!names(&["a/quite/long/name", r"a\/quite\/long\/name"]));
        assert!(names(&["nam", r"\u006eame", "a", r"\u0041"]));
        let mut many: Vec<String> = (0..50).map(|i| format!("member{i}")).collect();
        many.push(r"\u006dember7".to_owned());
        assert!(!unique(&many));
    }

    #[test]
    fn equal_tags_do_not_make_names_equal() {
        // Same length, same first and last eight bytes: all tags collide.
        let names: Vec<String> = (0..500).map(|i| format!("commonprefix{i:08}commonsuffix")).collect();
        let tags: HashSet<u32> = names.iter().map(|name| tag(name.as_bytes())).collect();
        assert_eq!(tags.len(), 1);
        assert!(unique(&names));
        assert!(unique(&names[..12]));
    }

    #[test]
    fn tags_of_short_names_agree_with_the_general_tag() {
        for name in ["", "a", "id", "params", "jsonrpc"] {
            let mut bytes = [0; 8];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            let word = u64::from_le_bytes(bytes);
            assert_eq!(tag(name.as_bytes()), tag_of_word(word, name.len()));
        }
    }
}
