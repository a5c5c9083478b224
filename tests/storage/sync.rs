//! Writes and syncs that fail, or do not end.

use super::{
    hospital::{self, BAD, GOOD, log_of, read, start},
    people::{Told, while_people_work},
    tools::{Dice, Tracer, asked, can_inject, under_strace},
};
use crate::{
    harness::{dmdl, eventually},
    network::Network,
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// The calls by which the engine, the database and the custodian write for good, and about how many of each one thread
/// of a node makes while it starts.
const CALLS: [(&str, usize); 3] = [("fdatasync", 8), ("pwritev2", 12), ("fsync", 10)];
/// What is written down of what a node does.
const KINDS: &str = "fdatasync,fsync,pwritev2";
/// Longer than any test waits.
const HANGS_FOR: &str = "120s";
/// How long nothing may happen for it to be nothing.
const NOTHING_FOR: Duration = Duration::from_secs(8);

/// Has a call fail, at one position after the other: while a node starts, and while it works.
pub(crate) fn fail_here_and_there() {
    if !can_inject() {
        return;
    }
    let positions = asked("DMDL_SYNC_FAILURES", 3);
    let mut dice = Dice::new(1);
    let mut network = hospital::generate();
    network.start_all();
    let record = network.register(GOOD, "before it failed");
    let (mut told, mut starts) = (Told::default(), 0);
    for position in 0..positions {
        network.stop(BAD);
        let (call, at_start) = CALLS[position % CALLS.len()];
        let (trace, log) = (network.folder().join("trace"), log_of(&network));
        // From some call on: a disk that fails once is not well again with the next.
        let injected = |at: usize| format!("{call}:error=EIO:when={at}+");
        let while_it_starts = position % 4 == 3;
        let (said, mut tracer) = if while_it_starts {
            let program = under_strace(&[injected(1 + dice.roll(at_start))], KINDS, &trace);
            (start(&mut network, BAD, program, &log), None)
        } else {
            let said = start(&mut network, BAD, dmdl(), &log);
            (said, Some((dice.roll(2000), 1 + dice.roll(4))))
        };
        let mut code = None;
        told.extend(while_people_work(&mut network, &[GOOD, BAD], |network| {
            let _tracer = tracer.take().map(|(after_ms, at)| {
                thread::sleep(Duration::from_millis(after_ms as u64));
                Tracer::attach(network.pid(BAD), &[injected(at)], KINDS, &trace)
            });
            code = Some(wait_ended_at_work(network));
        }));
        assert_eq!(code, Some(74), "{call}: {said} {}", read(&log));
        assert!(read(&trace).contains("(INJECTED)"), "{call}");
        if said["node"].is_string() {
            let lines = read(&log);
            let told_of: Vec<&str> = lines.lines().filter(|line| line.contains("start it again")).collect();
            assert_eq!(told_of.len(), 1, "one line says what failed and what to do: {lines}");
            assert!(told_of[0].contains("the disk failed"), "{lines}");
        } else {
            assert!(said["error"]["detail"].is_string(), "{said}");
            starts += 1;
        }
        let said = network.start(BAD);
        assert_eq!(said["votes"], true, "it has kept its votes");
        network.wait_caught_up(BAD, GOOD);
    }
    hospital::assert_whole(&network, &told, &record, b"before it failed");
    eprintln!(
        "{positions} sync failures: exit 74 each time, {starts} of them while it started; {} transactions acknowledged, \
         none lost",
        told.len()
    );
}

/// Waits until the node has ended, while its custodian has something to write, too.
fn wait_ended_at_work(network: &mut Network) -> i32 {
    let begun = Instant::now();
    loop {
        if let Some(code) = network.ended(BAD) {
            return code;
        }
        assert!(
            begun.elapsed() < hospital::NOTICED_IN,
            "it goes on although its disk fails: {}",
            read(&log_of(network))
        );
        network.register(GOOD, "another letter");
    }
}

/// Has two of four disks take very long with whatever is to be for good: what is not durable is not said.
pub(crate) fn hang() {
    if !can_inject() {
        return;
    }
    let mut network = hospital::generate();
    network.start_all();
    network.register(GOOD, "before they hang");
    let slow: Vec<String> =
        ["fdatasync", "pwritev2"].iter().map(|call| format!("{call}:delay_enter={HANGS_FOR}")).collect();
    let hang = |position: usize| {
        let trace = network.folder().join(format!("trace-{position}"));
        Tracer::attach(network.pid(position), &slow, "fdatasync,pwritev2", &trace)
    };
    let tracers = [hang(2), hang(BAD)];
    // What was durable before may still be said; then nothing is.
    let mut last = network.height(GOOD);
    eventually("nothing happens for a while", || {
        let before = last;
        thread::sleep(NOTHING_FOR);
        last = network.height(GOOD);
        (before == last).then_some(())
    });
    drop(tracers);
    for position in [2, BAD] {
        network.kill(position);
        network.start(position);
    }
    eventually("the network goes on", || (network.height(GOOD) > last).then_some(()));
}
