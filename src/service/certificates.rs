//! Certificates: the root and issuing CA of an installation, the leaf of an endpoint, the key file of a client.
//!
//! Called by the other use cases with what the store keeps. It knows neither the store nor TLS.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::base::{Error, Result, SecretBytes, Timestamp, random};
use crate::model::ClientKeyId;

/// How long the authorities last, in days: 20 years.
const AUTHORITY_DAYS: i64 = 20 * 365;
/// How long a leaf lasts, in days; it is renewed long before.
const LEAF_DAYS: i64 = 90;
/// How far back certificates begin, in seconds: clocks of clients differ.
const BACKDATED: i64 = 3600;
/// Iterations of the key derivation in a client key's PKCS #12: OpenSSL's 2048, which every SDK reads in no time.
const PKCS12_ITERATIONS: u32 = 2048;

/// The root and the issuing CA of an installation.
pub struct AuthorityMaterial {
    /// DER.
    pub root_certificate: Vec<u8>,
    /// PKCS #8, DER.
    pub root_key: SecretBytes,
    /// DER.
    pub issuing_certificate: Vec<u8>,
    /// PKCS #8, DER.
    pub issuing_key: SecretBytes,
}

/// The certificate of an endpoint.
pub struct Leaf {
    /// DER: the leaf, then the issuing CA.
    pub chain: Vec<Vec<u8>>,
    /// PKCS #8, DER.
    pub key: SecretBytes,
    /// From when it is good.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

/// The credential of a client, as it is made.
pub struct NewClientKey {
    /// What the service keeps: a self-signed certificate, DER.
    pub certificate: Vec<u8>,
    /// What the client gets: PKCS #12, protected by its password.
    pub pkcs12: SecretBytes,
}

/// Makes the authorities of a new installation. Their names hold a random part, so that two installations are told apart.
///
/// # Errors
/// [`Kind::Internal`](crate::base::Kind::Internal).
pub fn new_authorities(now: Timestamp) -> Result<AuthorityMaterial> {
    let tag: String = random::bytes::<4>().iter().map(|byte| format!("{byte:02x}")).collect();
    let (root_key, issuing_key) = (new_ec_key()?, new_ec_key()?);
    let root = authority(&format!("Keystead Root CA {tag}"), 1, now)?;
    let root_certificate = root.self_signed(&root_key).map_err(Error::internal)?;
    let issuing = authority(&format!("Keystead Issuing CA {tag}"), 0, now)?;
    let signer = Issuer::from_params(&root, &root_key);
    let issuing_certificate = issuing.signed_by(&issuing_key, &signer).map_err(Error::internal)?;
    Ok(AuthorityMaterial {
        root_certificate: root_certificate.der().to_vec(),
        root_key: SecretBytes::new(root_key.serialize_der()),
        issuing_certificate: issuing_certificate.der().to_vec(),
        issuing_key: SecretBytes::new(issuing_key.serialize_der()),
    })
}

/// What clients must trust, PEM: the root, then the issuing CA. The Java SDK trusts the second of two only.
pub fn ca_chain_pem(authorities: &AuthorityMaterial) -> String {
    [&authorities.root_certificate, &authorities.issuing_certificate].map(|der| certificate_pem(der)).concat()
}

/// A certificate in PEM (RFC 7468, section 5).
pub fn certificate_pem(der: &[u8]) -> String {
    der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, der).expect("a label and bytes make PEM")
}

/// Issues the certificate of an endpoint for names and addresses.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) for what is neither a DNS name nor an address.
pub fn issue_leaf(authorities: &AuthorityMaterial, names: &[String], now: Timestamp) -> Result<Leaf> {
    let key = new_ec_key()?;
    let mut params = parameters(names.first().map_or("keystead", String::as_str), now, LEAF_DAYS)?;
    params.subject_alt_names = names.iter().map(|name| subject_alternative_name(name)).collect::<Result<_>>()?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let issuing_key = ec_key(&authorities.issuing_key)?;
    let issuing = CertificateDer::from(authorities.issuing_certificate.as_slice());
    let issuer = Issuer::from_ca_cert_der(&issuing, issuing_key).map_err(Error::internal)?;
    let certificate = params.signed_by(&key, &issuer).map_err(Error::internal)?;
    Ok(Leaf {
        chain: vec![certificate.der().to_vec(), authorities.issuing_certificate.clone()],
        key: SecretBytes::new(key.serialize_der()),
        not_before: now,
        not_after: Timestamp::from_unix(now.unix() + LEAF_DAYS * 86_400),
    })
}

/// Makes the credential of a client: RSA-2048, in a PKCS #12 that every SDK reads. The Go SDK reads nothing newer than SHA-1 with
/// 3DES, and takes the first bag for the certificate and the second for the key.
///
/// # Errors
/// [`Kind::Internal`](crate::base::Kind::Internal).
pub fn new_client_key(
    id: &ClientKeyId,
    password: &SecretBytes,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<NewClientKey> {
    use p12_keystore::{Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain};

    let password = std::str::from_utf8(password.expose()).map_err(|_| Error::invalid("The password is not text."))?;
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(Error::internal)?;
    let mut params = named(id.as_str())?;
    params.not_before = date(not_before)?;
    params.not_after = date(not_after)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key).map_err(Error::internal)?.der().to_vec();
    let secret = SecretBytes::new(key.serialize_der());
    let chain = PrivateKeyChain::new(
        id.as_str().as_bytes().to_vec(),
        PrivateKey::from_der(secret.expose()).map_err(Error::internal)?,
        [Certificate::from_der(&certificate).map_err(Error::internal)?],
    );
    let mut keystore = KeyStore::new();
    keystore.add_entry(id.as_str(), KeyStoreEntry::PrivateKeyChain(chain));
    let pkcs12 = keystore
        .writer(password)
        .encryption_algorithm(EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc)
        .encryption_iterations(PKCS12_ITERATIONS)
        .mac_algorithm(MacAlgorithm::HmacSha1)
        .mac_iterations(PKCS12_ITERATIONS)
        .write()
        .map_err(Error::internal)?;
    Ok(NewClientKey { certificate, pkcs12: SecretBytes::new(pkcs12) })
}

/// The API's rule for the password of a client key: 8 to 64 characters out of digits, letters and `~!@#$%^&*?_-`, at least two of
/// the three kinds.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter), telling the rule.
pub fn check_password(password: &[u8]) -> Result<()> {
    let kinds: [fn(&u8) -> bool; 3] = [u8::is_ascii_digit, u8::is_ascii_alphabetic, |byte| SPECIAL.contains(byte)];
    let known = password.iter().all(|byte| kinds.iter().any(|kind| kind(byte)));
    let used = kinds.iter().filter(|kind| password.iter().any(kind)).count();
    if known && used >= 2 && (8..=64).contains(&password.len()) {
        Ok(())
    } else {
        Err(Error::invalid(
            "The Password has 8 to 64 characters out of digits, letters and ~!@#$%^&*?_-, of at least two of these three kinds.",
        ))
    }
}

const SPECIAL: &[u8] = b"~!@#$%^&*?_-";

/// A password for a client key that nobody chose: 32 letters and digits, 160 bits.
pub fn generate_password() -> SecretBytes {
    const CHARACTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    loop {
        let mut password = SecretBytes::new(vec![0; 32]);
        random::fill(password.expose_mut());
        password.expose_mut().iter_mut().for_each(|byte| *byte = CHARACTERS[usize::from(*byte % 32)]);
        // One of ten thousand has no digit.
        if check_password(password.expose()).is_ok() {
            return password;
        }
    }
}

fn new_ec_key() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::internal)
}

fn ec_key(pkcs8: &SecretBytes) -> Result<KeyPair> {
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8.expose());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256).map_err(Error::internal)
}

fn authority(name: &str, path_length: u8, now: Timestamp) -> Result<CertificateParams> {
    let mut params = parameters(name, now, AUTHORITY_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn parameters(name: &str, now: Timestamp, days: i64) -> Result<CertificateParams> {
    let mut params = named(name)?;
    params.not_before = date(Timestamp::from_unix(now.unix() - BACKDATED))?;
    params.not_after = date(Timestamp::from_unix(now.unix() + days * 86_400))?;
    Ok(params)
}

fn named(name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).map_err(Error::internal)?;
    params.distinguished_name = DistinguishedName::new();
    // A common name has at most 64 characters (RFC 5280, appendix A.1).
    params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    // Positive and random (CA/Browser Forum: at least 64 bits).
    let mut serial: [u8; 16] = random::bytes();
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn subject_alternative_name(name: &str) -> Result<SanType> {
    match name.parse() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => {
            let dns = name.try_into().map_err(|_| Error::invalid(format!("{name:?} is neither a DNS name nor an address.")))?;
            Ok(SanType::DnsName(dns))
        }
    }
}

fn date(timestamp: Timestamp) -> Result<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(timestamp.unix()).map_err(|_| Error::invalid("The date is out of range."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const NOW: Timestamp = Timestamp::from_unix(1_790_000_000);

    fn openssl(arguments: &[&str]) -> (bool, String) {
        let output = Command::new("openssl").args(arguments).output().expect("openssl is installed");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), text)
    }

    #[test]
    fn a_strict_verifier_accepts_the_chain_for_its_names_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let authorities = new_authorities(NOW).unwrap();
        let names = ["payments.kms.example.com".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let leaf = issue_leaf(&authorities, &names, NOW).unwrap();
        std::fs::write(path("root.pem"), certificate_pem(&authorities.root_certificate)).unwrap();
        std::fs::write(path("issuing.pem"), certificate_pem(&authorities.issuing_certificate)).unwrap();
        std::fs::write(path("leaf.pem"), certificate_pem(&leaf.chain[0])).unwrap();
        let verify = |arguments: &[&str], date: i64| {
            let (root, issuing, leaf, date) = (path("root.pem"), path("issuing.pem"), path("leaf.pem"), date.to_string());
            let mut all =
                vec!["verify", "-x509_strict", "-purpose", "sslserver", "-attime", &date, "-CAfile", &root, "-untrusted", &issuing];
            all.extend(arguments);
            all.push(&leaf);
            openssl(&all)
        };
        for good in [["-verify_hostname", "payments.kms.example.com"], ["-verify_ip", "127.0.0.1"], ["-verify_ip", "::1"]] {
            let (verified, text) = verify(&good, NOW.unix());
            assert!(verified, "{good:?}: {text}");
        }
        assert!(!verify(&["-verify_hostname", "other.example.com"], NOW.unix()).0);
        assert!(!verify(&[], leaf.not_after.unix() + 1).0);
        assert!(!verify(&[], NOW.unix() - 2 * BACKDATED).0);
        assert!(ca_chain_pem(&authorities).starts_with(&certificate_pem(&authorities.root_certificate)));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let authorities = new_authorities(NOW).unwrap();
        assert!(issue_leaf(&authorities, &["bücher".to_owned()], NOW).is_err());
    }

    #[test]
    fn a_client_key_is_what_the_oldest_reader_needs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.p12");
        let id = ClientKeyId::from_entropy(random::bytes());
        let password = generate_password();
        let made = new_client_key(&id, &password, NOW, Timestamp::from_unix(NOW.unix() + 86_400)).unwrap();
        std::fs::write(&path, made.pkcs12.expose()).unwrap();
        let password = format!("pass:{}", std::str::from_utf8(password.expose()).unwrap());
        let (read, text) = openssl(&["pkcs12", "-legacy", "-info", "-noenc", "-in", path.to_str().unwrap(), "-passin", &password]);
        assert!(read, "{text}");
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} is not in {text}"));
        assert!(at("MAC: sha1") < at("PKCS7 Encrypted data: pbeWithSHA1And3-KeyTripleDES-CBC"));
        assert!(at("PKCS7 Encrypted data: pbeWithSHA1And3-KeyTripleDES-CBC") < at("Certificate bag"));
        assert!(at("Certificate bag") < at("Shrouded Keybag: pbeWithSHA1And3-KeyTripleDES-CBC"));
        assert_eq!((text.matches("Certificate bag").count(), text.matches("Shrouded Keybag").count()), (1, 1));
        assert!(text.contains(id.as_str()));
        assert!(!openssl(&["pkcs12", "-legacy", "-noenc", "-in", path.to_str().unwrap(), "-passin", "pass:wrong-pass1"]).0);
    }

    #[test]
    fn the_password_rule_has_its_edges() {
        for good in ["abcdefg1", "ABC_defg", "1234567_", &format!("{}1", "a".repeat(63)), "Example-Pass1"] {
            assert!(check_password(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", "abcdef1", "abcdefgh", "12345678", "~~~~~~~~", "abcdefg 1", "abcdefg1é", &format!("{}1", "a".repeat(64))] {
            assert!(check_password(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
