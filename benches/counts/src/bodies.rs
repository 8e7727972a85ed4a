//! `tools/call` bodies of the modern era, of the sizes that the benches name.

/// What an argument is made of.
#[derive(Clone, Copy, Debug)]
pub enum Filling {
    /// One long text with a line break every now and then, as JSON writes it.
    Text,
    /// Many small objects, as a table of rows.
    Rows,
    /// One object with names made to be as hard to tell apart as can be.
    Alike,
}

/// The tool that [`call`] calls.
pub const TOOL: &str = "store_note";

/// A call whose body has about this many bytes.
pub fn call(bytes: usize, filling: Filling) -> Vec<u8> {
    call_of(TOOL, bytes, filling)
}

/// As [`call`], of another tool.
pub fn call_of(tool: &str, bytes: usize, filling: Filling) -> Vec<u8> {
    let begin = r#"{"jsonrpc":"2.0","id":17,"method":"tools/call","params":{"name":""#;
    let rest = concat!(
        r#"","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
        r#""io.modelcontextprotocol/clientCapabilities":{},"progressToken":"p17"},"arguments":{"note":"#,
    );
    let tail = "}}}";
    let head = [begin, tool, rest].concat();
    let room = bytes.saturating_sub(head.len() + tail.len());
    let mut body = head;
    match filling {
        Filling::Text => text(room, &mut body),
        Filling::Rows => rows(room, &mut body),
        Filling::Alike => alike(room, &mut body),
    }
    body.push_str(tail);
    body.into_bytes()
}

/// What a server answers to request 17, with this result: one text of about so many bytes.
pub fn answer(bytes: usize) -> Vec<u8> {
    let head = r#"{"jsonrpc":"2.0","id":17,"result":{"content":[{"type":"text","text":"#;
    let tail = r#"}],"structuredContent":{"ok":true},"isError":false}}"#;
    let mut body = head.to_owned();
    text(bytes.saturating_sub(head.len() + tail.len()), &mut body);
    body.push_str(tail);
    body.into_bytes()
}

fn text(room: usize, body: &mut String) {
    let line = "The quick brown fox jumps over the lazy dog, says the report of this morning.\\n";
    let end = body.len() + room.max(2);
    body.push('"');
    while body.len() + line.len() < end {
        body.push_str(line);
    }
    while body.len() + 1 < end {
        body.push('x');
    }
    body.push('"');
}

fn rows(room: usize, body: &mut String) {
    let end = body.len() + room;
    body.push('[');
    for number in 0.. {
        let row =
            format!(r#"{{"id":{number},"name":"row {number}","amount":{number}.25,"open":true,"tags":["a","b"]}}"#);
        if body.len() + row.len() + 2 > end {
            break;
        }
        if number > 0 {
            body.push(',');
        }
        body.push_str(&row);
    }
    body.push(']');
}

fn alike(room: usize, body: &mut String) {
    let end = body.len() + room;
    body.push('{');
    for number in 0u32.. {
        // Same length, same begin, same end, in no order.
        let member = format!(r#""attackattack{:08x}attackattack":0"#, number.wrapping_mul(0x9E37_79B1));
        if body.len() + member.len() + 2 > end {
            break;
        }
        if number > 0 {
            body.push(',');
        }
        body.push_str(&member);
    }
    body.push('}');
}
