//! From a presented token to a verified one.
//!
//! Algorithm, signature, issuer and audience are checked by the `jsonwebtoken` crate, times by us with the time that is
//! passed in. What the crate is lenient about is refused before it is asked: an `iss` that is a list, an audience that is
//! missing, headers that demand more.

use super::algorithm::Algorithms;
use super::audience::Audiences;
use super::clock::Validity;
use super::fault::TokenFault;
use super::keys::KeySet;
use super::profile::{Profile, check_no_other_kind};
use super::token::Presented;
use crate::exchange::UnixMillis;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// The longest `jti`, in bytes.
pub const TOKEN_ID_BYTES_MAX: usize = 256;
/// The member of `cnf` that names a client certificate (RFC 8705 section 3.1).
const CERTIFICATE: &str = "x5t#S256";

/// How the tokens of one issuer are judged.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `iss`, exactly.
    pub issuer: Arc<str>,
    /// What its access tokens look like.
    pub profile: Profile,
    /// What it may sign with.
    pub algorithms: Algorithms,
    /// How much its clock and ours may differ, in milliseconds; at most [`super::clock::LEEWAY_MILLIS_MAX`] counts.
    pub leeway_millis: u64,
}

/// What came with the token, and when.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The audiences that are accepted where the request goes.
    pub audiences: &'a Audiences,
    /// The SHA-256 thumbprint of the client certificate that the connection shows, DER encoded.
    pub certificate: Option<&'a [u8; 32]>,
    /// The time.
    pub now: UnixMillis,
}

/// What a token proves.
pub struct Verified {
    /// What it says.
    pub claims: Map<String, Value>,
    /// The first moment at which it no longer counts; the leeway is in it.
    pub expires: UnixMillis,
    /// `jti`.
    pub id: Option<Box<str>>,
    /// The accepted audience that it is for.
    pub audience: Box<str>,
    /// The client certificate that it is bound to, and counts for nobody without.
    pub bound: Option<[u8; 32]>,
}

/// What a token says is not printed.
impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Rules {
    /// Verifies a token with the issuer's keys.
    ///
    /// # Errors
    /// [`TokenFault`]: what can be seen without a key comes first, so that nobody has signatures checked for nothing.
    pub fn verify(&self, token: Presented<'_>, keys: &KeySet, at: Circumstances<'_>) -> Result<Verified, TokenFault> {
        if !self.algorithms.contains(token.algorithm) {
            return Err(TokenFault::Algorithm);
        }
        self.profile.check_typ(token.typ.as_deref())?;
        if token.claimed_issuer() != Some(&*self.issuer) {
            return Err(TokenFault::Issuer);
        }
        let audience = at.audiences.find(&token.claims)?;
        let candidates = keys.candidates(token.key.as_deref(), token.algorithm)?;
        let validation = self.validation(&token, audience);
        self.check_signature(&token, &candidates, &validation)?;
        let expires = Validity::read(&token.claims)?.check(at.now, self.leeway_millis)?;
        self.profile.check_kind(token.typ.as_deref(), &token.claims)?;
        let bound = confirmed(&token.claims, at.certificate)?;
        let id = token_id(&token.claims)?;
        Ok(Verified { expires, id, audience: audience.into(), bound, claims: token.claims })
    }

    /// Judges what the issuer answered when it was asked about a token (RFC 7662 section 2.2).
    ///
    /// The answer must name an accepted audience, and its own issuer where it names one. It counts no longer than
    /// `bound_millis`, as the issuer may change its mind.
    ///
    /// # Errors
    /// [`TokenFault`], as [`Rules::verify`]; [`TokenFault::Inactive`] for a token that the issuer does not vouch for.
    pub fn introspected(
        &self,
        answer: Map<String, Value>,
        at: Circumstances<'_>,
        bound_millis: u64,
    ) -> Result<Verified, TokenFault> {
        if answer.get("active") != Some(&Value::Bool(true)) {
            return Err(TokenFault::Inactive);
        }
        if answer.get("iss").is_some_and(|issuer| issuer != &*self.issuer) {
            return Err(TokenFault::Issuer);
        }
        let bearer = |kind: &Value| kind.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        if answer.get("token_type").is_some_and(|kind| !bearer(kind)) {
            return Err(TokenFault::Kind);
        }
        let audience = at.audiences.find(&answer)?;
        check_no_other_kind(&answer, false)?;
        let bound = at.now.plus(bound_millis);
        let dates = Validity::read(&answer)?;
        let expires = match dates.expires {
            Some(_) => dates.check(at.now, self.leeway_millis)?.min(bound),
            None => Validity { expires: Some(bound), ..dates }.check(at.now, self.leeway_millis)?.min(bound),
        };
        let id = token_id(&answer)?;
        let confirmed = confirmed(&answer, at.certificate)?;
        Ok(Verified { expires, id, audience: audience.into(), bound: confirmed, claims: answer })
    }

    fn validation(&self, token: &Presented<'_>, audience: &str) -> Validation {
        let mut validation = Validation::new(token.algorithm.library());
        validation.required_spec_claims = HashSet::from(["iss".to_owned(), "aud".to_owned()]);
        validation.set_issuer(&[&*self.issuer]);
        validation.set_audience(&[audience]);
        // Times are compared with the time that is passed in, see `clock`.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation
    }

    fn check_signature(
        &self,
        token: &Presented<'_>,
        candidates: &[&DecodingKey],
        validation: &Validation,
    ) -> Result<(), TokenFault> {
        for key in candidates {
            let error = match decode::<IgnoredAny>(token.text, key, validation) {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::InvalidIssuer => return Err(TokenFault::Issuer),
                ErrorKind::InvalidAudience => return Err(TokenFault::Audience),
                ErrorKind::InvalidAlgorithm => return Err(TokenFault::Algorithm),
                ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidToken => {
                    return Err(TokenFault::Malformed);
                }
                // The next key of this `kid` may be the one.
                _ => {}
            }
        }
        Err(TokenFault::Signature)
    }
}

/// Checks the proof of possession that the token demands (RFC 7800): none, or the certificate of the connection.
fn confirmed(claims: &Map<String, Value>, certificate: Option<&[u8; 32]>) -> Result<Option<[u8; 32]>, TokenFault> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    let methods = confirmation.as_object().ok_or(TokenFault::Confirmation)?;
    let Some(Value::String(encoded)) = methods.get(CERTIFICATE) else { return Err(TokenFault::Confirmation) };
    if methods.len() != 1 {
        return Err(TokenFault::Confirmation);
    }
    let mut thumbprint = [0; 32];
    if URL_SAFE_NO_PAD.decode_slice(encoded, &mut thumbprint) != Ok(32) {
        return Err(TokenFault::Confirmation);
    }
    let shown = certificate.ok_or(TokenFault::NotBound)?;
    verify_slices_are_equal(shown, &thumbprint).map_err(|_| TokenFault::NotBound)?;
    Ok(Some(thumbprint))
}

fn token_id(claims: &Map<String, Value>) -> Result<Option<Box<str>>, TokenFault> {
    match claims.get("jti") {
        None => Ok(None),
        Some(Value::String(id)) if (1..=TOKEN_ID_BYTES_MAX).contains(&id.len()) => Ok(Some(id.as_str().into())),
        Some(_) => Err(TokenFault::TokenId),
    }
}

#[cfg(test)]
mod tests;
