//! The JSON Schema of configuration files, made from the types that read them.

use super::file::ConfigFile;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The file name under which the schema is published beside the examples.
pub const SCHEMA_FILE: &str = "lockgate.schema.json";

/// The name of the definition of a reference to a value from elsewhere.
const REFERENCE: &str = "Reference";

/// The schema (draft 2020-12). Editors use it through the line `# yaml-language-server: $schema=…` of a file.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let mut schema = settings.into_generator().into_root_schema_for::<ConfigFile>().to_value();
    if let Value::Object(root) = &mut schema {
        for keyword in ["properties", "$defs"] {
            if let Some(Value::Object(members)) = root.get_mut(keyword) {
                members.values_mut().for_each(allow_references);
            }
        }
        if let Some(Value::Object(definitions)) = root.get_mut("$defs") {
            definitions.insert(REFERENCE.to_owned(), reference());
        }
    }
    schema
}

/// The schema as it is published.
pub fn schema_text() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

/// A text with a reference in it, which may stand wherever a scalar may.
fn reference() -> Value {
    json!({
        "description": "A value from the environment or a file: `${env:NAME}`, `${env:NAME:-default}`, `${file:path}`.",
        "type": "string",
        "pattern": r"\$\{(env|file):[^}]+\}"
    })
}

/// Lets a reference stand in the place of every scalar of a schema that is not any text already.
fn allow_references(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    if is_narrow_scalar(object) {
        let mut outer = Map::new();
        for keyword in ["description", "default", "title"] {
            if let Some(value) = object.remove(keyword) {
                outer.insert(keyword.to_owned(), value);
            }
        }
        let inner = std::mem::take(object);
        outer.insert("anyOf".to_owned(), json!([inner, { "$ref": format!("#/$defs/{REFERENCE}") }]));
        *object = outer;
        return;
    }
    for keyword in ["properties", "patternProperties", "$defs"] {
        if let Some(Value::Object(members)) = object.get_mut(keyword) {
            members.values_mut().for_each(allow_references);
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(member) = object.get_mut(keyword) {
            allow_references(member);
        }
    }
}

/// Whether a schema admits scalars only, and not every text.
fn is_narrow_scalar(schema: &Map<String, Value>) -> bool {
    let scalar = |name: &Value| matches!(name.as_str(), Some("string" | "integer" | "boolean" | "number" | "null"));
    let typed = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().all(scalar),
        Some(name) => scalar(name),
        None => false,
    };
    let any_text = schema.get("type").and_then(Value::as_str) == Some("string")
        && !["pattern", "enum", "const", "format"].iter().any(|keyword| schema.contains_key(*keyword));
    (typed && !any_text) || schema.contains_key("oneOf") || schema.contains_key("enum")
}
