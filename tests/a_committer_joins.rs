//! The members of a channel change: clients follow them from the genesis on, and believe what a new committer cosigns.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    PATIENCE, Person, register_open, research_policy,
    start::{ORGS, person, runtime, start_network},
};
use dmdl::{
    client::{BelieveError, Trust, Unproved},
    gateway::RealNode,
    local::{Identity, LocalNetwork, Shape},
    node::Final,
};
use dmdl_types::{
    checkpoint::{CheckpointError, CosigningKey},
    event::Verdict,
    genesis::{Member, NodeRoles, Role},
    governance::{Change, Governance},
    id::{Epoch, NodeId, OrgId, RecordId},
    invocation::Invocation,
    receipt::{Receipt, ReceiptError},
    secret::Secret32,
    sign::SigningKey,
};
use std::time::Instant;

/// Blocks an epoch: few, so that what is decided holds soon.
const EPOCH_BLOCKS: u64 = 6;
/// When the newcomer cosigns; nothing depends on it.
const COSIGNED_AT_S: u64 = 1_800_000_000;

/// The committer of an organisation that comes. It does nothing else, so the others need not reach it.
struct Newcomer {
    id: NodeId,
    cosigning: CosigningKey,
}

impl Newcomer {
    fn new() -> Self {
        let id = NodeId::of_key(SigningKey::from_seed(Secret32::new([91; 32])).public());
        Self { id, cosigning: CosigningKey::from_seed(Secret32::new([92; 32])) }
    }

    fn joins(&self) -> Change {
        let member = Member {
            node: self.id,
            cosigning_key: self.cosigning.public(),
            org: OrgId::new("fifth-hospital").unwrap(),
            roles: NodeRoles { committer: true, ..NodeRoles::default() },
        };
        Change::AddNode { member, address: "fifth.example:7400".to_owned() }
    }

    /// The receipt of an event, once the newcomer has cosigned the checkpoint over it for a node, as if it had executed
    /// what the node has.
    async fn cosigned_at(&self, node: &RealNode, done: &Final) -> Receipt {
        let checkpoint = *node.receipt(done, PATIENCE).await.unwrap().checkpoint.checkpoint();
        let cosignature = self.cosigning.sign(&checkpoint, self.id, COSIGNED_AT_S);
        node.channel().cosign(checkpoint, cosignature).unwrap();
        node.receipt(done, PATIENCE).await.unwrap()
    }

    fn has_cosigned(&self, receipt: &Receipt) -> bool {
        receipt.checkpoint.cosignatures().iter().any(|cosignature| cosignature.node == self.id)
    }
}

async fn call(person: &Person, call: Governance) -> Final {
    let done = person.call(Invocation::Governance(call)).await.unwrap();
    assert_eq!(done.event.outcome.verdict, Verdict::Applied, "{:?}", done.event.outcome.reasons);
    done
}

/// Has three of the four organisations decide changes, and makes blocks until they hold.
async fn change(nodes: &LocalNetwork, admins: &[Identity], changes: Vec<Change>, owner: &Person, record: RecordId) {
    let at = |position: usize, admin| nodes.client(position, admin, PATIENCE).expect("the node runs");
    let admins: Vec<Person> = admins.iter().enumerate().map(|(position, admin)| at(position, admin)).collect();
    let [first, second, third] = admins.as_slice() else { panic!("three of four decide") };
    let proposal = call(first, Governance::Propose { changes }).await.transaction;
    call(second, Governance::Approve { proposal }).await;
    let accepted = call(third, Governance::Approve { proposal }).await;
    let from = accepted.event.height.get() / EPOCH_BLOCKS + 2;
    while nodes.node(0).expect("the node runs").node().channel().tip().epoch < Epoch::new(from) {
        owner.set_policy(record, research_policy()).await.unwrap();
    }
}

#[test]
fn what_a_committer_that_joined_cosigns_is_believed_by_clients_that_followed() {
    let owner = person(0, "owner", Role::Owner);
    let admins: Vec<Identity> = (0..3).map(|org| person(org, "admin", Role::Admin)).collect();
    let people: Vec<&Identity> = admins.iter().chain([&owner]).collect();
    let (nodes, _dir) = start_network(&people, Shape { epoch_blocks: EPOCH_BLOCKS, ..Shape::default() });
    let founding = nodes.genesis().founding();
    let gateway = nodes.node(0).expect("the node runs").node();
    let no_custodian = nodes.seats().nth(ORGS.len() - 1).expect("there are four").1;
    let newcomer = Newcomer::new();
    runtime(1).block_on(async {
        let owner = nodes.client(0, &owner, PATIENCE).expect("the node runs");
        let before = register_open(&owner, b"before").await;
        let early = newcomer.cosigned_at(gateway, &before.done).await;
        assert!(!newcomer.has_cosigned(&early), "it is nobody yet");

        let roles = NodeRoles { custodian: false, ..NodeRoles::ALL };
        let changes = vec![newcomer.joins(), Change::SetRoles { node: no_custodian, roles }];
        change(&nodes, &admins, changes, &owner, before.record).await;

        // A checkpoint that the next one replaces may come too late for it.
        let begun = Instant::now();
        let (done, receipt) = loop {
            let done = owner.set_policy(before.record, research_policy()).await.unwrap();
            let receipt = newcomer.cosigned_at(gateway, &done).await;
            if newcomer.has_cosigned(&receipt) {
                break (done, receipt);
            }
            assert!(begun.elapsed() < PATIENCE, "not in time: the newcomer's cosignature is taken");
        };

        // Whoever goes by the genesis document alone believes nothing of it.
        let config = founding.epoch_config(Epoch::new(0));
        let by_founders = receipt.verify(&founding.domain, &config.cosigners(), config.cosigners_needed());
        let unknown = CheckpointError::UnknownCosigner { node: newcomer.id };
        assert_eq!(by_founders, Err(ReceiptError::Checkpoint(unknown)));
        let new = Trust::new(founding.clone());
        assert!(matches!(new.event_offline(&receipt), Err(Unproved::NotKnown(_))));

        // One that is new, and one that was there all the time, follow to it, at any gateway.
        let elsewhere = nodes.node(2).expect("the node runs").node();
        let ask = async |trust: &Trust| trust.event_of(done.transaction, &receipt, elsewhere).await;
        for trust in [&new, owner.trust()] {
            let (position, event) = loop {
                match ask(trust).await {
                    // That gateway is a few blocks behind.
                    Err(BelieveError::Unproved(Unproved::NoConfiguration(_)) | BelieveError::Gateway(_))
                        if begun.elapsed() < PATIENCE => {}
                    believed => break believed.unwrap(),
                }
            };
            assert_eq!((position, &event), (done.position, &done.event));
            assert_eq!(trust.event_offline(&receipt).unwrap(), (position, event));
            assert!(trust.known().member(newcomer.id).is_some());
        }

        let after = register_open(&owner, b"after").await;
        assert!(!after.custodians.contains(&no_custodian) && after.absent.is_empty(), "{after:?}");
    });
}
