use super::*;
use crate::{codec, genesis::tests::genesis, id::UnixMillis};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An offer of a block that nobody has signed.
fn offer(height: u64, epoch: u64) -> Offer {
    let header = crate::block::Block::genesis(&genesis().founding()).header;
    let header = Header { height: Height::new(height), epoch: Epoch::new(epoch), time: UnixMillis::new(5), ..header };
    let anchor = FinalHeader { header: header.clone(), links: Vec::new(), certificate: Vec::new() };
    Offer { header, certificate: Vec::new(), anchor }
}

#[test]
fn the_examples_of_the_page_are_encoded_questions() {
    let page = include_str!("../../../docs/spec/snapshot.md");
    let questions = [
        Question::Newest,
        Question::Steps(Epoch::new(2)),
        Question::Leaves(Height::new(7), 3),
        Question::State(Height::new(7), b"k".to_vec()),
    ];
    for question in questions {
        let bytes = codec::encode(&question);
        assert!(page.contains(&hex(&bytes)), "the page lacks {}", hex(&bytes));
        assert_eq!(codec::decode(&bytes, 64), Ok(question));
    }
}

#[test]
fn a_snapshot_of_a_place_where_none_is_taken_is_refused() {
    let founding = genesis().founding();
    let blocks = founding.channel.epoch_blocks;
    let rows = [
        ("the second epoch", offer(2 * blocks - 2, 1)),
        ("the last block of an epoch", offer(3 * blocks - 1, 2)),
        ("another epoch than its own", offer(2 * blocks, 3)),
    ];
    for (name, offer) in rows {
        assert_eq!(Trail::begin(&founding, offer).err(), Some(SnapshotError::Place), "{name}");
    }
    assert_eq!(Trail::begin(&founding, offer(2 * blocks, 2)).unwrap().wanted(), Some(FIRST_EPOCH));
}

#[test]
fn a_chain_that_is_not_walked_to_its_end_proves_nothing() {
    let founding = genesis().founding();
    let offered = offer(2 * founding.channel.epoch_blocks, 2);
    let trail = Trail::begin(&founding, offered).unwrap();
    assert_eq!(trail.verify(), Err(SnapshotError::Missing(FIRST_EPOCH)));
}

#[test]
fn a_step_to_another_epoch_or_by_nobody_is_refused() {
    let founding = genesis().founding();
    let offered = offer(2 * founding.channel.epoch_blocks, 2);
    let mut trail = Trail::begin(&founding, offered.clone()).unwrap();
    let config = founding.epoch_config(FIRST_EPOCH);
    let mut announced = offered.anchor;
    announced.header.next_config = config.digest();
    let skipped = EpochStep { announced: announced.clone(), config: founding.epoch_config(Epoch::new(3)) };
    assert_eq!(trail.step(&skipped), Err(SnapshotError::Lineage(LineageError::Configuration(FIRST_EPOCH))));
    let unsigned = EpochStep { announced, config };
    assert!(matches!(trail.step(&unsigned), Err(SnapshotError::Lineage(_))));
    assert_eq!(trail.wanted(), Some(FIRST_EPOCH));
}
