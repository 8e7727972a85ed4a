//! Arguments that a tool's schema mirrors into `Mcp-Param-*` headers (`x-mcp-header`, MCP 2026-07-28).
//!
//! What a backend's tools mirror is read from its `tools/list` pages once, and kept as a tree of the properties that lead
//! to a mirrored one, so that a call's arguments are walked but once, whatever the schema.

mod schema;

use super::mirror;
use super::scan::{Form, Value};
use super::walk::{Flaw, Walker};
use foldhash::fast::RandomState;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What a tool, and a mirrored argument with the properties that lead to it, count for beside their names, in bytes.
const TOOL_BYTES: usize = 128;
const MIRROR_BYTES: usize = 256;

/// How much is remembered of a backend's tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamLimits {
    /// The most tools.
    pub tools: usize,
    /// The most arguments of one tool that may be mirrored.
    pub mirrors: usize,
    /// How deep the schemas of a tool may nest, the input schema counting as 1. Reading recurses so deep.
    pub depth: usize,
}

impl Default for ParamLimits {
    fn default() -> ParamLimits {
        ParamLimits { tools: 10_000, mirrors: 64, depth: 64 }
    }
}

/// For each tool of a backend, the arguments that must be mirrored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolParams {
    tools: HashMap<Box<str>, Tool, RandomState>,
    limits: ParamLimits,
}

/// What is known of one tool.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tool {
    /// Its annotations are valid.
    Valid(Mirrors),
    /// They are not, and why: MCP's clients leave such a tool out.
    Invalid(&'static str),
}

/// The mirrored arguments of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mirrors {
    headers: Box<[Mirror]>,
    root: Node,
}

/// One header that mirrors an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    name: HeaderName,
    /// The name as the schema spells it, for messages.
    shown: Box<str>,
}

/// A property that is mirrored, or on the way to one that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// The header that mirrors this property: an index into [`Mirrors::headers`].
    mirror: Option<usize>,
    children: Vec<(Box<str>, Node)>,
}

/// Why a page of `tools/list` cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// It is no result of `tools/list`.
    #[error("the tool list is malformed")]
    Malformed,
    /// With it there would be more tools than this limit.
    #[error("the tool list has more than {0} tools")]
    TooMany(usize),
}

/// Whether the headers of a call say what its arguments say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamCheck {
    /// Nothing is known of this tool, or its annotations are invalid: its headers are passed on untouched.
    Unknown,
    /// They do. Headers that this tool does not ask for are no disagreement.
    Agrees,
    /// They do not; a sentence that names the header.
    Disagrees(String),
}

impl ToolParams {
    /// No tools yet, and not more than this later.
    pub fn within(limits: ParamLimits) -> ToolParams {
        ToolParams { limits, ..ToolParams::default() }
    }

    /// Adds the tools of one page: the `result` of a `tools/list`.
    ///
    /// A tool whose annotations are invalid, or that is listed again with others, is remembered as invalid.
    ///
    /// # Errors
    ///
    /// [`PageFault`]; the tools before the fault have been added.
    pub fn read(&mut self, result: &[u8]) -> Result<(), PageFault> {
        let limits = self.limits;
        schema::read_page(result, limits, |name, tool| {
            let full = self.tools.len() >= limits.tools;
            match self.tools.entry(name.into()) {
                Entry::Occupied(known) if *known.get() == tool => {}
                Entry::Occupied(mut known) => {
                    known.insert(Tool::Invalid("it is listed more than once"));
                }
                Entry::Vacant(_) if full => return Err(PageFault::TooMany(limits.tools)),
                Entry::Vacant(place) => {
                    place.insert(tool);
                }
            }
            Ok(())
        })
    }

    /// How many tools are known, invalid ones included.
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// How many bytes it holds, roughly.
    pub fn bytes(&self) -> usize {
        let mirrors = |tool: &Tool| match tool {
            Tool::Valid(mirrors) => mirrors.headers.iter().map(|mirror| MIRROR_BYTES + mirror.shown.len()).sum(),
            Tool::Invalid(_) => 0,
        };
        self.tools.iter().map(|(name, tool)| TOOL_BYTES + name.len() + mirrors(tool)).sum()
    }

    /// Whether no tool is known.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// The tools whose annotations are invalid, and why, in no order.
    pub fn invalid(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.tools.iter().filter_map(|(name, tool)| match tool {
            Tool::Valid(_) => None,
            Tool::Invalid(reason) => Some((&**name, *reason)),
        })
    }

    /// The headers that a call of this tool must carry, by its `arguments`, which must have been scanned; `None` where
    /// nothing is known of the tool or its annotations are invalid.
    ///
    /// An argument that no header can mirror (an array, an object) has none: what is wrong with it is for the server to say.
    pub fn headers(&self, tool: &str, arguments: Option<&[u8]>) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let Some(Tool::Valid(mirrors)) = self.tools.get(tool) else { return None };
        let arguments = arguments.unwrap_or_default();
        let found = mirrors.find(arguments);
        let fields = mirrors.headers.iter().zip(found).filter_map(|(mirror, value)| {
            let text = match value? {
                value @ Value { form: Form::String { .. }, .. } => value.text(arguments)?,
                Value { span, form: Form::Bool | Form::Number } => {
                    Cow::Borrowed(std::str::from_utf8(span.of(arguments)).ok()?)
                }
                Value { form: Form::Null | Form::Array | Form::Object, .. } => return None,
            };
            Some((mirror.name.clone(), HeaderValue::from_str(&mirror::encode(&text)).ok()?))
        });
        Some(fields.collect())
    }

    /// Checks the headers of a call against its `arguments`, which must have been scanned.
    pub fn check(&self, tool: &str, arguments: Option<&[u8]>, headers: &HeaderMap) -> ParamCheck {
        let Some(Tool::Valid(mirrors)) = self.tools.get(tool) else { return ParamCheck::Unknown };
        let arguments = arguments.unwrap_or_default();
        let found = mirrors.find(arguments);
        for (mirror, value) in mirrors.headers.iter().zip(found) {
            if let Err(what) = mirror.check(value, arguments, headers) {
                return ParamCheck::Disagrees(format!("{} {what}", mirror.shown));
            }
        }
        ParamCheck::Agrees
    }
}

impl Mirrors {
    /// The value of each mirrored argument that is there, in the order of the headers.
    fn find(&self, arguments: &[u8]) -> SmallVec<[Option<Value>; 8]> {
        let mut found = SmallVec::from_elem(None, self.headers.len());
        if !self.headers.is_empty() {
            let mut walker = Walker::again(arguments);
            if walker.peek() == Some(b'{') {
                // The arguments were scanned with the body, so the walk does not end early.
                let _ = self.root.find(&mut walker, &mut found);
            }
        }
        found
    }
}

impl Node {
    /// Walks the object that begins here. Recursion ends with the tree: after [`ParamLimits::depth`] steps.
    fn find(&self, walker: &mut Walker<'_>, found: &mut [Option<Value>]) -> Result<(), Flaw> {
        walker.enter_object(false)?;
        let mut first = true;
        while let Some(key) = walker.member(&mut first)? {
            match self.children.iter().find(|(name, _)| name.as_bytes() == &*key.text) {
                Some((_, node)) if node.mirror.is_none() && walker.peek() == Some(b'{') => node.find(walker, found)?,
                node => {
                    let value = walker.value()?;
                    let place = node.and_then(|(_, node)| found.get_mut(node.mirror?));
                    if let Some(place) = place {
                        *place = Some(value);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Mirror {
    /// Checks this header against its argument; says what is wrong.
    fn check(&self, argument: Option<Value>, arguments: &[u8], headers: &HeaderMap) -> Result<(), String> {
        let argument = argument.filter(|value| value.form != Form::Null);
        let mut values = headers.get_all(&self.name).iter();
        let (header, again) = (values.next(), values.next());
        if again.is_some() {
            return Err("is given more than once".to_owned());
        }
        let (header, argument) = match (header, argument) {
            (None, None) => return Ok(()),
            // What a header cannot mirror must not have one; that it fits no schema is for the backend to say.
            (None, Some(value)) if matches!(value.form, Form::Array | Form::Object) => return Ok(()),
            (None, Some(_)) => return Err("is missing".to_owned()),
            (Some(_), None) => return Err("is given, but its argument is absent or null".to_owned()),
            (Some(header), Some(argument)) => (header, argument),
        };
        let text = header.to_str().map_err(|_| mirror::Unreadable::Characters.to_string())?;
        let decoded = mirror::decode(text).map_err(|error| error.to_string())?;
        match mirror::agrees(&decoded, &argument, arguments) {
            true => Ok(()),
            false => Err("differs from its argument".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
