//! A certificate authority and a server certificate of the double's own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{Error, Result};

/// The names the server certificate is for.
const NAMES: [&str; 4] = ["localhost", "github.localhost", "127.0.0.1", "::1"];

/// What the listener needs, and the CA file its clients need.
pub(super) struct Identity {
    pub(super) server: ServerConfig,
    pub(super) ca_path: PathBuf,
    pub(super) ca_pem: String,
}

/// A CA and a server certificate for this machine's loopback names.
pub(crate) struct Certificates {
    pub(crate) ca_pem: String,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Makes a CA and a server certificate; writes `ca.pem`, `server.pem` and `server.key` into `dir`.
pub(crate) fn certificates(dir: &Path) -> Result<Certificates> {
    let made = |error: rcgen::Error| Error::unexpected("making the TLS certificates", error.to_string());
    let mut ca = CertificateParams::new(Vec::new()).map_err(made)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.distinguished_name.push(DnType::CommonName, "Understudy testbed CA");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().map_err(made)?).map_err(made)?;

    let mut leaf = CertificateParams::new(NAMES.map(str::to_owned).to_vec()).map_err(made)?;
    leaf.distinguished_name.push(DnType::CommonName, "localhost");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(made)?;
    let leaf = leaf.signed_by(&key, &ca).map_err(made)?;

    let ca_pem = ca.pem();
    for (name, text) in [("ca.pem", &ca_pem), ("server.pem", &leaf.pem()), ("server.key", &key.serialize_pem())] {
        let path = dir.join(name);
        fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))?;
    }
    Ok(Certificates { ca_pem, certificate: leaf.der().to_vec(), key: key.serialize_der() })
}

/// Makes [`certificates`] in `dir` and sets up a listener with them.
pub(super) fn identity(dir: &Path) -> Result<Identity> {
    let Certificates { ca_pem, certificate, key } = certificates(dir)?;
    let chain = vec![CertificateDer::from(certificate)];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let server = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| Error::unexpected("setting up TLS", error.to_string()))?;
    Ok(Identity { server, ca_path: dir.join("ca.pem"), ca_pem })
}
