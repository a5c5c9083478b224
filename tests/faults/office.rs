//! What people of a run share: where gateways are, what there is to work on, and the book that each writes into.

use super::log::{Call, History, Micros, Op};
use crate::network::Network;
use dmdl::{
    client::{Client, HttpGateway, Trust},
    keyfile,
    local::{Identity, os_rng},
    network_file::{Endpoint, NetworkFile},
};
use dmdl_types::{
    event::Event,
    genesis::{Founding, Role},
    id::{ChannelId, GrantId, Height, NetworkId, RecordId, RecordVersion, TransactionId, UnixMillis},
    sign::PublicKey,
};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// Somebody at a gateway, across the network.
pub(crate) type Remote = Client<HttpGateway, UnwrapErr<SysRng>>;

/// How long a gateway may take for a transaction.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A record that is sealed, and what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(crate) id: RecordId,
    pub(crate) version: RecordVersion,
    pub(crate) bytes: Vec<u8>,
}

/// A grant that somebody was told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    pub(crate) grant: GrantId,
    pub(crate) request: TransactionId,
    pub(crate) requester: PublicKey,
    pub(crate) record: RecordId,
}

/// What people work on, all of them.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// What was entered, or may have been.
    pub(crate) items: Vec<RecordId>,
    pub(crate) records: Vec<Sealed>,
    pub(crate) grants: Vec<Granted>,
}

pub(crate) struct Office {
    founding: Founding,
    doors: Vec<Endpoint>,
    people: BTreeMap<&'static str, Identity>,
    begun: Instant,
    /// The time of day when it began.
    pub(crate) begun_at: UnixMillis,
    is_over: AtomicBool,
    desk: Mutex<Desk>,
    ops: Mutex<Vec<Op>>,
    calls: Mutex<BTreeMap<TransactionId, (PublicKey, Call)>>,
}

impl Office {
    /// That of these people at the gateways of a network's nodes.
    pub(crate) fn open(network: &Network, names: impl IntoIterator<Item = &'static str>) -> Self {
        let pin = NetworkFile::read(&network.pin_file(0)).unwrap();
        let person = |name| (name, keyfile::read(&network.key(name)).unwrap().unlock(None).unwrap());
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Self {
            founding: pin.genesis.founding(),
            doors: pin.gateways,
            people: names.into_iter().map(person).collect(),
            begun: Instant::now(),
            begun_at: UnixMillis::new(u64::try_from(since.as_millis()).unwrap()),
            is_over: AtomicBool::new(false),
            desk: Mutex::default(),
            ops: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    /// How many gateways there are.
    pub(crate) const fn gateways(&self) -> usize {
        self.doors.len()
    }

    pub(crate) fn identity(&self, name: &str) -> &Identity {
        &self.people[name]
    }

    /// The keys of those with a role.
    pub(crate) fn keys(&self, role: Role) -> Vec<PublicKey> {
        let people = self.people.values().map(|identity| &identity.person);
        people.filter(|person| person.role == role).map(|person| person.key).collect()
    }

    /// Somebody at the gateway of a node. Each believes nothing but what they verify themselves.
    pub(crate) fn remote(&self, identity: &Identity, gateway: usize) -> Remote {
        let Endpoint { url, certificate_sha256 } = &self.doors[gateway];
        let certificate = certificate_sha256.map(|digest| digest.0);
        let asked = HttpGateway::new(url, certificate, &self.founding, &identity.key).unwrap();
        Client::new(Trust::new(self.founding.clone()), identity.key(), asked, os_rng(), PATIENCE)
    }

    pub(crate) fn domain(&self) -> (NetworkId, ChannelId) {
        (self.founding.domain.network, self.founding.domain.channel)
    }

    pub(crate) const fn founding(&self) -> &Founding {
        &self.founding
    }

    pub(crate) fn now(&self) -> Micros {
        Micros::try_from(self.begun.elapsed().as_micros()).unwrap()
    }

    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap()
    }

    pub(crate) fn signed(&self, id: TransactionId, author: PublicKey, call: Call) {
        self.calls.lock().unwrap().insert(id, (author, call));
    }

    pub(crate) fn note(&self, op: Op) {
        self.ops.lock().unwrap().push(op);
    }

    /// Whether a gateway has acknowledged something that was begun since.
    pub(crate) fn has_acknowledged(&self, gateway: usize, since: Micros) -> bool {
        let ops = self.ops.lock().unwrap();
        // Each is written down when it is over.
        let mut recent = ops.iter().rev().take_while(|op| op.completed > since);
        recent.any(|op| op.gateway == gateway && op.invoked > since && op.done().is_some())
    }

    /// Nobody begins anything any more.
    pub(crate) fn close(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The position up to which people know the log.
    pub(crate) fn known(&self) -> u64 {
        let ops = self.ops.lock().unwrap();
        ops.iter().filter_map(Op::done).map(|(_, position, _)| position + 1).max().unwrap_or_default()
    }

    /// What is to be judged, with the trail and the height of the network when all was over.
    pub(crate) fn history(&self, trail: Vec<Event>, height: Height) -> History {
        let people = self.people.values().map(|identity| &identity.person);
        History {
            ops: self.ops.lock().unwrap().clone(),
            calls: self.calls.lock().unwrap().clone(),
            orgs: people.map(|person| (person.key, person.org.to_string())).collect(),
            owners: self.keys(Role::Owner),
            trail,
            height,
            begun_at: self.begun_at,
        }
    }
}

/// Closes an office when this goes, also because a test fails: people who work would never end.
pub(crate) struct Closing<'a>(pub(crate) &'a Office);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
