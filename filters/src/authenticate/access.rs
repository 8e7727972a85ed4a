//! Who is let in at a virtual server, and by which proof.

use super::api_key::ApiKeys;
use super::audience::Audiences;
use super::cache::{Context, Entry, Found, Key, TokenCache};
use super::certificate::{Certificates, ClientCertificate};
use super::claims::Mapping;
use super::credentials::{self, CredentialFault, Shown};
use super::fault::TokenFault;
use super::generation::Generation;
use super::keys::KeySet;
use super::revoked::{Revocations, Standing};
use super::token::{Presented, Shape};
use super::verify::{Circumstances, Rules, Verified};
use crate::exchange::UnixMillis;
use crate::principal::{Principal, Proof};
use http::HeaderMap;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// Whether callers must prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nobody is let in without a proof.
    Required,
    /// Who shows nothing is anonymous. Who shows something must prove it.
    Optional,
}

/// The keys that an issuer's tokens are verified with at some moment.
#[derive(Clone, Debug)]
pub struct Believed {
    /// The keys.
    pub keys: Arc<KeySet>,
    /// Ends when they change.
    pub generation: Generation,
    /// Until when they are believed if they cannot be fetched again.
    pub until: Option<UnixMillis>,
}

/// Where the keys of an issuer are, as they come and go.
pub trait KeySource: Send + Sync {
    /// The keys that are believed at this moment; `None` where there are none.
    fn believed(&self, now: UnixMillis) -> Option<Believed>;
}

/// An issuer of tokens that are taken.
pub struct Issuer {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How its tokens are judged.
    pub rules: Rules,
    /// What its claims mean.
    pub mapping: Mapping,
    /// Its keys.
    pub keys: Arc<dyn KeySource>,
    /// Whether it can be asked about tokens that only it understands.
    pub introspects: bool,
    /// For how long an answer to that counts, in milliseconds.
    pub introspection_millis: u64,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is revoked, as it changes.
pub trait RevocationSource: Send + Sync {
    /// The list as it is now.
    fn current(&self) -> Arc<Revocations>;
}

/// By which proofs callers are let in.
pub struct Access {
    /// Whether there must be one.
    pub mode: Mode,
    /// Whose tokens are taken.
    pub issuers: Box<[Arc<Issuer>]>,
    /// Which API keys are taken.
    pub api_keys: Option<Arc<ApiKeys>>,
    /// Which client certificates are taken.
    pub certificates: Option<Arc<Certificates>>,
    /// What no longer counts, whatever else proves it.
    pub revocations: Option<Arc<dyn RevocationSource>>,
    /// Whom tokens must be for.
    pub audiences: Audiences,
    /// The name of the virtual server, as API keys are limited by it.
    pub server: Arc<str>,
    /// Tokens that were verified before.
    pub tokens: Arc<TokenCache>,
    context: Context,
}

/// What an [`Access`] is made of, but for what follows from it.
pub struct AccessParts {
    /// [`Access::mode`].
    pub mode: Mode,
    /// [`Access::issuers`].
    pub issuers: Box<[Arc<Issuer>]>,
    /// [`Access::api_keys`].
    pub api_keys: Option<Arc<ApiKeys>>,
    /// [`Access::certificates`].
    pub certificates: Option<Arc<Certificates>>,
    /// [`Access::revocations`].
    pub revocations: Option<Arc<dyn RevocationSource>>,
    /// [`Access::audiences`].
    pub audiences: Audiences,
    /// [`Access::server`].
    pub server: Arc<str>,
    /// [`Access::tokens`].
    pub tokens: Arc<TokenCache>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// Nothing was shown.
    Nothing,
    /// What was shown is no credential, or stands where none may.
    Credential(CredentialFault),
    /// What was shown proves nothing.
    Invalid(&'static str),
    /// What was shown cannot be judged now.
    Unknown(&'static str),
}

impl NotAdmitted {
    /// The reason in metrics and logs: lower case, stable.
    pub const fn label(self) -> &'static str {
        match self {
            NotAdmitted::Nothing => "no_credentials",
            NotAdmitted::Credential(fault) => fault.label(),
            NotAdmitted::Invalid(label) | NotAdmitted::Unknown(label) => label,
        }
    }
}

/// What must be found out before somebody can be let in.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// The keys of an issuer again: the one that a token was signed with is not among them.
    Keys(Arc<Issuer>),
    /// What the issuers say of a token that only they understand.
    Opinion(Opaque),
}

/// A token that only its issuer understands.
#[derive(Clone)]
pub struct Opaque {
    /// The token.
    pub token: Box<str>,
    /// The certificate that it came with.
    pub certificate: Option<[u8; 32]>,
}

/// Tokens are not printed.
impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opaque")
    }
}

/// What is said to somebody who comes.
#[derive(Debug)]
pub enum Admission {
    /// Come in.
    Known(Arc<Principal>),
    /// Come in, whoever it is.
    Anonymous,
    /// Wait.
    Wait(Wanted),
    /// No.
    No(NotAdmitted),
}

/// What somebody shows.
#[derive(Clone, Copy, Debug)]
pub struct Coming<'a> {
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The query.
    pub query: Option<&'a str>,
    /// The client certificate of the connection.
    pub certificate: Option<&'a ClientCertificate>,
    /// When.
    pub now: UnixMillis,
    /// Whether what was wanted has been looked for already.
    pub waited: bool,
}

impl Access {
    /// With everything that follows from it.
    pub fn new(parts: AccessParts) -> Access {
        let AccessParts { mode, issuers, api_keys, certificates, revocations, audiences, server, tokens } = parts;
        let named = issuers.iter().flat_map(|issuer| [&*issuer.name, &*issuer.rules.issuer]);
        let texts: Vec<&str> =
            std::iter::once(&*server).chain(audiences.iter()).chain(["issuers"]).chain(named).collect();
        let context = Context::of(texts);
        Access { mode, issuers, api_keys, certificates, revocations, audiences, server, tokens, context }
    }

    /// Whether somebody is let in, and as whom.
    pub fn admit(&self, coming: Coming<'_>) -> Admission {
        let shown = match credentials::shown(coming.headers, coming.query) {
            Ok(shown) => shown,
            Err(fault) => return Admission::No(NotAdmitted::Credential(fault)),
        };
        let found = match shown {
            Shown::Bearer(token) => self.bearer(token, coming),
            Shown::ApiKey(key) => self.api_key(key, coming.now),
            Shown::Nothing => self.certificate(coming),
        };
        match found {
            Admission::Known(principal) => match self.check(&principal, coming.now) {
                Ok(()) => Admission::Known(principal),
                Err(why) => Admission::No(why),
            },
            other => other,
        }
    }

    /// Whether somebody who was let in may stay: nothing has been revoked, and the proof has not ended.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, principal: &Principal, now: UnixMillis) -> Result<(), NotAdmitted> {
        if !principal.is_current(now) {
            return Err(NotAdmitted::Invalid(TokenFault::Expired.label()));
        }
        let Some(revocations) = self.revocations.as_ref().filter(|_| !principal.is_anonymous()) else { return Ok(()) };
        match revocations.current().standing(principal, now) {
            Standing::Clear => Ok(()),
            stale @ Standing::Stale => Err(NotAdmitted::Unknown(stale.label())),
            revoked => Err(NotAdmitted::Invalid(revoked.label())),
        }
    }

    /// Whether proofs of this kind, and of this issuer, are taken here: somebody who was let in may stay over a reload.
    pub fn takes(&self, principal: &Principal, now: UnixMillis) -> bool {
        match &principal.facts().proof {
            Proof::Nothing => self.mode == Mode::Optional,
            Proof::ApiKey => self.api_keys.as_ref().is_some_and(|keys| {
                principal
                    .facts()
                    .credential
                    .as_deref()
                    .is_some_and(|id| keys.still_has(id, principal, &self.server, now))
            }),
            Proof::Certificate => self.certificates.is_some(),
            Proof::Token { issuer } | Proof::Introspection { issuer } => {
                let named = self.issuers.iter().find(|known| known.name == *issuer);
                named.is_some_and(|known| {
                    let keyed = matches!(principal.facts().proof, Proof::Introspection { .. })
                        || known.keys.believed(now).is_some();
                    *known.rules.issuer == *principal.facts().issuer && keyed
                })
            }
        }
    }

    /// Keeps what the issuers have said of a token: the one that vouches for it first, or else why none does.
    ///
    /// # Errors
    /// Why it is not kept as a good one.
    pub fn hear(
        &self,
        issuer: &Issuer,
        generation: Generation,
        opaque: &Opaque,
        answer: Map<String, Value>,
        now: UnixMillis,
    ) -> Result<(), TokenFault> {
        let certificate = opaque.certificate.as_ref();
        let at = Circumstances { audiences: &self.audiences, certificate, now };
        let verified = issuer.rules.introspected(answer, at, issuer.introspection_millis)?;
        let proof = Proof::Introspection { issuer: Arc::clone(&issuer.name) };
        let entry = entry(issuer, verified, proof, generation, None)?;
        self.tokens.keep(Key::of(&self.context, &opaque.token), entry, now);
        Ok(())
    }

    /// Remembers for a short time that no issuer vouches for a token.
    pub fn dismiss(&self, generation: Generation, opaque: &Opaque, fault: TokenFault, now: UnixMillis) {
        self.tokens.refuse(Key::of(&self.context, &opaque.token), fault, generation, now);
    }

    fn bearer(&self, token: &str, coming: Coming<'_>) -> Admission {
        let key = Key::of(&self.context, token);
        let certificate = coming.certificate.map(|certificate| &certificate.thumbprint);
        match self.tokens.find(&key, certificate, coming.now) {
            Found::Verified(entry) => return Admission::Known(Arc::clone(&entry.principal)),
            Found::Refused(fault) => return Admission::No(NotAdmitted::Invalid(fault.label())),
            Found::Unknown => {}
        }
        if Shape::of(token) == Shape::Opaque {
            return self.opaque(token, coming);
        }
        let presented = match Presented::parse(token) {
            Ok(presented) => presented,
            Err(fault) => return Admission::No(NotAdmitted::Invalid(fault.label())),
        };
        let claimed = presented.claimed_issuer();
        let issuer = self.issuers.iter().find(|issuer| Some(&*issuer.rules.issuer) == claimed);
        let Some(issuer) = issuer else { return Admission::No(NotAdmitted::Invalid(TokenFault::Issuer.label())) };
        let Some(believed) = issuer.keys.believed(coming.now) else {
            return match coming.waited {
                false => Admission::Wait(Wanted::Keys(Arc::clone(issuer))),
                true => Admission::No(NotAdmitted::Unknown("no_keys")),
            };
        };
        let at = Circumstances { audiences: &self.audiences, certificate, now: coming.now };
        let proof = Proof::Token { issuer: Arc::clone(&issuer.name) };
        let Believed { keys, generation, until } = believed;
        let verified = issuer.rules.verify(presented, &keys, at);
        match verified.and_then(|verified| entry(issuer, verified, proof, generation.clone(), until)) {
            Ok(entry) => {
                let principal = Arc::clone(&entry.principal);
                self.tokens.keep(key, entry, coming.now);
                Admission::Known(principal)
            }
            Err(TokenFault::UnknownKey) if !coming.waited => Admission::Wait(Wanted::Keys(Arc::clone(issuer))),
            Err(fault) => {
                self.tokens.refuse(key, fault, generation, coming.now);
                Admission::No(NotAdmitted::Invalid(fault.label()))
            }
        }
    }

    fn opaque(&self, token: &str, coming: Coming<'_>) -> Admission {
        if !self.issuers.iter().any(|issuer| issuer.introspects) {
            return Admission::No(NotAdmitted::Invalid(TokenFault::Malformed.label()));
        }
        // What the issuers say is kept, unless they do not vouch for it: then it was said where it was asked.
        if coming.waited {
            return Admission::No(NotAdmitted::Invalid(TokenFault::Inactive.label()));
        }
        let certificate = coming.certificate.map(|certificate| certificate.thumbprint);
        Admission::Wait(Wanted::Opinion(Opaque { token: token.into(), certificate }))
    }

    fn api_key(&self, key: &str, now: UnixMillis) -> Admission {
        let Some(keys) = &self.api_keys else { return Admission::No(NotAdmitted::Invalid("no_api_keys")) };
        match keys.verify(key, &self.server, now) {
            Ok(principal) => Admission::Known(principal),
            Err(fault) => Admission::No(NotAdmitted::Invalid(fault.label())),
        }
    }

    fn certificate(&self, coming: Coming<'_>) -> Admission {
        let nobody = match self.mode {
            Mode::Required => Admission::No(NotAdmitted::Nothing),
            Mode::Optional => Admission::Anonymous,
        };
        let (Some(rules), Some(certificate)) = (&self.certificates, coming.certificate) else { return nobody };
        match rules.verify(certificate, coming.now) {
            Ok(principal) => Admission::Known(principal),
            Err(fault) => Admission::No(NotAdmitted::Invalid(fault.label())),
        }
    }
}

fn entry(
    issuer: &Issuer,
    verified: Verified,
    proof: Proof,
    generation: Generation,
    valid_until: Option<UnixMillis>,
) -> Result<Arc<Entry>, TokenFault> {
    let (audience, bound) = (verified.audience.clone(), verified.bound);
    let facts = issuer.mapping.facts(verified, &issuer.rules.issuer, proof)?;
    let (principal, issuer) = (Arc::new(Principal::new(facts)), Arc::clone(&issuer.name));
    Ok(Arc::new(Entry { principal, issuer, audience, bound, generation, valid_until }))
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("server", &self.server).field("mode", &self.mode).finish_non_exhaustive()
    }
}
