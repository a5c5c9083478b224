//! Who a record concerns, proved: its owner, the committee of the owner's organisation, officers.
//!
//! Whoever seals something to them believes no gateway: the owner is shown by the transaction that made them
//! one, and whoever is not in the genesis document by the one that enrolled them.

use super::{GatewayError, Node, PATIENCE};
use commonware_runtime::Clock;
use dmdl_audit_ledger::{
    channel::PersonFilter,
    store::{Store, StoreError},
    world::{HistoryKind, HistoryRow, PersonRow, PersonStatus, RecordRow},
};
use dmdl_types::{
    genesis::{Person, Role},
    id::{RecordId, TransactionId},
    limits,
    receipt::Receipt,
    transaction::Transaction,
};
use rand_core::CryptoRng;

/// Rows and events that are read at a time.
const PAGE: usize = 256;

/// A transaction with the receipt of its outcome, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What was ordered.
    pub transaction: Transaction,
    /// What became of it.
    pub receipt: Receipt,
}

/// A person whom a record concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Who.
    pub person: Person,
    /// Whether they may act.
    pub active: bool,
    /// How they were enrolled; none for people of the genesis document, and for those whom a proposal enrolled.
    pub enrolment: Option<Deed>,
}

/// Whom a record concerns, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// How the owner came to own it.
    pub acquired: Deed,
    /// The owner first, then the committee of the owner's organisation, then officers.
    pub people: Vec<Party>,
}

impl<E: Clock + CryptoRng, S: Store> Node<E, S> {
    /// Whom a record concerns; none when there is no such record.
    ///
    /// # Errors
    /// [`GatewayError`] when something cannot be read or shown.
    pub async fn parties(&self, record: RecordId) -> Result<Option<Parties>, GatewayError> {
        let Some(row) = self.channel.record(record)? else { return Ok(None) };
        let Some(acquired) = self.acquired(record, &row)? else { return Ok(None) };
        let acquired = self.deed(acquired).await?;
        let mut people = Vec::new();
        for PersonRow { person, status, enrolled_by } in self.concerned(&row)? {
            let enrolment = match enrolled_by {
                Some(enrolled_by) => Some(self.deed(enrolled_by).await?),
                None => None,
            };
            people.push(Party { person, active: status == PersonStatus::Active, enrolment });
        }
        Ok(Some(Parties { acquired, people }))
    }

    fn concerned(&self, row: &RecordRow) -> Result<Vec<PersonRow>, StoreError> {
        let owner: Vec<PersonRow> = self.channel.person(row.owner)?.into_iter().collect();
        let committee = PersonFilter { org: Some(row.org.clone()), role: Some(Role::Committee) };
        let officers = PersonFilter { org: None, role: Some(Role::Officer) };
        let mut people = owner;
        for filter in [committee, officers] {
            people.extend(self.people(&filter)?.into_iter().filter(|row| row.status == PersonStatus::Active));
        }
        // Two places are the requester's and the author's.
        people.truncate(limits::REMARK_READERS - 2);
        Ok(people)
    }

    fn people(&self, filter: &PersonFilter) -> Result<Vec<PersonRow>, StoreError> {
        let reading = self.channel.reading()?;
        let (mut people, mut cursor) = (Vec::new(), None);
        loop {
            let page = reading.people(filter, cursor.as_deref(), PAGE);
            let page = page.map_err(|error| StoreError::Corrupt(error.to_string()))?;
            people.extend(page.items);
            match page.next {
                Some(next) if people.len() < limits::REMARK_READERS => cursor = Some(next),
                _ => return Ok(people),
            }
        }
    }

    /// The transaction by which the owner came to own a record.
    fn acquired(&self, record: RecordId, row: &RecordRow) -> Result<Option<TransactionId>, StoreError> {
        // From the end: a transfer is the last word on who owns a record.
        let mut end = row.history_len;
        while end > 0 {
            let begin = end.saturating_sub(PAGE as u64);
            let limit = usize::try_from(end - begin).unwrap_or(PAGE);
            let entries: Vec<HistoryRow> = self.channel.history(record, begin, limit)?;
            let transfer = entries.iter().rev().find(|entry| entry.kind == HistoryKind::Transfer);
            if let Some(entry) = transfer.or(entries.first().filter(|_| begin == 0)) {
                return Ok(Some(entry.transaction));
            }
            end = begin;
        }
        Ok(None)
    }

    async fn deed(&self, id: TransactionId) -> Result<Deed, GatewayError> {
        let transaction = self.transaction(id).await?.ok_or(GatewayError::NotFinal(id))?;
        let receipt = self.receipt_of(id, PATIENCE).await?.ok_or(GatewayError::NotFinal(id))?;
        Ok(Deed { transaction, receipt })
    }
}
