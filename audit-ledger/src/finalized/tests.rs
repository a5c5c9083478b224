use super::*;
use crate::testing::*;
use dmdl_types::{
    id::{Epoch, Height},
    transaction::{SystemBody, SystemTransaction},
};

fn links(ledger: &Ledger, from: usize) -> Vec<Header> {
    ledger.blocks[from..].iter().map(|block| block.header.clone()).collect()
}

fn three_blocks() -> Ledger {
    let mut ledger = Ledger::new();
    for _ in 0..3 {
        ledger.empty();
    }
    ledger
}

#[test]
fn a_certificate_makes_its_block_and_the_blocks_before_it_final() {
    let ledger = three_blocks();
    let committee = config().orderers();
    let certificate = FinalityCertificate::decode(&certificate(&ledger.blocks[3].header)).unwrap();
    for height in 1..=3 {
        let block = ledger.blocks[height].clone();
        let links = links(&ledger, height + 1);
        let done = Finalized::by_certificate(block.clone(), &links, &certificate, &ledger.domain(), &committee);
        assert_eq!(done.unwrap().into_inner(), block);
    }
}

#[test]
fn headers_that_do_not_lead_to_the_certificate_prove_nothing() {
    let ledger = three_blocks();
    let committee = config().orderers();
    let certificate = FinalityCertificate::decode(&certificate(&ledger.blocks[3].header)).unwrap();
    let first = ledger.blocks[1].clone();
    let mut altered = first.clone();
    altered.header.height = Height::new(9);
    let all = links(&ledger, 2);
    let rows = [
        ("no links", first.clone(), vec![]),
        ("a gap", first.clone(), links(&ledger, 3)),
        ("too short", first.clone(), vec![all[0].clone()]),
        ("out of order", first.clone(), vec![all[1].clone(), all[0].clone()]),
        ("a link twice", first, vec![all[0].clone(), all[0].clone(), all[1].clone()]),
        ("another block", altered, all),
    ];
    for (name, block, links) in rows {
        let done = Finalized::by_certificate(block, &links, &certificate, &ledger.domain(), &committee);
        assert!(matches!(done, Err(FinalityError::Links)), "{name}");
    }
}

#[test]
fn a_committee_settles_no_block_of_another_epoch_than_its_own() {
    let ledger = three_blocks();
    let committee = config().orderers();
    let (block, next) = (ledger.blocks[1].clone(), Epoch::new(1));
    let mut moved = links(&ledger, 2);
    moved[0].epoch = next;
    moved[1].parent = moved[0].digest();
    let rows = [
        ("the certificate", vec![], certificate_by(&block.header, &[1, 2, 3], next)),
        ("the certificate and its header", vec![moved[0].clone()], certificate(&moved[0])),
        ("a header between", moved.clone(), certificate(&moved[1])),
        ("the header alone", vec![moved[0].clone()], certificate_by(&moved[0], &[1, 2, 3], Epoch::new(0))),
    ];
    for (name, links, bytes) in rows {
        let certificate = FinalityCertificate::decode(&bytes).unwrap();
        let done = Finalized::by_certificate(block.clone(), &links, &certificate, &ledger.domain(), &committee);
        assert!(matches!(done, Err(FinalityError::Epoch)), "{name}: {done:?}");
    }
}

#[test]
fn a_body_that_the_header_does_not_name_is_not_final() {
    let ledger = three_blocks();
    let committee = config().orderers();
    let mut block = ledger.blocks[1].clone();
    let certificate = FinalityCertificate::decode(&certificate(&block.header)).unwrap();
    block.body.system = vec![SystemTransaction::sign(
        SystemBody {
            domain: ledger.domain(),
            node: node_id(1),
            nonce: [1; 16],
            expires: Height::new(9),
            items: Vec::new(),
        },
        &node(1),
    )];
    let done = Finalized::by_certificate(block, &[], &certificate, &ledger.domain(), &committee);
    assert!(matches!(done, Err(FinalityError::Body)), "{done:?}");
}

#[test]
fn a_certificate_of_another_ledger_or_of_too_few_proves_nothing() {
    let ledger = three_blocks();
    let committee = config().orderers();
    let header = &ledger.blocks[1].header;
    let block = ledger.blocks[1].clone();
    let mut other = genesis();
    other.seed = [8; 32];
    let rows = [
        ("two of four", certificate_by(header, &[1, 2], Epoch::new(0)), ledger.domain()),
        ("another network", certificate(header), other.domain()),
    ];
    for (name, bytes, domain) in rows {
        let certificate = FinalityCertificate::decode(&bytes).unwrap();
        let done = Finalized::by_certificate(block.clone(), &[], &certificate, &domain, &committee);
        assert!(matches!(done, Err(FinalityError::Certificate(_))), "{name}");
    }
}
