//! Opening: an ordered decryption, k verified shares, and the plaintext.

use super::{AskGatewayError, CallError, Client, Gateway, reasons};
use crate::node::Final;
use bytes::Bytes;
use dmdl_types::{
    context::DataContext,
    custody_proof::VerifiedCustody,
    event::Verdict,
    id::{NodeId, PayloadDigest, RecordId, RecordVersion, TransactionId},
    invocation::{Access, Authority, Invocation, OpeningKey},
    secret::Secret32,
    transaction::Transaction,
};
use dmdl_vault::{
    keys,
    payload::{
        self, CommittedKey, PayloadEntry,
        layout::{CHUNK_LEN, HEADER_LEN},
    },
    share::{self, CheckedDealing, CombineError, DealingError},
};
use futures::TryStreamExt as _;
use rand_core::CryptoRng;
use std::{io::Write, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// Ciphertext that is opened at a time.
const PART_BYTES: usize = 1 << 20;

/// Why a record was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such record or version that the gateway may show.
    #[error("there is no such record")]
    NoRecord,
    /// The ledger denied it.
    #[error("denied: {0}")]
    Denied(String),
    /// The gateway could not help, or is not believed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Too few custodians released their shares; the transaction stays usable.
    #[error(
        "custodians unavailable: {got} of {needed} shares came, none from {}{}; transaction `{transaction}` stays \
         usable",
        list(missing),
        named(", and none that verifies in the name of", bad)
    )]
    TooFewShares {
        /// The decryption: asking again with it takes no second use.
        transaction: TransactionId,
        /// How many verified shares came.
        got: usize,
        /// How many are needed.
        needed: usize,
        /// Who did not answer, or refused.
        missing: Vec<NodeId>,
        /// In whose name something came that is not their share.
        bad: Vec<NodeId>,
    },
    /// Too much of what came is no share of the record: this gateway, or custodians, are not honest.
    #[error(
        "only {got} of {needed} shares verify{}{}",
        named("; not what the custodian sent, or not for this decryption:", altered),
        named("; signed by the custodian, and false:", culprits)
    )]
    BadShares {
        /// The decryption: asking again with it takes no second use.
        transaction: TransactionId,
        /// How many verified shares came.
        got: usize,
        /// How many are needed.
        needed: usize,
        /// In whose name something came that they did not sign for this decryption: altered on the way,
        /// which blames nobody.
        altered: Vec<NodeId>,
        /// Who signed a share that does not verify.
        culprits: Vec<NodeId>,
    },
    /// The shares do not combine.
    #[error(transparent)]
    Combine(#[from] CombineError),
    /// The dealing on the ledger is not one.
    #[error(transparent)]
    Dealing(#[from] DealingError),
    /// The vault does not have the payload any more.
    #[error("the sealed payload of record `{record}` is lost: the vault has nothing under `{digest}`")]
    PayloadLost {
        /// The record.
        record: RecordId,
        /// The digest of the payload.
        digest: PayloadDigest,
    },
    /// What the vault has is not what was registered.
    #[error(
        "the sealed payload of record `{record}` is damaged: what the vault has under `{digest}` is something else"
    )]
    PayloadDamaged {
        /// The record.
        record: RecordId,
        /// The digest of the payload.
        digest: PayloadDigest,
    },
    /// The payload does not open.
    #[error(transparent)]
    Payload(#[from] payload::OpenError),
    /// The payload's plaintext is padded in a way that this program does not know.
    #[error(transparent)]
    Padding(#[from] payload::UnsupportedPadding),
}

impl From<AskGatewayError> for OpenError {
    fn from(error: AskGatewayError) -> Self {
        Self::Call(error.into())
    }
}

/// A decryption that is signed and not yet known to be ordered, with the secret to receive its shares
/// with.
///
/// Whoever lets go of it before it is final may lose a use: the transaction may still be ordered.
#[derive(Debug)]
pub struct Prepared {
    transaction: Transaction,
    record: RecordId,
    version: RecordVersion,
    seed: Secret32,
    /// What was proved of the version; none of a decryption that was signed before, and is restored.
    custody: Option<Arc<VerifiedCustody>>,
}

impl Prepared {
    /// A decryption that was signed before, and the secret that was kept with it; none when the
    /// transaction is no decryption.
    #[must_use]
    pub fn restore(transaction: Transaction, seed: Secret32) -> Option<Self> {
        let Invocation::Access(Access::Decrypt { record, version, .. }) = transaction.body.invocation else {
            return None;
        };
        Some(Self { transaction, record, version, seed, custody: None })
    }

    /// The decryption's id.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        self.transaction.body.id()
    }

    /// What [`Prepared::restore`] takes.
    ///
    /// # Security
    /// With the seed, whoever gets the released shares can open the payload: it is kept like a key.
    #[must_use]
    pub const fn parts(&self) -> (&Transaction, &Secret32) {
        (&self.transaction, &self.seed)
    }
}

/// A decryption that was allowed, and the secret to receive its shares with.
#[derive(Debug)]
pub struct Opening {
    /// The decryption.
    pub done: Final,
    record: RecordId,
    version: RecordVersion,
    pub(super) nonce: [u8; 16],
    pub(super) seed: Secret32,
    custody: Option<Arc<VerifiedCustody>>,
}

/// A record that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The decryption.
    pub transaction: TransactionId,
    /// How many bytes of plaintext were written.
    pub plaintext_len_bytes: u64,
    /// Whose shares were used.
    pub custodians: Vec<NodeId>,
    /// In whose name something came that they did not sign for this decryption.
    pub altered: Vec<NodeId>,
    /// Who signed a share that does not verify.
    pub culprits: Vec<NodeId>,
}

impl<G: Gateway, R: CryptoRng + Send> Client<G, R> {
    /// Orders a decryption of a record's version: [`Client::prepare`] and [`Client::order`] in one.
    ///
    /// # Errors
    /// [`OpenError::Denied`] when the ledger denies it: the denial is on the ledger too.
    pub async fn decrypt(
        &self,
        record: RecordId,
        version: RecordVersion,
        authority: Authority,
    ) -> Result<Opening, OpenError> {
        self.order(&self.prepare(record, version, authority).await?).await
    }

    /// Signs a decryption of a record's version; nobody else knows of it yet.
    ///
    /// # Errors
    /// [`OpenError::NoRecord`] when the gateway shows no such version.
    pub async fn prepare(
        &self,
        record: RecordId,
        version: RecordVersion,
        authority: Authority,
    ) -> Result<Prepared, OpenError> {
        let custody = self.registered(record, version).await?;
        let seed = self.random(keys::random_secret);
        let mut opening_keys = Vec::new();
        let call = |keys| Invocation::Access(Access::Decrypt { record, version, authority, keys });
        let mut body = self.body(call(Vec::new())).await?;
        for share in &custody.registration().dealing.shares {
            let custodian = share.key.custodian;
            let secret = keys::opening_secret(&seed, &body.nonce, custodian);
            opening_keys.push(OpeningKey { custodian, key: keys::x25519_public(&secret) });
        }
        opening_keys.sort_by_key(|key| key.custodian);
        body.invocation = call(opening_keys);
        Ok(Prepared { transaction: body.sign(&[&self.key]), record, version, seed, custody: Some(custody) })
    }

    /// Has a signed decryption ordered, and believes the outcome only when it is proved.
    ///
    /// May be called again with the same decryption, also after it was not final in time: it is
    /// ordered once, and takes one use.
    ///
    /// # Errors
    /// [`OpenError::Denied`] when the ledger denies it: the denial is on the ledger too.
    pub async fn order(&self, prepared: &Prepared) -> Result<Opening, OpenError> {
        let done = self.submit(prepared.transaction.clone()).await?;
        let outcome = &done.event.outcome;
        if outcome.verdict != Verdict::Allow {
            return Err(OpenError::Denied(reasons(&outcome.reasons)));
        }
        let Prepared { transaction, record, version, seed, custody } = prepared;
        let (seed, nonce) = (seed.expose(|bytes| Secret32::new(*bytes)), transaction.body.nonce);
        Ok(Opening { done, record: *record, version: *version, nonce, seed, custody: custody.clone() })
    }

    /// Gathers the shares of an allowed decryption, and writes the plaintext.
    ///
    /// May be called again with the same opening: it takes no second use.
    ///
    /// # Errors
    /// [`OpenError`]; after [`OpenError::TooFewShares`] the opening stays usable.
    pub async fn open(&self, opening: &Opening, plaintext: impl Write + Send) -> Result<Opened, OpenError> {
        // What a version was registered with does not change.
        let custody = match &opening.custody {
            Some(custody) => Arc::clone(custody),
            None => self.registered(opening.record, opening.version).await?,
        };
        let registration = custody.registration();
        let domain = self.founding().domain;
        let data = DataContext {
            network: domain.network,
            channel: domain.channel,
            record: opening.record,
            version: opening.version,
        };
        let checked = CheckedDealing::of_dealing(&registration.dealing, data)?;
        let custodians = registration.dealing.shares.iter().map(|share| share.key.custodian).collect();
        let gathered = self.gather(opening, custodians, &checked).await?;
        let data_key = share::combine(&checked, &gathered.shares)?;
        let entry = PayloadEntry::try_from(&registration.payload)?;
        let opened = self.stream(&entry, &data_key, &data, plaintext).await;
        let plaintext_len_bytes = opened.map_err(|error| of_vault(error, opening.record, entry.digest))?;
        Ok(Opened {
            transaction: opening.done.transaction,
            plaintext_len_bytes,
            custodians: gathered.from,
            altered: gathered.altered,
            culprits: gathered.culprits,
        })
    }

    /// What was registered, believed because it is proved.
    async fn registered(&self, record: RecordId, version: RecordVersion) -> Result<Arc<VerifiedCustody>, OpenError> {
        self.custody(record, version, Duration::ZERO).await?.map(Arc::new).ok_or(OpenError::NoRecord)
    }

    /// Opens the payload as it comes: memory does not grow with it, and a byte of plaintext is written
    /// only after its chunk was verified.
    async fn stream(
        &self,
        entry: &PayloadEntry,
        data_key: &Secret32,
        data: &DataContext,
        mut plaintext: impl Write + Send,
    ) -> Result<u64, OpenError> {
        let mut parts = self.gateway.download(entry.digest).await?;
        let mut head = Vec::new();
        while head.len() < HEADER_LEN {
            let Some(part) = parts.try_next().await? else { break };
            head.extend_from_slice(&part);
        }
        let truncated = || payload::OpenError::Truncated {
            expected_bytes: entry.ciphertext_len_bytes,
            got_bytes: head.len() as u64,
        };
        let (header, first) = head.split_first_chunk::<HEADER_LEN>().ok_or_else(truncated)?;
        let mut opener = CommittedKey::check(data_key, data, entry, header)?.into_opener();
        // Room for the largest part, so that the buffer never grows and leaves plaintext behind.
        let mut opened = Zeroizing::new(Vec::with_capacity(PART_BYTES + CHUNK_LEN));
        let mut part = Bytes::copy_from_slice(first);
        loop {
            for piece in part.chunks(PART_BYTES) {
                let pushed = opener.push(piece, &mut opened);
                plaintext.write_all(&opened).map_err(payload::OpenError::Write)?;
                opened.clear();
                pushed?;
            }
            match parts.try_next().await? {
                Some(next) => part = next,
                None => break,
            }
        }
        let len_bytes = opener.finish()?;
        plaintext.flush().map_err(payload::OpenError::Write)?;
        Ok(len_bytes)
    }
}

/// Names the record whose payload a vault does not have as it was registered.
fn of_vault(error: OpenError, record: RecordId, digest: PayloadDigest) -> OpenError {
    let code = match &error {
        OpenError::Call(CallError::Gateway(AskGatewayError::Problem(problem))) => problem.code.as_ref(),
        _ => "",
    };
    match code {
        "unknown_payload" => OpenError::PayloadLost { record, digest },
        "blob_corrupt" => OpenError::PayloadDamaged { record, digest },
        _ => error,
    }
}

/// Words and the nodes that they are about; nothing if there are none.
fn named(words: &str, nodes: &[NodeId]) -> String {
    if nodes.is_empty() { String::new() } else { format!("{words} {}", list(nodes)) }
}

pub(crate) fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
