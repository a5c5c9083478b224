//! How long each file of votes was, once the last vote in it was durable.
//!
//! The engine takes bytes that it cannot read at the end of a file for a write that a power cut tore: it cuts them off
//! and goes on. If they were a vote that has left, the node would vote again where it has voted before. These marks tell
//! the two apart: a write that was torn was never durable, so it is behind the mark.
//!
//! What survives a crash of the process: every mark that was noted before a vote left. What a power cut takes: the newest
//! marks, which are not synced, since a vote must not wait twice. An older mark says less, and is never wrong, because
//! these files only grow until they are removed as a whole.
//!
//! Marks that are damaged or missing say nothing of what is lost. Then each channel's newest votes count as hurt, since
//! those are what it would vote by, until they are put aside.
//!
//! # Encoding
//! Lines, each of which ends in the CRC of what is before its last space. The first, `kept COUNT CRC`, says how many of
//! those after it were written and synced with it. The others are `note PARTITION NAME LENGTH CRC`,
//! `gone PARTITION NAME CRC` or `lost PARTITION CRC`, where NAME is hexadecimal, or `-` for all of the partition, and
//! the PARTITION that is lost may be `-` for the newest of each channel.
//!
//! Lines are damaged when one cannot be read that was synced, or that comes before one that can be read. A power cut takes
//! lines from the end, and seldom a page before the end, which then is full of zeros: neither is damage.

use crate::mdca::{epoch_of_votes, is_let_go};
use commonware_cryptography::Crc32;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// The header of a file of the engine, before what it holds.
const HEADER: usize = 4096;
const MAGIC: &[u8; 4] = b"CWIK";
/// The magic and two versions, and the checksum over these.
const HEADER_WORDS: usize = 8;
const HEADER_USED: usize = 12;
/// A page: what it holds, and two slots for the length of that and its checksum.
const PAGE: usize = 4096;
const SLOT: usize = 6;
const HOLDS: usize = PAGE - 2 * SLOT;
/// Lines that are written before those that count are written anew.
const LINES_MAX: u64 = 20_000;
/// For the newest partition of each channel, as long as nobody has looked which these are.
const NEWEST: &str = "-";
/// What a page begins with that a power cut kept from the disk. A bit that flips makes no more than one zero byte.
const NOT_WRITTEN: &str = "\0\0";

/// A file of votes: its partition, and its name there.
type Name = (String, Vec<u8>);

/// The marks of a node.
#[derive(Debug)]
pub(super) struct Marks {
    path: PathBuf,
    file: File,
    lines: u64,
    live: BTreeMap<Name, u64>,
    /// Partitions whose marks are damaged or missing.
    lost: BTreeSet<String>,
}

impl Marks {
    /// Reads the marks in a file, which is made if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let (live, lost) = (BTreeMap::new(), BTreeSet::new());
        let mut marks = Self { path: path.to_owned(), file, lines: 0, live, lost };
        // A file that is missing says that a node is new only where there are no votes: that is looked for later.
        let is_whole = bytes.is_some_and(|bytes| marks.read(&String::from_utf8_lossy(&bytes)));
        if !is_whole {
            marks.lost.insert(NEWEST.to_owned());
        }
        // With what is lost: whoever opens it again finds that, too.
        marks.write_anew()?;
        Ok(marks)
    }

    /// Takes over all lines that can be read; whether none of the others is damaged.
    fn read(&mut self, text: &str) -> bool {
        // The last piece is empty, or a line that a crash cut off.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut lines = whole.split_terminator('\n');
        let first = lines.next().and_then(Line::read);
        let mut is_damaged = first.is_none();
        let mut synced = match first {
            Some(Line::Kept(count)) => count,
            // Of before the first line said so.
            Some(line) => {
                self.take(line);
                0
            }
            None => 0,
        };
        let mut is_torn = false;
        for line in lines {
            let was_synced = synced > 0;
            synced = synced.saturating_sub(1);
            match Line::read(line) {
                Some(line) => {
                    is_damaged |= is_torn;
                    self.take(line);
                }
                None if was_synced => is_damaged = true,
                None if line.contains(NOT_WRITTEN) => {}
                // Unless it is the last one.
                None => is_torn = true,
            }
        }
        is_damaged |= synced > 0;
        if is_damaged {
            tracing::warn!(path = %self.path.display(), "the marks of votes are damaged: some are not known");
        }
        !is_damaged
    }

    /// Notes that so much of a file of votes is durable; whether that is the first note of the partition.
    pub(super) fn note(&mut self, partition: &str, name: &[u8], len: u64) -> io::Result<bool> {
        let first: Name = (partition.to_owned(), Vec::new());
        let is_first = self.live.range(first..).next().is_none_or(|((other, _), _)| other != partition);
        self.write(&Line::Note(partition, name.to_vec(), len))?;
        Ok(is_first)
    }

    /// Notes that a file of votes, or all of a partition, was removed.
    pub(super) fn forget(&mut self, partition: &str, name: Option<&[u8]>) -> io::Result<()> {
        self.write(&Line::Gone(partition, name.map(<[u8]>::to_vec)))
    }

    fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.take(line.clone());
        self.file.write_all(line.text().as_bytes())?;
        self.lines += 1;
        if self.lines >= LINES_MAX { self.write_anew() } else { Ok(()) }
    }

    fn take(&mut self, line: Line<'_>) {
        match line {
            Line::Kept(_) => {}
            Line::Note(partition, name, len) => {
                self.live.insert((partition.to_owned(), name), len);
            }
            Line::Gone(partition, Some(name)) => {
                self.live.remove(&(partition.to_owned(), name));
            }
            Line::Gone(partition, None) => {
                self.live.retain(|(other, _), _| other != partition);
                self.lost.remove(partition);
            }
            Line::Lost(partition) => {
                self.lost.insert(partition.to_owned());
            }
        }
    }

    /// Puts a file with the lines that count in the place of the one that is there.
    fn write_anew(&mut self) -> io::Result<()> {
        let lost = self.lost.iter().map(|partition| Line::Lost(partition).text());
        let notes = self.live.iter().map(|((partition, name), len)| Line::Note(partition, name.clone(), *len).text());
        let lines: Vec<String> = lost.chain(notes).collect();
        let text = Line::Kept(lines.len() as u64).text() + &lines.concat();
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(folder)?.sync_all()?;
        (self.file, self.lines) = (file, 0);
        Ok(())
    }

    /// The partitions in the engine's folder in which a vote is missing, and what is wrong with each.
    ///
    /// Of a channel's epochs only the newest counts: the ones before are over, and nobody votes in them again.
    pub(super) fn hurt(&mut self, engine: &Path) -> io::Result<Vec<(String, String)>> {
        if self.lost.contains(NEWEST) {
            let (there, noted) = (names_in(engine)?, self.live.keys().map(|(partition, _)| partition));
            let newest: Vec<String> = newest_of(there.iter().chain(noted)).into_iter().map(str::to_owned).collect();
            self.lost.remove(NEWEST);
            self.lost.extend(newest);
            self.write_anew()?;
        }
        let mut hurt = Vec::new();
        let marked = self.live.keys().map(|(partition, _)| partition).chain(&self.lost);
        // With those that are there: a power cut may take all marks of the newest, and what has some is over and let go.
        let there = names_in(engine)?;
        for partition in newest_of(marked.chain(&there)) {
            if self.lost.contains(partition) {
                hurt.push((partition.to_owned(), "the marks of it are damaged or missing".to_owned()));
                continue;
            }
            let folder = engine.join(partition);
            let names = names_in(&folder)?;
            for ((_, name), len) in self.live.iter().filter(|((other, _), _)| other == partition) {
                if let Some(reason) = wrong_with(&folder, &names, name, *len)? {
                    hurt.push((partition.to_owned(), reason));
                    break;
                }
            }
        }
        Ok(hurt)
    }
}

/// The partition of each channel's newest epoch among these; what is not of votes does not count.
fn newest_of<'a>(partitions: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut newest: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for partition in partitions {
        let Some((channel, epoch)) = epoch_of_votes(partition) else { continue };
        let known = newest.entry(channel).or_insert((epoch, partition.as_str()));
        *known = (*known).max((epoch, partition.as_str()));
    }
    newest.into_values().map(|(_, partition)| partition).collect()
}

/// The names of what is in a folder, in order.
fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    match fs::read_dir(folder) {
        Ok(files) => {
            for file in files {
                names.extend(file?.file_name().into_string());
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    names.sort();
    Ok(names)
}

/// What is wrong with a file of votes that had so many bytes of them.
fn wrong_with(folder: &Path, names: &[String], name: &[u8], len: u64) -> io::Result<Option<String>> {
    let name = hex(name);
    if !names.contains(&name) {
        return Ok((!was_let_go(names, &name)).then(|| format!("`{name}` is missing")));
    }
    let kept = kept_len(&fs::read(folder.join(&name))?);
    Ok(match kept {
        Some(kept) if kept >= len => None,
        Some(kept) => Some(format!("of `{name}` {kept} bytes can be read, and {len} were durable")),
        None => Some(format!("the header of `{name}` is damaged")),
    })
}

/// Whether a file that is missing was let go, and only the mark of that is lost: old views go from the first on, so all
/// that is there is newer, and something is much newer.
fn was_let_go(names: &[String], name: &str) -> bool {
    let (Some(first), Some(newest)) = (names.first(), names.last()) else { return false };
    first.as_str() > name && view_of(name).zip(view_of(newest)).is_some_and(|(view, newest)| is_let_go(view, newest))
}

/// The view whose votes are in a file of this name.
fn view_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name, 16).ok()
}

/// How many bytes the engine would find in a file of its own; none when it would not even open it.
fn kept_len(file: &[u8]) -> Option<u64> {
    let (header, pages) = file.split_at_checked(HEADER)?;
    let (words, rest) = header.split_at_checked(HEADER_WORDS)?;
    let (checksum, padding) = rest.split_at_checked(HEADER_USED - HEADER_WORDS)?;
    let checked = Crc32::checksum(words).to_be_bytes().as_slice() == checksum;
    if !words.starts_with(MAGIC) || !checked || padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    let mut len = 0;
    for page in pages.chunks(PAGE) {
        let Some(held) = held_by(page) else { break };
        len += held as u64;
        if held < HOLDS {
            break;
        }
    }
    Some(len)
}

/// How many bytes of a page can be read: as many as the longer of two lengths says, or the shorter one if the longer has
/// not the right checksum.
fn held_by(page: &[u8]) -> Option<usize> {
    let mut slots = slots_of(page)?;
    slots.sort_by_key(|(len, _)| std::cmp::Reverse(*len));
    let fits = |(len, checksum): &(usize, [u8; 4])| {
        let held = page.get(..*len).filter(|held| !held.is_empty() && held.len() <= HOLDS);
        held.is_some_and(|held| Crc32::checksum(held).to_be_bytes() == *checksum)
    };
    slots.iter().find(|slot| fits(slot)).map(|(len, _)| *len)
}

/// The two lengths of a page with their checksums.
fn slots_of(page: &[u8]) -> Option<[(usize, [u8; 4]); 2]> {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *page.get(HOLDS..)?.first_chunk::<{ 2 * SLOT }>()?;
    let len = |high, low| usize::from(u16::from_be_bytes([high, low]));
    Some([(len(a, b), [c, d, e, f]), (len(g, h), [i, j, k, l])])
}

/// How long a file is after whole pages were written at an offset; none if it was something else.
pub(super) fn len_after(offset: u64, pages: &[u8]) -> Option<u64> {
    let (whole, last) = pages.len().checked_sub(PAGE).and_then(|start| pages.split_at_checked(start))?;
    if !whole.len().is_multiple_of(PAGE) || !offset.is_multiple_of(PAGE as u64) {
        return None;
    }
    let before = (offset + whole.len() as u64) / PAGE as u64;
    let held = slots_of(last)?.map(|(len, _)| len).into_iter().max()?;
    Some(before * HOLDS as u64 + held as u64)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(std::str::from_utf8);
    pairs.map(|pair| u8::from_str_radix(pair.ok()?, 16).ok()).collect()
}

/// A line of the file.
#[derive(Clone)]
enum Line<'a> {
    Kept(u64),
    Note(&'a str, Vec<u8>, u64),
    Gone(&'a str, Option<Vec<u8>>),
    Lost(&'a str),
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (said, checksum) = line.rsplit_once(' ')?;
        if checksum != checksum_of(said) {
            return None;
        }
        let mut words = said.split(' ');
        let (kind, what) = (words.next()?, words.next()?);
        match (kind, words.next()) {
            ("kept", None) => Some(Self::Kept(what.parse().ok()?)),
            ("note", Some(name)) => Some(Self::Note(what, unhex(name)?, words.next()?.parse().ok()?)),
            ("gone", Some("-")) => Some(Self::Gone(what, None)),
            ("gone", Some(name)) => Some(Self::Gone(what, Some(unhex(name)?))),
            ("lost", None) => Some(Self::Lost(what)),
            _ => None,
        }
    }

    fn text(&self) -> String {
        let said = match self {
            Self::Kept(count) => format!("kept {count}"),
            Self::Note(partition, name, len) => format!("note {partition} {} {len}", hex(name)),
            Self::Gone(partition, Some(name)) => format!("gone {partition} {}", hex(name)),
            Self::Gone(partition, None) => format!("gone {partition} -"),
            Self::Lost(partition) => format!("lost {partition}"),
        };
        format!("{said} {}\n", checksum_of(&said))
    }
}

fn checksum_of(said: &str) -> String {
    hex(&Crc32::checksum(said.as_bytes()).to_be_bytes())
}

#[cfg(test)]
mod tests;
