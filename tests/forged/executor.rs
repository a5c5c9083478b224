//! The executor's input: blocks that a quorum has really signed, more than may lie, and that a follower
//! still does not execute; and what it executes to no effect.

use super::{
    follower::{Handed, Refusal, follow},
    scene::{MATH, Scene, name_body},
    table::{Table, Tally},
};
use dmdl_audit_ledger::execute::{ExecuteError, Executor};
use dmdl_types::{
    block::{Block, Body, Header},
    checkpoint::Checkpoint,
    codec,
    genesis::{Genesis, GenesisError},
    id::{BlockDigest, Epoch, Height, View},
};

/// What a node is started on, and the block that it is then handed.
#[derive(Clone)]
struct Offered {
    genesis: Genesis,
    block: Block,
}

pub(crate) fn table(scene: &Scene) -> Tally {
    let length = scene.blocks.len();
    let tip = &scene.blocks[length - 1].header;
    let original = Offered { genesis: scene.genesis().clone(), block: next(scene) };
    let accepts = |offered: &Offered| {
        let (store, _) = scene.follower(length);
        let mut executor = Executor::open(store, offered.genesis.founding(), MATH)?;
        let certificate = scene.certificate(&offered.block.header, &[0, 1, 2]);
        follow(&mut executor, &Handed { block: codec::encode(&offered.block), links: vec![], certificate })
    };
    let mut table = Table::new("executor", original, accepts);
    let out_of_order = |got: u64| Refusal::Execute(ExecuteError::OutOfOrder { got: Height::new(got), tip: tip.height });
    let conflict = Refusal::Execute(ExecuteError::Conflict(tip.height.next()));

    let other = scene.other_genesis();
    table.row("the genesis of another network", |o| o.genesis = other, Refusal::Execute(ExecuteError::OtherLedger));
    table.row(
        "a genesis of an unknown version",
        |o| o.genesis.version = 2,
        Refusal::Execute(ExecuteError::Genesis(GenesisError::Version(2))),
    );
    table.row("the tip once more", |o| o.block = scene.blocks[length - 1].clone(), out_of_order(tip.height.get()));
    table.row("the first block once more", |o| o.block = scene.blocks[1].clone(), out_of_order(1));
    table.row("a sibling of the tip", |o| o.block.header.height = tip.height, out_of_order(tip.height.get()));
    table.row(
        "a block two heights on",
        |o| o.block.header.height = tip.height.next().next(),
        out_of_order(tip.height.get() + 2),
    );
    table.row("a block on the tip's parent", |o| o.block.header.parent = tip.parent, conflict);
    table.row(
        "a block on no parent",
        |o| o.block.header.parent = BlockDigest::new([0; 32]),
        Refusal::Execute(ExecuteError::Conflict(tip.height.next())),
    );
    let undecided = Epoch::new(tip.epoch.get() + 9);
    table.row(
        "a block of an epoch that is not decided",
        |o| o.block.header.epoch = undecided,
        Refusal::Execute(ExecuteError::NoConfiguration(undecided)),
    );

    let own = *scene.story.late.checkpoint();
    table.also_accepts("a checkpoint that says what was executed", |o| {
        o.block.header.checkpoint = Some(scene.cosigned(own, &[0, 1]));
    });
    let lies = [
        ("a checkpoint of another state", Checkpoint { state: [1; 32], ..own }),
        ("a checkpoint of another log", Checkpoint { root: [1; 32], ..own }),
        ("a checkpoint of another index", Checkpoint { index: [1; 32], ..own }),
        ("a checkpoint of a smaller log of the same root", Checkpoint { size: own.size - 1, ..own }),
        ("a checkpoint of a larger log of the same root", Checkpoint { size: own.size + 1, ..own }),
        ("a checkpoint of another block", Checkpoint { block: BlockDigest::new([1; 32]), ..own }),
        ("a checkpoint of another height", Checkpoint { height: Height::new(0), ..own }),
    ];
    for (name, lie) in lies {
        let carry = |o: &mut Offered| o.block.header.checkpoint = Some(scene.cosigned(lie, &[0, 1]));
        table.row(name, carry, Refusal::Execute(ExecuteError::Diverged(lie.height)));
    }

    let busy = &scene.blocks[usize::try_from(scene.story.busy.get()).unwrap()].body.transactions;
    let told = scene.blocks.iter().rev().map(|block| &block.body.system).find(|system| !system.is_empty()).unwrap();
    let with = |o: &mut Offered, body: Body| {
        o.block.body = body;
        name_body(&mut o.block);
    };
    table.row(
        "transactions that were executed before",
        |o| with(o, Body { transactions: busy.clone(), system: vec![] }),
        Refusal::NoEffect,
    );
    table.row(
        "a transaction that was executed before, endorsed by others",
        |o| {
            let body = busy[0].transaction.body.clone();
            let again = scene.endorsed(body, &scene.network.owner.key, &[2, 3]);
            with(o, Body { transactions: vec![again], system: vec![] });
        },
        Refusal::NoEffect,
    );
    table.row(
        "batches of nodes that were executed before",
        |o| with(o, Body { transactions: vec![], system: told.clone() }),
        Refusal::NoEffect,
    );
    table.tally()
}

/// A block after the last one that was taken down, with one transaction.
pub(crate) fn next(scene: &Scene) -> Block {
    let tip = scene.blocks.last().unwrap();
    let height = tip.header.height.next();
    let blocks = scene.genesis().channel.epoch_blocks;
    let epoch = Epoch::new(height.get() / blocks);
    let config = scene.config(epoch);
    let begins = height.get().is_multiple_of(blocks);
    let parent_view = if begins { View::new(0) } else { tip.header.view };
    let body = Body { transactions: vec![scene.transaction()], system: vec![] };
    let header = Header {
        domain: scene.domain(),
        height,
        epoch,
        view: parent_view.next(),
        primary: config.qualified[0],
        parent_view,
        parent: tip.digest(),
        parent_signers: if begins { vec![] } else { vec![0b0111] },
        time: tip.header.time.plus_ms(1000),
        config: config.digest(),
        next_config: scene.config(epoch.next()).digest(),
        body: body.digest(),
        checkpoint: None,
    };
    Block { header, body }
}
