//! What one person may know of: records, requests, their part of the trail.

use super::{EventFilter, Reading, RequestView, walk::CHUNK};
use crate::{
    contract::{decides, may_read},
    log::{self, List},
    store::{Store, StoreError},
    world::{OpenedBy, PersonRow, RecordRow, RequestRow, RequestState},
};
use dmdl_types::{
    access::{Permission, PolicyDocument},
    event::{Action, Event, Verdict},
    genesis::Role,
    id::{RecordId, TransactionId},
    index_proof::HeadKey,
    sign::PublicKey,
};
use std::cell::Cell;

/// Most steps that are taken to find out whether somebody has asked for a record: what one person did,
/// and what was done to one record, meet long before.
const STEPS_MAX: usize = 32 * 1024;
/// Most events that are looked at for the decision on a request.
const DECISION_LOOKS_MAX: usize = 16 * 1024;

impl<S: Store> Reading<'_, S> {
    /// A record, if there is one that this person may know of: the one place where that is decided for
    /// whoever reads.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn visible_record(&self, person: &PersonRow, id: RecordId) -> Result<Option<RecordRow>, StoreError> {
        let row: Option<RecordRow> = self.row(&id)?;
        if row.as_ref().is_some_and(|row| may_read(person, row)) {
            return Ok(row);
        }
        // Looked up for a record that is not there as well: how long the answer takes says nothing.
        let asked = self.has_asked(person.person.key, id, &Cell::new(0))?;
        Ok(row.filter(|_| asked))
    }

    /// A request, if there is one that this person may know of: the requester, who decides about the
    /// record, and officers.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn visible_request(&self, person: &PersonRow, id: TransactionId) -> Result<Option<RequestView>, StoreError> {
        let Some(row) = self.row::<RequestRow>(&id)? else { return Ok(None) };
        if !self.may_see_request(person, &row)? {
            return Ok(None);
        }
        self.request_view(id, row).map(Some)
    }

    /// Whether this person may read the events that a filter lets through: an officer all, others what
    /// they did themselves and what became of records that they own.
    ///
    /// # Errors
    /// [`StoreError`] when the record cannot be read.
    pub fn may_audit(&self, person: &PersonRow, filter: &EventFilter) -> Result<bool, StoreError> {
        let key = person.person.key;
        if person.person.role == Role::Officer || filter.actor == Some(key) {
            return Ok(true);
        }
        let Some(record) = filter.record else { return Ok(false) };
        Ok(self.row::<RecordRow>(&record)?.is_some_and(|row| row.owner == key))
    }

    /// What a record may be used for, as its policy says; none without a policy.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn permission(&self, record: &RecordRow) -> Result<Option<Permission>, StoreError> {
        let Some(policy) = record.policy else { return Ok(None) };
        Ok(self.row::<PolicyDocument>(&policy)?.map(|document| document.permission))
    }

    /// The event of a transaction with its position, once it is executed.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn event_of(&self, id: TransactionId) -> Result<Option<(u64, Event)>, StoreError> {
        log::find(&self.rows, id, 0)
    }

    /// The event that decided a request, with its position: the request's own when a policy decided, else
    /// that of the review. None while it is pending, or when the record's trail is too long to look for it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn decision(&self, request: &RequestView) -> Result<Option<(u64, Event)>, StoreError> {
        if request.row.state == RequestState::Pending {
            return Ok(None);
        }
        let Some((asked, event)) = self.event_of(request.id)? else { return Ok(None) };
        if event.outcome.verdict != Verdict::Pending {
            return Ok(Some((asked, event)));
        }
        let key = HeadKey::Record(request.row.record);
        let (mut after, mut looked) = (asked, 0);
        loop {
            let positions = log::positions(&self.rows, &key, Some(after), CHUNK)?;
            let last = positions.len() < CHUNK;
            for position in positions {
                let event = self.event(position)?;
                let reviews = matches!(event.action, Action::Approve | Action::DenyRequest);
                if reviews && event.refers_to == Some(request.id) && event.outcome.verdict == Verdict::Applied {
                    return Ok(Some((position, event)));
                }
                (after, looked) = (position, looked + 1);
            }
            if last || looked >= DECISION_LOOKS_MAX {
                return Ok(None);
            }
        }
    }

    pub(super) fn may_see_request(&self, person: &PersonRow, row: &RequestRow) -> Result<bool, StoreError> {
        if row.requester == person.person.key || person.person.role == Role::Officer {
            return Ok(true);
        }
        Ok(self.row::<RecordRow>(&row.record)?.is_some_and(|record| decides(person, &record)))
    }

    /// Whether somebody has asked for a record in a way that counted: what they did and what was done to
    /// the record are two ordered lists, and a request stands in both.
    pub(super) fn has_asked(&self, who: PublicKey, record: RecordId, looked: &Cell<usize>) -> Result<bool, StoreError> {
        if self.row::<OpenedBy>(&(who, record))?.is_some() {
            return Ok(true);
        }
        let list = |key| List::of(&self.rows, &key);
        let (Some(did), Some(done)) = (list(HeadKey::Actor(who))?, list(HeadKey::Record(record))?) else {
            return Ok(false);
        };
        let next = |list: &List, after: Option<u64>| {
            looked.set(looked.get() + 1);
            Ok::<_, StoreError>(list.positions(&self.rows, after, 1)?.first().copied())
        };
        let mut after = None;
        for _ in 0..STEPS_MAX {
            let Some(mine) = next(&did, after)? else { return Ok(false) };
            // The first one of the record that is not before.
            let Some(its) = next(&done, mine.checked_sub(1))? else { return Ok(false) };
            if mine != its {
                after = its.checked_sub(1);
                continue;
            }
            let event = self.event(mine)?;
            if event.action == Action::Request && self.row::<RequestRow>(&event.transaction)?.is_some() {
                return Ok(true);
            }
            after = Some(mine);
        }
        Ok(false)
    }
}
