//! Remarks: reasons and comments, written for the parties of a request and read by them.
//!
//! Whom a remark is sealed to follows from the pinned genesis, and not from what a gateway says: its own key
//! would read everything.

use super::{CallError, Client, Gateway, Unproved};
use crate::node::{Deed, Final, Parties, Party, RemarkShown};
use dmdl_types::{
    access::Terms,
    codec,
    event::{Action, Verdict},
    genesis::Role,
    id::{RecordId, TransactionId, UnixMillis},
    invocation::{Access, Invocation, Medical, Membership},
    sign::PublicKey,
    title::Title,
};
use dmdl_vault::remark::{OpenError, PlainRemark, REMARK_BYTES_MAX, Remark, SignedRemark};
use rand_core::CryptoRng;
use std::{collections::BTreeSet, time::Duration};

/// How often a remark is handed in while the gateway cannot keep it.
const HAND_IN_TRIES: usize = 3;

/// What became of a call, and of the remark on it.
#[derive(Debug)]
pub struct Remarked {
    /// The call.
    pub done: Final,
    /// Whether the remark is kept; a call counts without it.
    pub kept: Result<(), CallError>,
}

/// What a remark says to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Its text, as the author signed it.
    Text(String),
    /// Nobody keeps a remark.
    Missing,
    /// Its author took it back.
    Withdrawn,
    /// It is sealed to others.
    NotForYou,
    /// What the gateway shows is not what the author signed or committed to.
    Altered,
}

/// A remark on a request or on its review.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The request, or the review.
    pub transaction: TransactionId,
    /// Who wrote it.
    pub author: PublicKey,
    /// Whether it is the reason of the request, and not the comment of a review.
    pub is_reason: bool,
    /// What it says.
    pub told: Told,
}

impl<G: Gateway, R: CryptoRng + Send> Client<G, R> {
    /// Asks for a grant, and seals the reason to the parties.
    ///
    /// # Errors
    /// [`CallError`]; a denial is an outcome, no error.
    pub async fn ask(&self, record: RecordId, terms: Terms, reason: &str) -> Result<Remarked, CallError> {
        let plain = self.random(|rng| PlainRemark::new(rng, reason))?;
        let reason = plain.commitment();
        let readers = self.readers_if_shown(record).await?;
        self.remarked(Access::Request { record, terms, reason }, &plain, readers).await
    }

    /// Approves or denies a request that a policy left to review, and seals a comment to the parties.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn decide(&self, request: TransactionId, approve: bool, comment: &str) -> Result<Remarked, CallError> {
        let plain = self.random(|rng| PlainRemark::new(rng, comment))?;
        let (requester, record) = self.asked(request).await?;
        let readers = self.readers_if_shown(record).await?.map(|mut readers| {
            readers.insert(requester);
            readers
        });
        let review = if approve { Access::Approve { request } } else { Access::Deny { request } };
        self.remarked(review, &plain, readers).await
    }

    /// Makes a call and hands in the remark on it, which is sealed before anything is ordered: what the ledger
    /// has cannot be asked again, and a text that nobody sealed by then would be lost.
    async fn remarked(
        &self,
        call: Access,
        plain: &PlainRemark,
        readers: Option<BTreeSet<PublicKey>>,
    ) -> Result<Remarked, CallError> {
        let of = match &call {
            Access::Approve { request } | Access::Deny { request } => Some(*request),
            _ => None,
        };
        let transaction = self.body(Invocation::Access(call)).await?.sign(&[&self.key]);
        let (domain, id) = (self.founding().domain, transaction.body.id());
        let seal = |readers: BTreeSet<PublicKey>| {
            self.random(|rng| SignedRemark::seal(rng, &self.key, &domain, id, plain, readers))
        };
        let sealed = readers.map(seal).transpose()?;
        let done = self.submit(transaction).await?;
        // What had no effect takes no remark.
        if done.event.outcome.verdict == Verdict::Rejected {
            return Ok(Remarked { done, kept: Ok(()) });
        }
        let kept = async {
            let sealed = match (sealed, done.event.record) {
                (Some(sealed), _) => sealed,
                // Whoever may not know of a record learns who its parties are from having asked for it.
                (None, Some(record)) => seal(self.readers_of(record).await?)?,
                (None, None) => return Ok(()),
            };
            self.hand_in(of.unwrap_or(id), &sealed).await
        };
        let kept = kept.await;
        Ok(Remarked { done, kept })
    }

    /// Has a remark kept; whatever may pass is tried again, since there is no second chance later.
    async fn hand_in(&self, request: TransactionId, remark: &SignedRemark) -> Result<(), CallError> {
        let mut left = HAND_IN_TRIES;
        loop {
            left -= 1;
            match self.gateway.keep_remark(request, remark.remark()).await {
                Err(error) if left > 0 && error.may_pass() => {}
                kept => return Ok(kept?),
            }
        }
    }

    /// Who made a request, and for what record: its id is the hash of what they signed.
    async fn asked(&self, request: TransactionId) -> Result<(PublicKey, RecordId), CallError> {
        let shown = self.gateway.remarks(request).await?;
        let asked = shown.into_iter().map(|shown| shown.transaction.body).find(|body| body.id() == request);
        let asked = asked.ok_or(Unproved::OtherEvent)?;
        match (asked.authors.first(), &asked.invocation) {
            (Some(author), Invocation::Access(Access::Request { record, .. })) => Ok((*author, *record)),
            _ => Err(Unproved::OtherEvent.into()),
        }
    }

    /// Whom a remark about a record is for; none while this person may not know of the record.
    async fn readers_if_shown(&self, record: RecordId) -> Result<Option<BTreeSet<PublicKey>>, CallError> {
        match self.readers_of(record).await {
            Ok(readers) => Ok(Some(readers)),
            Err(error) if error.problem().is_some_and(|problem| problem.code == "unknown_record") => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn readers_of(&self, record: RecordId) -> Result<BTreeSet<PublicKey>, CallError> {
        let shown = self.gateway.parties(record).await?;
        self.readers(record, &shown).await
    }

    /// Whom a remark about a record is for: this person, and of those whom a gateway shows the ones who are
    /// proved to be parties.
    ///
    /// # Errors
    /// [`CallError`] when anybody who is shown is not proved to be who the gateway says.
    pub async fn readers(&self, record: RecordId, shown: &Parties) -> Result<BTreeSet<PublicKey>, CallError> {
        let owner = self.acquirer(record, &shown.acquired).await?;
        for party in &shown.people {
            self.check_party(party).await?;
        }
        let owner = shown.people.iter().map(|party| &party.person).find(|person| person.key == owner);
        let owner = owner.ok_or(Unproved::OtherEvent)?;
        let concerned = |party: &&Party| {
            let person = &party.person;
            let reviews = person.role == Role::Committee && person.org == owner.org;
            party.active && (person.key == owner.key || reviews || person.role == Role::Officer)
        };
        let parties = shown.people.iter().filter(concerned).map(|party| party.person.key);
        Ok(parties.chain([self.id()]).collect())
    }

    /// Who came to own a record by a deed.
    async fn acquirer(&self, record: RecordId, deed: &Deed) -> Result<PublicKey, CallError> {
        let (author, invocation) =
            self.done(deed, &[Action::Register, Action::InitialMedical, Action::TransferMedical]).await?;
        let domain = self.founding().domain;
        match invocation {
            Invocation::Access(Access::Register(call)) if call.record == record => Ok(author),
            Invocation::Medical(Medical::Transfer { record: other, to }) if *other == record => Ok(*to),
            Invocation::Medical(Medical::Initial { .. }) => {
                let seed = [*deed.transaction.body.id().as_bytes()];
                let made = RecordId::derive(domain.network, domain.channel, author, &seed);
                if made == record { Ok(author) } else { Err(Unproved::OtherEvent.into()) }
            }
            _ => Err(Unproved::OtherEvent.into()),
        }
    }

    /// Checks that somebody is who a gateway says, by the genesis document or by their enrolment.
    async fn check_party(&self, party: &Party) -> Result<(), CallError> {
        if self.founding().people.contains(&party.person) {
            return Ok(());
        }
        let deed = party.enrolment.as_ref().ok_or(Unproved::OtherEvent)?;
        match self.done(deed, &[Action::Enrol]).await? {
            (_, Invocation::Membership(Membership::Enrol { person })) if *person == party.person => Ok(()),
            _ => Err(Unproved::OtherEvent.into()),
        }
    }

    /// A call that is proved to have been applied, with its author.
    async fn done<'a>(&self, deed: &'a Deed, actions: &[Action]) -> Result<(PublicKey, &'a Invocation), CallError> {
        let Deed { transaction, receipt } = deed;
        let id = transaction.verify(&self.founding().domain).map_err(|_| Unproved::OtherEvent)?;
        let (_, event) = self.trust.event_of(id, receipt, &self.gateway).await?;
        let applied = actions.contains(&event.action) && event.outcome.verdict == Verdict::Applied;
        let author = transaction.body.authors.first().filter(|_| applied).ok_or(Unproved::OtherEvent)?;
        Ok((*author, &transaction.body.invocation))
    }

    /// The remarks on a request and its review, as far as this person may read them.
    ///
    /// # Errors
    /// [`CallError`] when the gateway does not help; a remark that is missing or altered is none.
    pub async fn remarks(&self, request: TransactionId) -> Result<Vec<Said>, CallError> {
        let shown = self.gateway.remarks(request).await?;
        let mut said: Vec<Said> = shown.iter().filter_map(|shown| self.said(request, shown)).collect();
        if said.iter().any(|said| !said.is_reason) {
            // Anybody can sign a review; the one that decided is proved.
            let decision = self.decision(request, Duration::ZERO).await?.map(|done| done.transaction);
            said.retain(|said| said.is_reason || Some(said.transaction) == decision);
        }
        Ok(said)
    }

    /// What a gateway shows of one transaction; none when it is not about the request.
    ///
    /// # Security
    /// The transaction is its author's own, by its signature, and names the request; the remark is the author's
    /// own too, and on a request it is the one that the request commits to.
    pub fn said(&self, request: TransactionId, shown: &RemarkShown) -> Option<Said> {
        let RemarkShown { transaction, remark } = shown;
        let domain = self.founding().domain;
        let id = transaction.verify(&domain).ok()?;
        let is_reason = match &transaction.body.invocation {
            Invocation::Access(Access::Request { .. }) if id == request => true,
            Invocation::Access(Access::Approve { request: of } | Access::Deny { request: of }) if *of == request => {
                false
            }
            _ => return None,
        };
        let author = *transaction.body.authors.first()?;
        let told = remark.as_ref().map_or(Told::Missing, |bytes| {
            let remark = codec::decode::<Remark>(bytes, REMARK_BYTES_MAX).ok();
            let remark = remark.and_then(|remark| remark.verify(&domain).ok());
            let remark = remark.filter(|remark| remark.check_place(&transaction.body).is_ok());
            match remark.map(|remark| remark.open(&domain, &self.key)) {
                Some(Ok(text)) => Told::Text(text),
                Some(Err(OpenError::Withdrawn)) => Told::Withdrawn,
                Some(Err(OpenError::NotAReader)) => Told::NotForYou,
                Some(Err(_)) | None => Told::Altered,
            }
        });
        Some(Said { transaction: id, author, is_reason, told })
    }

    /// Takes back what this person has remarked on a request or its review.
    ///
    /// # Errors
    /// [`CallError`]; of a problem `incomplete`, some nodes may still have the text.
    pub async fn forget(&self, request: TransactionId) -> Result<Vec<TransactionId>, CallError> {
        let mut forgotten = Vec::new();
        for said in self.remarks(request).await?.into_iter().filter(|said| said.author == self.id()) {
            let withdrawn = SignedRemark::withdraw(&self.key, &self.founding().domain, said.transaction);
            self.gateway.keep_remark(request, withdrawn.remark()).await?;
            forgotten.push(said.transaction);
        }
        Ok(forgotten)
    }

    /// Gives a record a title, or takes it back with an empty text.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn title(&self, record: RecordId, time: UnixMillis, text: &str) -> Result<(), CallError> {
        let title = Title::sign(&self.key, &self.founding().domain, record, time, text)?;
        Ok(self.gateway.keep_title(title.title()).await?)
    }
}
