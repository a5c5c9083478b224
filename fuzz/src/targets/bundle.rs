//! Bundles: what verifies from the pinned genesis is what happened, byte for byte.

use super::{
    Seeds,
    draw::Draw,
    fixtures::{Network, Proposal, change},
    ledger::{self, RECORD, header},
};
use dmdl_types::{
    block::{Body, Header},
    bundle::{self, Bundle, BundleError, Content},
    checkpoint::Checkpoint,
    codec,
    event::Event,
    id::{BlockDigest, Height},
    index_proof::{EMPTY, Head, HeadKey, HeadProof, Terminal, bit, leaf_hash as head_hash, node_hash},
    limits,
    lineage::{EpochStep, FinalHeader},
    merkle::{Frontier, leaf_hash},
};
use std::{collections::BTreeMap, sync::LazyLock};

/// Networks that share no key, so that nothing of one bundle fits into another, with a bundle of each.
static KNOWN: LazyLock<[(Network, Vec<u8>); 2]> = LazyLock::new(|| {
    let (first, second) = (Network::new(11), Network::new(21));
    let leaves = ledger::events().iter().map(Event::to_leaf).collect();
    let (whole, about) = (whole(&first, leaves).to_bytes(), about_the_record(&second).to_bytes());
    [(first, whole), (second, about)]
});

pub(super) fn run(data: &[u8]) {
    if let Ok(bundle) = Bundle::from_bytes(data) {
        assert_eq!(bundle.to_bytes(), data, "a second encoding");
    }
    for (network, good) in KNOWN.iter() {
        let verified = bundle::verify(data, &network.genesis.founding());
        assert_eq!(verified.is_ok(), data == good, "a bundle that nobody made, or a good one refused: {verified:?}");
        let changed = change_of(good, data);
        assert!(
            changed == *good || bundle::verify(&changed, &network.genesis.founding()).is_err(),
            "a changed byte goes unseen"
        );
    }
    sealed(data);
}

fn change_of(good: &[u8], data: &[u8]) -> Vec<u8> {
    Draw::new(data).change(good)
}

/// Leaves of any bytes under honest signatures: the bundle verifies if they are events, and reports them as
/// they are.
fn sealed(data: &[u8]) {
    let (network, _) = &KNOWN[0];
    let mut leaves: Vec<Vec<u8>> = ledger::events().iter().map(Event::to_leaf).collect();
    let mut draw = Draw::new(data);
    let at = draw.below(leaves.len());
    leaves[at] = if draw.byte() & 1 == 0 { draw.rest().to_vec() } else { change(&leaves[at]) };
    let events: Option<Vec<Event>> = leaves.iter().map(|leaf| codec::decode(leaf, limits::EVENT_BYTES).ok()).collect();
    match (bundle::verify(&whole(network, leaves).to_bytes(), &network.genesis.founding()), events) {
        (Ok(report), Some(events)) => {
            let reported: Vec<(u64, Event)> = (0..).zip(events).collect();
            assert_eq!(report.events, reported, "other events than the log's");
        }
        (Err(BundleError::NotAnEvent(position)), None) => assert_eq!(position, at as u64),
        (verified, events) => panic!("{verified:?} of {events:?}"),
    }
}

/// The whole log, under a block of epoch 1.
fn whole(network: &Network, leaves: Vec<Vec<u8>>) -> Bundle {
    let checkpoint = checkpoint(network, &leaves, EMPTY);
    let header = header(network, 1, None, Some(network.cosign(checkpoint)), &Body::default());
    let anchor = finalized(network, header, Vec::new());
    Bundle { domain: network.domain, epochs: Vec::new(), anchor, content: Content::All { leaves } }
}

/// All about the record, under a block of epoch 2 that a later one makes final.
fn about_the_record(network: &Network) -> Bundle {
    let events = ledger::events();
    let (key, mut heads) = (HeadKey::Record(RECORD), BTreeMap::new());
    for (position, event) in (0..).zip(&events) {
        let keys = [Some(HeadKey::Actor(event.actor)), event.record.map(HeadKey::Record)];
        for key in keys.into_iter().flatten() {
            let head = heads.entry(key.path()).or_insert(Head::EMPTY);
            *head = head.link(position, &event.leaf_hash());
        }
    }
    let heads: Vec<([u8; 32], Head)> = heads.into_iter().collect();
    let leaves: Vec<Vec<u8>> = events.iter().map(Event::to_leaf).collect();
    let cosigned = network.cosign(checkpoint(network, &leaves, root(&heads, 0)));

    let none = Body::default();
    let announced = header(network, 1, None, None, &none);
    let anchor = header(network, 2, Some(&announced), Some(cosigned), &none);
    let link = header(network, 2, Some(&anchor), None, &none);
    let own = (0..).zip(events).filter(|(_, event)| event.record == Some(RECORD));
    let leaves = own.map(|(position, event)| (position, event.to_leaf())).collect();
    Bundle {
        domain: network.domain,
        epochs: vec![EpochStep { announced: finalized(network, announced, Vec::new()), config: network.config(2) }],
        anchor: finalized(network, anchor, vec![link]),
        content: Content::Head { key, proof: prove(&heads, &key.path()), leaves },
    }
}

fn checkpoint(network: &Network, leaves: &[Vec<u8>], index: [u8; 32]) -> Checkpoint {
    let mut log = Frontier::new();
    for leaf in leaves {
        log.append(leaf_hash(leaf));
    }
    Checkpoint {
        network: network.domain.network,
        channel: network.domain.channel,
        size: log.size(),
        root: log.root(),
        height: Height::new(4),
        block: BlockDigest::new([2; 32]),
        state: [3; 32],
        index,
    }
}

/// A header with the certificate of its last link, by exactly a quorum.
fn finalized(network: &Network, header: Header, links: Vec<Header>) -> FinalHeader {
    let last = links.last().unwrap_or(&header);
    let (epoch, view) = (last.epoch.get(), last.view.get());
    let proposal = Proposal { epoch, view, parent_view: view - 1, digest: *last.digest().as_bytes() };
    let certificate = network.certificate(&proposal, &[0, 1, 3]);
    FinalHeader { header, links, certificate }
}

/// The root over heads whose paths agree above `depth`.
fn root(heads: &[([u8; 32], Head)], depth: usize) -> [u8; 32] {
    match heads {
        [] => EMPTY,
        [(path, head)] => head_hash(path, head),
        several => {
            let (left, right) = several.split_at(several.partition_point(|(path, _)| !bit(path, depth)));
            node_hash(&root(left, depth + 1), &root(right, depth + 1))
        }
    }
}

fn prove(heads: &[([u8; 32], Head)], path: &[u8; 32]) -> HeadProof {
    let (mut siblings, mut subtree) = (Vec::new(), heads);
    while subtree.len() > 1 {
        let depth = siblings.len();
        let (left, right) = subtree.split_at(subtree.partition_point(|(path, _)| !bit(path, depth)));
        let (own, other) = if bit(path, depth) { (right, left) } else { (left, right) };
        siblings.push(root(other, depth + 1));
        subtree = own;
    }
    let terminal = subtree.first().map_or(Terminal::Empty, |(path, head)| Terminal::Head { path: *path, head: *head });
    HeadProof { siblings, terminal }
}

pub(super) fn seeds() -> Seeds {
    let bundles = ["whole", "about-the-record"].into_iter().zip(KNOWN.iter());
    bundles.map(|(name, (_, bytes))| (name.to_owned(), bytes.clone())).collect()
}
