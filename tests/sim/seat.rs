//! A node's place: its keys, its disk and its clock, which stay when the node goes.

use super::{
    clock::SimClock,
    cluster::{Runtime, SimNode},
    disk::Disk,
    wire::Shared,
};
use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::ed25519;
use commonware_runtime::{Handle, Supervisor as _};
use dmdl_audit_ledger::{
    channel::{Latest, Place, Standing},
    store::{MemoryStore, Reader as _, Space},
};
use dmdl_types::{
    checkpoint::CosigningKey,
    genesis::{Member, NodeRoles},
    id::{NodeId, OrgId},
    secret::Secret32,
    sign::SigningKey,
};
use dmdl_vault::custodian::MemoryKeys;
use rand_core::Rng as _;
use std::{
    cell::{Cell, RefCell},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::mpsc;

/// What a node gossips, and to whom.
type Mouth = mpsc::Sender<(Vec<NodeId>, Vec<u8>)>;

/// A node's place: what stays when the node goes.
pub(crate) struct Seat {
    /// The node, while it runs.
    pub(crate) up: Latest<Option<SimNode>>,
    pub(crate) clock: Arc<SimClock>,
    /// Whether the channel's configuration has it.
    pub(crate) member: Cell<bool>,
    /// Whether what it says as a custodian cannot be held against it: it is two, or has lost what it knew.
    pub(crate) excused: Cell<bool>,
    pub(crate) manners: Shared,
    pub(crate) fate: Arc<Fate>,
    pub(crate) ground: RefCell<Ground>,
    seed: [u8; 32],
    cosigning: [u8; 32],
    pub(crate) mouth: RefCell<Option<Mouth>>,
    pub(crate) tasks: RefCell<Vec<Handle<()>>>,
}

/// Where all disks are: none is ever copied.
pub(crate) const PLACE: Place = Place::new([0; 32]);

/// A node's disk.
#[derive(Clone)]
pub(crate) struct Ground {
    /// What the names of the engine's partitions begin with.
    pub(crate) partitions: String,
    pub(crate) standing: Standing,
    pub(crate) store: MemoryStore,
    pub(crate) secrets: Arc<Mutex<MemoryKeys>>,
    pub(crate) disk: Disk,
}

/// Whether a node stops by itself.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    may_stop: AtomicBool,
    stopped: AtomicBool,
}

impl Fate {
    pub(crate) fn begins(&self) {
        self.stopped.store(false, Ordering::Relaxed);
    }

    /// From now on it may stop, or may not any more.
    pub(crate) fn let_stop(&self, may_stop: bool) {
        self.may_stop.store(may_stop, Ordering::Relaxed);
    }

    pub(crate) fn may_stop(&self) -> bool {
        self.may_stop.load(Ordering::Relaxed)
    }

    pub(crate) fn stops(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it has stopped since it was started.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

impl Ground {
    pub(crate) fn empty(partitions: String, standing: Standing) -> Self {
        Self { partitions, standing, store: MemoryStore::new(), secrets: Arc::default(), disk: Disk::default() }
    }

    /// Whether it is the disk of somebody who lost everything, or comes later.
    pub(crate) fn has_nothing(&self) -> bool {
        self.standing != Standing::Votes && self.store.scan(Space::State, &[], None, 1).unwrap().is_empty()
    }
}

impl Seat {
    /// A founder is a node of the genesis document.
    pub(crate) fn new(runtime: &Runtime, position: usize, founder: bool) -> Self {
        // Who comes later cannot show that it is new.
        let standing = if founder { Standing::Votes } else { Standing::Rejoins(PLACE) };
        Self {
            up: Latest::new(None),
            clock: Arc::new(SimClock::new(runtime.child("clock"))),
            member: Cell::new(founder),
            excused: Cell::new(false),
            manners: Shared::default(),
            fate: Arc::default(),
            ground: RefCell::new(Ground::empty(format!("node-{position}-"), standing)),
            seed: secret(runtime),
            cosigning: secret(runtime),
            mouth: RefCell::default(),
            tasks: RefCell::default(),
        }
    }

    pub(crate) fn key(&self) -> SigningKey {
        SigningKey::from_seed(Secret32::new(self.seed))
    }

    pub(crate) fn cosigning_key(&self) -> CosigningKey {
        CosigningKey::from_seed(Secret32::new(self.cosigning))
    }

    pub(crate) fn peer(&self) -> ed25519::PublicKey {
        ed25519::PublicKey::decode(Copying(self.key().public().as_bytes())).unwrap()
    }

    pub(crate) fn id(&self) -> NodeId {
        NodeId::of_key(self.key().public())
    }

    pub(crate) fn store(&self) -> MemoryStore {
        self.ground.borrow().store.clone()
    }

    /// The seat as a member of an organisation.
    pub(crate) fn as_member(&self, org: &str, roles: NodeRoles) -> Member {
        let org = OrgId::new(org).unwrap();
        Member { node: self.id(), cosigning_key: self.cosigning_key().public(), org, roles }
    }
}

/// A secret of the seed.
pub(crate) fn secret(runtime: &Runtime) -> [u8; 32] {
    let mut bytes = [0; 32];
    runtime.child("secret").fill_bytes(&mut bytes);
    bytes
}
