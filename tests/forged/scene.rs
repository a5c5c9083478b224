//! The network and its story, taken down: what forgeries are made from, and what makes them.

use super::{
    network::{Network, NodeKeys},
    story::{self, Story},
    votes::{Certificate, FINALIZE, Proposal},
};
use dmdl_audit_ledger::{
    audit,
    contract::{CustodyMath, Judgement},
    execute::Executor,
    finalized::Finalized,
    store::{MemoryStore, RocksStore},
};
use dmdl_types::{
    block::{Block, Header},
    certificate::FinalityCertificate,
    checkpoint::{Checkpoint, Cosignature, CosignedCheckpoint, CosigningKey},
    codec,
    event::Event,
    genesis::{EpochConfig, Genesis},
    id::{Epoch, Height, NodeId},
    invocation::{Access, Invocation},
    limits,
    merkle::{Frontier, InclusionProof, ProofError, leaf_hash},
    receipt::Receipt,
    secret::Secret32,
    sign::{Domain, PublicKey, SigningKey},
    transaction::{EndorsedTransaction, Endorsement, TransactionBody},
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// When forged cosignatures were made; nothing depends on it.
const COSIGNED_AT_S: u64 = 1_800_000_000;

/// Numbers of transactions that were not ordered before.
static NONCES: AtomicU64 = AtomicU64::new(1);

/// Everything at hand.
pub(crate) struct Scene {
    pub(crate) network: Network,
    pub(crate) story: Story,
    /// The final chain from genesis on, up to the last certificate.
    pub(crate) blocks: Vec<Block>,
    /// The certificates of heights that have one of their own.
    pub(crate) certificates: Vec<Option<Vec<u8>>>,
    finals: Vec<Finalized<Block>>,
}

impl Scene {
    /// Starts the network, tells its story and takes it down.
    pub(crate) fn new() -> Self {
        let network = Network::start();
        let (story, blocks, certificates) = network.run(async {
            let story = story::tell(&network).await;
            let (mut blocks, mut certificates) =
                (vec![Block::genesis(&network.nodes.genesis().founding())], vec![None]);
            for height in 1..=network.node(0).channel().tip().height.get() {
                let block = network.chain().block(Height::new(height)).await.expect("it is final");
                blocks.push(block.block().clone());
                certificates.push(network.chain().certificate(Height::new(height)).await);
            }
            let certified = certificates.iter().rposition(Option::is_some).expect("some height has a certificate");
            blocks.truncate(certified + 1);
            certificates.truncate(certified + 1);
            (story, blocks, certificates)
        });
        let mut scene = Self { network, story, blocks, certificates, finals: Vec::new() };
        scene.finals = (1..scene.blocks.len()).map(|height| scene.finalized(height)).collect();
        scene
    }

    /// A block of the real chain, made final by its real certificate or that of a descendant.
    fn finalized(&self, height: usize) -> Finalized<Block> {
        let own = (height..).find(|height| self.certificates[*height].is_some()).unwrap();
        let certificate = FinalityCertificate::decode(self.certificates[own].as_ref().unwrap()).unwrap();
        let committee = self.config(certificate.epoch()).orderers();
        let links = self.headers(height + 1..=own);
        let block = self.blocks[height].clone();
        Finalized::by_certificate(block, &links, &certificate, &self.domain(), &committee).unwrap()
    }

    pub(crate) fn headers(&self, heights: impl IntoIterator<Item = usize>) -> Vec<Header> {
        heights.into_iter().map(|height| self.blocks[height].header.clone()).collect()
    }

    pub(crate) fn genesis(&self) -> &Genesis {
        self.network.nodes.genesis()
    }

    pub(crate) fn domain(&self) -> Domain {
        self.genesis().domain()
    }

    /// The configuration of an epoch, as the network has decided it.
    pub(crate) fn config(&self, epoch: Epoch) -> EpochConfig {
        let config = self.network.node(0).channel().epoch_config(epoch).unwrap();
        EpochConfig::clone(&config.expect("the epoch is decided"))
    }

    /// The committee: the same nodes in every epoch.
    pub(crate) fn committee(&self) -> Vec<PublicKey> {
        self.network.keys.iter().map(|node| node.id.key()).collect()
    }

    pub(crate) fn keys(&self, position: usize) -> &NodeKeys {
        &self.network.keys[position]
    }

    /// The same members, people and channel under another seed: another network.
    pub(crate) fn other_genesis(&self) -> Genesis {
        let mut other = self.genesis().clone();
        other.seed[0] ^= 1;
        other
    }

    /// A follower that has executed the real chain below a height.
    pub(crate) fn follower(&self, height: usize) -> (MemoryStore, Executor<MemoryStore>) {
        let store = MemoryStore::new();
        let mut executor = Executor::open(store.clone(), self.genesis().founding(), MATH).unwrap();
        for block in &self.finals[..height - 1] {
            executor.execute(block).unwrap();
        }
        (store, executor)
    }

    /// The certificate of a header with the real votes of members at these positions, whatever it says.
    pub(crate) fn certificate(&self, header: &Header, positions: &[usize]) -> Vec<u8> {
        self.votes(Proposal::of(header), &self.domain(), FINALIZE, positions).encode()
    }

    /// The votes of members at these positions.
    pub(crate) fn votes(&self, on: Proposal, domain: &Domain, kind: &[u8], positions: &[usize]) -> Certificate {
        let vote = |position: &usize| (*position, on.vote(domain, kind, &self.keys(*position).seed));
        Certificate::of(on, &positions.iter().map(vote).collect::<Vec<_>>())
    }

    /// A cosignature by a member's real key.
    pub(crate) fn cosignature(&self, checkpoint: &Checkpoint, position: usize) -> Cosignature {
        let node = self.keys(position);
        cosign(checkpoint, &node.cosigning, node.id)
    }

    /// A checkpoint with the cosignatures of members at these positions, whatever it says: two of four
    /// are more than may lie.
    pub(crate) fn cosigned(&self, checkpoint: Checkpoint, positions: &[usize]) -> CosignedCheckpoint {
        let by = positions.iter().map(|position| self.cosignature(&checkpoint, *position)).collect();
        CosignedCheckpoint::new(checkpoint, by).unwrap()
    }

    /// The real receipt of a leaf under a checkpoint.
    pub(crate) fn receipt(&self, position: u64, checkpoint: &CosignedCheckpoint) -> Receipt {
        let store: &RocksStore = self.network.node(0).channel().store();
        audit::receipt(store, position, checkpoint.clone()).unwrap()
    }

    /// The receipt of the last of these leaves, in a log of their own that two members cosigned.
    pub(crate) fn lie(&self, leaves: &[Vec<u8>]) -> Receipt {
        let (mut frontier, mut stored) = (Frontier::new(), BTreeMap::new());
        leaves.iter().for_each(|leaf| stored.extend(frontier.append(leaf_hash(leaf))));
        let (size, index) = (frontier.size(), frontier.size() - 1);
        let proof = InclusionProof::build(index, size, |address| Ok::<_, ProofError>(stored[&address]));
        let checkpoint = Checkpoint { size, root: frontier.root(), ..*self.story.late.checkpoint() };
        let leaf = leaves.last().unwrap().clone();
        Receipt { leaf, index, hashes: proof.unwrap().hashes, checkpoint: self.cosigned(checkpoint, &[0, 1]) }
    }

    /// The leaves of the real log, up to a size.
    pub(crate) fn leaves(&self, size: u64) -> Vec<Vec<u8>> {
        let events = self.network.node(0).events(0, usize::try_from(size).unwrap()).unwrap();
        events.iter().map(|(_, event)| event.to_leaf()).collect()
    }

    /// A body by the owner that has not been ordered: it sets the policy of the story's other record.
    pub(crate) fn body(&self) -> TransactionBody {
        let mut nonce = [1; 16];
        nonce[..8].copy_from_slice(&NONCES.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let call = Access::SetPolicy { record: self.story.other, policy: crate::common::research_policy() };
        let tip = self.network.node(0).channel().tip().height;
        TransactionBody {
            domain: self.domain(),
            authors: vec![self.network.owner.key.public()],
            nonce,
            expires: Height::new(tip.get() + 100),
            invocation: Invocation::Access(call),
        }
    }

    /// A signed body with the endorsements of members at these positions, ascending.
    pub(crate) fn endorsed(&self, body: TransactionBody, signer: &SigningKey, by: &[usize]) -> EndorsedTransaction {
        let domain = body.domain;
        let transaction = body.sign(&[signer]);
        let signed = transaction.digest();
        let endorse = |node: &usize| {
            Endorsement::sign(&self.keys(*node).signing_key(), &domain, signed, Height::new(0), Vec::new())
        };
        EndorsedTransaction { transaction, endorsements: by.iter().map(endorse).collect() }
    }

    /// A new transaction that every rule allows.
    pub(crate) fn transaction(&self) -> EndorsedTransaction {
        self.endorsed(self.body(), &self.network.owner.key, &[0, 1])
    }
}

/// Cosigns with any key, in any name.
pub(crate) fn cosign(checkpoint: &Checkpoint, seed: &[u8; 32], node: NodeId) -> Cosignature {
    CosigningKey::from_seed(Secret32::new(*seed)).sign(checkpoint, node, COSIGNED_AT_S)
}

/// A key of nobody.
pub(crate) fn stranger(number: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([number; 32]))
}

/// The event of a leaf.
pub(crate) fn event(leaf: &[u8]) -> Event {
    codec::decode(leaf, limits::EVENT_BYTES).unwrap()
}

/// Lets a header name its body, after the body was changed.
pub(crate) fn name_body(block: &mut Block) {
    block.header.body = block.body.digest();
}

/// Nobody complains in the story, and nobody hands keys on.
pub(crate) const MATH: CustodyMath = CustodyMath {
    judge: |_, _, _, _| Judgement::Refuted,
    is_sealed: |_, _| false,
    is_part: |_, _, _| false,
    lied: |_, _, _, _| false,
    merge: |_, _| None,
};
