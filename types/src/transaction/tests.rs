use super::*;
use crate::{
    id::{ChannelId, NetworkId, RecordId},
    invocation::Access,
    secret::Secret32,
};

fn domain(n: u8) -> Domain {
    Domain { network: NetworkId::new([n; 32]), channel: ChannelId::new([2; 32]) }
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([n; 32]))
}

fn body(authors: &[&SigningKey]) -> TransactionBody {
    TransactionBody {
        domain: domain(1),
        authors: authors.iter().map(|k| k.public()).collect(),
        nonce: [0; 16],
        expires: Height::new(100),
        invocation: Invocation::Access(Access::Erase { record: RecordId::new([5; 32]) }),
    }
}

#[test]
fn every_author_must_sign() {
    let (a, b) = (key(1), key(2));
    let both = body(&[&a, &b]).sign(&[&a, &b]);
    assert_eq!(both.verify(&domain(1)), Ok(both.body.id()));
    let one = body(&[&a, &b]).sign(&[&a]);
    assert_eq!(one.verify(&domain(1)), Err(TransactionError::Authors));
    let swapped = body(&[&a, &b]).sign(&[&b, &a]);
    assert_eq!(swapped.verify(&domain(1)), Err(TransactionError::Signature(a.public())));
    let twice = body(&[&a, &a]).sign(&[&a, &a]);
    assert_eq!(twice.verify(&domain(1)), Err(TransactionError::Authors));
    let none = body(&[]).sign(&[]);
    assert_eq!(none.verify(&domain(1)), Err(TransactionError::Authors));
}

#[test]
fn a_transaction_of_another_network_is_refused() {
    let a = key(1);
    let tx = body(&[&a]).sign(&[&a]);
    assert_eq!(tx.verify(&domain(2)), Err(TransactionError::WrongContext));
}

#[test]
fn no_changed_byte_of_a_transaction_verifies() {
    let a = key(1);
    let tx = body(&[&a]).sign(&[&a]);
    let bytes = codec::encode(&tx);
    for i in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[i] ^= 0x40;
        let accepted = codec::decode::<Transaction>(&changed, limits::TRANSACTION_BYTES)
            .is_ok_and(|tx| tx.verify(&domain(1)).is_ok());
        assert!(!accepted, "byte {i}");
    }
}

#[test]
fn an_endorsement_is_for_one_transaction_and_what_was_seen() {
    let (a, node) = (key(1), key(9));
    let tx = body(&[&a]).sign(&[&a]);
    let id = tx.body.id();
    let endorsement = Endorsement::sign(&node, &domain(1), tx.digest(), Height::new(7), vec![]);
    assert!(endorsement.verify(&domain(1), tx.digest()));
    assert!(!endorsement.verify(&domain(1), TransactionDigest::new([0; 32])));
    assert!(!Endorsement { height: Height::new(8), ..endorsement.clone() }.verify(&domain(1), tx.digest()));
    let endorsed = EndorsedTransaction { transaction: tx.clone(), endorsements: vec![endorsement.clone()] };
    assert_eq!(endorsed.verify(&domain(1)), Ok(id));
    let doubled = EndorsedTransaction { transaction: tx, endorsements: vec![endorsement.clone(), endorsement] };
    assert!(doubled.verify(&domain(1)).is_err());
}

#[test]
fn the_example_of_the_page_is_what_is_signed() {
    let page = include_str!("../../../docs/spec/transaction.md");
    let (author, endorser) = (key(1), key(9));
    let domain = Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) };
    let invocation = Invocation::Access(Access::Erase { record: RecordId::new([5; 32]) });
    let body = TransactionBody {
        domain,
        authors: vec![author.public()],
        nonce: [0; 16],
        expires: Height::new(100),
        invocation,
    };
    let transaction = body.sign(&[&author]);
    let endorsement = Endorsement::sign(&endorser, &domain, transaction.digest(), Height::new(7), Vec::new());
    let signature = hex::encode(endorsement.signature.as_bytes());
    let told = [
        format!("id      {}", transaction.body.id()),
        format!("digest  {}", transaction.digest()),
        signature[..64].to_owned(),
        signature[64..].to_owned(),
    ];
    for line in told {
        assert!(page.contains(&line), "{line}");
    }
}
