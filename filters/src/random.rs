//! Randomness, from one place: everything unguessable in the gateway is drawn here.
//!
//! The source is aws-lc's generator, seeded and reseeded from the operating system.

use thiserror::Error;

/// The system gave no randomness; nothing that must be unguessable can be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the system's random generator gave nothing")]
pub struct NoRandomness;

/// Bytes that nobody can guess.
///
/// # Errors
/// [`NoRandomness`] when the system's generator fails.
pub fn array<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(array::<16>(), array::<16>());
    }
}
