//! Who callers are, from the configuration's words to those of the rooms that find it out.

use crate::config::Objection;
use crate::config::model::Config;
use crate::config::path::KeyPath;
use crate::config::sections::{self, ClientAuthMethod, TokenProfile};
use crate::config::values::Reach;
use crate::egress::{Rules as EgressRules, Trust};
use crate::identity::{ClientAuth, IntrospectionSettings, IssuerSettings, KeySettings, KeysFrom, RevocationSettings};
use lockgate_filters::authenticate::algorithm::{Algorithm, Algorithms};
use lockgate_filters::authenticate::api_key::{ApiKeyEntry, ApiKeys, KeyHash};
use lockgate_filters::authenticate::certificate::{CertificateRule, Certificates};
use lockgate_filters::authenticate::claims::Mapping;
use lockgate_filters::authenticate::profile::Profile;
use lockgate_filters::authenticate::selector::{Selector, SelectorFault};
use lockgate_filters::authenticate::verify::Rules;
use lockgate_filters::exchange::UnixMillis;
use std::path::Path;
use zeroize::Zeroizing;

/// The longest file of keys or certificates that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Where the gateway may fetch from, whoever says so.
pub fn egress(config: &Config) -> EgressRules {
    let allow = &config.egress.allow;
    let networks = allow.iter().filter_map(|reach| match reach {
        Reach::Network(network) => Some(*network.net()),
        Reach::Host(_) => None,
    });
    let hosts = allow.iter().filter_map(|reach| match reach {
        Reach::Host(name) => Some(name.clone()),
        Reach::Network(_) => None,
    });
    EgressRules::new(networks, hosts)
}

/// The issuers. Reads the files that they name: it blocks.
///
/// # Errors
/// Every file that cannot be read.
pub fn issuers(config: &Config) -> Result<Vec<IssuerSettings>, Vec<Objection>> {
    let (mut issuers, mut wrong) = (Vec::new(), Vec::new());
    for (name, issuer) in &config.issuers {
        let path = KeyPath::from(["issuers", name.as_str()]);
        let read = |key: KeyPath, file: &Path| {
            read_file(file).map_err(|error| Objection::new(key, format!("it cannot be read: {error}")))
        };
        let from = match (&issuer.jwks_url, &issuer.jwks_file, &issuer.jwks) {
            (Some(url), ..) => Ok(KeysFrom::Url(url.url().clone())),
            (_, Some(file), _) => read(path.key("jwks_file"), file).map(|set| KeysFrom::Given(set.into())),
            (.., Some(set)) => Ok(KeysFrom::Given(set.clone().into())),
            (None, None, None) => Ok(KeysFrom::Discovery(issuer.issuer.url().clone())),
        };
        let ca = issuer.tls.as_ref().map(|tls| read(path.key("tls").key("ca"), &tls.ca)).transpose();
        match (from, ca) {
            (Ok(from), Ok(ca)) => issuers.push(IssuerSettings {
                name: name.shared(),
                keys: KeySettings {
                    issuer: issuer.issuer.as_str().into(),
                    from,
                    refresh: issuer.refresh.get(),
                    max_stale: issuer.max_stale.get(),
                    trust: Trust { ca: ca.map(Into::into), identity: None },
                },
                introspection: issuer.introspection.as_ref().map(introspection),
            }),
            (from, ca) => wrong.extend(from.err().into_iter().chain(ca.err())),
        }
    }
    if wrong.is_empty() { Ok(issuers) } else { Err(wrong) }
}

fn read_file(file: &Path) -> std::io::Result<Vec<u8>> {
    let length = std::fs::metadata(file)?.len();
    if length > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is longer than {} KiB", FILE_BYTES_MAX >> 10)));
    }
    std::fs::read(file)
}

fn introspection(settings: &sections::Introspection) -> IntrospectionSettings {
    IntrospectionSettings {
        url: settings.url.url().clone(),
        client_id: settings.client_id.as_str().into(),
        client_secret: Zeroizing::new(settings.client_secret.expose().to_owned()),
        method: match settings.method {
            ClientAuthMethod::ClientSecretBasic => ClientAuth::Basic,
            ClientAuthMethod::ClientSecretPost => ClientAuth::Post,
        },
    }
}

/// How an issuer's tokens are judged.
pub fn token_rules(issuer: &sections::Issuer) -> Rules {
    let algorithms = issuer.algorithms.iter().filter_map(|algorithm| Algorithm::named(algorithm.name()));
    Rules {
        issuer: issuer.issuer.as_str().into(),
        profile: profile(issuer.profile),
        algorithms: algorithms.collect::<Algorithms>(),
        leeway_millis: issuer.leeway.as_millis(),
    }
}

const fn profile(profile: TokenProfile) -> Profile {
    match profile {
        TokenProfile::Rfc9068 => Profile::Rfc9068,
        TokenProfile::Entra => Profile::Entra,
        TokenProfile::Keycloak => Profile::Keycloak,
        TokenProfile::Okta => Profile::Okta,
        TokenProfile::Auth0 => Profile::Auth0,
    }
}

/// What an issuer's claims mean; `path` is that of its section.
///
/// # Errors
/// The first place that is none.
pub fn claims(path: &KeyPath, issuer: &sections::Issuer) -> Result<Mapping, Objection> {
    let mut mapping = Mapping::of(profile(issuer.profile));
    let names = &issuer.claims;
    let path = path.key("claims");
    let place = |key: &str, claim: &crate::config::values::ClaimPath| {
        Selector::parse(claim.as_str()).map_err(|fault: SelectorFault| Objection::new(path.key(key), fault.to_string()))
    };
    if let Some(subject) = &names.subject {
        mapping.subject = place("subject", subject)?;
    }
    if let Some(tenant) = &names.tenant {
        mapping.tenant = Some(place("tenant", tenant)?);
    }
    if let Some(groups) = &names.groups {
        mapping.groups = Some(place("groups", groups)?);
    }
    if let Some(scopes) = &names.scopes {
        mapping.scopes = Box::new([place("scopes", scopes)?]);
    }
    Ok(mapping)
}

/// The API keys.
///
/// # Errors
/// Why they are none.
pub fn api_keys(config: &Config) -> Result<ApiKeys, Objection> {
    let path = KeyPath::from(["api_keys"]);
    let entry = |key: &sections::ApiKey| {
        let hash = KeyHash::parse(&key.hash.to_string());
        Ok(ApiKeyEntry {
            id: key.id.as_str().into(),
            hash: hash.ok_or_else(|| Objection::new(path.clone(), "a key's hash cannot be read"))?,
            subject: key.subject.as_deref().unwrap_or(key.id.as_str()).into(),
            tenant: key.tenant.as_deref().map(Into::into),
            groups: boxed(&key.groups),
            scopes: key.scopes.as_ref().map(|scopes| scopes.iter().map(|scope| scope.as_str().into()).collect()),
            expires: key.expires.as_ref().map(|end| UnixMillis(end.unix_seconds().saturating_mul(1_000))),
            virtual_servers: key
                .virtual_servers
                .as_ref()
                .map(|servers| servers.iter().map(|name| name.as_str().into()).collect()),
        })
    };
    let entries = config.api_keys.keys.iter().map(entry).collect::<Result<Vec<_>, Objection>>()?;
    ApiKeys::new(entries).map_err(|fault| Objection::new(path.clone(), fault.to_string()))
}

/// Who client certificates speak for.
///
/// # Errors
/// The first rule that is none.
pub fn certificates(config: &Config) -> Result<Certificates, Objection> {
    let rule = |rule: &sections::CertificateRule| CertificateRule {
        san: rule.san.as_ref().map(|glob| glob.as_str().into()),
        subject_dn: rule.subject_dn.as_ref().map(|glob| glob.as_str().into()),
        issuer_dn: rule.issuer_dn.as_ref().map(|glob| glob.as_str().into()),
        subject: rule.subject.as_str().into(),
        tenant: rule.tenant.as_deref().map(Into::into),
        groups: boxed(&rule.groups),
        scopes: rule.scopes.as_ref().map(|scopes| scopes.iter().map(|scope| scope.as_str().into()).collect()),
    };
    Certificates::new(config.certificates.iter().map(rule).collect())
        .map_err(|(at, fault)| Objection::new(KeyPath::from(["certificates"]).index(at), fault.to_string()))
}

fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

/// Where it is said what no longer counts.
pub fn revocations(config: &Config) -> Option<RevocationSettings> {
    config.revocations.as_ref().map(|lists| RevocationSettings {
        file: lists.file.clone(),
        url: lists.url.as_ref().map(|url| url.url().clone()),
        refresh: lists.refresh.get(),
        max_stale: lists.max_stale.get(),
    })
}
