//! What a decision is asked about, and what conditions see of it.

use super::action::Action;
use super::cel::evaluate::Values;
use super::cel::read::{self, ANNOTATIONS, ARGUMENTS, CLAIMS, Value};
use super::cel::variables::{Variable, Variables};
use super::scopes::Asked;
use super::wild::Wild;
use crate::exchange::UnixMillis;
use crate::federate::Kind;
use crate::principal::Principal;
use cel::common::types::{CelBool, CelInt, CelMapKey};
use cel::common::value::Val;
use http::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::OnceLock;

/// An item, as the catalog knows it.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// What kind of item.
    pub kind: Kind,
    /// The name of its backend.
    pub backend: &'a str,
    /// What that calls it: a name, URI or template.
    pub original: &'a str,
    /// What clients call it.
    pub exposed: &'a str,
    /// The item itself in JSON, from which its title and annotations are read when something asks for them; empty where
    /// nothing is known.
    pub json: &'a [u8],
}

/// The arguments of a call.
#[derive(Clone, Copy, Debug)]
pub enum Args<'a> {
    /// There will be some: a list is made.
    NotYet,
    /// These, in JSON; empty where the call has none, or can have none.
    Given(&'a [u8]),
}

/// What is another thing with each request of one caller.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The client's address.
    pub source: IpAddr,
    /// When the request came.
    pub now: UnixMillis,
    /// Its header fields.
    pub headers: &'a HeaderMap,
}

/// What is to be decided.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// What is to be done.
    pub action: Action,
    /// To what. Where an action has no item, a backend is enough.
    pub item: Item<'a>,
    /// With what.
    pub args: Args<'a>,
    /// When and from where.
    pub moment: Moment<'a>,
}

impl<'a> Query<'a> {
    /// Whether this item is listed.
    pub fn listing(item: Item<'a>, moment: Moment<'a>) -> Query<'a> {
        let action = Action::of(item.kind);
        let args = if action.has_arguments() { Args::NotYet } else { Args::Given(b"") };
        Query { action, item, args, moment }
    }

    /// Whether this item may be called, got or read so.
    pub fn using(item: Item<'a>, args: &'a [u8], moment: Moment<'a>) -> Query<'a> {
        Query { args: Args::Given(args), ..Query::listing(item, moment) }
    }
}

/// What conditions see of a caller: made once for all that it does.
#[derive(Debug, Default)]
pub(super) struct CallerValues {
    principal: Option<Value>,
    claims: Option<Value>,
    server: Option<Value>,
}

impl CallerValues {
    /// As much as these variables need.
    pub fn new(principal: &Principal, server: &str, wanted: Variables) -> CallerValues {
        let facts = principal.facts();
        let scopes = facts.scopes.as_deref().unwrap_or_default();
        let described = || {
            read::members([
                ("issuer", read::text(&facts.issuer)),
                ("subject", read::text(&facts.subject)),
                ("tenant", read::text(facts.tenant.as_deref().unwrap_or_default())),
                ("groups", read::texts(&facts.groups)),
                ("scopes", read::texts(scopes)),
                ("proof", read::text(facts.proof.label())),
                ("anonymous", Box::new(CelBool::from(principal.is_anonymous()))),
            ])
        };
        CallerValues {
            principal: wanted.contains(Variable::Principal).then(described),
            // Claims beyond the bounds are no claims: conditions that mention them are errors.
            claims: wanted.contains(Variable::Claims).then(|| read::parsed(&facts.claims, CLAIMS).ok()).flatten(),
            server: wanted.contains(Variable::Server).then(|| read::text(server)),
        }
    }
}

/// What conditions see: each value is made when the first one asks for it.
pub(super) struct Scene<'a> {
    caller: &'a CallerValues,
    pub query: &'a Query<'a>,
    headers: &'a [HeaderName],
    /// What the item may expand to, where it is a template.
    template: Option<Wild>,
    /// Variables whose values are not known yet.
    unknown: Variables,
    values: [OnceLock<Option<Value>>; Variable::ALL.len()],
    annotations: OnceLock<Option<Annotations>>,
}

impl<'a> Scene<'a> {
    /// Where this is asked. `frozen` leaves out what is another thing with each request.
    pub fn new(caller: &'a CallerValues, query: &'a Query<'a>, headers: &'a [HeaderName], frozen: bool) -> Scene<'a> {
        let is_template = query.item.kind == Kind::Templates && query.action == Action::ReadResource;
        let mut unknown = if frozen { Variables::VOLATILE } else { Variables::NONE };
        if matches!(query.args, Args::NotYet) {
            unknown = unknown.with(Variable::Args);
        }
        if is_template {
            unknown = unknown.with(Variable::Resource);
        }
        Scene {
            caller,
            query,
            headers,
            template: is_template.then(|| Wild::of_template(query.item.original)),
            unknown,
            values: std::array::from_fn(|_| OnceLock::new()),
            annotations: OnceLock::new(),
        }
    }

    /// What scopes and permissions are compared with.
    pub fn asked(&self) -> Asked<'_> {
        let item = &self.query.item;
        Asked {
            action: self.query.action,
            backend: item.backend,
            original: item.original,
            template: self.template.as_ref(),
        }
    }

    /// Variables whose values are not known yet.
    pub fn unknown(&self) -> Variables {
        self.unknown
    }

    /// Whether the item is a tool whose backend says that it only reads.
    pub fn only_reads(&self) -> bool {
        self.annotations().is_some_and(|it| it.annotations.as_ref().is_some_and(|hints| hints.read_only == Some(true)))
    }

    fn annotations(&self) -> Option<&Annotations> {
        self.annotations.get_or_init(|| serde_json::from_slice(self.query.item.json).ok()).as_ref()
    }

    fn make(&self, variable: Variable) -> Option<Value> {
        let Query { action, item, args, moment } = self.query;
        match variable {
            Variable::Action => Some(read::text(action.label())),
            Variable::Args => match args {
                Args::Given(json) => read::object(json, ARGUMENTS).ok(),
                Args::NotYet => None,
            },
            Variable::Tool if *action == Action::CallTool => {
                let annotations = self.annotations.get().and_then(Option::as_ref).or_else(|| self.annotations());
                let raw = annotations.and_then(|it| it.raw.as_deref()).map_or("", RawValue::get);
                let [name, backend, original, title] = self.named();
                let annotations = ("annotations", read::object(raw.as_bytes(), ANNOTATIONS).ok()?);
                Some(read::members([name, backend, original, title, annotations]))
            }
            Variable::Prompt if *action == Action::GetPrompt => Some(read::members(self.named())),
            Variable::Resource if matches!(action, Action::ReadResource | Action::Subscribe) => {
                Some(read::members([("uri", read::text(item.original)), ("backend", read::text(item.backend))]))
            }
            Variable::Source => Some(read::text(&moment.source.to_canonical().to_string())),
            Variable::Now => Some(Box::new(CelInt::from((moment.now.0 / 1_000) as i64))),
            Variable::Time => Some(time(moment.now)),
            Variable::Headers => self.fields(),
            Variable::Tool | Variable::Prompt | Variable::Resource => None,
            Variable::Principal | Variable::Claims | Variable::Server => None,
        }
    }

    fn named(&self) -> [(&'static str, Value); 4] {
        let item = &self.query.item;
        let title = self.annotations().and_then(|it| it.title.as_deref()).unwrap_or_default();
        [
            ("name", read::text(item.exposed)),
            ("backend", read::text(item.backend)),
            ("original", read::text(item.original)),
            ("title", read::text(title)),
        ]
    }

    /// The fields that conditions may read. One that is there twice, or is no text, makes them all an error: it could be
    /// taken for either.
    fn fields(&self) -> Option<Value> {
        let mut found = HashMap::new();
        for name in self.headers {
            let mut values = self.query.moment.headers.get_all(name).iter();
            let Some(value) = values.next() else { continue };
            if values.next().is_some() {
                return None;
            }
            found.insert(CelMapKey::from(name.as_str().to_owned()), read::text(value.to_str().ok()?));
        }
        Some(read::map(found))
    }
}

impl Values for Scene<'_> {
    fn value(&self, variable: Variable) -> Option<&dyn Val> {
        let value = match variable {
            Variable::Principal => &self.caller.principal,
            Variable::Claims => &self.caller.claims,
            Variable::Server => &self.caller.server,
            _ => self.values[variable as usize].get_or_init(|| self.make(variable)),
        };
        value.as_deref()
    }
}

/// What is read of an item: the rest of it may be long.
#[derive(Debug)]
struct Annotations {
    title: Option<Box<str>>,
    raw: Option<Box<RawValue>>,
    annotations: Option<Hints>,
}

#[derive(Debug, Deserialize)]
struct Hints {
    #[serde(rename = "readOnlyHint")]
    read_only: Option<bool>,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Annotations, D::Error> {
        #[derive(Deserialize)]
        struct Shown {
            title: Option<Box<str>>,
            annotations: Option<Box<RawValue>>,
        }
        let Shown { title, annotations } = Shown::deserialize(deserializer)?;
        let hints = annotations.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
        Ok(Annotations { title, raw: annotations, annotations: hints })
    }
}

/// A moment by the clock, in UTC.
fn time(now: UnixMillis) -> Value {
    const WEEKDAYS: [&str; 7] = ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];
    let minutes = (now.0 / 60_000) as i64;
    let days = minutes.div_euclid(24 * 60);
    let (year, month, day) = civil(days);
    let number = |number: i64| Box::new(CelInt::from(number)) as Value;
    read::members([
        ("hour", number(minutes / 60 % 24)),
        ("minute", number(minutes % 60)),
        ("weekday", read::text(WEEKDAYS[days.rem_euclid(7) as usize])),
        ("date", read::text(&format!("{year:04}-{month:02}-{day:02}"))),
    ])
}

/// Year, month and day of the day of this number, counted from 1970-01-01.
///
/// Years are counted from March, so that the day that comes every four years is the last one; 400 years are 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_779, (2026, 11, 22)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }
}
