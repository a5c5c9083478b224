//! TLS to a gateway whose certificate is pinned: no authority is asked, and no name is looked at.
//!
//! Who has no pin yet may look at what certificate there is, and believes nothing that is said under it.

use http::Uri;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use sha2::{Digest as _, Sha256};
use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

/// Why a gateway's address cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// It is no address of a gateway.
    #[error("`{0}` is not the address of a gateway: write `https://HOST:PORT`")]
    Address(String),
    /// Plain HTTP would show everything to whoever is on the way.
    #[error("`{0}` is plain HTTP, which is only allowed on this machine: use `https`")]
    Plain(String),
    /// There is nothing to check the gateway's certificate against.
    #[error("the network file does not name the certificate of `{0}`: add a `gateways` entry for it")]
    NoCertificate(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] TlsError),
}

/// A gateway's address, if it may be used.
pub(super) fn address(url: &str, pinned: bool) -> Result<Uri, PinError> {
    let bad = || PinError::Address(url.chars().take(64).collect());
    let uri: Uri = url.trim_end_matches('/').parse().map_err(|_| bad())?;
    let host = uri.host().ok_or_else(bad)?.trim_matches(['[', ']']);
    if uri.path() != "/" || uri.query().is_some() {
        return Err(bad());
    }
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") if pinned => Ok(uri),
        Some("https") => Err(PinError::NoCertificate(url.to_owned())),
        Some("http") if here => Ok(uri),
        Some("http") => Err(PinError::Plain(url.to_owned())),
        _ => Err(bad()),
    }
}

/// TLS 1.3 to the one certificate with this SHA-256.
pub(super) fn tls(certificate_sha256: [u8; 32]) -> Result<ClientConfig, TlsError> {
    config(Wanted::Only(certificate_sha256))
}

/// TLS 1.3 to any certificate, whose SHA-256 is noted.
///
/// # Security
/// Whoever is on the way can answer. Nothing is to be sent that is anybody's, and nothing believed.
pub(super) fn tls_to_anybody(seen: Arc<OnceLock<[u8; 32]>>) -> Result<ClientConfig, TlsError> {
    config(Wanted::Any(seen))
}

fn config(wanted: Wanted) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier { wanted, provider: Arc::clone(&provider) };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

#[derive(Debug)]
struct Verifier {
    wanted: Wanted,
    provider: Arc<CryptoProvider>,
}

/// Which certificate is taken.
#[derive(Debug)]
enum Wanted {
    Only([u8; 32]),
    Any(Arc<OnceLock<[u8; 32]>>),
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let shown: [u8; 32] = Sha256::digest(end_entity).into();
        match &self.wanted {
            Wanted::Only(pinned) if shown != *pinned => {
                Err(TlsError::General("it is another certificate than the network file names".to_owned()))
            }
            Wanted::Only(_) => Ok(ServerCertVerified::assertion()),
            Wanted::Any(seen) => {
                // The first one counts: it is the one that the answer came under.
                let _ = seen.set(shown);
                Ok(ServerCertVerified::assertion())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
