//! TLS 1.3 with a certificate that the gateway made itself: clients trust its digest, and no authority.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustix::fs::OFlags;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// The file with key and certificate, in the gateway's folder: one file, so that they always fit.
const FILE: &str = "gateway-tls.pem";
/// Largest such file.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// What every gateway is called, from its own machine.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// The one protocol that is spoken inside.
const PROTOCOL: &[u8] = b"http/1.1";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read or written.
    #[error("`{path}`: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Other users may reach the key.
    #[error("`{0}` must be a file of this user alone, with mode 0600")]
    Permissions(PathBuf),
    /// The file holds no key with its certificate.
    #[error(
        "`{0}` holds no key with its certificate; without the file a new pair is made, which clients must pin anew"
    )]
    Malformed(PathBuf),
    /// A name of the gateway cannot stand in a certificate, or there is no randomness for a key.
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
    /// TLS 1.3 cannot be spoken.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// A key with its certificate.
pub struct TlsIdentity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    names: Vec<String>,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsIdentity({})", hex::encode(self.certificate_sha256()))
    }
}

impl TlsIdentity {
    /// The identity that is kept in `folder`; made, for `localhost`, the loopback addresses and these names,
    /// if there is none yet.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(folder: &Path, names: &[String]) -> Result<Self, TlsError> {
        let path = folder.join(FILE);
        let names: Vec<String> =
            NAMES.into_iter().map(str::to_owned).chain(names.iter().map(|name| name.to_ascii_lowercase())).collect();
        let pem = match read(&path)? {
            Some(pem) => pem,
            None => match write_new(folder, &path, &make(&names)?) {
                Ok(()) => read(&path)?.ok_or_else(|| TlsError::Malformed(path.clone()))?,
                // Another process was first; its identity is the one that is kept.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    read(&path)?.ok_or_else(|| TlsError::Malformed(path.clone()))?
                }
                Err(source) => return Err(TlsError::File { path, source }),
            },
        };
        let malformed = |_| TlsError::Malformed(path.clone());
        let certificate = CertificateDer::from_pem_slice(&pem).map_err(malformed)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(malformed)?;
        let identity = Self { certificate, key, names };
        // Key and certificate belong together, or no client could connect.
        identity.certified().map_err(|_| TlsError::Malformed(path.clone()))?;
        Ok(identity)
    }

    /// The SHA-256 of the certificate: what clients pin.
    #[must_use]
    pub fn certificate_sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }

    fn certified(&self) -> Result<CertifiedKey, rustls::Error> {
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(self.key.clone_key())?;
        let certified = CertifiedKey::new(vec![self.certificate.clone()], key);
        certified.keys_match()?;
        Ok(certified)
    }

    /// What shakes hands with clients: TLS 1.3 and nothing older, HTTP/1.1 inside, no early data.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let resolver = Named { key: Arc::new(self.certified()?), names: self.names.clone() };
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Gives the certificate to who asks for one of its names, or for none: clients that were given an address
/// name nothing.
#[derive(Debug)]
struct Named {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl ResolvesServerCert for Named {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let known = |name: &str| self.names.iter().any(|own| own.eq_ignore_ascii_case(name));
        hello.server_name().is_none_or(known).then(|| Arc::clone(&self.key))
    }
}

fn make(names: &[String]) -> Result<Zeroizing<String>, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "DMDL gateway");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    let secret = Zeroizing::new(key.serialize_pem());
    Ok(Zeroizing::new(format!("{}{}", secret.as_str(), certificate.pem())))
}

/// Reads the file if it is this user's alone; none when it is not there. What is checked is what is opened.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(TlsError::Permissions(path.to_owned()));
        }
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_file() || !own || metadata.mode() & 0o077 != 0 {
        return Err(TlsError::Permissions(path.to_owned()));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(TlsError::Malformed(path.to_owned()));
    }
    // A vector that grows would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1));
    file.take(metadata.len()).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Writes the file, whole or not at all, for this user alone.
fn write_new(folder: &Path, path: &Path, pem: &str) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".dmdl-")
        .suffix(".part")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    file.write_all(pem.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_identity_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let made = TlsIdentity::open(&folder.path().join("tls"), &[]).unwrap();
        let kept = TlsIdentity::open(&folder.path().join("tls"), &[]).unwrap();
        assert_eq!(made.certificate_sha256(), kept.certificate_sha256());
        assert_eq!(made.certificate_sha256(), <[u8; 32]>::from(Sha256::digest(&made.certificate)));
        let other = TlsIdentity::open(&folder.path().join("other"), &[]).unwrap();
        assert_ne!(made.certificate_sha256(), other.certificate_sha256());
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        TlsIdentity::open(folder.path(), &[]).unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(TlsIdentity::open(folder.path(), &[]), Err(TlsError::Permissions(_))));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();

        let linked = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&path, linked.path().join(FILE)).unwrap();
        assert!(matches!(TlsIdentity::open(linked.path(), &[]), Err(TlsError::Permissions(_))));
    }

    #[test]
    fn a_file_without_a_key_and_its_certificate_is_refused() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [path, foreign] = [&folder, &other].map(|folder| {
            TlsIdentity::open(folder.path(), &[]).unwrap();
            folder.path().join(FILE)
        });
        let text = fs::read_to_string(&path).unwrap();
        let foreign = fs::read_to_string(foreign).unwrap();
        let cut = text.find("-----BEGIN CERTIFICATE").unwrap();
        let foreign_certificate = &foreign[foreign.find("-----BEGIN CERTIFICATE").unwrap()..];
        for bad in ["", "no pem", &text[..cut], &text[cut..], &format!("{}{foreign_certificate}", &text[..cut])] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(TlsIdentity::open(folder.path(), &[]), Err(TlsError::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn a_name_that_is_none_makes_no_certificate() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(TlsIdentity::open(folder.path(), &["\u{e9}".to_owned()]), Err(TlsError::Make(_))));
        assert!(!folder.path().join(FILE).exists());
    }
}
