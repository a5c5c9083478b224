//! What is refused: each thing that a member can say and that is not so, with its own error.

use super::{JoinError, Source, join, source};
use crate::{store::MemoryStore, testing::*};
use dmdl_types::{
    bundle::BundleError,
    checkpoint::{Checkpoint, CheckpointError},
    id::{Epoch, Height},
    lineage::{EpochStep, LineageError},
    snapshot::{FIRST_EPOCH, Offer, Part, SnapshotError},
};
use source::{EPOCH_BLOCKS, lived_in, sealed};

type Source1 = Source<MemoryStore>;

fn source() -> Source1 {
    Source::follow(MemoryStore::new(), &lived_in().blocks)
}

/// What becomes of a joiner that somebody tells something else, once.
fn refusal(source: &Source1, mut meddle: impl FnMut(&mut Part) -> bool) -> JoinError {
    let mut done = false;
    let told = |mut part: Part| {
        done = done || meddle(&mut part);
        part
    };
    let refused = join(source, source.offer(), MemoryStore::new(), told).expect_err("it is refused");
    assert!(done, "something was changed");
    refused
}

/// What becomes of a joiner to whom something else is offered.
fn offered(source: &Source1, change: impl FnOnce(&mut Offer)) -> SnapshotError {
    let mut offer = source.offer();
    change(&mut offer);
    match join(source, offer, MemoryStore::new(), |part| part) {
        Err(JoinError::Offer(error)) => error,
        other => panic!("the offer is refused: {other:?}"),
    }
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn with_state(source: &Source1, change: impl Fn(&mut Rows)) -> JoinError {
    refusal(source, |part| match part {
        Part::State(rows) if !rows.is_empty() => {
            change(rows);
            true
        }
        _ => false,
    })
}

fn with_leaves(source: &Source1, change: impl Fn(&mut Vec<Vec<u8>>)) -> JoinError {
    refusal(source, |part| match part {
        Part::Leaves(leaves) => {
            change(leaves);
            true
        }
        _ => false,
    })
}

fn with_steps(source: &Source1, change: impl Fn(&mut Vec<EpochStep>)) -> JoinError {
    refusal(source, |part| match part {
        Part::Steps(steps) => {
            change(steps);
            true
        }
        _ => false,
    })
}

#[test]
fn entries_that_are_changed_missing_or_too_many_are_not_the_state() {
    let source = source();
    type Row = (&'static str, fn(&mut Rows));
    let rows: [Row; 5] = [
        ("a value is changed", |rows| rows[0].1.push(0)),
        ("a key is changed", |rows| rows[0].0.pop().map_or((), drop)),
        ("an entry is missing", |rows| drop(rows.remove(1))),
        ("an entry is added", |rows| {
            let key = [rows.last().unwrap().0.clone(), vec![0]].concat();
            rows.push((key, vec![1]));
        }),
        ("two values are exchanged", |rows| {
            let first = std::mem::take(&mut rows[0].1);
            rows[0].1 = std::mem::replace(&mut rows[1].1, first);
        }),
    ];
    for (name, change) in rows {
        let refused = with_state(&source, change);
        assert!(matches!(refused, JoinError::State), "{name}: {refused}");
    }
    let ended = with_state(&source, |rows| rows.clear());
    assert!(matches!(ended, JoinError::State), "the state ends early: {ended}");
}

#[test]
fn entries_out_of_order_or_told_twice_are_refused() {
    let source = source();
    let twice = with_state(&source, |rows| rows.push(rows.last().unwrap().clone()));
    assert!(matches!(twice, JoinError::Order), "{twice}");
    let out_of_order = with_state(&source, |rows| rows.swap(0, 1));
    assert!(matches!(out_of_order, JoinError::Order), "{out_of_order}");
}

#[test]
fn leaves_that_are_changed_missing_or_too_many_are_not_the_log() {
    let source = source();
    let garbled = with_leaves(&source, |leaves| leaves[2].push(0));
    assert!(matches!(garbled, JoinError::NotAnEvent(2)), "{garbled}");
    let exchanged = with_leaves(&source, |leaves| leaves.swap(0, 1));
    assert!(matches!(exchanged, JoinError::Log("their root differs")), "{exchanged}");
    let repeated = with_leaves(&source, |leaves| leaves[1] = leaves[0].clone());
    assert!(matches!(repeated, JoinError::Log("their root differs")), "{repeated}");
    let more = with_leaves(&source, |leaves| leaves.push(leaves[0].clone()));
    assert!(matches!(more, JoinError::Log("there are more of them")), "{more}");
    let none = with_leaves(&source, Vec::clear);
    assert!(matches!(none, JoinError::Short), "{none}");
}

#[test]
fn an_index_that_the_leaves_do_not_lead_to_is_refused() {
    let source = source();
    let mut offer = source.offer();
    let carried = *offer.anchor.header.checkpoint.as_ref().unwrap().checkpoint();
    offer.anchor.header.checkpoint = Some(cosigned(Checkpoint { index: [1; 32], ..carried }, &[1, 2]));
    offer.anchor = sealed(offer.anchor.header);
    let refused = join(&source, offer, MemoryStore::new(), |part| part).unwrap_err();
    assert!(matches!(refused, JoinError::Log("the index over them differs")), "{refused}");
}

#[test]
fn a_chain_of_configurations_with_a_gap_or_another_one_in_it_is_refused() {
    let source = source();
    let at = |refused: JoinError| match refused {
        JoinError::Offer(SnapshotError::Lineage(LineageError::Configuration(epoch))) => epoch,
        other => panic!("the chain is refused: {other}"),
    };
    assert_eq!(at(with_steps(&source, |steps| drop(steps.remove(0)))), FIRST_EPOCH);
    let another = with_steps(&source, |steps| {
        let step = &mut steps[0];
        step.config.qualified.reverse();
    });
    assert_eq!(at(another), FIRST_EPOCH);
    let none = with_steps(&source, Vec::clear);
    assert!(matches!(none, JoinError::Short), "{none}");
    let by_too_few = with_steps(&source, |steps| {
        let announced = &mut steps[0].announced;
        announced.certificate = certificate_by(&announced.header, &[1, 2], announced.header.epoch);
    });
    let is_unproved = |error: &SnapshotError| matches!(error, SnapshotError::Lineage(LineageError::Certificate(_)));
    assert!(matches!(&by_too_few, JoinError::Offer(error) if is_unproved(error)), "{by_too_few}");
}

#[test]
fn a_step_that_is_not_by_the_last_block_of_its_epoch_is_refused() {
    let source = source();
    let early = source.header(2 * EPOCH_BLOCKS - 2);
    let refused = with_steps(&source, |steps| steps[0].announced = sealed(early.clone()));
    assert!(matches!(refused, JoinError::Offer(SnapshotError::Boundary(FIRST_EPOCH))), "{refused}");
}

#[test]
fn a_checkpoint_of_another_height_or_of_none_or_by_too_few_is_refused() {
    let source = source();
    let (height, anchor) = source.shelf.newest().unwrap();
    let resealed = |offer: &mut Offer| offer.anchor = sealed(offer.anchor.header.clone());
    let of_height = |other: Height| {
        offered(&source, |offer| {
            let checkpoint = *offer.anchor.header.checkpoint.as_ref().unwrap().checkpoint();
            offer.anchor.header.checkpoint = Some(cosigned(Checkpoint { height: other, ..checkpoint }, &[1, 2]));
            resealed(offer);
        })
    };
    assert_eq!(of_height(Height::new(height.get() - 1)), SnapshotError::OtherBlock);
    assert_eq!(of_height(anchor), SnapshotError::Anchor(BundleError::Links), "not of a height before the header's");
    let other_block = offered(&source, |offer| {
        offer.header = source.header(height.get() + 2);
        offer.certificate = certificate(&offer.header);
    });
    assert_eq!(other_block, SnapshotError::OtherBlock);
    let none = offered(&source, |offer| offer.anchor = sealed(source.header(anchor.next().get())));
    assert_eq!(none, SnapshotError::Anchor(BundleError::NoCheckpoint));
    let by_one = offered(&source, |offer| {
        let checkpoint = *offer.anchor.header.checkpoint.as_ref().unwrap().checkpoint();
        offer.anchor.header.checkpoint = Some(cosigned(checkpoint, &[1]));
        resealed(offer);
    });
    let too_few = |error: &BundleError| matches!(error, BundleError::Checkpoint(CheckpointError::TooFewOrgs { .. }));
    assert!(matches!(&by_one, SnapshotError::Anchor(error) if too_few(error)), "{by_one}");
}

#[test]
fn blocks_that_are_not_final_are_refused() {
    let source = source();
    let block = offered(&source, |offer| {
        offer.certificate = certificate_by(&offer.header, &[1, 2], offer.header.epoch);
    });
    assert!(matches!(block, SnapshotError::Lineage(LineageError::Certificate(_))), "{block}");
    let anchor = offered(&source, |offer| {
        let header = &offer.anchor.header;
        offer.anchor.certificate = certificate_by(header, &[1, 2], header.epoch);
    });
    assert!(matches!(anchor, SnapshotError::Anchor(BundleError::Certificate(_))), "{anchor}");
    let of_another = offered(&source, |offer| offer.certificate = certificate(&source.header(EPOCH_BLOCKS)));
    assert_eq!(of_another, SnapshotError::Lineage(LineageError::Links));
}

#[test]
fn a_snapshot_of_a_place_where_none_is_taken_or_of_another_channel_is_refused() {
    let source = source();
    let early = offered(&source, |offer| offer.header = source.header(EPOCH_BLOCKS));
    assert_eq!(early, SnapshotError::Place);
    let last = offered(&source, |offer| offer.header = source.header(3 * EPOCH_BLOCKS - 1));
    assert_eq!(last, SnapshotError::Place);
    let elsewhere = offered(&source, |offer| {
        offer.header.domain.channel = dmdl_types::id::ChannelId::new([1; 32]);
        offer.certificate = certificate(&offer.header);
    });
    assert_eq!(elsewhere, SnapshotError::Lineage(LineageError::Links));
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let source = source();
    for other in [Part::Newest(None), Part::State(Vec::new()), Part::Leaves(Vec::new())] {
        let refused = refusal(&source, |part| {
            *part = other.clone();
            true
        });
        assert!(matches!(refused, JoinError::Unasked), "{refused}");
    }
    assert_eq!(source.offer().header.epoch, Epoch::new(2));
}
