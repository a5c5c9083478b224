//! The disk under a node's engine: what was synced stays, and of what was not, anything may be there after a crash.
//!
//! The simulator's own disk loses all that was not synced. A real one may have kept all of it, the beginning of each write,
//! or any bytes. The ledger's store has nothing to lose: each of its batches is synced.

use super::{cluster::Runtime, plan::Draw};
use commonware_runtime::{Blob, BlobVersion, ReadOptions, Storage as _, WriteOptions};
use rand_core::Rng as _;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

/// What a crash leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    All,
    /// The beginning of each write.
    Beginnings,
    /// Any bytes.
    Bytes,
}

impl Left {
    pub(crate) fn draw(draw: &mut Draw<impl FnMut(u64) -> u64>) -> Self {
        [Self::Nothing, Self::All, Self::Beginnings, Self::Bytes][draw.index(4)]
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "",
            Self::All => ", unsynced writes kept",
            Self::Beginnings => ", writes cut off",
            Self::Bytes => ", writes torn",
        })
    }
}

/// Partition and name of a file.
pub(crate) type Path = (String, Vec<u8>);

struct File {
    version: BlobVersion,
    /// What was done to it since it was synced, in its order.
    changes: Vec<Change>,
}

/// What was done to a file.
pub(crate) enum Change {
    /// Synced by itself: whatever is made of what came before it, this is there.
    Synced(u64, Vec<u8>),
    Write(u64, Vec<u8>),
    Resize(u64),
}

/// The engine's files of one node; clones share them.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<BTreeMap<Path, File>>>);

impl Disk {
    /// Settles, after a crash, what is there of what was not synced.
    pub(crate) async fn settle(&self, runtime: &mut Runtime, left: Left) {
        let files: Vec<_> = {
            let mut files = self.0.lock().unwrap();
            let changes =
                |(path, file): (&Path, &mut File)| (path.clone(), file.version, std::mem::take(&mut file.changes));
            files.iter_mut().map(changes).collect()
        };
        for ((partition, name), version, changes) in files {
            if changes.is_empty() || left == Left::Nothing {
                continue;
            }
            let (blob, _, _) = runtime.open_versioned(&partition, &name, version..=version).await.unwrap();
            for change in changes {
                match change {
                    Change::Synced(offset, bytes) => write(&blob, offset, bytes).await,
                    Change::Resize(len) if left == Left::All || coin(runtime) => blob.resize(len).await.unwrap(),
                    Change::Resize(_) => {}
                    Change::Write(offset, bytes) => {
                        for (at, part) in kept(runtime, left, bytes) {
                            write(&blob, offset + at, part).await;
                        }
                    }
                }
            }
            blob.sync().await.unwrap();
        }
    }

    /// Turns one bit in a file whose partition has this in its name; says which, if there is any.
    pub(crate) async fn rot(&self, runtime: &mut Runtime, of: &[&str]) -> Option<String> {
        let is_one = |(partition, _): &&Path| of.iter().any(|part| partition.contains(part));
        let files: Vec<(Path, BlobVersion)> = {
            let files = self.0.lock().unwrap();
            let found = files.iter().filter(|(path, _)| is_one(path));
            found.map(|(path, file)| (path.clone(), file.version)).collect()
        };
        let mut filled = Vec::new();
        for ((partition, name), version) in files {
            let (blob, len, _) = runtime.open_versioned(&partition, &name, version..=version).await.unwrap();
            filled.extend((len > 0).then_some((partition, blob, len)));
        }
        let chosen = below(runtime, filled.len() as u64)?;
        let (partition, blob, len) = filled.swap_remove(usize::try_from(chosen).unwrap());
        let (offset, bit) = (below(runtime, len)?, below(runtime, 8)?);
        let mut byte = blob.read_at(offset, 1, ReadOptions::default()).await.unwrap().coalesce().as_ref()[0];
        byte ^= 1 << bit;
        write(&blob, offset, vec![byte]).await;
        blob.sync().await.unwrap();
        Some(format!("bit {bit} of byte {offset} of {len} in {partition}"))
    }

    /// Whoever opens a file again finds what was synced.
    pub(crate) fn opened(&self, path: Path, version: BlobVersion) {
        self.0.lock().unwrap().insert(path, File { version, changes: Vec::new() });
    }

    /// Of no name, all files of the partition are removed.
    pub(crate) fn removed(&self, partition: &str, name: Option<&[u8]>) {
        let is_gone = |path: &Path| path.0 == partition && name.is_none_or(|name| path.1 == name);
        self.0.lock().unwrap().retain(|path, _| !is_gone(path));
    }

    pub(crate) fn change(&self, path: &Path, change: Change) {
        if let Some(file) = self.0.lock().unwrap().get_mut(path) {
            file.changes.push(change);
        }
    }

    pub(crate) fn synced(&self, path: &Path) {
        if let Some(file) = self.0.lock().unwrap().get_mut(path) {
            file.changes.clear();
        }
    }
}

/// What is there of a write: the parts, each with its place in it.
fn kept(runtime: &mut Runtime, left: Left, bytes: Vec<u8>) -> Vec<(u64, Vec<u8>)> {
    match left {
        Left::Nothing => Vec::new(),
        Left::All => vec![(0, bytes)],
        Left::Beginnings => {
            let len = below(runtime, bytes.len() as u64 + 1).unwrap_or_default();
            vec![(0, bytes[..usize::try_from(len).unwrap()].to_vec())]
        }
        Left::Bytes => {
            let mut mask = vec![0; bytes.len()];
            runtime.fill_bytes(&mut mask);
            let parts = mask.chunk_by(|one, other| one % 2 == other % 2);
            let mut at = 0;
            let places = parts.map(|part| {
                let begins = at;
                at += part.len();
                (part[0] % 2 == 0, begins..at)
            });
            places.filter(|(stays, _)| *stays).map(|(_, place)| (place.start as u64, bytes[place].to_vec())).collect()
        }
    }
}

async fn write(blob: &impl Blob, offset: u64, bytes: Vec<u8>) {
    if !bytes.is_empty() {
        blob.write_at(offset, bytes, WriteOptions::default()).await.unwrap();
    }
}

/// None below nothing.
fn below(runtime: &mut Runtime, bound: u64) -> Option<u64> {
    runtime.next_u64().checked_rem(bound)
}

fn coin(runtime: &mut Runtime) -> bool {
    runtime.next_u64().is_multiple_of(2)
}
