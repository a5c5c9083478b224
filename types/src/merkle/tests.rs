//! The tree against RFC 6962's own recursive definitions, and against other people's vectors.

use super::*;
use crate::codec;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Past 64, so that two powers of two and their neighbours are in.
const SIZES: u64 = 66;

fn leaf(index: u64) -> Hash {
    leaf_hash(&index.to_le_bytes())
}

/// MTH of RFC 6962 section 2.1, over leaf hashes.
fn reference_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&reference_root(left), &reference_root(right))
        }
    }
}

/// PATH of RFC 6962 section 2.1.1.
fn reference_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut path, sibling) = if index < left.len() {
        (reference_path(index, left), right)
    } else {
        (reference_path(index - left.len(), right), left)
    };
    path.push(reference_root(sibling));
    path
}

/// SUBPROOF of RFC 6962 section 2.1.2.
fn reference_subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![reference_root(leaves)] };
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut proof, sibling) = if old <= left.len() {
        (reference_subproof(old, left, whole), right)
    } else {
        (reference_subproof(old - left.len(), right, false), left)
    };
    proof.push(reference_root(sibling));
    proof
}

/// A log as a ledger keeps it: the frontier, and every completed node by its address.
#[derive(Default)]
struct Log {
    frontier: Frontier,
    nodes: BTreeMap<NodeAddress, Hash>,
}

impl Log {
    fn of_size(size: u64) -> Self {
        let mut log = Self::default();
        for index in 0..size {
            for (address, hash) in log.frontier.append(leaf(index)) {
                assert_eq!(log.nodes.insert(address, hash), None, "{address:?} was completed twice");
            }
        }
        log
    }

    fn node(&self, address: NodeAddress) -> Result<Hash, ProofError> {
        Ok(self.nodes[&address])
    }

    fn root_at(&self, size: u64) -> Hash {
        Frontier::at_size(size, |address| self.node(address)).unwrap().root()
    }
}

fn count(number: u64) -> usize {
    number.try_into().unwrap()
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(leaf).collect()
}

/// Every proof that one edit makes of this one: a bit changed, a hash added, left out or moved.
fn altered(hashes: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for i in 0..hashes.len() {
        for bit in [0, 77, 255] {
            let mut changed = hashes.to_vec();
            changed[i][bit / 8] ^= 1 << (bit % 8);
            all.push(changed);
        }
        let mut shorter = hashes.to_vec();
        shorter.remove(i);
        all.push(shorter);
        if i > 0 {
            let mut swapped = hashes.to_vec();
            swapped.swap(i - 1, i);
            all.push(swapped);
        }
    }
    for i in 0..=hashes.len() {
        let mut longer = hashes.to_vec();
        longer.insert(i, leaf(1));
        all.push(longer);
    }
    all
}

#[test]
fn the_tree_has_the_roots_of_certificate_transparency() {
    let known: [(&[u8], &str); 8] = [
        (&[], "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (&[0x00], "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        (&[0x10], "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (&[0x20, 0x21], "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        (&[0x30, 0x31], "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
        (&[0x40, 0x41, 0x42, 0x43], "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
        (
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        ),
        (
            &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ];
    let mut frontier = Frontier::new();
    assert_eq!(hex::encode(frontier.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (data, root) in known {
        frontier.append(leaf_hash(data));
        assert_eq!(hex::encode(frontier.root()), root);
    }
}

#[test]
fn the_frontier_has_the_root_of_the_whole_tree_at_every_size() {
    let log = Log::of_size(SIZES);
    let leaves = leaves(SIZES);
    let mut frontier = Frontier::new();
    for size in 0..=SIZES {
        assert_eq!(frontier.size(), size);
        assert_eq!(frontier.root(), reference_root(&leaves[..count(size)]), "size {size}");
        let stored = Frontier::at_size(size, |address| Ok::<_, Infallible>(log.nodes[&address]));
        assert_eq!(stored, Ok(frontier.clone()), "size {size}");
        frontier.append(leaf(size));
    }
}

#[test]
fn an_append_completes_every_subtree_once() {
    let log = Log::of_size(64);
    assert_eq!(log.nodes.len(), 64 + 32 + 16 + 8 + 4 + 2 + 1);
    for (address, hash) in &log.nodes {
        let (start, len) = (address.index << address.level, 1 << address.level);
        let under: Vec<Hash> = (start..start + len).map(leaf).collect();
        assert_eq!(*hash, reference_root(&under), "{address:?}");
    }
}

#[test]
fn a_frontier_survives_encoding_and_only_a_sound_one_is_decoded() {
    let log = Log::of_size(SIZES);
    for size in 0..=SIZES {
        let frontier = Frontier::at_size(size, |address| log.node(address)).unwrap();
        let bytes = codec::encode(&frontier);
        assert_eq!(bytes.len(), 8 + 32 * size.count_ones() as usize);
        assert_eq!(codec::decode::<Frontier>(&bytes, 4096), Ok(frontier));
        // A size that its hashes do not fit, or hashes that its size does not.
        assert!(codec::decode::<Frontier>(&bytes[..bytes.len() - 1], 4096).is_err());
        assert!(codec::decode::<Frontier>(&[&bytes[..], &[0; 32]].concat(), 4096).is_err());
    }
    let huge = [&u64::MAX.to_le_bytes()[..], &[0; 64 * 32]].concat();
    assert!(codec::decode::<Frontier>(&huge, 4096).is_err());
}

#[test]
fn inclusion_proofs_are_those_of_the_rfc_and_verify() {
    let log = Log::of_size(SIZES);
    let leaves = leaves(SIZES);
    for size in 1..=SIZES {
        let tree = &leaves[..count(size)];
        let root = reference_root(tree);
        for index in 0..size {
            let proof = InclusionProof::build(index, size, |address| log.node(address)).unwrap();
            assert_eq!(proof.hashes, reference_path(count(index), tree), "{index} of {size}");
            assert_eq!(proof.verify(&leaf(index), &root), Ok(()), "{index} of {size}");
        }
    }
}

#[test]
fn no_altered_inclusion_proof_verifies() {
    let log = Log::of_size(SIZES);
    for size in 1..=SIZES {
        let root = log.root_at(size);
        for index in 0..size {
            let proof = InclusionProof::build(index, size, |address| log.node(address)).unwrap();
            for hashes in altered(&proof.hashes) {
                let proof = InclusionProof { hashes, ..proof };
                assert!(proof.verify(&leaf(index), &root).is_err(), "{proof:?}");
            }
            for other in (0..size + 2).filter(|other| *other != index) {
                let proof = InclusionProof { index: other, ..proof.clone() };
                assert!(proof.verify(&leaf(index), &root).is_err(), "{index} as {other} of {size}");
            }
            assert!(proof.verify(&leaf(SIZES), &root).is_err());
            assert!(proof.verify(&leaf(index), &leaf(SIZES)).is_err());
        }
    }
}

#[test]
fn consistency_proofs_are_those_of_the_rfc_and_verify() {
    let log = Log::of_size(SIZES);
    let leaves = leaves(SIZES);
    for new_size in 1..=SIZES {
        let tree = &leaves[..count(new_size)];
        for old_size in 1..=new_size {
            let proof = ConsistencyProof::build(old_size, new_size, |address| log.node(address)).unwrap();
            assert_eq!(proof.hashes, reference_subproof(count(old_size), tree, true), "{old_size} to {new_size}");
            assert_eq!(
                proof.verify(&log.root_at(old_size), &log.root_at(new_size)),
                Ok(()),
                "{old_size} to {new_size}"
            );
        }
    }
}

#[test]
fn no_altered_consistency_proof_verifies() {
    let log = Log::of_size(SIZES);
    for new_size in 1..=SIZES {
        let new_root = log.root_at(new_size);
        for old_size in 1..=new_size {
            let old_root = log.root_at(old_size);
            let proof = ConsistencyProof::build(old_size, new_size, |address| log.node(address)).unwrap();
            for hashes in altered(&proof.hashes) {
                let proof = ConsistencyProof { hashes, ..proof };
                assert!(proof.verify(&old_root, &new_root).is_err(), "{proof:?}");
            }
            assert!(proof.verify(&leaf(SIZES), &new_root).is_err());
            assert!(proof.verify(&old_root, &leaf(SIZES)).is_err());
        }
    }
}

#[test]
fn an_empty_or_larger_tree_did_not_grow_into_this_one() {
    for (old_size, new_size) in [(0, 0), (0, 1), (2, 1), (u64::MAX, 1)] {
        let refused = ProofError::NotGrown { old_size, new_size };
        let proof = ConsistencyProof { old_size, new_size, hashes: Vec::new() };
        assert_eq!(proof.verify(&empty_root(), &empty_root()), Err(refused));
        assert_eq!(ProofPlan::consistency(old_size, new_size), Err(refused));
    }
}

#[test]
fn the_largest_sizes_are_planned_and_refused_without_overflow() {
    for index in [0, 1, u64::MAX / 2, u64::MAX - 1] {
        let plan = ProofPlan::inclusion(index, u64::MAX).unwrap();
        let hashes = plan.hashes(|_| Ok::<_, Infallible>([7; 32])).unwrap();
        let proof = InclusionProof { index, size: u64::MAX, hashes };
        assert_eq!(proof.verify(&[7; 32], &[7; 32]), Err(ProofError::RootMismatch));
    }
    for old_size in [1, 2, u64::MAX / 2, u64::MAX / 2 + 1, u64::MAX - 1] {
        let plan = ProofPlan::consistency(old_size, u64::MAX).unwrap();
        let hashes = plan.hashes(|_| Ok::<_, Infallible>([7; 32])).unwrap();
        let proof = ConsistencyProof { old_size, new_size: u64::MAX, hashes };
        assert_eq!(proof.verify(&[7; 32], &[7; 32]), Err(ProofError::RootMismatch));
    }
}

#[test]
fn the_plan_lists_exactly_the_nodes_that_its_hashes_read() {
    for size in 1..=SIZES {
        for index in 0..size {
            let plan = ProofPlan::inclusion(index, size).unwrap();
            let mut read = Vec::new();
            let hashes = plan.hashes(|address| {
                read.push(address);
                Ok::<_, Infallible>([0; 32])
            });
            assert!(hashes.is_ok());
            assert_eq!(plan.nodes().collect::<Vec<_>>(), read);
            assert!(read.len() <= 2 * 64, "{index} of {size} reads {}", read.len());
        }
    }
}

#[test]
fn a_node_that_cannot_be_read_fails_the_proof() {
    let missing = InclusionProof::build(3, 8, |_| Err(ProofError::RootMismatch));
    assert_eq!(missing, Err(ProofError::RootMismatch));
}

/// The cases of github.com/transparency-dev/merkle, or `None` where they are not at hand; in CI that fails.
///
/// They lie in `vectors/merkle/testdata` of the folder that `DMDL_SHARED` names, or of `shared` beside the repository.
fn transparency_vectors(kind: &str) -> Option<Vec<(PathBuf, Value)>> {
    let shared = std::env::var_os("DMDL_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let root = shared.join("vectors/merkle/testdata").join(kind);
    if !root.is_dir() {
        let missing =
            format!("no Merkle vectors at `{}`: DMDL_SHARED names the folder above `vectors`", root.display());
        assert!(std::env::var_os("CI").is_none(), "{missing}; where CI is set that is a failure");
        // Past the test harness, which would swallow what `eprintln!` prints in a test that passes.
        writeln!(std::io::stderr(), "SKIPPED: {missing}").unwrap();
        return None;
    }
    let mut cases = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let case = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
                cases.push((path, case));
            }
        }
    }
    assert!(cases.len() >= 90, "only {} cases of {kind}", cases.len());
    Some(cases)
}

fn bytes(value: &Value) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// `None` for what is no hash at all: our types do not hold it.
fn hashes(value: &Value) -> Option<Vec<Hash>> {
    value.as_array().map_or(Some(Vec::new()), |all| all.iter().map(|one| bytes(one).try_into().ok()).collect())
}

#[test]
fn inclusion_vectors_of_transparency_dev_hold() {
    let Some(cases) = transparency_vectors("inclusion") else { return };
    for (path, case) in cases {
        let verify = || {
            let leaf: Hash = bytes(&case["leafHash"]).try_into().ok()?;
            let root: Hash = bytes(&case["root"]).try_into().ok()?;
            let (index, size) = (case["leafIdx"].as_u64()?, case["treeSize"].as_u64()?);
            InclusionProof { index, size, hashes: hashes(&case["proof"])? }.verify(&leaf, &root).ok()
        };
        assert_eq!(verify().is_none(), case["wantErr"].as_bool().unwrap(), "{}", path.display());
    }
}

#[test]
fn consistency_vectors_of_transparency_dev_hold() {
    let Some(cases) = transparency_vectors("consistency") else { return };
    for (path, case) in cases {
        // Some cases have a few letters for a root that does not matter; filled up, they stay equal or unequal.
        let root = |name: &str| {
            let mut root = bytes(&case[name]);
            root.resize(32, 0);
            Hash::try_from(root).unwrap()
        };
        let verify = || {
            let (old_size, new_size) = (case["size1"].as_u64()?, case["size2"].as_u64()?);
            let proof = ConsistencyProof { old_size, new_size, hashes: hashes(&case["proof"])? };
            proof.verify(&root("root1"), &root("root2")).ok()
        };
        assert_eq!(verify().is_none(), case["wantErr"].as_bool().unwrap(), "{}", path.display());
    }
}
