//! Finality certificates, taken apart and put together again in every wrong way.
//!
//! # Source
//! docs/spec/certificate.md

use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::{Signer as _, ed25519};
use dmdl_types::{block::Header, certificate::vote_namespace, sign::Domain};

/// The end of the namespace of votes to finalize.
pub(crate) const FINALIZE: &[u8] = b"_FINALIZE";
/// The end of the namespace of votes to notarize, which settle nothing.
pub(crate) const NOTARIZE: &[u8] = b"_NOTARIZE";

/// What is voted on.
#[derive(Clone, Copy)]
pub(crate) struct Proposal {
    pub(crate) epoch: u64,
    pub(crate) view: u64,
    pub(crate) parent_view: u64,
    pub(crate) digest: [u8; 32],
}

impl Proposal {
    /// The place that a header says it was proposed in.
    pub(crate) fn of(header: &Header) -> Self {
        Self {
            epoch: header.epoch.get(),
            view: header.view.get(),
            parent_view: header.parent_view.get(),
            digest: *header.digest().as_bytes(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.epoch, self.view, self.parent_view] {
            write_varint(&mut out, number);
        }
        out.extend(self.digest);
        out
    }

    /// The vote of a key on it.
    pub(crate) fn vote(&self, domain: &Domain, kind: &[u8], seed: &[u8; 32]) -> [u8; 64] {
        let key = ed25519::PrivateKey::decode(Copying(seed)).unwrap();
        let signed = key.sign(&[&vote_namespace(domain), kind].concat(), &self.encode()).encode();
        signed.to_vec().try_into().unwrap()
    }
}

/// A certificate of a committee of at most eight, each part as it likes.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) proposal: Proposal,
    pub(crate) members: u64,
    pub(crate) bitmap: u8,
    pub(crate) count: u64,
    pub(crate) signatures: Vec<[u8; 64]>,
}

impl Certificate {
    /// A certificate of four by members at these positions, ascending, with their votes.
    pub(crate) fn of(proposal: Proposal, votes: &[(usize, [u8; 64])]) -> Self {
        Self {
            proposal,
            members: 4,
            bitmap: votes.iter().fold(0, |bits, (position, _)| bits | 1 << position),
            count: votes.len() as u64,
            signatures: votes.iter().map(|(_, vote)| *vote).collect(),
        }
    }

    /// Takes a real certificate apart.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        let [epoch, view, parent_view] = [(); 3].map(|()| read_varint(&mut rest));
        let digest = take(&mut rest);
        let members = u64::from_be_bytes(take(&mut rest));
        let [bitmap] = take(&mut rest);
        let count = read_varint(&mut rest);
        let signatures = (0..count).map(|_| take(&mut rest)).collect();
        assert!(rest.is_empty());
        Self { proposal: Proposal { epoch, view, parent_view, digest }, members, bitmap, count, signatures }
    }

    /// The position of its first signer.
    pub(crate) fn first_signer(&self) -> usize {
        self.bitmap.trailing_zeros() as usize
    }

    /// Puts it together.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.proposal.encode();
        out.extend(self.members.to_be_bytes());
        out.push(self.bitmap);
        write_varint(&mut out, self.count);
        self.signatures.iter().for_each(|signature| out.extend(signature));
        out
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (taken, left) = rest.split_first_chunk().unwrap();
    *rest = left;
    *taken
}

fn read_varint(rest: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let [byte] = take(rest);
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    number
}

fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
