//! Key objects in the token: templates, generation, import.
//!
//! Templates are strict and complete: what a template omits, modules set as they like (SoftHSM: not sensitive, most uses
//! allowed). Only the private half of a pair becomes a token object; the public half is kept by the service.

use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;
use der::Decode;
use zeroize::Zeroize;

use crate::base::{Error, Kind, Result, SecretBytes};
use crate::model::algorithm::{Curve, Family, KeySpec, KeyUsage, MacAlgorithm};
use crate::tier::pkcs11::answer::fault::Fault;
use crate::tier::pkcs11::session::find::Form;
use crate::tier::{NewKey, PublicKey};

/// 65537, the public exponent of every RSA key (FIPS 186-5, section 5.1).
pub(crate) const PUBLIC_EXPONENT: [u8; 3] = [1, 0, 1];

/// Where an object lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residence {
    /// In the token, for good.
    Token,
    /// In the session that makes it, until that is closed.
    Session,
}

/// Attributes that not every module knows, and that a template has when the module does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// CKA_MODIFIABLE, CKA_COPYABLE and CKA_ALLOWED_MECHANISMS.
    Full,
    /// CKA_MODIFIABLE only.
    NotModifiable,
    /// None of them.
    Basic,
}

impl Strictness {
    /// From the strictest on.
    pub(crate) const ALL: [Self; 3] = [Self::Full, Self::NotModifiable, Self::Basic];
}

/// A key object that was made.
pub(crate) struct Made {
    pub(crate) handle: ObjectHandle,
    pub(crate) public_key: Option<PublicKey>,
}

/// What every key object has.
fn common(new: &NewKey, residence: Residence, strictness: Strictness) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Token(residence == Residence::Token),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Id(new.id.clone()),
        Attribute::Label(new.label.clone().into_bytes()),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
    ];
    template.retain(|attribute| applies(attribute, new.spec));
    match strictness {
        Strictness::Full => template.extend([
            Attribute::Modifiable(false),
            Attribute::Copyable(false),
            Attribute::AllowedMechanisms(allowed_mechanisms(new.spec, new.usage)),
        ]),
        Strictness::NotModifiable => template.push(Attribute::Modifiable(false)),
        Strictness::Basic => {}
    }
    template
}

/// A private key is not asked whether it wraps: it has no such attribute (PKCS #11, table 22).
fn applies(attribute: &Attribute, spec: KeySpec) -> bool {
    spec.is_symmetric() || !matches!(attribute, Attribute::Wrap(_))
}

/// What the algorithms of a usage need and nothing else.
fn allowed_mechanisms(spec: KeySpec, usage: KeyUsage) -> Vec<MechanismType> {
    match (spec.family(), usage) {
        (Family::Aes { .. }, _) => vec![MechanismType::AES_GCM, MechanismType::AES_CBC, MechanismType::AES_ECB],
        (Family::Hmac(MacAlgorithm::HmacSha224), _) => vec![MechanismType::SHA224_HMAC],
        (Family::Hmac(MacAlgorithm::HmacSha256), _) => vec![MechanismType::SHA256_HMAC],
        (Family::Hmac(MacAlgorithm::HmacSha384), _) => vec![MechanismType::SHA384_HMAC],
        (Family::Hmac(MacAlgorithm::HmacSha512), _) => vec![MechanismType::SHA512_HMAC],
        (Family::Rsa { .. }, KeyUsage::SignVerify) => vec![MechanismType::RSA_PKCS_PSS, MechanismType::RSA_PKCS],
        (Family::Rsa { .. }, KeyUsage::EncryptDecrypt) => vec![MechanismType::RSA_PKCS_OAEP, MechanismType::RSA_X_509],
        (Family::Ec(_), KeyUsage::SignVerify) => vec![MechanismType::ECDSA],
        (Family::Ec(_), KeyUsage::EncryptDecrypt) => vec![MechanismType::ECDH1_DERIVE],
        // Such keys are not made.
        (Family::Rsa { .. } | Family::Ec(_), KeyUsage::GenerateVerifyMac) => Vec::new(),
    }
}

/// The uses of a secret key or of the private half of a pair: the least that its usage needs.
fn uses(spec: KeySpec, usage: KeyUsage) -> Vec<Attribute> {
    let private = |decrypt, sign, derive| {
        vec![Attribute::Decrypt(decrypt), Attribute::Sign(sign), Attribute::SignRecover(false), Attribute::Derive(derive)]
    };
    let secret = |encrypt, sign| {
        vec![
            Attribute::Encrypt(encrypt),
            Attribute::Decrypt(encrypt),
            Attribute::Sign(sign),
            Attribute::Verify(false),
            Attribute::Derive(false),
        ]
    };
    match (spec.family(), usage) {
        (Family::Aes { .. }, _) => secret(true, false),
        // A code is verified by generating it again.
        (Family::Hmac(_), _) => secret(false, true),
        (Family::Rsa { .. }, KeyUsage::EncryptDecrypt) => private(true, false, false),
        (Family::Ec(_), KeyUsage::EncryptDecrypt) => private(false, false, true),
        (Family::Rsa { .. } | Family::Ec(_), KeyUsage::SignVerify) => private(false, true, false),
        (Family::Rsa { .. } | Family::Ec(_), KeyUsage::GenerateVerifyMac) => private(false, false, false),
    }
}

/// The curve as CKA_EC_PARAMS: an object identifier in DER (RFC 5480, section 2.1.1.1; SEC 2, section 2.4.1).
const fn ec_parameters(curve: Curve) -> &'static [u8] {
    match curve {
        Curve::P256 => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        Curve::P256k => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a],
    }
}

/// What the secret key or the private half of a pair is told to be.
pub(crate) fn private_template(new: &NewKey, residence: Residence, strictness: Strictness) -> Vec<Attribute> {
    let mut template = Form::of(new.spec).attributes().to_vec();
    template.extend(common(new, residence, strictness));
    template.extend(uses(new.spec, new.usage));
    template
}

/// Makes a key in the token: C_GenerateKey or C_GenerateKeyPair.
pub(crate) fn generate(session: &Session, new: &NewKey, residence: Residence, strictness: Strictness) -> Result<Made, Fault> {
    let mut private = private_template(new, residence, strictness);
    match new.spec.family() {
        Family::Aes { key_bytes } => {
            private.push(Attribute::ValueLen((key_bytes as u64).into()));
            let handle = session.generate_key(&Mechanism::AesKeyGen, &private)?;
            Ok(Made { handle, public_key: None })
        }
        Family::Hmac(algorithm) => {
            private.push(Attribute::ValueLen((algorithm.bytes() as u64).into()));
            let handle = session.generate_key(&Mechanism::GenericSecretKeyGen, &private)?;
            Ok(Made { handle, public_key: None })
        }
        Family::Rsa { modulus_bytes } => generate_rsa(session, new, modulus_bytes, &private),
        Family::Ec(curve) => {
            let mut public = public_template(new);
            public.push(Attribute::EcParams(ec_parameters(curve).to_vec()));
            pair(session, new, &Mechanism::EccKeyPairGen, &public, &private)
        }
    }
}

/// Makes an RSA pair with such a private half: C_GenerateKeyPair.
pub(crate) fn generate_rsa(session: &Session, new: &NewKey, modulus_bytes: usize, private: &[Attribute]) -> Result<Made, Fault> {
    let mut public = public_template(new);
    public.push(Attribute::ModulusBits((modulus_bytes as u64 * 8).into()));
    public.push(Attribute::PublicExponent(PUBLIC_EXPONENT.to_vec()));
    pair(session, new, &Mechanism::RsaPkcsKeyPairGen, &public, private)
}

/// The public half: read and destroyed at once.
fn public_template(new: &NewKey) -> Vec<Attribute> {
    let (encrypt, verify) = match (new.spec.family(), new.usage) {
        (Family::Rsa { .. }, KeyUsage::EncryptDecrypt) => (true, false),
        (Family::Aes { .. } | Family::Ec(_) | Family::Hmac(_), KeyUsage::EncryptDecrypt) => (false, false),
        (_, KeyUsage::GenerateVerifyMac) => (false, false),
        (_, KeyUsage::SignVerify) => (false, true),
    };
    vec![
        Attribute::Token(false),
        Attribute::Private(false),
        Attribute::Encrypt(encrypt),
        Attribute::Verify(verify),
        Attribute::VerifyRecover(false),
        Attribute::Wrap(false),
        Attribute::Derive(false),
    ]
}

fn pair(session: &Session, new: &NewKey, how: &Mechanism<'_>, public: &[Attribute], private: &[Attribute]) -> Result<Made, Fault> {
    let (public, handle) = session.generate_key_pair(how, public, private)?;
    let read = read_public_key(session, public, new.spec);
    let _ = session.destroy_object(public);
    match read {
        Ok(public_key) => Ok(Made { handle, public_key: Some(public_key) }),
        Err(fault) => {
            let _ = session.destroy_object(handle);
            Err(fault)
        }
    }
}

pub(crate) fn read_public_key(session: &Session, handle: ObjectHandle, spec: KeySpec) -> Result<PublicKey, Fault> {
    let wanted: &[AttributeType] = match spec.family() {
        Family::Rsa { .. } => &[AttributeType::Modulus, AttributeType::PublicExponent],
        Family::Ec(_) | Family::Aes { .. } | Family::Hmac(_) => &[AttributeType::EcPoint],
    };
    let (mut modulus, mut exponent, mut point) = (None, None, None);
    for attribute in session.get_attributes(handle, wanted)? {
        match attribute {
            Attribute::Modulus(value) => modulus = Some(value),
            Attribute::PublicExponent(value) => exponent = Some(value),
            Attribute::EcPoint(value) => point = Some(value),
            _ => {}
        }
    }
    Ok(match (modulus, exponent, point) {
        (Some(modulus), Some(exponent), _) => PublicKey::from_rsa(spec, &modulus, &exponent)?,
        (_, _, Some(point)) => PublicKey::from_point(spec, uncompressed_point(&point))?,
        _ => return Err(Error::new(Kind::Internal, "The token does not show the public key that it made.").into()),
    })
}

/// CKA_EC_POINT is an OCTET STRING around the point (PKCS #11, section 6.3.3); some modules leave the wrapping away.
fn uncompressed_point(attribute: &[u8]) -> &[u8] {
    match attribute {
        [0x04, length, point @ ..] if usize::from(*length) == point.len() && point.first() == Some(&0x04) => point,
        point => point,
    }
}

/// Brings key material into the token: C_CreateObject.
///
/// # Errors
/// [`Kind::InvalidParameter`] when the material is not that of a key of this spec.
pub(crate) fn import(
    session: &Session,
    new: &NewKey,
    material: &SecretBytes,
    residence: Residence,
    strictness: Strictness,
) -> Result<Made, Fault> {
    let mut template = private_template(new, residence, strictness);
    let public_key = match new.spec.family() {
        Family::Aes { key_bytes } => secret_material(new.spec, key_bytes, material, &mut template)?,
        Family::Hmac(algorithm) => secret_material(new.spec, algorithm.bytes(), material, &mut template)?,
        Family::Rsa { .. } => Some(rsa_material(new.spec, material, &mut template)?),
        Family::Ec(curve) => Some(ec_material(new.spec, curve, material, &mut template)?),
    };
    let created = session.create_object(&template);
    template.iter_mut().for_each(wipe);
    Ok(Made { handle: created?, public_key })
}

fn secret_material(
    spec: KeySpec,
    bytes: usize,
    material: &SecretBytes,
    template: &mut Vec<Attribute>,
) -> Result<Option<PublicKey>> {
    if material.len() != bytes {
        return Err(wrong_length(spec, material.len()));
    }
    template.push(Attribute::Value(material.expose().to_vec()));
    Ok(None)
}

/// The one answer to material of so many bytes, which a secret key of the spec does not have.
pub(crate) fn wrong_length(spec: KeySpec, bytes: usize) -> Error {
    Error::invalid(format!("The key material has {bytes} bytes, which does not fit the KeySpec {spec}."))
}

fn malformed(spec: KeySpec) -> Error {
    Error::invalid(format!("The key material is not a PKCS #8 private key of {spec}."))
}

fn rsa_material(spec: KeySpec, material: &SecretBytes, template: &mut Vec<Attribute>) -> Result<PublicKey> {
    let info = pkcs8::PrivateKeyInfoRef::from_der(material.expose()).map_err(|_| malformed(spec))?;
    if info.algorithm.oid != pkcs1::ALGORITHM_OID {
        return Err(malformed(spec));
    }
    let key = pkcs1::RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).map_err(|_| malformed(spec))?;
    let public_key = PublicKey::from_rsa(spec, key.modulus.as_bytes(), key.public_exponent.as_bytes())?;
    template.extend([
        Attribute::Modulus(key.modulus.as_bytes().to_vec()),
        Attribute::PublicExponent(key.public_exponent.as_bytes().to_vec()),
        Attribute::PrivateExponent(key.private_exponent.as_bytes().to_vec()),
        Attribute::Prime1(key.prime1.as_bytes().to_vec()),
        Attribute::Prime2(key.prime2.as_bytes().to_vec()),
        Attribute::Exponent1(key.exponent1.as_bytes().to_vec()),
        Attribute::Exponent2(key.exponent2.as_bytes().to_vec()),
        Attribute::Coefficient(key.coefficient.as_bytes().to_vec()),
    ]);
    Ok(public_key)
}

fn ec_material(spec: KeySpec, curve: Curve, material: &SecretBytes, template: &mut Vec<Attribute>) -> Result<PublicKey> {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

    let info = pkcs8::PrivateKeyInfoRef::from_der(material.expose()).map_err(|_| malformed(spec))?;
    let algorithm = match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        Curve::P256k => &ECDSA_P256K1_SHA256_ASN1_SIGNING,
    };
    // This also checks the curve, and that the private key is in range.
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, material.expose()).map_err(|_| malformed(spec))?;
    let key = sec1::EcPrivateKey::from_der(info.private_key.as_bytes()).map_err(|_| malformed(spec))?;
    template.extend([Attribute::EcParams(ec_parameters(curve).to_vec()), Attribute::Value(key.private_key.to_vec())]);
    PublicKey::from_point(spec, pair.public_key().as_ref())
}

/// Wipes what an attribute of a template held of the key.
fn wipe(attribute: &mut Attribute) {
    match attribute {
        Attribute::Value(secret)
        | Attribute::PrivateExponent(secret)
        | Attribute::Prime1(secret)
        | Attribute::Prime2(secret)
        | Attribute::Exponent1(secret)
        | Attribute::Exponent2(secret)
        | Attribute::Coefficient(secret) => secret.zeroize(),
        _ => {}
    }
}
