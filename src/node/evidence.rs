//! What a node can show of its ledger: transactions, receipts, and who keeps a record's key.

use super::{
    Final, GatewayError, Node, PATIENCE,
    message::{Answer, Ask, Refused},
};
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    audit,
    log::{self, LogError},
    store::{Store, StoreError},
    world::{Holders, RequestState, VersionRow, VersionState},
};
use dmdl_types::{
    block::Block,
    checkpoint::CosignedCheckpoint,
    custody_proof::{CustodyProof, Kept},
    event::{Action, Event, Verdict},
    id::{Epoch, RecordId, RecordVersion, TransactionId},
    index_proof::HeadKey,
    lineage::EpochStep,
    merkle::ConsistencyProof,
    receipt::Receipt,
    transaction::Transaction,
};
use rand_core::CryptoRng;
use std::{pin::pin, time::Duration};

/// Events of a record that are read at a time.
const PAGE: usize = 256;

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// A person's transaction, as it was ordered; none while it is unknown here, or where only others may have its block
    /// and none of them answers with it.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub async fn transaction(&self, id: TransactionId) -> Result<Option<Transaction>, StoreError> {
        let (Some((_, event)), Some(chain)) = (self.channel.event_of(id)?, self.chain.get()) else { return Ok(None) };
        if let Some(signed) = self.channel.signed(id)? {
            return Ok(Some(signed));
        }
        // This node joined behind the block, let it go, or has to fetch it again.
        let Some(block) = chain.block(event.height).await else { return self.transaction_of_others(id).await };
        Ok(find(block.block(), id))
    }

    /// A transaction that this node has itself, for one that has not.
    pub(super) async fn own_transaction(&self, id: TransactionId) -> Result<Option<Transaction>, Refused> {
        let unavailable = |error: StoreError| Refused::new("unavailable", error);
        let Some((_, event)) = self.channel.event_of(id).map_err(unavailable)? else { return Ok(None) };
        if let Some(signed) = self.channel.signed(id).map_err(unavailable)? {
            return Ok(Some(signed));
        }
        let Some(chain) = self.chain.get() else { return Ok(None) };
        let Some(block) = chain.block(event.height).await else { return Ok(None) };
        Ok(find(block.block(), id))
    }

    /// A transaction whose block this node has not got: its id is the hash of it, so it does not matter who has it.
    async fn transaction_of_others(&self, id: TransactionId) -> Result<Option<Transaction>, StoreError> {
        let domain = self.channel.domain();
        for member in self.channel.config()?.members.iter().filter(|member| member.node != self.id()) {
            let answer = self.asker.ask(&self.runtime, member.node, Ask::Transaction(id), PATIENCE).await;
            if let Ok(Answer::Transaction(Some(transaction))) = answer
                && transaction.verify(&domain).ok() == Some(id)
            {
                return Ok(Some(*transaction));
            }
        }
        Ok(None)
    }

    /// Waits until a transaction is executed here and shows it; none when it is not in time.
    ///
    /// # Errors
    /// [`GatewayError`] when no receipt can be made.
    pub async fn receipt_of(&self, id: TransactionId, patience: Duration) -> Result<Option<Receipt>, GatewayError> {
        match self.wait_final(id, patience).await {
            Ok(done) => self.receipt(&done, patience.max(PATIENCE)).await.map(Some),
            Err(GatewayError::NotFinal(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Shows that a version is registered and who acknowledged it, after waiting for it to become
    /// active no longer than `patience`; none while it is not registered here.
    ///
    /// # Errors
    /// [`GatewayError`] when something cannot be read or shown.
    pub async fn custody(
        &self,
        record: RecordId,
        version: RecordVersion,
        patience: Duration,
    ) -> Result<Option<CustodyProof>, GatewayError> {
        let settled = || {
            let row = self.channel.version(record, version)?;
            let now = self.channel.tip().time;
            Ok::<_, StoreError>(row.filter(|row| row.state != VersionState::Pending || row.is_expired(now)))
        };
        self.when(patience, settled).await?;
        let Some(row) = self.channel.version(record, version)? else { return Ok(None) };
        let Some(registration) = self.transaction(row.transaction).await? else { return Ok(None) };
        let shown = self.wait_final(row.transaction, Duration::ZERO).await?;
        let positions = self.acknowledgements(record, &row, shown.position)?;
        let last = positions.last().copied().unwrap_or(shown.position);
        let checkpoint = self.cosigned(last + 1, row.transaction).await?;
        let show =
            |position| Ok::<_, GatewayError>(audit::receipt(&self.channel.log_store(), position, checkpoint.clone())?);
        let acknowledgements = positions.into_iter().map(show).collect::<Result<_, _>>()?;
        let reshared = match &row.holders {
            Holders::Dealt(_) => None,
            Holders::Reshared(_, custodians) => Some(Kept {
                epoch: row.epoch,
                commitments: row.commitments,
                custodians: custodians.clone(),
                min_acks: row.min_acks,
            }),
        };
        Ok(Some(CustodyProof { registration, receipt: show(shown.position)?, reshared, acknowledgements }))
    }

    /// Shows the decision of a request that was left to review, after waiting for it no longer than
    /// `patience`; none while there is none.
    ///
    /// # Errors
    /// [`GatewayError`] when something cannot be read or shown.
    pub async fn decision(&self, id: TransactionId, patience: Duration) -> Result<Option<Receipt>, GatewayError> {
        let decided = || {
            let row = self.channel.request(id)?;
            Ok::<_, StoreError>(row.filter(|row| row.state != RequestState::Pending))
        };
        let Some(row) = self.when(patience, decided).await? else { return Ok(None) };
        let Some(asked) = self.channel.event_of(id)? else { return Ok(None) };
        let decides = |event: &Event| {
            matches!(event.action, Action::Approve | Action::DenyRequest)
                && event.outcome.verdict == Verdict::Applied
                && event.refers_to == Some(id)
        };
        let Some(position) = self.about(row.record, asked.0, 1, decides)?.pop() else { return Ok(None) };
        let checkpoint = self.cosigned_within(position + 1, id, PATIENCE).await?;
        Ok(Some(audit::receipt(&self.channel.log_store(), position, checkpoint)?))
    }

    /// Where the first acknowledgements of a version's present shares stand: as many as made it active, or began the epoch.
    fn acknowledgements(&self, record: RecordId, row: &VersionRow, registered: u64) -> Result<Vec<u64>, StoreError> {
        let needed = row.acks.len().min(usize::from(row.min_acks));
        let begun = match &row.holders {
            Holders::Dealt(_) => None,
            Holders::Reshared(plan, _) => self.channel.event_of(*plan)?.map(|(position, _)| position),
        };
        let shares = Some(row.share_set());
        self.about(record, begun.unwrap_or(registered), needed, |event| {
            event.action == Action::Acknowledge && event.outcome.verdict == Verdict::Applied && event.shares == shares
        })
    }

    /// Where the first `needed` events of one kind stand that concern a record, after a position.
    fn about(
        &self,
        record: RecordId,
        after: u64,
        needed: usize,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Vec<u64>, StoreError> {
        let (store, key) = (self.channel.store(), HeadKey::Record(record));
        let (mut found, mut after) = (Vec::new(), Some(after));
        loop {
            let page = log::positions(store, &key, after, PAGE)?;
            for position in &page {
                if found.len() == needed {
                    return Ok(found);
                }
                if log::event(store, *position)?.as_ref().is_some_and(&wanted) {
                    found.push(*position);
                }
            }
            after = page.last().copied();
            if page.len() < PAGE {
                return Ok(found);
            }
        }
    }

    /// The receipt of an executed transaction, once enough committers have cosigned a checkpoint that
    /// covers it.
    ///
    /// # Errors
    /// [`GatewayError::NotFinal`] when that does not happen in time.
    pub async fn receipt(&self, done: &Final, patience: Duration) -> Result<Receipt, GatewayError> {
        let checkpoint = self.cosigned_within(done.position + 1, done.transaction, patience).await?;
        Ok(audit::receipt(&self.channel.log_store(), done.position, checkpoint)?)
    }

    async fn cosigned(&self, size: u64, of: TransactionId) -> Result<CosignedCheckpoint, GatewayError> {
        self.cosigned_within(size, of, PATIENCE).await
    }

    /// A cosigned checkpoint of at least `size` leaves. Cosignatures come by gossip, a few
    /// milliseconds after execution.
    async fn cosigned_within(
        &self,
        size: u64,
        of: TransactionId,
        patience: Duration,
    ) -> Result<CosignedCheckpoint, GatewayError> {
        let mut over = pin!(self.runtime.sleep(patience));
        loop {
            // Begun before the look: what comes meanwhile is not slept over.
            let (cosignature, executed) = (self.channel.cosignature_next(), self.channel.executed_next());
            if let Some(checkpoint) = self.channel.cosigned(size)? {
                return Ok(checkpoint);
            }
            if let Some(checkpoint) = self.anchored(size).await? {
                return Ok(checkpoint);
            }
            tokio::select! {
                biased;
                () = &mut over => return Err(GatewayError::NotFinal(of)),
                () = cosignature => {}
                () = executed => {}
            }
        }
    }

    /// The cosigned checkpoint of the newest final header that carries one, if it covers `size` leaves.
    async fn anchored(&self, size: u64) -> Result<Option<CosignedCheckpoint>, StoreError> {
        let anchor = self.channel.tip().anchor.filter(|anchor| anchor.checkpoint.size >= size);
        let (Some(anchor), Some(chain)) = (anchor, self.chain.get()) else { return Ok(None) };
        // Who joined behind it has not got it.
        Ok(chain.block(anchor.height).await.and_then(|block| block.header().checkpoint.clone()))
    }

    /// Shows that the log of `new` leaves begins with all leaves of the log of `old`.
    ///
    /// # Errors
    /// [`LogError::Proof`] when there are no such logs.
    pub fn consistency(&self, old: u64, new: u64) -> Result<ConsistencyProof, LogError> {
        log::prove_consistency(&self.channel.log_store(), old, new)
    }

    /// Shows how the configurations after an epoch follow from its own: the first steps, and none after the last.
    ///
    /// # Errors
    /// [`GatewayError::Export`] when they cannot be read.
    pub fn steps_after(&self, epoch: Epoch) -> Result<Vec<EpochStep>, GatewayError> {
        Ok(audit::steps_after(&self.channel, epoch)?)
    }
}

/// A person's transaction in a block.
fn find(block: &Block, id: TransactionId) -> Option<Transaction> {
    let mut transactions = block.body.transactions.iter().map(|endorsed| &endorsed.transaction);
    transactions.find(|transaction| transaction.body.id() == id).cloned()
}
