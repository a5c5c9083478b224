//! A candidate block, as every orderer checks it before it votes.

use super::{
    executor::next,
    scene::{Scene, stranger},
    table::{Table, Tally},
};
use dmdl_audit_ledger::order::{BlockFault, Checked, check};
use dmdl_types::{
    block::Block,
    checkpoint::{Checkpoint, CheckpointError},
    evidence::Evidence,
    id::{ChannelId, Height, NetworkId, NodeId, View},
    invocation::SystemItem,
    limits,
    sign::SigningKey,
    transaction::{EndorsedTransaction, SystemBody, SystemTransaction, TransactionError},
};

/// What a node may tell the ledger without anybody's asking.
fn batch(scene: &Scene, signer: &SigningKey, expires: Height) -> SystemTransaction {
    let items = vec![SystemItem::Evidence(Box::new(Evidence::Votes { proof: vec![1] }))];
    let node = NodeId::of_key(signer.public());
    let body = SystemBody { domain: scene.domain(), node, nonce: [3; 16], expires, items };
    SystemTransaction::sign(body, signer)
}

pub(crate) fn table(scene: &Scene) -> Tally {
    let domain = scene.domain();
    let mut original = next(scene);
    let height = original.header.height;
    let soon = Height::new(height.get() + 100);
    let node = |position: usize| scene.keys(position).signing_key();
    original.body.transactions.push(scene.transaction());
    original.body.system = vec![batch(scene, &node(0), soon), batch(scene, &node(1), soon)];
    original.header.checkpoint = Some(scene.story.late.clone());
    // One within its epoch, whatever block the chain has come to.
    (original.header.parent_view, original.header.parent_signers) = (View::new(3), vec![0b111]);
    let (config, following) = (scene.config(original.header.epoch), scene.config(original.header.epoch.next()));
    let accepts = |block: &Block| check(block, &domain, &config, following.digest(), &Checked::default());

    let mut table = Table::new("orderer, candidate block", original.clone(), accepts);
    table.row("of another network", |b| b.header.domain.network = NetworkId::new([1; 32]), BlockFault::WrongContext);
    table.row("of another channel", |b| b.header.domain.channel = ChannelId::new([1; 32]), BlockFault::WrongContext);
    table.row(
        "under the configuration of the next epoch",
        |b| b.header.config = following.digest(),
        BlockFault::Configuration,
    );
    table.row(
        "announcing its own configuration",
        |b| b.header.next_config = config.digest(),
        BlockFault::Configuration,
    );
    table.row("without a word on its parent's votes", |b| b.header.parent_signers.clear(), BlockFault::ParentSigners);
    table.row("with votes of nobody", |b| b.header.parent_signers = vec![0b1_0111], BlockFault::ParentSigners);
    table.row("with votes of too many", |b| b.header.parent_signers.push(0), BlockFault::ParentSigners);
    table.row(
        "with votes on another epoch's block",
        |b| b.header.parent_view = View::new(0),
        BlockFault::ParentSigners,
    );

    let id = |transaction: &EndorsedTransaction| transaction.transaction.body.id();
    let expiring = |expires: u64| {
        let mut body = scene.body();
        body.expires = Height::new(expires);
        scene.endorsed(body, &scene.network.owner.key, &[0, 1])
    };
    let first = &original.body.transactions[0];
    table.row(
        "with a transaction of another network",
        |b| {
            let mut body = scene.body();
            body.domain = scene.other_genesis().domain();
            b.body.transactions[1] = scene.endorsed(body, &scene.network.owner.key, &[0, 1]);
        },
        BlockFault::Transaction(TransactionError::WrongContext),
    );
    table.row("with a transaction twice", |b| b.body.transactions[1] = first.clone(), BlockFault::Doubled(id(first)));
    table.row(
        "with a transaction twice, endorsed by others",
        |b| {
            let body = first.transaction.body.clone();
            b.body.transactions[1] = scene.endorsed(body, &scene.network.owner.key, &[2, 3]);
        },
        BlockFault::Doubled(id(first)),
    );
    let expired = expiring(height.get() - 1);
    table.row(
        "with a transaction that has expired",
        |b| b.body.transactions[1] = expired.clone(),
        BlockFault::Expiry(id(&expired)),
    );
    let late = expiring(height.get() + limits::EXPIRY_BLOCKS + 1);
    table.row(
        "with a transaction that expires too late",
        |b| b.body.transactions[1] = late.clone(),
        BlockFault::Expiry(id(&late)),
    );
    let alone = scene.endorsed(scene.body(), &scene.network.owner.key, &[3]);
    table.row(
        "with a transaction that one organisation endorsed",
        |b| b.body.transactions[1] = alone.clone(),
        BlockFault::NotEndorsed(id(&alone)),
    );
    let outsider = batch(scene, &stranger(9), soon);
    table.row(
        "with a batch of a stranger",
        |b| b.body.system[1] = outsider.clone(),
        BlockFault::NotMember(outsider.id()),
    );
    let more = batch(scene, &node(0), soon.next());
    table.row("with two batches of one node", |b| b.body.system[1] = more.clone(), BlockFault::NotMember(more.id()));
    table.row(
        "with one node's batch in the name of another",
        |b| b.body.system[1].body.node = scene.keys(2).id,
        BlockFault::Transaction(TransactionError::Signature(scene.keys(2).id.key())),
    );

    let late = *scene.story.late.checkpoint();
    let mut carries = |name, checkpoint: Checkpoint, by: &[usize], expected| {
        table.row(name, |b| b.header.checkpoint = Some(scene.cosigned(checkpoint, by)), expected);
    };
    carries(
        "with a checkpoint of its own height",
        Checkpoint { height, ..late },
        &[0, 1],
        BlockFault::CheckpointHeight,
    );
    carries(
        "with a checkpoint of one organisation",
        late,
        &[2],
        BlockFault::Checkpoint(CheckpointError::TooFewOrgs { got: 1, needed: 2 }),
    );
    carries(
        "with a checkpoint of another channel",
        Checkpoint { channel: ChannelId::new([1; 32]), ..late },
        &[0, 1],
        BlockFault::Checkpoint(CheckpointError::OtherChannel),
    );
    table.tally()
}
