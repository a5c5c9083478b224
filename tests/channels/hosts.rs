//! Real hosts: how a channel is founded, who hears of it, and what the others keep.

use crate::{
    NAME, ORGS, OUTSIDER, PATIENT_MEDIA, charter,
    common::{PATIENCE, granted, open, register_open, start},
    is_told_of_it, policy,
};
use dmdl::{
    client::Draft,
    local::{Identity, LocalClient, LocalNetwork, Shape, wall_clock},
    node::{FoundError, HostedNode},
};
use dmdl_types::{
    charter::{Charter, SignedCharter},
    event::Verdict,
    genesis::{Founding, Role},
    governance::{Change, Governance},
    id::{Height, TransactionId},
    invocation::{Authority, Invocation, Metadata},
};
use std::{fs, future::Future, io::Cursor, path::Path};
use tempfile::TempDir;

/// A network of five, and people who are on both channels.
pub(crate) struct World {
    pub(crate) nodes: LocalNetwork,
    pub(crate) owner: Identity,
    pub(crate) researcher: Identity,
    /// Of the organisation that takes no part.
    pub(crate) stranger: Identity,
    pub(crate) admins: Vec<Identity>,
    pub(crate) dir: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::start_in(Shape::default())
    }

    fn start_in(shape: Shape) -> Self {
        let person = |org: usize, name: &str, role| Identity::new(ORGS[org], name, role).unwrap();
        let owner = person(0, "owner", Role::Owner);
        let researcher = person(2, "researcher", Role::Researcher);
        let stranger = person(OUTSIDER, "stranger", Role::Owner);
        let admins: Vec<Identity> = (0..ORGS.len()).map(|org| person(org, "admin", Role::Admin)).collect();
        let people: Vec<&Identity> = [&owner, &researcher, &stranger].into_iter().chain(&admins).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut nodes = LocalNetwork::create(dir.path(), &ORGS, &people, shape).unwrap();
        nodes.start_all().unwrap();
        nodes.wait_ready(PATIENCE).unwrap();
        Self { nodes, owner, researcher, stranger, admins, dir, runtime: start::runtime(1) }
    }

    pub(crate) fn run<T>(&self, story: impl Future<Output = T>) -> T {
        self.runtime.block_on(story)
    }

    /// The charter, approved by the admins of the first so many organisations.
    pub(crate) fn charter(&self, approved: usize) -> SignedCharter {
        let admins: Vec<_> = self.admins.iter().take(approved).map(Identity::key).collect();
        let people = [&self.owner.person, &self.researcher.person];
        charter(self.nodes.genesis(), &people, &admins, wall_clock().now())
    }

    /// Has a node lose all but its keys, and start again.
    fn lose_folder(&mut self, position: usize) {
        self.nodes.stop(position);
        for entry in fs::read_dir(self.dir.path().join(ORGS[position])).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else if path.extension().is_none_or(|kind| kind != "key") {
                fs::remove_file(path).unwrap();
            }
        }
        self.nodes.start(position).unwrap();
    }

    /// Whether a node is on the second channel and has executed something of it.
    fn is_on(&self, position: usize) -> bool {
        let node = self.nodes.node(position).expect("the node runs").host().node(NAME);
        node.is_some_and(|node| node.channel().tip().height > Height::new(0))
    }

    fn all_join(&self) {
        for position in 0..OUTSIDER {
            start::eventually("a member is on the channel", || self.is_on(position));
        }
    }

    pub(crate) fn at(&self, position: usize, founding: &Founding, who: &Identity) -> LocalClient {
        self.nodes.client_on(position, founding.clone(), who, PATIENCE).expect("the node is on the channel")
    }

    /// A complete charter that says something else.
    fn charter_with(&self, change: impl FnOnce(&mut Charter)) -> SignedCharter {
        let mut charter = SignedCharter::new(self.charter(0).charter);
        change(&mut charter.charter);
        self.admins.iter().take(OUTSIDER).for_each(|admin| charter.approve(&admin.key));
        charter
    }

    /// That of a channel whose first epoch is not over in a test.
    fn lasting_charter(&self) -> SignedCharter {
        self.charter_with(|charter| charter.channel.epoch_blocks = 1000)
    }

    /// That of a channel that soon decides on members of its own: its epochs are short, and admins are among its people.
    fn governed_charter(&self) -> SignedCharter {
        self.charter_with(|charter| {
            charter.channel.epoch_blocks = 2;
            charter.people.extend(self.admins.iter().take(OUTSIDER).map(|admin| admin.person.clone()));
            charter.people.sort_by_key(|person| person.key);
        })
    }

    /// What a node has of the second channel.
    fn on_second(&self, position: usize) -> HostedNode {
        self.nodes.node(position).expect("the node runs").host().node(NAME).expect("it is on the channel")
    }

    fn height(&self, position: usize) -> Height {
        self.on_second(position).channel().tip().height
    }

    /// Founds the channel, and waits until all of its members are on it.
    pub(crate) fn found(&self) -> Founding {
        self.found_by(self.charter(OUTSIDER))
    }

    fn found_by(&self, charter: SignedCharter) -> Founding {
        assert_eq!(self.run(self.nodes.found(charter.clone())).unwrap(), charter.charter.id());
        self.all_join();
        charter.verify(self.nodes.genesis()).unwrap()
    }
}

/// Whether a file in a folder, or its name, speaks of the second channel.
fn files_tell(folder: &Path, id: &str) -> Option<String> {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if is_told_of_it(name.as_bytes()).is_some() || name.contains(id) {
            return Some(name);
        }
        let found = if path.is_dir() {
            files_tell(&path, id)
        } else {
            is_told_of_it(&fs::read(&path).unwrap_or_default()).map(|canary| format!("{name}: {canary}"))
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

#[test]
fn records_are_shared_on_two_channels_and_the_outsider_keeps_nothing_of_the_second() {
    let mut world = World::start();
    let founding = world.found();
    let main = world.nodes.genesis().founding();
    world.run(async {
        let (owner, researcher) = (world.at(0, &main, &world.owner), world.at(2, &main, &world.researcher));
        let record = register_open(&owner, b"on the first").await;
        let grant = granted(&researcher, record.record, 1).await;
        assert_eq!(open(&researcher, &record, Authority::Grant(grant)).await, b"on the first");

        let (owner, researcher) = (world.at(0, &founding, &world.owner), world.at(2, &founding, &world.researcher));
        let metadata = Metadata { media_type: PATIENT_MEDIA.to_owned(), subject: None, listed: true };
        let record = start::register_among_enough(async || {
            let draft = Draft::new(metadata.clone(), Some(policy()));
            owner.register(&b"on the second"[..], Cursor::new(Vec::new()), draft, &|_| ()).await
        })
        .await;
        assert!(owner.wait_active(record.record, record.version, PATIENCE).await.unwrap());
        let grant = granted(&researcher, record.record, 1).await;
        assert_eq!(open(&researcher, &record, Authority::Grant(grant)).await, b"on the second");
    });
    let hosted = |position: usize| world.nodes.node(position).unwrap().host().nodes().len();
    assert_eq!((0..ORGS.len()).map(hosted).collect::<Vec<_>>(), [2, 2, 2, 2, 1]);
    world.nodes.stop(OUTSIDER);
    world.nodes.stop(0);
    let id = founding.domain.channel.to_string();
    assert!(files_tell(&world.dir.path().join(ORGS[0]), &id).is_some(), "a member keeps the channel");
    assert_eq!(files_tell(&world.dir.path().join(ORGS[OUTSIDER]), &id), None);
    world.nodes.start(0).unwrap();
    start::eventually("a member that was restarted is on the channel", || world.is_on(0));
}

#[test]
fn a_member_that_was_down_hears_of_a_channel_once_it_is_up() {
    let mut world = World::start();
    world.nodes.stop(3);
    let charter = world.charter(OUTSIDER);
    world.run(world.nodes.found(charter.clone())).unwrap();
    // Three of four are a quorum.
    for position in 0..3 {
        start::eventually("a member is on the channel", || world.is_on(position));
    }
    world.nodes.start(3).unwrap();
    world.all_join();
    assert_eq!(world.run(world.nodes.found(charter.clone())).unwrap(), charter.charter.id(), "once more does no harm");
}

#[test]
fn a_charter_that_is_not_complete_or_not_the_nodes_founds_nothing() {
    let world = World::start();
    let incomplete = world.run(world.nodes.found(world.charter(OUTSIDER - 1))).unwrap_err();
    assert!(matches!(incomplete, FoundError::Charter(_)), "{incomplete}");
    let outsider = world.nodes.node(OUTSIDER).unwrap().host();
    let not_its = world.run(outsider.found(world.charter(OUTSIDER))).unwrap_err();
    assert!(matches!(not_its, FoundError::NotMember), "{not_its}");
    world.found();
    let mut second = SignedCharter::new(world.charter(0).charter);
    second.charter.seed = [8; 32];
    world.admins.iter().take(OUTSIDER).for_each(|admin| second.approve(&admin.key));
    let taken = world.run(world.nodes.found(second)).unwrap_err();
    assert!(matches!(taken, FoundError::NameTaken(_)), "{taken}");
}

/// Has somebody propose or approve something; gives the transaction.
async fn governs(admin: &LocalClient, call: Governance) -> TransactionId {
    let done = admin.call(Invocation::Governance(call)).await.unwrap();
    assert_eq!(done.event.outcome.verdict, Verdict::Applied, "{:?}", done.event.outcome.reasons);
    done.transaction
}

#[test]
fn a_node_that_a_channel_lets_in_hears_of_it_follows_and_votes() {
    let mut world = World::start();
    let founding = world.found_by(world.governed_charter());
    let (_, newcomer, address) = world.nodes.seats().nth(OUTSIDER).unwrap();
    let members = &world.nodes.genesis().members;
    let member = members.iter().find(|member| member.node == newcomer).unwrap().clone();
    let change = Change::AddNode { member, address: address.to_string() };
    let hosted = |world: &World| world.nodes.node(OUTSIDER).unwrap().host().nodes().len();
    assert_eq!(hosted(&world), 1, "nobody has told it yet");

    world.run(async {
        let at = |position: usize| world.at(position, &founding, &world.admins[position]);
        let proposal = governs(&at(0), Governance::Propose { changes: vec![change] }).await;
        for position in [1, 2] {
            governs(&at(position), Governance::Approve { proposal }).await;
        }
    });
    let is_member = || world.on_second(0).channel().config().unwrap().member(newcomer).is_some();
    start::eventually("its first epoch begins", is_member);
    start::eventually("it is on the channel", || world.is_on(OUTSIDER));
    let goal = world.height(0);
    start::eventually("it executes what the others have", || world.height(OUTSIDER) >= goal);
    assert_eq!(hosted(&world), 2);
    world.run(async {
        // People of the channel may ask at its gateway.
        let admin = world.at(OUTSIDER, &founding, &world.admins[0]);
        governs(&admin, Governance::Propose { changes: vec![Change::RemoveNode { node: newcomer }] }).await;
    });

    // Four of five are a quorum: without its votes, no block would be final any more.
    world.nodes.stop(3);
    for _ in 0..3 {
        let goal = world.height(0).next();
        start::eventually("the channel goes on", || world.height(0) >= goal);
    }
    world.nodes.start(3).unwrap();

    world.nodes.stop(OUTSIDER);
    world.nodes.start(OUTSIDER).unwrap();
    let goal = world.height(0);
    start::eventually("it is on the channel again", || world.height(OUTSIDER) >= goal);
}

#[test]
fn a_channel_begins_among_members_that_have_lost_their_folders_before() {
    let mut world = World::start_in(Shape { epoch_blocks: 4, ..Shape::default() });
    let follows = |world: &World, node: usize| world.nodes.node(node).unwrap().node().channel().follows();
    for lost in [2, 3] {
        world.lose_folder(lost);
        assert!(follows(&world, lost), "it does not know what it has voted for");
        start::eventually("it votes again", || !follows(&world, lost));
    }
    // Of four members, two have never voted before the channel was founded, and know it: three are needed.
    world.found_by(world.lasting_charter());
    assert!([2, 3].iter().all(|node| !world.on_second(*node).channel().follows()));

    // Who loses its folder after that may have voted there, and the channel is in its first epoch still.
    world.lose_folder(3);
    start::eventually("it votes again", || !follows(&world, 3));
    start::eventually("it is on the channel again", || world.is_on(3));
    assert!(world.on_second(3).channel().follows());
}
