//! The engine in the deterministic simulator: four orderers, a ledger that only remembers.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod engine_sim {
    pub(crate) mod cluster;
    pub(crate) mod toy;
}

use commonware_runtime::{Clock as _, Runner as _, deterministic};
use dmdl_audit_ledger::mdca::{EngineBlock, Floor};
use dmdl_types::{
    certificate::{CertificateError, FinalityCertificate},
    id::Height,
};
use engine_sim::{
    cluster::{Cluster, NODES},
    toy::{EPOCH_BLOCKS, epoch_config, genesis},
};
use std::time::Duration;

fn runner(seed: u64) -> deterministic::Runner {
    deterministic::Runner::new(
        deterministic::Config::new().with_seed(seed).with_timeout(Some(Duration::from_secs(600))),
    )
}

/// Runs a cluster over several epochs and returns what it agreed on and the run's fingerprint.
fn run(seed: u64) -> (Vec<String>, String) {
    runner(seed).start(|runtime| async move {
        let mut cluster = Cluster::start(&runtime).await;
        cluster.all_reach(52).await;
        let chains: Vec<_> = (0..NODES).map(|node| cluster.toy(node).digests(52)).collect();
        for chain in &chains {
            assert_eq!(chain, &chains[0]);
        }
        let fingerprint = runtime.auditor().state();
        (chains[0].iter().map(ToString::to_string).collect(), fingerprint)
    })
}

#[test]
fn four_orderers_agree_over_several_epochs() {
    runner(1).start(|runtime| async move {
        let mut cluster = Cluster::start(&runtime).await;
        cluster.all_reach(52).await;
        let chain = cluster.toy(0).blocks(52);
        assert_eq!(chain.len(), 52);
        for node in 1..NODES {
            assert_eq!(cluster.toy(node).digests(52), cluster.toy(0).digests(52));
        }
        for block in chain {
            let header = block.header();
            assert_eq!(header.epoch.get(), header.height.get() / EPOCH_BLOCKS);
            let turns = epoch_config(header.epoch).qualified;
            let turn = usize::try_from(header.view.get() - 1).unwrap() % turns.len();
            assert_eq!(header.primary, turns[turn], "the schedule decides who proposes");
        }
    });
}

#[test]
fn certificates_of_the_engine_verify_without_the_engine() {
    runner(2).start(|runtime| async move {
        let mut cluster = Cluster::start(&runtime).await;
        cluster.all_reach(30).await;
        let domain = genesis().domain();
        let mut certified = 0;
        for (height, digest) in (1..=30).zip(cluster.toy(0).digests(30)) {
            let Some(bytes) = cluster.engine(0).chain().certificate(Height::new(height)).await else { continue };
            let certificate = FinalityCertificate::decode(&bytes).unwrap();
            let keys: Vec<_> = epoch_config(certificate.epoch()).orderers().iter().map(|n| n.key()).collect();
            let finalized = certificate.verify(&domain, &keys).unwrap();
            assert_eq!(finalized.digest(), digest);
            assert_eq!(finalized.epoch().get(), height / EPOCH_BLOCKS);
            assert!(finalized.signers().len() >= 3);
            assert_eq!(certificate.encode(), bytes);
            assert_eq!(cluster.toy(0).certificate(height), Some(bytes.clone()), "the ledger gets what is archived");

            let mut forged = bytes;
            *forged.last_mut().unwrap() ^= 1;
            let refused = FinalityCertificate::decode(&forged).unwrap().verify(&domain, &keys);
            assert!(matches!(refused, Err(CertificateError::BadSignature { .. })));
            certified += 1;
        }
        assert!(certified > 20, "{certified} of 30 heights had a certificate");
    });
}

#[test]
fn a_crashed_orderer_comes_back_and_catches_up_over_epochs() {
    runner(3).start(|runtime| async move {
        let mut cluster = Cluster::start(&runtime).await;
        cluster.all_reach(5).await;
        cluster.crash(3).await;
        cluster.reach(&[0, 1, 2], 40).await;
        assert!(cluster.toy(3).height() < EPOCH_BLOCKS, "it missed at least two epoch boundaries");
        cluster.restart(3).await;
        cluster.all_reach(60).await;
        assert_eq!(cluster.toy(3).digests(60), cluster.toy(0).digests(60));
        let proposed_again = cluster.toy(0).blocks(60).iter().skip(40).any(|b| b.header().primary == cluster.node(3));
        assert!(proposed_again, "it proposes again");
    });
}

#[test]
fn a_ledger_that_lost_its_last_blocks_gets_them_again_from_the_archive() {
    runner(4).start(|runtime| async move {
        let mut cluster = Cluster::start(&runtime).await;
        cluster.all_reach(20).await;
        cluster.crash(2).await;
        cluster.toy(2).forget_above(EPOCH_BLOCKS - 2);
        cluster.restart(2).await;
        cluster.all_reach(30).await;
        assert_eq!(cluster.toy(2).digests(30), cluster.toy(0).digests(30));
    });
}

/// Lets a node that has never run begin behind a block inside of an epoch, as if it had joined by a snapshot; gives that
/// block and its height.
fn join_inside(cluster: &Cluster, node: usize, epoch: u64) -> (u64, EngineBlock) {
    let begin = epoch * EPOCH_BLOCKS;
    let mut inside = begin..begin + EPOCH_BLOCKS - 1;
    let (height, certificate) = inside.find_map(|height| Some((height, cluster.toy(0).certificate(height)?))).unwrap();
    let chain = cluster.toy(0).blocks(height);
    let block = |height: u64| chain[usize::try_from(height).unwrap() - 1].clone();
    let floor = Floor { height: Height::new(height), certificate, epoch_parent: block(begin - 1).block_digest() };
    cluster.toy(node).join_after(floor, block(height));
    (height, block(height))
}

#[test]
fn an_orderer_that_joins_behind_a_block_goes_on_from_there_and_after_a_restart() {
    runner(8).start(|runtime| async move {
        let mut cluster = Cluster::prepare(&runtime).await;
        for node in 0..3 {
            cluster.restart(node).await;
        }
        cluster.reach(&[0, 1, 2], 40).await;
        // Inside of epoch 2, and more than an epoch behind the others.
        let (height, block) = join_inside(&cluster, 3, 2);
        cluster.restart(3).await;
        cluster.all_reach(60).await;
        let from = usize::try_from(height).unwrap() - 1;
        assert_eq!(cluster.toy(3).digests(60), cluster.toy(0).digests(60)[from..]);
        let own = cluster.engine(3).chain().clone();
        assert_eq!(own.block(Height::new(height)).await, Some(block), "it fetched what it began with");
        assert_eq!(own.block(Height::new(height - 1)).await, None, "and nothing of before");

        cluster.crash(3).await;
        cluster.reach(&[0, 1, 2], 75).await;
        cluster.restart(3).await;
        cluster.all_reach(90).await;
        assert_eq!(cluster.toy(3).digests(90), cluster.toy(0).digests(90)[from..]);
        let proposes = cluster.toy(0).blocks(90).iter().skip(40).any(|b| b.header().primary == cluster.node(3));
        assert!(proposes, "it takes its turns");
    });
}

/// Of 130 blocks, those below this height are gone where the last ten are kept: they go by eight epochs at a time.
const GONE_BELOW: u64 = 8 * EPOCH_BLOCKS;

#[test]
fn orderers_that_let_old_blocks_go_go_on_without_them_and_after_a_restart() {
    runner(11).start(|runtime| async move {
        let mut cluster = Cluster::prepare(&runtime).await;
        for node in 0..NODES {
            cluster.toy(node).keep_last(10);
            cluster.restart(node).await;
        }
        cluster.all_reach(EPOCH_BLOCKS).await;
        assert!(cluster.engine(0).chain().block(Height::new(1)).await.is_some(), "it is needed yet");
        cluster.all_reach(130).await;
        for restarts in [false, true] {
            if restarts {
                cluster.crash(1).await;
                cluster.restart(1).await;
            }
            let chain = cluster.engine(1).chain().clone();
            for gone in [1, GONE_BELOW / 2, GONE_BELOW - 1] {
                assert_eq!(chain.block(Height::new(gone)).await, None, "block {gone}");
                assert_eq!(chain.certificate(Height::new(gone)).await, None, "the certificate of {gone}");
            }
            assert!(chain.block(Height::new(GONE_BELOW)).await.is_some(), "what is needed is there");
        }
        cluster.all_reach(150).await;
        assert_eq!(cluster.toy(1).digests(150), cluster.toy(0).digests(150));
    });
}

#[test]
fn an_orderer_joins_where_nobody_has_the_old_blocks_any_more() {
    runner(12).start(|runtime| async move {
        let mut cluster = Cluster::prepare(&runtime).await;
        for node in 0..NODES {
            cluster.toy(node).keep_last(10);
        }
        for node in 0..3 {
            cluster.restart(node).await;
        }
        cluster.reach(&[0, 1, 2], 130).await;
        assert_eq!(cluster.engine(0).chain().block(Height::new(1)).await, None);
        let (height, _) = join_inside(&cluster, 3, 9);
        cluster.restart(3).await;
        cluster.all_reach(150).await;
        cluster.crash(3).await;
        cluster.restart(3).await;
        cluster.all_reach(215).await;
        let from = usize::try_from(height).unwrap() - 1;
        assert_eq!(cluster.toy(3).digests(215), cluster.toy(0).digests(215)[from..]);
        // Now the block that it began with is gone as well, and it starts without it.
        assert_eq!(cluster.engine(3).chain().block(Height::new(height)).await, None);
        cluster.crash(3).await;
        cluster.restart(3).await;
        cluster.all_reach(230).await;
    });
}

#[test]
fn what_was_ordered_before_blocks_may_go_stays() {
    runner(13).start(|runtime| async move {
        let mut cluster = Cluster::start(&runtime).await;
        cluster.all_reach(30).await;
        for node in 0..NODES {
            cluster.toy(node).keep_last(10);
            cluster.crash(node).await;
            cluster.restart(node).await;
            cluster.all_reach(30).await;
        }
        let begun = (0..NODES).map(|node| cluster.toy(node).height()).max().unwrap();
        assert!(begun < 90, "the rest is about what comes after: {begun}");
        cluster.all_reach(130).await;
        for restarts in [false, true] {
            if restarts {
                cluster.crash(2).await;
                cluster.restart(2).await;
            }
            let chain = cluster.engine(2).chain().clone();
            for (height, is_there) in [(1, true), (25, true), (GONE_BELOW - 1, false), (GONE_BELOW, true)] {
                assert_eq!(chain.block(Height::new(height)).await.is_some(), is_there, "block {height}");
            }
        }
        cluster.all_reach(150).await;
        assert_eq!(cluster.toy(2).digests(150), cluster.toy(0).digests(150));
    });
}

#[test]
fn all_orderers_stop_and_go_on_after_a_restart() {
    runner(5).start(|runtime| async move {
        let mut cluster = Cluster::start(&runtime).await;
        cluster.all_reach(14).await;
        for node in 0..NODES {
            cluster.stop(node).await;
        }
        let before = cluster.toy(0).digests(14);
        runtime.sleep(Duration::from_secs(5)).await;
        for node in 0..NODES {
            cluster.restart(node).await;
        }
        cluster.all_reach(30).await;
        assert_eq!(cluster.toy(1).digests(14), before);
        assert_eq!(cluster.toy(1).digests(30), cluster.toy(0).digests(30));
    });
}

#[test]
fn an_orderer_that_may_not_vote_follows_without_voting() {
    runner(6).start(|runtime| async move {
        let mut cluster = Cluster::prepare(&runtime).await;
        cluster.toy(3).forbid_votes();
        for node in 0..NODES {
            cluster.restart(node).await;
        }
        cluster.all_reach(15).await;
        let mute = cluster.node(3);
        for height in 1..=15 {
            let Some(bytes) = cluster.toy(3).certificate(height) else { continue };
            let certificate = FinalityCertificate::decode(&bytes).unwrap();
            let keys: Vec<_> = epoch_config(certificate.epoch()).orderers().iter().map(|n| n.key()).collect();
            let signers = certificate.verify(&genesis().domain(), &keys).unwrap();
            assert!(!signers.signers().contains(&mute.key()));
        }
    });
}

#[test]
fn a_block_from_the_future_waits_and_is_not_refused() {
    runner(7).start(|runtime| async move {
        let mut cluster = Cluster::prepare(&runtime).await;
        // This proposer's clock runs ahead by less than a turn lasts: the others wait, then agree.
        cluster.toy(1).run_ahead_ms(3_000);
        for node in 0..NODES {
            cluster.restart(node).await;
        }
        cluster.all_reach(15).await;
        let early = cluster.node(1);
        assert!(cluster.toy(0).blocks(15).iter().any(|b| b.header().primary == early), "its blocks are final");
    });
}

#[test]
fn a_run_is_replayed_from_its_seed() {
    let (chain, fingerprint) = run(42);
    assert_eq!(run(42), (chain, fingerprint.clone()));
    assert_ne!(run(43).1, fingerprint);
}
