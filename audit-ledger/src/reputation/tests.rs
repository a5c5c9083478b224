//! The arithmetic of reputation.

mod frozen;

use super::*;
use crate::testing::*;
use dmdl_types::{
    id::{NodeId, OrgId},
    mdca::{MdcaConfig, ONE_PPM, PerDuty, Scenario},
};
use std::collections::BTreeMap;

const fn count(good: u64, bad: u64) -> Count {
    Count { good, bad }
}

/// An organisation that did all that three others could ask of it, and had five turns.
fn well() -> Tally {
    Tally {
        endorsement_rate: count(3, 0),
        endorsement_failures: count(3, 0),
        endorsed_volume: 12,
        committing_rate: count(3, 0),
        committed_volume: 9,
        turns: count(5, 0),
        votes: count(3, 0),
        faults: PerDuty::default(),
    }
}

fn scored(tally: &Tally) -> PerDuty<i64> {
    score(tally, &MdcaConfig::default()).map(|score| score.total)
}

/// How many epochs of good conduct bring a standing back over the threshold.
fn epochs_until_back(from: i64, total: i64, config: &MdcaConfig) -> usize {
    let well = Score { total, ..Score::default() };
    let mut s = from;
    (1..100)
        .find(|_| {
            s = standing(s, &well, config.decay);
            s >= config.thresholds.ordering
        })
        .unwrap()
}

#[test]
fn a_count_fits_between_minus_one_and_one_and_nothing_is_nothing() {
    let rows = [((0, 0), 0), ((1, 0), 500_000), ((0, 1), -500_000), ((3, 0), 750_000), ((5, 2), 375_000)];
    for ((good, bad), fit) in rows {
        assert_eq!(count(good, bad).fit(), fit, "{good}, {bad}");
    }
    assert_eq!(count(1, 3).fit(), -400_000);
    assert_eq!(count(2, 4).fit(), -285_714, "rounded towards nothing");
    assert!(count(u64::MAX, 0).fit() < ONE_PPM && count(0, u64::MAX).fit() > -ONE_PPM);
}

#[test]
fn who_does_well_in_everything_stands_well_in_everything() {
    for total in scored(&well()).into_array() {
        assert!((700_000..ONE_PPM).contains(&total), "{total}");
    }
}

#[test]
fn an_organisation_that_nothing_was_asked_of_stands_at_nothing() {
    assert_eq!(scored(&Tally::default()), PerDuty::default());
}

#[test]
fn each_duty_is_scored_by_itself() {
    let silent = Tally { turns: count(0, 5), votes: count(0, 3), ..well() };
    let totals = scored(&silent);
    assert_eq!((totals.endorsing, totals.committing), (scored(&well()).endorsing, scored(&well()).committing));
    assert!(totals.ordering < MdcaConfig::default().thresholds.ordering, "{totals:?}");

    let lazy = Tally { endorsement_rate: count(0, 3), endorsement_failures: count(0, 3), ..well() };
    assert!(scored(&lazy).endorsing < MdcaConfig::default().thresholds.endorsing);
    let absent = Tally { committing_rate: count(0, 3), committed_volume: 0, ..well() };
    assert!(scored(&absent).committing < MdcaConfig::default().thresholds.committing);
}

#[test]
fn an_orderer_that_is_out_of_turn_and_silent_does_not_drift_back() {
    for (scenario, others) in
        [(Scenario::HeterogeneousData, 3), (Scenario::CopyrightProtection, 3), (Scenario::SecureUtilisation, 6)]
    {
        let config = scenario.config();
        let out = Tally { turns: count(0, 0), votes: count(0, others), ..Tally::default() };
        let score = score(&out, &config).ordering;
        let mut s = -ONE_PPM / 2;
        for _ in 0..1000 {
            s = standing(s, &score, config.decay);
            assert!(s < config.thresholds.ordering, "{scenario:?}: {s}");
        }
    }
}

#[test]
fn standing_falls_at_once_and_rises_slowly() {
    let (good, bad) = (Score { total: 800_000, ..Score::default() }, Score { total: -300_000, ..Score::default() });
    assert_eq!(standing(700_000, &bad, 750_000), -300_000);
    assert_eq!(standing(-300_000, &good, 750_000), -25_000);
    assert_eq!(standing(-25_000, &good, 750_000), 181_250);
}

#[test]
fn a_proved_fault_is_the_minimum_whatever_else_was_done() {
    let tally = Tally { faults: PerDuty { ordering: 1, ..PerDuty::default() }, ..well() };
    let score = score(&tally, &MdcaConfig::default());
    assert_eq!(score.ordering.trust, -ONE_PPM);
    assert_eq!(standing(900_000, &score.ordering, 750_000), -ONE_PPM);
    assert!(!score.endorsing.faulty && score.endorsing.total > 700_000, "the other duties keep their scores");
}

#[test]
fn the_epochs_that_a_fault_keeps_somebody_out_are_those_that_the_specification_names() {
    // What an orderer without turns can earn by its votes, with three others to see them.
    let out = Tally { votes: count(3, 0), ..Tally::default() };
    for scenario in [Scenario::HeterogeneousData, Scenario::CopyrightProtection, Scenario::SecureUtilisation] {
        let config = scenario.config();
        let total = score(&out, &config).ordering.total;
        let silence = score(&Tally { turns: count(0, 9), votes: count(0, 3), ..Tally::default() }, &config);
        let after_fault = epochs_until_back(-ONE_PPM, total, &config);
        let after_silence = epochs_until_back(silence.ordering.total, total, &config);
        let name = serde_json::to_value(scenario).unwrap();
        let line = format!("| `{}` | {after_fault} | {after_silence} |", name.as_str().unwrap());
        assert!(include_str!("../../../docs/spec/mdca.md").contains(&line), "{line}");
    }
}

#[test]
fn the_qualified_take_turns_by_their_standing_and_then_by_key() {
    let config = config();
    let of = |org: u8| config.member(node_id(org)).unwrap().org.clone();
    let all = |ppm| PerDuty { endorsing: ppm, committing: ppm, ordering: ppm };
    let mut standing: BTreeMap<OrgId, PerDuty<i64>> =
        [(of(1), all(100)), (of(2), all(300)), (of(3), all(100)), (of(4), all(200))].into();
    let mut tied = [node_id(1), node_id(3)];
    tied.sort();
    let order = |standing: &_| -> Vec<NodeId> {
        schedule(&config, standing).into_iter().filter(|place| place.qualified).map(|place| place.node).collect()
    };
    assert_eq!(order(&standing), [node_id(2), node_id(4), tied[0], tied[1]]);

    // One duty below its threshold is enough.
    standing.insert(of(2), PerDuty { endorsing: -60_000, ..all(300_000) });
    assert_eq!(order(&standing), [node_id(4), tied[0], tied[1]]);
    let place = schedule(&config, &standing).into_iter().find(|place| place.node == node_id(2)).unwrap();
    assert_eq!(place.below, PerDuty { endorsing: true, committing: false, ordering: false });
}

#[test]
fn never_fewer_than_two_f_and_one_take_turns() {
    let config = config();
    let standing: BTreeMap<OrgId, PerDuty<i64>> = (1..=4)
        .map(|org| (org_id(org), PerDuty { ordering: -100_000 * i64::from(org), ..PerDuty::default() }))
        .collect();
    let places = schedule(&config, &standing);
    let qualified: Vec<NodeId> = places.iter().filter(|place| place.qualified).map(|place| place.node).collect();
    assert_eq!(qualified, [node_id(1), node_id(2), node_id(3)], "the best fill up");
    assert!(places.iter().all(|place| place.below.ordering));
}

#[test]
fn a_duty_that_an_organisation_does_not_have_is_not_asked_of_it() {
    let mut config = config();
    for member in &mut config.members {
        if member.node == node_id(1) {
            member.roles.endorser = false;
        }
    }
    let standing = BTreeMap::from([(org_id(1), PerDuty { endorsing: -ONE_PPM, committing: 5, ordering: 5 })]);
    let place = schedule(&config, &standing).into_iter().find(|place| place.node == node_id(1)).unwrap();
    assert!(place.qualified);
    assert_eq!(place.total, 10);
}
