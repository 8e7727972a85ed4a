//! Every mistake at once, each at its place.

use super::*;

#[test]
fn a_file_with_six_mistakes_shows_all_of_them() {
    let text = "\
# yaml-language-server: $schema=./lockgate.schema.json
listeners:
  main:
    address: 127.0.0.1:8080
    publicUrl: https://gw.example.com
backends:
  demo:
    endpoints:
      - url: http://127.0.0.1:9000/mcp
    protocol: moderm
    timeouts: { connect: 5 }
admin:
  token: hunter2
  token: hunter2hunter2hunter2
limits:
  depth: many
virtual_servers:
  default:
    path: /mcp
    backends: [dmeo]
";
    let report = load_alone(text).unwrap_err();
    let expected = "\
error: this key is not known here
 --> lockgate.yaml:5:5
  |
5 |     publicUrl: https://gw.example.com
  |     ^^^^^^^^^ listeners.main.publicUrl
  |
  = help: did you mean `public_url`?

error: expected one of `auto`, `modern`, `legacy`, `sse`
  --> lockgate.yaml:10:15
   |
10 |     protocol: moderm
   |               ^^^^^^ backends.demo.protocol
   |
   = help: did you mean `modern`?

error: a time span needs a unit: ms, s, m, h or d (such as `30s`)
  --> lockgate.yaml:11:26
   |
11 |     timeouts: { connect: 5 }
   |                          ^ backends.demo.timeouts.connect

error: the admin token has at least 16 visible ASCII characters and no spaces
  --> lockgate.yaml:13:10
   |
13 |   token: ********
   |          ^^^^^^^^ admin.token
   |
   = help: make one with `openssl rand -hex 32`

error: this key stands here twice; the first is on line 13
  --> lockgate.yaml:14:3
   |
14 |   token: ********
   |   ^^^^^ admin.token

error: expected a whole number that is not negative and not too large, found a text
  --> lockgate.yaml:16:10
   |
16 |   depth: many
   |          ^^^^ limits.depth

error: there is no backend `dmeo`
  --> lockgate.yaml:20:16
   |
20 |     backends: [dmeo]
   |                ^^^^ virtual_servers.default.backends[0]
   |
   = help: did you mean `demo`?";
    assert_eq!(report.to_string(), expected);
    assert_eq!(report.error_count(), 7);
    assert_eq!(
        report.summary(),
        "lockgate.yaml:5:5: listeners.main.publicUrl: this key is not known here (and 6 more errors)"
    );
}

#[test]
fn findings_read_as_json_too() {
    let report = load_alone(&RIGHT.replace("path: /mcp", "path: mcp")).unwrap_err();
    let json = serde_json::to_value(report.entries()).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{
            "severity": "error",
            "source": "lockgate.yaml",
            "line": 6,
            "column": 20,
            "path": "virtual_servers.default.path",
            "message": "a path starts with `/`, such as `/mcp`"
        }])
    );
}

#[test]
fn every_duplicate_key_is_found() {
    let text = format!("{RIGHT}limits: {{ depth: 1, depth: 2 }}\nlog: {{}}\nlog: {{ level: debug, level: info }}\n");
    assert_eq!(
        errors_of(&text),
        [
            "7:21 limits.depth: this key stands here twice; the first is on line 7",
            "9:1 log: this key stands here twice; the first is on line 8",
        ]
    );
}

#[test]
fn duplicates_are_found_in_every_kind_of_map() {
    for (text, duplicate) in [
        ("a: 1\nb: 2\na: 3\n", "a"),
        ("{a: 1, 'a': 2}", "a"),
        ("backends:\n  x: {}\n  \"x\": {}\n", "backends.x"),
        ("1: x\n0x1: y\n", ""),
        ("limits:\n  depth: 1\n  ? depth\n  : 2\n", "limits.depth"),
    ] {
        let report = load_alone(text).unwrap_err();
        let found = report.entries().into_iter().any(|entry| {
            entry.message.starts_with("this key stands here twice") && entry.path.to_string() == duplicate
        });
        assert!(found, "{text:?}: {report}");
    }
}

#[test]
fn malformed_text_is_refused_with_a_position() {
    for (text, line, column) in [
        ("a: [1, 2\nb: 3\n", 2, 2),
        ("a: 'x\n", 2, 1),
        ("a: 1\n b: 2\n", 2, 3),
        ("a:\n\tb: 2\n", 2, 2),
        ("a: *nowhere\n", 1, 4),
        ("a: &x [*x]\n", 1, 8),
        ("a: 1\n---\nb: 2\n", 3, 1),
        ("? [a, b]\n: x\n", 1, 3),
        ("~: 1\n", 1, 1),
    ] {
        let report = load_alone(text).unwrap_err();
        let first = report.entries().remove(0);
        assert_eq!(first.position, Some(LineColumn { line, column }), "{text:?}: {report}");
    }
}

#[test]
fn what_yaml_offers_beyond_data_is_refused() {
    assert!(errors_of("backends: !map {}\n")[0].contains("1:"), "{:?}", errors_of("backends: !map {}\n"));
    assert!(errors_of("limits: { depth: !int 3 }\n").iter().any(|error| error.contains("tags")));
    assert!(errors_of("true: 1\n").iter().any(|error| error.contains("put it in quotes")));
    assert!(errors_of("backends: { 1: {} }\n").iter().any(|error| error.contains("put it in quotes")));
}

#[test]
fn an_empty_file_is_told_what_it_lacks() {
    for text in ["", "# nothing\n", "{}", "listeners:\nbackends:\nvirtual_servers:\n"] {
        let errors = errors_of(text).join("\n");
        for part in ["there is no listener", "there is no backend", "there is no virtual server"] {
            assert!(errors.contains(part), "{text:?}: {errors}");
        }
    }
    assert_eq!(errors_of("[]"), ["1:1 : expected a map of keys and values, found a list"]);
    assert_eq!(errors_of("x"), ["1:1 : expected a map of keys and values, found a text"]);
}

#[test]
fn an_empty_setting_means_its_default() {
    let loaded = load_alone(&format!("{RIGHT}limits:\nadmin:\nworkers:\nlog: {{ level: }}\n")).unwrap();
    assert_eq!(loaded.config.limits, sections::Limits::default());
    assert_eq!(loaded.config.workers.get(), 4, "the CPUs of the machine");
}

#[test]
fn merged_values_are_placed_where_they_are_written() {
    let text = "\
listeners:
  main: { address: 127.0.0.1:8080 }
backends:
  one: &common
    endpoints: [{ url: http://127.0.0.1:1/mcp }]
    timeouts: { connect: soon }
  two:
    <<: *common
    endpoints: [{ url: http://127.0.0.1:2/mcp }]
virtual_servers:
  one: { path: /mcp/one, backends: [one] }
  two: { path: /mcp/two, backends: [two] }
";
    let errors = errors_of(text);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with("6:26 backends.one.timeouts.connect: "), "{errors:?}");
    assert!(errors[1].starts_with("6:26 backends.two.timeouts.connect: "), "{errors:?}");
    let loaded = load_alone(&text.replace("soon", "7s")).unwrap();
    let two = &loaded.config.backends["two"];
    assert_eq!(two.timeouts.connect.to_string(), "7s");
    assert_eq!(two.endpoints[0].url.to_string(), "http://127.0.0.1:2/mcp");
}

#[test]
fn a_duplicate_beside_a_merge_is_still_found() {
    let text = "a: &a { x: 1 }\nb:\n  <<: *a\n  x: 2\n  x: 3\n";
    let errors = errors_of(text);
    assert!(errors.iter().any(|error| error.starts_with("5:3 b.x: this key stands here twice")), "{errors:?}");
}

#[test]
fn values_keep_the_types_of_the_parser_of_record() {
    // Other YAML readers take `off` and `no` for false, and 1_000 for a number.
    let text = RIGHT.replace("address: 127.0.0.1:8080", "address: 127.0.0.1:8080, proxy_protocol: off, http2: no");
    assert_eq!(errors_of(&text), ["2:64 listeners.main.http2: expected `true` or `false`, found a text"]);
    let text = format!("{RIGHT}limits: {{ batch: 1_000 }}\n");
    assert!(errors_of(&text)[0].contains("expected a whole number"));
    let text = format!("{RIGHT}limits: {{ batch: -1 }}\n");
    assert!(errors_of(&text)[0].contains("expected a whole number"));
    let text = format!("{RIGHT}limits: {{ batch: 99999999999 }}\n");
    assert!(errors_of(&text)[0].contains("expected a whole number"));
    let text = format!("{RIGHT}admin: {{ token: 12345678901234567890 }}\n");
    assert!(errors_of(&text)[0].contains("put it in quotes"));
}

#[test]
fn a_wrong_entry_does_not_cause_errors_elsewhere() {
    let text = RIGHT.replace("url: http://127.0.0.1:9000/mcp", "url: nonsense");
    assert_eq!(errors_of(&text).len(), 1, "{:?}", errors_of(&text));
    let text = RIGHT.replace("demo: { endpoints: [{ url: http://127.0.0.1:9000/mcp }] }", "demo: 7");
    assert_eq!(errors_of(&text), ["4:9 backends.demo: expected a map of keys and values, found a number"]);
    let text = RIGHT.replace("backends:\n  demo: { endpoints: [{ url: http://127.0.0.1:9000/mcp }] }", "backends: 7");
    assert_eq!(errors_of(&text).len(), 1, "{:?}", errors_of(&text));
}

#[test]
fn elements_behind_a_wrong_one_keep_their_numbers() {
    let text = format!(
        "{RIGHT}tickets: {{ keys: [{{ id: A, secret: x }}, {{ id: b, secret: zz }}, {{ id: c, secret: '{}' }}] }}\n",
        "0f".repeat(32)
    );
    let errors = errors_of(&text);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with("7:25 tickets.keys[0].id: a name has"), "{errors:?}");
    assert!(errors[1].starts_with("7:58 tickets.keys[1].secret: a sealing key"), "{errors:?}");
}

#[test]
fn a_flood_of_mistakes_is_cut_off() {
    let mut text = RIGHT.to_owned();
    text.push_str("limits:\n");
    for number in 0..300 {
        text.push_str(&format!("  unknown_{number}: 1\n"));
    }
    assert_eq!(load_alone(&text).unwrap_err().error_count(), 100);
}

#[test]
fn a_line_that_is_too_long_is_named_and_not_shown() {
    let text = format!("{RIGHT}log: {{ level: \"{}\" }}\n", "x".repeat(5_000));
    let shown = load_alone(&text).unwrap_err().to_string();
    assert!(shown.contains("lockgate.yaml:7:15"), "{shown}");
    assert!(!shown.contains("xxx"), "{shown}");
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let report = load_file(&folder.path().join("none.yaml")).unwrap_err();
    assert!(report.to_string().contains("it does not exist"), "{report}");
    let path = folder.path().join("latin.yaml");
    std::fs::write(&path, b"a: \xe9\n").unwrap();
    let report = load_file(&path).unwrap_err();
    assert!(report.to_string().contains("is not UTF-8: byte 3"), "{report}");
    assert!(load_file(folder.path()).unwrap_err().to_string().contains("it is a directory"));
}

#[test]
fn colours_are_only_there_when_asked_for() {
    let report = load_alone("x: 1\n").unwrap_err();
    assert!(!report.render(Style::Plain).contains('\u{1b}'));
    assert!(report.render(Style::Coloured).contains('\u{1b}'));
}
