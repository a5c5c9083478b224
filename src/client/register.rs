//! Registration: seal, store, deal, register, hand out the shares.

use super::{AskGatewayError, CallError, Client, Gateway};
use crate::node::Final;
use dmdl_types::{
    access::PolicyDocument,
    context::DataContext,
    custody::{Dealing, DealingKey, DealtShare, SealedBytes},
    event::Verdict,
    genesis::EpochConfig,
    id::{NodeId, RecordId, RecordVersion, ShareEpoch},
    invocation::{Access, Invocation, Metadata, PayloadInfo, Registration},
};
use dmdl_vault::{
    payload::{self, SealError},
    seal::{self, SealedShare},
    share::{self, CheckedDealing, DealError, Dealt, Threshold, ThresholdError},
};
use futures::{StreamExt as _, stream};
use rand_core::CryptoRng;
use std::{
    io::{self, Read, Seek, Write},
    time::Duration,
};

/// How often a share is handed to a custodian that is slow or behind.
const HAND_OUT_TRIES: usize = 3;

/// Why a record was not registered. Nothing of it can be opened by anyone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Too few custodians handed out dealing keys.
    #[error("only {got} custodians answered, {needed} are needed; try again when more are up")]
    TooFewCustodians {
        /// How many did.
        got: usize,
        /// How many must.
        needed: usize,
    },
    /// Too few dealing keys were signed by the custodians that they are said to be of: under another's key,
    /// that other would receive the share.
    #[error(
        "only {got} dealing keys verify, {needed} are needed; what came in the name of custodians {} is not theirs",
        super::list(forged)
    )]
    ForgedKeys {
        /// How many verify.
        got: usize,
        /// How many must.
        needed: usize,
        /// In whose name others came.
        forged: Vec<NodeId>,
    },
    /// The channel has no such custodian.
    #[error("`{0}` is no custodian of the channel")]
    UnknownCustodian(NodeId),
    /// The threshold does not fit the custodians.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// No shares could be dealt.
    #[error(transparent)]
    Deal(#[from] DealError),
    /// A share could not be sealed.
    #[error("a share could not be sealed: {0}")]
    SealShare(String),
    /// The payload could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The sealed payload could not be kept on the way.
    #[error("the sealed payload could not be kept on the way: {0}")]
    Spool(#[from] io::Error),
    /// The gateway could not help, or is not believed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The ledger rejected it.
    #[error("the ledger rejected the registration: {0}")]
    Rejected(String),
}

impl From<AskGatewayError> for RegisterError {
    fn from(error: AskGatewayError) -> Self {
        Self::Call(error.into())
    }
}

/// What is to be registered, beside the bytes.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What the catalogue says of it.
    pub metadata: Metadata,
    /// Who may open it; none is the channel's default.
    pub policy: Option<PolicyDocument>,
    /// The record that it is a new version of, with the version's number; a new record otherwise.
    pub replaces: Option<(RecordId, RecordVersion)>,
    /// How many shares open it; the channel's default otherwise.
    pub threshold: Option<u8>,
    /// Whom to share the key among, all of them; otherwise whoever answers of the channel's custodians, if
    /// those are enough.
    pub custodians: Vec<NodeId>,
}

impl Draft {
    /// A new record on the channel's defaults.
    #[must_use]
    pub const fn new(metadata: Metadata, policy: Option<PolicyDocument>) -> Self {
        Self { metadata, policy, replaces: None, threshold: None, custodians: Vec::new() }
    }
}

/// What registration has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes are sealed.
    Sealed(u64),
    /// So many sealed bytes are stored, of so many.
    Stored(u64, u64),
    /// The shares are handed out.
    Registered,
}

/// A registered record.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The record.
    pub record: RecordId,
    /// Its version.
    pub version: RecordVersion,
    /// The registering transaction.
    pub done: Final,
    /// The sealed payload, as the ledger has it.
    pub payload: PayloadInfo,
    /// Its custodians, in the order of their indices.
    pub custodians: Vec<NodeId>,
    /// Custodians of the channel that gave no dealing key of their own when asked: they hold no share.
    pub absent: Vec<NodeId>,
    /// How many of their shares open it.
    pub threshold: u8,
}

impl<G: Gateway, R: CryptoRng + Send> Client<G, R> {
    /// Seals what `plaintext` yields, stores it and registers it as a new record, or as a new version of
    /// one.
    ///
    /// `spool` keeps the ciphertext until it is uploaded: a file, or memory for what is small.
    /// Returns once the registration is executed and the shares are handed out; the record becomes
    /// active by itself when enough custodians have acknowledged.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn register(
        &self,
        plaintext: impl Read + Send,
        mut spool: impl Read + Write + Seek + Send,
        draft: Draft,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Registered, RegisterError> {
        let config = self.trust.newest(&self.gateway).await.map_err(CallError::from)?;
        let k = draft.threshold.unwrap_or(config.channel.custody_threshold);
        let asked = custodians(&config, &draft.custodians)?;
        // Before anybody is asked: no answer makes up for custodians that there are not.
        Threshold::new(k, small(asked.len()))?;
        // Of 2k - 1 custodians, k - 1 may be lost. Whoever is named must be among them.
        let needed = if draft.custodians.is_empty() { (2 * usize::from(k)).saturating_sub(1) } else { asked.len() };
        let keys = self.dealing_keys(needed, &asked).await?;
        let threshold = Threshold::new(k, small(keys.len()))?;
        let dealt = self.random(|rng| share::deal(rng, threshold))?;
        let domain = self.founding().domain;
        let commitments = dealt.commitments().as_bytes().to_vec();
        let (record, version) = draft.replaces.unwrap_or_else(|| {
            let record = RecordId::derive(domain.network, domain.channel, self.id(), &commitments);
            (record, RecordVersion::new(1))
        });
        let data = DataContext { network: domain.network, channel: domain.channel, record, version };

        let data_key = dealt.data_key(&data);
        let counted = Counted { inner: plaintext, count: 0, progress };
        let sealed = self.random(|rng| payload::seal(counted, &mut spool, &data_key, &data, rng))?;
        drop(data_key);
        let info = PayloadInfo::from(sealed.entry());
        spool.rewind()?;
        let stored = |bytes| progress(Progress::Stored(bytes, info.ciphertext_len_bytes));
        self.gateway.upload(&info, spool, &stored).await?;

        let (dealing, shares) = self.seal_shares(&dealt, &data, &keys)?;
        drop(dealt);
        let registration = Registration {
            record,
            version,
            metadata: draft.metadata,
            payload: info.clone(),
            dealing,
            policy: draft.policy,
        };
        let done = self.call(Invocation::Access(Access::Register(Box::new(registration)))).await?;
        if done.event.outcome.verdict != Verdict::Applied {
            return Err(RegisterError::Rejected(super::reasons(&done.event.outcome.reasons)));
        }
        self.hand_out(record, version, shares).await;
        progress(Progress::Registered);
        let custodians: Vec<NodeId> = keys.iter().map(|key| key.custodian).collect();
        let absent = asked.into_iter().filter(|node| !custodians.contains(node)).collect();
        Ok(Registered { record, version, done, payload: info, custodians, absent, threshold: k })
    }

    /// Waits until enough custodians are proved to have acknowledged; `false` when they have not in time.
    ///
    /// # Errors
    /// [`CallError`] when nothing can be believed of it.
    pub async fn wait_active(
        &self,
        record: RecordId,
        version: RecordVersion,
        patience: Duration,
    ) -> Result<bool, CallError> {
        Ok(self.custody(record, version, patience).await?.is_some_and(|custody| custody.is_active()))
    }

    /// One dealing key of each custodian that answers, verified by its own signature.
    async fn dealing_keys(&self, needed: usize, custodians: &[NodeId]) -> Result<Vec<DealingKey>, RegisterError> {
        let (domain, dealer) = (self.founding().domain, self.id());
        let asked = custodians.iter().map(|node| async {
            let answer = self.gateway.dealing_keys(*node, dealer, 1).await;
            let key = answer.ok()?.into_iter().next()?;
            // The gateway's word is not enough: its own key would receive the share.
            Some(if key.custodian == *node && key.verify(&domain, dealer) { Ok(key) } else { Err(*node) })
        });
        let answers: Vec<Result<DealingKey, NodeId>> =
            stream::iter(asked).buffered(custodians.len().max(1)).filter_map(std::future::ready).collect().await;
        let answered = answers.len();
        let forged: Vec<NodeId> = answers.iter().filter_map(|answer| answer.err()).collect();
        let keys: Vec<DealingKey> = answers.into_iter().filter_map(Result::ok).collect();
        let got = keys.len();
        if got >= needed {
            return Ok(keys);
        }
        Err(if answered >= needed {
            RegisterError::ForgedKeys { got, needed, forged }
        } else {
            RegisterError::TooFewCustodians { got, needed }
        })
    }

    /// Seals each share to its custodian's one-time key.
    fn seal_shares(
        &self,
        dealt: &Dealt,
        data: &DataContext,
        keys: &[DealingKey],
    ) -> Result<(Dealing, Vec<(NodeId, SealedBytes)>), RegisterError> {
        let epoch = ShareEpoch::new(0);
        let checked = CheckedDealing::new(dealt.commitments().clone(), *data, epoch);
        let (mut entries, mut sealed) = (Vec::new(), Vec::new());
        for (key, share) in keys.iter().zip(dealt.shares()) {
            let context = checked.context(key.custodian, share.index());
            let one: SealedShare = self
                .random(|rng| seal::seal_to_custodian(rng, share, &context, &key.key))
                .map_err(|error| RegisterError::SealShare(error.to_string()))?;
            entries.push(DealtShare { key: *key, digest: one.digest() });
            sealed.push((key.custodian, one.to_bytes()));
        }
        let threshold = dealt.commitments().threshold();
        let dealing = Dealing {
            suite: 1,
            epoch,
            commitments: dealt.commitments().as_bytes().to_vec(),
            shares: entries,
            min_acks: threshold.min_acks(),
        };
        Ok((dealing, sealed))
    }

    /// Hands the shares out. A custodian that misses its share is repaired by the others; the record
    /// becomes active without it if enough acknowledge.
    async fn hand_out(&self, record: RecordId, version: RecordVersion, shares: Vec<(NodeId, SealedBytes)>) {
        let deliveries = shares.into_iter().map(|(custodian, sealed)| async move {
            for _ in 0..HAND_OUT_TRIES {
                match self.gateway.deliver(custodian, record, version, sealed.clone()).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%custodian, %error, "a custodian did not take its share"),
                }
            }
        });
        futures::future::join_all(deliveries).await;
    }
}

/// The custodians of the channel that are wanted; all of them, if none is named.
fn custodians(config: &EpochConfig, wanted: &[NodeId]) -> Result<Vec<NodeId>, RegisterError> {
    let mut custodians: Vec<NodeId> = config.custodians().map(|member| member.node).collect();
    if let Some(unknown) = wanted.iter().find(|node| !custodians.contains(node)) {
        return Err(RegisterError::UnknownCustodian(*unknown));
    }
    custodians.retain(|node| wanted.is_empty() || wanted.contains(node));
    Ok(custodians)
}

fn small(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

/// Counts what is read.
struct Counted<'a, R> {
    inner: R,
    count: u64,
    progress: &'a (dyn Fn(Progress) + Sync),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buf)?;
        self.count = self.count.saturating_add(len as u64);
        (self.progress)(Progress::Sealed(self.count));
        Ok(len)
    }
}
