//! Text that nobody vouches for: it may be refused, it may not do harm.

use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

#[test]
fn alias_bombs_are_refused_quickly() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let start = Instant::now();
    let errors = errors_of(&text);
    assert!(errors[0].contains("too large, too deep or repeats too much"), "{errors:?}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn deep_nesting_is_refused() {
    for text in ["[".repeat(5_000), "{a: ".repeat(5_000), "- ".repeat(5_000), "a:\n ".repeat(3_000)] {
        assert!(load_alone(&text).is_err());
    }
    let mut text = String::new();
    for level in 0..200 {
        text.push_str(&format!("{}a:\n", " ".repeat(level)));
    }
    assert!(errors_of(&text)[0].contains("too deep"), "{:?}", errors_of(&text));
}

#[test]
fn a_text_that_is_too_large_is_not_read() {
    let text = format!("{RIGHT}#{}\n", "x".repeat(usize::try_from(CONFIG_BYTES_MAX).unwrap()));
    assert!(errors_of(&text)[0].contains("is larger than"));
}

#[test]
fn a_large_configuration_loads() {
    let mut text = "listeners: { main: { address: 127.0.0.1:0 } }\nbackends:\n".to_owned();
    for number in 0..2_000 {
        text.push_str(&format!(
            "  b{number}:\n    endpoints:\n      - url: http://127.0.0.1:9000/mcp\n    protocol: auto\n"
        ));
    }
    text.push_str("virtual_servers:\n");
    for number in 0..2_000 {
        text.push_str(&format!("  s{number}: {{ path: /mcp/{number}, backends: [b{number}] }}\n"));
    }
    assert_eq!(load_alone(&text).unwrap().config.backends.len(), 2_000);
}

#[test]
fn sections_have_a_largest_size() {
    let listeners: String = (0..300).map(|number| format!("  l{number}: {{ address: 127.0.0.1:0 }}\n")).collect();
    let text = RIGHT.replace("listeners:\n", &format!("listeners:\n{listeners}"));
    assert_eq!(errors_of(&text), ["1:1 listeners: there are at most 256 of these"]);
}

#[test]
fn the_fuzz_corpus_does_no_harm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/config");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&content);
        let _ = load_untrusted(&text).map_err(|report| report.to_string());
        count += 1;
    }
    assert!(count > 0);
}

/// Pieces of YAML that make more than noise when they are put together.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "listeners",
        "backends",
        "admin",
        "token",
        "endpoints",
        "url",
        "main",
        "demo",
        ": ",
        ":\n",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&a ",
        "*a",
        "<<: *a",
        "!x ",
        "? ",
        "|",
        ">-",
        "'",
        "\"",
        "#",
        "${env:A}",
        "${",
        "}",
        "~",
        "true",
        "0x1",
        "1e999",
        ".nan",
        "é",
        "\u{feff}",
        "\u{1f600}",
        "---\n",
        "...\n",
        "\t",
        "\r\n",
        "\\u12",
        "%YAML 1.2\n",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = load_untrusted(&text).map_err(|report| report.render(Style::Coloured));
    }

    #[test]
    fn no_yaml_panics(text in pieces()) {
        let _ = load_untrusted(&text).map_err(|report| (report.render(Style::Coloured), report.summary()));
    }

    #[test]
    fn no_mutation_of_a_right_configuration_panics(at in 0..RIGHT.len(), length in 0usize..12, piece in pieces()) {
        let start = RIGHT.floor_char_boundary(at);
        let end = RIGHT.floor_char_boundary((at + length).min(RIGHT.len()));
        let text = format!("{}{piece}{}", &RIGHT[..start], &RIGHT[end..]);
        let _ = load_untrusted(&text).map_err(|report| (report.render(Style::Plain), report.entries()));
    }

    /// Any key of any map, written a second time, is refused, and the second place is named.
    #[test]
    fn no_duplicate_key_passes(line in 0usize..6, quoted in any::<bool>()) {
        let block = "listeners:\n  main:\n    address: 127.0.0.1:8080\nbackends:\n  demo:\n    endpoints: []\nvirtual_servers: {}\n";
        let lines: Vec<&str> = block.lines().collect();
        let key = lines[line].split(':').next().unwrap();
        let name = key.trim();
        let indent = &key[..key.len() - name.len()];
        let again = if quoted { format!("{indent}\"{name}\": {{}}") } else { format!("{indent}{name}: {{}}") };
        // At the end of the map that the key belongs to.
        let end = (line + 1..lines.len())
            .find(|later| lines[*later].len() - lines[*later].trim_start().len() < indent.len())
            .unwrap_or(lines.len());
        let mut text = lines[..end].to_vec();
        text.push(&again);
        text.extend(&lines[end..]);
        let report = load_untrusted(&text.join("\n")).unwrap_err();
        let found = report.entries().into_iter().any(|entry| {
            entry.message.starts_with("this key stands here twice")
                && entry.position.is_some_and(|at| at.line == end + 1)
        });
        prop_assert!(found, "{}\n{}", text.join("\n"), report);
    }
}
