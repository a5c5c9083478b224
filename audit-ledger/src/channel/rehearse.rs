//! What a call would come to, before it is ordered.

use super::Channel;
use crate::{
    contract::{self, Context},
    store::{Store, StoreError},
    world::World,
};
use dmdl_types::{event::Outcome, transaction::Transaction};

impl<E, S: Store> Channel<E, S> {
    /// What a call would come to if it were the only one of the next block; nothing is written.
    ///
    /// Endorsers look at it, so that a call that makes no sense is refused before it costs anyone
    /// anything. It binds nobody: execution decides again, on the state that it then meets.
    ///
    /// # Errors
    /// [`StoreError`] when the state cannot be read.
    pub fn rehearse(&self, transaction: &Transaction) -> Result<Outcome, StoreError> {
        let (tip, config) = (self.tip(), self.config()?);
        let ctx = Context {
            domain: self.domain(),
            single_org_demo: self.shared.founding.single_org_demo,
            config: &config,
            height: tip.height.next(),
            time: tip.time,
            transaction: transaction.body.id(),
            math: self.shared.math,
            policies: &self.shared.policies,
        };
        let mut world = World::new(self.shared.store.clone());
        let effect = contract::invoke(&mut world, &ctx, &transaction.body.authors, &transaction.body.invocation)?;
        Ok(effect.outcome)
    }
}
