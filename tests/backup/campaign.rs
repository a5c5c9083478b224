//! One network whose third node loses its disk, again and again.

use crate::{
    harness::{UNAVAILABLE, code, dmdl, eventually, json, str, text},
    network::{ALL, Network, has_voted, in_time},
};
use dmdl::network_file::NetworkFile;
use dmdl_types::{bundle, event::Action};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// The node that loses its disk, its organisation, and one that never does.
const LOSES: usize = 2;
const ORG: &str = "org-3";
const OTHER: usize = 0;
/// What a command ends with that is denied, or whose input is not what it should be.
const DENIED: i32 = 3;
const INTEGRITY: i32 = 5;
const CONFIGURATION: i32 = 7;
const STORAGE: i32 = 74;

/// Long enough that what is begun at first is over before the third one, in which the first snapshot is taken.
const EPOCH_BLOCKS: u64 = 14;

/// How the node comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// By a backup.
    Backup,
    /// By a copy of its folder that somebody has made.
    OldCopy,
}

/// A backup, and what was in it.
struct Backup {
    file: PathBuf,
    height: u64,
}

/// Things as they were before the last backups and copies were made, which have come to an end since.
struct Ended {
    /// The request for a grant that allowed one use, which was made; its reason was taken back.
    used_up: String,
    /// That for one that was revoked, and the grant.
    revoked: String,
    grant: String,
    /// A record that was erased, and the request that was allowed for it.
    erased: String,
    of_erased: String,
}

/// Says that it is enough, also when a test fails meanwhile.
struct Until<'a>(&'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) struct Campaign {
    network: Network,
    backups: Vec<Backup>,
    copies: Vec<PathBuf>,
    ended: Vec<Ended>,
    /// A record that stays, whose title was taken back, and one that was given a title late.
    untitled: String,
    titled: String,
    lost: usize,
}

impl Campaign {
    pub(crate) fn begin() -> Self {
        let seats = [("a", "org-1", ALL), ("b", "org-2", ALL), ("c", ORG, ALL), ("d", "org-4", ALL)];
        let mut network = Network::generate_with(&format!("[channel]\nepoch_blocks = {EPOCH_BLOCKS}\n"), &seats);
        network.start_all();
        let (untitled, titled) = (network.register(OTHER, "kept"), network.register(OTHER, "kept, too"));
        network.ok(OTHER, "owner", &["record", "title", &untitled, "an old title"]);
        let (backups, copies, ended) = (Vec::new(), Vec::new(), Vec::new());
        Self { network, backups, copies, ended, untitled, titled, lost: 0 }
    }

    /// Makes a backup and a copy, lets things come to an end, takes the node's disk away, and brings it back by the oldest
    /// backup or copy that there is.
    pub(crate) fn lose(&mut self, loss: Loss) {
        let begun = self.begin_things();
        self.back_up();
        self.copy();
        self.end_things(&begun);
        self.ended.push(begun);

        self.network.kill(LOSES);
        let lost_in = self.network.epoch(OTHER);
        fs::remove_dir_all(self.data()).unwrap();
        match loss {
            Loss::Backup => self.bring_back_by_backup(),
            Loss::OldCopy => self.bring_back_by_copy(),
        }
        self.check_alone(loss);
        for other in self.others() {
            self.network.start(other);
        }
        self.check_together(lost_in);
        self.lost += 1;
    }

    pub(crate) fn end(self) {
        let trail = self.network.assert_trail_verifies(LOSES);
        let pin = NetworkFile::read(&self.network.node(LOSES).join("network.toml")).unwrap();
        let trail = bundle::verify(&fs::read(trail).unwrap(), &pin.genesis.founding()).expect("the trail verifies");
        let evidence = trail.events.iter().filter(|(_, event)| event.action == Action::Evidence).count();
        assert_eq!(evidence, 0, "nobody has contradicted its own votes");
        eprintln!(
            "{} restores of stale backups and copies, {evidence} double votes, {} events",
            self.lost,
            trail.events.len()
        );
    }

    /// Three records, and a grant of one use for each: with two commands, since blocks go on meanwhile.
    fn begin_things(&self) -> Ended {
        let contents = ["used up", "revoked", "erased"].map(|content| {
            let file = self.network.folder().join(content);
            fs::write(&file, content).unwrap();
            file
        });
        let [used_up, revoked, erased] = contents.each_ref().map(|file| str(file));
        let register = ["record", "register", used_up, revoked, erased, "--policy", "research-auto"];
        let records = self.items("owner", &register, "record");
        let request = ["access", "request", &records[0], &records[1], &records[2]];
        let terms = ["--purpose", "HMB", "--uses", "1", "--reason", "a secret reason"];
        let asked = self.network.ok(OTHER, "researcher", &[&request[..], &terms].concat());
        let id = |at: usize, name: &str| asked["items"][at][name].as_str().unwrap().to_owned();
        Ended {
            used_up: id(0, "request"),
            revoked: id(1, "request"),
            grant: id(1, "grant"),
            erased: records[2].clone(),
            of_erased: id(2, "request"),
        }
    }

    /// A member of each of several results.
    fn items(&self, who: &str, args: &[&str], name: &str) -> Vec<String> {
        let said = self.network.ok(OTHER, who, args);
        said["items"].as_array().unwrap().iter().map(|item| item[name].as_str().unwrap().to_owned()).collect()
    }

    fn end_things(&self, ended: &Ended) {
        assert_eq!(code(&self.open(OTHER, &ended.used_up)), 0);
        let ok = |who: &str, args: &[&str]| drop(self.network.ok(OTHER, who, args));
        ok("owner", &["access", "revoke", &ended.grant]);
        ok("owner", &["record", "erase", &ended.erased]);
        ok("researcher", &["access", "forget", &ended.used_up]);
        ok("owner", &["record", "title", &self.untitled, "--forget"]);
        ok("owner", &["record", "title", &self.titled, "a new title"]);
    }

    /// Makes a backup of the running node while people work.
    fn back_up(&mut self) {
        let (config, begun) = (self.network.config(LOSES), self.network.height(LOSES));
        let file = self.network.folder().join(format!("{}.backup", self.backups.len()));
        let height = self.while_people_work(|| {
            in_time("a snapshot is certified", || {
                let _ = fs::remove_file(&file);
                let said = made(&config, &file);
                assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
                assert_eq!(said["bytes"], fs::metadata(&file).unwrap().len());
                said["channels"][0]["height"].as_u64()
            })
        });
        let full = on_a_full_disk(&["backup", "--config", str(&config), "--out", str(&file.with_extension("none"))]);
        assert_eq!((code(&full), &json(&full)["error"]["code"]), (STORAGE, &Value::from("storage")));
        assert!(!file.with_extension("none").exists());
        // Later ones are half an hour of block time apart.
        if self.lost == 0 && height <= begun {
            eprintln!("a slow machine: what has begun is in none of the backups");
        }
        self.backups.push(Backup { file, height });
    }

    /// Does something while somebody opens a record, again and again.
    fn while_people_work<T>(&self, act: impl FnOnce() -> T) -> T {
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            let until = Until(&enough);
            scope.spawn(|| {
                let out = self.network.folder().join("opened by its owner");
                while !enough.load(Ordering::Relaxed) {
                    let _ = fs::remove_file(&out);
                    self.network.ok(1, "owner", &["access", "open", &self.titled, "--out", str(&out)]);
                    assert_eq!(fs::read(&out).unwrap(), b"kept, too");
                }
            });
            let done = act();
            drop(until);
            done
        })
    }

    /// Copies the folder of the node while it stands still, as somebody might who knows of no other way.
    fn copy(&mut self) {
        self.network.stop(LOSES);
        let copy = self.network.folder().join(format!("copy-{}", self.copies.len()));
        assert!(Command::new("cp").arg("-a").args([&self.data(), &copy]).status().unwrap().success());
        self.copies.push(copy);
        let said = self.network.start(LOSES);
        assert_eq!(said["votes"], true, "it has all of its votes, or has rejoined since it lost them");
        self.network.wait_caught_up(LOSES, OTHER);
    }

    fn bring_back_by_backup(&mut self) {
        let oldest = &self.backups[0];
        if self.lost == 0 {
            self.check_refused(&oldest.file);
        }
        let looked = self.restore(&oldest.file, &["--check"]);
        assert_eq!(code(&looked), 0, "{}", text(&looked.stdout));
        // What was refused has left its lock.
        assert_eq!((&json(&looked)["restored"], self.data().exists()), (&Value::Null, self.lost == 0));
        let restored = self.restore(&oldest.file, &[]);
        assert_eq!(code(&restored), 0, "{} {}", text(&restored.stdout), text(&restored.stderr));
        assert_eq!(json(&restored)["channels"][0]["height"], oldest.height);
        assert_eq!(self.left(), [".lock", "channels"], "neither votes nor a mark");
        let again = self.restore(&oldest.file, &[]);
        assert_eq!((code(&again), &json(&again)["error"]["code"]), (2, &Value::from("exists")));
        let said = self.start_alone(&[]);
        assert_eq!(said["votes"], false, "{said}");
    }

    fn bring_back_by_copy(&mut self) {
        assert!(Command::new("cp").arg("-a").args([&self.copies[0], &self.data()]).status().unwrap().success());
        let refused = dmdl().args(["node", "--json", "--config", str(&self.network.config(LOSES))]).output().unwrap();
        let said = text(&refused.stdout);
        assert_eq!(
            (code(&refused), &json(&refused)["error"]["code"]),
            (CONFIGURATION, &Value::from("copied")),
            "{said}"
        );
        let said = self.start_alone(&["--votes", "forget"]);
        assert_eq!(said["votes"], false, "{said}");
    }

    /// Starts the node while the others are down, so that nobody tells it what it has missed.
    fn start_alone(&mut self, more: &[&str]) -> Value {
        for other in self.others() {
            self.network.stop(other);
        }
        self.network.start_with(LOSES, more)
    }

    /// What is damaged, or another's, is refused, and nothing is left of it.
    fn check_refused(&self, backup: &Path) {
        let whole = fs::read(backup).unwrap();
        let file = self.network.folder().join("damaged");
        let refused = |bytes: &[u8], what: &str| {
            fs::write(&file, bytes).unwrap();
            let refused = self.restore(&file, &[]);
            assert!([INTEGRITY, CONFIGURATION].contains(&code(&refused)), "{what}: {}", text(&refused.stdout));
            json(&refused)["error"]["code"].as_str().unwrap().to_owned()
        };
        for part in 0..24 {
            let at = part * (whole.len() - 1) / 23;
            let mut changed = whole.clone();
            changed[at] ^= 1 << (part % 8);
            refused(&changed, &format!("byte {at}"));
            refused(&whole[..at], &format!("the first {at} bytes"));
        }
        assert_eq!(refused(&[&whole[..], &[0]].concat(), "a tail"), "backup_damaged");
        assert_eq!(refused(b"", "nothing"), "not_a_backup");
        assert_eq!(refused(b"dmdl/backup/v2\n\0 of later", "a later version"), "backup_version");
        let others = self.network.folder().join("others.backup");
        made(&self.network.config(OTHER), &others);
        assert_eq!(refused(&fs::read(&others).unwrap(), "of another node"), "other_node");
        assert_eq!(self.left(), [".lock"]);
        let config = self.network.config(LOSES);
        let full = on_a_full_disk(&["restore", "--config", str(&config), "--from", str(backup)]);
        assert_eq!((code(&full), &json(&full)["error"]["code"]), (STORAGE, &Value::from("storage")));
        assert_eq!(self.left(), [".lock"]);
        let gone = self.restore(&self.network.folder().join("none"), &[]);
        assert_eq!((code(&gone), &json(&gone)["error"]["code"]), (4, &Value::from("not_found")));
    }

    /// The node stands where it was long ago, and says so; it tells nobody anything else.
    fn check_alone(&mut self, loss: Loss) {
        let height = self.network.height(LOSES);
        if loss == Loss::Backup {
            assert_eq!(height, self.backups[0].height);
        }
        for ended in &self.ended {
            for request in [&ended.used_up, &ended.revoked, &ended.of_erased] {
                self.assert_catching_up(&self.open(LOSES, request));
            }
            self.assert_catching_up(&self.network.run(LOSES, "researcher", &["access", "show", &ended.used_up]));
        }
        self.assert_catching_up(&self.network.run(LOSES, "owner", &["record", "show", &self.untitled]));
        assert_eq!(self.network.height(LOSES), height, "it has nobody to go on with");
    }

    fn assert_catching_up(&self, output: &Output) {
        let said = json(output);
        assert_eq!((code(output), &said["error"]["code"]), (UNAVAILABLE, &Value::from("catching_up")), "{said}");
    }

    /// With the others it comes to what they have, and votes again in an epoch in which it cannot have voted before.
    fn check_together(&mut self, lost_in: u64) {
        let goal = self.network.height(OTHER);
        in_time("it catches up", || (self.network.height(LOSES) >= goal).then_some(()));
        self.assert_agreed();
        for ended in &self.ended {
            for request in [&ended.used_up, &ended.revoked, &ended.of_erased] {
                let refused = eventually("it says", || {
                    Some(self.open(LOSES, request)).filter(|output| code(output) != UNAVAILABLE)
                });
                assert_eq!(code(&refused), DENIED, "{}", text(&refused.stdout));
            }
            let shown = self.network.ok(LOSES, "researcher", &["access", "show", &ended.used_up]);
            assert_eq!(shown["reason"]["state"], "withdrawn", "{shown}");
        }
        let title = |record: &str| self.network.ok(LOSES, "owner", &["record", "show", record])["title"].clone();
        eventually("it has the titles of the others", || (title(&self.titled) == "a new title").then_some(()));
        assert_eq!(title(&self.untitled), Value::Null, "it was taken back");
        assert_eq!(self.network.open(LOSES, &self.titled), b"kept, too");
        // In the epoch in which it was lost, and in the one after that, it may have voted.
        self.while_people_work(|| {
            in_time("it votes again", || {
                let status = self.network.status(OTHER);
                (status["epoch"].as_u64().unwrap() > lost_in + 2 && has_voted(&status, ORG)).then_some(())
            });
        });
        // Three are a quorum: without its votes nothing would be final any more.
        if self.lost > 0 {
            self.network.stop(1);
            let goal = self.network.height(OTHER) + 3;
            in_time("its votes count", || (self.network.height(OTHER) >= goal).then_some(()));
            self.network.start(1);
            self.network.wait_caught_up(1, OTHER);
        }
    }

    /// At some height its ledger is that of another node.
    fn assert_agreed(&self) {
        in_time("two nodes are at one height", || {
            let [own, other] = [LOSES, OTHER].map(|at| self.network.status(at));
            (own["height"] == other["height"]).then(|| assert_eq!(own["state_root"], other["state_root"]))
        });
    }

    fn open(&self, at: usize, request: &str) -> Output {
        let out = self.network.folder().join("out");
        let _ = fs::remove_file(&out);
        self.network.run(at, "researcher", &["access", "open", request, "--out", str(&out)])
    }

    fn restore(&self, from: &Path, more: &[&str]) -> Output {
        let config = self.network.config(LOSES);
        dmdl().args(["restore", "--json", "--config", str(&config), "--from", str(from)]).args(more).output().unwrap()
    }

    /// What is in the node's folder.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn data(&self) -> PathBuf {
        self.network.node(LOSES).join("data")
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        (0..4).filter(|position| *position != LOSES)
    }
}

/// Runs the program where no file may grow beyond some kilobytes, and it is told instead of killed.
fn on_a_full_disk(args: &[&str]) -> Output {
    let program = dmdl();
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\""]).arg(program.get_program()).args(args);
    limited.arg("--json").stdin(Stdio::null()).output().unwrap()
}

/// Makes a backup by a node's file, and gives what is said of it.
fn made(config: &Path, file: &Path) -> Value {
    let made = dmdl().args(["backup", "--json", "--config", str(config), "--out", str(file)]).output().unwrap();
    assert_eq!(code(&made), 0, "{} {}", text(&made.stdout), text(&made.stderr));
    json(&made)
}
