//! What the engine makes, read without the engine: certificates and fault evidence.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_consensus::{
    simplex::{
        scheme::ed25519::Scheme,
        types::{
            Activity, ConflictingFinalize, ConflictingNotarize, Finalization, Finalize, Notarize, Nullify,
            NullifyFinalize, Proposal,
        },
    },
    types::{Epoch, Round, View},
};
use commonware_cryptography::{ed25519, sha256::Digest};
use commonware_parallel::Sequential;
use commonware_utils::{non_empty, ordered::Set};
use dmdl_types::{
    certificate::{FaultError, FaultKind, FaultProof, FinalityCertificate, vote_namespace},
    id::{ChannelId, NetworkId},
    secret::Secret32,
    sign::{Domain, PublicKey, SigningKey},
};

const DOMAIN: Domain = Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) };

fn proposal(payload: u8) -> Proposal<Digest> {
    Proposal::new(Round::new(Epoch::new(300), View::new(20_000)), View::new(19_999), Digest([payload; 32]))
}

/// Four keys, ascending, and what one of them signs with.
fn committee(signer: usize) -> (Vec<PublicKey>, Scheme) {
    let mut seeds: Vec<u8> = (1..=4).collect();
    seeds.sort_by_key(|seed| SigningKey::from_seed(Secret32::new([*seed; 32])).public());
    let keys: Vec<_> = seeds.iter().map(|seed| SigningKey::from_seed(Secret32::new([*seed; 32])).public()).collect();
    let engine_keys = keys.iter().map(|key| ed25519::PublicKey::decode(Copying(key.as_bytes())).unwrap());
    let signer = ed25519::PrivateKey::decode(Copying(&[seeds[signer]; 32])).unwrap();
    let scheme = Scheme::signer(&vote_namespace(&DOMAIN), Set::from_iter_dedup(engine_keys), signer).unwrap();
    (keys, scheme)
}

#[test]
fn the_example_in_the_specification_is_what_the_engine_makes() {
    let proposal = Proposal::new(Round::new(Epoch::new(0), View::new(5)), View::new(4), Digest([9; 32]));
    let votes: Vec<_> =
        [0, 2, 3].map(|signer| Finalize::sign(&committee(signer).1, proposal.clone()).unwrap()).into_iter().collect();
    let certificate = Finalization::from_finalizes(&committee(0).1, non_empty![@&votes], &Sequential).unwrap().encode();
    let hex: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
    let page: String = include_str!("../../docs/spec/certificate.md").split_whitespace().collect();
    assert!(page.contains(&hex), "docs/spec/certificate.md lacks {hex}");

    let read = FinalityCertificate::decode(&certificate).unwrap();
    assert_eq!(read.verify(&DOMAIN, &committee(0).0).unwrap().signers().len(), 3);
}

#[test]
fn every_kind_of_evidence_names_the_same_culprit_here_as_in_the_engine() {
    let (keys, scheme) = committee(2);
    let notarize = |payload| Notarize::sign(&scheme, proposal(payload)).unwrap();
    let finalize = |payload| Finalize::sign(&scheme, proposal(payload)).unwrap();
    let nullify = Nullify::sign::<Digest>(&scheme, proposal(1).round).unwrap();
    let evidence = [
        (
            FaultKind::ConflictingNotarize,
            Activity::ConflictingNotarize(ConflictingNotarize::new(notarize(1), notarize(2))),
        ),
        (
            FaultKind::ConflictingFinalize,
            Activity::ConflictingFinalize(ConflictingFinalize::new(finalize(1), finalize(2))),
        ),
        (FaultKind::NullifyFinalize, Activity::NullifyFinalize(NullifyFinalize::new(nullify, finalize(1)))),
    ];
    for (kind, activity) in evidence {
        let bytes = activity.encode();
        let proof = FaultProof::decode(&bytes).unwrap();
        let fault = proof.verify(&DOMAIN, &keys).unwrap();
        assert_eq!((fault.kind(), fault.culprit()), (kind, keys[2]));
        assert_eq!((fault.epoch().get(), fault.view().get()), (300, 20_000));

        let elsewhere = Domain { channel: ChannelId::new([3; 32]), ..DOMAIN };
        assert_eq!(proof.verify(&elsewhere, &keys), Err(FaultError::BadSignature));
    }
}

#[test]
fn an_ordinary_vote_is_no_evidence() {
    let (_, scheme) = committee(2);
    let vote = Activity::Notarize(Notarize::sign(&scheme, proposal(1)).unwrap());
    assert_eq!(FaultProof::decode(&vote.encode()), Err(FaultError::Malformed));
}
