//! The marks, against the files that the engine really writes.

use super::*;
use crate::{
    fault::FaultSink,
    process::{Disk, Steady},
    store::tests::Folder,
};
use commonware_runtime::{Runner as _, buffer::paged::CacheRef, tokio as runtime};
use commonware_storage::journal::segmented::variable::{Config, Journal};
use commonware_utils::{NZU16, NZUsize};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Instant,
};

/// Votes of an epoch.
const VOTES: &str = "dmdl0a-votes-7";
/// A view so much newer than another that the engine has let that one go.
const MUCH_LATER: u64 = 65;
/// The sizes of what is written into a view, and synced one after the other: small ones, and some that fill pages.
const SIZES: [usize; 7] = [100, 30, 3000, 2000, 9000, 1, 40];

/// A folder with files of the engine, and their marks.
struct Host(Folder);

impl Host {
    /// One that was started before, when there were no votes.
    fn new() -> Self {
        let host = Self(Folder::new());
        assert!(host.hurt().is_empty());
        host
    }

    fn engine(&self) -> PathBuf {
        self.0.path().join("engine")
    }

    fn marks(&self) -> PathBuf {
        self.0.path().join("votes.marks")
    }

    fn file(&self, view: u64) -> PathBuf {
        self.engine().join(VOTES).join(hex(&view.to_be_bytes()))
    }

    /// Lets a journal of the engine do something here.
    fn run<T: Send + 'static>(&self, work: impl AsyncFnOnce(Votes) -> T + Send + 'static) -> T {
        self.run_on(self.disk(), work)
    }

    fn disk(&self) -> Disk {
        Disk::watch(&self.marks(), FaultSink::new(|fault| panic!("{fault}"))).unwrap()
    }

    fn run_on<T: Send + 'static>(&self, disk: Disk, work: impl AsyncFnOnce(Votes) -> T + Send + 'static) -> T {
        let config = runtime::Config::new().with_worker_threads(1).with_storage_directory(self.engine());
        runtime::Runner::new(config).start(|context| async move {
            #[expect(clippy::disallowed_methods, reason = "the steady clock of a process begins with it")]
            let context = Steady::new(context, Instant::now(), disk);
            work(Votes::open(context).await).await
        })
    }

    /// Writes votes into views as a voter does.
    fn vote(&self, views: std::ops::RangeInclusive<u64>) {
        self.run(async move |mut votes| {
            for view in views {
                for (number, size) in SIZES.into_iter().enumerate() {
                    votes = votes.add(view, vec![u8::try_from(number).unwrap(); size]).await;
                }
            }
        });
    }

    /// How many votes the engine finds; nothing when it does not open them.
    fn found(&self) -> Option<usize> {
        std::panic::catch_unwind(|| self.run(async |votes| votes.1)).ok()
    }

    fn hurt(&self) -> Vec<(String, String)> {
        Marks::open(&self.marks()).unwrap().hurt(&self.engine()).unwrap()
    }

    fn flip(&self, view: u64, bit: usize) {
        flip(&self.file(view), bit);
    }

    fn copy(&self) -> Self {
        let copy = Self::new();
        fs::create_dir_all(copy.engine().join(VOTES)).unwrap();
        for file in fs::read_dir(self.engine().join(VOTES)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.engine().join(VOTES).join(file.file_name())).unwrap();
        }
        fs::copy(self.marks(), copy.marks()).unwrap();
        copy
    }
}

fn flip(file: &Path, bit: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(file, bytes).unwrap();
}

/// A journal of votes as the engine has one, and how many were in it.
struct Votes(Journal<Steady, Vec<u8>>, usize);

impl Votes {
    async fn open(context: Steady) -> Self {
        let config = Config {
            partition: VOTES.to_owned(),
            compression: None,
            codec_config: ((..).into(), ()),
            page_cache: CacheRef::new(NZU16!(4084), NZUsize!(16)),
            write_buffer: NZUsize!(1 << 16),
        };
        let journal = Journal::init(context, config).await.unwrap();
        let mut replay = journal.replay(0, 0, NZUsize!(1 << 16), Default::default()).await.unwrap();
        let mut found = 0;
        while let Some(vote) = replay.next().await {
            vote.unwrap();
            found += 1;
        }
        Self(replay.finish().unwrap(), found)
    }

    async fn add(self, view: u64, vote: Vec<u8>) -> Self {
        let (journal, ..) = self.0.append(view, &vote).await.unwrap();
        Self(journal.sync(view).await.unwrap(), self.1 + 1)
    }
}

#[test]
fn a_mark_is_as_long_as_what_the_engine_holds() {
    let host = Host::new();
    let size = host.run(async |mut votes| {
        for size in SIZES {
            votes = votes.add(3, vec![0; size]).await;
        }
        votes.0.size(3).unwrap()
    });
    let marks = Marks::open(&host.marks()).unwrap();
    assert_eq!(marks.live.get(&(VOTES.to_owned(), 3_u64.to_be_bytes().to_vec())), Some(&size));
    assert_eq!(kept_len(&fs::read(host.file(3)).unwrap()), Some(size));
    assert!(host.hurt().is_empty());
}

#[test]
fn whatever_bit_flips_in_a_vote_is_missed_before_the_engine_forgets_it() {
    let host = Host::new();
    host.vote(1..=2);
    let whole = 2 * SIZES.len();
    assert_eq!(host.found(), Some(whole));
    let bits = usize::try_from(fs::metadata(host.file(2)).unwrap().len()).unwrap() * 8;
    let (mut missed, mut harmless) = (0, 0);
    // A prime, so that all kinds of bytes come up.
    for bit in (0..bits).step_by(1409) {
        let copy = host.copy();
        copy.flip(2, bit);
        let hurt = copy.hurt();
        match copy.found() {
            Some(found) if found == whole => harmless += 1,
            found => {
                assert!(!hurt.is_empty(), "bit {bit}: of {whole} votes the engine finds {found:?}");
                missed += 1;
            }
        }
    }
    assert!(missed > 20 && harmless > 0, "{missed} {harmless}");
}

#[test]
fn a_write_that_was_torn_is_not_missed() {
    let host = Host::new();
    host.vote(1..=1);
    // What a power cut leaves of a vote that had not left: a piece of a page behind the last one.
    let mut bytes = fs::read(host.file(1)).unwrap();
    bytes.extend([7; 1000]);
    fs::write(host.file(1), bytes).unwrap();
    assert!(host.hurt().is_empty());
    assert_eq!(host.found(), Some(SIZES.len()));
}

#[test]
fn a_file_that_is_gone_is_missed_unless_the_engine_may_have_let_it_go() {
    let host = Host::new();
    host.vote(1..=3);
    let missed = |views: &[u64]| {
        let copy = host.copy();
        views.iter().for_each(|view| fs::remove_file(copy.file(*view)).unwrap());
        !copy.hurt().is_empty()
    };
    assert_eq!([&[3][..], &[1], &[1, 2], &[1, 2, 3]].map(&missed), [true; 4], "nothing was let go so early");
    let all = host.copy();
    fs::remove_dir_all(all.engine()).unwrap();
    assert_eq!(all.hurt().len(), 1);
    // Of the first view a power cut may have taken the mark of its going, and of that one alone.
    host.vote(1 + MUCH_LATER..=1 + MUCH_LATER);
    assert_eq!([&[1][..], &[2], &[1, 2], &[1, 3]].map(&missed), [false, true, true, true]);
}

#[test]
fn of_an_epoch_that_is_over_nothing_is_missed() {
    let host = Host::new();
    let mut marks = Marks::open(&host.marks()).unwrap();
    marks.note("dmdl0a-votes-6", &[1], 10).unwrap();
    marks.note("dmdl0b-votes-2", &[1], 10).unwrap();
    assert_eq!(marks.hurt(&host.engine()).unwrap().len(), 2);
    marks.note("dmdl0a-votes-7", &[1], 10).unwrap();
    marks.forget("dmdl0b-votes-2", Some(&[1])).unwrap();
    let hurt = marks.hurt(&host.engine()).unwrap();
    assert_eq!(hurt, [("dmdl0a-votes-7".to_owned(), "`01` is missing".to_owned())]);
    marks.forget("dmdl0a-votes-7", None).unwrap();
    assert_eq!(marks.hurt(&host.engine()).unwrap().len(), 1, "epoch 6 is the newest again");
    fs::create_dir_all(host.engine().join("dmdl0a-votes-8")).unwrap();
    assert!(
        marks.hurt(&host.engine()).unwrap().is_empty(),
        "a power cut took the marks of epoch 8, and that of its going"
    );
}

/// Five marks of a node, and the lines that say so, which were not synced.
fn five_marks(host: &Host) -> (BTreeMap<Name, u64>, Vec<u8>) {
    let mut marks = Marks::open(&host.marks()).unwrap();
    for view in 0..5 {
        marks.note(VOTES, &[view], u64::from(view) + 1).unwrap();
    }
    (marks.live, fs::read(host.marks()).unwrap())
}

/// What is read of such lines, and whether some are damaged.
fn read_of(host: &Host, lines: &[u8]) -> (BTreeMap<Name, u64>, bool) {
    fs::write(host.marks(), lines).unwrap();
    let marks = Marks::open(&host.marks()).unwrap();
    (marks.live, marks.lost.contains(NEWEST))
}

#[test]
fn marks_are_there_after_opening_again_and_a_power_cut_damages_none() {
    let host = Host::new();
    let (live, lines) = five_marks(&host);
    assert_eq!(read_of(&host, &lines), (live.clone(), false));
    for cut in 1..20 {
        let (read, is_damaged) = read_of(&host, &lines[..lines.len() - cut]);
        assert_eq!((read.len(), is_damaged), (4, false), "{cut}");
    }
    // A page in the middle that did not get to the disk, while the next one did.
    let third = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0;
    let mut torn = lines.clone();
    torn[third + 5..third + 25].fill(0);
    let (read, is_damaged) = read_of(&host, &torn);
    assert_eq!((read.len(), is_damaged), (4, false));
    assert_eq!(read.keys().last(), live.keys().last(), "what comes after it counts");
    // Lines of before the first one said how many were synced.
    let first = lines.iter().position(|byte| *byte == b'\n').unwrap();
    assert_eq!(read_of(&host, &lines[first + 1..]), (live, false));
}

#[test]
fn whatever_bit_flips_in_a_mark_is_noticed_unless_it_is_the_last_one_and_no_mark_becomes_another() {
    let host = Host::new();
    let (live, lines) = five_marks(&host);
    // The newline before it belongs to it.
    let last = lines[..lines.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    for bit in (0..lines.len() * 8).step_by(23) {
        let mut flipped = lines.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (read, is_damaged) = read_of(&host, &flipped);
        assert!(read.iter().all(|mark| live.get(mark.0) == Some(mark.1)), "bit {bit}: {read:?}");
        assert_eq!(is_damaged, bit / 8 < last, "bit {bit}");
    }
}

#[test]
fn marks_that_were_synced_are_whole_to_the_last_one() {
    let host = Host::new();
    five_marks(&host);
    drop(Marks::open(&host.marks()).unwrap());
    let synced = fs::read(host.marks()).unwrap();
    assert!(!read_of(&host, &synced).1);
    for cut in (1..=synced.len()).step_by(9) {
        assert!(read_of(&host, &synced[..synced.len() - cut]).1, "{cut}");
    }
    for bit in (0..synced.len() * 8).step_by(23) {
        let mut flipped = synced.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read_of(&host, &flipped).1, "bit {bit}");
    }
}

#[test]
fn without_its_marks_a_channel_has_lost_its_newest_votes_until_they_are_put_aside() {
    let host = Host::new();
    host.vote(1..=2);
    assert!(host.hurt().is_empty());
    let (gone, damaged) = (host.copy(), host.copy());
    fs::remove_file(gone.marks()).unwrap();
    flip(&damaged.marks(), 8 * 40);
    for host in [gone, damaged] {
        // Other channels, epochs and files.
        for partition in ["dmdl0a-votes-6", "dmdl0a-heard-8", "dmdl0a-blocks-keys", "dmdl0b-votes-2"] {
            fs::create_dir(host.engine().join(partition)).unwrap();
        }
        // A start that a crash ends before it has asked takes the evidence from nobody.
        drop(Marks::open(&host.marks()).unwrap());
        for _ in 0..2 {
            let partitions: Vec<String> = host.hurt().into_iter().map(|(partition, _)| partition).collect();
            assert_eq!(partitions, [VOTES, "dmdl0b-votes-2"]);
        }
        for partition in [VOTES, "dmdl0b-votes-2"] {
            fs::remove_dir_all(host.engine().join(partition)).unwrap();
            Marks::open(&host.marks()).unwrap().forget(partition, None).unwrap();
        }
        assert!(host.hurt().is_empty());
    }
}

#[test]
fn something_is_done_in_each_epoch_before_its_first_vote_is_durable_and_heard_of() {
    let host = Host::new();
    let begun = Arc::new(AtomicU32::new(0));
    let vote = |expected: [u32; 3]| {
        let (disk, counted, begun) = (host.disk(), Arc::clone(&begun), Arc::clone(&begun));
        disk.before_epochs(move |partition| {
            assert!(crate::mdca::is_of_votes(partition), "{partition}");
            counted.fetch_add(1, Relaxed);
            Ok(())
        });
        host.run_on(disk, async move |mut votes| {
            let mut seen = vec![begun.load(Relaxed)];
            for view in 1..=2 {
                votes = votes.add(view, vec![7; 100]).await;
                seen.push(begun.load(Relaxed));
            }
            assert_eq!(seen, expected);
        });
    };
    vote([0, 1, 1]);
    vote([1, 1, 1]);
    let mut marks = Marks::open(&host.marks()).unwrap();
    let noted = ["dmdl0a-votes-7", "dmdl0a-votes-70", "dmdl0a-votes-70", "dmdl0a-votes-6", "dmdl0b-votes-7"]
        .map(|partition| marks.note(partition, &[9], 10).unwrap());
    assert_eq!(noted, [false, true, false, true, true]);
}

#[test]
fn old_lines_go_when_there_are_too_many() {
    let host = Host::new();
    let mut marks = Marks::open(&host.marks()).unwrap();
    for len in 0..LINES_MAX + 5 {
        marks.note(VOTES, &[1], len).unwrap();
    }
    assert!(fs::metadata(host.marks()).unwrap().len() < 1000);
    assert_eq!(Marks::open(&host.marks()).unwrap().live.into_values().collect::<Vec<_>>(), [LINES_MAX + 4]);
}

/// What [`a_vote_is_durable_before_anybody_hears_of_it`] follows in a process of its own.
#[test]
#[ignore = "run by another test"]
fn a_voter_that_is_followed() {
    let host = Host::new();
    host.run(async |mut votes| {
        for number in 0..3_u8 {
            votes = votes.add(1, vec![number; 100]).await;
            // In one piece, so that it is one call.
            let said = format!("said vote {number}\n");
            eprint!("{said}");
        }
    });
}

#[test]
fn a_vote_is_durable_before_anybody_hears_of_it() {
    let Some(calls) = crate::testing::calls_of(
        "process::marks::tests::a_voter_that_is_followed",
        "pwrite64,pwritev,pwritev2,write,fsync,fdatasync",
    ) else {
        return;
    };
    let (mut said, mut waits) = (0, false);
    for call in &calls {
        let is_of_votes = call.contains("-votes-");
        if is_of_votes && call.contains("pwrite") {
            waits = !call.contains("RWF_DSYNC");
        } else if is_of_votes && call.contains("sync(") {
            waits = false;
        } else if call.contains("said vote") {
            assert!(!waits, "a vote was heard of before it was durable: {call}");
            said += 1;
        }
    }
    assert_eq!(said, 3, "{calls:#?}");
    assert!(calls.iter().any(|call| call.contains("-votes-") && call.contains("pwrite")), "{calls:#?}");
}
