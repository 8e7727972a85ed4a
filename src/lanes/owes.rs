//! What a backend may answer.

use lockgate_filters::rpc::id::RawId;

/// Which response a backend may give: another one would answer, for the client, what it has asked somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owes {
    /// None: nothing was asked.
    Nothing,
    /// That to the request with this raw id.
    To(RawId),
    /// That to the request with this raw id, or to one that nobody here knows the id of: it was asked long ago, and is no
    /// longer known here.
    Again(Option<RawId>),
}

impl Owes {
    /// The raw id of the request that is answered, where it is known.
    pub fn asked(&self) -> Option<&RawId> {
        match self {
            Owes::To(asked) => Some(asked),
            Owes::Again(asked) => asked.as_ref(),
            Owes::Nothing => None,
        }
    }
}
