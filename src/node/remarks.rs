//! Remarks and titles on their way: handed in at one node, kept by all, asked for where one is missing.

use super::{
    GatewayError, Node, PATIENCE, SharedNode, lock,
    message::{Answer, Ask, Refused},
};
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    channel::RequestView,
    execute::Executed,
    store::{Store, StoreError},
    world::RecordRow,
};
use dmdl_types::{
    codec,
    custody::CustodyEvent,
    event::{Action, Event, Verdict},
    id::{NodeId, RecordId, TransactionId},
    sign::PublicKey,
    title::{SignedTitle, Title, TitleError},
    transaction::Transaction,
};
use dmdl_vault::remark::{Remark, RemarkError, SignedRemark};
use futures::future::join_all;
use rand_core::CryptoRng;
use std::time::{Duration, SystemTime};

/// How far this node may be behind the one that a transaction was executed at.
const EXECUTION_PATIENCE: Duration = Duration::from_millis(1000);
/// How long the others may take to keep something, or to show what is missing here.
const SHARING_PATIENCE: Duration = Duration::from_millis(500);

/// For how long nobody is asked again for a remark that nobody had: most reviews have none.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// Titles that a node is told at a time.
const TITLES: usize = 256;
/// Most transactions of which that is remembered.
const UNHEARD_MAX: usize = 4096;
/// How far a title's time may be ahead of the ledger's: beyond that its author's clock is wrong, and the title
/// could not be replaced for as long.
const AHEAD_MAX_MS: u64 = 24 * 60 * 60 * 1000;

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
        let answers = self.ask_others(&Ask::KeepRemark(Box::new(kept.remark().clone())), patience).await?;
        let missed = answers.into_iter().filter(|(_, answer)| !matches!(answer, Some(Answer::Kept)));
        Ok(if kept.is_withdrawn() { missed.map(|(node, _)| node).collect() } else { Vec::new() })
    }

    /// Keeps a remark whose place this node's own ledger knows.
    pub(super) async fn keep_remark(&self, remark: Remark) -> Result<SignedRemark, Refused> {
        self.disk.space.check()?;
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
        lock(&self.unheard).remove(&remark.transaction());
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
        let now = self.runtime.current();
        let lately = |since: &SystemTime| now.duration_since(*since).unwrap_or_default() < ASK_AGAIN;
        if lock(&self.unheard).get(&id).is_some_and(lately) {
            return Ok(None);
        }
        for (_, answer) in self.ask_others(&Ask::Remark(id), SHARING_PATIENCE).await? {
            if let Some(Answer::Remark(Some(remark))) = answer
                && let Err(error) = self.keep_remark(*remark).await
            {
                tracing::debug!(transaction = %id, %error, "what another node has is not kept");
            }
        }
        let found = kept()?;
        if found.is_none() {
            let mut unheard = lock(&self.unheard);
            if unheard.len() >= UNHEARD_MAX {
                unheard.clear();
            }
            unheard.insert(id, now);
        }
        Ok(found)
    }

    /// What this node itself has, for another node.
    pub(super) fn own_remark(&self, id: TransactionId) -> Result<Option<Box<Remark>>, Refused> {
        let remark = self.beside.remark(id, &self.channel.domain())?;
        Ok(remark.map(|remark| Box::new(remark.remark().clone())))
    }

    /// Keeps a title here and at the other nodes, and says which of them did not confirm that one is gone.
    ///
    /// # Errors
    /// [`GatewayError::Refused`] when it is not the owner's, the record is erased, or some node keeps one that
    /// counts more: then this node shows that one.
    pub async fn hand_in_title(&self, title: Title) -> Result<Vec<NodeId>, GatewayError> {
        let superseded =
            || GatewayError::Refused(Refused::new("title_superseded", "a later title is kept; sign one after that"));
        let kept = self.keep_title(title.clone()).await.map_err(GatewayError::Refused)?;
        if *kept.title() != title {
            return Err(superseded());
        }
        let patience = if kept.is_withdrawn() { PATIENCE } else { SHARING_PATIENCE };
        let (mut missed, mut later) = (Vec::new(), false);
        for (node, answer) in self.ask_others(&Ask::KeepTitle(Box::new(title)), patience).await? {
            match answer {
                Some(Answer::Kept) => {}
                Some(Answer::Title(other)) => later |= self.keep_title(*other).await.is_ok_and(|now| now != kept),
                _ => missed.push(node),
            }
        }
        match later {
            true => Err(superseded()),
            false => Ok(if kept.is_withdrawn() { missed } else { Vec::new() }),
        }
    }

    /// Keeps a title that another node hands on, or shows the one that counts more.
    pub(super) async fn take_title(&self, title: Title) -> Result<Answer, Refused> {
        let kept = self.keep_title(title.clone()).await?;
        Ok(if *kept.title() == title { Answer::Kept } else { Answer::Title(Box::new(kept.title().clone())) })
    }

    /// Keeps a title of a record's owner unless the one that is there counts more, and gives the one that is
    /// kept then.
    async fn keep_title(&self, title: Title) -> Result<SignedTitle, Refused> {
        self.disk.space.check()?;
        let title = title.verify(&self.channel.domain()).map_err(|error| match error {
            TitleError::TooLong => Refused::new("too_long", error),
            TitleError::Control => Refused::new("bad_title", error),
            _ => Refused::new("title_not_signed", error),
        })?;
        if title.time() > self.channel.tip().time.plus_ms(AHEAD_MAX_MS) {
            return Err(Refused::new("bad_title", "its time is more than a day ahead; set the clock right"));
        }
        let (record, author) = (title.record(), title.author());
        let row = self.when(EXECUTION_PATIENCE, || self.channel.record(record)).await;
        let row = row.map_err(|error| unavailable(&error))?;
        may_title(&row.ok_or_else(|| Refused::new("unknown_record", "there is no such record"))?, author)?;
        let kept = self.beside.keep_title(title)?;
        // What has ended its right to be there meanwhile may have looked for it before it was there.
        if let Some(row) = self.channel.record(record).map_err(|error| unavailable(&error))? {
            self.beside.forget_title(record, |author| may_title(&row, author).is_ok());
            may_title(&row, author)?;
        }
        Ok(kept)
    }

    /// The title that a record's owner has given it last; an empty one was taken back.
    #[must_use]
    pub fn title(&self, record: RecordId, owner: PublicKey) -> Option<SignedTitle> {
        self.beside.title(record, owner)
    }

    /// Forgets the titles of records that an executed block has erased or handed on.
    pub(super) fn forget_titles(&self, executed: &Executed) {
        let erased = executed.custody.iter().filter_map(|event| match event {
            CustodyEvent::RecordErased(record) => Some(*record),
            _ => None,
        });
        let transfers = executed.events.iter().filter(|event| event.action == Action::TransferMedical);
        for record in erased.chain(transfers.filter_map(|event| event.record)) {
            if let Err(error) = self.forget_title(record) {
                tracing::error!(%error, "the ledger cannot be read");
            }
        }
    }

    fn forget_title(&self, record: RecordId) -> Result<(), StoreError> {
        if let Some(row) = self.channel.record(record)? {
            self.beside.forget_title(record, |author| may_title(&row, author).is_ok());
        }
        Ok(())
    }

    /// Forgets the titles of records that were erased or handed on while nobody looked.
    pub(super) fn recover_titles(&self) -> Result<(), StoreError> {
        self.beside.titled().into_iter().try_for_each(|record| self.forget_title(record))
    }

    /// Some of the titles that are kept here, for another node.
    pub(super) fn own_titles(&self, after: Option<RecordId>) -> Vec<Title> {
        self.beside.titles_after(after, TITLES).iter().map(|title| title.title().clone()).collect()
    }

    /// Gathers the titles that others keep, once this node has caught up: one that was wiped or restored has none, and
    /// a title is not asked for when somebody wants to see it, as a remark is.
    pub(super) async fn gather_titles(self: SharedNode<E, S>) {
        loop {
            let executed = self.channel.executed_next();
            if self.channel.is_current() {
                break;
            }
            executed.await;
        }
        match self.channel.config() {
            // Each by itself: whoever lies, or does not answer, holds up nobody.
            Ok(config) => {
                let others = config.members.iter().map(|member| member.node).filter(|node| *node != self.id());
                join_all(others.map(|node| self.gather_titles_of(node))).await;
            }
            Err(error) => tracing::error!(%error, "the channel's configuration cannot be read"),
        }
    }

    async fn gather_titles_of(&self, node: NodeId) {
        let mut after = None;
        loop {
            let answer = self.asker.ask(&self.runtime, node, Ask::Titles(after), PATIENCE).await;
            let Ok(Answer::Titles(titles)) = answer else { return };
            let (mut is_of_use, before) = (false, after);
            after = titles.last().map(Title::record).max(before);
            for title in titles {
                is_of_use |= self.keep_title(title).await.is_ok();
            }
            // The end; or somebody who makes up titles, or tells the same ones again.
            if !is_of_use || after == before {
                return;
            }
        }
    }

    async fn ask_others(&self, ask: &Ask, patience: Duration) -> Result<Vec<(NodeId, Option<Answer>)>, StoreError> {
        let (config, me) = (self.channel.config()?, self.id());
        let others = config.members.iter().map(|member| member.node).filter(|node| *node != me);
        let asked = others
            .map(|node| async move { (node, self.asker.ask(&self.runtime, node, ask.clone(), patience).await.ok()) });
        Ok(join_all(asked).await)
    }
}

/// Whether somebody may title a record now.
fn may_title(row: &RecordRow, author: PublicKey) -> Result<(), Refused> {
    if row.owner != author {
        return Err(Refused::new("role", "only a record's owner gives it a title"));
    }
    if row.is_erased() { Err(Refused::new("record_erased", "the record is erased")) } else { Ok(()) }
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
