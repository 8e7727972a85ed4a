//! Answers that come compressed although `identity` was asked for.

use super::fault::{AttemptFault, FaultKind};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header};
use std::io::Read;

/// What a response's `Content-Encoding` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Other,
}

/// The content coding of a response.
pub(super) fn coding(headers: &HeaderMap) -> Coding {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Coding::Identity,
        (Some(value), None) => match value.as_bytes().trim_ascii() {
            value if value.eq_ignore_ascii_case(b"identity") => Coding::Identity,
            value if value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip") => Coding::Gzip,
            _ => Coding::Other,
        },
        _ => Coding::Other,
    }
}

/// Decompresses a whole body that becomes at most `limit` bytes long.
pub(super) fn gunzip(body: &[u8], limit: usize) -> Result<Bytes, AttemptFault> {
    let mut plain = Vec::with_capacity(body.len().saturating_mul(3).min(limit));
    let mut decoder = MultiGzDecoder::new(body).take(limit as u64 + 1);
    decoder
        .read_to_end(&mut plain)
        .map_err(|error| AttemptFault::protocol("its answer is damaged gzip").because(error))?;
    if plain.len() > limit {
        return Err(AttemptFault::new(FaultKind::TooLong));
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn gzip_is_undone_within_the_bound() {
        let bomb = gzip(&vec![0; 1 << 20]);
        assert!(bomb.len() < 2048);
        assert_eq!(gunzip(&bomb, 1 << 20).expect("fits").len(), 1 << 20);
        assert_eq!(gunzip(&bomb, (1 << 20) - 1).expect_err("too long").kind, FaultKind::TooLong);
        assert_eq!(gunzip(&bomb[..20], 1 << 20).expect_err("cut").kind, FaultKind::Protocol);
    }

    #[test]
    fn only_one_known_coding_is_understood() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, http::HeaderValue::from_static(value));
            }
            coding(&headers)
        };
        assert_eq!(with(&[]), Coding::Identity);
        assert_eq!(with(&["Identity"]), Coding::Identity);
        assert_eq!(with(&["GZIP"]), Coding::Gzip);
        assert_eq!(with(&["br"]), Coding::Other);
        assert_eq!(with(&["gzip", "gzip"]), Coding::Other);
        assert_eq!(with(&["gzip, gzip"]), Coding::Other);
    }
}
