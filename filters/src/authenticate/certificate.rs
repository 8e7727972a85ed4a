//! Client certificates: which names within them stand for whom.
//!
//! That a certificate is genuine was settled in the TLS handshake; here its names are matched with rules, and the first rule
//! that fits says who it is. A `*` never crosses the boundaries within a name: not a `/` of a URI, not a `.` of a host, not
//! the `@` of a mail address, not one attribute of a distinguished name. So `spiffe://corp/ns/*/sa/agent` is one namespace's
//! agent, whatever namespaces are called.

use super::claims::NAME_BYTES_MAX;
use super::is_name;
use crate::exchange::UnixMillis;
use crate::federate::glob::Glob;
use crate::principal::{CERTIFICATES, Facts, Principal, Proof};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The most names of a certificate that are looked at.
pub const NAMES_MAX: usize = 64;
/// What stands in a rule's `subject` for the name that has matched.
const MATCHED: &str = "{san}";
/// The longest name and pattern, in bytes.
const TEXT_BYTES_MAX: usize = 2048;

/// An alternative name of a certificate's subject (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlternativeName {
    /// `uniformResourceIdentifier`, such as a SPIFFE id.
    Uri(Box<str>),
    /// `dNSName`.
    Dns(Box<str>),
    /// `rfc822Name`.
    Email(Box<str>),
}

/// A distinguished name: attribute types (by their short names, such as `CN`) and values, decoded, in the order in which RFC
/// 4514 writes them: the most specific first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistinguishedName(pub Vec<(Box<str>, Box<str>)>);

/// What a client certificate says, as far as rules look at it.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The subject's alternative names.
    pub names: Vec<AlternativeName>,
    /// The subject.
    pub subject: DistinguishedName,
    /// Who has issued it.
    pub issuer: DistinguishedName,
    /// The serial number, in hexadecimal digits.
    pub serial: Box<str>,
    /// The SHA-256 digest of its DER encoding: what tokens are bound to (RFC 8705).
    pub thumbprint: [u8; 32],
    /// The first moment at which it is no longer valid.
    pub expires: Option<UnixMillis>,
}

/// One rule, as configured: all patterns that are there must fit.
#[derive(Clone, Debug, Default)]
pub struct CertificateRule {
    /// A pattern for one of the alternative names: of a URI where it holds `://`, of a mail address where it holds `@`, else
    /// of a host.
    pub san: Option<Box<str>>,
    /// A pattern for the subject: `CN=agent-*,O=Corp`, as RFC 4514 writes it.
    pub subject_dn: Option<Box<str>>,
    /// A pattern for the issuer.
    pub issuer_dn: Option<Box<str>>,
    /// Who it is; `{san}` stands for the alternative name that has matched.
    pub subject: Box<str>,
    /// On whose behalf.
    pub tenant: Option<Box<str>>,
    /// Its teams.
    pub groups: Vec<Box<str>>,
    /// What it is given leave for; `None` where it is not limited by scopes.
    pub scopes: Option<Vec<Box<str>>>,
}

/// Why a rule is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// No pattern at all: it would be everybody.
    #[error("a certificate rule needs san, subject_dn or issuer_dn")]
    NoPattern,
    /// A pattern is empty or too long.
    #[error("a pattern has 1 to 2048 bytes")]
    Length,
    /// A pattern of a distinguished name is not `type=value,...`.
    #[error("a pattern of a distinguished name is written TYPE=value,TYPE=value")]
    DistinguishedName,
    /// `{san}` without a pattern for it.
    #[error("a subject with {{san}} needs a pattern for san")]
    NoName,
    /// Subject or tenant is no name.
    #[error("subject and tenant have 1 to 255 bytes and no control characters")]
    Name,
}

/// Why a certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// No rule fits.
    Unknown,
    /// It is no longer valid.
    Expired,
    /// The name that a rule makes of it is too long, or holds control characters.
    Name,
}

impl CertificateFault {
    /// The metric label: lower case, stable.
    pub const fn label(self) -> &'static str {
        match self {
            CertificateFault::Unknown => "unknown",
            CertificateFault::Expired => "expired",
            CertificateFault::Name => "name",
        }
    }

    /// What the operator's log says.
    pub const fn text(self) -> &'static str {
        match self {
            CertificateFault::Unknown => "no rule knows the client certificate",
            CertificateFault::Expired => "the client certificate has expired",
            CertificateFault::Name => "the client certificate's name cannot be a subject",
        }
    }
}

/// The rules, compiled.
#[derive(Debug, Default)]
pub struct Certificates(Box<[Rule]>);

#[derive(Debug)]
struct Rule {
    name: Option<NamePattern>,
    subject_dn: Option<DnPattern>,
    issuer_dn: Option<DnPattern>,
    says: CertificateRule,
}

impl Certificates {
    /// These rules, in this order.
    ///
    /// # Errors
    /// The place of the rule that is none, and why.
    pub fn new(rules: Vec<CertificateRule>) -> Result<Certificates, (usize, RuleFault)> {
        let compiled = rules.into_iter().enumerate().map(|(at, rule)| Rule::new(rule).map_err(|fault| (at, fault)));
        Ok(Certificates(compiled.collect::<Result<_, _>>()?))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who shows this certificate.
    ///
    /// # Errors
    /// [`CertificateFault`].
    pub fn verify(&self, certificate: &ClientCertificate, now: UnixMillis) -> Result<Arc<Principal>, CertificateFault> {
        if certificate.expires.is_some_and(|expires| now >= expires) {
            return Err(CertificateFault::Expired);
        }
        let fitting = self.0.iter().find_map(|rule| Some((rule, rule.matches(certificate)?)));
        let (rule, name) = fitting.ok_or(CertificateFault::Unknown)?;
        rule.principal(certificate, name)
    }
}

impl Rule {
    fn new(says: CertificateRule) -> Result<Rule, RuleFault> {
        let name = says.san.as_deref().map(NamePattern::new).transpose()?;
        let subject_dn = says.subject_dn.as_deref().map(DnPattern::new).transpose()?;
        let issuer_dn = says.issuer_dn.as_deref().map(DnPattern::new).transpose()?;
        if name.is_none() && subject_dn.is_none() && issuer_dn.is_none() {
            return Err(RuleFault::NoPattern);
        }
        if name.is_none() && says.subject.contains(MATCHED) {
            return Err(RuleFault::NoName);
        }
        let named = |text: &str| is_name(text, NAME_BYTES_MAX);
        if !named(&says.subject) || !says.tenant.as_deref().is_none_or(named) {
            return Err(RuleFault::Name);
        }
        Ok(Rule { name, subject_dn, issuer_dn, says })
    }

    /// The name that has matched, which is empty where the rule looks at none; `None` where the rule does not fit.
    fn matches<'a>(&self, certificate: &'a ClientCertificate) -> Option<&'a str> {
        let fits = |pattern: &Option<DnPattern>, name| pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
        if !fits(&self.subject_dn, &certificate.subject) || !fits(&self.issuer_dn, &certificate.issuer) {
            return None;
        }
        match &self.name {
            None => Some(""),
            Some(pattern) => certificate.names.iter().take(NAMES_MAX).find_map(|name| pattern.matches(name)),
        }
    }

    fn principal(&self, certificate: &ClientCertificate, name: &str) -> Result<Arc<Principal>, CertificateFault> {
        let subject = self.says.subject.replace(MATCHED, name);
        if !is_name(&subject, NAME_BYTES_MAX) {
            return Err(CertificateFault::Name);
        }
        let mut claims = Map::new();
        if !name.is_empty() {
            claims.insert("san".to_owned(), Value::from(name));
        }
        Ok(Arc::new(Principal::new(Facts {
            issuer: CERTIFICATES.into(),
            subject: subject.into(),
            tenant: self.says.tenant.as_deref().map(Into::into),
            groups: self.says.groups.clone().into(),
            scopes: self.says.scopes.clone().map(Into::into),
            proof: Proof::Certificate,
            claims: Arc::new(claims),
            expires: certificate.expires,
            credential: Some(certificate.serial.clone()),
        })))
    }
}

/// A pattern for an alternative name of one kind, cut at the boundaries of that kind.
#[derive(Debug)]
enum NamePattern {
    Uri(Box<[Glob]>),
    Email { local: Glob, host: Box<[Glob]> },
    Dns(Box<[Glob]>),
}

impl NamePattern {
    fn new(text: &str) -> Result<NamePattern, RuleFault> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(RuleFault::Length);
        }
        Ok(if text.contains("://") {
            NamePattern::Uri(globs(text, '/'))
        } else if let Some((local, host)) = text.rsplit_once('@') {
            NamePattern::Email { local: Glob::new(local), host: globs(&host.to_ascii_lowercase(), '.') }
        } else {
            NamePattern::Dns(globs(&text.to_ascii_lowercase(), '.'))
        })
    }

    fn matches<'a>(&self, name: &'a AlternativeName) -> Option<&'a str> {
        let text = match (self, name) {
            (NamePattern::Uri(_), AlternativeName::Uri(text))
            | (NamePattern::Email { .. }, AlternativeName::Email(text))
            | (NamePattern::Dns(_), AlternativeName::Dns(text)) => text,
            _ => return None,
        };
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let fits = match self {
            // Whoever resolves dots sees another path than the one that is matched.
            NamePattern::Uri(globs) => {
                !text.split('/').any(|part| part == "." || part == "..") && all(globs, text, '/')
            }
            NamePattern::Email { local, host } => text
                .rsplit_once('@')
                .is_some_and(|(mailbox, at)| local.matches(mailbox) && all(host, &at.to_ascii_lowercase(), '.')),
            NamePattern::Dns(globs) => all(globs, &text.to_ascii_lowercase(), '.'),
        };
        fits.then_some(&**text)
    }
}

fn globs(pattern: &str, boundary: char) -> Box<[Glob]> {
    pattern.split(boundary).map(Glob::new).collect()
}

/// Whether each part fits the glob at its place, and there are as many.
fn all(globs: &[Glob], text: &str, boundary: char) -> bool {
    let mut parts = text.split(boundary);
    globs.iter().all(|glob| parts.next().is_some_and(|part| glob.matches(part))) && parts.next().is_none()
}

/// A pattern for a distinguished name: the same attributes in the same order, each value with a glob of its own.
#[derive(Debug)]
struct DnPattern(Box<[(Box<str>, Glob)]>);

impl DnPattern {
    fn new(text: &str) -> Result<DnPattern, RuleFault> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return Err(RuleFault::Length);
        }
        let attributes = unescaped_split(text).ok_or(RuleFault::DistinguishedName)?;
        let read = |attribute: &String| {
            let (kind, value) = attribute.split_once('=')?;
            let kind = kind.trim();
            let named = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
            named.then(|| (kind.into(), Glob::new(value)))
        };
        attributes.iter().map(read).collect::<Option<_>>().map(DnPattern).ok_or(RuleFault::DistinguishedName)
    }

    fn matches(&self, name: &DistinguishedName) -> bool {
        let fits = |(at, (kind, glob)): (usize, &(Box<str>, Glob))| {
            name.0.get(at).is_some_and(|(of, value)| {
                kind.eq_ignore_ascii_case(of) && value.len() <= TEXT_BYTES_MAX && glob.matches(value)
            })
        };
        self.0.len() == name.0.len() && self.0.iter().enumerate().all(fits)
    }
}

/// Cuts at commas and takes `\` off what it stands before; `None` where nothing follows it.
fn unescaped_split(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ',' => parts.push(String::new()),
            other => parts.last_mut()?.push(if other == '\\' { characters.next()? } else { other }),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dn(text: &str) -> DistinguishedName {
        let pair = |part: &str| part.split_once('=').map(|(kind, value)| (kind.into(), value.into())).unwrap();
        DistinguishedName(text.split(',').map(pair).collect())
    }

    fn certificate(names: &[AlternativeName]) -> ClientCertificate {
        ClientCertificate {
            names: names.to_vec(),
            subject: dn("CN=agent-7,O=Corp"),
            issuer: dn("CN=Clients,O=Corp"),
            serial: "0a".into(),
            thumbprint: [1; 32],
            expires: Some(UnixMillis(1_000)),
        }
    }

    fn uri(text: &str) -> AlternativeName {
        AlternativeName::Uri(text.into())
    }

    fn rule(san: &str) -> CertificateRule {
        CertificateRule { san: Some(san.into()), subject: MATCHED.into(), ..CertificateRule::default() }
    }

    fn subject(rule: CertificateRule, names: &[AlternativeName]) -> Option<String> {
        let rules = Certificates::new(vec![rule]).unwrap();
        rules.verify(&certificate(names), UnixMillis(0)).ok().map(|who| who.facts().subject.to_string())
    }

    #[test]
    fn a_spiffe_id_stands_for_a_principal() {
        let pattern = "spiffe://corp/ns/*/sa/agent";
        let own = "spiffe://corp/ns/data/sa/agent";
        assert_eq!(subject(rule(pattern), &[AlternativeName::Dns("x".into()), uri(own)]).as_deref(), Some(own));
        for other in [
            "spiffe://corp/ns/data/sa/agents",
            "spiffe://corp/ns/a/b/sa/agent",
            "spiffe://corp/ns/x/sa/agent/ns/y/sa/agent",
            "spiffe://evil/ns/data/sa/agent",
            "spiffe://corp.evil/ns/data/sa/agent",
            "spiffe://corp/ns/../sa/agent",
            "SPIFFE://corp/ns/data/sa/agent",
            "",
        ] {
            assert_eq!(subject(rule(pattern), &[uri(other)]), None, "{other}");
        }
        assert_eq!(
            subject(rule(pattern), &[AlternativeName::Dns(own.into()), AlternativeName::Email(own.into())]),
            None
        );
    }

    #[test]
    fn hosts_and_mail_addresses_have_their_boundaries() {
        let dns = |pattern: &str, name: &str| subject(rule(pattern), &[AlternativeName::Dns(name.into())]).is_some();
        assert!(
            dns("*.agents.corp", "A.Agents.Corp") && !dns("*.agents.corp", "a.b.agents.corp") && !dns("*.corp", "corp")
        );
        let email =
            |pattern: &str, name: &str| subject(rule(pattern), &[AlternativeName::Email(name.into())]).is_some();
        assert!(email("*@corp.example", "a.b@CORP.example") && !email("*@corp.example", "a@evil.corp.example"));
        assert!(!email("a@corp.example", "A@corp.example") && email("*@corp.example", "x@y@corp.example"));
        assert!(!email("bot-*@corp.example", "x@corp.example"));
    }

    #[test]
    fn all_patterns_of_a_rule_must_fit_and_the_first_rule_wins() {
        let by_name = |subject_dn: &str, issuer_dn: &str, who: &str| CertificateRule {
            subject_dn: Some(subject_dn.into()),
            issuer_dn: Some(issuer_dn.into()),
            subject: who.into(),
            ..CertificateRule::default()
        };
        let rules = Certificates::new(vec![
            by_name("CN=agent-*,O=Corp", "CN=Servers,O=Corp", "wrong issuer"),
            by_name("CN=agent-*,O=Corp,C=*", "CN=*,O=Corp", "too many attributes"),
            by_name("O=Corp,CN=agent-*", "CN=*,O=Corp", "another order"),
            by_name("cn=agent-*, o=Corp", "CN=Clients,O=Corp", "first"),
            by_name("CN=*,O=*", "CN=*,O=*", "second"),
        ]);
        let who = rules.unwrap().verify(&certificate(&[]), UnixMillis(0)).unwrap();
        assert_eq!((&*who.facts().subject, &*who.facts().issuer), ("first", CERTIFICATES));
        assert_eq!((who.facts().credential.as_deref(), who.facts().expires), (Some("0a"), Some(UnixMillis(1_000))));
    }

    #[test]
    fn a_value_with_a_comma_is_one_value() {
        let rule = CertificateRule {
            subject_dn: Some("CN=*,O=Corp".into()),
            subject: "x".into(),
            ..CertificateRule::default()
        };
        let rules = Certificates::new(vec![rule]).unwrap();
        let mut shown = certificate(&[]);
        shown.subject = DistinguishedName(vec![("CN".into(), "x,O=Corp".into())]);
        assert_eq!(rules.verify(&shown, UnixMillis(0)).unwrap_err(), CertificateFault::Unknown);
        let pattern = DnPattern::new("CN=a\\,b,O=\\*").unwrap();
        assert!(pattern.matches(&DistinguishedName(vec![("CN".into(), "a,b".into()), ("O".into(), "*".into())])));
    }

    #[test]
    fn a_certificate_ends_at_its_millisecond() {
        let rules = Certificates::new(vec![CertificateRule {
            san: Some("*.x".into()),
            subject: "x".into(),
            ..Default::default()
        }]);
        let (rules, shown) = (rules.unwrap(), certificate(&[AlternativeName::Dns("a.x".into())]));
        let at = |now| rules.verify(&shown, UnixMillis(now)).err();
        assert_eq!(
            (at(999), at(1_000), at(1_001)),
            (None, Some(CertificateFault::Expired), Some(CertificateFault::Expired))
        );
    }

    #[test]
    fn a_rule_is_checked() {
        let fault = |rule: CertificateRule| Certificates::new(vec![rule]).unwrap_err().1;
        let named = |subject: &str| CertificateRule { subject: subject.into(), ..CertificateRule::default() };
        assert_eq!(fault(named("x")), RuleFault::NoPattern);
        assert_eq!(fault(CertificateRule { san: Some("".into()), ..named("x") }), RuleFault::Length);
        assert_eq!(fault(CertificateRule { san: Some("a".into()), ..named("") }), RuleFault::Name);
        assert_eq!(fault(CertificateRule { subject_dn: Some("CN=x".into()), ..named("{san}") }), RuleFault::NoName);
        for wrong in ["CN", "=x", "C N=x", "CN=x,", "CN=x\\"] {
            let rule = CertificateRule { subject_dn: Some(wrong.into()), ..named("x") };
            assert_eq!(fault(rule), RuleFault::DistinguishedName, "{wrong}");
        }
    }

    #[test]
    fn a_name_that_cannot_be_a_subject_is_refused() {
        let rules = Certificates::new(vec![rule("x://*")]).unwrap();
        for name in [format!("x://{}", "a".repeat(300)), "x://a\nb".to_owned()] {
            let answer = rules.verify(&certificate(&[uri(&name)]), UnixMillis(0));
            assert_eq!(answer.unwrap_err(), CertificateFault::Name);
        }
        let many: Vec<_> = std::iter::repeat_n(uri("y://"), NAMES_MAX).chain([uri("x://a")]).collect();
        assert_eq!(rules.verify(&certificate(&many), UnixMillis(0)).unwrap_err(), CertificateFault::Unknown);
    }

    proptest! {
        #[test]
        fn a_star_never_crosses_a_boundary(name in "[a/.]{0,8}") {
            let found = subject(rule("x://*/end"), &[uri(&format!("x://{name}/end"))]);
            prop_assert_eq!(found.is_some(), !name.contains('/') && name != "." && name != "..");
        }
    }
}
