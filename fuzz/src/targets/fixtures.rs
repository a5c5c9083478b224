//! A network of four organisations by fixed keys, and what its nodes and people sign.

use super::draw::Draw;
use blake3::OutputReader;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::{Signer as _, ed25519};
use dmdl_types::{
    certificate::vote_namespace,
    checkpoint::{Checkpoint, CosignedCheckpoint, CosigningKey},
    genesis::{ChannelConfig, EpochConfig, Genesis, Member, NodeRoles, Person, Role},
    id::{Epoch, NodeId, UnixMillis},
    mdca::MdcaConfig,
    secret::Secret32,
    sign::{Domain, PublicKey, SigningKey},
};
use rand_core::{TryCryptoRng, TryRng};
use std::convert::Infallible;

/// How many of the four make a quorum.
pub(super) const QUORUM: usize = 3;

pub(super) fn secret(seed: u8) -> Secret32 {
    Secret32::new([seed; 32])
}

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(secret(seed))
}

/// Random numbers that are the same in every run.
pub(super) fn rng(seed: &[u8]) -> Stream {
    Stream(blake3::Hasher::new().update(seed).finalize_xof())
}

pub(super) struct Stream(OutputReader);

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.try_next_u64()? as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

/// Choices that follow from an input without being parts of it.
pub(super) fn choices(data: &[u8]) -> [u8; 32] {
    *blake3::hash(data).as_bytes()
}

/// One change to these bytes that follows from them.
pub(super) fn change(bytes: &[u8]) -> Vec<u8> {
    Draw::new(&choices(bytes)).change(bytes)
}

/// What a committee votes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal {
    pub(super) epoch: u64,
    pub(super) view: u64,
    pub(super) parent_view: u64,
    pub(super) digest: [u8; 32],
}

impl Proposal {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.epoch, self.view, self.parent_view] {
            push_varint(&mut out, number);
        }
        out.extend_from_slice(&self.digest);
        out
    }
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A network whose genesis a verifier pins.
pub(super) struct Network {
    pub(super) genesis: Genesis,
    pub(super) domain: Domain,
    /// The nodes' seeds, in the order of the members.
    seeds: Vec<u8>,
}

impl Network {
    /// Different seeds, ten apart, share no key.
    pub(super) fn new(seed: u8) -> Self {
        let mut seats: Vec<(Member, u8)> = (seed..seed + 4).map(|seed| (member(seed), seed)).collect();
        seats.sort();
        let genesis = Genesis {
            version: 1,
            seed: [seed; 32],
            time: UnixMillis::new(1_795_372_245_000),
            single_org_demo: false,
            members: seats.iter().map(|(member, _)| member.clone()).collect(),
            people: vec![person(seed + 4)],
            channel: ChannelConfig {
                name: "main".parse().expect("a name"),
                epoch_blocks: 10,
                endorsements: 2,
                custody_threshold: 2,
                policy_engine: 1,
                mdca: MdcaConfig::default(),
            },
        };
        genesis.check().expect("a good genesis");
        let domain = genesis.domain();
        Self { genesis, domain, seeds: seats.into_iter().map(|(_, seed)| seed).collect() }
    }

    pub(super) fn config(&self, epoch: u64) -> EpochConfig {
        self.genesis.epoch_config(Epoch::new(epoch))
    }

    pub(super) fn committee(&self) -> Vec<PublicKey> {
        self.genesis.members.iter().map(|member| member.node.key()).collect()
    }

    /// A certificate as the engine writes it, signed by the members at these positions, ascending.
    pub(super) fn certificate(&self, proposal: &Proposal, signers: &[usize]) -> Vec<u8> {
        let mut out = proposal.encode();
        out.extend_from_slice(&(self.seeds.len() as u64).to_be_bytes());
        out.push(signers.iter().fold(0, |bitmap, position| bitmap | 1 << position));
        push_varint(&mut out, signers.len() as u64);
        for position in signers {
            out.extend_from_slice(&self.vote(*position, b"_FINALIZE", &proposal.encode()));
        }
        out
    }

    /// Two votes of one member that contradict each other.
    pub(super) fn fault(&self, position: u8) -> Vec<u8> {
        let vote = |digest| {
            let subject = Proposal { epoch: 1, view: 7, parent_view: 6, digest: [digest; 32] }.encode();
            let signature = self.vote(usize::from(position), b"_FINALIZE", &subject);
            [&subject[..], &[position], &signature].concat()
        };
        [vec![8], vote(1), vote(2)].concat()
    }

    fn vote(&self, position: usize, suffix: &[u8], subject: &[u8]) -> Vec<u8> {
        let key = ed25519::PrivateKey::decode(Copying(&[self.seeds[position]; 32])).expect("a seed");
        key.sign(&[&vote_namespace(&self.domain), suffix].concat(), subject).encode().to_vec()
    }

    /// A checkpoint under the cosignatures of as many organisations as it takes.
    pub(super) fn cosign(&self, checkpoint: Checkpoint) -> CosignedCheckpoint {
        let needed = self.config(1).cosigners_needed();
        let seats = self.genesis.members.iter().zip(&self.seeds).take(needed);
        let sign = |(member, seed): (&Member, &u8)| cosigning_key(*seed).sign(&checkpoint, member.node, 1_795_372_246);
        CosignedCheckpoint::new(checkpoint, seats.map(sign).collect()).expect("a set of cosignatures")
    }

    /// The key of the node at this position.
    pub(super) fn node(&self, position: usize) -> SigningKey {
        key(self.seeds[position])
    }
}

fn cosigning_key(seed: u8) -> CosigningKey {
    CosigningKey::from_seed(secret(seed | 0x80))
}

fn member(seed: u8) -> Member {
    Member {
        node: NodeId::of_key(key(seed).public()),
        cosigning_key: cosigning_key(seed).public(),
        org: format!("org-{seed}").parse().expect("a name"),
        roles: NodeRoles::ALL,
    }
}

fn person(seed: u8) -> Person {
    let (org, name) = ("org-1".parse().expect("a name"), "dr-green".parse().expect("a name"));
    Person { key: key(seed).public(), org, name, role: Role::Owner }
}
