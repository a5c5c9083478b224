//! Certificates and proofs of faults: only a committee makes them.

use super::{
    Seeds,
    draw::Draw,
    fixtures::{Network, Proposal, QUORUM},
    ledger::NETWORK,
};
use dmdl_types::{
    certificate::{CertificateError, FaultProof, FinalityCertificate},
    id::BlockDigest,
};

/// Of a proposal with numbers of several bytes.
const GOOD: Proposal = Proposal { epoch: 300, view: 70_000, parent_view: 69_999, digest: [9; 32] };
const CULPRIT: u8 = 1;

pub(super) fn run(data: &[u8]) {
    let network: &Network = &NETWORK;
    if let Ok(certificate) = FinalityCertificate::decode(data) {
        assert_eq!(certificate.encode(), data, "a second encoding");
        let finalized = certificate.verify(&network.domain, &network.committee());
        assert_eq!(finalized.is_ok(), data == good(), "a certificate by nobody, or a good one refused");
    }
    if let Ok(proof) = FaultProof::decode(data) {
        // Its two votes prove the same in the other order.
        let fault = proof.verify(&network.domain, &network.committee());
        assert!(fault.is_ok() || data != network.fault(CULPRIT), "a fault is not seen");
        assert!(fault.is_err() || fault.map(|it| it.culprit()) == Ok(network.committee()[1]), "an innocent is blamed");
    }
    made(network, &mut Draw::new(data));
}

/// Whatever a committee signs is final if a quorum signed, and means what was signed.
fn made(network: &Network, draw: &mut Draw<'_>) {
    let bitmap = draw.byte();
    let proposal = Proposal { epoch: draw.long(), view: draw.long(), parent_view: draw.long(), digest: draw.array() };
    let signers: Vec<usize> = (0..4).filter(|position| bitmap >> position & 1 == 1).collect();
    let bytes = network.certificate(&proposal, &signers);
    let verify = |bytes: &[u8]| FinalityCertificate::decode(bytes)?.verify(&network.domain, &network.committee());
    match verify(&bytes) {
        Ok(finalized) => {
            let named = (finalized.epoch().get(), finalized.view().get(), finalized.digest());
            assert_eq!(named, (proposal.epoch, proposal.view, BlockDigest::new(proposal.digest)));
            assert_eq!(finalized.signers().len(), signers.len());
            assert!(signers.len() >= QUORUM, "no quorum");
        }
        Err(CertificateError::NoQuorum { got, .. }) => assert!(got == signers.len() && got < QUORUM),
        Err(error) => assert!(signers.is_empty(), "refused: {error}"),
    }
    let changed = draw.change(&bytes);
    assert!(changed == bytes || verify(&changed).is_err(), "a changed certificate verifies");
}

fn good() -> Vec<u8> {
    NETWORK.certificate(&GOOD, &[0, 2, 3])
}

pub(super) fn seeds() -> Seeds {
    vec![("certificate".into(), good()), ("fault".into(), NETWORK.fault(CULPRIT)), ("made".into(), vec![0x0f; 64])]
}
