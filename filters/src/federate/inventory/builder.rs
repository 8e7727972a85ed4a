//! Reading a backend's pages, one after the other, within limits.

use super::{Extent, Freshness, Inventory, InventoryLimits, Item, Listing, Offence, PageFault, Scope, Wrong};
use crate::exchange::UnixMillis;
use crate::federate::kind::Kind;
use crate::rpc::members::{Member, items, members};
use crate::rpc::scan::{Form, Limits, MAX_DEPTH, Value, skim_content};
use bytes::Bytes;
use foldhash::fast::RandomState;
use std::borrow::Cow;
use std::collections::HashSet;

/// How much of a name is shown in an offence.
const SHOWN_BYTES: usize = 64;

/// Builds an [`Inventory`] out of what a backend answers.
#[derive(Debug)]
pub struct InventoryBuilder {
    limits: InventoryLimits,
    now: UnixMillis,
    lists: [List; 4],
    bytes: usize,
    capabilities: Bytes,
    instructions: Option<Box<str>>,
    server_info: Option<Bytes>,
    scope: Scope,
    /// What counts for an answer that does not say who may share it.
    unsaid: Scope,
    until: Option<UnixMillis>,
    offences: Vec<Offence>,
    further_offences: usize,
}

#[derive(Debug, Default)]
struct List {
    items: Vec<Item>,
    names: HashSet<Box<str>, RandomState>,
    pages: usize,
    cursors: HashSet<Box<str>, RandomState>,
    extent: Extent,
}

impl InventoryBuilder {
    /// Nothing yet, and not more than this later. Times to live count from `now`.
    pub fn within(limits: InventoryLimits, now: UnixMillis) -> InventoryBuilder {
        InventoryBuilder {
            limits,
            now,
            lists: Default::default(),
            bytes: 0,
            capabilities: Bytes::from_static(b"{}"),
            instructions: None,
            server_info: None,
            scope: Scope::Public,
            unsaid: Scope::Public,
            until: None,
            offences: Vec::new(),
            further_offences: 0,
        }
    }

    /// Takes every answer for private that does not say that it may be shared.
    #[must_use]
    pub fn private_unless_said(mut self) -> InventoryBuilder {
        self.unsaid = Scope::Private;
        self
    }

    /// Believes nothing longer than this.
    pub fn believe_until(&mut self, moment: UnixMillis) {
        self.until = Some(self.until.map_or(moment, |until| until.min(moment)));
    }

    /// Reads what the backend says of itself: the result of `initialize` or of `server/discover`. That may have been said
    /// long ago, so how long it may be believed is for [`InventoryBuilder::believe_until`].
    ///
    /// # Errors
    /// [`PageFault`]; nothing was taken.
    pub fn describe(&mut self, result: &[u8]) -> Result<(), PageFault> {
        let found = Fields::read(result, &["capabilities", "instructions", "serverInfo"])?;
        let object = |value: Option<Value>| {
            let value = value.filter(|value| value.form == Form::Object)?;
            Some(single_line(value.span.of(result)))
        };
        let capabilities = object(found.named[0]);
        if capabilities.as_ref().is_some_and(|object| object.len() > self.limits.item_bytes) {
            return Err(PageFault::Malformed);
        }
        self.capabilities = capabilities.unwrap_or(Bytes::from_static(b"{}"));
        let instructions = found.named[1].and_then(|value| value.text(result));
        self.instructions = instructions.map(|text| cut(&text, self.limits.instructions_bytes).into());
        self.server_info = object(found.named[2]).filter(|info| info.len() <= self.limits.instructions_bytes);
        self.sharing(&found, result);
        Ok(())
    }

    /// Whether the backend declares the capability that lists of this kind need.
    pub fn declares(&self, kind: Kind) -> bool {
        crate::rpc::members::member(&self.capabilities, kind.capability()).is_some_and(|it| it.form == Form::Object)
    }

    /// Reads one page: the `result` of a list request. Gives the cursor of the next one, if it is to be asked for.
    ///
    /// # Errors
    /// [`PageFault`]: the list is [`Extent::Failed`] from here on; the pages before count until [`InventoryBuilder::keep`]
    /// knows better.
    pub fn page(&mut self, kind: Kind, result: &[u8]) -> Result<Option<String>, PageFault> {
        let read = self.read_page(kind, result);
        if read.is_err() {
            self.failed(kind);
        }
        read
    }

    /// Notes that a list could not be had, or not to its end.
    pub fn failed(&mut self, kind: Kind) {
        let extent = &mut self.lists[kind as usize].extent;
        if std::mem::replace(extent, Extent::Failed) != Extent::Failed {
            self.offence(kind, "", Wrong::Unread);
        }
    }

    /// Lets what a list held before stand in for one that could not be had: it is no shorter for that.
    pub fn keep(&mut self, before: &Inventory) {
        for (list, before) in self.lists.iter_mut().zip(&before.lists) {
            if list.extent == Extent::Failed && !before.items.is_empty() {
                list.items = before.items.to_vec();
            }
        }
    }

    /// What was read; believed for `default_ttl` milliseconds where no page says how long.
    pub fn finish(self, default_ttl: u64) -> Inventory {
        let whole = |list: List| Listing { items: list.items.into(), extent: list.extent };
        Inventory {
            lists: self.lists.map(whole),
            capabilities: self.capabilities,
            instructions: self.instructions,
            server_info: self.server_info,
            scope: self.scope,
            freshness: Freshness::until(self.until.unwrap_or(self.now.plus(default_ttl))),
            offences: self.offences.into(),
            further_offences: self.further_offences,
            params: None,
        }
    }

    fn read_page(&mut self, kind: Kind, result: &[u8]) -> Result<Option<String>, PageFault> {
        let found = Fields::read(result, &[kind.member(), "nextCursor"])?;
        let listed = found.named[0].filter(|value| value.form == Form::Array).ok_or(PageFault::Malformed)?;
        self.caching(&found, result);
        let list = &mut self.lists[kind as usize];
        list.pages += 1;
        if list.extent == Extent::Absent {
            list.extent = Extent::Whole;
        }
        for item in items(listed.span.of(result)) {
            if !self.item(kind, item.span.of(listed.span.of(result)), item.form) {
                return Ok(None);
            }
        }
        match found.named[1].filter(|value| value.form != Form::Null) {
            None => Ok(None),
            Some(cursor) => {
                let cursor = cursor.text(result).ok_or(PageFault::Malformed)?;
                Ok(self.next(kind, &cursor))
            }
        }
    }

    /// The cursor, if another page may be asked for.
    fn next(&mut self, kind: Kind, cursor: &str) -> Option<String> {
        let list = &mut self.lists[kind as usize];
        let endless = list.pages >= self.limits.pages
            || cursor.len() > self.limits.cursor_bytes
            || !list.cursors.insert(cursor.into());
        if endless {
            list.extent = Extent::Cut;
            self.offence(kind, "", Wrong::Endless);
            return None;
        }
        Some(cursor.to_owned())
    }

    /// Takes one item in; `false` when the list is cut here.
    fn item(&mut self, kind: Kind, json: &[u8], form: Form) -> bool {
        let longest = match kind {
            Kind::Tools | Kind::Prompts => self.limits.name_bytes,
            Kind::Resources | Kind::Templates => self.limits.uri_bytes,
        };
        let name = match name_of(kind, json, form) {
            Ok(name) => name,
            Err(wrong) => {
                self.offence(kind, "", wrong);
                return true;
            }
        };
        let wrong = if name.len() > longest {
            Some(Wrong::NameTooLong)
        } else if name.chars().any(char::is_control) {
            Some(Wrong::NameIllegal)
        } else if json.len() > self.limits.item_bytes {
            Some(Wrong::TooBig)
        } else if skim_content(json, &Limits { depth: self.limits.depth, batch: 0 }).is_err() {
            Some(Wrong::TooDeep)
        } else if is_ambiguous(json) {
            Some(Wrong::Ambiguous)
        } else if self.lists[kind as usize].names.contains(&*name) {
            Some(Wrong::Repeated)
        } else {
            None
        };
        if let Some(wrong) = wrong {
            self.offence(kind, &name, wrong);
            return true;
        }
        let list = &mut self.lists[kind as usize];
        let size = json.len() + 2 * name.len();
        if list.items.len() >= self.limits.items || self.bytes + size > self.limits.bytes {
            list.extent = Extent::Cut;
            self.offence(kind, &name, Wrong::TooMany);
            return false;
        }
        self.bytes += size;
        let name: Box<str> = name.into();
        list.names.insert(name.clone());
        list.items.push(Item { name, json: single_line(json) });
        true
    }

    fn caching(&mut self, found: &Fields, result: &[u8]) {
        self.sharing(found, result);
        let ttl = found.ttl.filter(|value| value.form == Form::Number);
        if let Some(ttl) = ttl.and_then(|value| crate::rpc::mirror::integer(value.span.of(result))) {
            self.believe_until(self.now.plus(u64::try_from(ttl).unwrap_or(0)));
        }
    }

    fn sharing(&mut self, found: &Fields, result: &[u8]) {
        let said = found.scope.and_then(|value| value.text(result));
        let scope = match said.as_deref() {
            Some(scope) if scope == Scope::Private.as_str() => Scope::Private,
            Some(scope) if scope == Scope::Public.as_str() => Scope::Public,
            _ => self.unsaid,
        };
        if scope == Scope::Private {
            self.scope = Scope::Private;
        }
    }

    fn offence(&mut self, kind: Kind, name: &str, what: Wrong) {
        if self.offences.len() >= self.limits.offences {
            self.further_offences += 1;
            return;
        }
        let shown: String = cut(name, SHOWN_BYTES).chars().filter(|character| !character.is_control()).collect();
        self.offences.push(Offence { kind, name: shown.into(), what });
    }
}

/// The members of a result that decisions are made on.
struct Fields {
    named: [Option<Value>; 3],
    ttl: Option<Value>,
    scope: Option<Value>,
}

impl Fields {
    /// Checks a whole result and finds these members; each must be there at most once.
    fn read(result: &[u8], names: &[&str]) -> Result<Fields, PageFault> {
        skim_content(result, &Limits { depth: MAX_DEPTH, batch: 0 }).map_err(|_| PageFault::Unreadable)?;
        if result.trim_ascii_start().first() != Some(&b'{') {
            return Err(PageFault::Malformed);
        }
        let mut fields = Fields { named: [None; 3], ttl: None, scope: None };
        for Member { name, value } in members(result) {
            let slot = match names.iter().position(|known| *known == name) {
                Some(place) => fields.named.get_mut(place),
                None if name == "ttlMs" => Some(&mut fields.ttl),
                None if name == "cacheScope" => Some(&mut fields.scope),
                None => None,
            };
            if slot.is_some_and(|slot| slot.replace(value).is_some()) {
                return Err(PageFault::Malformed);
            }
        }
        Ok(fields)
    }
}

fn name_of(kind: Kind, json: &[u8], form: Form) -> Result<Cow<'_, str>, Wrong> {
    if form != Form::Object {
        return Err(Wrong::Unnamed);
    }
    let mut named = members(json).filter(|member| member.name == kind.key());
    let name = named.next().and_then(|member| member.value.text(json)).filter(|name| !name.is_empty());
    match (name, named.next()) {
        (None, _) => Err(Wrong::Unnamed),
        (Some(_), Some(_)) => Err(Wrong::Ambiguous),
        (Some(name), None) => Ok(name),
    }
}

/// Whether the item or its `_meta` names a member twice: the gateway would read the one and a client the other.
fn is_ambiguous(json: &[u8]) -> bool {
    let meta = crate::rpc::members::member(json, "_meta").map(|value| value.span.of(json));
    let ui = meta.and_then(|meta| Some(crate::rpc::members::member(meta, "ui")?.span.of(meta)));
    [Some(json), meta, ui].into_iter().flatten().any(|object| {
        let mut seen: HashSet<Cow<'_, str>, RandomState> = HashSet::default();
        members(object).any(|member| !seen.insert(member.name))
    })
}

/// The JSON without line breaks: outside strings they are white space, and inside they cannot stand.
fn single_line(json: &[u8]) -> Bytes {
    let mut line = json.to_vec();
    for byte in line.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    line.into()
}

/// The text, cut at the last character that still fits.
pub(in crate::federate) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
