//! Which arguments of which tools are mirrored into headers: learnt from the tool lists that pass, and asked for where a
//! tool is called that stood in none.
//!
//! A client of another transport knows nothing of these headers, so what MCP asks of HTTP clients is done here, leaving
//! out tools with wrong annotations included.

use super::answer::envelope;
use super::shared::Shared;
use super::wire::send;
use crate::upstream::{Form, Verb};
use bytes::Bytes;
use lockgate_filters::rpc::members::{items, member};
use lockgate_filters::rpc::params::ToolParams;
use lockgate_filters::rpc::scan::{Message, Value, scan};
use lockgate_filters::splice::{Outbound, mirror};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The shortest time between two times that the list is asked for.
const SPACING: Duration = Duration::from_secs(1);

/// What is known of the server's tools.
#[derive(Debug, Default)]
pub(super) struct Tools {
    known: Mutex<Arc<ToolParams>>,
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Tools {
    /// What is known now.
    pub(super) fn known(&self) -> Arc<ToolParams> {
        Arc::clone(&self.known.lock())
    }

    /// What was known no longer holds.
    pub(super) fn forget(&self) {
        *self.known.lock() = Arc::default();
    }

    /// Takes in a page of the list, the first of a new one or a further one; gives the tools that are to be left out.
    pub(super) fn learn(&self, result: &[u8], first: bool) -> ToolParams {
        let mut page = ToolParams::default();
        if let Err(fault) = page.read(result) {
            tracing::warn!(%fault, "the server's tool list");
        }
        for (tool, reason) in page.invalid() {
            tracing::warn!(tool, reason, "a tool's x-mcp-header breaks the rules: it is left out");
        }
        let mut known = self.known.lock();
        let mut all = if first { ToolParams::default() } else { ToolParams::clone(&known) };
        // What could not be read above cannot be read now: it has been told.
        let _ = all.read(result);
        *known = Arc::new(all);
        page
    }

    /// Asks for the whole list, with what the call `message` says of its client and with its fields. In turn: whoever
    /// waited for another's question has its answer.
    pub(super) async fn ask(&self, shared: &Shared, fields: &Outbound, message: &Message, body: &[u8]) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < SPACING) {
            return;
        }
        if timeout(shared.patience.tools, list(shared, fields, message, body)).await.is_err() {
            tracing::warn!("the server's tools could not be listed in time");
        }
        *asked = Some(Instant::now());
    }
}

/// Reads all pages of the list.
async fn list(shared: &Shared, fields: &Outbound, message: &Message, body: &[u8]) {
    let meta = meta(message, body);
    let mut cursor = String::new();
    for page in 0..shared.limits.tool_pages {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{meta}{cursor}}}}}"#);
        let body = Bytes::from(text);
        let Ok(found) = scan(&body, &shared.limits.scan) else { return };
        let Some(request) = found.messages.first() else { return };
        let mut fields = fields.clone();
        mirror(&mut fields, request, &body, &ToolParams::default());
        let Some(answer) = exchange(shared, fields, body).await else { return };
        let Some(result) = envelope(&answer).and_then(|answer| answer.result) else { return };
        let result = result.span.of(&answer);
        shared.tools.learn(result, page == 0);
        let Some(next) = member(result, "nextCursor").filter(Value::is_string) else { return };
        cursor = format!(r#","cursor":{}"#, String::from_utf8_lossy(next.span.of(result)));
    }
}

/// The response to a request that is made here.
async fn exchange(shared: &Shared, fields: Outbound, body: Bytes) -> Option<Bytes> {
    let mut response = send(&shared.server, &shared.limits, Verb::Post, fields, body).await.ok()?;
    if response.form() != Form::EventStream {
        return response.collect(shared.limits.answer_bytes).await.ok();
    }
    let mut stream = super::answer::Stream::of(response, &shared.limits);
    while let Ok(Some(message)) = stream.next().await {
        if envelope(&message).is_some_and(|message| message.result.is_some() || message.error.is_some()) {
            return Some(message);
        }
    }
    None
}

/// The `_meta` member of a request on behalf of a client, as that client's own request has it.
fn meta(message: &Message, body: &[u8]) -> String {
    let own = message.params.as_ref().and_then(|params| params.meta.as_ref());
    let members = [
        ("protocolVersion", own.and_then(|own| own.protocol_version)),
        ("clientCapabilities", own.and_then(|own| own.client_capabilities)),
        ("clientInfo", own.and_then(|own| own.client_info)),
    ];
    let members = members.into_iter().filter_map(|(name, value)| {
        let value = String::from_utf8_lossy(value?.span.of(body)).into_owned();
        Some(format!(r#""io.modelcontextprotocol/{name}":{value}"#))
    });
    format!(r#""_meta":{{{}}}"#, members.collect::<Vec<_>>().join(","))
}

/// A response to `tools/list` without the tools that are to be left out; the rest of it as it came.
pub(super) fn leave_out(response: Bytes, result: Value, page: &ToolParams) -> Bytes {
    if page.invalid().next().is_none() {
        return response;
    }
    let Some(tools) = member(result.span.of(&response), "tools") else { return response };
    let tools = tools.span.within(result.span);
    let list = tools.of(&response);
    let stays = |tool: &Value| {
        let tool = tool.span.of(list);
        let name = member(tool, "name").and_then(|name| name.text(tool));
        !page.invalid().any(|(invalid, _)| name.as_deref() == Some(invalid))
    };
    let kept: Vec<&[u8]> = items(list).filter(stays).map(|tool| tool.span.of(list)).collect();
    let kept = [b"[".as_slice(), &kept.join(&b","[..]), b"]"].concat();
    let (before, behind) = (response.get(..tools.start as usize), response.get(tools.end as usize..));
    [before.unwrap_or_default(), &kept, behind.unwrap_or_default()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"{ "x": 1, "tools": [ {"name":"a","inputSchema":{"type":"object"}}, {"name":"b","inputSchema":{"properties":{"p":{"type":"number","x-mcp-header":"P"}}}} , {"name":"c"} ], "ttlMs": 0 }"#;

    #[test]
    fn tools_with_wrong_annotations_are_left_out_and_nothing_else_is() {
        let response = Bytes::from(format!(r#"{{"jsonrpc":"2.0", "id":1,"result":{PAGE}}}"#));
        let result = envelope(&response).and_then(|message| message.result).unwrap();
        let tools = Tools::default();
        let page = tools.learn(result.span.of(&response), true);
        let left = leave_out(response.clone(), result, &page);
        let expected = r#"{"jsonrpc":"2.0", "id":1,"result":{ "x": 1, "tools": [{"name":"a","inputSchema":{"type":"object"}},{"name":"c"}], "ttlMs": 0 }}"#;
        assert_eq!(left, expected);
        let none = ToolParams::default();
        assert_eq!(leave_out(response.clone(), result, &none), response);
    }

    #[test]
    fn a_new_list_replaces_the_old_and_further_pages_add_to_it() {
        let tools = Tools::default();
        let page = |name: &str| format!(r#"{{"tools":[{{"name":"{name}"}}]}}"#);
        tools.learn(page("a").as_bytes(), true);
        tools.learn(page("b").as_bytes(), false);
        assert!(tools.known().headers("a", None).is_some() && tools.known().headers("b", None).is_some());
        tools.learn(page("b").as_bytes(), true);
        assert!(tools.known().headers("a", None).is_none());
        tools.forget();
        assert!(tools.known().headers("b", None).is_none());
    }
}
