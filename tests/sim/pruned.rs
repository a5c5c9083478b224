//! A channel that lets blocks go lives on until some are gone: nothing that anybody needs goes with them.

use super::{
    clock::Fault,
    cluster::{Cluster, NODES},
    membership::decide,
    people::{PATIENCE, Person, SimClient},
    story::{Pair, VERSION, open_at},
};
use commonware_runtime::Clock as _;
use dmdl::client::OpenError;
use dmdl_types::{
    bundle,
    governance::{Change, Governance},
    id::{Epoch, Height, RecordId, TransactionId},
    invocation::Authority,
};
use std::time::Duration;

/// Few, since blocks go by epochs.
pub(crate) const EPOCH_BLOCKS: u64 = 2;
/// Blocks that go together.
const LOT: u64 = 8 * EPOCH_BLOCKS;
/// Blocks that are kept for those who are behind.
const KEPT: u64 = 128 * EPOCH_BLOCKS;
/// Longer than from one snapshot to the next.
const LATER: Duration = Duration::from_secs(31 * 60);
/// More events than may all fall on the last blocks of epochs, which no snapshot is taken of.
const EVENTS: usize = 8;

/// Decides that blocks go, registers a record, and waits until the block of its registration is gone.
pub(crate) async fn lets_blocks_go(cluster: &Cluster, pair: &Pair<'_>, admins: &[Person<'_>]) {
    let proposed = decide(&admins[0], Governance::Propose { changes: vec![Change::PruneBlocks] }).await;
    for admin in &admins[1..3] {
        decide(admin, Governance::Approve { proposal: proposed.transaction }).await;
    }
    // They begin with it when they start again.
    for position in 0..NODES {
        start_again(cluster, position).await;
    }
    let record = pair.register().await;
    let (registration, registered) = registration_of(cluster, record);
    let gone = (registered.get() / LOT + 1) * LOT;
    reach(cluster, gone + 2).await;
    // So that the two newest snapshots are of later heights.
    for later in 1..=3 {
        cluster.seats.iter().for_each(|seat| seat.clock.set(Some(Fault::Ahead(LATER * later))));
        for _ in 0..EVENTS {
            decide(&admins[0], Governance::Propose { changes: vec![Change::PruneBlocks] }).await;
        }
    }
    reach(cluster, gone + KEPT + LOT).await;

    for restarts in [false, true] {
        if restarts {
            start_again(cluster, 1).await;
        }
        for position in 0..NODES {
            assert!(!has_block(cluster, position, registered).await, "node {position} has let the block go");
            assert_shows_all(cluster, position, pair, (record, registration)).await;
        }
    }
    let lost = NODES - 1;
    cluster.crash(lost).await;
    cluster.wipe(lost);
    start(cluster, lost).await;
    assert_eq!(cluster.joined(), 1, "there is nobody to have all blocks of");
    for _ in 0..2 {
        assert_shows_all(cluster, lost, pair, (record, registration)).await;
        start_again(cluster, lost).await;
    }
}

async fn start_again(cluster: &Cluster, position: usize) {
    cluster.crash(position).await;
    start(cluster, position).await;
}

/// Starts a node, and waits until it has caught up with the others, which go on meanwhile.
async fn start(cluster: &Cluster, position: usize) {
    cluster.boot(position).await;
    let height = |position: usize| cluster.seats[position].up.get().unwrap().channel().tip().height;
    while (0..NODES).any(|other| height(position).next() < height(other)) {
        cluster.runtime().sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until all four have executed a height.
async fn reach(cluster: &Cluster, height: u64) {
    let is_behind = || cluster.founders().any(|seat| seat.up.get().unwrap().channel().tip().height.get() < height);
    while is_behind() {
        cluster.runtime().sleep(Duration::from_millis(100)).await;
    }
}

fn registration_of(cluster: &Cluster, record: RecordId) -> (TransactionId, Height) {
    let node = cluster.seats[0].up.get().unwrap();
    let id = node.channel().version(record, VERSION).unwrap().unwrap().transaction;
    (id, node.channel().event_of(id).unwrap().unwrap().1.height)
}

async fn has_block(cluster: &Cluster, position: usize, height: Height) -> bool {
    let node = cluster.seats[position].up.get().unwrap();
    let chain = node.chain().unwrap();
    assert!(chain.block(node.channel().tip().height).await.is_some(), "new blocks are there");
    chain.block(height).await.is_some()
}

/// What was signed, its receipt, the whole trail and the record are to be had at a node.
async fn assert_shows_all(
    cluster: &Cluster,
    position: usize,
    pair: &Pair<'_>,
    (record, registration): (RecordId, TransactionId),
) {
    let node = cluster.seats[position].up.get().unwrap();
    let signed = node.transaction(registration).await.unwrap().expect("what was signed is there");
    assert_eq!(signed.body.id(), registration);
    // The members are those of the genesis document all the time.
    let (founding, config) = (cluster.genesis.founding(), cluster.genesis.epoch_config(Epoch::new(0)));
    let receipt = node.receipt_of(registration, PATIENCE).await.unwrap().expect("it was executed");
    receipt.verify(&founding.domain, &config.cosigners(), config.cosigners_needed()).unwrap();
    let exported = node.export(None, node.log_size(), Duration::from_secs(60)).await.unwrap();
    let report = bundle::verify(&exported.to_bytes(), &founding).unwrap();
    assert!(report.events.iter().any(|(_, event)| event.transaction == registration));
    let open = async |client: &SimClient| {
        let opening = client.decrypt(record, VERSION, Authority::Owner).await?;
        open_at(client, &opening).await
    };
    let opened: Result<Vec<u8>, OpenError> = pair.owner.attempt(position, open).await.expect("the node runs");
    assert!(opened.unwrap() == pair.plaintext, "a record opened to other bytes");
}
