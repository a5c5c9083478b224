//! `dmdl backup` and `dmdl restore` of nodes that have not run yet, or only just: what is asked of files and folders.
//! With ledgers in them backups are made and restored in `tests/backup.rs`.

use super::{
    harness::{assert_fails, code, run, said, str, text},
    network::{Study, example},
};
use dmdl::network_file::NetworkFile;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

/// The network of the example, with folders as two of its nodes have them that have only just begun.
struct Begun {
    study: Study,
    channel: String,
}

impl Begun {
    fn new() -> Self {
        let study = Study::new(&example());
        study.generated();
        let pin = NetworkFile::read(&study.network().join("network.toml")).unwrap();
        let begun = Self { study, channel: pin.genesis.channel_id().to_string() };
        for node in ["north", "south"] {
            fs::create_dir_all(begun.data(node).join("channels").join(&begun.channel)).unwrap();
        }
        begun
    }

    fn config(&self, node: &str) -> PathBuf {
        self.study.node(node).join("node.toml")
    }

    fn data(&self, node: &str) -> PathBuf {
        self.study.node(node).join("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.study.network().join(name)
    }

    /// A backup of a node, and what is said of it.
    fn backup(&self, node: &str) -> (PathBuf, Value) {
        let file = self.file(&format!("{node}.backup"));
        let made = said(&["backup", "--config", str(&self.config(node)), "--out", str(&file)]);
        (file, made)
    }

    fn restore_fails(&self, node: &str, from: &str, exit: i32, stable_code: &str) -> String {
        assert_fails(&["restore", "--config", str(&self.config(node)), "--from", from], exit, stable_code)
    }
}

#[test]
fn a_backup_is_a_file_for_its_user_alone_and_comes_back_into_an_empty_folder() {
    let begun = Begun::new();
    let (file, made) = begun.backup("north");
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, &made["bytes"]), (0o600, &json!(metadata.len())));
    let channels = json!([{ "name": "main", "id": begun.channel, "height": null, "time": null, "events": null }]);
    assert_eq!(made["channels"], channels);

    begun.restore_fails("north", str(&file), 2, "exists");
    fs::remove_dir_all(begun.data("north")).unwrap();
    let checked = said(&["restore", "--check", "--config", str(&begun.config("north")), "--from", str(&file)]);
    assert_eq!((&checked["restored"], begun.data("north").exists()), (&Value::Null, false));
    let restored = run(&["restore", "--config", str(&begun.config("north")), "--from", str(&file)]);
    assert_eq!(code(&restored), 0, "{}", text(&restored.stderr));
    assert!(text(&restored.stdout).contains("Start the node"), "{}", text(&restored.stdout));
    assert_eq!(fs::metadata(begun.data("north")).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(begun.data("north").join("channels").join(&begun.channel).is_dir());
}

#[test]
fn a_backup_is_made_of_what_is_there_to_where_nothing_is() {
    let begun = Begun::new();
    let (file, _) = begun.backup("north");
    let before = fs::read(&file).unwrap();
    let fails = |node: &str, out: &str, exit, stable_code| {
        assert_fails(&["backup", "--config", str(&begun.config(node)), "--out", out], exit, stable_code)
    };
    fails("north", str(&file), 2, "exists");
    assert_eq!(fs::read(&file).unwrap(), before, "nothing is replaced");
    fails("north", str(&begun.file("none/north.backup")), 2, "no_such_folder");
    let new = begun.file("east.backup");
    assert!(fails("east", str(&new), 4, "nothing_here").contains("has run"));
    assert!(!new.exists());
    assert_fails(&["backup", "--config", str(&begun.file("none")), "--out", str(&new)], 7, "bad_config");
    assert_fails(&["backup", "--config", str(&begun.config("north")), "--out", "/dev/full"], 2, "exists");
}

#[test]
fn what_is_no_backup_of_the_node_is_refused_and_leaves_nothing() {
    let begun = Begun::new();
    let (file, _) = begun.backup("south");
    fs::remove_dir_all(begun.data("north")).unwrap();
    assert!(begun.restore_fails("north", str(&file), 7, "other_node").contains("not of this one"));
    begun.restore_fails("north", str(&begun.file("none")), 4, "not_found");
    begun.restore_fails("north", str(&begun.config("north")), 7, "not_a_backup");
    begun.restore_fails("north", str(&begun.study.network()), 2, "not_a_file");
    let networks = Begun::new();
    let (of_network, _) = networks.backup("north");
    begun.restore_fails("north", str(&of_network), 7, "other_network");
    let whole = fs::read(&file).unwrap();
    fs::write(begun.file("cut"), &whole[..whole.len() - 1]).unwrap();
    fs::remove_dir_all(begun.data("south")).unwrap();
    begun.restore_fails("south", str(&begun.file("cut")), 5, "backup_damaged");
    for node in ["north", "south"] {
        let left: Vec<_> = fs::read_dir(begun.data(node)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [".lock"]);
    }
}

#[test]
fn a_folder_that_a_process_runs_is_not_restored_into() {
    let begun = Begun::new();
    let (file, _) = begun.backup("north");
    fs::remove_dir_all(begun.data("north")).unwrap();
    fs::create_dir(begun.data("north")).unwrap();
    let lock = File::create(begun.data("north").join(".lock")).unwrap();
    lock.lock().unwrap();
    begun.restore_fails("north", str(&file), 7, "locked");
    begun.backup("south");
}
