//! What only one channel knows of, looked for wherever bytes can be: on disk, on a wire, in a process's memory.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use dmdl::local::os_rng;
use rand_core::Rng as _;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// How much is looked through at a time.
const BLOCK_BYTES: usize = 4 << 20;
/// What a canary must at least be found by, so that it is found by nothing else.
const CORE_BYTES_MIN: usize = 12;
/// Two bytes that something begins with.
const STARTS: usize = 1 << 16;

/// Words and ids that nobody could guess.
#[derive(Debug)]
pub(crate) struct Canaries {
    /// What it is, and how it is written, in each of its spellings.
    spelled: Vec<(String, Vec<u8>)>,
    /// Whether one begins with these two bytes.
    starts: Vec<bool>,
}

/// A word that nobody has said before; it will do as a name.
fn new_word() -> String {
    let mut bytes = [0; 16];
    os_rng().fill_bytes(&mut bytes);
    format!("c{}", hex::encode(bytes))
}

impl Canaries {
    pub(crate) fn new() -> Self {
        Self { spelled: Vec::new(), starts: vec![false; STARTS] }
    }

    /// Adds bytes that are from now on looked for, in every spelling.
    pub(crate) fn add(&mut self, what: &str, bytes: &[u8]) {
        // A store may keep of a key what differs from the one before it, and compression may take its ends for
        // something that was there already. What is random in the middle is written out once at least.
        let quarter = bytes.len() / 4;
        let core = &bytes[quarter..bytes.len() - quarter];
        assert!(core.len() >= CORE_BYTES_MIN, "{what} is too short to be told from chance");
        for spelled in spellings(core) {
            self.starts[start(&spelled)] = true;
            self.spelled.push((what.to_owned(), spelled));
        }
    }

    /// Adds a new word, and gives it.
    pub(crate) fn add_word(&mut self, what: &str) -> String {
        let word = new_word();
        self.add(what, word.as_bytes());
        word
    }

    /// Adds an id, as a command has printed it, and gives it.
    pub(crate) fn add_id(&mut self, what: &str, id: &serde_json::Value) -> String {
        let id = id.as_str().unwrap_or_else(|| panic!("no {what}: {id}"));
        self.add(what, &hex::decode(id).unwrap());
        id.to_owned()
    }

    /// What bytes tell of.
    pub(crate) fn in_bytes(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let begins = bytes.windows(2).enumerate().filter(|(_, pair)| self.starts[start(pair)]);
        let told = begins.flat_map(|(at, _)| {
            let spelled = self.spelled.iter().filter(move |(_, word)| bytes[at..].starts_with(word));
            spelled.map(|(what, _)| what.as_str())
        });
        told.collect()
    }

    /// What a file tells of, or the files in a folder and their names, each with one that does; links are not followed.
    pub(crate) fn in_files(&self, path: &Path) -> BTreeMap<&str, PathBuf> {
        let name = path.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
        let here = |what| (what, path.to_owned());
        let mut told: BTreeMap<&str, PathBuf> = self.in_bytes(name).into_iter().map(here).collect();
        let kind = fs::symlink_metadata(path).unwrap().file_type();
        if kind.is_dir() {
            told.extend(fs::read_dir(path).unwrap().flat_map(|entry| self.in_files(&entry.unwrap().path())));
        } else if kind.is_file() {
            let mut file = File::open(path).unwrap();
            told.extend(self.in_blocks(|block| file.read(block).unwrap()).into_iter().map(here));
        }
        told
    }

    /// What a process has in its memory, all of what it can write to.
    pub(crate) fn in_memory(&self, process: u32) -> BTreeSet<&str> {
        let folder = Path::new("/proc").join(process.to_string());
        let (maps, memory) =
            (fs::read_to_string(folder.join("maps")).unwrap(), File::open(folder.join("mem")).unwrap());
        let writable = maps.lines().filter_map(|line| line.split_once(' ')).filter(|(_, rest)| rest.starts_with("rw"));
        let told = writable.flat_map(|(range, _)| {
            let (mut at, end) = range.split_once('-').map(|(at, end)| (address(at), address(end))).unwrap();
            self.in_blocks(|block| {
                let len = block.len().min(usize::try_from(end - at).unwrap());
                // What the process has given back since is not there any more.
                let read = memory.read_at(&mut block[..len], at).unwrap_or(0);
                at += read as u64;
                read
            })
        });
        told.collect()
    }

    /// What something tells of that is read block by block, until a block is empty.
    fn in_blocks(&self, mut read: impl FnMut(&mut [u8]) -> usize) -> BTreeSet<&str> {
        let overlap = self.spelled.iter().map(|(_, word)| word.len()).max().unwrap_or_default();
        let (mut block, mut kept, mut told) = (vec![0; overlap + BLOCK_BYTES], 0, BTreeSet::new());
        loop {
            let len = match read(&mut block[kept..]) {
                0 => return told,
                read => kept + read,
            };
            told.append(&mut self.in_bytes(&block[..len]));
            // What may be the beginning of one.
            kept = overlap.min(len);
            block.copy_within(len - kept..len, 0);
        }
    }
}

fn address(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

fn start(bytes: &[u8]) -> usize {
    usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The ways to write bytes down, also as a part of something longer.
fn spellings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let digits = hex::encode(bytes);
    let mut all = vec![bytes.to_vec(), digits.to_uppercase().into_bytes(), digits.into_bytes()];
    for before in 0..3 {
        let longer = [&[0; 2][..before], bytes].concat();
        // Characters at the ends have bits of what is beside the bytes.
        let own = [0, 2, 3][before];
        let shared = usize::from(longer.len() % 3 != 0);
        for text in [STANDARD_NO_PAD.encode(&longer), URL_SAFE_NO_PAD.encode(&longer)] {
            all.push(text.as_bytes()[own..text.len() - shared].to_vec());
        }
    }
    all
}

#[test]
fn a_canary_is_found_in_every_spelling_and_across_blocks() {
    let (mut canaries, bytes): (_, Vec<u8>) = (Canaries::new(), (100..132).collect());
    canaries.add("a canary", &bytes);
    let aligned = |before: &str| STANDARD_NO_PAD.encode([before.as_bytes(), &bytes, b"yz"].concat()).into_bytes();
    let across = [vec![0; BLOCK_BYTES + 10], bytes.clone(), vec![0; 10]].concat();
    let digits = [hex::encode(&bytes), hex::encode_upper(&bytes)].map(String::into_bytes);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    for written in ["", "x", "xy"].map(aligned).into_iter().chain(digits).chain([bytes.clone(), across]) {
        fs::write(&file, written).unwrap();
        assert_eq!(canaries.in_files(dir.path()), BTreeMap::from([("a canary", file.clone())]));
    }
    assert_eq!(canaries.in_bytes(&bytes[..16]), BTreeSet::new());
    assert_eq!(canaries.in_memory(std::process::id()), BTreeSet::from(["a canary"]), "it is in this process");
}
