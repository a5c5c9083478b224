//! Restoring a backup into an empty folder, or looking whether it could be.

use super::{
    super::{CHANNELS_MAX, charters, ground::folder_error},
    Contained, Extent,
};
use crate::node::{NodeConfig, StartError, StartToken};
use dmdl_audit_ledger::{
    snapshot::{JoinError, Joining, Progress, VerifiedSnapshot},
    store::{MemoryBudget, RocksStore, StoreError},
};
use dmdl_types::{
    backup::{BackupError, Piece, Unpacking},
    charter::{CharterError, SignedCharter},
    genesis::{Founding, Genesis},
    id::{NodeId, UnixMillis},
    snapshot::Part,
    transaction::Transaction,
};
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

/// Where what is restored lies in the node's folder until all of it has verified.
const PART: &str = "restore.part";
/// What may be in a folder to which a backup is restored: the lock of whoever restores, what an earlier one left, and
/// what file systems put into their root.
const NOTHING: [&str; 3] = [".lock", PART, "lost+found"];

/// Why a backup was not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The file is no backup of this node, or none that is whole.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The folder has something in it.
    #[error(
        "`{folder}` is not empty, it has `{found}`: stop the node, move the folder away, and restore into an empty one"
    )]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// A charter in it founds nothing.
    #[error("the backup is damaged: {0}")]
    Charter(#[from] CharterError),
    /// A ledger in it is not what the pinned genesis leads to.
    #[error("the backup is damaged: {0}")]
    Ledger(JoinError),
    /// The own disk failed.
    #[error(transparent)]
    Store(StoreError),
    /// A folder cannot be made.
    #[error(transparent)]
    Folder(StartError),
    /// The backup cannot be read.
    #[error("the backup cannot be read: {0}")]
    Read(io::Error),
}

impl From<JoinError> for RestoreError {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Store(error) => Self::Store(error),
            error => Self::Ledger(error),
        }
    }
}

impl From<StoreError> for RestoreError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// When the backup was made, by the clock of whoever made it.
    pub made: UnixMillis,
    /// What it has of each channel.
    pub channels: Vec<Contained>,
}

/// Restores a backup into a node's folder, which exists and which nobody else uses; `told` hears how many bytes are read.
/// A start token of the node goes, which somebody may have put back with its keys: it would vote by that.
///
/// What survives a crash: all of it once this returns, before that nothing that a node would take for its own.
///
/// # Errors
/// [`RestoreError`]: the folder is as it was. If everything has verified, the token may be gone.
pub fn restore(config: &NodeConfig, from: impl Read, told: impl FnMut(u64)) -> Result<Restored, RestoreError> {
    let dir = &config.dir;
    let unusable = |source| RestoreError::Folder(folder_error(dir, source));
    check_empty(dir)?;
    let staged = Staged::make(dir.join(PART)).map_err(unusable)?;
    let restored = unpack(config, from, &staged.0, told)?;
    // Before there is a folder that it could begin: without a snapshot in it that would look like a new one.
    let token = StartToken { network: config.genesis.id(), node: NodeId::of_key(config.key.public()) };
    token.discard(&config.start_token).map_err(|error| RestoreError::Folder(error.into()))?;
    // One name for everything: there is no moment with a part of it.
    let moved = fs::rename(charters::channels(&staged.0), charters::channels(dir));
    moved.and_then(|()| File::open(dir)?.sync_all()).map_err(unusable)?;
    Ok(restored)
}

/// Looks whether a backup could be restored, and leaves nothing; `scratch` is an empty folder to do it in.
///
/// # Errors
/// [`RestoreError`].
pub fn check_backup(
    config: &NodeConfig,
    from: impl Read,
    scratch: &Path,
    told: impl FnMut(u64),
) -> Result<Restored, RestoreError> {
    unpack(config, from, scratch, told)
}

fn check_empty(dir: &Path) -> Result<(), RestoreError> {
    let unusable = |source| RestoreError::Folder(folder_error(dir, source));
    for entry in fs::read_dir(dir).map_err(unusable)? {
        let found = entry.map_err(unusable)?.file_name().to_string_lossy().into_owned();
        if !NOTHING.contains(&found.as_str()) {
            return Err(RestoreError::NotEmpty { folder: dir.to_owned(), found });
        }
    }
    Ok(())
}

/// A folder that goes with the value.
struct Staged(PathBuf);

impl Staged {
    /// Makes it, without what was left in it.
    fn make(path: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What stays is removed by the next one.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Lays down what a backup has in a folder like a node's, and verifies all of it.
fn unpack(config: &NodeConfig, from: impl Read, root: &Path, told: impl FnMut(u64)) -> Result<Restored, RestoreError> {
    let NodeConfig { genesis, key, .. } = config;
    let mut pieces = Pieces::begin(genesis, Some(NodeId::of_key(key.public())), from, told)?;
    let (mut made, mut channels, mut current) = (UnixMillis::new(0), Vec::new(), None);
    loop {
        // INVARIANT: nothing of a channel comes before it; there is one to end.
        match (pieces.next()?, &mut current) {
            (Piece::Begin(begin), _) => made = begin.time,
            (Piece::Channel(charter), current) => {
                channels.extend(current.take().map(Channel::end).transpose()?);
                *current = Some(Channel::begin(genesis, charter.map(|charter| *charter), root, &channels)?);
            }
            (Piece::Ledger(part), Some(channel)) => channel.take(*part)?,
            (Piece::Signed(transactions), Some(channel)) => channel.keep_signed(&transactions)?,
            (Piece::End(_), current) => {
                channels.extend(current.take().map(Channel::end).transpose()?);
                return Ok(Restored { made, channels });
            }
            (Piece::Ledger(_) | Piece::Signed(_), None) => return Err(BackupError::OutOfPlace.into()),
        }
    }
}

/// The pieces of a backup as they are read.
pub(super) struct Pieces<R, T> {
    from: R,
    unpacking: Unpacking,
    bytes: u64,
    told: T,
}

impl<R: Read, T: FnMut(u64)> Pieces<R, T> {
    /// Begins to read the backup of a node, or of any.
    pub(super) fn begin(genesis: &Genesis, node: Option<NodeId>, mut from: R, told: T) -> Result<Self, RestoreError> {
        let mut magic = [0; 16];
        let begun = from.read_exact(&mut magic).map_err(cut);
        // A file that is too short to be one is none, either.
        let unpacking = match begun {
            Err(RestoreError::Backup(BackupError::Cut)) => return Err(BackupError::NotABackup.into()),
            begun => begun.and_then(|()| Ok(Unpacking::begin(genesis.founding().domain, node, &magic)?))?,
        };
        Ok(Self { from, unpacking, bytes: 16, told })
    }

    /// The next piece, which is not believed yet; after the last one nothing may follow.
    pub(super) fn next(&mut self) -> Result<Piece, RestoreError> {
        let mut len = [0; 4];
        self.from.read_exact(&mut len).map_err(cut)?;
        let mut bytes = vec![0; Unpacking::len_of(len)?];
        self.from.read_exact(&mut bytes).map_err(cut)?;
        let piece = self.unpacking.take(&bytes)?;
        self.bytes = self.bytes.saturating_add(4).saturating_add(bytes.len() as u64);
        (self.told)(self.bytes);
        if self.unpacking.is_over() && self.from.read(&mut [0]).map_err(RestoreError::Read)? > 0 {
            return Err(BackupError::Trailing.into());
        }
        Ok(piece)
    }
}

fn cut(error: io::Error) -> RestoreError {
    match error.kind() {
        ErrorKind::UnexpectedEof => BackupError::Cut.into(),
        _ => RestoreError::Read(error),
    }
}

/// A channel that is being restored.
struct Channel {
    founding: Founding,
    folder: PathBuf,
    ledger: Ledger,
}

/// How far its ledger is.
enum Ledger {
    None,
    Loading(Box<Joining<RocksStore>>),
    Verified(Box<VerifiedSnapshot<RocksStore>>),
}

impl Channel {
    fn begin(
        genesis: &Genesis,
        charter: Option<SignedCharter>,
        root: &Path,
        before: &[Contained],
    ) -> Result<Self, RestoreError> {
        let founding = charter.as_ref().map_or_else(|| Ok(genesis.founding()), |charter| charter.verify(genesis))?;
        let (channel, name) = (founding.domain.channel, &founding.channel.name);
        if before.len() >= CHANNELS_MAX || before.iter().any(|other| other.name == *name) {
            return Err(BackupError::OutOfPlace.into());
        }
        let kept = match &charter {
            Some(charter) => charters::keep(root, charter),
            None => charters::make_folder(root, channel).map(drop),
        };
        kept.map_err(|source| RestoreError::Folder(folder_error(root, source)))?;
        let folder = charters::folder(root, channel);
        Ok(Self { founding, folder, ledger: Ledger::None })
    }

    /// Takes a part of its snapshot, the offer first.
    fn take(&mut self, part: Part) -> Result<(), RestoreError> {
        self.ledger = match (std::mem::replace(&mut self.ledger, Ledger::None), part) {
            (Ledger::None, Part::Newest(Some(offer))) => {
                let store = RocksStore::open(&self.folder.join("ledger.part"), &MemoryBudget::default())?;
                Ledger::Loading(Box::new(Joining::begin(&self.founding, *offer, store)?))
            }
            (Ledger::Loading(joining), part) => match joining.take(part)? {
                Progress::More(joining) => Ledger::Loading(Box::new(joining)),
                Progress::Done(snapshot) => Ledger::Verified(Box::new(snapshot)),
            },
            _ => return Err(BackupError::OutOfPlace.into()),
        };
        Ok(())
    }

    fn keep_signed(&mut self, transactions: &[Transaction]) -> Result<(), RestoreError> {
        match &self.ledger {
            Ledger::Verified(snapshot) => Ok(snapshot.keep_signed(transactions)?),
            _ => Err(BackupError::OutOfPlace.into()),
        }
    }

    /// Moves the ledger to its place, and says what there is.
    fn end(self) -> Result<Contained, RestoreError> {
        let Self { founding, folder, ledger } = self;
        let ledger = match ledger {
            Ledger::None => None,
            Ledger::Loading(_) => return Err(RestoreError::Ledger(JoinError::Short)),
            Ledger::Verified(snapshot) => {
                let extent = Extent { height: snapshot.height(), time: snapshot.time(), events: snapshot.size() };
                snapshot.move_to(&folder.join("ledger"))?;
                Some(extent)
            }
        };
        Ok(Contained { name: founding.channel.name, channel: founding.domain.channel, ledger })
    }
}
