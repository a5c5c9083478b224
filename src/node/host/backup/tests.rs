//! Backups of a node that has no certified snapshot yet: what is in them, what is refused, and what is left of that.
//! With ledgers in them they are made and restored by real nodes, in `tests/backup.rs`.

use super::*;
use crate::node::{NodeConfig, StartToken, Votes, host::charters};
use dmdl_audit_ledger::{channel::Standing, fault::FaultSink};
use dmdl_types::{
    backup::{BackupError, Packing, Piece},
    charter::{Charter, SignedCharter},
    checkpoint::CosigningKey,
    genesis::{ChannelConfig, Genesis, Member, NodeRoles, Person, Role},
    id::{DisplayName, NodeId, OrgId},
    mdca::MdcaConfig,
    secret::Secret32,
    sign::SigningKey,
    snapshot::Part,
};
use std::{fs, path::Path};
use tempfile::TempDir;

const MADE: UnixMillis = UnixMillis::new(77);

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([n; 32]))
}

fn channel(name: &str) -> ChannelConfig {
    ChannelConfig {
        name: ChannelName::new(name).unwrap(),
        epoch_blocks: 10,
        endorsements: 2,
        custody_threshold: 2,
        policy_engine: 1,
        mdca: MdcaConfig::default(),
    }
}

/// Four organisations with a node and an admin each, whose keys are theirs plus 200.
fn genesis(seed: u8) -> Genesis {
    let org = |n| OrgId::new(format!("org-{n}")).unwrap();
    let member = |n| Member {
        node: NodeId::of_key(key(n).public()),
        cosigning_key: key(100 + n).public(),
        org: org(n),
        roles: NodeRoles::ALL,
    };
    let name = DisplayName::new("admin").unwrap();
    let admin = |n| Person { key: key(200 + n).public(), org: org(n), name: name.clone(), role: Role::Admin };
    let mut members: Vec<Member> = (1..=4).map(member).collect();
    members.sort();
    let mut people: Vec<Person> = (1..=4).map(admin).collect();
    people.sort_by_key(|person| person.key);
    let time = UnixMillis::new(1);
    Genesis { version: 1, seed: [seed; 32], time, single_org_demo: false, members, people, channel: channel("main") }
}

/// A channel's charter, approved by the admins of the first so many organisations.
fn charter(name: &str, approved: u8) -> SignedCharter {
    let genesis = genesis(7);
    let mut charter = SignedCharter::new(Charter {
        version: 1,
        network: genesis.id(),
        seed: [9; 32],
        time: UnixMillis::new(2),
        members: genesis.members,
        people: Vec::new(),
        channel: channel(name),
    });
    (1..=approved).for_each(|n| charter.approve(&key(200 + n)));
    charter
}

/// A host of the node with a key, on the network of a genesis.
struct Host(#[expect(dead_code, reason = "the folder is gone with it")] TempDir, NodeConfig);

impl Host {
    fn of(seed: u8, node: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (data, vault) = (dir.path().join("data"), dir.path().join("vault"));
        fs::create_dir(&data).unwrap();
        let config = NodeConfig {
            genesis: genesis(seed),
            key: key(node),
            cosigning: CosigningKey::from_seed(Secret32::new([100 + node; 32])),
            start_token: dir.path().join("start-token"),
            votes: Votes::Own,
            listen: "127.0.0.1:1".parse().unwrap(),
            peers: Vec::new(),
            dir: data,
            vault,
            kept_free_bytes: 0,
            faults: FaultSink::nobody(),
        };
        Self(dir, config)
    }

    /// One that has run on two channels.
    fn used() -> Self {
        let host = Self::of(7, 1);
        charters::make_folder(host.data(), host.1.genesis.channel_id()).unwrap();
        charters::keep(host.data(), &charter("trial", 4)).unwrap();
        host
    }

    fn data(&self) -> &Path {
        &self.1.dir
    }

    fn back_up(&self) -> Vec<u8> {
        let mut file = Vec::new();
        back_up(&self.1, MADE, &mut file, |_| ()).unwrap();
        file
    }

    fn restore(&self, file: &[u8]) -> Result<Restored, RestoreError> {
        restore(&self.1, file, |_| ())
    }

    fn names(&self) -> Vec<String> {
        fs::read_dir(self.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// A backup of the first node with these pieces.
fn packed(pieces: &[Piece]) -> Vec<u8> {
    let (mut packing, mut file) = Packing::begin(genesis(7).founding().domain, NodeId::of_key(key(1).public()), MADE);
    pieces.iter().for_each(|piece| file.extend(packing.piece(piece).unwrap()));
    file.extend(packing.end(&key(1)));
    file
}

#[test]
fn what_comes_back_are_the_channels_and_nothing_that_a_node_would_vote_by() {
    let (used, lost) = (Host::used(), Host::of(7, 1));
    let mut told = 0;
    let restored = restore(&lost.1, used.back_up().as_slice(), |bytes| told = bytes).unwrap();
    assert_eq!(told, used.back_up().len() as u64);
    let (first, trial) = (lost.1.genesis.channel_id(), charter("trial", 4).charter.id());
    let contained = |name, channel| Contained { name: ChannelName::new(name).unwrap(), channel, ledger: None };
    assert_eq!(restored, Restored { made: MADE, channels: vec![contained("main", first), contained("trial", trial)] });
    assert_eq!(lost.names(), ["channels"]);
    assert_eq!(charters::kept(lost.data()).unwrap(), [charter("trial", 4)]);
    assert!(charters::folder(lost.data(), first).is_dir());
    assert!(!charters::folder(lost.data(), first).join("ledger").exists(), "or it would be one of its own");
    assert_eq!(lost.back_up(), used.back_up());
}

#[test]
fn a_start_token_that_was_put_back_with_the_keys_gives_no_vote_to_what_is_restored() {
    let (used, lost, scratch) = (Host::used(), Host::of(7, 1), tempfile::tempdir().unwrap());
    let (backup, path) = (used.back_up(), &lost.1.start_token);
    let token = StartToken { network: genesis(7).id(), node: NodeId::of_key(key(1).public()) };
    token.issue(path).unwrap();
    check_backup(&lost.1, backup.as_slice(), scratch.path(), |_| ()).unwrap();
    lost.restore(&backup[..backup.len() - 1]).unwrap_err();
    assert!(path.exists(), "nothing is restored yet");
    lost.restore(&backup).unwrap();
    assert!(!path.exists());
    // Nothing was certified when the backup was made: there is no ledger in it, as in a new folder.
    let ledger = charters::folder(lost.data(), lost.1.genesis.channel_id()).join("ledger");
    let standing = token.spend(path, lost.data(), &ledger, Votes::Own).unwrap();
    assert!(matches!(standing, Standing::Rejoins(_)), "{standing:?}");
}

#[test]
fn nothing_that_can_be_taken_back_and_no_secret_is_in_it() {
    let used = Host::used();
    let channel = charters::folder(used.data(), used.1.genesis.channel_id());
    let files = ["beside/titles/aa/title", "beside/remarks/aa/remark", "custodian/keys/0", "custodian/root.key"];
    let kept = files.map(|file| channel.join(file)).into_iter();
    for file in kept.chain(["engine/votes", "started", "place"].map(|file| used.data().join(file))) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "a canary").unwrap();
    }
    let backup = used.back_up();
    assert!(!backup.windows(8).any(|window| window == b"a canary"));
    assert!(!backup.windows(32).any(|window| window == [1; 32]), "the node's key");
}

#[test]
fn a_node_that_has_never_run_has_nothing_to_back_up() {
    let new = Host::of(7, 1);
    let refused = back_up(&new.1, MADE, &mut Vec::new(), |_| ());
    assert!(matches!(refused, Err(BackUpError::Nothing(_))), "{refused:?}");
    // Nor has one of this folder on another network.
    let other = Host::of(8, 1);
    charters::make_folder(other.data(), genesis(7).channel_id()).unwrap();
    assert!(back_up(&other.1, MADE, &mut Vec::new(), |_| ()).is_err());
}

#[test]
fn a_backup_that_was_changed_or_cut_anywhere_leaves_the_folder_empty() {
    let (used, lost) = (Host::used(), Host::of(7, 1));
    let whole = used.back_up();
    // Each bit is changed where that costs nothing, in the tests of the format.
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(lost.restore(&changed).is_err(), "byte {at}");
        assert!(lost.restore(&whole[..at]).is_err(), "the first {at} bytes");
    }
    let longer = [&whole[..], b"\n"].concat();
    assert!(matches!(lost.restore(&longer), Err(RestoreError::Backup(BackupError::Trailing))));
    assert!(lost.names().is_empty());
}

#[test]
fn a_backup_of_another_network_or_node_is_refused() {
    let backup = Host::used().back_up();
    let refused = |host: Host| host.restore(&backup).unwrap_err();
    let of_network = refused(Host::of(8, 1));
    assert!(matches!(of_network, RestoreError::Backup(BackupError::OtherNetwork(_))), "{of_network}");
    let of_node = refused(Host::of(7, 2));
    assert!(matches!(of_node, RestoreError::Backup(BackupError::OtherNode(_))), "{of_node}");
}

#[test]
fn a_folder_with_anything_in_it_is_left_alone() {
    let (used, host) = (Host::used(), Host::of(7, 1));
    for name in ["started", "channels", "anything"] {
        let path = host.data().join(name);
        fs::write(&path, "mine").unwrap();
        let refused = host.restore(&used.back_up()).unwrap_err();
        assert!(matches!(&refused, RestoreError::NotEmpty { found, .. } if found == name), "{refused}");
        assert_eq!(host.names(), [name]);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        fs::remove_file(path).unwrap();
    }
    // What a disk's own folder has, and what whoever restores puts there, is nothing.
    fs::create_dir(host.data().join("lost+found")).unwrap();
    fs::write(host.data().join(".lock"), "").unwrap();
    fs::create_dir_all(host.data().join("restore.part").join("channels").join("half")).unwrap();
    host.restore(&used.back_up()).unwrap();
    let mut names = host.names();
    names.sort();
    assert_eq!(names, [".lock", "channels", "lost+found"]);
    assert!(!charters::channels(host.data()).join("half").exists(), "it is not what an earlier one left half made");
}

#[test]
fn what_the_genesis_does_not_lead_to_is_refused_although_its_node_signed_it() {
    let lost = Host::of(7, 1);
    let first = || Piece::Channel(None);
    let of = |charter| Piece::Channel(Some(Box::new(charter)));
    let unapproved = lost.restore(&packed(&[first(), of(charter("trial", 3))])).unwrap_err();
    assert!(matches!(unapproved, RestoreError::Charter(_)), "{unapproved}");
    let twice = lost.restore(&packed(&[first(), of(charter("trial", 4)), of(charter("trial", 4))])).unwrap_err();
    assert!(matches!(twice, RestoreError::Backup(BackupError::OutOfPlace)), "{twice}");
    for part in [Part::Newest(None), Part::Gone, Part::Leaves(vec![b"leaf".to_vec()]), Part::State(Vec::new())] {
        let refused = lost.restore(&packed(&[first(), Piece::Ledger(Box::new(part))])).unwrap_err();
        assert!(matches!(refused, RestoreError::Backup(BackupError::OutOfPlace)), "{refused}");
    }
    assert!(lost.names().is_empty());
}

#[test]
fn a_backup_can_be_looked_at_without_a_folder_for_it() {
    let (used, scratch) = (Host::used(), tempfile::tempdir().unwrap());
    let before = used.names();
    let found = check_backup(&used.1, used.back_up().as_slice(), scratch.path(), |_| ()).unwrap();
    assert_eq!(found.channels.len(), 2);
    assert_eq!(used.names(), before);
}
