//! Files that cannot be registered, names that are odd, and stored bytes that are not what they were.

use super::harness::{Up, code, json, str, text};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

fn fifo(path: &Path) -> &Path {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    path
}

fn error(output: &std::process::Output) -> (i32, String) {
    let said = json(output);
    (code(output), said["error"]["code"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned())
}

#[test]
fn what_is_no_file_is_not_registered() {
    let up = Up::shared();
    let (pipe, cut) = (up.folder().join("pipe"), up.folder().join("cut.cedar"));
    fs::write(&cut, "permit (").unwrap();
    let register = |path: &Path| error(&up.run("owner", &["record", "register", str(path), "--json"]));
    for path in [fifo(&pipe), Path::new("/dev/zero"), up.folder()] {
        assert_eq!(register(path), (2, "not_a_file".to_owned()), "{}", path.display());
    }
    assert_eq!(register(&up.folder().join("nowhere")), (4, "not_found".to_owned()));
    let good = up.folder().join("good");
    fs::write(&good, "good").unwrap();
    for path in [&pipe, &up.folder().to_owned(), &PathBuf::from("/dev/zero")] {
        let bad = ["record", "register", str(&good), "--policy", str(path), "--json"];
        assert_eq!(error(&up.run("owner", &bad)), (2, "not_a_file".to_owned()), "{}", path.display());
        let record = "00".repeat(32);
        let bad = ["access", "request", &record, "--purpose", "HMB", "--reason", "x", "--ethics", str(path), "--json"];
        assert_eq!(error(&up.run("researcher", &bad)), (2, "not_a_file".to_owned()), "{}", path.display());
    }
    let bad = ["record", "register", str(&good), "--policy", str(&cut), "--json"];
    assert_eq!(error(&up.run("owner", &bad)), (2, "policy_invalid".to_owned()));
    // Of several, each has its own result, and the exit is that of the first that failed.
    let both = up.run("owner", &["record", "register", str(&pipe), str(&good), "--json"]);
    let items = json(&both)["items"].clone();
    assert_eq!((code(&both), &items[0]["error"]["code"]), (2, &Value::from("not_a_file")));
    assert_eq!(items[1]["state"], "ACTIVE", "{items}");
}

#[test]
fn odd_names_are_names_and_none_of_them_leaves_the_machine() {
    let up = Up::shared();
    let folder = up.folder().join("odd");
    fs::create_dir(&folder).unwrap();
    let marker = "Mustermann";
    let names: [&[u8]; 5] =
        [b"Mustermann\nINFO granted", b"-rf Mustermann", b"Mustermann\x1b[2J", b"Mustermann \xff\xfe", &[b'M'; 255]];
    for name in names {
        let path = folder.join(OsStr::from_bytes(name));
        fs::write(&path, name).unwrap();
        let register = [OsStr::new("record"), OsStr::new("register"), OsStr::new("--json"), OsStr::new("--")];
        let output = up.command("owner", register).arg(OsStr::from_bytes(name)).current_dir(&folder).output().unwrap();
        assert_eq!(code(&output), 0, "{}", text(&output.stdout));
        let record = json(&output)["record"].as_str().unwrap().to_owned();
        let out = folder.join(OsStr::from_bytes(&[b"o", &name[1..]].concat()));
        let output = up.command("owner", ["access", "open", &record, "--out"]).arg(&out).output().unwrap();
        assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.contains(&0x1b) && output.stdout.iter().filter(|byte| **byte == b'\n').count() == 1);
        assert_eq!(fs::read(&out).unwrap(), name);
    }
    let trail = folder.join(OsStr::from_bytes(b"trail \xff"));
    let output = up.command("officer", ["audit", "export", "--json", "--out"]).arg(&trail).output().unwrap();
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(json(&output)["file"].as_str().is_some_and(|name| name.ends_with("trail \u{fffd}")));
    let mut kept = vec![trail, up.network()];
    while let Some(path) = kept.pop() {
        if path.is_dir() {
            kept.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(bytes) = fs::read(&path) {
            let told = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
            assert!(!told, "{} tells of a file's name", path.display());
        }
    }
}

/// Where the network keeps the sealed bytes of a record.
fn stored(up: &Up, record: &str) -> PathBuf {
    let shown = up.ok("owner", &["record", "show", record]);
    let name = shown["payload"]["digest"].as_str().unwrap().to_owned();
    up.network().join("nodes/vault").join(&name[..2]).join(&name[2..4]).join(&name)
}

#[test]
fn stored_bytes_that_were_changed_open_as_nothing() {
    let up = Up::shared();
    let plaintext: Vec<u8> = (0..40_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = up.folder().join("changed");
    fs::write(&file, &plaintext).unwrap();
    let record = up.register("owner", &file, &[]);
    let at = stored(&up, &record);
    let good = fs::read(&at).unwrap();
    let chunk = 16 * 1024 + 16;
    let changed = |from: usize| {
        let mut bytes = good.clone();
        bytes[from] ^= 1;
        bytes
    };
    let folder = up.folder().join("changed-out");
    fs::create_dir(&folder).unwrap();
    let out = folder.join("opened");
    for (name, bytes) in [
        ("the salt", changed(0)),
        ("the commitment", changed(40)),
        ("the first chunk", changed(56)),
        ("the last tag", changed(good.len() - 1)),
        ("no header", good[56..].to_vec()),
        ("half a header", good[..30].to_vec()),
        ("nothing", Vec::new()),
        ("no last chunk", good[..56 + 2 * chunk].to_vec()),
        ("a cut tag", good[..good.len() - 5].to_vec()),
        ("the last chunk twice", [&good[..], &good[56 + 2 * chunk..]].concat()),
        ("the first two chunks swapped", {
            [&good[..56], &good[56 + chunk..56 + 2 * chunk], &good[56..56 + chunk], &good[56 + 2 * chunk..]].concat()
        }),
        ("a tail", [&good[..], b"tail"].concat()),
    ] {
        fs::write(&at, &bytes).unwrap();
        let error = up.fails("owner", &["access", "open", &record, "--out", str(&out)], 5);
        assert!(!out.exists(), "{name}: {error}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{name}: nothing is left");
        up.fails("owner", &["record", "verify", &record], 5);
        let streamed = up.run("owner", &["access", "open", &record, "--out", "-"]);
        assert_eq!(code(&streamed), 5, "{name}: {}", String::from_utf8_lossy(&streamed.stderr));
        assert!(plaintext.starts_with(&streamed.stdout) && streamed.stdout.len() < plaintext.len(), "{name}");
    }
    fs::write(&at, &good).unwrap();
    assert_eq!(up.open("owner", &record, &[]), plaintext, "what is right again opens again");
    up.ok("owner", &["record", "verify", &record]);
}

#[test]
fn what_goes_wrong_late_has_let_out_verified_chunks_only() {
    let up = Up::shared();
    let plaintext: Vec<u8> = (0..4_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let file = up.folder().join("late");
    fs::write(&file, &plaintext).unwrap();
    let record = up.register("owner", &file, &[]);
    let at = stored(&up, &record);
    let mut bytes = fs::read(&at).unwrap();
    let late = bytes.len() * 9 / 10;
    bytes[late] ^= 1;
    fs::write(&at, &bytes).unwrap();
    let streamed = up.run("owner", &["access", "open", &record, "--out", "-"]);
    assert!([5, 6].contains(&code(&streamed)), "{}", String::from_utf8_lossy(&streamed.stderr));
    assert!(plaintext.starts_with(&streamed.stdout) && streamed.stdout.len() < late, "{}", streamed.stdout.len());
    let out = up.folder().join("opened-late");
    let failed = up.run("owner", &["access", "open", &record, "--out", str(&out), "--json"]);
    assert!([5, 6].contains(&code(&failed)) && !out.exists());
    // A payload that is gone is lost: what was registered is not what is there.
    fs::remove_file(&at).unwrap();
    assert_eq!(error(&up.run("owner", &["access", "open", &record, "--out", str(&out), "--json"])).0, 5);
    assert!(!out.exists());
}

#[test]
fn a_disk_that_is_full_leaves_no_part_of_a_plaintext() {
    let up = Up::shared();
    let file = up.folder().join("large");
    fs::write(&file, vec![7; 3_000_000]).unwrap();
    let record = up.register("owner", &file, &[]);
    let folder = up.folder().join("small-disk");
    fs::create_dir(&folder).unwrap();
    let out = folder.join("opened");
    // No file of this process may grow beyond this many blocks, and it is told instead of killed.
    let lines = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\"";
    let whole = up.command("owner", ["access", "open", &record, "--json", "--out", str(&out)]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", lines]).arg(whole.get_program()).args(whole.get_args()).stdin(Stdio::null());
    for (name, value) in whole.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let output = limited.output().unwrap();
    assert_eq!(error(&output), (74, "storage".to_owned()));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
    assert_eq!(up.open("owner", &record, &[]), vec![7; 3_000_000]);
}

#[test]
fn an_output_that_is_taken_or_nowhere_is_refused_before_it_costs_a_use() {
    let up = Up::shared();
    let file = up.folder().join("outputs");
    fs::write(&file, "outputs").unwrap();
    let record = up.register("owner", &file, &["--policy", "research-auto"]);
    let study = ["--purpose", "HMB", "--reason", "a study", "--uses", "1"];
    up.ok("researcher", &[&["access", "request", &record], &study[..]].concat());
    let link = up.folder().join("outputs-link");
    std::os::unix::fs::symlink(up.folder().join("nowhere"), &link).unwrap();
    let open = |out: &Path| error(&up.run("researcher", &["access", "open", &record, "--json", "--out", str(out)]));
    for taken in [&file, &link, &up.folder().to_owned()] {
        assert_eq!(open(taken), (2, "exists".to_owned()), "{}", taken.display());
    }
    assert_eq!(open(&up.folder().join("nowhere/out")), (2, "no_such_folder".to_owned()));
    assert_eq!(open(&up.folder().join("n".repeat(300))), (2, "no_such_folder".to_owned()));
    assert_eq!(up.open("researcher", &record, &[]), b"outputs", "the one use is still there");
}
