//! A network of four processes, and the people who hand transactions in.

use crate::{
    load::{Load, Tally},
    mint::Mint,
    network::{ALL, Network},
};
use dmdl::{
    client::{Client, HttpGateway, Trust},
    gateway::raise_open_files,
    local::{Identity, os_rng},
};
use dmdl_types::{
    bundle,
    genesis::Role,
    id::TransactionId,
    invocation::{Invocation, Membership},
};
use futures::{StreamExt as _, stream};
use std::{collections::BTreeMap, fs, net::SocketAddr, ops::Range, sync::Arc, time::Duration};
use tokio::runtime::Runtime;

pub(crate) const NODES: usize = 4;
/// Authors of transactions, as many of each organisation.
pub(crate) const AUTHORS: usize = 32;
const OF_EACH: usize = AUTHORS / NODES;
const PATIENCE: Duration = Duration::from_secs(30);
/// Enrolments on their way at a time.
const AT_ONCE: usize = 4;

pub(crate) struct Town {
    pub(crate) network: Network,
    pub(crate) gateways: Vec<SocketAddr>,
    authors: Vec<Identity>,
    runtime: Runtime,
}

/// The authors of an organisation.
pub(crate) const fn of_org(org: usize) -> Range<usize> {
    org * OF_EACH..(org + 1) * OF_EACH
}

/// One of them.
pub(crate) const fn one_of_org(org: usize) -> Range<usize> {
    org * OF_EACH..org * OF_EACH + 1
}

impl Town {
    pub(crate) fn start() -> Self {
        raise_open_files();
        let mut network =
            Network::generate(&[("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)]);
        network.start_all();
        let gateways = (0..NODES).map(|node| network.endpoint(node).0.trim_start_matches("https://").parse().unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut town = Self { gateways: gateways.collect(), authors: Vec::new(), network, runtime };
        for org in 0..NODES {
            town.enrol(org);
        }
        town
    }

    /// Enrols the authors of an organisation, at its own gateway.
    fn enrol(&mut self, org: usize) {
        let admin = self.network.identity(&format!("admin-{}", org + 1));
        let (url, pin) = self.network.endpoint(org);
        let founding = self.network.pin(org).genesis.founding();
        let gateway = HttpGateway::new(&url, pin, &founding, &admin.key).unwrap().persistently(PATIENCE);
        let client = Client::new(Trust::new(founding), admin.key(), gateway, os_rng(), PATIENCE);
        let name = admin.person.org.as_str();
        let authors: Vec<Identity> =
            of_org(org).map(|number| Identity::new(name, &format!("author-{number}"), Role::Owner).unwrap()).collect();
        let enrolments = authors.iter().map(|author| {
            let call = Invocation::Membership(Membership::Enrol { person: author.person.clone() });
            client.call(call)
        });
        let enrolled: Vec<_> = self.runtime.block_on(stream::iter(enrolments).buffer_unordered(AT_ONCE).collect());
        for done in enrolled {
            assert_eq!(done.unwrap().event.outcome.reasons, []);
        }
        self.authors.extend(authors);
    }

    /// Transactions of some of the authors.
    pub(crate) fn mint(&self, of: Range<usize>) -> Arc<Mint> {
        let domain = self.network.pin(0).genesis.founding().domain;
        let again = |author: &Identity| Identity { person: author.person.clone(), key: author.key() };
        Arc::new(Mint::new(domain, self.authors[of].iter().map(again).collect(), self.network.height(0)))
    }

    pub(crate) fn run(&self, load: Load) -> Tally {
        self.runtime.block_on(load.run())
    }

    pub(crate) fn run_both(&self, one: Load, other: Load) -> (Tally, Tally) {
        self.runtime.block_on(async { tokio::join!(one.run(), other.run()) })
    }

    /// How often each of these is in the trail, which is verified.
    pub(crate) fn occurrences(&self, of: impl Iterator<Item = TransactionId>) -> BTreeMap<TransactionId, u64> {
        let mut found: BTreeMap<_, u64> = of.map(|id| (id, 0)).collect();
        let file = self.network.assert_trail_verifies(0);
        let founding = self.network.pin(0).genesis.founding();
        let trail = bundle::verify(&fs::read(file).unwrap(), &founding).expect("the trail verifies");
        for (_, event) in trail.events {
            if let Some(count) = found.get_mut(&event.transaction) {
                *count += 1;
            }
        }
        found
    }
}
