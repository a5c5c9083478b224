//! Receipts and the proofs in them, as a client or an auditor verifies them.

use super::{
    scene::{Scene, event},
    table::{Table, Tally},
};
use dmdl_types::{
    checkpoint::{CheckpointError, Committer},
    event::Verdict,
    id::{ChannelId, Epoch, Height},
    merkle::{ConsistencyProof, Hash, InclusionProof, ProofError, leaf_hash, node_hash},
    receipt::{Receipt, ReceiptError},
    sign::Domain,
};
use sha2::{Digest as _, Sha256};

/// A receipt, and what the one who reads it knows by itself.
#[derive(Clone)]
struct Shown {
    receipt: Receipt,
    domain: Domain,
    committers: Vec<Committer>,
    needed_orgs: usize,
}

impl Shown {
    fn verify(&self) -> Result<(), ReceiptError> {
        self.receipt.verify(&self.domain, &self.committers, self.needed_orgs).map(drop)
    }
}

pub(crate) fn tables(scene: &Scene) -> Vec<Tally> {
    vec![receipts(scene), inclusion(scene), consistency(scene)]
}

fn receipts(scene: &Scene) -> Tally {
    let story = &scene.story;
    let config = scene.config(Epoch::new(0));
    let (position, denied) = (story.allowed.position, story.denied.position);
    let receipt = scene.receipt(position, &story.late);
    let (size, path) = (story.late.checkpoint().size, receipt.hashes.len());
    assert!(path > 2, "the log has grown");
    let neighbour = scene.receipt(position ^ 1, &story.late);
    assert_eq!(neighbour.hashes.len(), path);
    let original = Shown {
        receipt,
        domain: scene.domain(),
        committers: config.cosigners(),
        needed_orgs: config.cosigners_needed(),
    };
    let elsewhere = ReceiptError::Inclusion(ProofError::RootMismatch);
    let length = |got| ReceiptError::Inclusion(ProofError::WrongLength { got });

    let mut table = Table::new("receipts", original, Shown::verify);
    table.also_accepts("the receipt of a denial, which proves a denial", |s| {
        s.receipt = scene.receipt(denied, &story.late);
        assert_eq!(event(&s.receipt.leaf).outcome.verdict, Verdict::Deny);
    });
    table.row("the proof of another leaf", |s| s.receipt.hashes = neighbour.hashes.clone(), elsewhere.clone());
    table.row("another leaf", |s| s.receipt.leaf = neighbour.leaf.clone(), elsewhere.clone());
    table.row("the neighbour's index", |s| s.receipt.index ^= 1, elsewhere.clone());
    table.row(
        "an index past the log",
        |s| s.receipt.index = size,
        ReceiptError::Inclusion(ProofError::NoSuchLeaf { index: size, size }),
    );
    table.row("a hash too many", |s| s.receipt.hashes.push([0; 32]), length(path + 1));
    table.row("a hash twice", |s| s.receipt.hashes.insert(0, s.receipt.hashes[0]), length(path + 1));
    table.row("a hash too few", |s| s.receipt.hashes.truncate(path - 1), length(path - 1));
    table.row("no hashes", |s| s.receipt.hashes.clear(), length(0));
    table.row("two hashes exchanged", |s| s.receipt.hashes.swap(0, 1), elsewhere.clone());
    table.row("a bit of a hash changed", |s| s.receipt.hashes[1][31] ^= 1, elsewhere.clone());
    table.row("a byte after the leaf", |s| s.receipt.leaf.push(0), elsewhere.clone());

    let mut rewrite = |name, at, change: &dyn Fn(&mut dmdl_types::event::Event)| {
        let forge = |s: &mut Shown| {
            s.receipt = scene.receipt(at, &story.late);
            let mut event = event(&s.receipt.leaf);
            change(&mut event);
            s.receipt.leaf = event.to_leaf();
        };
        table.row(name, forge, elsewhere.clone());
    };
    rewrite("a denial whose verdict says that it was allowed", denied, &|e| e.outcome.verdict = Verdict::Allow);
    rewrite("a denial with the whole outcome of the one that was allowed", denied, &|e| {
        e.outcome = story.allowed.event.outcome.clone();
    });
    rewrite("a decryption that was allowed, as a denial", position, &|e| {
        e.outcome = story.denied.event.outcome.clone()
    });
    rewrite("a decryption by somebody else", position, &|e| e.actor = scene.network.neighbour.key.public());
    rewrite("a decryption of another record", position, &|e| e.record = Some(story.other));
    rewrite("a decryption at another time", position, &|e| e.time = e.time.plus_ms(1));
    rewrite("a decryption at another height", position, &|e| e.height = Height::new(1));

    let early = story.early.checkpoint().size;
    table.row(
        "under a checkpoint of before",
        |s| s.receipt.checkpoint = story.early.clone(),
        ReceiptError::Inclusion(ProofError::NoSuchLeaf { index: position, size: early }),
    );
    table.row(
        "shown on another network",
        |s| s.domain = scene.other_genesis().domain(),
        ReceiptError::Checkpoint(CheckpointError::OtherNetwork),
    );
    table.row(
        "shown on another channel",
        |s| s.domain.channel = ChannelId::new([1; 32]),
        ReceiptError::Checkpoint(CheckpointError::OtherChannel),
    );
    let first = story.late.cosignatures()[0].node;
    table.row(
        "shown to whom its first cosigner is no committer",
        |s| s.committers.retain(|committer| committer.node != first),
        ReceiptError::Checkpoint(CheckpointError::UnknownCosigner { node: first }),
    );
    table.row(
        "under a checkpoint of one organisation",
        |s| s.receipt.checkpoint = scene.cosigned(*story.late.checkpoint(), &[3]),
        ReceiptError::Checkpoint(CheckpointError::TooFewOrgs { got: 1, needed: 2 }),
    );
    table.tally()
}

/// A leaf's hash with its proof.
#[derive(Clone)]
struct Included {
    leaf: Hash,
    proof: InclusionProof,
    root: Hash,
}

fn inclusion(scene: &Scene) -> Tally {
    let Receipt { leaf, index, hashes, checkpoint } = scene.receipt(scene.story.allowed.position, &scene.story.late);
    let log = checkpoint.checkpoint();
    let proof = InclusionProof { index, size: log.size, hashes };
    let original = Included { leaf: leaf_hash(&leaf), proof, root: log.root };
    let (own, sibling) = (original.leaf, original.proof.hashes[0]);
    let (left, right) = if index % 2 == 0 { (own, sibling) } else { (sibling, own) };
    // The tree without its lowest level: every node of that level as if it were a leaf.
    let lifted = |i: &mut Included| {
        i.proof.hashes.remove(0);
        i.proof.index /= 2;
        i.proof.size = i.proof.size.div_ceil(2);
    };
    let verify = |included: &Included| included.proof.verify(&included.leaf, &included.root);

    let mut table = Table::new("inclusion proofs", original, verify);
    table.also_accepts("a node in the place of a leaf, were it hashed as a node", |i| {
        lifted(i);
        i.leaf = node_hash(&left, &right);
    });
    table.row(
        "a node in the place of a leaf",
        |i| {
            lifted(i);
            i.leaf = leaf_hash(&[left, right].concat());
        },
        ProofError::RootMismatch,
    );
    table.row("a leaf hashed without its prefix", |i| i.leaf = Sha256::digest(&leaf).into(), ProofError::RootMismatch);
    table.row(
        "a leaf hashed with the prefix of a node",
        |i| i.leaf = Sha256::new().chain_update([1]).chain_update(&leaf).finalize().into(),
        ProofError::RootMismatch,
    );
    table.row("the root of another log", |i| i.root = scene.story.early.checkpoint().root, ProofError::RootMismatch);
    table.row(
        "a log without leaves",
        |i| (i.proof.index, i.proof.size) = (0, 0),
        ProofError::NoSuchLeaf { index: 0, size: 0 },
    );
    table.row(
        "a log of one leaf",
        |i| (i.proof.index, i.proof.size) = (0, 1),
        ProofError::WrongLength { got: scene.receipt(index, &scene.story.late).hashes.len() },
    );
    table.tally()
}

/// Two logs, and the proof that one grew into the other.
#[derive(Clone)]
struct Grown {
    old: Hash,
    new: Hash,
    proof: ConsistencyProof,
}

fn consistency(scene: &Scene) -> Tally {
    let (early, late) = (*scene.story.early.checkpoint(), *scene.story.late.checkpoint());
    let proof = scene.network.node(0).consistency(early.size, late.size).unwrap();
    let path = proof.hashes.len();
    assert!(path > 1 && early.size < late.size);
    let original = Grown { old: early.root, new: late.root, proof };
    let verify = |grown: &Grown| grown.proof.verify(&grown.old, &grown.new);

    let mut table = Table::new("consistency proofs", original, verify);
    table.row("another old root", |g| g.old[0] ^= 1, ProofError::RootMismatch);
    table.row("another new root", |g| g.new[0] ^= 1, ProofError::RootMismatch);
    table.row("the two logs exchanged", |g| std::mem::swap(&mut g.old, &mut g.new), ProofError::RootMismatch);
    table.row("no hashes", |g| g.proof.hashes.clear(), ProofError::WrongLength { got: 0 });
    table.row("a hash too many", |g| g.proof.hashes.push([0; 32]), ProofError::WrongLength { got: path + 1 });
    table.row("a hash too few", |g| g.proof.hashes.truncate(path - 1), ProofError::WrongLength { got: path - 1 });
    table.row("a bit of a hash changed", |g| g.proof.hashes[0][0] ^= 1, ProofError::RootMismatch);
    table.row("two hashes exchanged", |g| g.proof.hashes.swap(path - 2, path - 1), ProofError::RootMismatch);
    table.row("from an empty log", |g| g.proof.old_size = 0, ProofError::NotGrown { old_size: 0, new_size: late.size });
    table.row(
        "to a smaller log",
        |g| g.proof.new_size = early.size - 1,
        ProofError::NotGrown { old_size: early.size, new_size: early.size - 1 },
    );
    table.row("of one size, with hashes", |g| g.proof.old_size = late.size, ProofError::WrongLength { got: path });
    table.row(
        "of one size, without hashes",
        |g| g.proof = ConsistencyProof { old_size: late.size, new_size: late.size, hashes: vec![] },
        ProofError::RootMismatch,
    );
    table.tally()
}
