//! The demo server's tools.

use super::handler::DemoServer;
use super::notes;
use super::text::TextStats;
use super::{calculator, clock};
use aws_lc_rs::rand;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::{Json, Parameters};
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, ProgressNotificationParam, Resource};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, tool, tool_router};
use schemars::transform::{RestrictFormats, Transform};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Built once: the schemas never change.
pub(super) static TOOLS: LazyLock<ToolRouter<DemoServer>> = LazyLock::new(|| {
    let mut tools = DemoServer::tool_router();
    for tool in tools.map.values_mut().map(|route| &mut route.attr) {
        tool.input_schema = without_formats(&tool.input_schema);
        tool.output_schema = tool.output_schema.as_ref().map(without_formats);
    }
    tools
});

/// Ids in one answer.
const IDS_MAX: usize = 100;

/// How long `wait` may be asked to wait, in seconds.
const WAIT_SECONDS_MAX: f64 = 60.0;

/// Progress notifications of one `wait`.
const WAIT_STEPS_MAX: u32 = 100;

/// A schema without `format`: schemars names Rust's number types there (`uint`), which JSON Schema does not know, so that
/// clients which check answers warn of it.
fn without_formats(schema: &Arc<JsonObject>) -> Arc<JsonObject> {
    let mut restrict = RestrictFormats::default();
    restrict.infer_from_meta_schema = false;
    let mut plain = Schema::from(JsonObject::clone(schema));
    restrict.transform(&mut plain);
    plain.as_object().map_or_else(|| Arc::clone(schema), |plain| Arc::new(plain.clone()))
}

#[derive(Deserialize, JsonSchema)]
struct Echo {
    /// What to send back.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct Calculate {
    /// An expression out of numbers, + - * / % ^, brackets, pi, e and sqrt, abs, round, floor, ceil, ln, sin, cos.
    expression: String,
}

#[derive(Serialize, JsonSchema)]
struct Calculated {
    /// The expression, as given.
    expression: String,
    /// Its value.
    value: f64,
}

#[derive(Deserialize, JsonSchema)]
struct CurrentTime {
    /// The offset from UTC: Z, or hours and minutes such as +01:00 or -02:30. Default Z.
    utc_offset: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Time {
    /// Date and time as RFC 3339 writes them.
    time: String,
    /// The day of the week in English.
    weekday: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    unix_seconds: i64,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum IdKind {
    /// A random UUID (version 4).
    #[default]
    Uuid,
    /// 32 hexadecimal digits.
    Hex,
}

#[derive(Deserialize, JsonSchema)]
struct RandomId {
    /// The form of the ids.
    #[serde(default)]
    kind: IdKind,
    /// How many, 1 to 100. Default 1.
    #[schemars(range(min = 1, max = 100))]
    count: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
struct Ids {
    /// The ids.
    ids: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Wait {
    /// How long to wait, 0 to 60 seconds.
    #[schemars(range(min = 0, max = 60))]
    seconds: f64,
    /// How many progress notifications to send on the way, 1 to 100. Default 10.
    #[schemars(range(min = 1, max = 100))]
    steps: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
struct Text {
    /// The text.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct WriteNote {
    /// The note's name: a-z, 0-9 and -, at most 40 characters.
    name: String,
    /// The text, at most 4096 bytes.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct NoteName {
    /// The note's name.
    name: String,
}

#[tool_router]
impl DemoServer {
    #[tool(
        title = "Echo",
        description = "Sends a text back.",
        annotations(read_only_hint = true, idempotent_hint = true, open_world_hint = false)
    )]
    async fn echo(&self, Parameters(Echo { text }): Parameters<Echo>) -> String {
        text
    }

    #[tool(
        title = "Calculator",
        description = "Evaluates an arithmetic expression.",
        annotations(read_only_hint = true, idempotent_hint = true, open_world_hint = false)
    )]
    async fn calculate(
        &self,
        Parameters(Calculate { expression }): Parameters<Calculate>,
    ) -> Result<Json<Calculated>, String> {
        let value = calculator::evaluate(&expression).map_err(|error| error.to_string())?;
        Ok(Json(Calculated { expression, value }))
    }

    #[tool(
        title = "Current time",
        description = "Tells the date, the time and the day of the week at an offset from UTC.",
        annotations(read_only_hint = true, idempotent_hint = false, open_world_hint = false)
    )]
    async fn current_time(
        &self,
        Parameters(CurrentTime { utc_offset }): Parameters<CurrentTime>,
    ) -> Result<Json<Time>, String> {
        let offset = utc_offset.as_deref().unwrap_or("Z");
        let offset = clock::parse_offset(offset)
            .ok_or_else(|| format!("`{offset}` is not an offset from UTC: write Z, +01:00 or -02:30"))?;
        let unix_seconds = clock::unix_seconds();
        let weekday = clock::weekday(unix_seconds, offset).to_owned();
        Ok(Json(Time { time: clock::rfc3339(unix_seconds, offset), weekday, unix_seconds }))
    }

    #[tool(
        title = "Random ids",
        description = "Makes random identifiers that nobody can guess.",
        annotations(read_only_hint = true, idempotent_hint = false, open_world_hint = false)
    )]
    async fn random_id(&self, Parameters(RandomId { kind, count }): Parameters<RandomId>) -> Result<Json<Ids>, String> {
        let count = count.unwrap_or(1);
        if !(1..=IDS_MAX).contains(&count) {
            return Err(format!("count must be 1 to {IDS_MAX}"));
        }
        (0..count).map(|_| random_id(kind)).collect::<Result<_, _>>().map(|ids| Json(Ids { ids }))
    }

    #[tool(
        title = "Text statistics",
        description = "Counts the bytes, characters, words and lines of a text.",
        annotations(read_only_hint = true, idempotent_hint = true, open_world_hint = false)
    )]
    async fn text_stats(&self, Parameters(Text { text }): Parameters<Text>) -> Json<TextStats> {
        Json(TextStats::of(&text))
    }

    #[tool(
        title = "Wait",
        description = "Waits, telling its progress on the way, until the time is over or the call is cancelled.",
        annotations(read_only_hint = true, idempotent_hint = true, open_world_hint = false)
    )]
    async fn wait(
        &self,
        Parameters(Wait { seconds, steps }): Parameters<Wait>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, String> {
        let steps = steps.unwrap_or(10);
        if !(0.0..=WAIT_SECONDS_MAX).contains(&seconds) || !(1..=WAIT_STEPS_MAX).contains(&steps) {
            return Err(format!("seconds must be 0 to {WAIT_SECONDS_MAX}, steps 1 to {WAIT_STEPS_MAX}"));
        }
        let progress_token = context.meta.get_progress_token();
        let step_time = Duration::from_secs_f64(seconds / f64::from(steps));
        for step in 1..=steps {
            tokio::select! {
                () = tokio::time::sleep(step_time) => {}
                () = context.ct.cancelled() => return Err("cancelled".to_owned()),
            }
            if let Some(token) = progress_token.clone() {
                let progress = ProgressNotificationParam::new(token, f64::from(step))
                    .with_total(f64::from(steps))
                    .with_message(format!("step {step} of {steps}"));
                if context.peer.notify_progress(progress).await.is_err() {
                    return Err("nobody listens any more".to_owned());
                }
            }
        }
        Ok(format!("waited {seconds} seconds"))
    }

    #[tool(
        title = "Write a note",
        description = "Writes a note, which everybody can then read as a resource. Notes are forgotten when the server ends.",
        annotations(read_only_hint = false, destructive_hint = true, idempotent_hint = true, open_world_hint = false)
    )]
    async fn write_note(
        &self,
        Parameters(WriteNote { name, text }): Parameters<WriteNote>,
    ) -> Result<CallToolResult, String> {
        self.notes().write(&name, &text)?;
        Ok(CallToolResult::success(vec![
            ContentBlock::text(format!("Written: {name}")),
            ContentBlock::resource_link(Resource::new(notes::uri(&name), name).with_mime_type("text/plain")),
        ]))
    }

    #[tool(
        title = "Delete a note",
        description = "Deletes a note.",
        annotations(read_only_hint = false, destructive_hint = true, idempotent_hint = true, open_world_hint = false)
    )]
    async fn delete_note(&self, Parameters(NoteName { name }): Parameters<NoteName>) -> Result<String, String> {
        if self.notes().delete(&name) {
            Ok(format!("Deleted: {name}"))
        } else {
            Err(format!("There is no note {name}"))
        }
    }
}

fn random_id(kind: IdKind) -> Result<String, String> {
    let mut bytes = [0u8; 16];
    rand::fill(&mut bytes).map_err(|_| "the random source failed".to_owned())?;
    let hyphens = match kind {
        IdKind::Hex => &[][..],
        IdKind::Uuid => {
            // RFC 9562 section 5.4: version 4, variant 10.
            bytes[6] = bytes[6] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            &[4, 6, 8, 10][..]
        }
    };
    let mut id = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if hyphens.contains(&index) {
            id.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    Ok(id)
}
