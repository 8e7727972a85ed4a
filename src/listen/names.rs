//! What is read of a client's certificate: its names, its number, its end.

use lockgate_filters::authenticate::certificate::{AlternativeName, ClientCertificate, DistinguishedName, NAMES_MAX};
use lockgate_filters::exchange::UnixMillis;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::X509Name;

/// What a certificate says, if it can be read: a handshake has found it to be in order, but may have looked for less.
pub(super) fn read(der: &[u8], thumbprint: [u8; 32]) -> Option<ClientCertificate> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let end = certificate.validity().not_after.timestamp();
    Some(ClientCertificate {
        names: alternative_names(&certificate)?,
        subject: distinguished(certificate.subject())?,
        issuer: distinguished(certificate.issuer())?,
        serial: certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
        thumbprint,
        // A certificate counts to the end of its last second (RFC 5280 section 4.1.2.5).
        expires: Some(UnixMillis(u64::try_from(end).unwrap_or_default().saturating_add(1).saturating_mul(1_000))),
    })
}

/// Names of a kind that no rule is about are left out; too many are none that can be decided on.
fn alternative_names(certificate: &X509Certificate<'_>) -> Option<Vec<AlternativeName>> {
    let Some(extension) = certificate.subject_alternative_name().ok()? else { return Some(Vec::new()) };
    let names = &extension.value.general_names;
    if names.len() > NAMES_MAX {
        return None;
    }
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some(AlternativeName::Uri((*uri).into())),
        GeneralName::DNSName(name) => Some(AlternativeName::Dns((*name).into())),
        GeneralName::RFC822Name(name) => Some(AlternativeName::Email((*name).into())),
        _ => None,
    };
    Some(names.iter().filter_map(name).collect())
}

/// The attributes, the most specific first: certificates have it the other way round.
fn distinguished(name: &X509Name<'_>) -> Option<DistinguishedName> {
    let mut attributes = Vec::new();
    for attribute in name.iter_attributes() {
        let kind = oid2abbrev(attribute.attr_type(), oid_registry())
            .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
        attributes.push((kind.into(), attribute.as_str().ok()?.into()));
    }
    attributes.reverse();
    Some(DistinguishedName(attributes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, SerialNumber, date_time_ymd};

    #[test]
    fn names_are_those_of_the_certificate() {
        let mut params = CertificateParams::new(["agent.example".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://corp/ns/a/sa/agent".try_into().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("agent@corp.example".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()));
        params.distinguished_name.push(DnType::OrganizationName, "Corp, Inc.");
        params.distinguished_name.push(DnType::CommonName, "agent");
        params.serial_number = Some(SerialNumber::from(vec![1, 0xab]));
        params.not_after = date_time_ymd(2030, 1, 2);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let read = read(made.der(), [7; 32]).unwrap();
        assert_eq!(
            read.names,
            [
                AlternativeName::Dns("agent.example".into()),
                AlternativeName::Uri("spiffe://corp/ns/a/sa/agent".into()),
                AlternativeName::Email("agent@corp.example".into())
            ]
        );
        let subject: Vec<_> = read.subject.0.iter().map(|(kind, value)| (&**kind, &**value)).collect();
        assert!(subject.contains(&("O", "Corp, Inc.")) && subject.contains(&("CN", "agent")), "{subject:?}");
        assert_eq!((&*read.serial, read.thumbprint), ("01ab", [7; 32]));
        assert_eq!(read.expires, Some(UnixMillis(1_893_542_401_000)));
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        for bytes in [&b""[..], b"\x30\x03\x02\x01\x01", &[0xff; 100]] {
            assert!(read(bytes, [0; 32]).is_none());
        }
    }
}
