//! Registration: seal, store, deal, register, hand out the shares.

use super::Client;
use crate::node::{Final, GatewayError};
use bytes::Bytes;
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    store::{Store, StoreError},
    world::VersionState,
};
use dmdl_types::{
    access::PolicyDocument,
    context::DataContext,
    custody::{Dealing, DealingKey, DealtShare, SealedBytes},
    event::Verdict,
    id::{NodeId, RecordId, RecordVersion, ShareEpoch},
    invocation::{Access, Invocation, Metadata, PayloadInfo, Registration},
};
use dmdl_vault::{
    payload::{self, SealError},
    seal::{self, SealedShare},
    share::{self, CheckedDealing, DealError, Dealt, Threshold, ThresholdError},
    store::PutError,
};
use futures::{StreamExt as _, stream};
use rand_core::CryptoRng;
use std::io::{self, Read, Seek, Write};

/// Bytes that are uploaded at a time.
const UPLOAD_BYTES: usize = 1 << 20;

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
    /// The vault did not take the payload.
    #[error(transparent)]
    Upload(#[from] PutError),
    /// The gateway could not help.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The ledger rejected it.
    #[error("the ledger rejected the registration: {0}")]
    Rejected(String),
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is to be registered, beside the bytes.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What the catalogue says of it.
    pub metadata: Metadata,
    /// Who may open it; none is the channel's default.
    pub policy: Option<PolicyDocument>,
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
    /// How many of their shares open it.
    pub threshold: u8,
}

impl<E: Clock + CryptoRng, S: Store, R: CryptoRng> Client<E, S, R> {
    /// Seals what `plaintext` yields, stores it and registers it as a new record.
    ///
    /// `spool` keeps the ciphertext until it is uploaded: a file, or memory for what is small.
    /// Returns once the registration is executed and the shares are handed out; the record becomes
    /// active by itself when enough custodians have acknowledged.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub async fn register(
        &self,
        plaintext: impl Read,
        mut spool: impl Read + Write + Seek + Send,
        draft: Draft,
    ) -> Result<Registered, RegisterError> {
        let k = self.genesis.channel.custody_threshold;
        let keys = self.dealing_keys(k).await?;
        let threshold = Threshold::new(k, u8::try_from(keys.len()).unwrap_or(u8::MAX))?;
        let dealt = self.random(|rng| share::deal(rng, threshold))?;
        let domain = self.genesis.domain();
        let commitments = dealt.commitments().as_bytes().to_vec();
        let record = RecordId::derive(domain.network, domain.channel, self.id(), &commitments);
        let version = RecordVersion::new(1);
        let data = DataContext { network: domain.network, channel: domain.channel, record, version };

        let data_key = dealt.data_key(&data);
        let sealed = self.random(|rng| payload::seal(plaintext, &mut spool, &data_key, &data, rng))?;
        drop(data_key);
        let info = PayloadInfo::from(sealed.entry());
        spool.rewind()?;
        self.upload(&info, spool).await?;

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
        let custodians = keys.iter().map(|key| key.custodian).collect();
        Ok(Registered { record, version, done, payload: info, custodians, threshold: k })
    }

    /// Waits until enough custodians have acknowledged; `false` when they have not in time.
    ///
    /// # Errors
    /// [`StoreError`] when the gateway's state cannot be read.
    pub async fn wait_active(&self, record: RecordId, version: RecordVersion) -> Result<bool, StoreError> {
        let active = || {
            let row = self.gateway.channel().version(record, version)?;
            Ok(row.filter(|row| row.state == VersionState::Active))
        };
        Ok(self.gateway.when(self.patience, active).await?.is_some())
    }

    /// One dealing key of each custodian that answers, verified against the pinned genesis.
    async fn dealing_keys(&self, k: u8) -> Result<Vec<DealingKey>, RegisterError> {
        let config = self.genesis.epoch_config(dmdl_types::id::Epoch::new(0));
        let (domain, dealer) = (self.genesis.domain(), self.id());
        let custodians: Vec<NodeId> = config.custodians().map(|member| member.node).collect();
        let asked = custodians.iter().map(|node| async {
            let answer = self.gateway.dealing_keys(*node, dealer, 1).await;
            let key = answer.ok()?.into_iter().next()?;
            // The gateway's word is not enough: its own key would receive the share.
            (key.custodian == *node && key.verify(&domain, dealer)).then_some(key)
        });
        let keys: Vec<DealingKey> =
            stream::iter(asked).buffered(custodians.len().max(1)).filter_map(std::future::ready).collect().await;
        let needed = (2 * usize::from(k)).saturating_sub(1);
        if keys.len() < needed {
            return Err(RegisterError::TooFewCustodians { got: keys.len(), needed });
        }
        Ok(keys)
    }

    async fn upload(&self, info: &PayloadInfo, spool: impl Read + Send) -> Result<(), RegisterError> {
        let parts = stream::unfold(spool, |mut spool| async move {
            let mut part = vec![0; UPLOAD_BYTES];
            match spool.read(&mut part) {
                Ok(0) => None,
                Ok(len) => {
                    part.truncate(len);
                    Some((Ok::<_, io::Error>(Bytes::from(part)), spool))
                }
                Err(error) => Some((Err(error), spool)),
            }
        });
        Ok(self.gateway.payloads().put(info.digest, info.ciphertext_len_bytes, parts).await?)
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
