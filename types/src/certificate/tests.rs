use super::*;
use crate::{
    id::{ChannelId, NetworkId},
    secret::Secret32,
    sign::SigningKey,
};
use commonware_codec::{Copying, DecodeExt, Encode};
use commonware_cryptography::{Signer as _, ed25519};

const DOMAIN: Domain = Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) };

/// Signs like the engine: namespace and message framed by the key itself.
fn sign(seed: u8, suffix: &[u8], message: &[u8]) -> Signature {
    let key = ed25519::PrivateKey::decode(Copying(&[seed; 32])).unwrap();
    let signed = key.sign(&namespace(&DOMAIN, suffix), message).encode();
    Signature::new(signed.to_vec().try_into().unwrap())
}

/// Seeds and keys of a committee, ascending by key.
fn committee(members: u8) -> (Vec<u8>, Vec<PublicKey>) {
    let mut pairs: Vec<_> =
        (1..=members).map(|s| (SigningKey::from_seed(Secret32::new([s; 32])).public(), s)).collect();
    pairs.sort();
    (pairs.iter().map(|p| p.1).collect(), pairs.iter().map(|p| p.0).collect())
}

fn proposal(view: u64, digest: u8) -> Proposal {
    Proposal {
        epoch: Epoch::new(300),
        view: View::new(view),
        parent_view: View::new(view - 1),
        digest: BlockDigest::new([digest; 32]),
    }
}

fn certificate(members: u8, signers: &[usize]) -> FinalityCertificate {
    let (seeds, _) = committee(members);
    let proposal = proposal(7, 9);
    let signatures = signers.iter().map(|i| (*i, sign(seeds[*i], FINALIZE, &proposal.encode()))).collect();
    FinalityCertificate { proposal, members: usize::from(members), signatures }
}

#[test]
fn a_quorum_of_the_committee_proves_finality() {
    let (_, keys) = committee(4);
    let read = FinalityCertificate::decode(&certificate(4, &[0, 2, 3]).encode()).unwrap();
    let finalized = read.verify(&DOMAIN, &keys).unwrap();
    assert_eq!((finalized.epoch().get(), finalized.view().get()), (300, 7));
    assert_eq!(finalized.digest(), BlockDigest::new([9; 32]));
    assert_eq!(finalized.signers(), [keys[0], keys[2], keys[3]]);
}

#[test]
fn the_example_in_the_specification_verifies() {
    let page = include_str!("../../../docs/spec/certificate.md");
    let example = page.split("## Example").nth(1).unwrap().split("## ").next().unwrap();
    let hex: String = example.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let bytes = hex::decode(hex).unwrap();
    assert_eq!(bytes.len(), 237);
    let (_, keys) = committee(4);
    let finalized = FinalityCertificate::decode(&bytes).unwrap().verify(&DOMAIN, &keys).unwrap();
    assert_eq!((finalized.epoch().get(), finalized.view().get()), (0, 5));
    assert_eq!(finalized.signers(), [keys[0], keys[2], keys[3]]);
}

#[test]
fn one_signer_less_than_a_quorum_proves_nothing() {
    let (_, keys) = committee(4);
    let got = certificate(4, &[1, 2]).verify(&DOMAIN, &keys);
    assert_eq!(got, Err(CertificateError::NoQuorum { got: 2, needed: 3 }));
}

#[test]
fn the_quorum_is_all_but_the_tolerated_faults() {
    assert_eq!([1, 2, 3, 4, 5, 6, 7, 10].map(quorum), [1, 2, 3, 3, 4, 5, 5, 7]);
}

#[test]
fn another_channel_committee_or_order_is_refused() {
    let (_, keys) = committee(4);
    let made = certificate(4, &[0, 1, 2]);
    let elsewhere = Domain { channel: ChannelId::new([3; 32]), ..DOMAIN };
    assert!(matches!(made.verify(&elsewhere, &keys), Err(CertificateError::BadSignature { .. })));
    let reversed: Vec<_> = keys.iter().rev().copied().collect();
    assert_eq!(made.verify(&DOMAIN, &reversed), Err(CertificateError::NotACommittee));
    assert_eq!(made.verify(&DOMAIN, &[keys[0]; 4]), Err(CertificateError::NotACommittee));
    assert_eq!(made.verify(&DOMAIN, &[]), Err(CertificateError::NotACommittee));
    assert_eq!(
        made.verify(&DOMAIN, &committee(7).1),
        Err(CertificateError::OtherCommittee { certificate: 4, committee: 7 })
    );
}

#[test]
fn notarize_votes_do_not_prove_finality() {
    let (seeds, keys) = committee(4);
    let mut made = certificate(4, &[0, 1, 2]);
    let message = made.proposal.encode();
    for (i, signature) in &mut made.signatures {
        *signature = sign(seeds[*i], NOTARIZE, &message);
    }
    assert!(matches!(made.verify(&DOMAIN, &keys), Err(CertificateError::BadSignature { .. })));
}

#[test]
fn no_single_bit_can_change() {
    let (_, keys) = committee(4);
    let bytes = certificate(4, &[0, 2, 3]).encode();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let accepted = FinalityCertificate::decode(&changed).is_ok_and(|c| c.verify(&DOMAIN, &keys).is_ok());
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn a_second_encoding_is_refused() {
    let bytes = certificate(4, &[0, 2, 3]).encode();
    // After the proposal: epoch in two bytes, two views in one each, the digest.
    let bitmap = 4 + 32 + 8;
    let mut bit_past_the_end = bytes.clone();
    bit_past_the_end[bitmap] |= 0x80;
    let mut padded_varint = bytes.clone();
    padded_varint.splice(2..3, [0x87, 0x00]);
    let mut trailing = bytes.clone();
    trailing.push(0);
    let mut count = bytes.clone();
    count[bitmap + 1] = 2;
    let mut no_one = bytes.clone();
    no_one[bitmap] = 0;
    for bad in [bit_past_the_end, padded_varint, trailing, count, no_one, Vec::new(), vec![0xff; 64]] {
        assert_eq!(FinalityCertificate::decode(&bad), Err(CertificateError::Malformed));
    }
    for cut in 0..bytes.len() {
        assert_eq!(FinalityCertificate::decode(&bytes[..cut]), Err(CertificateError::Malformed));
    }
}

#[test]
fn a_huge_member_count_is_refused_before_it_is_allocated() {
    let mut bytes = certificate(4, &[0, 1, 2]).encode();
    bytes[36..44].copy_from_slice(&u64::MAX.to_be_bytes());
    assert_eq!(FinalityCertificate::decode(&bytes), Err(CertificateError::Malformed));
}

/// Encodes a vote as it stands in a fault proof.
fn vote(seed: u8, position: u8, suffix: &[u8], subject: &[u8]) -> Vec<u8> {
    [subject, &[position], sign(seed, suffix, subject).as_bytes()].concat()
}

#[test]
fn contradicting_votes_prove_a_fault_of_their_signer() {
    let (seeds, keys) = committee(4);
    let (a, b) = (proposal(7, 1).encode(), proposal(7, 2).encode());
    let round = [0xac, 0x02, 7];
    let proofs = [
        (FaultKind::ConflictingNotarize, vec![7], vote(seeds[1], 1, NOTARIZE, &a), vote(seeds[1], 1, NOTARIZE, &b)),
        (FaultKind::ConflictingFinalize, vec![8], vote(seeds[1], 1, FINALIZE, &a), vote(seeds[1], 1, FINALIZE, &b)),
        (FaultKind::NullifyFinalize, vec![9], vote(seeds[1], 1, NULLIFY, &round), vote(seeds[1], 1, FINALIZE, &b)),
    ];
    for (kind, tag, first, second) in proofs {
        let proof = FaultProof::decode(&[tag, first, second].concat()).unwrap();
        let fault = proof.verify(&DOMAIN, &keys).unwrap();
        assert_eq!((fault.kind(), fault.culprit()), (kind, keys[1]));
        assert_eq!((fault.epoch().get(), fault.view().get()), (300, 7));
    }
}

#[test]
fn nobody_is_blamed_for_votes_that_agree_or_that_are_not_theirs() {
    let (seeds, keys) = committee(4);
    let (a, b, later) = (proposal(7, 1).encode(), proposal(7, 2).encode(), proposal(8, 2).encode());
    let of = |seed: usize, position: u8, subject: &[u8]| vote(seeds[seed], position, NOTARIZE, subject);
    let check = |first: Vec<u8>, second: Vec<u8>| {
        FaultProof::decode(&[vec![7], first, second].concat()).unwrap().verify(&DOMAIN, &keys)
    };
    assert_eq!(check(of(1, 1, &a), of(1, 1, &a)), Err(FaultError::NoContradiction));
    assert_eq!(check(of(1, 1, &a), of(1, 1, &later)), Err(FaultError::NoContradiction));
    assert_eq!(check(of(1, 1, &a), of(2, 2, &b)), Err(FaultError::NoContradiction));
    assert_eq!(check(of(1, 1, &a), of(2, 1, &b)), Err(FaultError::BadSignature));
    assert_eq!(check(of(1, 9, &a), of(1, 9, &b)), Err(FaultError::UnknownSigner(9)));
}

#[test]
fn a_fault_proof_has_one_encoding() {
    let (seeds, _) = committee(4);
    let (a, b) = (proposal(7, 1).encode(), proposal(7, 2).encode());
    let bytes = [vec![7], vote(seeds[1], 1, NOTARIZE, &a), vote(seeds[1], 1, NOTARIZE, &b)].concat();
    assert!(FaultProof::decode(&bytes).is_ok());
    for cut in 0..bytes.len() {
        assert_eq!(FaultProof::decode(&bytes[..cut]), Err(FaultError::Malformed));
    }
    assert_eq!(FaultProof::decode(&[&bytes[..], &[0]].concat()), Err(FaultError::Malformed));
    assert_eq!(FaultProof::decode(&[&[6], &bytes[1..]].concat()), Err(FaultError::Malformed));
}
