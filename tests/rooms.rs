//! The invariants of `ARCHITECTURE.md` that can be read off the sources: what the filters know nothing of, which room may
//! use which, and that nothing but a test panics on purpose.
//!
//! Comments, texts and tests are left out; what a macro expands to is not seen.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms of `src/` a room may use, and why. A room that is not named on the left fails the test: say where it belongs.
const ROOMS: [(&str, &[&str], &str); 39] = [
    // What knows nothing of the gateway: each could be a package of its own.
    ("config", &[], "Text becomes values; what is done with them is not its business."),
    ("upstream", &[], "Takes its own settings, so that a change of the configuration's form does not reach it."),
    ("session", &[], "State of sessions, however they are opened and whoever carries their messages."),
    ("telemetry", &[], "Everybody counts and logs; so it may know nobody."),
    ("catalog", &[], "Merges what backends offer; who asks them, and who serves it, it is told."),
    ("drain", &[], "Counts what is in flight, whatever that is."),
    ("egress", &[], "Fetches what it is told to, from where it may; what that is, others know."),
    ("watch", &[], "Says that a file changed, not what that means."),
    ("bodies", &[], "Counts bytes, whoever holds them."),
    ("seats", &[], "Counts places, whoever takes them."),
    ("request", &["bodies"], "Reads a body within bounds that it is given."),
    ("downstream", &[], "Writes to a client, whatever the answer is."),
    ("small_http", &[], "Serves the admin page and the demo, which have nothing else in common."),
    (
        "identity",
        &["egress"],
        "Keeps keys and lists fresh; how they are read and what they prove is the filters' business.",
    ),
    ("listen", &["drain"], "Accepts connections, and stops accepting when the gateway drains."),
    ("demo", &["small_http"], "An MCP server like any other: it only happens to live in the same process."),
    ("admin", &["small_http"], "What it shows and does comes in through a trait, so it cannot reach for more."),
    (
        "cluster",
        &["drain", "listen", "seats"],
        "Finds other processes, and hands requests over; what is handed to it comes in beside the listeners.",
    ),
    ("bridge", &["upstream"], "A client of HTTP for clients of something else: to it, the gateway is any server."),
    // From the configuration to what serves.
    (
        "settings",
        &["admin", "cluster", "config", "drain", "egress", "identity", "listen", "session", "upstream"],
        "Says each room in its own words what the configuration wants.",
    ),
    (
        "snapshot",
        &[
            "bodies",
            "catalog",
            "cluster",
            "config",
            "egress",
            "identity",
            "request",
            "seats",
            "session",
            "settings",
            "telemetry",
            "upstream",
        ],
        "Compiles a configuration; what is compiled does not know who serves it.",
    ),
    (
        "reload",
        &["admin", "cluster", "config", "demo", "listen", "serve", "settings", "snapshot", "telemetry", "watch"],
        "Swaps snapshots, and nothing in them; starts the demo server for the first that wants it.",
    ),
    // The way of a request.
    ("lease", &["gateway", "serve", "snapshot", "trip"], "Says how long a caller may have what is held open for it."),
    ("trip", &["bodies", "drain", "snapshot", "telemetry"], "One request and what it pins."),
    (
        "telemetry/access",
        &["trip"],
        "The access log tells of a request as a whole: the one part of telemetry that knows it.",
    ),
    (
        "gateway",
        &["drain", "lanes", "serve", "session", "snapshot", "sse", "telemetry", "trip"],
        "Pingora's hooks, one line each.",
    ),
    (
        "serve",
        &["gateway", "lanes", "listen", "request", "snapshot", "sse", "telemetry", "trip", "upstream"],
        "The order of things: chains, body, lane. It opens no connection.",
    ),
    (
        "lanes",
        &[
            "catalog",
            "cluster",
            "downstream",
            "drain",
            "gateway",
            "lease",
            "listen",
            "seats",
            "serve",
            "session",
            "snapshot",
            "telemetry",
            "trip",
            "upstream",
        ],
        "Carries out what was decided. It reads no configuration and accepts no connection; of a client's it asks whether it ends.",
    ),
    (
        "sse",
        &[
            "bridge",
            "downstream",
            "drain",
            "gateway",
            "lanes",
            "lease",
            "listen",
            "request",
            "snapshot",
            "telemetry",
            "trip",
            "upstream",
        ],
        "Holds the streams of HTTP+SSE. What comes in by them goes through a bridge and comes in again; of the lanes it borrows\
         how answers are written.",
    ),
    ("unheard", &["listen", "snapshot", "telemetry"], "Answers for the gateway where a request does not reach it."),
    // What puts it together.
    (
        "control",
        &["admin", "config", "drain", "listen", "reload", "sample", "snapshot", "upstream"],
        "What the admin page may show and do.",
    ),
    (
        "sample",
        &["listen", "snapshot", "telemetry"],
        "Copies what other rooms count into the metrics when they are read.",
    ),
    ("greeting", &["cli", "config", "listen"], "What is printed at start."),
    (
        "server",
        &[
            "admin",
            "cli",
            "cluster",
            "config",
            "control",
            "demo",
            "drain",
            "egress",
            "gateway",
            "greeting",
            "identity",
            "lanes",
            "listen",
            "reload",
            "seats",
            "serve",
            "session",
            "settings",
            "snapshot",
            "telemetry",
            "unheard",
            "upstream",
            "watch",
        ],
        "Assembles all of it; only `main` may use it, and `stdio` and `ask`, which are other ways to start.",
    ),
    (
        "stdio",
        &["bridge", "cli", "server", "telemetry", "upstream"],
        "Puts a bridge in front of an endpoint, or of a gateway that it has started.",
    ),
    (
        "ask",
        &["admin", "bridge", "cli", "server", "stdio", "telemetry"],
        "Puts one question to an endpoint, or to a gateway that it has started.",
    ),
    (
        "cli",
        &["admin", "config"],
        "Arguments and verbs; what runs is handed to it. It reads what the admin listener tells.",
    ),
    ("lib", &[], "Names the rooms."),
    (
        "main",
        &["ask", "cli", "demo", "server", "session", "settings", "stdio"],
        "The command line, and what it starts or asks.",
    ),
];

/// What the filters may not name: the outside world, and the clock.
const OUTSIDE: [&str; 13] = [
    "pingora",
    "tokio",
    "lockgate::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "std::fs",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime::now",
];

/// What only tests may say. Arithmetic, slices and library code can still panic; nobody has decided that they should.
const PANICS: [&str; 6] = [".unwrap()", ".expect(", "panic!", "todo!", "unimplemented!", "unreachable!"];

/// Files that may nevertheless, and why.
const MAY_PANIC: [(&str, &str); 1] =
    [("src/demo/calculator.rs", "Its parser has an `expect` of its own, which returns.")];

#[test]
fn filters_know_nothing_of_the_outside() {
    let manifest = fs::read_to_string(root().join("filters/Cargo.toml")).unwrap();
    for line in manifest.lines() {
        let name = line.split(['.', ' ', '=']).next().unwrap();
        let outside = ["pingora", "tokio", "lockgate", "hyper", "reqwest", "mio", "socket2"];
        let found = outside.iter().any(|outside| name == *outside || name.starts_with(&format!("{outside}-")));
        assert!(!found, "filters/Cargo.toml: {line}");
    }
    let mut found = Vec::new();
    for source in sources("filters/src") {
        found.extend(OUTSIDE.iter().flat_map(|outside| source.places_of(outside)));
        // `use std::{fs, net}` names the same in other words.
        let standard = source.targets(&["std"]);
        let named = ["fs", "process", "env"].into_iter().filter(|module| standard.contains(*module));
        found.extend(named.map(|module| format!("{}: std::{module}", source.path)));
    }
    assert!(found.is_empty(), "the filters reach outside:\n{}", found.join("\n"));
}

#[test]
fn rooms_use_only_what_they_may() {
    let mut found = Vec::new();
    for source in sources("src") {
        let module = source.module();
        let Some((room, allowed, _)) = room_of(&module) else {
            found.push(format!("{}: `{}` is not in the table", source.path, module[0]));
            continue;
        };
        let own = room.split('/').next().unwrap();
        let start = if *room == "main" { "lockgate" } else { "crate" };
        let mut used = source.targets(&[start]);
        used.extend(source.targets_of_super(&module));
        // A folder's files may use each other, and the one file that stands for itself uses its folder.
        used.retain(|target| ROOMS.iter().any(|(name, ..)| name == target) && target != own);
        found.extend(
            used.iter()
                .filter(|target| !allowed.contains(&target.as_str()))
                .map(|target| format!("{}: `{room}` may not use `{target}`", source.path)),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_table_of_rooms_is_about_rooms_that_exist() {
    for (room, allowed, why) in ROOMS {
        let exists = |room: &str| {
            root().join("src").join(room).is_dir() || root().join("src").join(format!("{room}.rs")).is_file()
        };
        assert!(exists(room), "there is no src/{room}");
        assert!(allowed.iter().all(|target| exists(target)), "`{room}` may use what does not exist");
        assert!(allowed.is_sorted() && !why.is_empty(), "{room}");
    }
}

#[test]
fn only_tests_panic_on_purpose() {
    let mut found = Vec::new();
    for source in [sources("src"), sources("filters/src")].concat() {
        if !MAY_PANIC.iter().any(|(path, _)| *path == source.path) {
            found.extend(PANICS.iter().flat_map(|panic| source.places_of(panic)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn comments_texts_and_tests_are_left_out() {
    let text = r####"
//! crate::a
use crate::{b, c::{d, e}, f}; /* crate::g /* nested */ crate::h */
fn code<'a>(x: &'a str) -> char { let _ = "crate::i \" // "; r#"crate::j " "#; b"crate::k"; '"'; '\''; crate::l::m() }
#[cfg(test)]
mod tests { use crate::n; fn f() { "}" } }
#[cfg(test)]
mod testing;
const LAST: u8 = crate::o;
"####;
    let source = Source { path: "src/x/y/z.rs".to_owned(), code: without_tests(&code_of(text)) };
    let expected = ["b", "c", "f", "l", "o"].map(str::to_owned);
    assert_eq!(source.targets(&["crate"]), BTreeSet::from(expected));
    assert_eq!(source.places_of("crate::l"), ["src/x/y/z.rs:4: crate::l"]);
    assert_eq!(source.module(), ["x", "y", "z"]);
    let up = "use super::a; use super::super::b; use super::super::super::{c, d::e};".to_owned();
    let up = Source { code: up, ..source };
    assert_eq!(up.targets_of_super(&up.module()), BTreeSet::from(["c", "d", "x"].map(str::to_owned)));
}

/// A file of code, less comments, texts and tests; line breaks are kept.
#[derive(Clone)]
struct Source {
    /// Relative to the root of the workspace.
    path: String,
    code: String,
}

impl Source {
    /// The module that the file is, from the root of its package.
    fn module(&self) -> Vec<&str> {
        let path = self.path.split_once("src/").map_or(self.path.as_str(), |(_, path)| path);
        path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').collect()
    }

    fn places_of(&self, what: &str) -> Vec<String> {
        let line = |at: usize| self.code[..at].matches('\n').count() + 1;
        self.code.match_indices(what).map(|(at, _)| format!("{}:{}: {what}", self.path, line(at))).collect()
    }

    /// The names that stand right behind a path, `{…}` included.
    fn targets(&self, path: &[&str]) -> BTreeSet<String> {
        let path = format!("{}::", path.join("::"));
        let starts = self.code.match_indices(&path).filter(|(at, _)| !continues(&self.code[..*at]));
        starts.flat_map(|(at, _)| first_names(&self.code[at + path.len()..])).collect()
    }

    /// The rooms that paths of `super` lead to.
    fn targets_of_super(&self, module: &[&str]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for levels in 1..=module.len() {
            let names = self.targets(&vec!["super"; levels]);
            match module[..module.len() - levels].first() {
                Some(room) if !names.is_empty() => drop(found.insert((*room).to_owned())),
                Some(_) => {}
                None => found.extend(names),
            }
        }
        found.remove("super");
        found
    }
}

/// Whether what follows is the rest of a longer name or path.
fn continues(before: &str) -> bool {
    before.ends_with(|last: char| last.is_alphanumeric() || matches!(last, '_' | ':' | '$'))
}

/// The first name of each path at the start of `code`: one, or as many as there are between braces.
fn first_names(code: &str) -> Vec<String> {
    let name = |code: &str| code.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(list) = code.strip_prefix('{') else { return vec![name(code)] };
    let (mut names, mut depth, mut fresh) = (Vec::new(), 0, true);
    for (at, character) in list.char_indices() {
        match character {
            '}' if depth == 0 => break,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            _ if fresh && !character.is_whitespace() => {
                names.push(name(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

/// The room of a module: the one that its first two names are, or that its first is.
fn room_of(module: &[&str]) -> Option<&'static (&'static str, &'static [&'static str], &'static str)> {
    let find = |name: &str| ROOMS.iter().find(|(room, ..)| *room == name);
    module.get(..2).and_then(|two| find(&two.join("/"))).or_else(|| find(module[0]))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All code below a folder, without the files of modules that exist in tests only.
fn sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root().join(folder), &mut paths);
    paths.sort();
    assert!(paths.len() > 10, "there is no code in {folder}");
    let code: Vec<String> = paths.iter().map(|path| code_of(&fs::read_to_string(path).unwrap())).collect();
    let tests: Vec<PathBuf> = paths.iter().zip(&code).flat_map(|(path, code)| test_modules(path, code)).collect();
    let relative = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    let kept = paths.iter().zip(&code).filter(|(path, _)| !tests.iter().any(|test| path.starts_with(test)));
    kept.map(|(path, code)| Source { path: relative(path), code: without_tests(code) }).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("metrics_tests.rs") {
            // The one file of tests that is named by an attribute, which is not read here.
            paths.push(path);
        }
    }
}

/// The files and folders of the modules that a file declares for tests only.
fn test_modules(file: &Path, code: &str) -> Vec<PathBuf> {
    let stem = file.file_stem().unwrap();
    let folder =
        if stem == "mod" || stem == "lib" { file.parent().unwrap().to_owned() } else { file.with_extension("") };
    let named = |item: &str| {
        let name = item
            .trim_start()
            .trim_start_matches("pub(crate) ")
            .strip_prefix("mod ")?
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()?;
        Some([folder.join(name), folder.join(name).with_extension("rs")])
    };
    code.split("#[cfg(test)]").skip(1).filter_map(named).flatten().collect()
}

/// Source text with comments and what stands in texts blanked out.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == 'r' && !continues(&code) && rest[1..].trim_start_matches('#').starts_with('"') {
            let hashes = rest[1..].find('"').unwrap();
            let end = format!("\"{}", "#".repeat(hashes));
            let from = hashes + 2;
            rest[from..].find(&end).map_or(rest.len(), |at| from + at + end.len())
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            0
        };
        let taken = length.max(first.len_utf8());
        match length {
            0 => code.push(first),
            _ => code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
        }
        rest = &rest[taken..];
    }
    code
}

/// Whether a quote begins a character rather than a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    characters.next() == Some('\\') || characters.next() == Some('\'')
}

fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < text.len() {
        let (step, change) = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
    }
    at
}

/// The length of a text in quotes that starts here.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Code with each item behind `#[cfg(test)]` blanked out.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        let mut depth = 0;
        let ends = |(_, character): &(usize, char)| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(character, '}' | ';')
        };
        let end = rest[start..].char_indices().find(ends).map_or(rest.len(), |(at, _)| start + at + 1);
        kept.push_str(&rest[..start]);
        kept.extend(rest[start..end].matches('\n'));
        rest = &rest[end..];
    }
    kept + rest
}
