//! Transactions, blocks and events of the fixed network: one of every kind.

use super::fixtures::{Network, key};
use dmdl_types::{
    access::{DuoCode, MondoId, Permission, PolicyDocument, Purpose, Reason, ReasonCode, Terms},
    block::{Block, Body, Header},
    checkpoint::CosignedCheckpoint,
    codec,
    custody::{Dealing, DealingKey, DealtShare, SealedBytes},
    event::{Action, Event, Outcome, Verdict},
    evidence::Evidence,
    genesis::{NodeRoles, Person, Role},
    governance::{Change, Governance},
    id::{
        BlockDigest, DealingId, Epoch, GrantId, Height, NodeId, NoteCommitment, PayloadDigest, RecordId, RecordVersion,
        ShareEpoch, SubjectId, TransactionId, UnixMillis, UseNumber, View,
    },
    invocation::{
        Access, Accusation, Authority, Invocation, Medical, Membership, Metadata, OpeningKey, PayloadInfo,
        Registration, Reshare, SystemItem,
    },
    sign::{Domain, PublicKey, SigningKey},
    transaction::{EndorsedTransaction, Endorsement, SystemBody, SystemTransaction, Transaction, TransactionBody},
};
use std::sync::LazyLock;

/// The record that everything is about.
pub(super) const RECORD: RecordId = RecordId::new([0x33; 32]);
const VERSION: RecordVersion = RecordVersion::new(1);
const POINT: [u8; 32] = [0xe2; 32];

/// The network of the blocks and transactions.
pub(super) static NETWORK: LazyLock<Network> = LazyLock::new(|| Network::new(1));

/// Every signed thing, as it stands in a block.
pub(super) static BODY: LazyLock<Body> = LazyLock::new(|| Body {
    transactions: invocations().into_iter().map(endorsed).collect(),
    system: vec![system(items())],
});

fn author() -> SigningKey {
    key(5)
}

fn endorsed(invocation: Invocation) -> EndorsedTransaction {
    let domain = NETWORK.domain;
    let body = TransactionBody {
        domain,
        authors: vec![author().public()],
        nonce: [7; 16],
        expires: Height::new(90),
        invocation,
    };
    let transaction = body.sign(&[&author()]);
    let signed = transaction.digest();
    let endorse = |position| Endorsement::sign(&NETWORK.node(position), &domain, signed, Height::new(8), Vec::new());
    EndorsedTransaction { transaction, endorsements: (0..2).map(endorse).collect() }
}

fn system(items: Vec<SystemItem>) -> SystemTransaction {
    let signer = NETWORK.node(0);
    let node = NodeId::of_key(signer.public());
    SystemTransaction::sign(
        SystemBody { domain: NETWORK.domain, node, nonce: [8; 16], expires: Height::new(90), items },
        &signer,
    )
}

fn invocations() -> Vec<Invocation> {
    let record = RECORD;
    let keys = vec![OpeningKey { custodian: NodeId::of_key(NETWORK.node(0).public()), key: [9; 32] }];
    let (to, request, grant) = (key(6).public(), TransactionId::new([4; 32]), GrantId::new([5; 32]));
    let person = Person {
        key: to,
        org: NETWORK.genesis.members[0].org.clone(),
        name: "dr-blue".parse().expect("a name"),
        role: Role::Researcher,
    };
    let medical = Medical::Initial { metadata: metadata(), source: NoteCommitment::new([6; 32]), storage: None };
    let access = [
        Access::Register(Box::new(registration())),
        Access::SetPolicy { record, policy: policy() },
        Access::Request { record, terms: terms(), reason: NoteCommitment::new([6; 32]) },
        Access::Approve { request },
        Access::Deny { request },
        Access::Revoke { grant },
        Access::Decrypt { record, version: VERSION, authority: Authority::Grant(grant), keys: keys.clone() },
        Access::Rekey { decryption: request, keys },
        Access::Erase { record },
        Access::Reshare(Box::new(Reshare {
            record,
            version: VERSION,
            custodians: NETWORK.genesis.members.iter().map(|member| member.node).collect(),
            threshold: 2,
            min_acks: 3,
        })),
        Access::Accuse(Box::new(Accusation {
            decryption: request,
            custodian: NETWORK.genesis.members[0].node,
            epoch: ShareEpoch::new(0),
            released: SealedBytes(vec![1; 178]),
            opening_secret: [3; 32],
        })),
    ];
    let member = NETWORK.genesis.members[0].clone();
    let (node, org) = (member.node, member.org.clone());
    let changes = vec![
        Change::AddNode { member, address: "hospital.example:7401".to_owned() },
        Change::RemoveNode { node },
        Change::SetRoles { node, roles: NodeRoles::ALL },
        Change::SetRules { rules: NETWORK.genesis.channel.clone() },
        Change::AddPerson { person: person.clone() },
        Change::RemoveOrg { org },
    ];
    let governance = [
        Governance::Propose { changes },
        Governance::Approve { proposal: request },
        Governance::Withdraw { proposal: request },
    ];
    let membership = [Membership::Enrol { person }, Membership::Suspend { key: to }, Membership::Revoke { key: to }];
    let medical = [medical, Medical::Transfer { record, to }, Medical::Delete { record }];
    (access.into_iter().map(Invocation::Access))
        .chain(membership.map(Invocation::Membership))
        .chain(medical.map(Invocation::Medical))
        .chain(governance.map(Invocation::Governance))
        .collect()
}

fn items() -> Vec<SystemItem> {
    let (record, version, epoch) = (RECORD, VERSION, ShareEpoch::new(0));
    let (plan, node) = (TransactionId::new([8; 32]), NodeId::of_key(NETWORK.node(1).public()));
    vec![
        SystemItem::Acknowledge { record, version, epoch, dealing: DealingId::new([2; 32]) },
        SystemItem::Complaint { record, version, epoch, sealed: SealedBytes(vec![1; 114]), dealing_secret: [3; 32] },
        SystemItem::Release { decryption: TransactionId::new([4; 32]), record, version, epoch, share: [5; 32] },
        SystemItem::Evidence(Box::new(Evidence::Votes { proof: NETWORK.fault(2) })),
        SystemItem::Part { plan, record, version, dealing: Box::new(dealing(&[[7; 32]; 2])) },
        SystemItem::PartComplaint {
            plan,
            record,
            version,
            epoch,
            dealer: node,
            sealed: SealedBytes(vec![1; 114]),
            dealing_secret: [3; 32],
        },
        SystemItem::PartMissing { plan, record, version, epoch, dealer: node },
        SystemItem::PartShown { plan, record, version, epoch, custodian: node, sealed: SealedBytes(vec![1; 114]) },
        SystemItem::Destroyed { record, of: None, generation: 9 },
        SystemItem::Destroyed { record, of: Some((version, epoch)), generation: 9 },
    ]
}

/// A dealing to the four nodes, as it is registered.
pub(super) fn dealing(commitments: &[[u8; 32]]) -> Dealing {
    let dealt = |position| DealtShare {
        key: DealingKey::sign(&NETWORK.node(position), &NETWORK.domain, author().public(), [position as u8; 32]),
        digest: [6; 32],
    };
    Dealing {
        suite: 1,
        epoch: ShareEpoch::new(0),
        commitments: commitments.to_vec(),
        shares: (0..4).map(dealt).collect(),
        min_acks: 3,
    }
}

fn registration() -> Registration {
    Registration {
        record: RECORD,
        version: VERSION,
        metadata: metadata(),
        payload: PayloadInfo {
            suite: 1,
            digest: PayloadDigest::new([1; 32]),
            ciphertext_len_bytes: 72,
            key_commitment: [2; 32],
            padding: 0,
        },
        dealing: dealing(&[POINT; 2]),
        policy: Some(policy()),
    }
}

fn metadata() -> Metadata {
    Metadata { media_type: "application/dicom".to_owned(), subject: Some(SubjectId::new([7; 32])), listed: true }
}

fn policy() -> PolicyDocument {
    let permission = Permission { code: DuoCode::Ds, diseases: vec![MondoId::new(5148).expect("seven digits")] };
    PolicyDocument { permission, rules: "permit (principal, action, resource);".to_owned() }
}

/// Terms within the policy.
pub(super) fn terms() -> Terms {
    Terms {
        purpose: Purpose { code: DuoCode::Ds, disease: MondoId::new(5148) },
        days: 30,
        uses: 3,
        non_profit: true,
        commercial: false,
        country: Some(*b"CH"),
        project: Some(NoteCommitment::new([8; 32])),
        ethics: None,
    }
}

/// Some of the record's events; the last one concerns no record.
pub(super) fn events() -> Vec<Event> {
    let denied = Reason { rule: Some("research".to_owned()), ..Reason::code(ReasonCode::PurposeNotPermitted) };
    let allowed = Outcome {
        grant: Some(GrantId::new([5; 32])),
        use_number: Some(UseNumber::new(1)),
        ..Outcome::of(Verdict::Allow, Reason::code(ReasonCode::PolicyPermits))
    };
    vec![
        event(1, Action::Register, Some(RECORD), Outcome::applied()),
        event(2, Action::Request, Some(RECORD), Outcome::of(Verdict::Deny, denied)),
        event(3, Action::Decrypt, Some(RECORD), allowed),
        event(4, Action::Enrol, None, Outcome::applied()),
    ]
}

fn event(height: u64, action: Action, record: Option<RecordId>, outcome: Outcome) -> Event {
    Event {
        height: Height::new(height),
        time: UnixMillis::new(1_795_372_245_000 + height),
        transaction: TransactionId::new([height as u8; 32]),
        item: 0,
        action,
        actor: author().public(),
        org: "org-1".parse().ok(),
        record,
        version: record.map(|_| VERSION),
        subject: None,
        shares: None,
        purpose: (action == Action::Request).then(|| terms().purpose),
        policy: None,
        refers_to: None,
        outcome,
    }
}

/// A header of the epoch after another header, or the first one.
pub(super) fn header(
    network: &Network,
    epoch: u64,
    after: Option<&Header>,
    checkpoint: Option<CosignedCheckpoint>,
    body: &Body,
) -> Header {
    let height = after.map_or(9, |header| header.height.get() + 1);
    Header {
        domain: network.domain,
        height: Height::new(height),
        epoch: Epoch::new(epoch),
        view: View::new(height),
        primary: network.genesis.members[0].node,
        parent_view: View::new(height - 1),
        parent: after.map_or(BlockDigest::new([1; 32]), Header::digest),
        parent_signers: vec![0b0111],
        time: UnixMillis::new(1_795_372_245_000 + height),
        config: network.config(epoch).digest(),
        next_config: network.config(epoch + 1).digest(),
        body: body.digest(),
        checkpoint,
    }
}

/// Blocks: of genesis, and with everything that a block can order.
pub(super) fn blocks() -> Vec<(String, Block)> {
    let full = Block { header: header(&NETWORK, 1, None, None, &BODY), body: BODY.clone() };
    let few = Body { transactions: BODY.transactions.iter().take(2).cloned().collect(), system: Vec::new() };
    let few = Block { header: header(&NETWORK, 1, None, None, &few), body: few };
    vec![("genesis".into(), Block::genesis(&NETWORK.genesis.founding())), ("few".into(), few), ("full".into(), full)]
}

/// Holds signed things to the keys: whatever verifies is one of the fixtures, or its signer's key has small
/// order, which no channel enrols.
pub(super) fn check_signed(domain: &Domain, transactions: &[EndorsedTransaction], system: &[SystemTransaction]) {
    if is_of_another_network(domain) {
        return;
    }
    for endorsed in transactions.iter().take(4) {
        check_transaction(domain, &endorsed.transaction);
        if endorsed.verify(domain).is_err() {
            continue;
        }
        for endorsement in &endorsed.endorsements {
            let known = BODY.transactions.iter().flat_map(|it| &it.endorsements).any(|it| it == endorsement);
            assert!(known || is_weak(endorsement.endorser.key()), "an endorsement by nobody");
        }
    }
    for system in system.iter().take(4).filter(|it| it.verify(domain).is_ok()) {
        assert!(BODY.system.contains(system) || is_weak(system.body.node.key()), "a system transaction by nobody");
    }
}

/// The same for one transaction.
pub(super) fn check_transaction(domain: &Domain, transaction: &Transaction) {
    if is_of_another_network(domain) {
        return;
    }
    if let Ok(id) = transaction.verify(domain) {
        assert_eq!(id, transaction.body.id());
        let known = BODY.transactions.iter().any(|it| codec::encode(&it.transaction) == codec::encode(transaction));
        let weak = transaction.body.authors.iter().all(|author| is_weak(*author));
        assert!(known || weak, "a transaction by nobody");
    }
}

/// A corpus outlives the fixtures: what was signed for the network of earlier ones is genuine, and none of them.
fn is_of_another_network(domain: &Domain) -> bool {
    *domain != NETWORK.domain
}

fn is_weak(key: PublicKey) -> bool {
    key.check().is_err()
}
