//! Changes of the channel, for everybody who is enrolled: what is proposed, and what a proposal starts from.

use super::{
    Page, Reading,
    cursor::{Binding, List},
    keyed,
    walk::{CHUNK, walk},
};
use crate::{
    channel::ViewError,
    store::{Store, StoreError},
    world::{self, PendingRow, ProposalRow, ProposalState},
};
use borsh::BorshSerialize;
use dmdl_types::{genesis::EpochConfig, id::TransactionId};
use std::cell::Cell;

/// Which proposals are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize)]
pub struct ProposalFilter {
    /// Only those that wait for approvals.
    pub open: bool,
}

impl<S: Store> Reading<'_, S> {
    /// The proposals to change the channel, in the order of their ids.
    ///
    /// # Errors
    /// [`ViewError::Cursor`] when the cursor is none of this list and filter.
    pub fn proposals(
        &self,
        filter: ProposalFilter,
        cursor: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page<(TransactionId, ProposalRow)>, ViewError> {
        let binding = Binding::new(&self.tip.domain, List::Proposals, &filter);
        walk(
            (&binding, cursor),
            (limit, &Cell::new(0)),
            |after: Option<[u8; 32]>| {
                let after = after.map(|id| world::row_key::<ProposalRow>(&TransactionId::new(id)));
                keyed(world::scan::<ProposalRow>(&self.rows, &(), after.as_deref(), CHUNK)?)
            },
            |id, row| {
                let fits = !filter.open || row.state == ProposalState::Open;
                Ok(fits.then_some((TransactionId::new(id), row)))
            },
        )
    }

    /// The nodes and rules that were decided last, which the next proposal changes. Who may propose blocks under them
    /// is decided later.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    pub fn decided(&self) -> Result<EpochConfig, StoreError> {
        let next = self.tip.epoch.next();
        // The last block of an epoch has decided on one more than those before it.
        let newest = match self.row::<EpochConfig>(&next.next())? {
            None => self.row(&next)?,
            newest => newest,
        };
        let missing = || StoreError::Corrupt(format!("the configuration of epoch {next} is missing"));
        let decided = newest.ok_or_else(missing)?;
        Ok(match self.row::<PendingRow>(&())? {
            Some(pending) => EpochConfig { epoch: decided.epoch.next(), ..pending.onto(decided) },
            None => decided,
        })
    }
}
