//! The JSON grammar of RFC 8259, walked once over borrowed bytes.
//!
//! The walker checks what it passes and remembers nothing but the names of the objects that are open. Containers are
//! walked in a loop with a stack of its own (`levels.rs`), so that no body, however deep, can exhaust the thread's stack.

use super::levels::{self, Levels, Unchecked};
use super::names::{self, Names};
use super::scan::{Form, MAX_DEPTH, Span, Value};
use super::text;
use super::token::{self, End};
use crate::fault::Fault;
use smallvec::SmallVec;
use std::borrow::Cow;

/// What a walk insists on, beside the grammar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How deep arrays and objects may nest; never beyond [`MAX_DEPTH`].
    pub depth: usize,
    /// Whether the names of each object must differ.
    pub unique: bool,
    /// Whether a `\u` escape of half a surrogate pair is refused.
    pub paired: bool,
}

/// What is wrong, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub fault: Fault,
    pub at: usize,
}

/// A container that is open.
///
/// One number, so that the innermost one stays in a register: where an object's names begin, or one of two marks that no
/// name can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open(u32);

impl Open {
    const ARRAY: Open = Open(u32::MAX);
    /// An object whose names are not compared.
    const LAX_OBJECT: Open = Open(u32::MAX - 1);

    #[inline(always)]
    fn is_object(self) -> bool {
        self != Open::ARRAY
    }

    /// Whether this is an object whose names must differ.
    #[inline(always)]
    fn is_checked(self) -> bool {
        self.0 < Open::LAX_OBJECT.0
    }

    /// Where the names of an object begin that must differ.
    #[inline(always)]
    fn mark(self) -> Option<u32> {
        self.is_checked().then_some(self.0)
    }
}

/// The levels of a container whose objects' names must differ, at every depth.
struct Checked<'w, 'a> {
    walker: &'w mut Walker<'a>,
    /// How many containers are open around it.
    floor: usize,
}

impl Levels for Checked<'_, '_> {
    type Inside = Open;

    #[inline(always)]
    fn enter(&mut self, object: bool, at: usize) -> Result<Open, Flaw> {
        let open = if object { self.walker.opened_object(true) } else { Open::ARRAY };
        self.walker.push(open, at)?;
        Ok(open)
    }

    #[inline(always)]
    fn leave(&mut self) -> Option<Open> {
        self.walker.pop(self.floor)
    }

    #[inline(always)]
    fn is_object(inside: Open) -> bool {
        inside.is_object()
    }

    #[inline(always)]
    fn name(&mut self, inside: Open, at: usize) -> End {
        self.walker.name(inside, at)
    }
}

/// A member name that was just read.
#[derive(Debug)]
pub(super) struct Key<'a> {
    /// What it stands for, decoded.
    pub text: Cow<'a, [u8]>,
    /// Where it stands, quotes included.
    pub span: Span,
}

/// A walk over one body.
#[derive(Debug)]
pub(super) struct Walker<'a> {
    body: &'a [u8],
    at: usize,
    rules: Rules,
    /// The containers around the place where the walk stands, the innermost last.
    open: SmallVec<[Open; 32]>,
    names: Names,
    /// The first thing that is wrong although it is JSON; the walk goes on, because a syntax error further on weighs
    /// more, and because the id of the message may still come.
    pub objection: Option<Flaw>,
}

impl<'a> Walker<'a> {
    /// A walk over `body`, which must be UTF-8 and not longer than spans can name.
    pub(super) fn new(body: &'a [u8], rules: Rules) -> Result<Walker<'a>, Flaw> {
        if body.len() > u32::MAX as usize {
            return Err(Flaw { fault: Fault::BodyTooLong, at: u32::MAX as usize });
        }
        // Most bodies are ASCII, which is told faster than UTF-8.
        if !body.is_ascii()
            && let Err(error) = std::str::from_utf8(body)
        {
            return Err(Flaw { fault: Fault::NotUtf8, at: error.valid_up_to() });
        }
        Ok(Walker::over(body, rules))
    }

    /// A walk over a piece of a body that was walked before: nothing but the grammar is asked for.
    ///
    /// Bytes that were never checked do no harm: the walk ends at the first that does not fit.
    pub(super) fn again(piece: &'a [u8]) -> Walker<'a> {
        let piece = if piece.len() > u32::MAX as usize { &[] } else { piece };
        Walker::over(piece, Rules { depth: MAX_DEPTH, unique: false, paired: false })
    }

    fn over(body: &'a [u8], rules: Rules) -> Walker<'a> {
        let rules = Rules { depth: rules.depth.min(MAX_DEPTH), ..rules };
        Walker { body, at: 0, rules, open: SmallVec::new(), names: Names::default(), objection: None }
    }

    /// Where the walk stands.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The bytes that are walked over.
    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Whether the names of each object must differ.
    pub(super) fn unique(&self) -> bool {
        self.rules.unique
    }

    /// The next byte that is no white space, without passing it.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.at = token::space(self.body, self.at);
        self.body.get(self.at).copied()
    }

    /// Remembers an objection unless there is one already.
    #[cold]
    pub(super) fn raise(&mut self, fault: Fault, at: usize) {
        self.objection.get_or_insert(Flaw { fault, at });
    }

    /// Fails when anything but white space is left.
    pub(super) fn end(&mut self) -> Result<(), Flaw> {
        self.peek().map_or(Ok(()), |_| Err(not_json(self.at)))
    }

    /// Enters the object that begins here. Its members are visited with [`Walker::member`].
    pub(super) fn enter_object(&mut self, unique: bool) -> Result<(), Flaw> {
        self.enter(b'{', self.opened_object(unique))
    }

    /// Enters the array that begins here. Its items are visited with [`Walker::item`].
    pub(super) fn enter_array(&mut self) -> Result<(), Flaw> {
        self.enter(b'[', Open::ARRAY)
    }

    fn enter(&mut self, bracket: u8, open: Open) -> Result<(), Flaw> {
        if self.peek() != Some(bracket) {
            return Err(not_json(self.at));
        }
        self.at = self.push(open, self.at)?;
        Ok(())
    }

    /// Passes the name of the next member of the object that was entered, or the object's end (`None`).
    ///
    /// The walk then stands before the member's value, which the caller must pass. `first` is true until a member was
    /// visited.
    pub(super) fn member(&mut self, first: &mut bool) -> Result<Option<Key<'a>>, Flaw> {
        if !self.goes_on(first, b'}')? {
            return Ok(None);
        }
        let start = token::space(self.body, self.at);
        let object = self.open.last().copied().unwrap_or(Open::LAX_OBJECT);
        let (end, escaped) = self.bare_name(object, start).map_err(not_json)?;
        self.at = token::colon(self.body, end).map_err(not_json)?;
        let span = Span { start: start as u32, end: end as u32 };
        let inside = Span { start: span.start + 1, end: span.end - 1 }.of(self.body);
        let text = match escaped {
            false => Cow::Borrowed(inside),
            true => {
                let mut decoded = Vec::with_capacity(inside.len());
                text::decode_into(inside, &mut decoded).ok_or(not_json(start))?;
                Cow::Owned(decoded)
            }
        };
        Ok(Some(Key { text, span }))
    }

    /// Whether the array that was entered has another item, before which the walk then stands; passes its end if not.
    pub(super) fn item(&mut self, first: &mut bool) -> Result<bool, Flaw> {
        let more = self.goes_on(first, b']')?;
        self.at = token::space(self.body, self.at);
        Ok(more)
    }

    fn goes_on(&mut self, first: &mut bool, end: u8) -> Result<bool, Flaw> {
        let byte = self.peek();
        if byte == Some(end) {
            self.at += 1;
            self.pop(0);
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.at = token::byte(self.body, self.at, b',').map_err(not_json)?;
        }
        Ok(true)
    }

    /// Passes the value that begins at `at`, to behind its last byte.
    pub(super) fn value_at(&mut self, at: usize) -> Result<usize, Flaw> {
        self.at = at;
        self.value()?;
        Ok(self.at)
    }

    /// Passes one whole value and whatever is inside it.
    pub(super) fn value(&mut self) -> Result<Value, Flaw> {
        let first = self.peek();
        let start = self.at;
        let (end, form) = match first {
            Some(b'"') => {
                let (end, escaped) = token::string(self.body, start, self.rules.paired).map_err(not_json)?;
                (end, Form::String { escaped })
            }
            Some(b'{') => (self.walk(start)?, Form::Object),
            Some(b'[') => (self.walk(start)?, Form::Array),
            Some(b't') => (token::literal(self.body, start, b"true").map_err(not_json)?, Form::Bool),
            Some(b'f') => (token::literal(self.body, start, b"false").map_err(not_json)?, Form::Bool),
            Some(b'n') => (token::literal(self.body, start, b"null").map_err(not_json)?, Form::Null),
            _ => (token::number(self.body, start).map_err(not_json)?, Form::Number),
        };
        self.at = end;
        Ok(Value { span: Span { start: start as u32, end: end as u32 }, form })
    }

    /// Walks the container that begins at `at`, to behind its last byte.
    fn walk(&mut self, at: usize) -> Result<usize, Flaw> {
        let (body, paired) = (self.body, self.rules.paired);
        if self.rules.unique {
            let floor = self.open.len();
            return levels::walk(body, at, paired, &mut Checked { walker: self, floor });
        }
        let room = self.rules.depth.saturating_sub(self.open.len());
        levels::walk(body, at, paired, &mut Unchecked::new(body, paired, room))
    }

    #[inline(always)]
    fn opened_object(&self, unique: bool) -> Open {
        if unique { Open(self.names.mark()) } else { Open::LAX_OBJECT }
    }

    /// Passes an opening bracket.
    #[inline(never)]
    fn push(&mut self, open: Open, at: usize) -> Result<usize, Flaw> {
        if self.open.len() >= self.rules.depth {
            return Err(Flaw { fault: Fault::TooDeep, at });
        }
        self.open.push(open);
        Ok(at + 1)
    }

    /// Closes the innermost container, whose end was passed, and judges its names; gives the one around it unless that
    /// lies below `floor`.
    #[inline(never)]
    fn pop(&mut self, floor: usize) -> Option<Open> {
        if let Some(mark) = self.open.pop()?.mark()
            && let Some(inside) = self.names.close(self.body, mark)
        {
            self.raise(Fault::DuplicateMember, inside as usize - 1);
        }
        self.open.get(floor..)?.last().copied()
    }

    /// Passes the name that begins at `at` and the colon behind it, and adds it to the innermost object, whose names are
    /// compared.
    #[inline(never)]
    fn name(&mut self, object: Open, at: usize) -> End {
        match token::short_name(self.body, at) {
            Some((end, tag)) if self.body.get(end) == Some(&b':') => {
                self.names.add(at as u32 + 1, tag);
                Ok(end + 1)
            }
            _ => self.spacious_name(object, at),
        }
    }

    /// The same for a name that is longer, or not followed by its colon at once.
    #[inline(never)]
    fn spacious_name(&mut self, object: Open, at: usize) -> End {
        let (end, _) = self.bare_name(object, at)?;
        token::colon(self.body, end)
    }

    /// Passes the name that begins at `start`, and adds it to the innermost object; also says whether it holds escapes.
    #[inline(always)]
    fn bare_name(&mut self, object: Open, start: usize) -> Result<(usize, bool), usize> {
        match token::short_name(self.body, start) {
            Some((end, tag)) => {
                if object.is_checked() {
                    self.names.add(start as u32 + 1, tag);
                }
                Ok((end, false))
            }
            None => self.longer_name(object, start),
        }
    }

    #[inline(never)]
    fn longer_name(&mut self, object: Open, start: usize) -> Result<(usize, bool), usize> {
        token::byte(self.body, start, b'"')?;
        let (end, escaped) = token::string(self.body, start, self.rules.paired)?;
        if object.is_checked() {
            let inside = Span { start: start as u32 + 1, end: end as u32 - 1 };
            match escaped {
                false => self.names.add(inside.start, names::tag(inside.of(self.body))),
                true => self.names.add_escaped(self.body, inside),
            }
        }
        Ok((end, escaped))
    }
}

#[cold]
pub(super) fn not_json(at: usize) -> Flaw {
    Flaw { fault: Fault::NotJson, at }
}
