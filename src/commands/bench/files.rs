//! How much nodes keep on disk: while they run, and once they have stopped.

use super::run::{float, rounded};
use dmdl_audit_ledger::store::{MemoryBudget, RocksStore, StoreError};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// What is in the names of the engine's files that last no longer than an epoch.
const PASSING: [&str; 2] = ["-cache-", "-votes-"];

/// The bytes of all files under a folder. A file with several names counts once, and what is removed meanwhile does not.
pub(super) fn bytes_under(folder: &Path) -> u64 {
    let mut bytes = 0;
    walk(folder, &mut BTreeSet::new(), &mut |_, len| bytes += len);
    bytes
}

fn walk(folder: &Path, seen: &mut BTreeSet<(u64, u64)>, tell: &mut dyn FnMut(&Path, u64)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(found) if found.is_dir() => walk(&entry.path(), seen, tell),
            Ok(found) if found.nlink() == 1 || seen.insert((found.dev(), found.ino())) => {
                tell(&entry.path(), found.len());
            }
            _ => {}
        }
    }
}

/// What nodes keep once they have stopped, and the database has its log in its tables: what a start of the node does
/// first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AtRest {
    nodes: u64,
    database: u64,
    archives: u64,
    /// Votes, and blocks that are not archived yet: they last for an epoch.
    passing: u64,
}

impl AtRest {
    /// What is in the folders of nodes that have stopped.
    ///
    /// # Errors
    /// [`StoreError`] when a database cannot be opened.
    pub(super) fn of(nodes: &[PathBuf]) -> Result<Self, StoreError> {
        let mut rest = Self { nodes: nodes.len() as u64, ..Self::default() };
        for node in nodes {
            let channels = node.join("channels");
            for channel in fs::read_dir(&channels).into_iter().flatten().flatten() {
                let ledger = channel.path().join("ledger");
                if RocksStore::is_in(&ledger) {
                    drop(RocksStore::open(&ledger, &MemoryBudget::default())?);
                }
            }
            rest.database += bytes_under(&channels);
            walk(&node.join("engine"), &mut BTreeSet::new(), &mut |file, len| {
                let name = file.to_string_lossy();
                let of =
                    if PASSING.iter().any(|part| name.contains(part)) { &mut rest.passing } else { &mut rest.archives };
                *of += len;
            });
        }
        Ok(rest)
    }

    /// Of each node, for each of so many events.
    fn each(&self, events: u64) -> [Option<f64>; 3] {
        let parts = [self.database, self.archives, self.passing];
        let each = |bytes: u64| rounded(Some(float(bytes) / float(self.nodes.max(1)) / float(events.max(1))));
        parts.map(each)
    }

    /// For machines.
    pub(super) fn json(&self, events: u64) -> Value {
        let [database, archives, passing] = self.each(events);
        json!({
            "events": events, "database_bytes_per_event": database, "archives_bytes_per_event": archives,
            "passing_bytes_per_event": passing,
        })
    }

    /// For people.
    pub(super) fn line(&self, events: u64) -> String {
        let [database, archives, passing] = self.each(events).map(Option::unwrap_or_default);
        format!(
            "Stopped, a node keeps {:.0} bytes for each of {events} events: {database:.0} in the database and {archives:.0} \
             in archives of blocks. {passing:.0} more last for an epoch.",
            database + archives
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_audit_ledger::store::{Batch, Space, Store as _};

    #[test]
    fn bytes_are_counted_in_all_folders_below_and_once_for_each_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("one"), [0; 10]).unwrap();
        fs::write(folder.path().join("a/b/two"), [0; 32]).unwrap();
        assert_eq!(bytes_under(folder.path()), 42);
        fs::hard_link(folder.path().join("one"), folder.path().join("a/again")).unwrap();
        assert_eq!(bytes_under(folder.path()), 42, "a snapshot has the same files under other names");
        assert_eq!(bytes_under(&folder.path().join("none")), 0);
    }

    #[test]
    fn what_a_stopped_node_keeps_is_told_from_what_passes() {
        let folder = tempfile::tempdir().unwrap();
        let (node, engine) = (folder.path().to_owned(), folder.path().join("engine"));
        for (name, len) in [("id-blocks-values", 100), ("id-votes-0", 7), ("id-marshal-cache-cache-0-values", 20)] {
            fs::create_dir_all(engine.join(name)).unwrap();
            fs::write(engine.join(name).join("0"), vec![0; len]).unwrap();
        }
        let ledger = node.join("channels/id/ledger");
        fs::create_dir_all(&ledger).unwrap();
        let store = RocksStore::open(&ledger, &MemoryBudget::default()).unwrap();
        let mut batch = Batch::new();
        batch.put(Space::State, "key", vec![0; 1 << 20]);
        store.commit(batch).unwrap();
        drop(store);
        let logged = bytes_under(&ledger);
        let rest = AtRest::of(&[node]).unwrap();
        assert!(logged > 1 << 20 && rest.database < logged / 2, "tables are compressed: {rest:?}, {logged}");
        assert_eq!((rest.nodes, rest.archives, rest.passing), (1, 100, 27));
        let json = rest.json(10);
        assert_eq!((&json["archives_bytes_per_event"], &json["passing_bytes_per_event"]), (&json!(10.0), &json!(2.7)));
    }
}
