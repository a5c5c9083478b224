//! Opening: an ordered decryption, k verified shares, and the plaintext.

use super::{Client, reasons};
use crate::node::{Final, GatewayError};
use bytes::Bytes;
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    store::{Store, StoreError},
    world::VersionRow,
};
use dmdl_types::{
    context::{DataContext, ReleaseContext},
    event::Verdict,
    id::{NodeId, RecordId, RecordVersion, ShareIndex, TransactionId},
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
    seal::{self, ReleasedShare},
    share::{self, CheckedDealing, CombineError, DealingError, VerifiedShare},
    store::GetError,
};
use futures::{StreamExt as _, TryStreamExt as _, stream::FuturesUnordered};
use rand_core::CryptoRng;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};
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
    /// The gateway could not help.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// Too few custodians released their shares; the transaction stays usable.
    #[error(
        "custodians unavailable: {} of {needed} shares came, none from {}; transaction `{transaction}` stays usable",
        got,
        list(missing)
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
    },
    /// The shares do not combine.
    #[error(transparent)]
    Combine(#[from] CombineError),
    /// The dealing on the ledger is not one.
    #[error(transparent)]
    Dealing(#[from] DealingError),
    /// The payload cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] GetError),
    /// The payload does not open.
    #[error(transparent)]
    Payload(#[from] payload::OpenError),
    /// The payload's plaintext is padded in a way that this program does not know.
    #[error(transparent)]
    Padding(#[from] payload::UnsupportedPadding),
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
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
}

impl Prepared {
    /// The decryption's id.
    #[must_use]
    pub fn id(&self) -> TransactionId {
        self.transaction.body.id()
    }
}

/// A decryption that was allowed, and the secret to receive its shares with.
#[derive(Debug)]
pub struct Opening {
    /// The decryption.
    pub done: Final,
    record: RecordId,
    version: RecordVersion,
    nonce: [u8; 16],
    seed: Secret32,
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
    /// Whose shares did not verify.
    pub culprits: Vec<NodeId>,
}

impl<E: Clock + CryptoRng, S: Store, R: CryptoRng> Client<E, S, R> {
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
        self.order(&self.prepare(record, version, authority)?).await
    }

    /// Signs a decryption of a record's version; nobody else knows of it yet.
    ///
    /// # Errors
    /// [`OpenError::NoRecord`] when the gateway shows no such version.
    pub fn prepare(
        &self,
        record: RecordId,
        version: RecordVersion,
        authority: Authority,
    ) -> Result<Prepared, OpenError> {
        let row = self.version_row(record, version)?;
        let seed = self.random(keys::random_secret);
        let mut opening_keys = Vec::new();
        let call = |keys| Invocation::Access(Access::Decrypt { record, version, authority, keys });
        let mut body = self.body(call(Vec::new()));
        for share in &row.shares {
            let custodian = share.key.custodian;
            let secret = keys::opening_secret(&seed, &body.nonce, custodian);
            opening_keys.push(OpeningKey { custodian, key: keys::x25519_public(&secret) });
        }
        opening_keys.sort_by_key(|key| key.custodian);
        body.invocation = call(opening_keys);
        Ok(Prepared { transaction: body.sign(&[&self.key]), record, version, seed })
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
        let Prepared { transaction, record, version, seed } = prepared;
        let seed = seed.expose(|bytes| Secret32::new(*bytes));
        Ok(Opening { done, record: *record, version: *version, nonce: transaction.body.nonce, seed })
    }

    /// Gathers the shares of an allowed decryption, and writes the plaintext.
    ///
    /// May be called again with the same opening: it takes no second use.
    ///
    /// # Errors
    /// [`OpenError`]; after [`OpenError::TooFewShares`] the opening stays usable.
    pub async fn open(&self, opening: &Opening, plaintext: impl Write) -> Result<Opened, OpenError> {
        let row = self.version_row(opening.record, opening.version)?;
        self.check_row(opening, &row)?;
        let domain = self.genesis.domain();
        let data = DataContext {
            network: domain.network,
            channel: domain.channel,
            record: opening.record,
            version: opening.version,
        };
        let threshold = self.checked(&data, &row)?;
        let gathered = self.gather(opening, &row, &threshold).await?;
        let data_key = share::combine(&threshold, &gathered.shares)?;
        let entry = PayloadEntry::try_from(&row.payload)?;
        let plaintext_len_bytes = self.stream(&entry, &data_key, &data, plaintext).await?;
        Ok(Opened {
            transaction: opening.done.transaction,
            plaintext_len_bytes,
            custodians: gathered.from,
            culprits: gathered.culprits,
        })
    }

    fn version_row(&self, record: RecordId, version: RecordVersion) -> Result<VersionRow, OpenError> {
        self.gateway.channel().version(record, version)?.ok_or(OpenError::NoRecord)
    }

    fn checked(&self, data: &DataContext, row: &VersionRow) -> Result<CheckedDealing, OpenError> {
        let first = row.shares.first().ok_or(OpenError::NoRecord)?;
        let context = dmdl_audit_ledger::contract::share_context(data, row, first.key.custodian);
        Ok(CheckedDealing::of_context(&context.ok_or(OpenError::NoRecord)?, &row.commitments)?)
    }

    /// Believes what the gateway shows of a version only if it can be the registered one: the record's
    /// id commits to the first version's commitments, and nobody holds two shares.
    fn check_row(&self, opening: &Opening, row: &VersionRow) -> Result<(), OpenError> {
        let unproved = |what: &str| Err(GatewayError::Unproved(what.to_owned()).into());
        let custodians: BTreeSet<NodeId> = row.shares.iter().map(|share| share.key.custodian).collect();
        if custodians.len() != row.shares.len() {
            return unproved("a custodian stands twice in the dealing");
        }
        if opening.version == RecordVersion::new(1) {
            let domain = self.genesis.domain();
            let first = self.gateway.channel().history(opening.record, 0, 1)?.into_iter().next();
            let owner = first.ok_or(OpenError::NoRecord)?.owner;
            if RecordId::derive(domain.network, domain.channel, owner, &row.commitments) != opening.record {
                return unproved("the dealing is not the one that the record's id commits to");
            }
        }
        Ok(())
    }

    async fn gather(
        &self,
        opening: &Opening,
        row: &VersionRow,
        checked: &CheckedDealing,
    ) -> Result<Gathered, OpenError> {
        let needed = row.commitments.len();
        let mut asked: FuturesUnordered<_> = (1..=u8::MAX)
            .zip(&row.shares)
            .map(|(index, share)| async move {
                let custodian = share.key.custodian;
                let released = self.gateway.release(custodian, opening.done.transaction).await;
                (index, custodian, released)
            })
            .collect();
        let mut gathered = Gathered::default();
        let mut missing = BTreeMap::new();
        while gathered.shares.len() < needed {
            let Some((index, custodian, released)) = asked.next().await else {
                return Err(OpenError::TooFewShares {
                    transaction: opening.done.transaction,
                    got: gathered.shares.len(),
                    needed,
                    missing: missing.into_keys().chain(gathered.culprits).collect(),
                });
            };
            let bytes = match released {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(%custodian, %error, "no share");
                    missing.insert(custodian, ());
                    continue;
                }
            };
            let context = checked.context(custodian, ShareIndex::new(index));
            match self.unseal(opening, checked, context, custodian, &bytes) {
                Some(share) => {
                    gathered.shares.push(share);
                    gathered.from.push(custodian);
                }
                None => gathered.culprits.push(custodian),
            }
        }
        Ok(gathered)
    }

    /// Opens and verifies one released share; none when its custodian is at fault.
    fn unseal(
        &self,
        opening: &Opening,
        checked: &CheckedDealing,
        share: dmdl_types::context::ShareContext,
        custodian: NodeId,
        bytes: &[u8],
    ) -> Option<VerifiedShare> {
        let secret = keys::opening_secret(&opening.seed, &opening.nonce, custodian);
        let context = ReleaseContext {
            share,
            transaction: opening.done.transaction,
            requester: self.id(),
            opening_key: keys::x25519_public(&secret),
        };
        let released: ReleasedShare = dmdl_types::codec::decode(bytes, 1024).ok()?;
        let share = seal::open_released(&released, &context, &secret).ok()?;
        checked.verify(share).ok().filter(|verified| verified.fits(&context.share))
    }

    /// Opens the payload as it comes: memory does not grow with it, and a byte of plaintext is written
    /// only after its chunk was verified.
    async fn stream(
        &self,
        entry: &PayloadEntry,
        data_key: &Secret32,
        data: &DataContext,
        mut plaintext: impl Write,
    ) -> Result<u64, OpenError> {
        let (_, mut parts) = self.gateway.payloads().get(entry.digest).await?;
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

#[derive(Default)]
struct Gathered {
    shares: Vec<VerifiedShare>,
    from: Vec<NodeId>,
    culprits: Vec<NodeId>,
}

fn list(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
