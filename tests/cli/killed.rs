//! `dmdl up`, killed again and again while people work: it forgets nothing that it said.

use super::harness::{UNAVAILABLE, Up, code, text};
use dmdl_types::{bundle, genesis::Genesis};
use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How often it is killed; a campaign sets more.
const KILLS: usize = 20;
/// Every so many lives may last longer than a turn to propose.
const LONG_LIFE_EVERY: usize = 5;
/// Openings of each record, one after the other: some of them are interrupted.
const OPENINGS: usize = 8;
/// How long somebody goes on trying while the network comes and goes.
const PATIENCE: Duration = Duration::from_secs(120);

/// What people were told.
#[derive(Default)]
struct Told {
    /// Verdicts of transactions, by id.
    verdicts: BTreeMap<String, &'static str>,
    /// What active records hold, by id.
    active: BTreeMap<String, Vec<u8>>,
    /// How often a grant was used, by its request.
    used: BTreeMap<String, u64>,
    /// Openings that were interrupted and resumed.
    resumed: usize,
}

/// Opens a record once; what is interrupted after it was ordered is resumed, not begun anew.
fn open(up: &Up, told: &mut Told, request: &str) -> Vec<u8> {
    let out = up.folder().join("opened");
    let _ = fs::remove_file(&out);
    let (begun, mut transaction) = (Instant::now(), None::<String>);
    loop {
        let mut command = up.command("researcher", ["access", "open", request, "--out"]);
        command.arg(&out);
        if let Some(transaction) = &transaction {
            command.args(["--transaction", transaction]);
        }
        let output = command.output().unwrap();
        let said = text(&output.stderr).to_owned();
        let named = said.lines().find_map(|line| line.rsplit_once("decryption ").map(|(_, id)| id.trim().to_owned()));
        match code(&output) {
            0 => {
                let id = named.or(transaction).expect("the decryption is named");
                told.verdicts.insert(id, "allow");
                *told.used.entry(request.to_owned()).or_default() += 1;
                return fs::read(out).unwrap();
            }
            UNAVAILABLE => {
                if let Some(id) = named {
                    told.resumed += usize::from(transaction.is_none());
                    transaction = Some(id);
                }
            }
            other => panic!("opening ended with {other}: {said}"),
        }
        assert!(begun.elapsed() < PATIENCE, "{said}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Somebody registers, somebody asks and opens again and again, until told to stop.
fn work(up: &Up, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    let mut round = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let content = format!("round {round}").into_bytes();
        let file = up.folder().join("content");
        fs::write(&file, &content).unwrap();
        let said = up.insist("owner", &["record", "register", file.to_str().unwrap(), "--policy", "research-auto"]);
        let record = said["record"].as_str().unwrap().to_owned();
        told.verdicts.insert(said["transaction"].as_str().unwrap().to_owned(), "applied");
        if said["state"] != "ACTIVE" {
            continue;
        }
        told.active.insert(record.clone(), content.clone());
        for _ in 0..OPENINGS {
            let ask = ["access", "request", &record, "--purpose", "HMB", "--reason", "a study", "--uses", "2"];
            let asked = up.insist("researcher", &ask);
            let request = asked["request"].as_str().unwrap().to_owned();
            told.verdicts.insert(request.clone(), "allow");
            assert_eq!(open(up, &mut told, &request), content);
        }
    }
    told
}

#[test]
fn killed_at_any_moment_it_resumes_and_forgets_nothing() {
    let kills = std::env::var("DMDL_KILLS").map_or(KILLS, |kills| kills.parse().expect("a number"));
    let up = Up::start();
    let stop = AtomicBool::new(false);
    let told = thread::scope(|scope| {
        let worker = scope.spawn(|| work(&up, &stop));
        let mut moment = 0x9e37_79b9_u64;
        for kill in 0..kills {
            moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // A turn to propose that a crash has swallowed is given up after seconds: a network that never lives
            // that long stands where it is, and forgets nothing, but there is nothing to forget either.
            let lives_ms = if kill % LONG_LIFE_EVERY == 0 { 10_000 } else { 2_500 };
            thread::sleep(Duration::from_millis(200 + (moment >> 33) % lives_ms));
            if worker.is_finished() {
                break;
            }
            up.kill();
            up.resume();
        }
        stop.store(true, Ordering::Relaxed);
        worker.join().unwrap()
    });
    assert!(!told.active.is_empty(), "something was done between the kills");

    // Nothing that was said to be final is missing or changed.
    let out = up.folder().join("trail.bundle");
    up.insist("officer", &["audit", "export", "--out", out.to_str().unwrap()]);
    let pin: toml::Table = toml::from_str(&fs::read_to_string(up.network().join("network.toml")).unwrap()).unwrap();
    let genesis: Genesis = pin["genesis"].clone().try_into().unwrap();
    let trail = bundle::verify(&fs::read(out).unwrap(), &genesis.founding()).unwrap();
    for (transaction, verdict) in &told.verdicts {
        let (_, event) = trail
            .events
            .iter()
            .find(|(_, event)| event.transaction.to_string() == *transaction)
            .unwrap_or_else(|| panic!("transaction {transaction} is gone"));
        assert_eq!(serde_json::to_value(event.outcome.verdict).unwrap(), *verdict, "{transaction}");
    }
    // Every record that was said to be active opens.
    for (record, content) in &told.active {
        assert_eq!(&up.open("owner", record, &[]), content);
    }
    // An interrupted opening counted one use.
    for (request, used) in &told.used {
        let shown = up.ok("researcher", &["access", "show", request]);
        assert_eq!(shown["grant"]["used"], *used, "{shown}");
    }
    eprintln!(
        "{kills} kills: {} transactions acknowledged, {} records active, {} openings resumed; nothing lost",
        told.verdicts.len(),
        told.active.len(),
        told.resumed
    );
}
