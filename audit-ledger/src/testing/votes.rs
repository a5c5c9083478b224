//! Votes and certificates by the keys of a test's organisations, as the engine signs and encodes them.

use super::{config, node_id};
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::{Signer as _, ed25519};
use dmdl_types::{block::Header, certificate::vote_namespace, genesis::EpochConfig, id::Epoch};
use std::collections::BTreeMap;

/// A finality certificate of a header, signed by organisations 1 to 3 as the engine signs.
pub(crate) fn certificate(header: &Header) -> Vec<u8> {
    certificate_by(header, &[1, 2, 3], header.epoch)
}

/// What orderers vote on, as the engine encodes it.
fn proposal(header: &Header, epoch: Epoch) -> Vec<u8> {
    let mut proposal = Vec::new();
    for number in [epoch.get(), header.view.get(), header.parent_view.get()] {
        let mut rest = number;
        while rest >= 0x80 {
            proposal.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        proposal.push(rest as u8);
    }
    proposal.extend(header.digest().as_bytes());
    proposal
}

/// The signature of organisation `org`'s node under a vote of a kind.
fn vote_signature(header: &Header, kind: &str, proposal: &[u8], org: u8) -> Vec<u8> {
    let namespace = [&vote_namespace(&header.domain), kind.as_bytes()].concat();
    let key = ed25519::PrivateKey::decode(Copying(&[org; 32])).unwrap();
    key.sign(&namespace, proposal).encode().to_vec()
}

/// The vote of organisation `org`'s node for a block, as one of this committee.
pub(crate) fn notarize_vote(header: &Header, org: u8, config: &EpochConfig) -> Vec<u8> {
    let position = config.orderers().iter().position(|orderer| *orderer == node_id(org)).unwrap();
    let proposal = proposal(header, header.epoch);
    let signature = vote_signature(header, "_NOTARIZE", &proposal, org);
    [proposal, vec![position as u8], signature].concat()
}

/// Proof that organisation `org`'s node voted for two blocks in the view of this header.
pub(crate) fn equivocation(header: &Header, org: u8, config: &EpochConfig) -> Vec<u8> {
    let other = Header { time: header.time.plus_ms(1), ..header.clone() };
    [vec![7], notarize_vote(header, org, config), notarize_vote(&other, org, config)].concat()
}

/// A certificate by the nodes of these organisations, for a header as if it were of this epoch.
pub(crate) fn certificate_by(header: &Header, orgs: &[u8], epoch: Epoch) -> Vec<u8> {
    let proposal = proposal(header, epoch);
    let mut signatures = BTreeMap::new();
    for org in orgs {
        let position = config().orderers().iter().position(|orderer| *orderer == node_id(*org)).unwrap();
        signatures.insert(position, vote_signature(header, "_FINALIZE", &proposal, *org));
    }
    let bitmap = signatures.keys().fold(0u8, |bits, position| bits | 1 << position);
    let mut out = proposal;
    out.extend(4u64.to_be_bytes());
    out.extend([bitmap, signatures.len() as u8]);
    for signature in signatures.values() {
        out.extend_from_slice(signature);
    }
    out
}
