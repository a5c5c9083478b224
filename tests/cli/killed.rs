//! `dmdl up`, killed again and again while people work: it forgets nothing that it said.

use super::{
    harness::Up,
    worker::{Told, work},
};
use dmdl_types::{bundle, genesis::Genesis};
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// How often it is killed; a campaign sets more.
const KILLS: usize = 20;
/// Every so many lives may last longer than a turn to propose.
const LONG_LIFE_EVERY: usize = 5;

#[test]
fn killed_at_any_moment_it_resumes_and_forgets_nothing() {
    let number = |name| std::env::var(name).ok().map(|number: String| number.parse::<u64>().expect("a number"));
    let kills = number("DMDL_KILLS").map_or(KILLS, |kills| usize::try_from(kills).unwrap());
    let up = Up::start();
    let stop = AtomicBool::new(false);
    let mut told: Told = thread::scope(|scope| {
        let worker = scope.spawn(|| work(&up, &stop));
        // Other moments where a campaign goes on.
        let mut moment = 0x9e37_79b9_u64.wrapping_add(number("DMDL_KILLS_BASE").unwrap_or(0));
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
    let out = up.folder().join("trail.bundle");
    up.insist("officer", &["audit", "export", "--out", out.to_str().unwrap()]);
    let pin: toml::Table = toml::from_str(&fs::read_to_string(up.network().join("network.toml")).unwrap()).unwrap();
    let genesis: Genesis = pin["genesis"].clone().try_into().unwrap();
    told.assert_all_in(&bundle::verify(&fs::read(out).unwrap(), &genesis.founding()).unwrap());
    told.assert_kept(&up);
    eprintln!("{kills} kills: {}", told.summary());
}
