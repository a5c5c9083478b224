//! Reading for people: records, requests and events, page by page, at one height, and no more of them
//! than whoever asks may see.
//!
//! A page looks at a bounded number of rows, whatever its filters let through: it may hold few items, or
//! none, and still have a successor. Only a page without a cursor is the last.

mod cursor;
mod governance;
mod visible;
mod walk;

#[cfg(test)]
mod tests;

pub use governance::ProposalFilter;

use super::{Channel, RecordView, ViewError, view::PAGE_MAX};
use crate::{
    contract::may_read,
    execute::Tip,
    log,
    store::{Store, StoreError},
    world::{self, BigEndian, GrantRow, HistoryRow, Owned, PersonRow, RecordRow, RequestRow, RequestState, Row},
};
use borsh::BorshSerialize;
use cursor::{Binding, List};
use dmdl_types::{
    access::DuoCode,
    codec,
    event::{Action, Event, Verdict},
    genesis::Role,
    id::{GrantId, OrgId, RecordId, SubjectId, TransactionId, UnixMillis},
    index_proof::HeadKey,
    limits,
    sign::PublicKey,
};
use std::cell::Cell;
use walk::{CHUNK, walk};

/// Part of a list, and where the next part begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page; none after the last.
    pub next: Option<Vec<u8>>,
}

/// Which records are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct RecordFilter {
    /// Those of this owner.
    pub owner: Option<PublicKey>,
    /// Those of this media type.
    pub media_type: Option<String>,
    /// Those with this permission.
    pub permission: Option<DuoCode>,
    /// Those whose id, media type, organisation or title contains this text, in lower case.
    pub text: Option<String>,
    /// Those registered at this time or later.
    pub since: Option<UnixMillis>,
}

/// Which requests are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct RequestFilter {
    /// Those for this record.
    pub record: Option<RecordId>,
    /// Those of this requester.
    pub requester: Option<PublicKey>,
    /// Those in this state.
    pub state: Option<RequestState>,
}

/// Which people are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct PersonFilter {
    /// Those of this organisation.
    pub org: Option<OrgId>,
    /// Those with this role.
    pub role: Option<Role>,
}

/// Which events are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct EventFilter {
    /// Those that concern this record.
    pub record: Option<RecordId>,
    /// Those of this actor.
    pub actor: Option<PublicKey>,
    /// Those that concern this subject.
    pub subject: Option<SubjectId>,
    /// Those with this purpose.
    pub purpose: Option<DuoCode>,
    /// Those with this verdict.
    pub verdict: Option<Verdict>,
    /// Those at this time or later.
    pub from: Option<UnixMillis>,
    /// Those at this time or earlier.
    pub to: Option<UnixMillis>,
}

/// A request, and the grant that it led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestView {
    /// The request.
    pub id: TransactionId,
    /// What the ledger says of it.
    pub row: RequestRow,
    /// Its grant.
    pub grant: Option<(GrantId, GrantRow)>,
}

/// The ledger as this node has executed it, at one height.
///
/// Keeps what is overwritten meanwhile from being thrown away: for one answer, not for hours.
pub struct Reading<'a, S: Store + 'a> {
    rows: S::Snapshot<'a>,
    tip: Tip,
    titles: &'a Titles,
}

/// Whether the title that a record has beside the ledger contains a text in lower case.
pub type Titles = dyn Fn(RecordId, &RecordRow, &str) -> bool + Send + Sync;

/// What a ledger knows of titles.
fn untitled(_: RecordId, _: &RecordRow, _: &str) -> bool {
    false
}

impl<S: Store> std::fmt::Debug for Reading<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reading(at {})", self.tip.height)
    }
}

impl<E, S: Store> Channel<E, S> {
    /// Reads the ledger as it is now; blocks that are executed meanwhile do not change what is read.
    ///
    /// # Errors
    /// [`StoreError`] when the tip cannot be read.
    pub fn reading(&self) -> Result<Reading<'_, S>, StoreError> {
        let rows = self.store().snapshot();
        let tip = Tip::load(&rows)?.ok_or_else(|| StoreError::Corrupt("the ledger has no tip".into()))?;
        Ok(Reading { rows, tip, titles: &untitled })
    }
}

impl<'a, S: Store + 'a> Reading<'a, S> {
    /// Looks for texts in these titles too.
    #[must_use]
    pub fn titled(self, titles: &'a Titles) -> Self {
        Self { titles, ..self }
    }

    /// The last executed block.
    #[must_use]
    pub const fn tip(&self) -> &Tip {
        &self.tip
    }

    /// What the rows are read from.
    #[must_use]
    pub const fn rows(&self) -> &S::Snapshot<'a> {
        &self.rows
    }

    /// The row under a key, whoever asks.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn row<R: Row>(&self, key: &R::Key) -> Result<Option<R>, StoreError> {
        world::read(&self.rows, key)
    }

    /// The records that this person may know of, in the order of their ids.
    ///
    /// # Errors
    /// [`ViewError::Cursor`] when the cursor is none of this list and filter.
    pub fn records(
        &self,
        person: &PersonRow,
        filter: &RecordFilter,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<RecordView>, ViewError> {
        let binding = Binding::new(&self.tip.domain, List::Records, filter);
        let looked = Cell::new(0);
        walk(
            (&binding, cursor),
            (limit, &looked),
            |after| self.record_rows(filter.owner, after),
            |id, row| {
                let id = RecordId::new(id);
                let seen = self.fits(filter, id, &row)?
                    && (may_read(person, &row) || self.has_asked(person.person.key, id, &looked)?);
                Ok(seen.then_some(RecordView { id, row }))
            },
        )
    }

    /// The requests that this person may know of: in the order in which they were made for one record or
    /// requester, else in the order of their ids.
    ///
    /// # Errors
    /// [`ViewError::Cursor`] when the cursor is none of this list and filter.
    pub fn requests(
        &self,
        person: &PersonRow,
        filter: &RequestFilter,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<RequestView>, ViewError> {
        let mut filter = filter.clone();
        // Who decides about nothing sees their own requests and no others.
        if filter.record.is_none() && matches!(person.person.role, Role::Researcher | Role::Admin) {
            filter.requester.get_or_insert(person.person.key);
        }
        let binding = Binding::new(&self.tip.domain, List::Requests, &filter);
        let looked = Cell::new(0);
        let keep = |id, row: RequestRow| {
            let seen = filter.record.is_none_or(|record| row.record == record)
                && filter.requester.is_none_or(|requester| row.requester == requester)
                && filter.state.is_none_or(|state| row.state == state)
                && self.may_see_request(person, &row)?;
            if seen { self.request_view(id, row).map(Some) } else { Ok(None) }
        };
        let head = filter.requester.map(HeadKey::Actor).or(filter.record.map(HeadKey::Record));
        match head {
            None => walk(
                (&binding, cursor),
                (limit, &looked),
                |after| self.request_rows(after),
                |id, row| keep(TransactionId::new(id), row),
            ),
            Some(head) => walk(
                (&binding, cursor),
                (limit, &looked),
                |after| self.listed(&head, after.map(u64::from_be_bytes)),
                |_, event| {
                    if event.action != Action::Request {
                        return Ok(None);
                    }
                    let row = self.row::<RequestRow>(&event.transaction)?;
                    row.map_or(Ok(None), |row| keep(event.transaction, row))
                },
            ),
        }
    }

    /// The people of the channel, in the order of their keys.
    ///
    /// # Errors
    /// [`ViewError::Cursor`] when the cursor is none of this list and filter.
    pub fn people(
        &self,
        filter: &PersonFilter,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<PersonRow>, ViewError> {
        let binding = Binding::new(&self.tip.domain, List::People, filter);
        walk(
            (&binding, cursor),
            (limit, &Cell::new(0)),
            |after: Option<[u8; 32]>| {
                let after = after.map(|key| world::row_key::<PersonRow>(&PublicKey::new(key)));
                keyed(world::scan::<PersonRow>(&self.rows, &(), after.as_deref(), CHUNK)?)
            },
            |_, row| {
                let fits = filter.org.as_ref().is_none_or(|org| row.person.org == *org)
                    && filter.role.is_none_or(|role| row.person.role == role);
                Ok(fits.then_some(row))
            },
        )
    }

    /// The events that a filter lets through, in their order, with their positions. Whether somebody may
    /// read them, [`Reading::may_audit`] says.
    ///
    /// # Errors
    /// [`ViewError::Cursor`] when the cursor is none of this list and filter.
    pub fn events(
        &self,
        filter: &EventFilter,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<(u64, Event)>, ViewError> {
        let binding = Binding::new(&self.tip.domain, List::Events, filter);
        // Times never go back along the log, so the first event of a time is found by halving.
        let begin = filter.from.map_or(Ok(0), |from| self.first_at(from))?;
        let head = match filter {
            EventFilter { record: Some(record), .. } => Some(HeadKey::Record(*record)),
            EventFilter { subject: Some(subject), .. } => Some(HeadKey::Subject(*subject)),
            EventFilter { actor: Some(actor), .. } => Some(HeadKey::Actor(*actor)),
            _ => None,
        };
        walk(
            (&binding, cursor),
            (limit, &Cell::new(0)),
            |after| {
                let after = after.map(u64::from_be_bytes).max(begin.checked_sub(1));
                let mut events = match &head {
                    Some(head) => self.listed(head, after)?,
                    None => self.leaves(after)?,
                };
                if let Some(to) = filter.to {
                    events.truncate(events.partition_point(|(_, event)| event.time <= to));
                }
                Ok(events)
            },
            |place, event| Ok(filter.fits(&event).then_some((u64::from_be_bytes(place), event))),
        )
    }

    /// All events from a position on, at most `limit`, with their positions.
    ///
    /// # Errors
    /// [`StoreError`] when one cannot be read.
    pub fn events_from(&self, from: u64, limit: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        let damaged = |e| StoreError::Corrupt(format!("an event: {e}"));
        let event = |leaf: Vec<u8>| codec::decode(&leaf, limits::EVENT_BYTES).map_err(damaged);
        let leaves = log::leaves(&self.rows, from, limit.min(PAGE_MAX))?;
        // In this order: after the last leaf no position is counted, which may be the last there is.
        leaves.into_iter().zip(from..).map(|(leaf, position)| Ok((position, event(leaf)?))).collect()
    }

    /// The history of a record, oldest first. Whether somebody may know of the record,
    /// [`Reading::visible_record`] says.
    ///
    /// # Errors
    /// [`ViewError::Cursor`] when the cursor is none of this record.
    pub fn history(
        &self,
        record: RecordId,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<HistoryRow>, ViewError> {
        let binding = Binding::new(&self.tip.domain, List::History, &record);
        walk(
            (&binding, cursor),
            (limit, &Cell::new(0)),
            |after| {
                let key = |place| world::row_key::<HistoryRow>(&(record, BigEndian::new(u64::from_be_bytes(place))));
                keyed(world::scan::<HistoryRow>(&self.rows, &record, after.map(key).as_deref(), CHUNK)?)
            },
            |_, row| Ok(Some(row)),
        )
    }

    fn record_rows(
        &self,
        owner: Option<PublicKey>,
        after: Option<[u8; 32]>,
    ) -> Result<Vec<([u8; 32], RecordRow)>, StoreError> {
        let after = after.map(RecordId::new);
        let Some(owner) = owner else {
            let after = after.map(|id| world::row_key::<RecordRow>(&id));
            return keyed(world::scan::<RecordRow>(&self.rows, &(), after.as_deref(), CHUNK)?);
        };
        let after = after.map(|id| world::row_key::<Owned>(&(owner, id)));
        let owned = keyed(world::scan::<Owned>(&self.rows, &owner, after.as_deref(), CHUNK)?)?;
        let with_row = |(id, Owned): ([u8; 32], Owned)| {
            let missing = || StoreError::Corrupt("an owned record is missing".into());
            Ok((id, self.row::<RecordRow>(&RecordId::new(id))?.ok_or_else(missing)?))
        };
        owned.into_iter().map(with_row).collect()
    }

    fn request_rows(&self, after: Option<[u8; 32]>) -> Result<Vec<([u8; 32], RequestRow)>, StoreError> {
        let after = after.map(|id| world::row_key::<RequestRow>(&TransactionId::new(id)));
        keyed(world::scan::<RequestRow>(&self.rows, &(), after.as_deref(), CHUNK)?)
    }

    /// The events under a head, after a position.
    fn listed(&self, head: &HeadKey, after: Option<u64>) -> Result<Vec<([u8; 8], Event)>, StoreError> {
        let positions = log::positions(&self.rows, head, after, CHUNK)?;
        positions.into_iter().map(|position| Ok((position.to_be_bytes(), self.event(position)?))).collect()
    }

    /// All events, after a position.
    fn leaves(&self, after: Option<u64>) -> Result<Vec<([u8; 8], Event)>, StoreError> {
        let events = self.events_from(after.map_or(0, |position| position.saturating_add(1)), CHUNK)?;
        Ok(events.into_iter().map(|(position, event)| (position.to_be_bytes(), event)).collect())
    }

    fn event(&self, position: u64) -> Result<Event, StoreError> {
        let missing = || StoreError::Corrupt("a listed leaf is missing".into());
        log::event(&self.rows, position)?.ok_or_else(missing)
    }

    /// The position of the first event at this time or later: the log's size when there is none.
    fn first_at(&self, time: UnixMillis) -> Result<u64, StoreError> {
        let (mut low, mut high) = (0, self.tip.size);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.event(middle)?.time < time { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn fits(&self, filter: &RecordFilter, id: RecordId, row: &RecordRow) -> Result<bool, StoreError> {
        let plainly = filter.media_type.as_ref().is_none_or(|media_type| row.metadata.media_type == *media_type)
            && filter.since.is_none_or(|since| row.registered >= since)
            && filter.text.as_ref().is_none_or(|text| {
                id.to_string().contains(text)
                    || row.metadata.media_type.contains(text)
                    || row.org.as_str().contains(text)
                    || (self.titles)(id, row, text)
            });
        let Some(wanted) = filter.permission.filter(|_| plainly) else { return Ok(plainly) };
        Ok(self.permission(row)?.is_some_and(|permission| permission.code == wanted))
    }

    fn request_view(&self, id: TransactionId, row: RequestRow) -> Result<RequestView, StoreError> {
        let grant = GrantId::of_request(id);
        let grant = self.row::<GrantRow>(&grant)?.map(|row| (grant, row));
        Ok(RequestView { id, row, grant })
    }
}

impl EventFilter {
    /// The filter that lets everything through that concerns a head.
    #[must_use]
    pub fn of(head: Option<HeadKey>) -> Self {
        match head {
            Some(HeadKey::Record(record)) => Self { record: Some(record), ..Self::default() },
            Some(HeadKey::Actor(actor)) => Self { actor: Some(actor), ..Self::default() },
            Some(HeadKey::Subject(subject)) => Self { subject: Some(subject), ..Self::default() },
            None => Self::default(),
        }
    }

    fn fits(&self, event: &Event) -> bool {
        self.record.is_none_or(|record| event.record == Some(record))
            && self.actor.is_none_or(|actor| event.actor == actor)
            && self.subject.is_none_or(|subject| event.subject == Some(subject))
            && self.purpose.is_none_or(|code| event.purpose.is_some_and(|purpose| purpose.code == code))
            && self.verdict.is_none_or(|verdict| event.outcome.verdict == verdict)
    }
}

/// Rows with the last part of their keys, which is their place in the list.
fn keyed<const N: usize, R>(rows: Vec<(Vec<u8>, R)>) -> Result<Vec<([u8; N], R)>, StoreError> {
    let short = || StoreError::Corrupt("the key of a listed row is too short".into());
    rows.into_iter().map(|(key, row)| Ok((*key.last_chunk().ok_or_else(short)?, row))).collect()
}
