//! Whether a node may vote from its first epoch on.
//!
//! A node whose folder is empty cannot tell whether it is new or has lost what it knows of its own votes, and
//! who votes twice forks the ledger. So a new node is given a *start token* with its keys, whether it founds the
//! network or joins it later: nobody has voted with keys that were never anywhere. The token is used up: from then on a
//! mark in its folder says that this is where its votes are. A folder that is lost later takes the mark with it, and no
//! token is left: the node that begins again there follows, channel by channel, until it is safe to vote again. A mark
//! in a copy of the folder says nothing of the votes that were cast since: what to make of a copy, an operator has to
//! say.
//!
//! What survives a crash: everything, at each step. What a caller may repeat: every call.
//!
//! # Source
//! docs/spec/keyfile.md, "A node's start token"

use super::place::{self, Found};
use crate::keyfile::{KeyFileError, disk};
use dmdl_audit_ledger::channel::{Place, Standing};
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
    #[error(
        "`{0}` says that the folder is of another node or network: give each node a folder of its own; if this is its own, \
         and the file is damaged, remove it, and the node follows until it may vote again"
    )]
    ForeignFolder(PathBuf),
    /// The folder may lack votes.
    #[error(
        "`{0}` is a copy of the folder that this node left, and may lack what the node has voted for since: say once \
         `--votes keep` if the node stood still when it was copied, and has not run elsewhere since; say `--votes forget` \
         if it is older: then the node follows, and votes again when that is safe"
    )]
    Copied(PathBuf),
    /// Nothing is to be said of it.
    #[error("`{0}` is no copy: start the node without `--votes keep`")]
    NoCopy(PathBuf),
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

/// What is to become of the votes in a node's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Votes {
    /// They are the node's, unless the folder is a copy: that is refused.
    Own,
    /// The folder is a copy, and the one that it was made of is no more: they are the node's.
    Keep,
    /// The folder is older than the node's last votes, copy or not: the node follows.
    Forget,
    /// They are the node's, copy or not: the folders of all nodes are copied together.
    Common,
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
    pub(super) fn spend(
        &self,
        path: &Path,
        folder: &Path,
        ledger: &Path,
        said: Votes,
    ) -> Result<Standing, FirstStartError> {
        let mark = folder.join(MARK_FILE);
        let (given, marked) = (self.is_in(path, TOKEN_HEAD)?, self.is_in(&mark, MARK_HEAD)?);
        if given == Some(false) {
            return Err(FirstStartError::ForeignToken(path.to_owned()));
        }
        if marked == Some(false) {
            return Err(FirstStartError::ForeignFolder(mark));
        }
        let (given, mut marked, forgets) = (given.is_some(), marked.is_some(), said == Votes::Forget);
        if marked && forgets {
            // Before the folder is a place that the mark could be taken to speak of.
            disk::remove(&mark)?;
            marked = false;
        }
        let place = place_of(folder, said)?;
        // A mark without a ledger is what is left of a folder that was emptied: it counts for nothing.
        let is_new = !ledger.exists();
        let votes = if is_new { given && !forgets } else { marked };
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
        Ok(if votes { Standing::Votes } else { Standing::Rejoins(place) })
    }

    /// Removes the token at `path`, if it is this one: of a node that has run before, and whose folder is to be without
    /// votes. Anything else that may be there no start would take for one.
    ///
    /// # Errors
    /// [`FirstStartError::File`].
    pub(super) fn discard(&self, path: &Path) -> Result<(), FirstStartError> {
        match self.is_in(path, TOKEN_HEAD)? {
            Some(true) => Ok(disk::remove(path)?),
            Some(false) | None => Ok(()),
        }
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

/// The place that a folder is, or is from now on.
///
/// The same one is settled anew at each start: a copy that was made before is known for one then, wherever it is put.
fn place_of(folder: &Path, said: Votes) -> Result<Place, FirstStartError> {
    let place = match (place::look(folder)?, said) {
        (Found::Copy(_), Votes::Own) => return Err(FirstStartError::Copied(folder.to_owned())),
        (Found::Same(_) | Found::Nothing, Votes::Keep) => return Err(FirstStartError::NoCopy(folder.to_owned())),
        (Found::Same(place), Votes::Own | Votes::Common) | (Found::Copy(place), Votes::Keep | Votes::Common) => place,
        (Found::Nothing, Votes::Own | Votes::Common) | (_, Votes::Forget) => place::new(),
    };
    place::settle(folder, place)?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, os::unix::fs::PermissionsExt as _, process::Command, time::SystemTime};
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
            token.spend(&self.token(), &self.folder(), &self.folder().join("ledger"), Votes::Own)
        }

        /// Whether it votes.
        fn start(&self) -> bool {
            self.start_saying(Votes::Own).unwrap()
        }

        fn start_saying(&self, votes: Votes) -> Result<bool, FirstStartError> {
            let standing = TOKEN.spend(&self.token(), &self.folder(), &self.folder().join("ledger"), votes)?;
            // What opens the ledger makes its folder.
            fs::create_dir_all(self.folder().join("ledger")).unwrap();
            Ok(standing == Standing::Votes)
        }

        /// Puts a copy of the folder in its place.
        fn copy(&self) {
            let copy = self.0.path().join("copy");
            assert!(Command::new("cp").arg("-a").args([&self.folder(), &copy]).status().unwrap().success());
            self.lose("");
            fs::remove_dir(self.folder()).unwrap();
            fs::rename(copy, self.folder()).unwrap();
        }

        /// Puts an older copy of the folder over it, by a program that copies folders; whether that is installed.
        fn put_older_over(&self, program: &str, args: &[&str]) -> bool {
            let (copy, place) = (self.0.path().join("copy"), self.folder().join("place"));
            // `rsync` passes by what has the size and the time of the copy, to the second.
            File::options().write(true).open(place).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            assert!(Command::new("cp").arg("-a").args([&self.folder(), &copy]).status().unwrap().success());
            assert!(self.start(), "this is what the copy lacks");
            let over = Command::new(program).args(args).args([copy.join("."), self.folder()]).status();
            if over.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                return false;
            }
            assert!(over.unwrap().success(), "{program}");
            true
        }

        fn lose(&self, what: &str) {
            fs::remove_dir_all(self.folder().join(what)).unwrap();
            fs::create_dir_all(self.folder()).unwrap();
        }
    }

    #[test]
    fn a_new_node_votes_once_it_has_used_up_its_token_and_ever_after() {
        let host = Host::new();
        assert!(host.start());
        assert!(!host.token().exists(), "the token is used up");
        assert!(host.start());
    }

    #[test]
    fn a_node_that_lost_its_folder_rejoins() {
        let host = Host::new();
        host.start();
        host.lose("");
        assert!(!host.start());
        assert!(!host.start(), "a restart does not make it a voter");
    }

    #[test]
    fn a_node_that_lost_all_but_the_mark_rejoins_and_goes_on_doing_so() {
        let host = Host::new();
        host.start();
        host.lose("ledger");
        assert!(!host.start());
        assert!(!host.start());
    }

    #[test]
    fn a_node_without_a_token_follows() {
        let host = Host::new();
        fs::remove_file(host.token()).unwrap();
        assert!(!host.start());
    }

    #[test]
    fn a_token_is_of_no_use_to_a_folder_that_was_used_before_and_does_not_stay() {
        let host = Host::new();
        fs::create_dir(host.folder().join("ledger")).unwrap();
        assert!(!host.start());
        assert!(!host.token().exists(), "it could serve a folder that is lost later");
    }

    #[test]
    fn a_start_that_was_cut_off_at_any_step_is_made_again() {
        let marked = Host::new();
        TOKEN.mark(&marked.folder()).unwrap();
        assert!(marked.start());
        let begun = Host::new();
        TOKEN.mark(&begun.folder()).unwrap();
        fs::create_dir(begun.folder().join("ledger")).unwrap();
        assert!(begun.start());
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
        assert!(used.start());
    }

    #[test]
    fn a_copy_of_the_folder_is_refused_until_somebody_says_what_it_is() {
        let host = Host::new();
        assert!(host.start());
        host.copy();
        for _ in 0..2 {
            assert!(matches!(host.start_as(TOKEN), Err(FirstStartError::Copied(_))));
        }
        assert!(host.start_saying(Votes::Keep).unwrap());
        assert!(host.start(), "it is the node's folder now");
    }

    #[test]
    fn an_older_copy_that_is_put_over_the_folder_itself_is_refused_like_any_other() {
        for (program, args) in [("cp", &["-a"][..]), ("rsync", &["-a", "--delete"][..])] {
            for said in [Votes::Keep, Votes::Forget] {
                let host = Host::new();
                host.start();
                if !host.put_older_over(program, args) {
                    assert!(env::var_os("CI").is_none(), "`{program}` is missing");
                    eprintln!("\n*** SKIPPED: `{program}` is missing; copies that it makes are NOT tested ***\n");
                    break;
                }
                for _ in 0..2 {
                    let refused = host.start_as(TOKEN);
                    assert!(matches!(refused, Err(FirstStartError::Copied(_))), "{program}: {refused:?}");
                }
                assert_eq!(host.start_saying(said).unwrap(), said == Votes::Keep);
                assert_eq!(host.start(), said == Votes::Keep);
            }
        }
    }

    #[test]
    fn a_token_is_discarded_where_it_is_one_of_this_node() {
        let host = Host::new();
        let other = StartToken { node: NodeId::new([3; 32]), ..TOKEN };
        other.discard(&host.token()).unwrap();
        assert!(host.token().exists());
        for _ in 0..2 {
            TOKEN.discard(&host.token()).unwrap();
            assert!(!host.token().exists());
        }
    }

    #[test]
    fn an_old_copy_is_a_folder_without_votes_and_does_not_become_one_with() {
        let host = Host::new();
        host.start();
        host.copy();
        assert!(!host.start_saying(Votes::Forget).unwrap());
        assert!(!host.start());
        host.copy();
        assert!(!host.start_saying(Votes::Keep).unwrap(), "there are none to keep");
    }

    #[test]
    fn votes_are_forgotten_when_somebody_says_so_and_a_token_goes_with_them() {
        let (new, used) = (Host::new(), Host::new());
        used.start();
        for host in [new, used] {
            assert!(!host.start_saying(Votes::Forget).unwrap());
            assert!(!host.start());
            assert!(!host.token().exists());
        }
    }

    #[test]
    fn nothing_is_kept_of_what_is_no_copy() {
        let host = Host::new();
        assert!(matches!(host.start_saying(Votes::Keep), Err(FirstStartError::NoCopy(_))));
        assert!(host.start(), "its token is left");
        assert!(matches!(host.start_saying(Votes::Keep), Err(FirstStartError::NoCopy(_))));
        assert!(host.start());
    }

    #[test]
    fn folders_that_are_copied_together_go_on() {
        let host = Host::new();
        host.start();
        host.copy();
        assert!(host.start_saying(Votes::Common).unwrap());
        assert!(host.start_saying(Votes::Common).unwrap());
    }

    #[test]
    fn a_folder_of_before_there_were_places_keeps_its_votes() {
        let host = Host::new();
        host.start();
        fs::remove_file(host.folder().join("place")).unwrap();
        assert!(host.start());
        host.copy();
        assert!(matches!(host.start_as(TOKEN), Err(FirstStartError::Copied(_))));
    }

    #[test]
    fn a_token_that_others_may_write_is_refused() {
        let host = Host::new();
        fs::set_permissions(host.token(), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(host.start_as(TOKEN), Err(FirstStartError::File(KeyFileError::Permissions { .. }))));
    }
}
