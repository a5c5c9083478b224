//! Four nodes, one of which has the bad disk.

use super::people::Told;
use crate::{
    harness::{dmdl, eventually, within},
    network::{ALL, Network},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The node with the bad disk, and another one.
pub(crate) const BAD: usize = 3;
pub(crate) const GOOD: usize = 0;
/// How long a node may take to notice what was done to its disk: it has to be used for that.
pub(crate) const NOTICED_IN: Duration = Duration::from_secs(60);
/// How often a node may be started before it is well again.
const STARTS: usize = 4;

/// A network whose epochs are short, so that there are snapshots soon.
pub(crate) fn generate() -> Network {
    generate_with_epochs_of(10)
}

/// A network whose epochs have so many blocks.
pub(crate) fn generate_with_epochs_of(blocks: u64) -> Network {
    let seats = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", "org-3", ALL), ("d", "org-4", ALL)];
    Network::generate_plain(&format!("[channel]\nepoch_blocks = {blocks}\n"), &seats)
}

/// The file of a node's log.
pub(crate) fn log_of(network: &Network) -> PathBuf {
    network.folder().join("log")
}

/// Starts a node by a program that writes its warnings and errors into a log of its own; gives what it says first.
pub(crate) fn start(network: &mut Network, position: usize, mut program: Command, log: &Path) -> Value {
    program.env("DMDL_LOG", "off,dmdl=warn,dmdl_audit_ledger=warn");
    network.start_under(position, program, fs::File::create(log).unwrap().into(), &[])
}

/// Starts a node as often as it takes until it is up and has what the others have; gives what it said on the way. Each
/// time that it does not come up, or ends, it says what to do.
pub(crate) fn recover(network: &mut Network, position: usize) -> Vec<String> {
    let mut said = Vec::new();
    for _ in 0..STARTS {
        let log = log_of(network);
        let up = start(network, position, dmdl(), &log);
        if up["node"].is_string() {
            match catch_up(network, position) {
                None => {
                    said.push(read(&log));
                    return said;
                }
                Some(code) => assert_eq!(code, 74, "{}", read(&log)),
            }
            said.push(read(&log));
        } else {
            let code = eventually("a node that is not up ends", || network.ended(position));
            let detail = up["error"]["detail"].as_str().unwrap_or_default().to_owned();
            assert!([7, 74].contains(&code), "{code}: {up}");
            said.push(format!("{detail}\n{}", read(&log)));
            // Whatever a start cannot mend by itself, the operator does as it is told.
            obey(&detail);
        }
        let last = said.last().unwrap();
        assert!(
            ["start", "move it away", "remove", "copy"].iter().any(|word| last.contains(word)),
            "it does not say what to do: {last}"
        );
    }
    panic!("a node does not come up again: {said:#?}");
}

/// Moves away what a node says that it can do without.
fn obey(detail: &str) {
    if detail.contains("move it away") {
        let file = detail.split('`').nth(1).expect("it names the file");
        // Of the root key or the table the whole folder goes: nothing in it can be read any more.
        let all =
            detail.contains("all shares").then(|| Path::new(file).ancestors().find(|at| at.ends_with("custodian")));
        match all.flatten() {
            Some(folder) => fs::remove_dir_all(folder).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
    }
}

/// Waits until a node has what the others have; the exit code if it ends instead.
pub(crate) fn catch_up(network: &mut Network, position: usize) -> Option<i32> {
    let goal = network.height(GOOD);
    let caught_up = within(NOTICED_IN, || match network.ended(position) {
        Some(code) => Some(Some(code)),
        None => (height(network, position)? >= goal).then_some(None),
    });
    caught_up.unwrap_or_else(|| panic!("a node stays behind: {}", read(&log_of(network))))
}

/// A node's height, if it answers.
pub(crate) fn height(network: &Network, position: usize) -> Option<u64> {
    let output = network.run(position, "officer", &["status"]);
    let status: Value = serde_json::from_slice(&output.stdout).ok()?;
    status["channels"][0]["height"].as_u64()
}

/// Asserts that all nodes have all that was acknowledged, and that a record opens at each.
pub(crate) fn assert_whole(network: &Network, told: &Told, record: &str, content: &[u8]) {
    for position in [GOOD, BAD] {
        told.assert_in_trail(network, position);
        assert_eq!(network.open(position, record), content);
    }
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
