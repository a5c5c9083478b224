//! What is measured: a channel of four organisations with one owner, and blocks of their transactions.

use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::{Signer as _, ed25519};
use dmdl_audit_ledger::{
    contract::{CustodyMath, Judgement},
    execute::Executor,
    finalized::Finalized,
    store::MemoryStore,
};
use dmdl_types::{
    block::{Block, Body, Header},
    certificate::{FinalityCertificate, vote_namespace},
    checkpoint::CosigningKey,
    genesis::{ChannelConfig, Genesis, Member, NodeRoles, Person, Role},
    id::{ChannelName, DisplayName, Epoch, Height, NodeId, NoteCommitment, OrgId, UnixMillis, View},
    invocation::{Invocation, Medical, Metadata},
    mdca::MdcaConfig,
    secret::Secret32,
    sign::SigningKey,
    transaction::{EndorsedTransaction, Endorsement, TransactionBody},
};

pub(crate) fn signer(seed: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([seed; 32]))
}

pub(crate) fn node(org: u8) -> NodeId {
    NodeId::of_key(signer(org).public())
}

pub(crate) fn cosigner(org: u8) -> CosigningKey {
    CosigningKey::from_seed(Secret32::new([100 + org; 32]))
}

/// Four organisations with a node each, and one owner.
pub(crate) fn genesis() -> Genesis {
    let org = |org: u8| OrgId::new(format!("org-{org}")).unwrap();
    let member = |number: u8| Member {
        node: node(number),
        cosigning_key: cosigner(number).public(),
        org: org(number),
        roles: NodeRoles::ALL,
    };
    let mut members: Vec<Member> = (1..=4).map(member).collect();
    members.sort();
    let owner =
        Person { key: signer(9).public(), org: org(1), name: DisplayName::new("owner").unwrap(), role: Role::Owner };
    Genesis {
        version: 1,
        seed: [7; 32],
        time: UnixMillis::new(1_800_000_000_000),
        single_org_demo: false,
        members,
        people: vec![owner],
        channel: ChannelConfig {
            name: ChannelName::new("main").unwrap(),
            epoch_blocks: 1000,
            endorsements: 2,
            custody_threshold: 2,
            policy_engine: dmdl_policies::POLICY_ENGINE,
            mdca: MdcaConfig::default(),
        },
    }
}

pub(crate) fn transaction(genesis: &Genesis, number: u32) -> EndorsedTransaction {
    let (owner, domain) = (signer(9), genesis.domain());
    let mut nonce = [0; 16];
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    let metadata = Metadata { media_type: "application/dicom".to_owned(), subject: None, listed: true };
    let call = Medical::Initial { metadata, source: NoteCommitment::new([3; 32]), storage: None };
    let invocation = Invocation::Medical(call);
    let body = TransactionBody { domain, authors: vec![owner.public()], nonce, expires: Height::new(100), invocation };
    let transaction = body.sign(&[&owner]);
    let signed = transaction.digest();
    let by = |org| Endorsement::sign(&signer(org), &domain, signed, Height::new(0), Vec::new());
    let mut endorsements = vec![by(1), by(2)];
    endorsements.sort_by_key(|endorsement| endorsement.endorser);
    EndorsedTransaction { transaction, endorsements }
}

/// The first block after genesis, with so many transactions.
pub(crate) fn block(genesis: &Genesis, count: u32) -> Block {
    let (first, config) = (Block::genesis(&genesis.founding()), genesis.epoch_config(Epoch::new(0)));
    let transactions = (0..count).map(|number| transaction(genesis, number)).collect();
    let body = Body { transactions, system: Vec::new() };
    let header = Header {
        height: Height::new(1),
        view: View::new(1),
        primary: config.qualified[0],
        parent: first.digest(),
        time: genesis.time.plus_ms(1000),
        body: body.digest(),
        ..first.header
    };
    Block { header, body }
}

/// The same block, with the certificate of three of the four.
pub(crate) fn finalized(genesis: &Genesis, block: Block) -> Finalized<Block> {
    let committee = genesis.epoch_config(Epoch::new(0)).orderers();
    // Epoch 0, view 1, the parent's view 0: one byte each.
    let proposal = [&[0, 1, 0], &block.digest().as_bytes()[..]].concat();
    let namespace = [vote_namespace(&genesis.domain()), b"_FINALIZE".to_vec()].concat();
    let mut signatures = Vec::new();
    let mut bitmap = 0u8;
    for (position, member) in committee.iter().enumerate().take(3) {
        let seed = (1..=4).find(|org| node(*org) == *member).unwrap();
        let key = ed25519::PrivateKey::decode(Copying(&[seed; 32])).unwrap();
        signatures.extend_from_slice(&key.sign(&namespace, &proposal).encode());
        bitmap |= 1 << position;
    }
    let bytes = [&proposal[..], &4u64.to_be_bytes(), &[bitmap, 3], &signatures].concat();
    let certificate = FinalityCertificate::decode(&bytes).unwrap();
    Finalized::by_certificate(block, &[], &certificate, &genesis.domain(), &committee).unwrap()
}

/// A ledger in which nothing has happened yet.
pub(crate) fn executor(genesis: &Genesis, store: MemoryStore) -> Executor<MemoryStore> {
    Executor::open(store, genesis.founding(), MATH).unwrap()
}

/// Nobody complains here, and nobody hands keys on.
const MATH: CustodyMath = CustodyMath {
    judge: |_, _, _, _| Judgement::Refuted,
    is_sealed: |_, _| false,
    is_part: |_, _, _| false,
    lied: |_, _, _, _| false,
    merge: |_, _| None,
};
