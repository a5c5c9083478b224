//! What a block costs an orderer that checks it, and a committer that executes it, in memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is measured is valid")]

use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::{Signer as _, ed25519};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dmdl_audit_ledger::{
    contract::Judgement,
    execute::Executor,
    finalized::Finalized,
    order::{self, Checked},
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

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([seed; 32]))
}

fn node(org: u8) -> NodeId {
    NodeId::of_key(signer(org).public())
}

/// Four organisations with a node each, and one owner.
fn genesis() -> Genesis {
    let org = |org: u8| OrgId::new(format!("org-{org}")).unwrap();
    let member = |number: u8| Member {
        node: node(number),
        cosigning_key: CosigningKey::from_seed(Secret32::new([100 + number; 32])).public(),
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

fn transaction(genesis: &Genesis, number: u32) -> EndorsedTransaction {
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
fn block(genesis: &Genesis, count: u32) -> Block {
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
fn finalized(genesis: &Genesis, block: Block) -> Finalized<Block> {
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

fn blocks(c: &mut Criterion) {
    let genesis = genesis();
    let (config, next) = (genesis.epoch_config(Epoch::new(0)), genesis.epoch_config(Epoch::new(1)).digest());
    let executor = || Executor::open(MemoryStore::new(), genesis.founding(), |_, _, _, _| Judgement::Refuted).unwrap();
    for count in [1, 100, 1000] {
        let block = block(&genesis, count);
        let mut group = c.benchmark_group(format!("block of {count}"));
        group.throughput(Throughput::Elements(u64::from(count))).sample_size(10);
        let check = |checked: &Checked| order::check(&block, &genesis.domain(), &config, next, checked).unwrap();
        group.bench_function("check, every signature new", |b| {
            b.iter_batched(Checked::default, |checked| check(&checked), BatchSize::SmallInput);
        });
        let seen = Checked::default();
        check(&seen);
        group.bench_function("check, every signature seen", |b| b.iter(|| check(&seen)));
        let finalized = finalized(&genesis, block.clone());
        group.bench_function("execute", |b| {
            b.iter_batched_ref(executor, |executor| executor.execute(&finalized).unwrap(), BatchSize::SmallInput);
        });
        group.finish();
    }
}

criterion_group!(benches, blocks);
criterion_main!(benches);
