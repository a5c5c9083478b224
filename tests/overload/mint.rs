//! Transactions that are ready to be sent.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dmdl::local::{Identity, os_rng};
use dmdl_types::{
    codec,
    id::{Height, NoteCommitment, TransactionId},
    invocation::{Invocation, Medical, Metadata},
    sign::Domain,
    transaction::TransactionBody,
};
use rand_core::Rng as _;
use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// Far enough ahead that nothing expires here.
const EXPIRES_AFTER: u64 = 5000;

/// A signed transaction, as a gateway is sent it.
pub(crate) struct Coin {
    pub(crate) id: TransactionId,
    request: Vec<u8>,
}

/// Signs one transaction after the other, by one author after the other.
pub(crate) struct Mint {
    domain: Domain,
    authors: Vec<Identity>,
    height: u64,
    /// No other mint has it.
    mark: [u8; 8],
    made: AtomicU64,
    /// Those that were refused: nobody needs to sign anew to ask again.
    refused: Mutex<VecDeque<Coin>>,
}

impl Mint {
    pub(crate) fn new(domain: Domain, authors: Vec<Identity>, height: u64) -> Self {
        let mut mark = [0; 8];
        os_rng().fill_bytes(&mut mark);
        Self { domain, authors, height, mark, made: AtomicU64::new(0), refused: Mutex::default() }
    }

    /// The next transaction: one that was refused before, or a new one.
    pub(crate) fn coin(&self) -> Coin {
        if let Some(coin) = self.refused.lock().unwrap().pop_front() {
            return coin;
        }
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let author = &self.authors[usize::try_from(number).unwrap() % self.authors.len()];
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&number.to_le_bytes());
        nonce[8..].copy_from_slice(&self.mark);
        let metadata = Metadata { media_type: "application/dicom".to_owned(), subject: None, listed: true };
        // Where it comes from does not matter here.
        let source = NoteCommitment::new(*author.person.key.as_bytes());
        let body = TransactionBody {
            domain: self.domain,
            authors: vec![author.person.key],
            nonce,
            expires: Height::new(self.height + EXPIRES_AFTER),
            invocation: Invocation::Medical(Medical::Initial { metadata, source, storage: None }),
        };
        let id = body.id();
        let transaction = STANDARD.encode(codec::encode(&body.sign(&[&author.key])));
        let body = format!("{{\"transaction\":\"{transaction}\"}}");
        let request = format!(
            "POST /v1/channels/main/transactions?timeout=30000 HTTP/1.1\r\nhost: HOST\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Coin { id, request: request.into_bytes() }
    }

    /// Takes one back that was refused.
    pub(crate) fn take_back(&self, coin: Coin) {
        self.refused.lock().unwrap().push_back(coin);
    }
}

impl Coin {
    /// The request to a gateway.
    pub(crate) fn request(&self, host: &str) -> Vec<u8> {
        let at = self.request.windows(4).position(|window| window == b"HOST").unwrap();
        [&self.request[..at], host.as_bytes(), &self.request[at + 4..]].concat()
    }
}
