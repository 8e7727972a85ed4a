//! Configurations from flags, and flags that change a configuration.

use super::*;

fn backends(flags: &[(&str, &str)]) -> ConfigSource {
    let reached = |url: &str| Reached::Url(url.to_owned());
    let flag = |(name, url): &(&str, &str)| BackendFlag { name: (*name).to_owned(), reached: reached(url) };
    ConfigSource::Backends(flags.iter().map(flag).collect())
}

fn load_flags(source: &ConfigSource, overrides: &Overrides) -> Result<Loaded, Report> {
    load(source, overrides, &FakeSources::default())
}

fn listen(address: &str) -> Overrides {
    Overrides { listen: Some(address.to_owned()), ..Overrides::default() }
}

#[test]
fn all_backends_are_found_at_mcp_and_several_below_it_too() {
    let paths = |source: &ConfigSource| {
        let config = load_flags(source, &Overrides::default()).unwrap().config;
        assert_eq!(config.virtual_servers.len(), 1);
        let (name, server) = config.virtual_servers.get_index(0).unwrap();
        let routes: Vec<String> = server.routes(name).iter().map(|(path, _)| path.to_string()).collect();
        (routes.join(" "), config.is_direct(server))
    };
    assert_eq!(paths(&backends(&[("github", "https://x/mcp")])), ("/mcp /servers/default/mcp".into(), true));
    let two = backends(&[("a", "http://a/mcp"), ("b", "http://b/mcp")]);
    assert_eq!(paths(&two), ("/mcp /servers/default/mcp /mcp/a /mcp/b".into(), false));
}

#[test]
fn commands_are_taken_apart_as_a_shell_would() {
    let flag = |line: &str| {
        let flag = BackendFlag { name: "a".to_owned(), reached: Reached::Command(line.to_owned()) };
        load_flags(&ConfigSource::Backends(vec![flag]), &Overrides::default())
    };
    let run = |line: &str| flag(line).unwrap().config.backends["a"].command.clone().unwrap().run;
    assert_eq!(run("npx -y 'a b' \"c d\" e\\ f"), ["npx", "-y", "a b", "c d", "e f"]);
    assert_eq!(run("sh -c 'echo $HOME > x'"), ["sh", "-c", "echo $HOME > x"], "no shell sees it");
    let relative = run("./server --stdio");
    assert!(Path::new(&relative[0]).is_absolute() && relative[0].ends_with("/server"), "{relative:?}");
    let report = flag("npx 'unclosed").unwrap_err();
    let expected = "\
error: a quote in this command is never closed
 --> command line:1:13
  |
1 | --command a=npx 'unclosed
  |             ^^^^^^^^^^^^^ backends.a.command.run";
    assert_eq!(report.to_string(), expected);
}

#[test]
fn mistakes_in_flags_are_shown_as_they_were_written() {
    let source = backends(&[("Demo", "http://a/mcp"), ("b", "ftp://b"), ("c", "http://c"), ("c", "http://d")]);
    let report = load_flags(&source, &Overrides::default()).unwrap_err();
    let expected = "\
error: a name has 1 to 63 characters out of a-z, 0-9 and `-`, and does not start with `-`
 --> command line:1:11
  |
1 | --backend Demo=http://a/mcp
  |           ^^^^ backends.Demo

error: the URL of an endpoint starts with http://, https:// or unix://
 --> command line:2:13
  |
2 | --backend b=ftp://b
  |             ^^^^^^^ backends.b.endpoints[0].url

error: there are two backends `c`
 --> command line:4:11
  |
4 | --backend c=http://d
  |           ^ backends.c";
    assert_eq!(report.to_string(), expected);
}

#[test]
fn flags_take_the_place_of_what_is_written() {
    let overrides = Overrides {
        listen: Some("127.0.0.1:1234".to_owned()),
        admin: Some("127.0.0.1:5678".to_owned()),
        state_dir: Some("/var/lib/x".into()),
        private: false,
    };
    let loaded = load_flags(&ConfigSource::Quickstart, &overrides).unwrap();
    assert_eq!(loaded.config.listeners["main"].public_url.to_string(), "http://127.0.0.1:1234");
    assert_eq!(loaded.config.admin.address.to_string(), "127.0.0.1:5678");
    assert_eq!(loaded.config.state_dir.as_deref(), Some(Path::new("/var/lib/x")));
    let relative = Overrides { state_dir: Some("x".into()), ..Overrides::default() };
    let loaded = load_flags(&ConfigSource::Quickstart, &relative).unwrap();
    assert!(loaded.config.state_dir.is_some_and(|path| path.is_absolute()));
}

#[test]
fn a_flag_is_checked_like_a_setting() {
    let report = load_flags(&ConfigSource::Quickstart, &listen("8080")).unwrap_err();
    assert!(findings(&report)[0].starts_with("1:10 listeners.main.address: an address is"), "{report}");
    let report = load_flags(&backends(&[("a", "http://a")]), &listen("0.0.0.0:80")).unwrap_err();
    assert_eq!(report.error_count(), 2, "{report}");
    assert!(report.to_string().contains("--listen 0.0.0.0:80"), "{report}");
}

#[test]
fn listen_is_for_a_single_listener() {
    let sources = FakeSources::default()
        .with_file("/a.yaml", &RIGHT.replace("main:", "extra: { address: 127.0.0.1:1 }\n  main:"));
    let report = load(&ConfigSource::File("/a.yaml".into()), &listen("127.0.0.1:2"), &sources).unwrap_err();
    assert!(report.to_string().contains("`--listen` is for a configuration with one listener"), "{report}");
}
