//! What the backend answers, rendered once per era; the generator knows the same bytes and checks lengths by them.

use super::{Era, LEGACY_REVISION, MODERN_REVISION};

/// Bytes of the big payloads: one string, or many small objects.
pub const BIG: usize = 64 * 1024;

/// The tools of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// An answer of about 200 bytes.
    Small,
    /// Answers with one 64 KB string.
    Text,
    /// Answers with 64 KB of small objects.
    Objects,
    /// Answers with the number of bytes from its arguments to the end of the body.
    Measure,
    /// The small answer as a stream of one event.
    Event,
    /// A stream of events at a fixed rate, then the answer.
    Push,
}

/// All tools, in the order of the list.
pub const TOOLS: [Tool; 6] = [Tool::Small, Tool::Text, Tool::Objects, Tool::Measure, Tool::Event, Tool::Push];

impl Tool {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Text => "text",
            Self::Objects => "objects",
            Self::Measure => "measure",
            Self::Event => "event",
            Self::Push => "push",
        }
    }

    /// The tool of this name.
    pub fn named(name: &[u8]) -> Option<Self> {
        TOOLS.into_iter().find(|tool| tool.name().as_bytes() == name)
    }
}

/// What a backend lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// So many tools of its own.
    Own(usize),
    /// The tools of a federation as a gateway shows them.
    Merged {
        /// How many members it has.
        members: usize,
        /// How many tools each member shows.
        tools: usize,
    },
}

/// What a member of a federation is called; also the prefix of its tools.
pub fn member(number: usize) -> String {
    format!("m{number}")
}

/// What a gateway calls a member's tool.
pub fn exposed(member_number: usize, tool: &str) -> String {
    format!("{}__{tool}", member(member_number))
}

/// The names of so many tools: the real ones first, then fillers.
pub fn names(count: usize) -> impl Iterator<Item = String> {
    let fillers = (0..).map(|number| format!("filler_{number:03}"));
    TOOLS.iter().map(|tool| tool.name().to_owned()).chain(fillers).take(count)
}

/// A text of exactly `length` bytes, free of anything that JSON escapes.
pub fn text(length: usize) -> String {
    const WORDS: &str = "the gateway passes what it does not need to read and checks what it must decide on; ";
    WORDS.chars().cycle().take(length).collect()
}

/// A JSON array of small objects, at least `length` bytes.
pub fn objects(length: usize) -> String {
    let mut json = String::from("[");
    let mut row = 0;
    while json.len() + 1 < length {
        let comma = if row == 0 { "" } else { "," };
        json.push_str(&format!(r#"{comma}{{"row":{row},"ok":true,"tag":"t{}","at":[{row},0.5]}}"#, row % 7));
        row += 1;
    }
    json.push(']');
    json
}

/// What [`Tool::Measure`] says about `length` bytes.
pub fn measured(length: usize) -> String {
    format!("received {length:08} bytes")
}

/// The prepared results of one era; each is the JSON of a `result` member.
pub struct Results {
    /// `initialize` without its revision, legacy.
    pub initialize: String,
    /// `server/discover`.
    pub discover: String,
    /// `tools/list`.
    pub list: String,
    /// [`Tool::Small`] and [`Tool::Event`].
    pub small: String,
    /// [`Tool::Text`].
    pub text: String,
    /// [`Tool::Objects`].
    pub objects: String,
    /// The result that says nothing: `ping`, and the end of a listen stream.
    pub empty: String,
    era: Era,
}

impl Results {
    /// Renders everything that a client needs to know.
    pub fn new(era: Era, listed: Listed) -> Self {
        Self::of("lockgate-load", era, listed)
    }

    /// Renders everything that a server of this name says.
    pub fn of(name: &str, era: Era, listed: Listed) -> Self {
        let head = head(era);
        let cached = if era == Era::Modern { r#""ttlMs":3600000,"cacheScope":"public","# } else { "" };
        let capabilities = r#""capabilities":{"tools":{"listChanged":true}}"#;
        let server = format!(r#"{{"name":"{name}","version":"1"}}"#);
        Self {
            initialize: format!(r#"{{"protocolVersion":"{LEGACY_REVISION}",{capabilities},"serverInfo":{server}}}"#),
            discover: format!(
                r#"{{{head}{cached}"supportedVersions":["{MODERN_REVISION}","{LEGACY_REVISION}"],{capabilities},"_meta":{{"io.modelcontextprotocol/serverInfo":{server}}}}}"#
            ),
            list: format!(r#"{{{head}{cached}"tools":[{}]}}"#, listing(listed)),
            small: content(era, &text(90), ""),
            text: content(era, &text(BIG), ""),
            objects: content(era, "64 KB", &format!(r#","structuredContent":{{"rows":{}}}"#, objects(BIG))),
            empty: format!("{{{head}}}"),
            era,
        }
    }

    /// The result of [`Tool::Measure`].
    pub fn measured(&self, length: usize) -> String {
        content(self.era, &measured(length), "")
    }
}

/// Length of a whole JSON answer with this result and an id of ten digits.
pub fn answer_length(result: &str) -> usize {
    r#"{"jsonrpc":"2.0","id":1000000000,"result":}"#.len() + result.len()
}

fn head(era: Era) -> &'static str {
    if era == Era::Modern { r#""resultType":"complete","# } else { "" }
}

fn content(era: Era, text: &str, more: &str) -> String {
    format!(r#"{{{}"content":[{{"type":"text","text":"{text}"}}]{more},"isError":false}}"#, head(era))
}

/// 120 tools make about 39 KB, as real catalogs do.
fn listing(listed: Listed) -> String {
    let tools: Vec<String> = match listed {
        Listed::Own(count) => names(count).map(|name| tool(&name, &name)).collect(),
        Listed::Merged { members, tools } => {
            let of = |number| names(tools).map(move |name| tool(&exposed(number, &name), &name));
            (0..members).flat_map(of).collect()
        }
    };
    tools.join(",")
}

fn tool(name: &str, title: &str) -> String {
    format!(
        r#"{{"name":"{name}","title":"Tool {title}","description":"{}","inputSchema":{{"type":"object","properties":{{"payload":{{"description":"What to work on"}},"limit":{{"type":"integer","minimum":0}}}}}}}}"#,
        text(136)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn everything_is_json_of_the_promised_size() {
        for era in [Era::Legacy, Era::Modern] {
            let results = Results::new(era, Listed::Own(120));
            for json in [&results.initialize, &results.discover, &results.list, &results.small, &results.text] {
                serde_json::from_str::<Value>(json).unwrap();
            }
            serde_json::from_str::<Value>(&results.objects).unwrap();
            assert!((150..260).contains(&answer_length(&results.small)), "{}", answer_length(&results.small));
            assert!((38_000..40_500).contains(&results.list.len()), "{}", results.list.len());
            assert!((BIG..BIG + 256).contains(&results.text.len()));
            assert!((BIG..BIG + 512).contains(&results.objects.len()), "{}", results.objects.len());
        }
    }

    #[test]
    fn lists_as_many_tools_as_asked_for() {
        for count in [0, 3, 6, 120] {
            let list: Value = serde_json::from_str(&Results::new(Era::Modern, Listed::Own(count)).list).unwrap();
            assert_eq!(list["tools"].as_array().unwrap().len(), count);
        }
    }

    #[test]
    fn a_merged_list_is_that_of_its_members_under_other_names() {
        let list = |listed| serde_json::from_str::<Value>(&Results::new(Era::Legacy, listed).list).unwrap();
        let own = list(Listed::Own(12));
        let merged = list(Listed::Merged { members: 10, tools: 12 });
        let tools = merged["tools"].as_array().unwrap();
        assert_eq!(tools.len(), 120);
        assert_eq!((&tools[0]["name"], &tools[119]["name"]), (&"m0__small".into(), &"m9__filler_005".into()));
        for (tool, origin) in tools.iter().zip(own["tools"].as_array().unwrap().iter().cycle()) {
            let mut renamed = tool.clone();
            renamed["name"] = tool["name"].as_str().unwrap().split_once("__").unwrap().1.into();
            assert_eq!(&renamed, origin);
        }
    }

    #[test]
    fn only_the_modern_era_names_a_result_type() {
        assert!(Results::new(Era::Modern, Listed::Own(1)).small.contains("resultType"));
        assert!(!Results::new(Era::Legacy, Listed::Own(1)).small.contains("resultType"));
    }

    #[test]
    fn measured_length_does_not_change_the_length_of_the_answer() {
        let results = Results::new(Era::Legacy, Listed::Own(1));
        assert_eq!(results.measured(1).len(), results.measured(65_536).len());
    }

    #[test]
    fn names_lead_back_to_tools() {
        for tool in TOOLS {
            assert_eq!(Tool::named(tool.name().as_bytes()), Some(tool));
        }
        assert_eq!(Tool::named(b"nothing"), None);
    }
}
