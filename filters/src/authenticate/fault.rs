//! Why a token is not believed.

/// Why a token proves nothing. Clients are told `invalid_token` and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenFault {
    /// Not three parts of base64url, or header or claims are no JSON object.
    Malformed,
    /// The token, its header or its claims are longer than the bounds.
    TooLong,
    /// Header or claims nest too deeply.
    TooDeep,
    /// Header or claims name a member twice, at some depth.
    DuplicateMember,
    /// Five parts: encrypted (RFC 7516).
    Encrypted,
    /// `alg` is `none`, a shared secret's, unknown, or not in the issuer's list.
    Algorithm,
    /// The header demands what is not understood: `crit`, or an unencoded payload (RFC 7797).
    Critical,
    /// `kid` is no text, or longer than the bounds.
    KeyId,
    /// `typ` is not that of an access token of this profile.
    Type,
    /// `iss` is missing, no text, or no configured issuer's.
    Issuer,
    /// No key of the issuer has this id, or fits the algorithm: the issuer may have new ones.
    UnknownKey,
    /// The key of this id cannot be used with this algorithm.
    KeyMismatch,
    /// No `kid`, and more than one key fits.
    KeyAmbiguous,
    /// The signature was not made with the issuer's key.
    Signature,
    /// `aud` is missing, no text or list of texts, or too long.
    NoAudience,
    /// The token is for somebody else.
    Audience,
    /// It is an ID token, a logout token, a refresh token: signed by the issuer, and no access token.
    Kind,
    /// `exp`, `nbf` or `iat` is no number.
    Date,
    /// There is no `exp`.
    NoExpiry,
    /// `exp` has passed.
    Expired,
    /// `nbf` has not come.
    NotYet,
    /// `iat` lies in the future.
    IssuedLater,
    /// `jti` is no text, or longer than the bounds.
    TokenId,
    /// `cnf` names a proof of possession that is not supported here, or cannot be read.
    Confirmation,
    /// The token is bound to a client certificate (RFC 8705) that the connection does not show.
    NotBound,
    /// The issuer says that the token is not active (RFC 7662).
    Inactive,
    /// A claim that the caller is known by is missing, has the wrong type, or breaks a bound.
    Claim,
    /// Groups are not in the token but elsewhere: too many of them.
    GroupsElsewhere,
}

impl TokenFault {
    /// All of them.
    pub const ALL: [TokenFault; 28] = [
        TokenFault::Malformed,
        TokenFault::TooLong,
        TokenFault::TooDeep,
        TokenFault::DuplicateMember,
        TokenFault::Encrypted,
        TokenFault::Algorithm,
        TokenFault::Critical,
        TokenFault::KeyId,
        TokenFault::Type,
        TokenFault::Issuer,
        TokenFault::UnknownKey,
        TokenFault::KeyMismatch,
        TokenFault::KeyAmbiguous,
        TokenFault::Signature,
        TokenFault::NoAudience,
        TokenFault::Audience,
        TokenFault::Kind,
        TokenFault::Date,
        TokenFault::NoExpiry,
        TokenFault::Expired,
        TokenFault::NotYet,
        TokenFault::IssuedLater,
        TokenFault::TokenId,
        TokenFault::Confirmation,
        TokenFault::NotBound,
        TokenFault::Inactive,
        TokenFault::Claim,
        TokenFault::GroupsElsewhere,
    ];

    /// The metric label: lower case, stable.
    pub const fn label(self) -> &'static str {
        match self {
            TokenFault::Malformed => "malformed",
            TokenFault::TooLong => "too_long",
            TokenFault::TooDeep => "too_deep",
            TokenFault::DuplicateMember => "duplicate_member",
            TokenFault::Encrypted => "encrypted",
            TokenFault::Algorithm => "algorithm",
            TokenFault::Critical => "critical",
            TokenFault::KeyId => "key_id",
            TokenFault::Type => "type",
            TokenFault::Issuer => "issuer",
            TokenFault::UnknownKey => "unknown_key",
            TokenFault::KeyMismatch => "key_mismatch",
            TokenFault::KeyAmbiguous => "key_ambiguous",
            TokenFault::Signature => "signature",
            TokenFault::NoAudience => "no_audience",
            TokenFault::Audience => "audience",
            TokenFault::Kind => "kind",
            TokenFault::Date => "date",
            TokenFault::NoExpiry => "no_expiry",
            TokenFault::Expired => "expired",
            TokenFault::NotYet => "not_yet",
            TokenFault::IssuedLater => "issued_later",
            TokenFault::TokenId => "token_id",
            TokenFault::Confirmation => "confirmation",
            TokenFault::NotBound => "not_bound",
            TokenFault::Inactive => "inactive",
            TokenFault::Claim => "claim",
            TokenFault::GroupsElsewhere => "groups_elsewhere",
        }
    }

    /// What the operator's log says. Nothing of the token is in it.
    pub const fn text(self) -> &'static str {
        match self {
            TokenFault::Malformed => "the token is no signed JSON Web Token",
            TokenFault::TooLong => "the token, its header or its claims are too long",
            TokenFault::TooDeep => "the token's header or claims nest too deeply",
            TokenFault::DuplicateMember => "the token's header or claims name a member twice",
            TokenFault::Encrypted => "the token is encrypted",
            TokenFault::Algorithm => "the token is not signed with an algorithm that its issuer may use",
            TokenFault::Critical => "the token demands an extension of JWS that is not supported",
            TokenFault::KeyId => "the token's kid is no text, or too long",
            TokenFault::Type => "the token's typ is not that of an access token of its issuer's profile",
            TokenFault::Issuer => "the token is of no issuer that is accepted here",
            TokenFault::UnknownKey => "the issuer's keys hold none of the token's kid and algorithm",
            TokenFault::KeyMismatch => "the key of the token's kid cannot be used with its algorithm",
            TokenFault::KeyAmbiguous => "the token has no kid, and several of the issuer's keys fit its algorithm",
            TokenFault::Signature => "the token was not signed with its issuer's key",
            TokenFault::NoAudience => "the token names no audience",
            TokenFault::Audience => "the token is for another audience",
            TokenFault::Kind => "the token is no access token, such as an ID token or a logout token",
            TokenFault::Date => "the token's exp, nbf or iat is no number",
            TokenFault::NoExpiry => "the token does not say when it expires",
            TokenFault::Expired => "the token has expired",
            TokenFault::NotYet => "the token is not valid yet",
            TokenFault::IssuedLater => "the token was issued in the future: clocks differ by more than the leeway",
            TokenFault::TokenId => "the token's jti is no text, or too long",
            TokenFault::Confirmation => "the token is bound to a proof of possession that is not supported",
            TokenFault::NotBound => "the token is bound to a client certificate that the connection does not show",
            TokenFault::Inactive => "the issuer says that the token is not active",
            TokenFault::Claim => "a claim that the caller is known by is missing, of the wrong type or too long",
            TokenFault::GroupsElsewhere => {
                "the caller has more groups than fit into the token: let the issuer filter them"
            }
        }
    }

    /// Whether fetching the issuer's keys again may help.
    pub const fn may_have_a_new_key(self) -> bool {
        matches!(self, TokenFault::UnknownKey)
    }

    /// Whether the same token will be refused again, for as long as its issuer's settings and keys stay as they are: it does
    /// not depend on a time to come, on the connection, or on keys that may come.
    pub const fn is_lasting(self) -> bool {
        !matches!(
            self,
            TokenFault::UnknownKey
                | TokenFault::NotYet
                | TokenFault::IssuedLater
                | TokenFault::NotBound
                | TokenFault::Issuer
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_fault_has_a_label_of_its_own() {
        let labels: HashSet<_> = TokenFault::ALL.iter().map(|fault| fault.label()).collect();
        let texts: HashSet<_> = TokenFault::ALL.iter().map(|fault| fault.text()).collect();
        assert_eq!((labels.len(), texts.len()), (TokenFault::ALL.len(), TokenFault::ALL.len()));
    }

    #[test]
    fn what_a_later_attempt_may_change_is_not_lasting() {
        assert!(
            TokenFault::Signature.is_lasting() && TokenFault::Expired.is_lasting() && TokenFault::Inactive.is_lasting()
        );
        assert!(
            !TokenFault::UnknownKey.is_lasting()
                && !TokenFault::NotYet.is_lasting()
                && !TokenFault::NotBound.is_lasting()
        );
        assert!(TokenFault::ALL.into_iter().filter(|fault| fault.may_have_a_new_key()).eq([TokenFault::UnknownKey]));
    }
}
