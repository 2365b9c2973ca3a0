//! The broker's certificate for connections from other machines, and the authority that vouches for it.
//!
//! The authority's key is kept where only `init` comes. Clients are given the authority's certificate once; a
//! new certificate of the broker, for other names or after its key was renewed, needs nothing of them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::file::{self, FileError};
use crate::layout::Service;

/// Who the authority is to people who look at the certificate.
const AUTHORITY: &str = "BIG SKIES installation";
/// Names that the broker always has.
const ALWAYS: [&str; 3] = ["mqtt-broker", "localhost", "127.0.0.1"];
/// Both end then: nobody is at an observatory to renew them earlier, and its clock may start in the past.
const VALID: (i32, i32) = (2020, 2120);

/// A certificate that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A name that no certificate can have.
    #[error(
        "{0:?} in BIGSKIES_TLS_NAMES is neither a DNS name nor an address; separate names by commas, as in \
         \"observatory.example.org,192.0.2.7\""
    )]
    Name(String),
    /// The authority's key is there and cannot be used.
    #[error(
        "the key of the certificate authority, {}, cannot be used; put it back from a copy, or delete it and \
         {} to have a new authority made, whose certificate every client then needs",
        key.display(), certificate.display()
    )]
    Authority {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate could not be made.
    #[error("the broker's certificate could not be made")]
    Make(#[source] rcgen::Error),
}

/// The names in a list with commas between them, each once, after those that the broker always has.
pub fn names(list: &str) -> Result<Vec<String>, TlsError> {
    let mut names: Vec<String> = ALWAYS.map(str::to_owned).into();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if name.parse::<IpAddr>().is_err() && !is_dns_name(name) {
            return Err(TlsError::Name(name.to_owned()));
        }
        let name = name.to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Letters, digits and hyphens in levels of at most 63 (RFC 1123, 2.1); the first level may be a star.
fn is_dns_name(name: &str) -> bool {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let is_level = |level: &str| {
        (1..=63).contains(&level.len())
            && level.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !level.starts_with('-')
            && !level.ends_with('-')
    };
    name.len() <= 253 && plain.split('.').all(is_level)
}

/// Sees to the authority and to a certificate of the broker with these names. Returns the authority's
/// certificate (PEM), which clients need.
pub fn ensure(volumes: &Path, names: &[String]) -> Result<String, TlsError> {
    let folder = Service::Authority.secrets(volumes);
    let (key_file, certificate_file) = (folder.join("ca.key"), folder.join("ca.crt"));
    let (issuer, is_new) = ensure_authority(&key_file, &certificate_file)?;
    let certificate = file::read(&certificate_file)?.unwrap_or_default();
    ensure_server(volumes, names, &issuer, is_new)?;
    Ok(String::from_utf8_lossy(&certificate).into_owned())
}

/// The authority, made when there is none, and whether it was. The key is written first: a certificate that is missing is made
/// again from it and vouches for the same.
fn ensure_authority(
    key_file: &Path,
    certificate_file: &Path,
) -> Result<(Issuer<'static, KeyPair>, bool), TlsError> {
    let owner = Some(Service::Authority.owner());
    let kept = file::read(key_file)?;
    let is_new = kept.is_none();
    let key = match kept {
        Some(pem) => KeyPair::from_pem(&String::from_utf8_lossy(&pem)).map_err(|source| {
            TlsError::Authority { key: key_file.to_owned(), certificate: certificate_file.to_owned(), source }
        })?,
        None => KeyPair::generate().map_err(TlsError::Make)?,
    };
    file::ensure_file(key_file, key.serialize_pem().as_bytes(), owner, 0o400)?;
    let params = authority();
    if is_new || file::read(certificate_file)?.is_none() {
        let certificate = params.self_signed(&key).map_err(TlsError::Make)?;
        file::ensure_file(certificate_file, certificate.pem().as_bytes(), owner, 0o400)?;
    }
    Ok((Issuer::new(params, key), is_new))
}

fn authority() -> CertificateParams {
    let mut params = base(AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn base(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(VALID.0, 1, 1);
    params.not_after = date_time_ymd(VALID.1, 1, 1);
    params
}

/// Where the broker finds certificate and key, in one file so that they always belong together.
pub fn server_file(volumes: &Path) -> PathBuf {
    Service::Broker.secrets(volumes).join("server.pem")
}

/// Sees to the broker's certificate: the one that is there stays while it is of these names and this issuer.
fn ensure_server(
    volumes: &Path,
    names: &[String],
    issuer: &Issuer<'_, KeyPair>,
    is_new: bool,
) -> Result<(), TlsError> {
    let path = server_file(volumes);
    // The names stand above the certificate, where PEM allows any text (RFC 7468, 2).
    let heading = format!("Names: {}\n", names.join(" "));
    let present = file::read(&path)?.unwrap_or_default();
    let content = if present.starts_with(heading.as_bytes()) && !is_new {
        present
    } else {
        let mut params = base("mqtt-broker");
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(TlsError::Make)?;
        let certificate = params.signed_by(&key, issuer).map_err(TlsError::Make)?;
        println!(
            "the broker has a new certificate for {}; it uses it after its next start",
            names.join(", ")
        );
        format!("{heading}{}{}", certificate.pem(), key.serialize_pem()).into_bytes()
    };
    file::ensure_file(&path, &content, Some(Service::Broker.owner()), 0o400)?;
    Ok(())
}

fn alternative(name: &str) -> Result<SanType, TlsError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => Ok(SanType::DnsName(name.try_into().map_err(TlsError::Make)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_broker_and_those_asked_for_each_once() {
        let names = names(" Obs.Example.org, 192.0.2.7,::1,localhost,,*.example.org ").expect("names");
        let wanted = ["mqtt-broker", "localhost", "127.0.0.1", "obs.example.org", "192.0.2.7", "::1"];
        assert_eq!(names[..6], wanted);
        assert_eq!(names[6..], ["*.example.org"]);
    }

    #[test]
    fn what_is_no_name_is_refused_and_named() {
        for name in ["a b", "-a", "a-.b", "a..b", "a_b", "*", "a.*.b", "http://a", &"a".repeat(64)] {
            let error = names(name).expect_err(name);
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        }
    }
}
