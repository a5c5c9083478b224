//! The vectors that a second implementation has to agree with, and the example and tables of the page.

use super::*;
use dmdl_types::genesis::EpochConfig;
use serde_json::{Value, json};
use std::{fs, path::Path};

const PAGE: &str = include_str!("../../../../docs/spec/mdca.md");

/// Compares the frozen file with what the code makes today; with `DMDL_WRITE_VECTORS` set, writes it.
fn assert_frozen(today: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/mdca/v1/good.json");
    if std::env::var_os("DMDL_WRITE_VECTORS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("{today:#}\n")).unwrap();
    }
    let frozen: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(&frozen, today, "{} differs from what the code makes", path.display());
}

/// The tally of the page's example.
fn example() -> Tally {
    Tally {
        endorsement_rate: count(2, 0),
        endorsement_failures: count(2, 0),
        endorsed_volume: 40,
        committing_rate: count(3, 0),
        committed_volume: 12,
        turns: count(5, 1),
        votes: count(3, 0),
        faults: PerDuty::default(),
    }
}

fn epoch(name: &str, tally: &Tally, config: &MdcaConfig, before: PerDuty<i64>) -> Value {
    let scores = score(tally, config);
    let after = before.zip(scores).map(|(before, score)| standing(before, &score, config.decay));
    let pair = |count: Count| json!([count.good, count.bad]);
    let shown = scores.map(|score| json!({ "computing": score.computing, "trust": score.trust, "total": score.total }));
    json!({
        "name": name,
        "config": config,
        "counts": {
            "endorsement_rate": pair(tally.endorsement_rate),
            "endorsement_failures": pair(tally.endorsement_failures),
            "endorsed_volume": tally.endorsed_volume,
            "committing_rate": pair(tally.committing_rate),
            "committed_volume": tally.committed_volume,
            "turns": pair(tally.turns),
            "votes": pair(tally.votes),
            "faults": tally.faults,
        },
        "before": before,
        "scores": shown,
        "after": after,
    })
}

fn turns(name: &str, config: &EpochConfig, standings: &BTreeMap<OrgId, PerDuty<i64>>) -> Value {
    let orderers: Vec<Value> = config
        .members
        .iter()
        .filter(|member| member.roles.orderer)
        .map(|member| json!({ "node": member.node, "org": member.org }))
        .collect();
    let duties: BTreeMap<&str, Vec<&str>> = config
        .members
        .iter()
        .map(|member| {
            let roles = member.roles;
            let held = [(roles.endorser, "endorsing"), (roles.committer, "committing"), (roles.orderer, "ordering")];
            (member.org.as_str(), held.into_iter().filter(|(held, _)| *held).map(|(_, duty)| duty).collect())
        })
        .collect();
    let order: Vec<NodeId> =
        schedule(config, standings).into_iter().filter(|place| place.qualified).map(|place| place.node).collect();
    json!({
        "name": name,
        "orderers": orderers,
        "duties": duties,
        "standings": standings,
        "thresholds": config.channel.mdca.thresholds,
        "turns": order,
    })
}

#[test]
fn the_frozen_scores_and_turns_are_made() {
    let default = MdcaConfig::default();
    let before = PerDuty { endorsing: -100_000, committing: 300_000, ordering: 800_000 };
    let faulty = Tally { faults: PerDuty { endorsing: 1, committing: 2, ordering: 3 }, ..example() };
    let silent = Tally { turns: count(0, 9), votes: count(0, 3), ..Tally::default() };
    let mut epochs = vec![
        epoch("the example", &example(), &default, before),
        epoch("nothing was asked", &Tally::default(), &default, before),
        epoch("well", &well(), &default, PerDuty::default()),
        epoch("proved faults", &faulty, &default, before),
        epoch(
            "an endorser that fails",
            &Tally { endorsement_rate: count(0, 3), endorsement_failures: count(0, 3), ..example() },
            &default,
            before,
        ),
        epoch(
            "a committer that does not cosign",
            &Tally { committing_rate: count(1, 2), ..example() },
            &default,
            before,
        ),
    ];
    for scenario in [Scenario::HeterogeneousData, Scenario::CopyrightProtection, Scenario::SecureUtilisation] {
        let name = serde_json::to_value(scenario).unwrap();
        epochs.push(epoch(&format!("silent, {}", name.as_str().unwrap()), &silent, &scenario.config(), before));
    }
    let seven = genesis_of(7).epoch_config(dmdl_types::id::Epoch::new(0));
    let standings: BTreeMap<OrgId, PerDuty<i64>> = (1..=7)
        .map(|org: u8| {
            let n = i64::from(org);
            (org_id(org), PerDuty { endorsing: 70_000 * n - 300_000, committing: 5 * n, ordering: -20_000 * (n % 3) })
        })
        .collect();
    let mut apart = seven.clone();
    apart.members.iter_mut().for_each(|member| member.roles.endorser = false);
    let equal = standings.keys().map(|org| (org.clone(), PerDuty::default())).collect();
    let schedules = [
        turns("fewer than five qualify", &seven, &standings),
        turns("nobody endorses", &apart, &standings),
        turns("all alike", &seven, &equal),
    ];
    assert_frozen(&json!({ "epochs": epochs, "schedules": schedules }));
}

#[test]
fn the_example_of_the_page_is_what_the_code_makes() {
    let scores = score(&example(), &MdcaConfig::default());
    for (duty, score) in ["EN", "CN", "ON"].into_iter().zip(scores.into_array()) {
        let line = format!("    {duty}         {}    {}   {}", score.computing, score.trust, score.total);
        assert!(PAGE.contains(&line), "{line}");
    }
    let before = PerDuty { endorsing: -100_000, committing: 300_000, ordering: 800_000 };
    let after = before.zip(scores).map(|(before, score)| standing(before, &score, MdcaConfig::default().decay));
    let PerDuty { endorsing, committing, ordering } = after;
    assert!(PAGE.contains(&format!("it is now {endorsing}, {committing} and {ordering}:")));
}
