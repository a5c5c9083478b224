//! Opening: an ordered decryption, k verified shares, and the plaintext.

use super::{
    AskGatewayError, CallError, Client, Gateway,
    gateway::Ciphertext,
    gather::{Gathered, Lack},
    reasons,
};
use crate::node::Final;
use bytes::Bytes;
use dmdl_types::{
    access::ReasonCode,
    context::DataContext,
    custody_proof::{Kept, VerifiedCustody},
    event::Verdict,
    id::{NodeId, PayloadDigest, RecordId, RecordVersion, TransactionId},
    invocation::{Access, Accusation, Authority, Invocation, OpeningKey},
    secret::Secret32,
    transaction::Transaction,
};
use dmdl_vault::{
    keys,
    payload::{
        self, CommittedKey, PayloadEntry,
        layout::{CHUNK_LEN, HEADER_LEN},
    },
    share::{self, CheckedDealing, CombineError, Commitments, DealingError, Threshold},
};
use futures::TryStreamExt as _;
use rand_core::CryptoRng;
use std::{collections::BTreeSet, io::Write, ops::Range, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// How often, and after how long, custodians that refuse are asked again: their share epoch may have ended a moment ago.
const LOOKS_MAX: u32 = 5;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);
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
    /// The custodians that the decryption lists one-time keys for.
    listed: BTreeSet<NodeId>,
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
        let call = |keys| Invocation::Access(Access::Decrypt { record, version, authority, keys });
        let mut body = self.body(call(Vec::new())).await?;
        let listed = opening_keys(&seed, &body.nonce, &custody.kept().custodians);
        body.invocation = call(listed);
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
        let listed = match &transaction.body.invocation {
            Invocation::Access(Access::Decrypt { keys, .. }) => keys.iter().map(|key| key.custodian).collect(),
            _ => BTreeSet::new(),
        };
        Ok(Opening { done, record: *record, version: *version, nonce, seed, listed, custody: custody.clone() })
    }

    /// Gathers the shares of an allowed decryption, and writes the plaintext.
    ///
    /// May be called again with the same opening: it takes no second use.
    ///
    /// # Errors
    /// [`OpenError`]; after [`OpenError::TooFewShares`] the opening stays usable.
    pub async fn open(&self, opening: &Opening, plaintext: impl Write + Send) -> Result<Opened, OpenError> {
        self.open_bytes(opening, None, plaintext).await
    }

    /// The same of some bytes of the plaintext, for which no others are read: those from `start` to `end`, or to the end where
    /// that is nearer.
    ///
    /// # Errors
    /// As [`Client::open`], and [`payload::OpenError::NoSuchRange`] for a range that begins after the end.
    ///
    /// # Security
    /// What comes is what was sealed there: each chunk proves itself, and its place. Of the rest nothing is known.
    pub async fn open_range(
        &self,
        opening: &Opening,
        range: Range<u64>,
        plaintext: impl Write + Send,
    ) -> Result<Opened, OpenError> {
        self.open_bytes(opening, Some(range), plaintext).await
    }

    async fn open_bytes(
        &self,
        opening: &Opening,
        range: Option<Range<u64>>,
        plaintext: impl Write + Send,
    ) -> Result<Opened, OpenError> {
        let domain = self.founding().domain;
        let data = DataContext {
            network: domain.network,
            channel: domain.channel,
            record: opening.record,
            version: opening.version,
        };
        let (custody, data_key, gathered) = match self.data_key(opening, data).await {
            Ok(gathered) => gathered,
            Err(lack) => {
                self.accuse(lack.accusations).await;
                return Err(lack.error);
            }
        };
        let registration = custody.registration();
        let entry = PayloadEntry::try_from(&registration.payload)?;
        let opened = match range {
            None => self.stream(&entry, &data_key, &data, plaintext).await,
            Some(range) => self.stream_range(&entry, &data_key, &data, range, plaintext).await,
        };
        let plaintext_len_bytes = opened.map_err(|error| of_vault(error, opening.record, entry.digest))?;
        self.accuse(gathered.accusations).await;
        Ok(Opened {
            transaction: opening.done.transaction,
            plaintext_len_bytes,
            custodians: gathered.from,
            altered: gathered.altered,
            culprits: gathered.culprits,
        })
    }

    /// The key of the payload, from shares of one epoch: of the next one, if that begins meanwhile.
    async fn data_key(
        &self,
        opening: &Opening,
        data: DataContext,
    ) -> Result<(Arc<VerifiedCustody>, Secret32, Gathered), Lack> {
        let mut custody = match &opening.custody {
            Some(custody) => Arc::clone(custody),
            None => self.registered(opening.record, opening.version).await?,
        };
        let (mut listed, mut looks) = (opening.listed.clone(), 0);
        loop {
            self.list_keys(opening, &custody.kept().custodians, &mut listed).await?;
            let checked = checked(custody.kept(), data).map_err(OpenError::from)?;
            let lack = match self.gather(opening, custody.kept().custodians.clone(), &checked).await {
                Ok(gathered) => {
                    let data_key = share::combine(&checked, &gathered.shares).map_err(OpenError::from)?;
                    return Ok((custody, data_key, gathered));
                }
                Err(lack) => lack,
            };
            // Custodians refuse when their epoch has ended, and send shares of the next one; a gateway may hear of that a moment
            // later.
            let latest = self.registered(opening.record, opening.version).await?;
            if latest.kept().epoch > custody.kept().epoch {
                (custody, looks) = (latest, 0);
            } else if lack.may_be_early && looks < LOOKS_MAX {
                looks += 1;
                self.gateway.pause(LOOK_AGAIN_AFTER).await;
            } else {
                return Err(lack);
            }
        }
    }

    /// Shows the ledger what custodians released that lied. Whoever has opened a record has it, whatever becomes of this.
    async fn accuse(&self, accusations: Vec<Accusation>) {
        for accusation in accusations {
            let custodian = accusation.custodian;
            match self.call(Invocation::Access(Access::Accuse(Box::new(accusation)))).await {
                Ok(done) => {
                    tracing::warn!(%custodian, transaction = %done.transaction, "a custodian lied; the ledger is told")
                }
                Err(error) => tracing::warn!(%custodian, %error, "a custodian lied; the ledger could not be told"),
            }
        }
    }

    /// Has one-time keys added to the decryption for custodians that it lists none for: it takes no further use.
    async fn list_keys(
        &self,
        opening: &Opening,
        custodians: &[NodeId],
        listed: &mut BTreeSet<NodeId>,
    ) -> Result<(), OpenError> {
        let new: Vec<NodeId> = custodians.iter().copied().filter(|node| !listed.contains(node)).collect();
        if new.is_empty() {
            return Ok(());
        }
        if !self.rekey(opening, &new).await? && new.len() > 1 {
            // An attempt before has listed some of them.
            for custodian in &new {
                self.rekey(opening, &[*custodian]).await?;
            }
        }
        listed.extend(new);
        Ok(())
    }

    /// Has keys for these custodians added, all or none; none are if one is there already: that one is the same.
    async fn rekey(&self, opening: &Opening, custodians: &[NodeId]) -> Result<bool, OpenError> {
        let keys = opening_keys(&opening.seed, &opening.nonce, custodians);
        let call = Access::Rekey { decryption: opening.done.transaction, keys };
        let outcome = self.call(Invocation::Access(call)).await?.event.outcome;
        if outcome.verdict == Verdict::Applied {
            return Ok(true);
        }
        let known = outcome.reasons.iter().any(|reason| reason.code == ReasonCode::BadOpeningKey);
        if known { Ok(false) } else { Err(OpenError::Denied(reasons(&outcome.reasons))) }
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
        take(&mut parts, &mut head, HEADER_LEN).await?;
        let cut = || payload::OpenError::Truncated {
            expected_bytes: entry.ciphertext_len_bytes,
            got_bytes: head.len() as u64,
        };
        let (header, first) = head.split_first_chunk::<HEADER_LEN>().ok_or_else(cut)?;
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

    /// Opens a range of the payload as it comes, a window of whole chunks at a time.
    async fn stream_range(
        &self,
        entry: &PayloadEntry,
        data_key: &Secret32,
        data: &DataContext,
        range: Range<u64>,
        mut plaintext: impl Write + Send,
    ) -> Result<u64, OpenError> {
        let mut head = self.gateway.download_range(entry.digest, 0..HEADER_LEN as u64).await?;
        let mut header = Vec::with_capacity(HEADER_LEN);
        take(&mut head, &mut header, HEADER_LEN).await?;
        let header =
            header.first_chunk::<HEADER_LEN>().ok_or(OpenError::Payload(truncated(HEADER_LEN, header.len())))?;
        let key = CommittedKey::check(data_key, data, entry, header)?;
        let end = range.end.min(key.layout().plaintext_len_bytes());
        let whole = key.plan(range.start..end.max(range.start))?.ciphertext();
        if whole.is_empty() {
            return Ok(0);
        }
        let mut parts = self.gateway.download_range(entry.digest, whole).await?;
        let (mut sealed, mut opened) = (Vec::new(), Zeroizing::new(Vec::with_capacity(PART_BYTES)));
        let mut at = range.start;
        while at < end {
            let until = end.min((at / PART_BYTES as u64 + 1) * PART_BYTES as u64);
            let plan = key.plan(at..until)?;
            let len = usize::try_from(plan.ciphertext().end - plan.ciphertext().start).unwrap_or(usize::MAX);
            take(&mut parts, &mut sealed, len).await?;
            let (window, _) = sealed.split_at_checked(len).ok_or(truncated(len, sealed.len()))?;
            key.open_planned(&plan, window, &mut opened)?;
            plaintext.write_all(&opened).map_err(payload::OpenError::Write)?;
            opened.clear();
            sealed.drain(..len);
            at = until;
        }
        plaintext.flush().map_err(payload::OpenError::Write)?;
        Ok(end - range.start)
    }
}

/// One-time keys for custodians, sorted by custodian.
fn opening_keys(seed: &Secret32, nonce: &[u8; 16], custodians: &[NodeId]) -> Vec<OpeningKey> {
    let key = |custodian: &NodeId| {
        let secret = keys::opening_secret(seed, nonce, *custodian);
        OpeningKey { custodian: *custodian, key: keys::x25519_public(&secret) }
    };
    let mut keys: Vec<_> = custodians.iter().map(key).collect();
    keys.sort_by_key(|key| key.custodian);
    keys
}

/// Takes parts in until there are as many bytes, or no more.
async fn take(parts: &mut Ciphertext, into: &mut Vec<u8>, len: usize) -> Result<(), OpenError> {
    while into.len() < len {
        let Some(part) = parts.try_next().await? else { break };
        into.extend_from_slice(&part);
    }
    Ok(())
}

const fn truncated(expected: usize, got: usize) -> payload::OpenError {
    payload::OpenError::Truncated { expected_bytes: expected as u64, got_bytes: got as u64 }
}

/// The sharing that custodians keep, with its commitments decoded.
fn checked(kept: &Kept, data: DataContext) -> Result<CheckedDealing, DealingError> {
    let small = |len: usize| u8::try_from(len).unwrap_or(u8::MAX);
    let threshold = Threshold::new(small(kept.commitments.len()), small(kept.custodians.len()))?;
    Ok(CheckedDealing::new(Commitments::parse(threshold, &kept.commitments)?, data, kept.epoch))
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
