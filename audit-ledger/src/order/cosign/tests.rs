use super::*;
use crate::testing::*;
use dmdl_types::id::BlockDigest;

fn checkpoint(height: u64) -> Checkpoint {
    let domain = genesis().domain();
    Checkpoint {
        network: domain.network,
        channel: domain.channel,
        size: height * 10,
        root: [1; 32],
        height: Height::new(height),
        block: BlockDigest::new([2; 32]),
        state: [3; 32],
        index: [4; 32],
    }
}

fn add(pool: &mut CosignPool, height: u64, org: u8) -> bool {
    pool.add(&checkpoint(height), cosignature(&checkpoint(height), org), &config()) == Cosigned::News
}

fn newest(pool: &CosignPool) -> Option<(u64, usize)> {
    let cosigned = pool.newest(&config())?;
    cosigned.verify(&genesis().domain(), &config().cosigners(), config().cosigners_needed()).unwrap();
    Some((cosigned.checkpoint().height.get(), cosigned.cosignatures().len()))
}

#[test]
fn a_checkpoint_is_carried_once_enough_organisations_cosigned_it() {
    let mut pool = CosignPool::default();
    pool.open(checkpoint(5), &config());
    assert_eq!(newest(&pool), None);
    assert!(add(&mut pool, 5, 1));
    assert!(!add(&mut pool, 5, 1), "no news");
    assert_eq!(newest(&pool), None);
    assert!(add(&mut pool, 5, 2));
    assert_eq!(newest(&pool), Some((5, 2)));
    assert!(add(&mut pool, 5, 3));
    assert_eq!(newest(&pool), Some((5, 3)));
}

#[test]
fn two_nodes_of_one_organisation_count_once() {
    let mut merged = config();
    merged.members[1].org = merged.members[0].org.clone();
    assert_eq!(merged.cosigners_needed(), 2, "four orderers tolerate one that lies, whoever commits");
    let mut config = config();
    let (a, b) = (config.members[0].node, config.members[1].node);
    config.members[1].org = config.members[0].org.clone();
    // A fifth organisation keeps the number that is needed at two.
    config.members.push(dmdl_types::genesis::Member {
        node: NodeId::new([0xff; 32]),
        cosigning_key: cosigner(5).public(),
        org: org_id(5),
        roles: dmdl_types::genesis::NodeRoles::ALL,
    });
    assert_eq!(config.cosigners_needed(), 2);
    let mut pool = CosignPool::default();
    pool.open(checkpoint(5), &config);
    for org in 1..=4 {
        if [a, b].contains(&node_id(org)) {
            assert_eq!(pool.add(&checkpoint(5), cosignature(&checkpoint(5), org), &config), Cosigned::News);
        }
    }
    assert_eq!(pool.newest(&config), None);
}

#[test]
fn the_newest_with_enough_is_carried() {
    let mut pool = CosignPool::default();
    for height in [5, 6, 7] {
        pool.open(checkpoint(height), &config());
        add(&mut pool, height, 1);
    }
    add(&mut pool, 5, 2);
    assert_eq!(newest(&pool), Some((5, 2)));
    add(&mut pool, 6, 3);
    assert_eq!(newest(&pool), Some((6, 2)));
    let sizes = [10, 60, 61].map(|size| pool.at_least(size, &config()).map(|c| c.checkpoint().size));
    assert_eq!(sizes, [Some(60), Some(60), None]);
}

#[test]
fn a_cosignature_of_anything_else_is_no_use() {
    let mut pool = CosignPool::default();
    pool.open(checkpoint(5), &config());
    let other = Checkpoint { state: [9; 32], ..checkpoint(5) };
    let good = cosignature(&checkpoint(5), 1);
    let rows = [
        ("of another state, which it does not come with", cosignature(&other, 1)),
        ("another node's", Cosignature { node: node_id(2), ..good }),
        ("another time", Cosignature { time_unix_s: 1, ..good }),
        ("a stranger's", cosignature(&checkpoint(5), 99)),
    ];
    for (name, cosignature) in rows {
        assert_eq!(pool.add(&checkpoint(5), cosignature, &config()), Cosigned::NoUse, "{name}");
    }
    assert!(add(&mut pool, 5, 1));
    assert!(!add(&mut pool, 4, 1), "of a height that led to no checkpoint here");
}

#[test]
fn early_cosignatures_count_when_their_height_is_executed() {
    let mut pool = CosignPool::default();
    assert!(add(&mut pool, 6, 1));
    assert!(add(&mut pool, 6, 2));
    assert!(!add(&mut pool, 6, 2), "no news");
    // One that turns out to be of something else does not count.
    let other = Checkpoint { state: [9; 32], ..checkpoint(6) };
    let lie = cosignature(&other, 3);
    assert_eq!(pool.add(&other, lie, &config()), Cosigned::News);
    pool.open(checkpoint(5), &config());
    assert_eq!(newest(&pool), None);
    assert_eq!(pool.open(checkpoint(6), &config()), [(other, lie)]);
    assert_eq!(newest(&pool), Some((6, 2)));
    assert!(add(&mut pool, 6, 3), "who lied can still say the truth");
}

#[test]
fn a_committer_that_signs_something_else_is_told_from_one_whose_signature_is_bad() {
    let mut pool = CosignPool::default();
    pool.open(checkpoint(5), &config());
    let other = Checkpoint { state: [9; 32], ..checkpoint(5) };
    assert_eq!(pool.add(&other, cosignature(&checkpoint(5), 1), &config()), Cosigned::NoUse);
    assert_eq!(pool.add(&other, cosignature(&other, 1), &config()), Cosigned::Contradicts);
    assert!(add(&mut pool, 5, 1));
    assert_eq!(pool.add(&other, cosignature(&other, 1), &config()), Cosigned::Contradicts, "after the truth, too");
}

#[test]
fn a_block_carries_the_checkpoint_that_most_have_cosigned() {
    let mut pool = CosignPool::default();
    for (height, orgs) in [(5, 4), (6, 4), (7, 2)] {
        pool.open(checkpoint(height), &config());
        (1..=orgs).for_each(|org| assert!(add(&mut pool, height, org)));
    }
    let carried = |size| pool.to_carry(size, &config()).map(|c| c.checkpoint().height.get());
    assert_eq!(carried(None), Some(6), "the newest of those with four");
    assert_eq!(carried(Some(60)), Some(7), "what is settled is no news");
    assert_eq!(carried(Some(70)), None);
}

#[test]
fn a_node_that_floods_heights_ahead_takes_no_place_from_others() {
    let mut pool = CosignPool::default();
    pool.open(checkpoint(5), &config());
    let wild = cosignature(&checkpoint(6), 1);
    let kept = (0..1000).filter(|n| pool.add(&checkpoint(1000 + n), wild, &config()) == Cosigned::News).count();
    assert_eq!(kept, HEIGHTS_MAX);
    assert!(add(&mut pool, 6, 2));
    assert!(add(&mut pool, 6, 3));
    pool.open(checkpoint(6), &config());
    assert_eq!(newest(&pool), Some((6, 2)));
}

#[test]
fn a_cosigner_that_left_does_not_spoil_the_rest() {
    let mut pool = CosignPool::default();
    pool.open(checkpoint(5), &config());
    for org in 1..=3 {
        add(&mut pool, 5, org);
    }
    let mut config = config();
    config.members.retain(|member| member.node != node_id(1));
    let cosigned = pool.newest(&config).unwrap();
    assert_eq!(cosigned.cosignatures().len(), 2);
    cosigned.verify(&genesis().domain(), &config.cosigners(), config.cosigners_needed()).unwrap();
}

#[test]
fn a_cosignature_by_a_key_of_before_does_not_spoil_the_rest() {
    let mut pool = CosignPool::default();
    pool.open(checkpoint(5), &config());
    for org in 1..=3 {
        add(&mut pool, 5, org);
    }
    let mut config = config();
    let member = config.members.iter_mut().find(|member| member.node == node_id(1)).unwrap();
    member.cosigning_key = cosigner(50).public();
    let lines = |pool: &CosignPool| {
        let cosigned = pool.newest(&config).unwrap();
        cosigned.verify(&genesis().domain(), &config.cosigners(), config.cosigners_needed()).unwrap();
        cosigned.cosignatures().len()
    };
    assert_eq!(lines(&pool), 2);
    let again = cosigner(50).sign(&checkpoint(5), node_id(1), 1_800_000_000);
    assert_eq!(pool.add(&checkpoint(5), again, &config), Cosigned::News);
    assert_eq!(lines(&pool), 3);
}

#[test]
fn what_is_settled_stays_and_what_is_older_goes() {
    let mut pool = CosignPool::default();
    for height in [5, 6] {
        pool.open(checkpoint(height), &config());
        add(&mut pool, height, 1);
        add(&mut pool, height, 2);
    }
    pool.settle(Height::new(6));
    assert_eq!(newest(&pool), Some((6, 2)));
    pool.settle(Height::new(7));
    assert_eq!(newest(&pool), None);
}

#[test]
fn cosignatures_that_never_suffice_take_bounded_room() {
    let mut pool = CosignPool::default();
    for height in 0..1000 {
        pool.open(checkpoint(height), &config());
    }
    assert_eq!(pool.gathered.len(), HEIGHTS_MAX);
    assert!(pool.early.is_empty());
}
