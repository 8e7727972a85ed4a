//! The reference in `docs/configuration.md`, made from the schema: `UPDATE_DOCS=1 cargo test docs` rewrites it, without
//! it a test fails when it is stale. What stands above the mark is written by hand.

use super::*;
use crate::config::values::RoutePath;
use schemars::{JsonSchema as _, SchemaGenerator};
use serde_json::Value;
use std::fmt::Write as _;

const MARK: &str = "<!-- Generated below this line from src/config: `UPDATE_DOCS=1 cargo test docs`. -->\n";

/// The sections in the order in which people write them.
const SECTIONS: [&str; 18] = [
    "listeners",
    "backends",
    "virtual_servers",
    "issuers",
    "api_keys",
    "certificates",
    "policy",
    "revocations",
    "egress",
    "admin",
    "state_dir",
    "tickets",
    "cluster",
    "limits",
    "streams",
    "drain",
    "workers",
    "log",
];

/// What the types of single values are called.
const WORDS: [(&str, &str); 27] = [
    ("Algorithm", "algorithm"),
    ("AllowedHost", "host"),
    ("AllowedOrigin", "origin"),
    ("ByteSize", "size"),
    ("ClaimPath", "claim"),
    ("EndpointUrl", "endpoint URL"),
    ("FetchUrl", "fetched URL"),
    ("Glob", "pattern"),
    ("HeaderKey", "header name"),
    ("ItemName", "item name"),
    ("ItemPrefix", "prefix"),
    ("IssuerUrl", "issuer"),
    ("KeyHash", "hash"),
    ("ListenAddress", "address"),
    ("Moment", "point in time"),
    ("Name", "name"),
    ("Network", "network"),
    ("PeerAddress", "peer"),
    ("PublicUrl", "public URL"),
    ("Reach", "place"),
    ("RoutePath", "URL path"),
    ("Scope", "scope"),
    ("Secret", "secret"),
    ("Separator", "separator"),
    ("TimeSpan", "time span"),
    ("VariableName", "variable name"),
    ("VariableValue", "secret (may be empty)"),
];

/// What an entry does not load without, so that the range of something else in it can be asked for.
const NEEDED: [(&str, &str); 2] = [
    ("issuers.NAME", "{ issuer: https://a }"),
    ("issuers.NAME.introspection", "{ url: https://a, client_id: a, client_secret: a }"),
];

#[test]
fn every_setting_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let committed = std::fs::read_to_string(&path).unwrap();
    let (by_hand, _) = committed.split_once(MARK).expect("the mark is in the file");
    let current = format!("{by_hand}{MARK}{}", Reference::new().page());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(committed == current, "docs/configuration.md is stale: run `UPDATE_DOCS=1 cargo test docs`");
}

/// The schema on its way to a page.
struct Reference {
    schema: Value,
    page: String,
}

impl Reference {
    fn new() -> Reference {
        let mut schema = schema::schema();
        // The only value type that the schema spells out where it is used.
        schema["$defs"]["RoutePath"] = RoutePath::json_schema(&mut SchemaGenerator::default()).to_value();
        Reference { schema, page: String::new() }
    }

    fn page(mut self) -> String {
        let root = self.schema.clone();
        let (mut listed, mut known) = (SECTIONS.map(str::to_owned).to_vec(), keys(&root));
        listed.sort_unstable();
        known.sort_unstable();
        assert_eq!(listed, known, "every section has its place");
        self.page.push_str("\n## Sections\n");
        self.table("", &root, &SECTIONS.map(str::to_owned));
        for section in SECTIONS {
            self.sections_from(section, &root["properties"][section]);
        }
        self.values();
        self.page
    }

    /// A section, and those within it; nothing for a single value.
    fn sections_from(&mut self, path: &str, node: &Value) {
        let (path, object) = self.object(path, node);
        let keys = keys(&object);
        if keys.is_empty() {
            return;
        }
        write!(self.page, "\n## `{path}`\n\n{}\n", description(&object)).unwrap();
        self.table(&path, &object, &keys);
        for key in keys {
            self.sections_from(&format!("{path}.{key}"), &object["properties"][&key]);
        }
    }

    fn table(&mut self, path: &str, object: &Value, keys: &[String]) {
        self.page.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
        let required = object["required"].as_array().map_or(&[][..], Vec::as_slice);
        for key in keys {
            let node = &object["properties"][key];
            let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let default = match node.get("default") {
                _ if required.contains(&Value::from(key.as_str())) => "required".to_owned(),
                None | Some(Value::Null) => String::new(),
                Some(Value::Object(members)) if !members.is_empty() => String::new(),
                Some(Value::String(text)) => format!("`{text}`"),
                Some(value) => format!("`{value}`"),
            };
            let kind = self.kind(&here, node);
            let meaning = [Some(description(node)), self.choices(node), range(&here, &kind)];
            let meaning = meaning.into_iter().flatten().collect::<Vec<_>>().join(" ");
            writeln!(self.page, "| `{key}` | {kind} | {default} | {meaning} |").unwrap();
        }
    }

    /// The types of single values.
    fn values(&mut self) {
        self.page.push_str("\n## Values\n\n| type | what it is |\n|---|---|\n");
        for (name, word) in WORDS {
            let meaning = description(&self.schema["$defs"][name]);
            writeln!(self.page, "| {word} | {meaning} |").unwrap();
        }
    }

    /// What kind of value is taken.
    fn kind(&self, path: &str, node: &Value) -> String {
        if let Some((_, word)) = WORDS.iter().find(|(name, _)| self.is_a(name, node)) {
            return (*word).to_owned();
        }
        let node = self.resolved(node);
        if let Some(element) = node.get("items") {
            return format!("list of {}", plural(&self.kind(&format!("{path}[]"), element)));
        }
        if let Some(entry) = entry(&node) {
            return format!("map of {}", plural(&self.kind(&format!("{path}.NAME"), entry)));
        }
        if node.get("properties").is_some() {
            let anchor: String = path.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            return format!("[`{path}`](#{})", anchor.to_ascii_lowercase());
        }
        let kind = node["type"].as_array().and_then(|kinds| kinds.first()).unwrap_or(&node["type"]);
        match kind.as_str() {
            Some("integer") => "number".to_owned(),
            Some("boolean") => "`true`, `false`".to_owned(),
            Some("string") => "text".to_owned(),
            _ if node.get("oneOf").is_some() => "choice".to_owned(),
            _ => panic!("{path} has no type: {node}"),
        }
    }

    /// Whether this is a value of that type, referred to or spelt out.
    fn is_a(&self, name: &str, node: &Value) -> bool {
        let shape = |node: &Value| {
            let mut shape = bare(node);
            shape.as_object_mut().map(|members| members.remove("description"));
            shape
        };
        let node = bare(node);
        node["$ref"] == format!("#/$defs/{name}") || shape(&node) == shape(&self.schema["$defs"][name])
    }

    /// What may be chosen, each with its meaning.
    fn choices(&self, node: &Value) -> Option<String> {
        let mut node = self.resolved(node);
        if let Some(element) = node.get("items") {
            node = self.resolved(element);
        }
        let one = |choice: &Value| {
            let (value, meaning) = (choice["const"].as_str().unwrap_or_default(), description(choice));
            format!("`{value}`: {}", meaning.trim_end_matches('.'))
        };
        Some(format!("{}.", node.get("oneOf")?.as_array()?.iter().map(one).collect::<Vec<_>>().join("; ")))
    }

    /// The object that a section consists of: itself, an entry of its map, or an element of its list.
    fn object(&self, path: &str, node: &Value) -> (String, Value) {
        let node = self.resolved(node);
        if let Some(entry) = entry(&node) {
            return (format!("{path}.NAME"), self.resolved(entry));
        }
        match node.get("items") {
            Some(element) => (format!("{path}[]"), self.resolved(element)),
            None => (path.to_owned(), node),
        }
    }

    fn resolved(&self, node: &Value) -> Value {
        let node = bare(node);
        let target = node["$ref"].as_str().and_then(|name| self.schema.pointer(name.trim_start_matches('#')));
        target.map_or_else(|| node.clone(), bare)
    }
}

/// A schema without the alternatives that mean "from elsewhere" and "not given", and without its default.
fn bare(node: &Value) -> Value {
    let is_aside = |one: &&Value| one["$ref"] == "#/$defs/Reference" || one["type"] == "null";
    let mut real = node["anyOf"].as_array().into_iter().flatten().filter(|one| !is_aside(one));
    let mut node = real.next().unwrap_or(node).clone();
    node.as_object_mut().map(|members| members.remove("default"));
    node
}

fn keys(object: &Value) -> Vec<String> {
    object["properties"].as_object().map_or_else(Vec::new, |members| members.keys().cloned().collect())
}

/// The schema of the entries of a map.
fn entry(node: &Value) -> Option<&Value> {
    let named = || node.get("patternProperties")?.as_object()?.values().next();
    named().or_else(|| node.get("additionalProperties").filter(|entry| entry.is_object()))
}

fn plural(kind: &str) -> String {
    if kind.ends_with(')') { kind.to_owned() } else { format!("{kind}s") }
}

fn description(node: &Value) -> String {
    node["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

/// Which values are let through, in the words of the error that the others get.
fn range(path: &str, kind: &str) -> Option<String> {
    let too_much = match kind {
        "size" => "9000GiB",
        "number" => "4294967295",
        "time span" => "3650d",
        _ => return None,
    };
    let mut tree: serde_yaml::Value = serde_yaml::from_str(RIGHT).unwrap();
    for (beside, needed) in NEEDED.iter().filter(|(beside, _)| path.starts_with(beside)) {
        let needed: serde_yaml::Value = serde_yaml::from_str(needed).unwrap();
        let at = beside.replace("NAME", "demo").split('.').fold(&mut tree, |at, key| &mut at[key]);
        *at = needed;
    }
    let path = path.replace("NAME", "demo");
    let mut at = &mut tree;
    for key in path.split('.') {
        at = &mut at[key];
    }
    *at = serde_yaml::from_str(too_much).unwrap();
    let errors = errors_of(&serde_yaml::to_string(&tree).unwrap());
    let range = errors.iter().find_map(|error| error.split_once(" from "))?.1;
    Some(format!("From {range}."))
}
