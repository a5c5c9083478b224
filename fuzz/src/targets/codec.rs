//! Every type that is stored, hashed, signed or sent, by a tag: one value, one encoding.

use super::{
    Seeds,
    ledger::{self, BODY, NETWORK, RECORD},
};
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{
    access::{PolicyDocument, Terms},
    block::{Block, Body, Header},
    bundle::Bundle,
    checkpoint::{Checkpoint, Committer, Cosignature, CosignedCheckpoint},
    codec::{self, DecodeError},
    context::{DataContext, ReleaseContext, ShareContext},
    custody::{Assignment, Dealing, DealingKey, SealedBytes},
    event::{Event, Outcome},
    genesis::{EpochConfig, Genesis, Person},
    id::{OrgId, UnixMillis},
    index_proof::{HeadKey, HeadProof},
    invocation::{Invocation, Registration, SystemItem},
    lineage::EpochStep,
    merkle::{ConsistencyProof, Frontier, InclusionProof, leaf_hash},
    transaction::{EndorsedTransaction, Endorsement, SystemTransaction, Transaction, TransactionBody},
};
use dmdl_vault::{
    seal::{ReleasedShare, SealedShare},
    share::WrappedShare,
};
use std::fmt::Debug;

/// No input is longer.
const LIMIT: usize = 64 * 1024;

/// The types, in the order of their tags, each with what else holds of its values.
const KINDS: &[fn(&[u8])] = &[
    |data| check(data, genesis),
    |data| check(data, |config: &EpochConfig| _ = (config.digest(), config.check_placement())),
    |data| check::<Header>(data, |_| ()),
    |data| check(data, |body: &Body| ledger::check_signed(&NETWORK.domain, &body.transactions, &body.system)),
    |data| check::<Block>(data, |_| ()),
    |data| check(data, |it: &Transaction| ledger::check_transaction(&it.body.domain, it)),
    |data| check::<TransactionBody>(data, |_| ()),
    |data| check(data, |it: &EndorsedTransaction| ledger::check_signed(&NETWORK.domain, std::slice::from_ref(it), &[])),
    |data| check::<Endorsement>(data, |_| ()),
    |data| check(data, |it: &SystemTransaction| ledger::check_signed(&NETWORK.domain, &[], std::slice::from_ref(it))),
    |data| check::<Invocation>(data, |_| ()),
    |data| check::<Registration>(data, |_| ()),
    |data| check::<SystemItem>(data, |_| ()),
    |data| check(data, event),
    |data| check::<Outcome>(data, |_| ()),
    |data| check(data, checkpoint),
    |data| check(data, cosigned),
    |data| check::<Cosignature>(data, |_| ()),
    |data| check::<Committer>(data, |_| ()),
    |data| check::<Bundle>(data, |_| ()),
    |data| check(data, head_proof),
    |data| check::<HeadKey>(data, |key| _ = key.path()),
    |data| check(data, inclusion),
    |data| check(data, consistency),
    |data| check(data, frontier),
    |data| check::<Dealing>(data, |_| ()),
    |data| check::<DealingKey>(data, |_| ()),
    |data| check::<Assignment>(data, |_| ()),
    |data| check::<SealedBytes>(data, |_| ()),
    |data| check::<DataContext>(data, |_| ()),
    |data| check::<ShareContext>(data, |_| ()),
    |data| check::<ReleaseContext>(data, |_| ()),
    |data| check(data, |document: &PolicyDocument| _ = document.id()),
    |data| check::<Terms>(data, |_| ()),
    |data| check::<Person>(data, |_| ()),
    |data| check(data, |org: &OrgId| assert_eq!(org.to_string().parse().as_ref(), Ok(org))),
    |data| check(data, |time: &UnixMillis| assert!(time.to_string().ends_with('Z'))),
    |data| check::<SealedShare>(data, |_| ()),
    |data| check::<ReleasedShare>(data, |_| ()),
    |data| check::<WrappedShare>(data, |_| ()),
    |data| check(data, step),
];

pub(super) fn run(data: &[u8]) {
    if let Some((tag, data)) = data.split_first() {
        KINDS[usize::from(*tag) % KINDS.len()](data);
    }
}

/// What is decoded encodes to the same bytes, and nothing shorter or longer decodes; `also` says what else
/// holds of a value.
fn check<T: BorshSerialize + BorshDeserialize + PartialEq + Debug>(data: &[u8], also: impl Fn(&T)) {
    match codec::decode::<T>(data, LIMIT) {
        Ok(value) => {
            assert_eq!(codec::encode(&value), data, "a second encoding");
            let limit = data.len().saturating_sub(1);
            if !data.is_empty() {
                let too_long = DecodeError::TooLong { got: data.len(), limit };
                assert_eq!(codec::decode::<T>(data, limit), Err(too_long), "no limit");
            }
            assert!(data.is_empty() || codec::decode::<T>(&data[..limit], LIMIT).is_err(), "the end is not needed");
            assert!(codec::decode::<T>(&[data, &[0]].concat(), LIMIT).is_err(), "a byte too many");
            also(&value);
        }
        Err(_) if data.len() <= LIMIT => {
            // Refused, although it can be read: only for being another spelling.
            if let Ok(value) = T::try_from_slice(data) {
                assert_ne!(codec::encode(&value), data, "the one encoding is refused");
            }
        }
        Err(_) => {}
    }
}

fn genesis(genesis: &Genesis) {
    _ = genesis.check();
    let json = serde_json::to_vec(genesis).expect("a genesis document prints");
    let read: Genesis = serde_json::from_slice(&json).expect("what is printed is read");
    assert_eq!(&read, genesis);
    assert_eq!(read.id(), genesis.id());
}

fn event(event: &Event) {
    assert_eq!(event.leaf_hash(), leaf_hash(&event.to_leaf()));
    _ = serde_json::to_value(event).expect("an event prints");
}

fn checkpoint(checkpoint: &Checkpoint) {
    assert_eq!(Checkpoint::parse(&checkpoint.to_text()).as_ref(), Ok(checkpoint), "not what was printed");
}

fn cosigned(cosigned: &CosignedCheckpoint) {
    let read = CosignedCheckpoint::parse(cosigned.to_note().as_bytes());
    assert_eq!(read.as_ref(), Ok(cosigned), "not what was printed");
    let config = NETWORK.config(1);
    let verified = cosigned.verify(&NETWORK.domain, &config.cosigners(), config.cosigners_needed());
    assert!(verified.is_err(), "a checkpoint that nobody cosigned");
}

/// Nobody certified it.
fn step(step: &EpochStep) {
    assert!(step.verify(&NETWORK.domain, &NETWORK.config(1)).is_err());
}

/// Nothing is proved about a root that nobody knows how to reach.
fn head_proof(proof: &HeadProof) {
    assert!(proof.verify(&[0x55; 32], &HeadKey::Record(RECORD)).is_err());
}

fn inclusion(proof: &InclusionProof) {
    assert!(proof.verify(&leaf_hash(b"leaf"), &[0x55; 32]).is_err());
}

fn consistency(proof: &ConsistencyProof) {
    assert!(proof.verify(&[0x55; 32], &[0x56; 32]).is_err());
}

fn frontier(frontier: &Frontier) {
    let mut grown = frontier.clone();
    let root = grown.root();
    grown.append(leaf_hash(b"leaf"));
    assert_eq!(grown.size(), frontier.size() + 1);
    assert_ne!(grown.root(), root);
}

pub(super) fn seeds() -> Seeds {
    let tagged = |name: String, tag: u8, bytes: Vec<u8>| (name, [vec![tag], bytes].concat());
    let mut seeds = vec![
        tagged("genesis".into(), 0, codec::encode(&NETWORK.genesis)),
        tagged("epoch-config".into(), 1, codec::encode(&NETWORK.config(1))),
        tagged("person".into(), 34, codec::encode(&NETWORK.genesis.people[0])),
        tagged("system".into(), 9, codec::encode(&BODY.system[0])),
        tagged("terms".into(), 33, codec::encode(&ledger::terms())),
        tagged("frontier".into(), 24, codec::encode(&grown())),
    ];
    for (number, endorsed) in BODY.transactions.iter().enumerate() {
        seeds.push(tagged(format!("transaction-{number}"), 5, codec::encode(&endorsed.transaction)));
    }
    for (number, event) in ledger::events().iter().enumerate() {
        seeds.push(tagged(format!("event-{number}"), 13, event.to_leaf()));
    }
    seeds
}

fn grown() -> Frontier {
    let mut frontier = Frontier::new();
    for event in ledger::events() {
        frontier.append(event.leaf_hash());
    }
    frontier
}
