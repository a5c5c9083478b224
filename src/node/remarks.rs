//! Remarks and titles on their way: handed in at one node, kept by all, asked for where one is missing.

use super::{
    GatewayError, Node, PATIENCE,
    message::{Answer, Ask, Refused},
};
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    channel::RequestView,
    store::{Store, StoreError},
    world::RecordRow,
};
use dmdl_types::{
    codec,
    event::{Action, Event, Verdict},
    id::{NodeId, RecordId, TransactionId},
    sign::PublicKey,
    title::{SignedTitle, Title, TitleError},
    transaction::Transaction,
};
use dmdl_vault::remark::{Remark, RemarkError, SignedRemark};
use futures::future::join_all;
use rand_core::CryptoRng;
use std::time::Duration;

/// How far this node may be behind the one that a transaction was executed at.
const EXECUTION_PATIENCE: Duration = Duration::from_millis(1000);
/// How long the others may take to keep something, or to show what is missing here.
const SHARING_PATIENCE: Duration = Duration::from_millis(500);

/// What a node shows of one transaction that takes a remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemarkShown {
    /// The request or its review, as it was ordered.
    pub transaction: Transaction,
    /// The encoded remark; none where there is none.
    pub remark: Option<Vec<u8>>,
}

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// Keeps a remark here and at the other nodes, and says which of them did not answer.
    ///
    /// A text may miss some of them: they ask for it when it is wanted. What takes a text back should miss none.
    ///
    /// # Errors
    /// [`GatewayError::Refused`] when it has no place here.
    pub async fn hand_in_remark(&self, remark: Remark) -> Result<Vec<NodeId>, GatewayError> {
        let kept = self.keep_remark(remark).await.map_err(GatewayError::Refused)?;
        let patience = if kept.is_withdrawn() { PATIENCE } else { SHARING_PATIENCE };
        let missed = self.tell_others(&Ask::KeepRemark(Box::new(kept.remark().clone())), patience).await?;
        Ok(if kept.is_withdrawn() { missed } else { Vec::new() })
    }

    /// Keeps a remark whose place this node's own ledger knows.
    pub(super) async fn keep_remark(&self, remark: Remark) -> Result<SignedRemark, Refused> {
        let domain = self.channel.domain();
        let remark = remark.verify(&domain).map_err(|error| refused(&error))?;
        let executed = self.when(EXECUTION_PATIENCE, || self.channel.event_of(remark.transaction())).await;
        let (_, event) = executed.map_err(|error| unavailable(&error))?.ok_or_else(|| {
            Refused::new("unknown_transaction", "there is no such transaction, or none that you may see")
        })?;
        let transaction = self.transaction(remark.transaction()).await.map_err(|error| unavailable(&error))?;
        let transaction = transaction.ok_or_else(|| refused(&RemarkError::NoPlace))?;
        remark.check_place(&transaction.body).map_err(|error| refused(&error))?;
        if event.outcome.verdict == Verdict::Rejected {
            return Err(refused(&RemarkError::NoPlace));
        }
        self.beside.keep_remark(&remark, &domain)?;
        Ok(remark)
    }

    /// The requests and reviews of a request that may have remarks, with the remarks.
    ///
    /// # Errors
    /// [`GatewayError`] when something cannot be read.
    pub async fn remarks_of(&self, request: TransactionId) -> Result<Vec<RemarkShown>, GatewayError> {
        let mut shown = Vec::new();
        for id in self.remarked(request)? {
            let Some(transaction) = self.transaction(id).await? else { continue };
            let remark = self.remark(id).await?.map(|remark| codec::encode(remark.remark()));
            shown.push(RemarkShown { transaction, remark });
        }
        Ok(shown)
    }

    /// Whether a transaction is a request, or the review that decided it.
    ///
    /// # Errors
    /// [`StoreError`] when the ledger cannot be read.
    pub fn takes_remark(&self, request: TransactionId, transaction: TransactionId) -> Result<bool, StoreError> {
        Ok(self.remarked(request)?.contains(&transaction))
    }

    /// A request, and the review that decided it if one did.
    fn remarked(&self, request: TransactionId) -> Result<Vec<TransactionId>, StoreError> {
        let Some(row) = self.channel.request(request)? else { return Ok(Vec::new()) };
        let decision = self.channel.reading()?.decision(&RequestView { id: request, row, grant: None })?;
        let reviewed = |event: &Event| matches!(event.action, Action::Approve | Action::DenyRequest);
        let review = decision.filter(|(_, event)| reviewed(event)).map(|(_, event)| event.transaction);
        Ok([Some(request), review].into_iter().flatten().collect())
    }

    /// The remark on a transaction: the one that is kept here, or else what another node has.
    async fn remark(&self, id: TransactionId) -> Result<Option<SignedRemark>, GatewayError> {
        let domain = self.channel.domain();
        let kept = || self.beside.remark(id, &domain).map_err(GatewayError::Refused);
        if let Some(remark) = kept()? {
            return Ok(Some(remark));
        }
        for (_, answer) in self.ask_others(&Ask::Remark(id), SHARING_PATIENCE).await? {
            if let Some(Answer::Remark(Some(remark))) = answer
                && let Err(error) = self.keep_remark(*remark).await
            {
                tracing::debug!(transaction = %id, %error, "what another node has is not kept");
            }
        }
        kept()
    }

    /// What this node itself has, for another node.
    pub(super) fn own_remark(&self, id: TransactionId) -> Result<Option<Box<Remark>>, Refused> {
        let remark = self.beside.remark(id, &self.channel.domain())?;
        Ok(remark.map(|remark| Box::new(remark.remark().clone())))
    }

    /// Keeps a title here and at the other nodes, and says which of them did not answer.
    ///
    /// # Errors
    /// [`GatewayError::Refused`] when it is not the owner's, or the record is erased.
    pub async fn hand_in_title(&self, title: Title) -> Result<Vec<NodeId>, GatewayError> {
        let kept = self.keep_title(title).await.map_err(GatewayError::Refused)?;
        let withdrawn = kept.text().is_empty();
        let patience = if withdrawn { PATIENCE } else { SHARING_PATIENCE };
        let missed = self.tell_others(&Ask::KeepTitle(Box::new(kept.title().clone())), patience).await?;
        Ok(if withdrawn { missed } else { Vec::new() })
    }

    /// Keeps a title of a record's owner.
    pub(super) async fn keep_title(&self, title: Title) -> Result<SignedTitle, Refused> {
        let title = title.verify(&self.channel.domain()).map_err(|error| match error {
            TitleError::TooLong => Refused::new("too_long", error),
            TitleError::Control => Refused::new("bad_title", error),
            _ => Refused::new("title_not_signed", error),
        })?;
        let row = self.when(EXECUTION_PATIENCE, || self.channel.record(title.record())).await;
        let row: Option<RecordRow> = row.map_err(|error| unavailable(&error))?;
        let row = row.ok_or_else(|| Refused::new("unknown_record", "there is no such record"))?;
        if row.owner != title.author() {
            return Err(Refused::new("role", "only a record's owner gives it a title"));
        }
        if row.is_erased() {
            return Err(Refused::new("record_erased", "the record is erased"));
        }
        self.beside.keep_title(title.clone())?;
        Ok(title)
    }

    /// The title that a record's owner has given it.
    #[must_use]
    pub fn title(&self, record: RecordId, owner: PublicKey) -> Option<SignedTitle> {
        self.beside.title(record, owner)
    }

    /// Forgets the title of a record that was erased.
    pub(super) fn forget_title(&self, record: RecordId) {
        self.beside.forget_title(record);
    }

    /// Forgets the titles of records that were erased while nobody looked.
    pub(super) fn recover_titles(&self) -> Result<(), StoreError> {
        for record in self.beside.titled() {
            if self.channel.record(record)?.is_some_and(|row| row.is_erased()) {
                self.beside.forget_title(record);
            }
        }
        Ok(())
    }

    /// Tells the other nodes something, and says who did not answer in time.
    async fn tell_others(&self, ask: &Ask, patience: Duration) -> Result<Vec<NodeId>, StoreError> {
        let answers = self.ask_others(ask, patience).await?;
        let silent = answers.into_iter().filter(|(_, answer)| !matches!(answer, Some(Answer::Kept)));
        Ok(silent.map(|(node, _)| node).collect())
    }

    async fn ask_others(&self, ask: &Ask, patience: Duration) -> Result<Vec<(NodeId, Option<Answer>)>, StoreError> {
        let (config, me) = (self.channel.config()?, self.id());
        let others = config.members.iter().map(|member| member.node).filter(|node| *node != me);
        let asked = others
            .map(|node| async move { (node, self.asker.ask(&self.runtime, node, ask.clone(), patience).await.ok()) });
        Ok(join_all(asked).await)
    }
}

fn refused(error: &RemarkError) -> Refused {
    let code = match error {
        RemarkError::OtherAuthor => "not_author",
        RemarkError::OtherCommitment => "commitment_mismatch",
        _ => "remark_invalid",
    };
    Refused::new(code, error)
}

fn unavailable(error: &StoreError) -> Refused {
    tracing::error!(%error, "the ledger cannot be read");
    Refused::new("unavailable", "the node cannot answer at the moment")
}
