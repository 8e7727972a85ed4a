//! Reads the few members of a JSON-RPC message that the harness needs, and stops as soon as it has them.
//!
//! A 64 KB message costs as little as a small one when its payload comes last, so that neither the backend
//! nor the generator becomes what is measured. It trusts its input to be JSON: both ends are ours, and what
//! lies between is checked by comparing lengths.

use memchr::memchr2;

/// What was found before the skim stopped; slices are raw JSON, strings without their quotes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Skim<'a> {
    /// The `id`, byte-exact.
    pub id: Option<&'a [u8]>,
    /// The `method`.
    pub method: Option<&'a [u8]>,
    /// `params.name`.
    pub name: Option<&'a [u8]>,
    /// Where the value of `params.arguments` begins.
    pub arguments_at: Option<usize>,
    /// Whether a `result` member was met.
    pub has_result: bool,
    /// Whether an `error` member was met.
    pub has_error: bool,
}

/// Skims a request: stops once id and method are known and, for `tools/call`, name and arguments too.
pub fn request(body: &[u8]) -> Skim<'_> {
    let mut skim = Skim::default();
    let mut cursor = Cursor { bytes: body, at: 0 };
    let _ = cursor.members(&mut |key, cursor| {
        match key {
            b"id" => skim.id = Some(cursor.raw()?),
            b"method" => skim.method = Some(cursor.string()?),
            b"params" if cursor.peek() == Some(b'{') => {
                let stopped = cursor.members(&mut |key, cursor| {
                    match key {
                        b"name" if cursor.peek() == Some(b'"') => skim.name = Some(cursor.string()?),
                        b"arguments" => skim.arguments_at = Some(cursor.at),
                        _ => return cursor.skip().map(|()| Step::More),
                    }
                    if skim.name.is_some() && skim.arguments_at.is_some() && skim.id.is_some() && skim.method.is_some()
                    {
                        return Some(Step::Enough);
                    }
                    if key == b"arguments" {
                        cursor.skip()?;
                    }
                    Some(Step::More)
                })?;
                return Some(stopped);
            }
            _ => cursor.skip()?,
        }
        let call = skim.method == Some(b"tools/call");
        Some(if skim.id.is_some() && skim.method.is_some() && !call { Step::Enough } else { Step::More })
    });
    skim
}

/// Skims an answer: stops once the id and one of `result` and `error` are known.
pub fn answer(body: &[u8]) -> Skim<'_> {
    let mut skim = Skim::default();
    let mut cursor = Cursor { bytes: body, at: 0 };
    let _ = cursor.members(&mut |key, cursor| {
        match key {
            b"id" => skim.id = Some(cursor.raw()?),
            b"result" => skim.has_result = true,
            b"error" => skim.has_error = true,
            b"method" => skim.method = Some(cursor.string()?),
            _ => return cursor.skip().map(|()| Step::More),
        }
        if skim.id.is_some() && (skim.has_result || skim.has_error) {
            return Some(Step::Enough);
        }
        if key == b"result" || key == b"error" {
            cursor.skip()?;
        }
        Some(Step::More)
    });
    skim
}

/// Whether walking the members goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    More,
    Enough,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Called with each key, the cursor standing at its value; must consume the value unless it stops.
type Visit<'v, 'a> = dyn FnMut(&'a [u8], &mut Cursor<'a>) -> Option<Step> + 'v;

impl<'a> Cursor<'a> {
    fn white(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.white();
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Walks the members of the object at the cursor. `None` means: not an object, or cut off.
    fn members(&mut self, visit: &mut Visit<'_, 'a>) -> Option<Step> {
        self.take(b'{')?;
        if self.take(b'}').is_some() {
            return Some(Step::More);
        }
        loop {
            let key = self.string()?;
            self.take(b':')?;
            self.white();
            if visit(key, self)? == Step::Enough {
                return Some(Step::Enough);
            }
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(Step::More);
                }
                _ => return None,
            }
        }
    }

    /// The raw inside of the string at the cursor.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let begin = self.at;
        loop {
            self.at += memchr2(b'"', b'\\', self.bytes.get(self.at..)?)?;
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return Some(&self.bytes[begin..self.at - 1]);
            }
            self.at += 2;
        }
    }

    /// The raw value at the cursor, trimmed.
    fn raw(&mut self) -> Option<&'a [u8]> {
        self.white();
        let begin = self.at;
        self.skip()?;
        Some(self.bytes[begin..self.at].trim_ascii_end())
    }

    /// Steps over the value at the cursor.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                b'}' | b']' | b',' | b':' => return None,
                _ => {
                    while !matches!(self.bytes.get(self.at), None | Some(b',' | b'}' | b']')) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn finds_what_a_call_carries_and_leaves_the_payload_alone() {
        let body = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"small","arguments":{"x":[1,{"#;
        let skim = request(body);
        assert_eq!(skim.id, Some(&b"7"[..]));
        assert_eq!(skim.method, Some(&b"tools/call"[..]));
        assert_eq!(skim.name, Some(&b"small"[..]));
        assert_eq!(skim.arguments_at, Some(body.len() - br#"{"x":[1,{"#.len()));
    }

    #[test]
    fn finds_members_in_any_order() {
        let body =
            br#" { "params" : {"arguments":{"a":"}\"{"},"_meta":{"id":1},"name":"small"} , "method":"tools/call","id": "a\"b" }"#;
        let skim = request(body);
        assert_eq!(skim.id, Some(&br#""a\"b""#[..]));
        assert_eq!(skim.name, Some(&b"small"[..]));
        assert!(skim.arguments_at.is_some());
    }

    #[test]
    fn notification_has_no_id() {
        let skim = request(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert_eq!((skim.id, skim.method), (None, Some(&b"notifications/initialized"[..])));
    }

    #[test]
    fn answers_tell_result_from_error() {
        let good = answer(br#"{"jsonrpc":"2.0","id":1000000001,"result":{"#);
        assert_eq!((good.id, good.has_result, good.has_error), (Some(&b"1000000001"[..]), true, false));
        let bad = answer(br#"{"error":{"code":-1,"message":"x"},"id":null}"#);
        assert_eq!((bad.id, bad.has_result, bad.has_error), (Some(&b"null"[..]), false, true));
    }

    #[test]
    fn rubbish_ends_the_skim() {
        for body in [&b""[..], b"{", b"[]", b"{\"id\"", b"{\"id\":", b"{\"a\":}", b"\"", b"{\"a\":\"\\"] {
            assert_eq!(request(body).method, None);
            assert!(!answer(body).has_result);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..6).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_parser(id in any::<u64>(), noise in any_json(), name in "[a-z]{1,9}", pretty in any::<bool>()) {
            let message = json!({"a": noise, "id": id, "jsonrpc": "2.0", "method": "tools/call",
                "params": {"_meta": noise, "name": name, "zz": noise, "arguments": {"k": noise}}, "z": noise});
            let body = if pretty { serde_json::to_vec_pretty(&message) } else { serde_json::to_vec(&message) }?;
            let skim = request(&body);
            let digits = id.to_string();
            prop_assert_eq!(skim.id, Some(digits.as_bytes()));
            prop_assert_eq!(skim.name, Some(name.as_bytes()));
            prop_assert!(skim.arguments_at.is_some());
        }

        #[test]
        fn never_runs_past_the_end(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = request(&body);
            let _ = answer(&body);
        }
    }
}
