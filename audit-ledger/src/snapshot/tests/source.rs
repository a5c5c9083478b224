//! A chain with something of everything, and a node that follows it and keeps snapshots.

use crate::{
    execute::Executor,
    finalized::Finalized,
    snapshot::Shelf,
    steps,
    store::{Batch, Store},
    testing::*,
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    block::{Block, Header},
    checkpoint::Checkpoint,
    event::Verdict,
    evidence::Evidence,
    genesis::{Genesis, Member, NodeRoles, Person, Role},
    governance::{Change, Governance},
    id::{DisplayName, RecordVersion},
    invocation::{Access, Authority, Invocation, Membership, SystemItem},
    lineage::FinalHeader,
    snapshot::Offer,
};

pub(super) const EPOCH_BLOCKS: u64 = 20;

pub(super) fn begin() -> Genesis {
    let mut genesis = genesis();
    genesis.channel.epoch_blocks = EPOCH_BLOCKS;
    genesis
}

/// A ledger with records, people, a decided proposal and evidence, of which a snapshot is certified in epoch 2, and
/// which is in epoch 5.
pub(super) fn lived_in() -> Ledger {
    let mut ledger = Ledger::of(begin());
    let deal = Deal { policy: Some(policy(Template::ResearchAuto)), ..Deal::default() };
    let record = ledger.active_record(&owner(1), &deal);
    let grant = ledger.granted(&researcher(2), record, terms(30, 9));
    ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    carry_newest(&mut ledger);
    a_fifth_member(&mut ledger);
    live_until(&mut ledger, 2);
    // The checkpoint of epoch 1 is one that nobody has carried when the snapshot is taken.
    let pending = ledger.registration(&owner(2), &Deal::default());
    let later = pending.record;
    ledger.access(&owner(2), Access::Register(Box::new(pending)));
    let taken = ledger.executor.newest_checkpoint().unwrap().unwrap();
    carry_newest(&mut ledger);
    assert_eq!(ledger.executor.tip().anchor.unwrap().checkpoint, taken);

    ledger.acknowledge(later, RecordVersion::new(1));
    // What was agreed on before the snapshot is held against somebody after it, and carried once more.
    let older = ledger.row::<Checkpoint>(&dmdl_types::id::Height::new(older_height(&ledger))).unwrap();
    let false_one = Checkpoint { root: [6; 32], ..older };
    let lie = Evidence::Cosignature { checkpoint: false_one, cosignature: cosignature(&false_one, 3) };
    assert_eq!(ledger.tell(2, SystemItem::Evidence(Box::new(lie))).outcome.verdict, Verdict::Applied);
    ledger.carry(older);
    ledger.decrypt(&researcher(2), record, Authority::Grant(grant));
    carry_newest(&mut ledger);
    live_until(&mut ledger, 5);
    ledger.access(&owner(1), Access::Erase { record });
    carry_newest(&mut ledger);
    ledger
}

/// The last height of epoch 1 with events.
fn older_height(ledger: &Ledger) -> u64 {
    let mut heights = (EPOCH_BLOCKS..2 * EPOCH_BLOCKS).rev();
    heights.find(|height| ledger.row::<Checkpoint>(&dmdl_types::id::Height::new(*height)).is_some()).unwrap()
}

/// A fifth organisation joins with a node that does not order.
fn a_fifth_member(ledger: &mut Ledger) {
    let roles = NodeRoles { endorser: true, ..NodeRoles::default() };
    let member = Member { node: node_id(5), cosigning_key: cosigner(5).public(), org: org_id(5), roles };
    let name = DisplayName::new("admin").unwrap();
    let person = Person { key: admin(5).public(), org: org_id(5), name, role: Role::Admin };
    let changes =
        vec![Change::AddNode { member, address: "five.example:7401".to_owned() }, Change::AddPerson { person }];
    let proposed = ledger.call(&admin(1), Invocation::Governance(Governance::Propose { changes }));
    for org in [2, 3] {
        let approve = Governance::Approve { proposal: proposed.transaction };
        assert_eq!(ledger.call(&admin(org), Invocation::Governance(approve)).outcome.verdict, Verdict::Applied);
    }
}

/// Lives on until the given epoch has begun, with an event in each epoch.
fn live_until(ledger: &mut Ledger, epoch: u64) {
    while ledger.height().next().get() / EPOCH_BLOCKS < epoch {
        if ledger.height().get() % EPOCH_BLOCKS == 3 { enrol(ledger) } else { drop(ledger.empty()) }
    }
}

/// A block with one event.
pub(super) fn enrol(ledger: &mut Ledger) {
    let seed = u8::try_from(ledger.number() % 100).unwrap() + 150;
    let name = DisplayName::new("somebody").unwrap();
    let person = Person { key: signer(seed).public(), org: org_id(1), name, role: Role::Researcher };
    ledger.call(&admin(1), Invocation::Membership(Membership::Enrol { person }));
}

/// An empty block that carries the newest checkpoint.
pub(super) fn carry_newest(ledger: &mut Ledger) {
    let newest = ledger.executor.newest_checkpoint().unwrap().unwrap();
    ledger.carry(newest);
}

/// A header with its own certificate.
pub(super) fn sealed(header: Header) -> FinalHeader {
    let certificate = certificate(&header);
    FinalHeader { header, links: Vec::new(), certificate }
}

/// A node that executed these blocks as a channel does.
pub(super) struct Source<S: Store> {
    pub(super) store: S,
    pub(super) executor: Executor<S>,
    pub(super) shelf: Shelf,
    pub(super) blocks: Vec<Block>,
}

impl<S: Store> Source<S> {
    pub(super) fn follow(store: S, blocks: &[Block]) -> Self {
        let executor = Executor::open(store.clone(), begin().founding(), MATH).unwrap();
        let mut source = Self { store, executor, shelf: Shelf::default(), blocks: blocks[..1].to_vec() };
        source.catch_up(blocks);
        source
    }

    pub(super) fn catch_up(&mut self, blocks: &[Block]) {
        for block in &blocks[self.blocks.len()..] {
            let header = &block.header;
            let is_last = header.height.next().get() % EPOCH_BLOCKS == 0;
            if is_last {
                let mut batch = Batch::new();
                steps::keep(&mut batch, header.epoch.next(), &sealed(header.clone()));
                self.store.commit(batch).unwrap();
            }
            let done = self.executor.execute(&Finalized::delivered(block.clone())).unwrap();
            self.shelf.executed(&self.store, &done, !is_last).unwrap();
            self.blocks.push(block.clone());
        }
    }

    pub(super) fn header(&self, height: u64) -> Header {
        self.blocks[usize::try_from(height).unwrap()].header.clone()
    }

    /// What it offers.
    pub(super) fn offer(&self) -> Offer {
        let (height, anchor) = self.shelf.newest().expect("a snapshot is certified");
        let header = self.header(height.get());
        Offer { certificate: certificate(&header), header, anchor: sealed(self.header(anchor.get())) }
    }
}
