//! From one request to the bytes of its answer, without I/O.

use std::cell::Cell;
use std::io::Write;
use std::time::Duration;

use serde_json::Value;

use crate::mcp::results::{Listed, Results, Tool};
use crate::mcp::{Era, skim};
use crate::wire::head::{Head, Method, Start};

/// Session ids start so; a request that claims another one did not get it from here.
const SESSION_PREFIX: &str = "load-";
/// Most events of one pushed stream, and their slowest pace.
const EVENTS_MAX: u64 = 10_000_000;
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// What is to be done once the rendered bytes are sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing: the answer is complete.
    Whole,
    /// Push events, then end the stream.
    Push(Push),
    /// Keep the stream open until the client leaves.
    Hold,
}

/// A stream of events at a fixed rate.
#[derive(Debug, PartialEq, Eq)]
pub struct Push {
    /// The request's id, raw JSON.
    pub id: Box<[u8]>,
    /// How many.
    pub events: u64,
    /// Time between two.
    pub interval: Duration,
    /// Era of the request.
    pub era: Era,
}

/// Renders answers.
pub struct Responder {
    legacy: Results,
    modern: Results,
    sessions: Cell<u64>,
}

impl Responder {
    /// Renders the results of both eras for a server of this name.
    pub fn new(name: &str, listed: Listed) -> Self {
        Self {
            legacy: Results::of(name, Era::Legacy, listed),
            modern: Results::of(name, Era::Modern, listed),
            sessions: Cell::new(0),
        }
    }

    /// Appends the answer to this request.
    pub fn respond(&self, head: &Head, body: &[u8], out: &mut Vec<u8>) -> Reply {
        let era = if head.modern { Era::Modern } else { Era::Legacy };
        match head.start {
            Start::Request(Method::Post) => self.message(era, head, body, out),
            Start::Request(Method::Get) if era == Era::Legacy && in_session(head) => {
                stream_head(out);
                Reply::Hold
            }
            Start::Request(Method::Delete) if era == Era::Legacy && in_session(head) => bodiless(out, "200 OK"),
            _ => bodiless(out, "405 Method Not Allowed"),
        }
    }

    fn message(&self, era: Era, head: &Head, body: &[u8], out: &mut Vec<u8>) -> Reply {
        let message = skim::request(body);
        let (Some(id), Some(method)) = (message.id, message.method) else {
            return bodiless(out, if message.method.is_some() { "202 Accepted" } else { "400 Bad Request" });
        };
        if era == Era::Legacy && method == b"initialize" {
            return self.initialize(id, body, out);
        }
        if era == Era::Legacy && !in_session(head) {
            return error(out, "400 Bad Request", id, -32600, "no session of this server");
        }
        let results = self.results(era);
        match method {
            b"tools/call" => self.call(era, &message, id, body, out),
            b"tools/list" => json(out, id, &results.list),
            b"ping" if era == Era::Legacy => json(out, id, &results.empty),
            b"server/discover" if era == Era::Modern => json(out, id, &results.discover),
            b"subscriptions/listen" if era == Era::Modern => {
                stream_head(out);
                acknowledged(out, id);
                Reply::Hold
            }
            _ if era == Era::Modern => error(out, "404 Not Found", id, -32601, "method not found"),
            _ => error(out, "200 OK", id, -32601, "method not found"),
        }
    }

    fn initialize(&self, id: &[u8], body: &[u8], out: &mut Vec<u8>) -> Reply {
        let number = self.sessions.get() + 1;
        self.sessions.set(number);
        let asked = serde_json::from_slice::<Value>(body).ok();
        let asked = asked.as_ref().and_then(|message| message.pointer("/params/protocolVersion")?.as_str());
        let revision = match asked {
            Some(known @ ("2025-03-26" | "2025-06-18")) => known,
            _ => Era::Legacy.revision(),
        };
        let result = self.legacy.initialize.replacen(Era::Legacy.revision(), revision, 1);
        let field = format!("Mcp-Session-Id: {SESSION_PREFIX}{number:016x}\r\n");
        json_with(out, "200 OK", &field, id, "result", &result)
    }

    fn call(&self, era: Era, message: &skim::Skim<'_>, id: &[u8], body: &[u8], out: &mut Vec<u8>) -> Reply {
        let results = self.results(era);
        match message.name.and_then(Tool::named) {
            Some(Tool::Small) => json(out, id, &results.small),
            Some(Tool::Text) => json(out, id, &results.text),
            Some(Tool::Objects) => json(out, id, &results.objects),
            Some(Tool::Measure) => {
                let length = message.arguments_at.map_or(0, |begin| body.len() - begin);
                json(out, id, &results.measured(length))
            }
            Some(Tool::Event) => {
                stream_head(out);
                event(out, &envelope(id, "result", &results.small));
                end(out);
                Reply::Whole
            }
            Some(Tool::Push) => match Push::read(id, era, body) {
                Some(push) => {
                    stream_head(out);
                    Reply::Push(push)
                }
                None => error(out, "200 OK", id, -32602, "events and interval_us are needed, within bounds"),
            },
            None => error(out, "200 OK", id, -32602, "unknown tool"),
        }
    }

    fn results(&self, era: Era) -> &Results {
        match era {
            Era::Legacy => &self.legacy,
            Era::Modern => &self.modern,
        }
    }

    /// The answer that ends a pushed stream, with the end of the stream.
    pub fn pushed(&self, push: &Push, out: &mut Vec<u8>) {
        event(out, &envelope(&push.id, "result", &self.results(push.era).small));
        end(out);
    }
}

impl Push {
    fn read(id: &[u8], era: Era, body: &[u8]) -> Option<Self> {
        let message: Value = serde_json::from_slice(body).ok()?;
        let number = |name: &str| message.pointer("/params/arguments")?.get(name)?.as_u64();
        let (events, interval) = (number("events")?, Duration::from_micros(number("interval_us")?));
        let bounded = events <= EVENTS_MAX && interval <= INTERVAL_MAX && !interval.is_zero();
        bounded.then(|| Self { id: id.into(), events, interval, era })
    }
}

/// Appends a progress event that carries its number and the time it was sent, in monotonic nanoseconds.
pub fn progress(out: &mut Vec<u8>, number: u64, sent_nanos: u64) {
    let message = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"progress-1","progress":{number},"message":"sent {sent_nanos:020}"}}}}"#
    );
    event(out, message.as_bytes());
}

fn in_session(head: &Head) -> bool {
    head.session.as_deref().is_some_and(|session| session.starts_with(SESSION_PREFIX))
}

fn bodiless(out: &mut Vec<u8>, status: &str) -> Reply {
    put(out, format_args!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
    Reply::Whole
}

fn json(out: &mut Vec<u8>, id: &[u8], result: &str) -> Reply {
    json_with(out, "200 OK", "", id, "result", result)
}

fn error(out: &mut Vec<u8>, status: &str, id: &[u8], code: i32, message: &str) -> Reply {
    json_with(out, status, "", id, "error", &format!(r#"{{"code":{code},"message":"{message}"}}"#))
}

fn json_with(out: &mut Vec<u8>, status: &str, field: &str, id: &[u8], member: &str, value: &str) -> Reply {
    let length = r#"{"jsonrpc":"2.0","id":,"":}"#.len() + id.len() + member.len() + value.len();
    out.reserve(length + 256);
    put(
        out,
        format_args!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{field}Content-Length: {length}\r\n\r\n"),
    );
    write_envelope(out, id, member, value);
    Reply::Whole
}

fn envelope(id: &[u8], member: &str, value: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(id.len() + value.len() + 48);
    write_envelope(&mut message, id, member, value);
    message
}

fn write_envelope(out: &mut Vec<u8>, id: &[u8], member: &str, value: &str) {
    for part in [br#"{"jsonrpc":"2.0","id":"#.as_slice(), id, b",\"", member.as_bytes(), b"\":", value.as_bytes(), b"}"]
    {
        out.extend_from_slice(part);
    }
}

fn acknowledged(out: &mut Vec<u8>, id: &[u8]) {
    let id = String::from_utf8_lossy(id);
    let message = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"notifications":{{"toolsListChanged":true}},"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
    );
    event(out, message.as_bytes());
}

fn stream_head(out: &mut Vec<u8>) {
    put(
        out,
        format_args!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
        ),
    );
}

/// One event as one chunk.
fn event(out: &mut Vec<u8>, data: &[u8]) {
    const BEFORE: &[u8] = b"event: message\ndata: ";
    put(out, format_args!("{:x}\r\n", BEFORE.len() + data.len() + 2));
    out.extend_from_slice(BEFORE);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n\r\n");
}

fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::request::{Composer, Endpoint, Prepared, id};
    use crate::mcp::results::{BIG, answer_length, measured, text};
    use crate::wire::decoder::{Decoder, Progress};
    use crate::wire::head::Side;

    fn composer(era: Era) -> Composer {
        let outside = Composer::new(Endpoint { authority: "a".into(), path: "/mcp".into() }, era);
        if era == Era::Legacy { outside.within("load-1") } else { outside }
    }

    /// Through both codecs: what a client would see of the answer to this request.
    fn ask(mut request: Prepared) -> (Decoder, Reply) {
        let responder = Responder::new("a", Listed::Own(120));
        let mut server = Decoder::new(Side::Requests);
        server.raw.extend_from_slice(request.stamp(id(5)));
        assert_eq!(server.advance().unwrap(), Progress::Done);
        let mut out = Vec::new();
        let reply = responder.respond(server.head().unwrap(), server.body(), &mut out);
        let mut client = Decoder::new(Side::Answers);
        client.raw = out;
        let progress = client.advance().unwrap();
        assert_eq!(progress == Progress::Done, reply == Reply::Whole);
        (client, reply)
    }

    #[test]
    fn calls_get_their_prepared_answers_with_the_id() {
        for era in [Era::Legacy, Era::Modern] {
            let results = Results::new(era, Listed::Own(120));
            for (tool, result) in
                [(Tool::Small, &results.small), (Tool::Text, &results.text), (Tool::Objects, &results.objects)]
            {
                let (client, _) = ask(composer(era).call(tool.name(), "{}"));
                assert_eq!(client.body().len(), answer_length(result));
                let message: Value = serde_json::from_slice(client.body()).unwrap();
                assert_eq!(message["id"], 1_000_000_005u64);
                assert_eq!(message["result"].to_string(), serde_json::from_str::<Value>(result).unwrap().to_string());
            }
        }
    }

    #[test]
    fn measures_from_the_arguments_to_the_end() {
        let arguments = format!(r#"{{"payload":"{}"}}"#, text(BIG));
        let (client, _) = ask(composer(Era::Modern).call("measure", &arguments));
        let expected = measured(arguments.len() + 2);
        assert!(String::from_utf8_lossy(client.body()).contains(&expected), "{expected}");
    }

    #[test]
    fn an_answer_as_a_stream_is_one_event_and_the_end() {
        let (client, reply) = ask(composer(Era::Modern).call("event", "{}"));
        assert_eq!(reply, Reply::Whole);
        assert!(client.head().unwrap().sse);
        let body = String::from_utf8_lossy(client.body());
        let data = body.strip_prefix("event: message\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(data).unwrap()["id"], 1_000_000_005u64);
    }

    #[test]
    fn pushes_as_asked_within_bounds() {
        let (_, reply) = ask(composer(Era::Legacy).call("push", r#"{"events":7,"interval_us":250}"#));
        let Reply::Push(push) = reply else { panic!("{reply:?}") };
        assert_eq!((push.events, push.interval), (7, Duration::from_micros(250)));
        for bad in ["{}", r#"{"events":1,"interval_us":0}"#, r#"{"events":99999999999,"interval_us":1}"#] {
            assert_eq!(ask(composer(Era::Legacy).call("push", bad)).1, Reply::Whole);
        }
    }

    #[test]
    fn sessions_begin_with_initialize_and_are_demanded_after() {
        let outside = Composer::new(Endpoint { authority: "a".into(), path: "/mcp".into() }, Era::Legacy);
        let (client, _) = ask(outside.initialize());
        assert_eq!(client.head().unwrap().session.as_deref(), Some("load-0000000000000001"));
        assert_eq!(ask(outside.call("small", "{}")).0.head().unwrap().start, Start::Answer(400));
        assert_eq!(ask(outside.stream()).0.head().unwrap().start, Start::Answer(405));
        let inside = composer(Era::Legacy);
        assert_eq!(ask(inside.initialized()).0.head().unwrap().start, Start::Answer(202));
        assert_eq!(ask(inside.stream()).1, Reply::Hold);
        assert_eq!(ask(inside.delete()).0.head().unwrap().start, Start::Answer(200));
    }

    #[test]
    fn listen_is_acknowledged_and_held() {
        let (client, reply) = ask(composer(Era::Modern).listen());
        assert_eq!(reply, Reply::Hold);
        let body = String::from_utf8_lossy(client.body());
        assert!(body.contains(r#""io.modelcontextprotocol/subscriptionId":1000000005"#), "{body}");
    }
}
