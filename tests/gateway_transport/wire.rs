//! Sockets that say what a test wants said, byte by byte, and read what comes back.

use crate::refusals::assert_harmless;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// Where transactions are submitted: everybody may.
pub(crate) const SUBMIT: &str = "/v1/channels/main/transactions";
/// The catalogue: for enrolled people.
pub(crate) const RECORDS: &str = "/v1/channels/main/records";
/// The type of a body.
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a socket can do.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection to a gateway.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    came: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { stream: Box::new(socket(address)), came: Vec::new() }
    }

    /// TLS to the certificate with this digest, asked for by a name or by none.
    pub(crate) fn tls(address: SocketAddr, name: &str, pin: [u8; 32]) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Pinned { pin, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        Self { stream: Box::new(StreamOwned::new(connection, socket(address))), came: Vec::new() }
    }

    /// Sends bytes; a peer that has hung up does not matter here.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// The next answer; none when the connection ends first.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        self.answer_to("GET")
    }

    /// The next answer, to a request of this method.
    pub(crate) fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.came.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head: Vec<u8> = self.came.drain(..end).collect();
        let head = String::from_utf8(head).expect("headers are text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
        let mut answer = Answer { status, headers: lines.map(header).collect(), body: Vec::new() };
        let len: usize = answer.header("content-length").map_or(0, |len| len.parse().unwrap());
        if method != "HEAD" {
            while self.came.len() < len {
                self.more()?;
            }
            answer.body = self.came.drain(..len).collect();
        }
        Some(answer)
    }

    /// Whether the peer ends the connection, without another byte.
    pub(crate) fn ends(&mut self) -> bool {
        self.came.is_empty() && self.more().is_none() && self.came.is_empty()
    }

    /// What the peer says before it ends the connection.
    pub(crate) fn last_words(&mut self) -> Vec<u8> {
        while self.more().is_some() {}
        std::mem::take(&mut self.came)
    }

    fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) => None,
            Ok(count) => {
                self.came.extend_from_slice(&bytes[..count]);
                Some(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("nothing comes")
            }
            Err(_) => None,
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// Asserts that this is a problem as all problems are, and gives its code.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert!(self.body.len() <= 4096, "{} bytes", self.body.len());
        let body = self.json();
        assert_eq!(body["status"], self.status);
        assert_eq!(body["type"], "about:blank");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        body["code"].as_str().expect("a problem has a code").to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
    }
}

/// Sends one request on a connection of its own.
pub(crate) fn ask(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut wire = Wire::plain(address);
    wire.send(bytes);
    let answer = wire.answer().expect("there is an answer");
    if answer.status >= 400 {
        assert_harmless(&[bytes], answer.status, answer.header("content-type"), &answer.body);
    }
    answer
}

/// A request that is put together by hand.
pub(crate) fn raw(address: SocketAddr, line: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{line}\r\nHost: {address}\r\n{headers}\r\n{body}").into_bytes()
}

/// The body of an answer, as text.
pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

pub(crate) fn socket(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).expect("the gateway listens");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        assert_eq!(Sha256::digest(certificate)[..], self.pin, "the certificate is the pinned one");
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
