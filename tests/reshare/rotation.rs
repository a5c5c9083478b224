//! The seven custodians of a record replaced one by one while it is opened all the time: one of them deals wrongly, one is
//! gone, and one lags behind.

use super::{V1, begun, keep_opening};
use crate::common::start::{PATIENCE, eventually, register_among_all, runtime};
use dmdl::{
    client::Draft,
    gateway::RealNode,
    keyfile,
    local::{Identity, LocalClient, LocalNetwork, Shape, os_rng},
};
use dmdl_audit_ledger::store::{Batch, Reader as _, Space, Store as _};
use dmdl_types::{
    access::ReasonCode,
    codec,
    context::DataContext,
    custody::{DealingKey, ReshareTask, SealedBytes},
    event::{Action, Event, Verdict},
    genesis::Role,
    hash,
    id::{NodeId, RecordId, ShareIndex, TransactionId},
    invocation::{Access, Invocation, Metadata, Reshare, SystemItem},
    label,
    sign::SigningKey,
    transaction::Transaction,
};
use dmdl_vault::{
    custodian::{Custodian, FileKeys, Kv as _, MemoryKv, ReleaseLimits},
    seal,
};
use std::{
    fs,
    io::Cursor,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

const NODES: usize = 7;
const ORGS: [&str; NODES] = ["aachen", "bergen", "cadiz", "dublin", "espoo", "faro", "gent"];
/// The node that people ask, which runs all the time.
const GATEWAY: usize = 6;
/// How many shares open the record: one more than nodes may fail.
const THRESHOLD: u8 = 3;
const MIN_ACKS: u8 = 5;

struct Ward {
    nodes: LocalNetwork,
    owner: Identity,
    dir: TempDir,
}

impl Ward {
    fn start() -> Self {
        let owner = Identity::new(ORGS[GATEWAY], "owner", Role::Owner).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut nodes = LocalNetwork::create(dir.path(), &ORGS, &[&owner], Shape::default()).unwrap();
        nodes.start_all().unwrap();
        nodes.wait_ready(PATIENCE).unwrap();
        Self { nodes, owner, dir }
    }

    fn at_gateway(&self, who: &Identity) -> LocalClient {
        self.nodes.client(GATEWAY, who, PATIENCE).unwrap()
    }

    fn node(&self, position: usize) -> &RealNode {
        self.nodes.node(position).expect("it runs").node()
    }

    fn id(&self, position: usize) -> NodeId {
        self.nodes.seats().nth(position).unwrap().1
    }

    /// All custodians but one.
    fn all_but(&self, left_out: usize) -> Vec<NodeId> {
        (0..NODES).filter(|position| *position != left_out).map(|position| self.id(position)).collect()
    }

    fn events(&self, record: RecordId, action: Action) -> Vec<Event> {
        let events = self.node(GATEWAY).events(0, usize::MAX).unwrap().into_iter().map(|(_, event)| event);
        events.filter(|event| event.record == Some(record) && event.action == action).collect()
    }

    /// What a custodian's node keeps of a record: rows, with shares and parts among them.
    fn kept(&self, position: usize, record: RecordId) -> usize {
        let rows = self.node(position).channel().store().scan(Space::Custody, b"", None, usize::MAX).unwrap();
        let holds = |key: &[u8]| b"sqd".contains(&key[0]) && key.windows(32).any(|part| part == record.as_bytes());
        rows.iter().filter(|(key, _)| holds(key)).count()
    }

    /// A reshare that is signed and not sent, in which this node is the first in the line of dealers.
    async fn plan_dealt_first_by(&self, dealer: usize, record: RecordId, to: &[NodeId]) -> Transaction {
        let owner = self.at_gateway(&self.owner);
        let holders = self.sharing(record).0;
        loop {
            let plan = owner.sign(reshare(record, to)).await.unwrap();
            let id = plan.body.id();
            let turn = |node: &NodeId| hash::labelled(label::CUSTODIAN_TURN, &[id.as_bytes(), node.as_bytes()]);
            if holders.iter().min_by_key(|node| turn(node)) == Some(&self.id(dealer)) {
                return plan;
            }
        }
    }

    /// Who keeps a record's key, and the commitments.
    fn sharing(&self, record: RecordId) -> (Vec<NodeId>, ReshareTask) {
        let version = self.node(GATEWAY).channel().version(record, V1).unwrap().unwrap();
        let domain = self.node(GATEWAY).channel().domain();
        let task = ReshareTask {
            transaction: TransactionId::new([0; 32]),
            data: DataContext { network: domain.network, channel: domain.channel, record, version: V1 },
            epoch: version.epoch,
            commitments: version.commitments.clone(),
            custodians: Vec::new(),
            threshold: THRESHOLD,
            min_acks: MIN_ACKS,
            holders: version.holders.nodes(),
            dealers: Vec::new(),
            parts: Vec::new(),
            acks: Vec::new(),
            merged: None,
        };
        (task.holders.clone(), task)
    }

    /// Lays a part into a node's store, as if it had dealt it for this plan: what one of the next custodians gets is not
    /// the share that the part commits to.
    async fn lay_wrong_part(&self, dealer: usize, plan: &Transaction, record: RecordId, to: &[NodeId], victim: usize) {
        let task = ReshareTask { transaction: plan.body.id(), custodians: to.to_vec(), ..self.sharing(record).1 };
        let folder = self.dir.path().join(ORGS[dealer]);
        let signer = SigningKey::from_seed(keyfile::read_secret(&folder.join("node.key")).unwrap());
        let mut keys: Vec<Option<DealingKey>> = Vec::new();
        for custodian in to {
            let minted = self.node(dealer).dealing_keys(*custodian, signer.public(), 1).await.unwrap();
            keys.push(minted.first().copied());
        }
        // The same machine as the node's, on a copy of what it keeps.
        let copy = tempfile::tempdir().unwrap();
        let domain = self.node(dealer).channel().domain();
        let custodian = folder.join("channels").join(domain.channel.to_string()).join("custodian");
        let secrets = copied_keys(&custodian, copy.path());
        let store = self.node(dealer).channel().store().clone();
        let rows = store.scan(Space::Custody, b"", None, usize::MAX).unwrap();
        let mut kv = MemoryKv::default();
        kv.commit(rows.into_iter().map(|(key, value)| (key, Some(value))).collect()).unwrap();
        let limits = ReleaseLimits::of_channel(2_000, 4_000, 2);
        let mut machine = Custodian::open(&mut os_rng(), domain, Arc::new(signer), limits, kv, secrets).unwrap();
        let mut item = machine.deal_part(&mut os_rng(), &task, &keys).unwrap();
        let indices = (1..).map(ShareIndex::new).take(to.len());
        let mut sealed: Vec<SealedBytes> =
            indices.map(|index| machine.part_for(&task, index).unwrap().unwrap()).collect();
        let SystemItem::Part { dealing, .. } = &mut item else { panic!("{item:?}") };
        // Somebody else's sealed share, registered as this one's.
        sealed[victim] = sealed[(victim + 1) % to.len()].clone();
        dealing.shares[victim].digest = seal::digest(&sealed[victim]);
        let mut key = vec![b'q'];
        key.extend_from_slice(record.as_bytes());
        key.extend_from_slice(&V1.get().to_be_bytes());
        key.extend_from_slice(&task.epoch.next().get().to_be_bytes());
        key.extend_from_slice(task.transaction.as_bytes());
        let mut batch = Batch::new();
        batch.put(Space::Custody, key, codec::encode(&(item, sealed)));
        store.commit(batch).unwrap();
    }
}

fn reshare(record: RecordId, to: &[NodeId]) -> Invocation {
    let plan = Reshare { record, version: V1, custodians: to.to_vec(), threshold: THRESHOLD, min_acks: MIN_ACKS };
    Invocation::Access(Access::Reshare(Box::new(plan)))
}

/// Opens a copy of a custodian's key store.
fn copied_keys(from: &Path, to: &Path) -> FileKeys {
    let keys = to.join("keys");
    fs::create_dir(&keys).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from.join("keys")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), keys.join(entry.file_name())).unwrap();
    }
    fs::copy(from.join("root.key"), to.join("root.key")).unwrap();
    FileKeys::open(&keys, &to.join("root.key")).unwrap()
}

#[test]
fn all_custodians_are_replaced_with_one_that_deals_wrongly_one_that_is_gone_and_one_that_lags() {
    let mut ward = Ward::start();
    let runtime = runtime(2);
    let owner = ward.at_gateway(&ward.owner);
    let registered = runtime.block_on(register_among_all(&ward.nodes, async || {
        let metadata = Metadata { media_type: "text/plain".to_owned(), subject: None, listed: true };
        let draft = Draft::new(metadata, None);
        owner.register(&b"seven of seven"[..], Cursor::new(Vec::new()), draft, &|_| ()).await
    }));
    let record = registered.record;
    let over = Arc::new(AtomicBool::new(false));
    let opened: Vec<_> = (0..2)
        .map(|_| {
            let (owner, over) = (ward.at_gateway(&ward.owner), Arc::clone(&over));
            runtime.spawn(async move { keep_opening(&owner, record, b"seven of seven", &over).await })
        })
        .collect();

    // One deals wrongly: it is found out, and named, and another's part takes the place of its own.
    let (wrong, to) = (3, ward.all_but(0));
    let plan = runtime.block_on(async {
        let plan = ward.plan_dealt_first_by(wrong, record, &to).await;
        ward.lay_wrong_part(wrong, &plan, record, &to, 0).await;
        let done = owner.submit(plan.clone()).await.unwrap();
        assert_eq!(done.event.outcome.verdict, Verdict::Applied, "{:?}", done.event.outcome);
        begun(&owner, record, 1).await;
        plan
    });
    let complaints = ward.events(record, Action::ComplainPart);
    let [complaint] = &complaints[..] else { panic!("{complaints:?}") };
    assert_eq!(NodeId::of_key(complaint.actor), to[0], "who got it says so");
    assert_eq!(complaint.outcome.verdict, Verdict::Applied);
    assert_eq!(complaint.outcome.reasons[0].code, ReasonCode::DealerFault);
    let parts = ward.events(record, Action::DealPart);
    let culprit: Vec<_> = parts.iter().filter(|part| Some(part.transaction) == complaint.refers_to).collect();
    assert!(culprit.iter().any(|part| NodeId::of_key(part.actor) == ward.id(wrong)), "{plan:?}: {parts:?}");

    // One that should deal first is gone, and comes back when the epoch has begun.
    let (gone, to) = (5, ward.all_but(1));
    let plan = runtime.block_on(ward.plan_dealt_first_by(gone, record, &to));
    ward.nodes.stop(gone);
    runtime.block_on(async {
        owner.submit(plan).await.unwrap();
        begun(&owner, record, 2).await;
    });
    ward.nodes.start(gone).unwrap();

    // One lags: it comes back in the middle.
    let (late, to) = (4, ward.all_but(2));
    let plan = runtime.block_on(ward.plan_dealt_first_by(late, record, &to));
    ward.nodes.stop(late);
    runtime.block_on(async {
        owner.submit(plan).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    });
    ward.nodes.start(late).unwrap();
    runtime.block_on(begun(&owner, record, 3));

    for (epoch, left_out) in (4..).zip(3..NODES) {
        let to = ward.all_but(left_out);
        runtime.block_on(async {
            owner.call(reshare(record, &to)).await.unwrap();
            begun(&owner, record, epoch).await;
        });
    }
    over.store(true, Ordering::Relaxed);
    let opened: u32 = opened.into_iter().map(|task| runtime.block_on(task).expect("every opening succeeded")).sum();
    assert!(opened > 20, "the record was opened all the time: {opened}");

    let left = NODES - 1;
    eventually("who left keeps nothing", || ward.kept(left, record) == 0);
    eventually("who stays keeps one share", || (0..left).all(|position| ward.kept(position, record) == 1));
    let complaints = ward.events(record, Action::ComplainPart);
    assert_eq!(complaints.len(), 1, "nobody else was blamed: {complaints:?}");
    assert!(ward.events(record, Action::Complain).is_empty());
}
