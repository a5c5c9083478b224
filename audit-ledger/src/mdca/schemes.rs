//! Each epoch's committee as the engine verifies and signs with it.

use super::keys::engine_key;
use commonware_consensus::{simplex::scheme::ed25519::Scheme, types::Epoch};
use commonware_cryptography::{
    certificate::{Provider, Scoped},
    ed25519::PrivateKey,
};
use commonware_utils::{ordered::Set, sync::Mutex};
use dmdl_types::genesis::EpochConfig;
use std::{collections::BTreeMap, sync::Arc};

/// The schemes of the epochs that this node has reached; clones share one set.
///
/// All are kept: a scheme is small, and peers may ask for proofs of any epoch.
#[derive(Clone)]
pub(super) struct Schemes {
    namespace: Arc<[u8]>,
    signer: PrivateKey,
    known: Arc<Mutex<BTreeMap<u64, Arc<Scheme>>>>,
}

impl Schemes {
    pub(super) fn new(namespace: Vec<u8>, signer: PrivateKey) -> Self {
        Self { namespace: namespace.into(), signer, known: Arc::default() }
    }

    /// Makes an epoch's certificates verifiable.
    pub(super) fn insert(&self, config: &EpochConfig) {
        let scheme = Scheme::verifier(&self.namespace, committee(config));
        self.known.lock().insert(config.epoch.get(), Arc::new(scheme));
    }

    /// The scheme to run an epoch with: one that signs if this node is in the committee and may
    /// vote, one that follows otherwise.
    pub(super) fn participant(&self, config: &EpochConfig, may_vote: bool) -> Scheme {
        may_vote
            .then(|| Scheme::signer(&self.namespace, committee(config), self.signer.clone()))
            .flatten()
            .unwrap_or_else(|| Scheme::verifier(&self.namespace, committee(config)))
    }
}

impl Provider for Schemes {
    type Scope = Epoch;
    type Scheme = Scheme;

    fn scoped(&self, epoch: Epoch) -> Option<Scoped<Scheme>> {
        // Called a full one, although none of these signs: with less the archive verifies what is final, and takes no
        // block from others that is only notarized. A node that was not shown such a block would wait for it for ever.
        self.known.lock().get(&epoch.get()).cloned().map(Scoped::scheme)
    }
}

fn committee(config: &EpochConfig) -> Set<commonware_cryptography::ed25519::PublicKey> {
    Set::from_iter_dedup(config.orderers().iter().filter_map(|node| engine_key(&node.key())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mdca::keys::engine_signer, testing};

    #[test]
    fn a_block_that_is_only_notarized_can_be_had_from_others() {
        let schemes = Schemes::new(b"any".to_vec(), engine_signer(&testing::node(1)));
        assert!(schemes.scheme(Epoch::new(0)).is_none());
        schemes.insert(&testing::config());
        assert!(schemes.scheme(Epoch::new(0)).is_some());
    }
}
