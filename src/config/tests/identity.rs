//! Who may come: issuers, API keys, certificates, revocations, and what virtual servers ask.

use super::*;
use crate::config::sections::{Algorithm, AuthMode, ClientCertificates};

const ISSUER: &str = "issuers: { corp: { issuer: 'https://login.example.com/a' } }\n";
const HASH: &str = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

fn config(from: &str, to: &str, more: &str) -> Config {
    assert!(RIGHT.contains(from), "{from}");
    load_alone(&format!("{}{more}", RIGHT.replace(from, to))).unwrap_or_else(|report| panic!("{report}")).config
}

/// These settings of one issuer give these errors.
fn issuer(settings: &str, expected: &[&str]) {
    expect(
        "path",
        "path",
        &format!("issuers:\n  corp:\n    issuer: https://login.example.com/a\n{settings}"),
        expected,
    );
}

fn keys(entries: &[&str]) -> String {
    entries.iter().fold("api_keys:\n".to_owned(), |text, entry| format!("{text}  - {entry}\n"))
}

#[test]
fn nothing_is_asked_until_a_proof_is_configured() {
    let before = config("path", "path", "");
    let server = &before.virtual_servers["default"];
    assert_eq!(server.auth.mode, AuthMode::None);
    assert!(before.is_direct(server), "as before");
    let shown = load_alone(RIGHT).unwrap().effective.to_yaml();
    for section in ["issuers", "api_keys", "certificates", "revocations", "egress"] {
        assert!(!shown.contains(section), "{section}");
    }
    let key = keys(&[&format!("{{ id: ci, hash: '{HASH}' }}")]);
    for proof in [ISSUER, &key, "certificates: [{ san: a, subject: b }]\n"] {
        let text = format!("{RIGHT}{proof}");
        let config = load_alone(&text).unwrap().config;
        let server = &config.virtual_servers["default"];
        assert_eq!(server.auth.mode, AuthMode::Required, "{proof}");
        assert!(!config.is_direct(server), "{proof}: its lists pass our hands");
    }
    let auth = config("path", "path", &format!("{ISSUER}{key}")).virtual_servers["default"].auth.clone();
    assert_eq!((auth.issuers.len(), auth.api_keys, auth.certificates), (1, true, false));
}

#[test]
fn what_is_asked_is_a_word_or_a_map() {
    let of = |auth: &str| {
        config("backends: [demo] }", &format!("backends: [demo], auth: {auth} }}"), ISSUER).virtual_servers["default"]
            .auth
            .clone()
    };
    assert_eq!(of("none").mode, AuthMode::None);
    assert!(of("none").issuers.is_empty(), "no proof is taken");
    assert_eq!(of("optional").mode, AuthMode::Optional);
    let map = of("{ issuers: [corp], audiences: ['api://x'], scopes: ['mcp:use'], default_resource: true }");
    assert_eq!(map.mode, AuthMode::Required);
    assert_eq!((map.issuers[0].as_str(), map.scopes[0].as_str(), map.default_resource), ("corp", "mcp:use", true));
    let server = |auth: &str, expected: &[&str]| {
        expect("backends: [demo] }", &format!("backends: [demo], auth: {auth} }}"), ISSUER, expected);
    };
    server("sometimes", &["virtual_servers.default.auth: expected one of `required`, `optional`, `none`"]);
    server("{ mode: sometimes }", &["auth.mode: expected one of"]);
    server("{ issuer: corp }", &["this key is not known here (did you mean `issuers`?)"]);
    server("{ issuers: [corpo] }", &["auth.issuers[0]: there is no issuer `corpo` (did you mean `corp`?)"]);
    server("{ issuers: [corp, corp] }", &["auth.issuers[1]: this issuer stands here twice"]);
    server("{ api_keys: true }", &["auth.api_keys: there are none: `api_keys` is empty"]);
    server("{ certificates: true }", &["auth.certificates: there are none"]);
    server("{ issuers: [] }", &["auth: nobody could be let in: there is no proof that is taken here"]);
    server("{ mode: optional, issuers: [] }", &[]);
    server("{ mode: none, scopes: [a] }", &["auth.scopes: with `none`, nobody is asked for anything"]);
    server("{ scopes: ['a b'] }", &["auth.scopes[0]: a scope is one word"]);
    expect(
        "backends: [demo] }",
        "backends: [demo], auth: required }",
        "",
        &["6:50 virtual_servers.default.auth: nobody could be let in: there is no proof that is taken here"],
    );
}

#[test]
fn whoever_is_open_to_the_network_says_so() {
    let open = "{ address: 0.0.0.0:80, public_url: 'https://gw.example.com', allowed_hosts: [gw.example.com] }";
    let main = "{ address: 127.0.0.1:8080 }";
    expect(
        main,
        open,
        "",
        &[
            "2:3 listeners.main: everybody who reaches this address may use virtual server `default`: nobody is asked who they \
           are (configure `issuers`, `api_keys` or `certificates`; or, where something in front asks, write \
           `acknowledge_no_auth: true`)",
        ],
    );
    expect(main, open, ISSUER, &[]);
    expect(main, &open.replace(" }", ", acknowledge_no_auth: true }"), "", &[]);
    let text = RIGHT.replace(main, open).replace("backends: [demo] }", "backends: [demo], auth: none }");
    assert!(errors_of(&format!("{text}{ISSUER}"))[0].contains("listeners.main: everybody"));
    let local = text.replace(&format!("main: {open}"), &format!("main: {open}\n  here: {{ address: 127.0.0.1:81 }}"));
    let local = local.replace("auth: none", "auth: none, listeners: [here]");
    assert_eq!(errors_of(&format!("{local}{ISSUER}")), Vec::<String>::new(), "only what is offered there counts");
}

#[test]
fn keys_of_an_issuer_come_from_one_place() {
    issuer("    jwks_url: https://login.example.com/keys\n", &[]);
    issuer("    jwks_url: http://localhost:1/keys\n", &[]);
    issuer(
        "    jwks_url: http://login.example.com/keys\n",
        &["10:15 issuers.corp.jwks_url: plain http is for this machine"],
    );
    issuer(
        "    jwks_url: https://login.example.com/keys\n    jwks: '{\"keys\":[{}]}'\n",
        &["11:5 issuers.corp.jwks: the keys come from one place, and `jwks_url` names one already"],
    );
    issuer("    jwks_file: keys.json\n", &["`/etc/lockgate/keys.json` is of no use: it does not exist"]);
    issuer("    jwks: '{\"keys\":[{\"kty\":\"RSA\",\"n\":\"x\",\"e\":\"AQAB\"}]}'\n", &[]);
    for (keys, problem) in [
        ("nonsense", "it is not JSON"),
        ("{}", "an object with a list `keys`"),
        ("{\"keys\":[]}", "1 to 100 keys"),
        ("{\"keys\":[1]}", "each key is an object"),
        ("{\"keys\":[{\"kty\":\"oct\",\"k\":\"hunter2\"}]}", "a symmetric key"),
        ("{\"keys\":[{\"kty\":\"RSA\",\"d\":\"hunter2\"}]}", "a private key"),
    ] {
        issuer(&format!("    jwks: '{keys}'\n"), &[problem]);
        let text = format!("{RIGHT}issuers: {{ corp: {{ issuer: 'https://a', jwks: '{keys}' }} }}\n");
        let report = load_alone(&text).unwrap_err();
        assert!(!format!("{report} {report:?} {}", report.render(Style::Coloured)).contains("hunter2"), "{report}");
    }
    let sources = FakeSources::default().with_file("/etc/lockgate/keys.json", "{\"keys\":[{\"kty\":\"OKP\"}]}");
    let text = format!("{RIGHT}issuers: {{ corp: {{ issuer: 'https://a', jwks_file: ./keys.json }} }}\n");
    let loaded = load_with(&text, &sources).unwrap();
    assert_eq!(loaded.watched, [Path::new("/etc/lockgate/keys.json")]);
}

#[test]
fn no_algorithm_confusion_symmetric_and_unsigned_tokens_cannot_be_configured() {
    issuer(
        "    algorithms: [RS256, HS256]\n",
        &["10:25 issuers.corp.algorithms[1]: with HS algorithms whoever can check"],
    );
    issuer("    algorithms: [none]\n", &["`none` is no signature: anybody could make such a token"]);
    issuer("    algorithms: [rs256]\n", &["expected one of `RS256`"]);
    issuer("    algorithms: [ES256, ES256]\n", &["algorithms[1]: this algorithm stands here twice"]);
    issuer("    algorithms: []\n", &["without an algorithm no token is believed"]);
    let config = config("path", "path", ISSUER);
    let names: Vec<_> = config.issuers["corp"].algorithms.iter().map(|one| one.name()).collect();
    assert_eq!(names, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]);
    assert_eq!("EdDSA".parse(), Ok(Algorithm::EdDSA));
}

#[test]
fn issuers_are_told_apart_and_bounded() {
    let two = "issuers: { a: { issuer: 'https://x' }, b: { issuer: 'https://x' } }\n";
    expect("path", "path", two, &["issuers.b.issuer: issuer `a` is the same"]);
    expect(
        "path",
        "path",
        "issuers: { a: { issuer: 'http://x.example' } }\n",
        &["issuers.a.issuer: plain http is for"],
    );
    expect("path", "path", "issuers: { a: {} }\n", &["issuers.a: `issuer` is missing here"]);
    issuer("    leeway: 6m\n", &["issuers.corp.leeway: this must be from 0s to 5m"]);
    issuer("    refresh: 1s\n", &["issuers.corp.refresh: this must be from 10s to 1d"]);
    issuer("    max_stale: 10m\n", &["max_stale: keys would be refused before they are fetched again"]);
    issuer("    audiences: ['api://x', 'api://x']\n", &["audiences[1]: this stands here twice"]);
    issuer("    claims: { groups: '/a~b' }\n", &["claims.groups: in a JSON pointer"]);
    issuer("    tls: { ca: ca.pem }\n", &["issuers.corp.tls.ca: cannot read"]);
}

#[test]
fn introspection_secrets_are_never_shown() {
    let asked = "{ url: 'https://a/introspect', client_id: gw, client_secret: hunter2hunter2 }";
    let text = format!("{RIGHT}issuers: {{ a: {{ issuer: 'https://x', introspection: {asked} }} }}\n");
    let loaded = load_alone(&text).unwrap();
    let shown = format!("{} {loaded:?}", loaded.effective.to_yaml());
    assert!(!shown.contains("hunter2") && shown.contains("client_secret: '********'"), "{shown}");
    let other = load_alone(&text.replace("hunter2hunter2", "hunter3")).unwrap();
    let changes: Vec<_> = diff(&loaded.effective, &other.effective).iter().map(|one| one.path().to_string()).collect();
    assert_eq!(changes, ["issuers.a.introspection.client_secret"]);
    issuer("    introspection: { url: 'https://a' }\n", &["introspection: `client_id` is missing here"]);
}

#[test]
fn api_keys_are_told_apart() {
    let one = format!("{{ id: ci, hash: '{HASH}' }}");
    expect("path", "path", &keys(&[&one]), &[]);
    expect("path", "path", &keys(&[&one, &one]), &["api_keys[1].id: two keys have the id `ci`"]);
    let other = one.replace("id: ci", "id: other");
    expect("path", "path", &keys(&[&one, &other]), &["api_keys[1].hash: this key and key `ci` are the same"]);
    let with = |more: &str| keys(&[&one.replace(" }", &format!(", {more} }}"))]);
    expect(
        "path",
        "path",
        &with("virtual_servers: [defaul]"),
        &["virtual_servers[0]: there is no virtual server `defaul`"],
    );
    expect("path", "path", &with("expires: tomorrow"), &["api_keys[0].expires: a point in time is written such as"]);
    expect(
        "path",
        "path",
        &keys(&["{ id: ci, hash: 'lgk_ci_secret' }"]),
        &["api_keys[0].hash: a key is given as `sha256:`"],
    );
}

#[test]
fn api_keys_may_have_a_file_of_their_own() {
    let text = format!("{RIGHT}api_keys: {{ file: ./keys.yaml }}\n");
    let with = |content: &str| load_with(&text, &FakeSources::default().with_file("/etc/lockgate/keys.yaml", content));
    let loaded = with(&format!("- {{ id: ci, hash: '{HASH}' }}\n")).unwrap();
    assert_eq!(loaded.config.api_keys.keys[0].id.as_str(), "ci");
    assert_eq!(loaded.watched, [Path::new("/etc/lockgate/keys.yaml")]);
    assert!(loaded.effective.to_yaml().contains("file: /etc/lockgate/keys.yaml"));
    let other = with(&format!("- {{ id: cd, hash: '{HASH}' }}\n")).unwrap();
    let changes: Vec<_> = diff(&loaded.effective, &other.effective).iter().map(|one| one.path().to_string()).collect();
    assert_eq!(changes, ["api_keys.file"], "a change of the file is a change of the configuration");
    let wrong = findings(&with("- { id: CI, hash: x }\n- { id: ci, name: cd }\n").unwrap_err());
    assert!(
        wrong.iter().all(|finding| finding.contains("7:19 api_keys.file: `/etc/lockgate/keys.yaml`, line ")),
        "{wrong:?}"
    );
    assert!(wrong[0].contains("line 1: [0]"), "{wrong:?}");
    let absent = load_alone(&text).unwrap_err();
    assert!(findings(&absent)[0].contains("cannot read `/etc/lockgate/keys.yaml`: it does not exist"), "{absent}");
}

#[test]
fn certificate_rules_say_whom_they_are_about() {
    let rule = |rule: &str, expected: &[&str]| expect("path", "path", &format!("certificates: [{rule}]\n"), expected);
    rule("{ san: 'spiffe://corp/*', subject: '{san}', groups: [agents], scopes: [] }", &[]);
    rule("{ subject_dn: 'CN=a*', subject: agent }", &[]);
    rule("{ subject_dn: 'CN=a*' }", &["certificates[0]: `subject` is missing here"]);
    rule("{ subject: x }", &["certificates[0]: this rule would take every certificate"]);
    rule(
        "{ issuer_dn: a, subject: '{san}' }",
        &["certificates[0].subject: `{san}` stands for the name that fits `san`"],
    );
    rule("{ issuer_dn: a, subject: '{email}' }", &["what stands between braces"]);
    let loaded = load_alone(&format!("{RIGHT}certificates: [{{ san: a, subject: b }}]\n")).unwrap();
    assert!(loaded.warnings.to_string().contains("none of its listeners asks for one"), "{}", loaded.warnings);
}

#[test]
fn client_certificates_need_an_authority() {
    let made = rcgen::generate_simple_self_signed(["gw.example.com".to_owned()]).unwrap();
    let sources = FakeSources::default()
        .with_file("/etc/lockgate/a.pem", &made.cert.pem())
        .with_file("/etc/lockgate/a.key", &made.signing_key.serialize_pem());
    let with = |more: &str| {
        let tls = format!("address: 127.0.0.1:8080, tls: {{ certificate: a.pem, key: a.key, {more} }}");
        load_with(&RIGHT.replace("address: 127.0.0.1:8080", &tls), &sources)
    };
    let asked = |more: &str| with(more).unwrap().config.listeners["main"].tls.clone().unwrap().client_certificates;
    assert_eq!(asked(""), None);
    assert_eq!(asked("client_ca: a.pem"), Some(ClientCertificates::Optional));
    assert_eq!(asked("client_ca: a.pem, client_certificates: required"), Some(ClientCertificates::Required));
    let report = with("client_certificates: required").unwrap_err();
    assert!(findings(&report)[0].contains("no client certificate would be believed"), "{report}");
}

#[test]
fn revocations_are_somewhere_and_fresh_enough() {
    let list = |text: &str, expected: &[&str]| expect("path", "path", &format!("revocations: {text}\n"), expected);
    list("{ url: 'https://a/revoked' }", &[]);
    list("{}", &["revocations: name the list: `file`, `url`, or both"]);
    list("{ file: revoked.yaml }", &["revocations.file: cannot read `/etc/lockgate/revoked.yaml`"]);
    list("{ url: 'https://a', refresh: 10m }", &["revocations.max_stale: the list would be too old"]);
    list("{ url: 'https://a', max_stale: 2d }", &["revocations.max_stale: this must be from 1s to 1d"]);
}

#[test]
fn exemptions_are_networks_and_hosts() {
    let config = config("path", "path", "egress: { allow: [10.0.0.0/8, idp.internal, '::1'] }\n");
    let allow: Vec<_> = config.egress.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["10.0.0.0/8", "idp.internal", "::1/128"]);
    expect(
        "path",
        "path",
        "egress: { allow: ['*.internal'] }\n",
        &["egress.allow[0]: wildcards are not supported here"],
    );
}

#[test]
fn one_server_of_a_listener_is_the_default_resource() {
    let two = "default: { path: /mcp, backends: [demo], auth: { default_resource: true } }\n  \
               other: { path: /o, backends: [demo], auth: { default_resource: true } }";
    let expected = "virtual_servers.other.auth.default_resource: virtual server `default` is the default resource";
    expect("default: { path: /mcp, backends: [demo] }", two, ISSUER, &[expected]);
}
