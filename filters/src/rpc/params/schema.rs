//! Reading `x-mcp-header` annotations out of a page of `tools/list`, in one walk and without building the schemas.
//!
//! The rules are those of "Custom Headers from Tool Parameters" (MCP 2026-07-28, Streamable HTTP): a non-empty token,
//! unique without regard to case, on a string, integer or boolean that is reached from the root through `properties` only.

use super::{Mirror, Mirrors, Node, PageFault, ParamLimits, Tool};
use crate::rpc::scan::Value;
use crate::rpc::walk::{Flaw, Walker};
use http::HeaderName;

impl From<Flaw> for PageFault {
    fn from(_: Flaw) -> PageFault {
        PageFault::Malformed
    }
}

/// Hands over each tool of the page.
pub(super) fn read_page(
    result: &[u8],
    limits: ParamLimits,
    mut take: impl FnMut(&str, Tool) -> Result<(), PageFault>,
) -> Result<(), PageFault> {
    let mut walker = Walker::again(result);
    let mut listed = false;
    walker.enter_object(false)?;
    let mut first = true;
    while let Some(key) = walker.member(&mut first)? {
        if *key.text != *b"tools" {
            walker.value()?;
            continue;
        }
        if std::mem::replace(&mut listed, true) {
            return Err(PageFault::Malformed);
        }
        walker.enter_array()?;
        let mut first = true;
        while walker.item(&mut first)? {
            read_tool(&mut walker, limits, &mut take)?;
        }
    }
    walker.end()?;
    if listed { Ok(()) } else { Err(PageFault::Malformed) }
}

fn read_tool(
    walker: &mut Walker<'_>,
    limits: ParamLimits,
    take: &mut impl FnMut(&str, Tool) -> Result<(), PageFault>,
) -> Result<(), PageFault> {
    let mut reader = Reader { limits, headers: Vec::new(), invalid: None };
    let mut names = Single::default();
    let mut schemas = Single::default();
    let mut root = Node::default();
    walker.enter_object(false)?;
    let mut first = true;
    while let Some(key) = walker.member(&mut first)? {
        match &*key.text {
            b"name" => names.put(walker.value()?),
            b"inputSchema" => {
                root = reader.schema(walker, Reach::Root, 1)?;
                schemas.put(());
            }
            _ => {
                walker.value()?;
            }
        }
    }
    let name = names.value.and_then(|name| name.text(walker.body())).ok_or(PageFault::Malformed)?;
    if names.repeated || schemas.repeated {
        reader.refuse("it names a member twice");
    }
    let tool = match reader.invalid {
        Some(reason) => Tool::Invalid(reason),
        None => Tool::Valid(Mirrors { headers: reader.headers.into(), root }),
    };
    take(&name, tool)
}

/// How a schema is reached from the root.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// It is the root.
    Root,
    /// Through `properties` keys only.
    Properties,
    /// Through anything else.
    Otherwise,
}

/// A member that must not stand twice.
struct Single<T> {
    value: Option<T>,
    repeated: bool,
}

impl<T> Default for Single<T> {
    fn default() -> Single<T> {
        Single { value: None, repeated: false }
    }
}

impl<T> Single<T> {
    fn put(&mut self, value: T) {
        self.repeated |= self.value.replace(value).is_some();
    }
}

struct Reader {
    limits: ParamLimits,
    headers: Vec<Mirror>,
    invalid: Option<&'static str>,
}

impl Reader {
    fn refuse(&mut self, reason: &'static str) {
        self.invalid.get_or_insert(reason);
    }

    /// Reads the schema that begins here; gives the properties in it that lead to a mirrored one.
    fn schema(&mut self, walker: &mut Walker<'_>, reach: Reach, depth: usize) -> Result<Node, Flaw> {
        let mut node = Node::default();
        if walker.peek() != Some(b'{') {
            walker.value()?;
            return Ok(node);
        }
        if depth > self.limits.depth {
            self.refuse("its schema nests too deeply");
            walker.value()?;
            return Ok(node);
        }
        let mut annotation = Single::default();
        let mut kind = Single::default();
        let mut properties = Single::default();
        walker.enter_object(false)?;
        let mut first = true;
        while let Some(key) = walker.member(&mut first)? {
            match &*key.text {
                b"x-mcp-header" => annotation.put(walker.value()?),
                b"type" => kind.put(walker.value()?),
                b"properties" => {
                    let reach = if reach == Reach::Otherwise { Reach::Otherwise } else { Reach::Properties };
                    node.children = self.named(walker, reach, depth)?;
                    properties.put(());
                }
                b"patternProperties" | b"$defs" | b"definitions" | b"dependentSchemas" => {
                    self.named(walker, Reach::Otherwise, depth)?;
                }
                // Instances, not schemas: what is in them annotates nothing.
                b"default" | b"const" | b"enum" | b"examples" => {
                    walker.value()?;
                }
                _ => self.nested(walker, depth)?,
            }
        }
        if let Some(header) = annotation.value {
            match (annotation.repeated || kind.repeated || properties.repeated, reach) {
                (true, _) => self.refuse("its schema names a member twice"),
                (false, Reach::Properties) => node.mirror = self.annotation(walker.body(), header, kind.value),
                (false, _) => self.refuse("x-mcp-header stands where no chain of properties leads"),
            }
        }
        Ok(node)
    }

    /// Reads an object of schemas by name.
    fn named(&mut self, walker: &mut Walker<'_>, reach: Reach, depth: usize) -> Result<Vec<(Box<str>, Node)>, Flaw> {
        let mut nodes: Vec<(Box<str>, Node)> = Vec::new();
        if walker.peek() != Some(b'{') {
            walker.value()?;
            return Ok(nodes);
        }
        walker.enter_object(false)?;
        let mut first = true;
        while let Some(key) = walker.member(&mut first)? {
            let node = self.schema(walker, reach, depth + 1)?;
            if node == Node::default() {
                continue;
            }
            let Ok(name) = std::str::from_utf8(&key.text) else {
                self.refuse("a mirrored property's name is no text");
                continue;
            };
            if nodes.iter().any(|(known, _)| **known == *name) {
                self.refuse("its schema names a property twice");
            }
            nodes.push((name.into(), node));
        }
        Ok(nodes)
    }

    /// Reads what any other keyword holds: a schema, a list of schemas, or neither.
    fn nested(&mut self, walker: &mut Walker<'_>, depth: usize) -> Result<(), Flaw> {
        if walker.peek() == Some(b'[') {
            walker.enter_array()?;
            let mut first = true;
            while walker.item(&mut first)? {
                self.schema(walker, Reach::Otherwise, depth + 1)?;
            }
            return Ok(());
        }
        self.schema(walker, Reach::Otherwise, depth + 1).map(drop)
    }

    /// Takes an annotation in; gives the header's index, unless it breaks a rule.
    fn annotation(&mut self, body: &[u8], header: Value, kind: Option<Value>) -> Option<usize> {
        let kind = kind.and_then(|kind| kind.text(body));
        if !matches!(kind.as_deref(), Some("string" | "integer" | "boolean")) {
            self.refuse("x-mcp-header stands on something else than a string, integer or boolean");
            return None;
        }
        let Some(token) = header.text(body).filter(|token| !token.is_empty()) else {
            self.refuse("x-mcp-header is no name");
            return None;
        };
        let shown = format!("Mcp-Param-{token}");
        // The field-name syntax of `http` is that of RFC 9110; names compare in lower case.
        let Ok(name) = HeaderName::from_bytes(shown.as_bytes()) else {
            self.refuse("x-mcp-header is no token");
            return None;
        };
        if self.headers.iter().any(|known| known.name == name) {
            self.refuse("x-mcp-header names a header twice");
            return None;
        }
        if self.headers.len() >= self.limits.mirrors {
            self.refuse("it mirrors too many arguments");
            return None;
        }
        self.headers.push(Mirror { name, shown: shown.into() });
        Some(self.headers.len() - 1)
    }
}
