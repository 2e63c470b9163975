//! Certificates: what a listener shows, and whom a provider is checked against.
//!
//! Listener certificates live in a [`Certificate`] that a reload swaps; the
//! handshakes that come after it see the new one. A certificate that does not
//! load, or does not match its key, changes nothing.

use arc_swap::ArcSwap;
use pingora_core::protocols::tls::CaType;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why PEM files are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {reason}")]
    Unreadable { path: PathBuf, reason: String },
    #[error("{0} holds no certificate")]
    NoCertificate(PathBuf),
    #[error("{0} holds something that is not an X.509 certificate")]
    NotX509(PathBuf),
    #[error("the key in {0} is of no use: {1}")]
    BadKey(PathBuf, rustls::Error),
    #[error("the certificate in {certificate} does not belong to the key in {key}")]
    Mismatch { certificate: PathBuf, key: PathBuf },
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |e: rustls::pki_types::pem::Error| TlsError::Unreadable {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let found = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unreadable)?;
    match found.is_empty() {
        true => Err(TlsError::NoCertificate(path.to_owned())),
        false => Ok(found),
    }
}

/// Loads a chain and its key, and proves that they belong together.
///
/// # Errors
/// When a file cannot be read, holds something else, or the two do not match.
pub fn certified_key(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(certificate)?;
    let der = PrivateKeyDer::from_pem_file(key).map_err(|e| TlsError::Unreadable {
        path: key.to_owned(),
        reason: e.to_string(),
    })?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&der)
        .map_err(|e| TlsError::BadKey(key.to_owned(), e))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(_) => Err(TlsError::Mismatch {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        }),
    }
}

/// Loads the authorities of a PEM file.
///
/// # Errors
/// When the file cannot be read or holds anything but certificates.
pub fn authorities(path: &Path) -> Result<Arc<CaType>, TlsError> {
    certificates(path)?
        .iter()
        .map(|der| {
            // Pingora's own parser panics on what is not a certificate.
            match X509Certificate::from_der(der) {
                Ok(_) => Ok(WrappedX509::new(der.to_vec(), parse_x509)),
                Err(_) => Err(TlsError::NotX509(path.to_owned())),
            }
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Arc::from)
}

/// A listener's certificate, as it is now.
#[derive(Debug)]
pub struct Certificate {
    current: ArcSwap<CertifiedKey>,
    /// Whether the log has been told that the files are of no use.
    pub complained: AtomicBool,
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Loads the files for the first time.
    ///
    /// # Errors
    /// As [`certified_key`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let first = certified_key(certificate, key)?;
        Ok(Self {
            current: ArcSwap::from_pointee(first),
            complained: AtomicBool::new(false),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    }

    /// Loads the files again if they are not what they were; true when the
    /// certificate is a new one.
    ///
    /// # Errors
    /// As [`certified_key`]; the old certificate stays. A pair that is half
    /// renewed is an error until the other half is there.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let fresh = certified_key(&self.certificate, &self.key)?;
        if fresh.cert == self.current.load().cert {
            return Ok(false);
        }
        self.current.store(Arc::new(fresh));
        Ok(true)
    }

    pub fn path(&self) -> &Path {
        &self.certificate
    }
}

/// Shows the current certificate in every handshake.
#[derive(Debug)]
pub struct Resolver(pub Arc<Certificate>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current.load_full())
    }
}
