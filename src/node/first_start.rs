//! Whether a node may vote from its first epoch on.
//!
//! A node whose folder is empty cannot tell whether it is new or has lost what it knows of its own votes, and
//! who votes twice forks the ledger. So a new node is given a *start token* with its keys, whether it founds the
//! network or joins it later: nobody has voted with keys that were never anywhere. The token is used up: from then on a
//! mark in its folder says that this is where its votes are. A folder that is lost later takes the mark with it, and no
//! token is left: the node that begins again there follows, channel by channel, until it is safe to vote again.
//!
//! What survives a crash: everything, at each step. What a caller may repeat: every call.
//!
//! # Source
//! docs/spec/keyfile.md, "A node's start token"

use crate::keyfile::{KeyFileError, disk};
use dmdl_audit_ledger::channel::Standing;
use dmdl_types::id::{NetworkId, NodeId};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The first lines of a token and of a mark.
const TOKEN_HEAD: &str = "dmdl-start-token-v1";
const MARK_HEAD: &str = "dmdl-started-v1";
/// The file of the mark, in the node's folder.
const MARK_FILE: &str = "started";

/// Why it cannot be told whether a node may vote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FirstStartError {
    /// The token is for somebody else.
    #[error("`{0}` is no start token of this node in this network: use the one that was made with its key")]
    ForeignToken(PathBuf),
    /// The folder is somebody else's.
    #[error("`{0}` says that the folder is of another node or network: give each node a folder of its own")]
    ForeignFolder(PathBuf),
    /// A token or a mark is not safe, or cannot be read, written or removed.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The ledger's folder cannot be made.
    #[error("`{path}`: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a start token says: which node of which network may vote, since its keys never have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartToken {
    /// The network.
    pub network: NetworkId,
    /// The node.
    pub node: NodeId,
}

impl StartToken {
    /// What the file of a token is called.
    pub const FILE: &str = "start-token";

    /// Writes the token to a new file, once for each node and network.
    ///
    /// # Errors
    /// [`KeyFileError::Exists`], [`KeyFileError::Write`].
    pub fn issue(&self, path: &Path) -> Result<(), KeyFileError> {
        disk::write_new(path, self.text(TOKEN_HEAD).as_bytes())
    }

    /// Uses up the token at `path`, if one is there, and says how this node stands; `folder` is where it keeps
    /// everything, and `ledger` the part of it that no node that has run is without.
    ///
    /// # Errors
    /// [`FirstStartError`].
    pub(super) fn spend(&self, path: &Path, folder: &Path, ledger: &Path) -> Result<Standing, FirstStartError> {
        let mark = folder.join(MARK_FILE);
        let (given, marked) = (self.is_in(path, TOKEN_HEAD)?, self.is_in(&mark, MARK_HEAD)?);
        if given == Some(false) {
            return Err(FirstStartError::ForeignToken(path.to_owned()));
        }
        if marked == Some(false) {
            return Err(FirstStartError::ForeignFolder(mark));
        }
        let (given, marked) = (given.is_some(), marked.is_some());
        // A mark without a ledger is what is left of a folder that was emptied: it counts for nothing.
        let is_new = !ledger.exists();
        let votes = if is_new { given } else { marked };
        match (votes, marked) {
            (true, false) => self.mark(folder)?,
            (false, true) => disk::remove(&mark)?,
            _ => {}
        }
        if votes && is_new {
            // Before the token goes: a crash after this finds a folder that was begun, and its mark.
            let above = ledger.parent().unwrap_or(folder);
            let made = fs::create_dir(ledger).and_then(|()| File::open(above)?.sync_all());
            made.map_err(|source| FirstStartError::Folder { path: ledger.to_owned(), source })?;
        }
        if given {
            disk::remove(path)?;
        }
        Ok(if votes { Standing::Votes } else { Standing::Rejoins })
    }

    /// Notes in the node's folder that its votes are there, for the next start.
    fn mark(&self, folder: &Path) -> Result<(), KeyFileError> {
        disk::write_new(&folder.join(MARK_FILE), self.text(MARK_HEAD).as_bytes())
    }

    /// Whether a file says so of this node and network; none when there is no file.
    fn is_in(&self, path: &Path, head: &str) -> Result<Option<bool>, KeyFileError> {
        match disk::read(path) {
            Ok(bytes) => Ok(Some(bytes.as_slice() == self.text(head).as_bytes())),
            Err(KeyFileError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn text(&self, head: &str) -> String {
        format!("{head}\nnetwork {}\nnode {}\n", self.network, self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use tempfile::TempDir;

    const TOKEN: StartToken = StartToken { network: NetworkId::new([1; 32]), node: NodeId::new([2; 32]) };

    /// A node's folder, and its token beside it.
    struct Host(TempDir);

    impl Host {
        fn new() -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            fs::create_dir(host.folder()).unwrap();
            TOKEN.issue(&host.token()).unwrap();
            host
        }

        fn token(&self) -> PathBuf {
            self.0.path().join(StartToken::FILE)
        }

        fn folder(&self) -> PathBuf {
            self.0.path().join("data")
        }

        fn start_as(&self, token: StartToken) -> Result<Standing, FirstStartError> {
            token.spend(&self.token(), &self.folder(), &self.folder().join("ledger"))
        }

        fn start(&self) -> Standing {
            let standing = self.start_as(TOKEN).unwrap();
            // What opens the ledger makes its folder.
            fs::create_dir_all(self.folder().join("ledger")).unwrap();
            standing
        }

        fn lose(&self, what: &str) {
            fs::remove_dir_all(self.folder().join(what)).unwrap();
            fs::create_dir_all(self.folder()).unwrap();
        }
    }

    #[test]
    fn a_new_node_votes_once_it_has_used_up_its_token_and_ever_after() {
        let host = Host::new();
        assert_eq!(host.start(), Standing::Votes);
        assert!(!host.token().exists(), "the token is used up");
        assert_eq!(host.start(), Standing::Votes);
    }

    #[test]
    fn a_node_that_lost_its_folder_rejoins() {
        let host = Host::new();
        host.start();
        host.lose("");
        assert_eq!(host.start(), Standing::Rejoins);
        assert_eq!(host.start(), Standing::Rejoins, "a restart does not make it a voter");
    }

    #[test]
    fn a_node_that_lost_all_but_the_mark_rejoins_and_goes_on_doing_so() {
        let host = Host::new();
        host.start();
        host.lose("ledger");
        assert_eq!(host.start(), Standing::Rejoins);
        assert_eq!(host.start(), Standing::Rejoins);
    }

    #[test]
    fn a_node_without_a_token_follows() {
        let host = Host::new();
        fs::remove_file(host.token()).unwrap();
        assert_eq!(host.start(), Standing::Rejoins);
    }

    #[test]
    fn a_token_is_of_no_use_to_a_folder_that_was_used_before_and_does_not_stay() {
        let host = Host::new();
        fs::create_dir(host.folder().join("ledger")).unwrap();
        assert_eq!(host.start(), Standing::Rejoins);
        assert!(!host.token().exists(), "it could serve a folder that is lost later");
    }

    #[test]
    fn a_start_that_was_cut_off_at_any_step_is_made_again() {
        let marked = Host::new();
        TOKEN.mark(&marked.folder()).unwrap();
        assert_eq!(marked.start(), Standing::Votes);
        let begun = Host::new();
        TOKEN.mark(&begun.folder()).unwrap();
        fs::create_dir(begun.folder().join("ledger")).unwrap();
        assert_eq!(begun.start(), Standing::Votes);
        assert!(!marked.token().exists() && !begun.token().exists());
    }

    #[test]
    fn a_token_or_a_folder_of_another_node_or_network_is_refused_and_left_alone() {
        let other = [
            StartToken { node: NodeId::new([3; 32]), ..TOKEN },
            StartToken { network: NetworkId::new([3; 32]), ..TOKEN },
        ];
        let (new, used) = (Host::new(), Host::new());
        used.start();
        for other in other {
            assert!(matches!(new.start_as(other), Err(FirstStartError::ForeignToken(_))));
            assert!(matches!(used.start_as(other), Err(FirstStartError::ForeignFolder(_))));
        }
        fs::write(new.token(), b"anything").unwrap();
        assert!(matches!(new.start_as(TOKEN), Err(FirstStartError::ForeignToken(_))));
        assert!(new.token().exists());
        assert_eq!(used.start(), Standing::Votes);
    }

    #[test]
    fn a_token_that_others_may_write_is_refused() {
        let host = Host::new();
        fs::set_permissions(host.token(), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(host.start_as(TOKEN), Err(FirstStartError::File(KeyFileError::Permissions { .. }))));
    }
}
