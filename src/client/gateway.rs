//! What a client asks a gateway for.
//!
//! Two kinds of gateway answer: a node in this process ([`SharedNode`]), and one across the network
//! ([`HttpGateway`](super::HttpGateway)). Neither is believed: whatever decides something comes with a
//! proof, and [`Trust`](super::Trust) checks it.

use crate::{
    node::{GatewayError, Parties, RemarkShown, SharedNode},
    problem::Problem,
};
use bytes::Bytes;
use commonware_runtime::Clock;
use dmdl_audit_ledger::store::Store;
use dmdl_types::{
    codec,
    custody::{DealingKey, SealedBytes},
    custody_proof::CustodyProof,
    id::{Epoch, Height, NodeId, PayloadDigest, RecordId, RecordVersion, TransactionId},
    invocation::PayloadInfo,
    lineage::EpochStep,
    merkle::ConsistencyProof,
    receipt::Receipt,
    sign::PublicKey,
    title::Title,
    transaction::Transaction,
};
use dmdl_vault::remark::Remark;
use futures::{StreamExt as _, stream, stream::BoxStream};
use rand_core::CryptoRng;
use std::{
    future::Future,
    io::{self, Read, Seek},
    ops::Range,
    time::Duration,
};

/// Bytes that are uploaded at a time.
const UPLOAD_BYTES: usize = 1 << 20;
/// Bytes of a range that are read at a time.
const DOWNLOAD_BYTES: usize = 1 << 20;

/// Why a gateway did not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskGatewayError {
    /// It refuses, or cannot.
    #[error("{0}")]
    Problem(Problem),
    /// It does not answer.
    #[error("the gateway does not answer: {0}")]
    Unreachable(String),
    /// What it shows is not the gateway that the network file names.
    #[error("the gateway's certificate is not the pinned one: {0}")]
    Certificate(String),
    /// What it answers makes no sense.
    #[error("the gateway's answer makes no sense: {0}")]
    Nonsense(String),
    /// What was to be sent cannot be read.
    #[error("what was to be sent cannot be read: {0}")]
    Source(#[from] io::Error),
}

impl AskGatewayError {
    /// Whether the same may be answered well a moment later.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Problem(problem) => matches!(problem.status, 408 | 425 | 429 | 500..),
            _ => false,
        }
    }
}

impl From<Problem> for AskGatewayError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The ciphertext of a payload as it comes.
pub type Ciphertext = BoxStream<'static, Result<Bytes, AskGatewayError>>;

/// A gateway, as a client sees it.
pub trait Gateway: Send + Sync {
    /// The height that new transactions count their expiry from.
    fn height(&self) -> impl Future<Output = Result<Height, AskGatewayError>> + Send;

    /// Has a transaction ordered and shows what became of it, whatever that is.
    fn submit(
        &self,
        transaction: Transaction,
        patience: Duration,
    ) -> impl Future<Output = Result<Receipt, AskGatewayError>> + Send;

    /// Shows what became of a transaction; none when it is not executed in time.
    fn receipt(
        &self,
        id: TransactionId,
        patience: Duration,
    ) -> impl Future<Output = Result<Option<Receipt>, AskGatewayError>> + Send;

    /// Shows the decision of a request that was left to review; none when it is not decided in time.
    fn decision(
        &self,
        request: TransactionId,
        patience: Duration,
    ) -> impl Future<Output = Result<Option<Receipt>, AskGatewayError>> + Send;

    /// Shows that the log of one size begins with that of another.
    fn consistency(&self, old: u64, new: u64)
    -> impl Future<Output = Result<ConsistencyProof, AskGatewayError>> + Send;

    /// Shows how the configurations after an epoch follow from its own: the first steps, and none after the last.
    fn steps_after(&self, epoch: Epoch) -> impl Future<Output = Result<Vec<EpochStep>, AskGatewayError>> + Send;

    /// Shows the registration of a version and its acknowledgements, after waiting for enough of them
    /// no longer than `patience`; none for a record that is not there or not to be seen.
    fn custody(
        &self,
        record: RecordId,
        version: RecordVersion,
        patience: Duration,
    ) -> impl Future<Output = Result<Option<CustodyProof>, AskGatewayError>> + Send;

    /// Passes on one-time dealing keys of a custodian, for this dealer.
    fn dealing_keys(
        &self,
        custodian: NodeId,
        dealer: PublicKey,
        count: u16,
    ) -> impl Future<Output = Result<Vec<DealingKey>, AskGatewayError>> + Send;

    /// Hands a sealed share to its custodian.
    fn deliver(
        &self,
        custodian: NodeId,
        record: RecordId,
        version: RecordVersion,
        sealed: SealedBytes,
    ) -> impl Future<Output = Result<(), AskGatewayError>> + Send;

    /// Passes on a custodian's released share for a decryption.
    fn release(
        &self,
        custodian: NodeId,
        decryption: TransactionId,
    ) -> impl Future<Output = Result<Vec<u8>, AskGatewayError>> + Send;

    /// Waits, by the clock that this gateway is asked by.
    fn pause(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Stores a sealed payload; `progress` is told how many bytes are there.
    fn upload(
        &self,
        payload: &PayloadInfo,
        ciphertext: impl Read + Seek + Send,
        progress: &(dyn Fn(u64) + Sync),
    ) -> impl Future<Output = Result<(), AskGatewayError>> + Send;

    /// The ciphertext of a payload.
    fn download(&self, digest: PayloadDigest) -> impl Future<Output = Result<Ciphertext, AskGatewayError>> + Send;

    /// Some bytes of the ciphertext of a payload, and no others.
    fn download_range(
        &self,
        digest: PayloadDigest,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Ciphertext, AskGatewayError>> + Send;

    /// Shows whom a record concerns, with proofs of it.
    fn parties(&self, record: RecordId) -> impl Future<Output = Result<Parties, AskGatewayError>> + Send;

    /// Shows a request and its review, with the remarks on them.
    fn remarks(&self, request: TransactionId)
    -> impl Future<Output = Result<Vec<RemarkShown>, AskGatewayError>> + Send;

    /// Keeps a remark on a request or its review.
    fn keep_remark(
        &self,
        request: TransactionId,
        remark: &Remark,
    ) -> impl Future<Output = Result<(), AskGatewayError>> + Send;

    /// Keeps a title of a record.
    fn keep_title(&self, title: &Title) -> impl Future<Output = Result<(), AskGatewayError>> + Send;
}

impl<E: Clock + CryptoRng, S: Store> Gateway for SharedNode<E, S> {
    async fn height(&self) -> Result<Height, AskGatewayError> {
        Ok(self.newest_height().await)
    }

    async fn submit(&self, transaction: Transaction, patience: Duration) -> Result<Receipt, AskGatewayError> {
        let done = (**self).submit(transaction, patience).await.map_err(Problem::from)?;
        Ok((**self).receipt(&done, patience).await.map_err(Problem::from)?)
    }

    async fn receipt(&self, id: TransactionId, patience: Duration) -> Result<Option<Receipt>, AskGatewayError> {
        Ok(self.receipt_of(id, patience).await.map_err(Problem::from)?)
    }

    async fn decision(&self, request: TransactionId, patience: Duration) -> Result<Option<Receipt>, AskGatewayError> {
        Ok((**self).decision(request, patience).await.map_err(Problem::from)?)
    }

    async fn consistency(&self, old: u64, new: u64) -> Result<ConsistencyProof, AskGatewayError> {
        Ok((**self).consistency(old, new).map_err(Problem::from)?)
    }

    async fn steps_after(&self, epoch: Epoch) -> Result<Vec<EpochStep>, AskGatewayError> {
        Ok((**self).steps_after(epoch).map_err(Problem::from)?)
    }

    async fn custody(
        &self,
        record: RecordId,
        version: RecordVersion,
        patience: Duration,
    ) -> Result<Option<CustodyProof>, AskGatewayError> {
        Ok((**self).custody(record, version, patience).await.map_err(Problem::from)?)
    }

    async fn dealing_keys(
        &self,
        custodian: NodeId,
        dealer: PublicKey,
        count: u16,
    ) -> Result<Vec<DealingKey>, AskGatewayError> {
        Ok((**self).dealing_keys(custodian, dealer, count).await.map_err(Problem::from)?)
    }

    async fn deliver(
        &self,
        custodian: NodeId,
        record: RecordId,
        version: RecordVersion,
        sealed: SealedBytes,
    ) -> Result<(), AskGatewayError> {
        Ok((**self).deliver(custodian, record, version, sealed).await.map_err(Problem::from)?)
    }

    async fn release(&self, custodian: NodeId, decryption: TransactionId) -> Result<Vec<u8>, AskGatewayError> {
        Ok((**self).release(custodian, decryption).await.map_err(Problem::from)?)
    }

    async fn pause(&self, time: Duration) {
        self.runtime().sleep(time).await;
    }

    async fn upload(
        &self,
        payload: &PayloadInfo,
        ciphertext: impl Read + Seek + Send,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), AskGatewayError> {
        let parts = stream::unfold((ciphertext, 0), |(mut ciphertext, sent)| async move {
            let mut part = vec![0; UPLOAD_BYTES];
            match ciphertext.read(&mut part) {
                Ok(0) => None,
                Ok(len) => {
                    part.truncate(len);
                    let sent = sent + len as u64;
                    progress(sent);
                    Some((Ok::<_, io::Error>(Bytes::from(part)), (ciphertext, sent)))
                }
                Err(error) => Some((Err(error), (ciphertext, sent))),
            }
        });
        let put = self.payloads().put(payload.digest, payload.ciphertext_len_bytes, parts).await;
        Ok(put.map_err(Problem::from)?)
    }

    async fn download(&self, digest: PayloadDigest) -> Result<Ciphertext, AskGatewayError> {
        let lost = |error: dmdl_vault::store::GetError| AskGatewayError::from(Problem::from(error));
        let (_, bytes) = self.payloads().get(digest).await.map_err(lost)?;
        Ok(bytes.map(move |item| item.map_err(lost)).boxed())
    }

    async fn download_range(&self, digest: PayloadDigest, range: Range<u64>) -> Result<Ciphertext, AskGatewayError> {
        let payloads = self.payloads().clone();
        let starts = range.clone().step_by(DOWNLOAD_BYTES);
        let pieces = stream::iter(starts).then(move |start| {
            let (payloads, until) = (payloads.clone(), range.end.min(start + DOWNLOAD_BYTES as u64));
            async move {
                let bytes = payloads.get_range(digest, start..until).await;
                bytes.map_err(|error| AskGatewayError::from(Problem::from(error)))
            }
        });
        Ok(pieces.boxed())
    }

    async fn parties(&self, record: RecordId) -> Result<Parties, AskGatewayError> {
        let unknown = || Problem::new(404, "unknown_record", "there is no such record");
        Ok((**self).parties(record).await.map_err(Problem::from)?.ok_or_else(unknown)?)
    }

    async fn remarks(&self, request: TransactionId) -> Result<Vec<RemarkShown>, AskGatewayError> {
        Ok(self.remarks_of(request).await.map_err(Problem::from)?)
    }

    async fn keep_remark(&self, _request: TransactionId, remark: &Remark) -> Result<(), AskGatewayError> {
        Ok(Problem::check_complete(&self.hand_in_remark(remark.clone()).await.map_err(Problem::from)?)?)
    }

    async fn keep_title(&self, title: &Title) -> Result<(), AskGatewayError> {
        Ok(Problem::check_complete(&self.hand_in_title(title.clone()).await.map_err(Problem::from)?)?)
    }
}

/// A decoded blob, or nonsense.
pub(super) fn decode<T: borsh::BorshDeserialize + borsh::BorshSerialize>(
    bytes: &[u8],
    bytes_max: usize,
) -> Result<T, AskGatewayError> {
    codec::decode(bytes, bytes_max).map_err(|error| AskGatewayError::Nonsense(error.to_string()))
}

impl From<GatewayError> for AskGatewayError {
    fn from(error: GatewayError) -> Self {
        Self::Problem(error.into())
    }
}
