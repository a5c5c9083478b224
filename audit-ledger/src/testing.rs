//! A small network for tests: four organisations whose keys follow from their numbers, and a ledger
//! that is driven block by block.

#![expect(clippy::cast_possible_truncation, reason = "tests count to small numbers")]

mod calls;
mod votes;

use crate::{
    channel::{Channel, Pace, Standing},
    clock::WallClock,
    commitment::state::StateHash,
    contract::{CustodyMath, Judgement},
    execute::{Anchor, ExecuteError, Executed, Executor},
    finalized::Finalized,
    log,
    store::{Entry, MemoryStore, Reader, Space, Store},
    world::{RecordRow, Row, TurnCounters, VersionRow, VoiceRow},
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::{DuoCode, Permission, PolicyDocument, Purpose, ReasonCode, Terms},
    block::{Block, Body, Header},
    checkpoint::{Checkpoint, Cosignature, CosignedCheckpoint, CosigningKey},
    context::{DataContext, ReleaseContext, ShareContext},
    custody::{Dealing, DealingKey, DealtShare, Reshared, SealedBytes},
    event::{Event, Verdict},
    genesis::{ChannelConfig, EpochConfig, Founding, Genesis, Member, NodeRoles, Person, Role, faults},
    id::{
        ChannelName, DealingId, DisplayName, Epoch, GrantId, Height, NodeId, NoteCommitment, OrgId, PayloadDigest,
        RecordId, RecordVersion, ShareEpoch, ShareIndex, TransactionId, UnixMillis, View,
    },
    invocation::{Access, Authority, Invocation, Medical, Metadata, OpeningKey, PayloadInfo, Registration, SystemItem},
    mdca::MdcaConfig,
    secret::Secret32,
    sign::{Domain, SigningKey},
    transaction::{EndorsedTransaction, Endorsement, SystemBody, SystemTransaction, TransactionBody},
};

pub(crate) use calls::calls_of;
pub(crate) use votes::{certificate, certificate_by, equivocation, notarize_vote};

/// Block time of height 0.
pub(crate) const BEGIN: UnixMillis = UnixMillis::new(1_800_000_000_000);
/// Time between two blocks.
pub(crate) const BLOCK_MS: u64 = 1000;
pub(crate) const DAY_MS: u64 = 86_400_000;
/// The secret that makes the judge of these tests find the dealer at fault.
pub(crate) const DAMNING: [u8; 32] = [1; 32];

/// A clock that nobody has wound up.
pub(crate) fn stopped_clock() -> WallClock {
    WallClock::new(|| std::time::SystemTime::UNIX_EPOCH)
}

pub(crate) fn signer(seed: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([seed; 32]))
}

/// The key of organisation `org`'s node.
pub(crate) fn node(org: u8) -> SigningKey {
    signer(org)
}

pub(crate) fn node_id(org: u8) -> NodeId {
    NodeId::of_key(node(org).public())
}

pub(crate) fn cosigner(org: u8) -> CosigningKey {
    CosigningKey::from_seed(Secret32::new([100 + org; 32]))
}

/// The key of organisation `org`'s person with a role.
pub(crate) fn person(org: u8, role: Role) -> SigningKey {
    signer(10 * org + role as u8)
}

pub(crate) fn owner(org: u8) -> SigningKey {
    person(org, Role::Owner)
}

pub(crate) fn researcher(org: u8) -> SigningKey {
    person(org, Role::Researcher)
}

pub(crate) fn committee(org: u8) -> SigningKey {
    person(org, Role::Committee)
}

pub(crate) fn admin(org: u8) -> SigningKey {
    person(org, Role::Admin)
}

pub(crate) fn org_id(org: u8) -> OrgId {
    OrgId::new(format!("org-{org}")).unwrap()
}

/// Four organisations, each with a node of every role and a person of every role.
pub(crate) fn genesis() -> Genesis {
    genesis_of(4)
}

/// As many organisations, at most nine.
pub(crate) fn genesis_of(orgs: u8) -> Genesis {
    let mut members: Vec<Member> = (1..=orgs)
        .map(|org| Member {
            node: node_id(org),
            cosigning_key: cosigner(org).public(),
            org: org_id(org),
            roles: NodeRoles::ALL,
        })
        .collect();
    members.sort();
    let roles = [Role::Owner, Role::Researcher, Role::Committee, Role::Officer, Role::Admin];
    let named = |org, role| Person {
        key: person(org, role).public(),
        org: org_id(org),
        name: DisplayName::new("somebody").unwrap(),
        role,
    };
    let mut people: Vec<Person> = (1..=orgs).flat_map(|org| roles.map(|role| named(org, role))).collect();
    people.sort_by_key(|person| person.key);
    Genesis {
        version: 1,
        seed: [7; 32],
        time: BEGIN,
        single_org_demo: false,
        members,
        people,
        channel: ChannelConfig {
            name: ChannelName::new("main").unwrap(),
            epoch_blocks: 1000,
            endorsements: faults(usize::from(orgs)) as u8 + 1,
            custody_threshold: 2,
            policy_engine: dmdl_policies::POLICY_ENGINE,
            mdca: MdcaConfig::default(),
        },
    }
}

pub(crate) fn config() -> EpochConfig {
    genesis().epoch_config(Epoch::new(0))
}

/// The arithmetic of these tests: sums of bytes stand for sums of points.
pub(crate) const MATH: CustodyMath = CustodyMath { judge, is_sealed, is_part, lied, merge };

/// A sealed share is its own digest.
fn is_sealed(sealed: &SealedBytes, digest: &[u8; 32]) -> bool {
    sealed.0 == digest
}

/// A part is good unless its first commitment is all zeros.
fn is_part(_: &Reshared<'_>, _: ShareIndex, part: &Dealing) -> bool {
    part.commitments.first() != Some(&[0; 32])
}

/// A release is false when the revealed secret says so.
fn lied(_: &ReleaseContext, _: &[[u8; 32]], _: &SealedBytes, secret: &[u8; 32]) -> bool {
    *secret == DAMNING
}

fn merge(_: &Reshared<'_>, parts: &[(ShareIndex, &Dealing)]) -> Option<Vec<[u8; 32]>> {
    let (_, first) = parts.first()?;
    let sum = |at: usize| {
        let bytes = |position: usize| {
            let each = parts.iter().filter_map(|(_, part)| part.commitments.get(at)?.get(position));
            each.fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
        };
        std::array::from_fn(bytes)
    };
    Some((0..first.commitments.len()).map(sum).collect())
}

/// Finds the dealer at fault when the revealed secret says so.
fn judge(_: &ShareContext, _: &Dealing, _: &SealedBytes, secret: &[u8; 32]) -> Judgement {
    if *secret == DAMNING { Judgement::DealerFault } else { Judgement::Refuted }
}

/// A transaction with the endorsements of organisations 1 and 2.
pub(crate) fn endorse(body: TransactionBody, author: &SigningKey) -> EndorsedTransaction {
    endorse_by(body, author, &[1, 2])
}

pub(crate) fn endorse_by(body: TransactionBody, author: &SigningKey, orgs: &[u8]) -> EndorsedTransaction {
    let domain = body.domain;
    let transaction = body.sign(&[author]);
    let signed = transaction.digest();
    let by = |org: &u8| Endorsement::sign(&node(*org), &domain, signed, Height::new(0), Vec::new());
    let mut endorsements: Vec<Endorsement> = orgs.iter().map(by).collect();
    endorsements.sort_by_key(|endorsement| endorsement.endorser);
    EndorsedTransaction { transaction, endorsements }
}

/// A checkpoint with the cosignatures of these organisations.
pub(crate) fn cosigned(checkpoint: Checkpoint, orgs: &[u8]) -> CosignedCheckpoint {
    CosignedCheckpoint::new(checkpoint, orgs.iter().map(|org| cosignature(&checkpoint, *org)).collect()).unwrap()
}

pub(crate) fn cosignature(checkpoint: &Checkpoint, org: u8) -> Cosignature {
    cosigner(org).sign(checkpoint, node_id(org), 1_800_000_000)
}

pub(crate) fn permission() -> Permission {
    Permission { code: DuoCode::Gru, diseases: Vec::new() }
}

pub(crate) fn policy(template: Template) -> PolicyDocument {
    template.document(permission())
}

pub(crate) fn rules(rules: &str) -> PolicyDocument {
    PolicyDocument { permission: permission(), rules: rules.into() }
}

pub(crate) fn terms(days: u16, uses: u32) -> Terms {
    Terms {
        purpose: Purpose { code: DuoCode::Hmb, disease: None },
        days,
        uses,
        non_profit: true,
        commercial: false,
        country: None,
        project: None,
        ethics: None,
    }
}

pub(crate) fn metadata() -> Metadata {
    Metadata { media_type: "application/dicom".into(), subject: None, listed: true }
}

/// What a dealer chooses.
#[derive(Clone, Debug)]
pub(crate) struct Deal {
    /// The threshold.
    pub(crate) k: u8,
    /// The organisations whose nodes are custodians, in the order of their indices.
    pub(crate) custodians: Vec<u8>,
    pub(crate) min_acks: u8,
    pub(crate) metadata: Metadata,
    pub(crate) policy: Option<PolicyDocument>,
}

impl Default for Deal {
    fn default() -> Self {
        Self { k: 2, custodians: vec![1, 2, 3, 4], min_acks: 3, metadata: metadata(), policy: None }
    }
}

/// A channel over a store, of a node that has its votes: for reading.
pub(crate) fn channel_over<S: Store>(store: S, founding: Founding) -> Channel<(), S> {
    let node = (node_id(1), Standing::Votes);
    Channel::open((), stopped_clock(), store, founding, node, MATH, Pace::default()).unwrap().0
}

/// One node's ledger, and the clock and the primary that make its blocks.
pub(crate) struct Ledger {
    pub(crate) store: MemoryStore,
    pub(crate) executor: Executor<MemoryStore>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) time: UnixMillis,
    nonce: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self::of(genesis())
    }

    pub(crate) fn of(genesis: Genesis) -> Self {
        Self::founded(genesis.founding())
    }

    pub(crate) fn founded(founding: Founding) -> Self {
        let store = MemoryStore::new();
        let first = Block::genesis(&founding);
        let executor = Executor::open(store.clone(), founding, MATH).unwrap();
        Self { store, executor, blocks: vec![first], time: BEGIN, nonce: 0 }
    }

    pub(crate) fn domain(&self) -> Domain {
        self.executor.founding().domain
    }

    pub(crate) fn height(&self) -> Height {
        self.executor.tip().height
    }

    /// A number that was not given before.
    pub(crate) fn number(&mut self) -> u64 {
        self.nonce += 1;
        self.nonce
    }

    /// 32 bytes that were not given before.
    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [9; 32];
        bytes[..8].copy_from_slice(&self.number().to_le_bytes());
        bytes
    }

    pub(crate) fn body(&mut self, author: &SigningKey, invocation: Invocation) -> TransactionBody {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.number().to_le_bytes());
        let expires = Height::new(self.height().get() + 100);
        TransactionBody { domain: self.domain(), authors: vec![author.public()], nonce, expires, invocation }
    }

    pub(crate) fn transaction(&mut self, author: &SigningKey, invocation: Invocation) -> EndorsedTransaction {
        let body = self.body(author, invocation);
        endorse(body, author)
    }

    pub(crate) fn system(&mut self, org: u8, items: Vec<SystemItem>) -> SystemTransaction {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&self.number().to_le_bytes());
        let expires = Height::new(self.height().get() + 100);
        let body = SystemBody { domain: self.domain(), node: node_id(org), nonce, expires, items };
        SystemTransaction::sign(body, &node(org))
    }

    /// A block after the tip that follows every rule of a header.
    pub(crate) fn block(&self, transactions: Vec<EndorsedTransaction>, system: Vec<SystemTransaction>) -> Block {
        let tip = self.executor.tip();
        let channel = &self.executor.founding().channel;
        let height = tip.height.next();
        let epoch = Epoch::new(height.get() / channel.epoch_blocks);
        let config = self.executor.epoch_config(epoch).unwrap().unwrap();
        let next = self.executor.epoch_config(epoch.next()).unwrap().unwrap();
        let view = height.get() % channel.epoch_blocks + 1;
        let body = Body { transactions, system };
        let header = Header {
            domain: self.domain(),
            height,
            epoch,
            view: View::new(view),
            primary: config.qualified[(view as usize - 1) % config.qualified.len()],
            parent_view: View::new(view - 1),
            parent: tip.block,
            parent_signers: if view == 1 { Vec::new() } else { everyone(&config) },
            time: self.time.max(tip.time).plus_ms(BLOCK_MS),
            config: config.digest(),
            next_config: next.digest(),
            body: body.digest(),
            checkpoint: None,
        };
        Block { header, body }
    }

    pub(crate) fn try_push(&mut self, block: Block) -> Result<Executed, ExecuteError> {
        let done = self.executor.execute(&Finalized::delivered(block.clone()))?;
        self.time = block.header.time;
        self.blocks.push(block);
        Ok(done)
    }

    /// Executes a block, and checks what must hold after every one.
    pub(crate) fn push(&mut self, block: Block) -> Executed {
        let done = self.try_push(block).unwrap();
        let kept = StateHash::load(&self.store).unwrap().root();
        assert_eq!(kept, StateHash::recompute(&self.store).unwrap().root(), "the state hash at {}", done.tip.height);
        if let Some(checkpoint) = &done.checkpoint {
            assert_eq!(checkpoint.state, kept);
            assert_eq!(checkpoint.root, log::frontier(&self.store, done.tip.size).unwrap().root());
        }
        done
    }

    pub(crate) fn execute(
        &mut self,
        transactions: Vec<EndorsedTransaction>,
        system: Vec<SystemTransaction>,
    ) -> Executed {
        let block = self.block(transactions, system);
        self.push(block)
    }

    pub(crate) fn empty(&mut self) -> Executed {
        self.execute(Vec::new(), Vec::new())
    }

    /// Executes an empty block that carries this checkpoint with the cosignatures of organisations 1 and 2.
    pub(crate) fn carry(&mut self, checkpoint: Checkpoint) -> Executed {
        let mut block = self.block(Vec::new(), Vec::new());
        block.header.checkpoint = Some(cosigned(checkpoint, &[1, 2]));
        self.push(block)
    }

    /// The event of one call in a block of its own.
    pub(crate) fn call(&mut self, author: &SigningKey, invocation: Invocation) -> Event {
        let transaction = self.transaction(author, invocation);
        let mut done = self.execute(vec![transaction], Vec::new());
        assert_eq!(done.events.len(), 1);
        done.events.remove(0)
    }

    pub(crate) fn access(&mut self, author: &SigningKey, call: Access) -> Event {
        self.call(author, Invocation::Access(call))
    }

    pub(crate) fn medical(&mut self, author: &SigningKey, call: Medical) -> Event {
        self.call(author, Invocation::Medical(call))
    }

    /// The event of one item of a node.
    pub(crate) fn tell(&mut self, org: u8, item: SystemItem) -> Event {
        let system = self.system(org, vec![item]);
        let mut done = self.execute(Vec::new(), vec![system]);
        assert_eq!(done.events.len(), 1);
        done.events.remove(0)
    }

    /// Opens the ledger again from its store, as after a crash.
    pub(crate) fn reopen(&mut self) {
        let founding = self.executor.founding().clone();
        self.executor = Executor::open(self.store.reopen().unwrap(), founding, MATH).unwrap();
    }

    /// A first registration by this owner.
    pub(crate) fn registration(&mut self, author: &SigningKey, deal: &Deal) -> Registration {
        let domain = self.domain();
        let commitments: Vec<[u8; 32]> = (0..deal.k).map(|_| self.bytes()).collect();
        let share = |org: &u8, bytes| DealtShare {
            key: DealingKey::sign(&node(*org), &domain, author.public(), bytes),
            digest: bytes,
        };
        let shares = deal.custodians.iter().map(|org| share(org, self.bytes())).collect();
        Registration {
            record: RecordId::derive(domain.network, domain.channel, author.public(), &commitments),
            version: RecordVersion::new(1),
            metadata: deal.metadata.clone(),
            payload: PayloadInfo {
                suite: 1,
                digest: PayloadDigest::new([8; 32]),
                ciphertext_len_bytes: 1000,
                key_commitment: [4; 32],
                padding: 0,
            },
            dealing: Dealing { suite: 1, epoch: ShareEpoch::new(0), commitments, shares, min_acks: deal.min_acks },
            policy: deal.policy.clone(),
        }
    }

    /// The next version of a record by its owner.
    pub(crate) fn version(&mut self, author: &SigningKey, record: RecordId, deal: &Deal) -> Registration {
        let last = self.record(record).last_version;
        Registration { record, version: last.next(), ..self.registration(author, deal) }
    }

    /// The acknowledgement that a custodian owes for a version.
    pub(crate) fn acknowledgement(&self, record: RecordId, version: RecordVersion) -> SystemItem {
        let domain = self.domain();
        let data = DataContext { network: domain.network, channel: domain.channel, record, version };
        let row = self.version_row(record, version);
        let dealing = DealingId::derive(&data, row.epoch, &row.commitments);
        SystemItem::Acknowledge { record, version, epoch: row.epoch, dealing }
    }

    /// Registers a record and lets three custodians acknowledge it.
    pub(crate) fn active_record(&mut self, author: &SigningKey, deal: &Deal) -> RecordId {
        let registration = self.registration(author, deal);
        let record = registration.record;
        assert_eq!(self.access(author, Access::Register(Box::new(registration))).outcome.verdict, Verdict::Applied);
        self.acknowledge(record, RecordVersion::new(1));
        record
    }

    pub(crate) fn acknowledge(&mut self, record: RecordId, version: RecordVersion) {
        let item = self.acknowledgement(record, version);
        let acks = (1..=3).map(|org| self.system(org, vec![item.clone()])).collect();
        let done = self.execute(Vec::new(), acks);
        assert!(done.events.iter().all(|event| event.outcome.verdict == Verdict::Applied), "{:?}", done.events);
    }

    pub(crate) fn request(&mut self, author: &SigningKey, record: RecordId, terms: Terms) -> Event {
        self.access(author, Access::Request { record, terms, reason: NoteCommitment::new([0; 32]) })
    }

    /// A grant that a policy gives at once.
    pub(crate) fn granted(&mut self, author: &SigningKey, record: RecordId, terms: Terms) -> GrantId {
        let event = self.request(author, record, terms);
        assert_eq!(event.outcome.verdict, Verdict::Allow, "{:?}", event.outcome);
        event.outcome.grant.unwrap()
    }

    pub(crate) fn decryption(&mut self, record: RecordId, authority: Authority) -> Access {
        let keys = self.opening_keys(&[1, 2, 3, 4]);
        Access::Decrypt { record, version: RecordVersion::new(1), authority, keys }
    }

    /// One-time keys for the nodes of these organisations, sorted.
    pub(crate) fn opening_keys(&mut self, orgs: &[u8]) -> Vec<OpeningKey> {
        let mut keys: Vec<OpeningKey> =
            orgs.iter().map(|org| OpeningKey { custodian: node_id(*org), key: self.bytes() }).collect();
        keys.sort_by_key(|key| key.custodian);
        keys
    }

    pub(crate) fn decrypt(&mut self, author: &SigningKey, record: RecordId, authority: Authority) -> Event {
        let call = self.decryption(record, authority);
        self.access(author, call)
    }

    pub(crate) fn row<T: Row>(&self, key: &T::Key) -> Option<T> {
        crate::world::read(&self.store, key).unwrap()
    }

    pub(crate) fn record(&self, record: RecordId) -> RecordRow {
        self.row(&record).unwrap()
    }

    pub(crate) fn version_row(&self, record: RecordId, version: RecordVersion) -> VersionRow {
        self.row(&(record, version)).unwrap()
    }

    /// World state without what every block writes: turns and voices, and checkpoints.
    pub(crate) fn state(&self) -> Vec<Entry> {
        let entries = self.store.scan(Space::State, &[], None, usize::MAX).unwrap();
        entries
            .into_iter()
            .filter(|(key, _)| {
                let each = [TurnCounters::TABLE, VoiceRow::TABLE, Checkpoint::TABLE, Anchor::TABLE];
                !each.contains(&key[0])
            })
            .collect()
    }

    /// The last call's transaction.
    pub(crate) fn last_transaction(&self) -> TransactionId {
        self.blocks.iter().rev().find_map(|block| block.body.transactions.last()).unwrap().transaction.body.id()
    }
}

/// A bitmap that names the whole committee.
pub(crate) fn everyone(config: &EpochConfig) -> Vec<u8> {
    let orderers = config.orderers().len();
    (0..orderers.div_ceil(8)).map(|byte| ((1u16 << (orderers - byte * 8).min(8)) - 1) as u8).collect()
}

/// What became of a call, and the first reason.
pub(crate) fn told(event: &Event) -> (Verdict, Option<ReasonCode>) {
    (event.outcome.verdict, event.outcome.reasons.first().map(|reason| reason.code))
}
