//! A gateway that shows an old trail, a forked one, or one that nobody cosigned.

use super::{
    gateway::{recosign, scene, with_event, with_receipt},
    mitm::{Answer, Change, Trick},
    table::{Call, End, OUT, Table, UNPROVED},
    world::{World, stranger, words},
};
use dmdl_types::{
    checkpoint::{Checkpoint, Cosignature, CosignedCheckpoint, CosigningKey},
    event::Verdict,
    id::{NetworkId, NodeId},
    merkle::{Frontier, InclusionProof, ProofError, leaf_hash},
    receipt::Receipt,
    secret::Secret32,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// When forged cosignatures were made; nothing depends on it.
const COSIGNED_AT_S: u64 = 1_800_000_000;

/// Cosigns a checkpoint with the stolen keys of nodes at these positions.
fn cosigned(world: &World, checkpoint: Checkpoint, positions: &[usize]) -> CosignedCheckpoint {
    let by = |at: &usize| world.stolen(*at).1.sign(&checkpoint, world.network.node_id(*at), COSIGNED_AT_S);
    CosignedCheckpoint::new(checkpoint, positions.iter().map(by).collect()).unwrap()
}

/// A receipt of the leaf in a log of its own, after so many leaves of nothing.
fn forked(world: &World, receipt: &Receipt, before: usize, positions: &[usize]) -> Receipt {
    let (mut frontier, mut stored) = (Frontier::new(), BTreeMap::new());
    let nothing = vec![b"nothing".to_vec(); before];
    for leaf in nothing.iter().chain([&receipt.leaf]) {
        stored.extend(frontier.append(leaf_hash(leaf)));
    }
    let (size, index) = (frontier.size(), frontier.size() - 1);
    let proof = InclusionProof::build(index, size, |address| Ok::<_, ProofError>(stored[&address])).unwrap();
    let checkpoint = Checkpoint { size, root: frontier.root(), ..*receipt.checkpoint.checkpoint() };
    let checkpoint = cosigned(world, checkpoint, positions);
    Receipt { leaf: receipt.leaf.clone(), index, hashes: proof.hashes, checkpoint }
}

#[test]
fn no_old_forked_or_uncosigned_trail_is_believed() {
    let (world, record, _) = scene();
    let done = world.allowed_request(&record);
    let old = world.receipt(&done);
    // The researcher's program sees a later trail than that.
    let more = words(&format!("access request {} --purpose HMB --reason more", record.registered.record));
    let (exit, said) = world.run("researcher", &more);
    assert_eq!(exit, 0, "{said}");
    let later = world.receipt(&world.allowed_request(&record));

    let args = [words(&format!("audit receipt {} --timeout 5 --out", done.transaction)), vec![OUT.to_owned()]].concat();
    let call = Call { who: "researcher", args, honest: 0 };
    let mut table = Table::new("a gateway that forges, trails", &world, &record.secrets);
    let shows = |receipt: &Receipt| {
        let text = receipt.to_text();
        Trick::json("GET", "/transactions/", move |_, document| document["receipt"] = text.as_str().into())
    };
    let changes = |change: Change<Receipt>| {
        vec![Trick::json("GET", "/transactions/", move |_, document| with_receipt(document, |receipt| change(receipt)))]
    };
    let hides = || {
        let said = json!({ "code": "future_height", "detail": "the log has no such size" });
        Trick::swallow("GET", "/audit/proof", move |_| Answer::json(404, &said))
    };
    let behind = End { exit: 6, code: "gateway_behind" };
    let fork = End { exit: 5, code: "fork" };

    // Rollback: the old trail was true, but is shown as if there were no later one.
    table.row("an old trail, and no later one", &call, vec![shows(&old), hides()], behind, "ask a newer gateway");
    table.holds("an old trail that the later one contains", &call, vec![shows(&old)], 0, |said| {
        said["verdict"] == "allow"
    });
    let contained = "does not contain the log";
    let garbled = |change: fn(&mut Value)| Trick::json("GET", "/audit/proof", move |_, document| change(document));
    let hash = garbled(|document| {
        let hashes = document["hashes"].as_array_mut().unwrap();
        hashes[0] = "09".repeat(32).into();
    });
    table.row("an old trail, with a false proof", &call, vec![shows(&old), hash], fork, contained);
    let sizes = garbled(|document| document["old"] = 1.into());
    table.row("an old trail, with the proof of other sizes", &call, vec![shows(&old), sizes], fork, contained);

    // Forks: more organisations than may lie have cosigned a trail of their own.
    let positions = [0, 1];
    let short = forked(&world, &old, 0, &positions);
    table.row("a shorter fork", &call, vec![shows(&short)], fork, contained);
    table.row("a shorter fork, and no proof", &call, vec![shows(&short), hides()], behind, "ask a newer gateway");
    let size = usize::try_from(later.checkpoint.checkpoint().size).unwrap();
    let long = forked(&world, &old, size + 500, &positions);
    let believes = |proof: Value| Trick::swallow("GET", "/audit/proof", move |_| Answer::json(200, &proof));
    let nothing = json!({ "old": 1, "new": 2, "hashes": [] });
    table.row("a longer fork", &call, vec![shows(&long), believes(nothing)], fork, contained);
    let mut denied = old.clone();
    with_event(&mut denied, |event| event.outcome.verdict = Verdict::Deny);
    let denied = forked(&world, &denied, 3, &positions);
    table.row("a fork in which it was denied", &call, vec![shows(&denied)], fork, contained);

    // Too few, or nobody, cosigned.
    table.row(
        "a fork of one organisation",
        &call,
        vec![shows(&forked(&world, &old, 0, &[0]))],
        UNPROVED,
        "organisations that cosigned: 1, needed: 2",
    );
    table.row(
        "the cosignature of one organisation",
        &call,
        changes(Box::new(|receipt| recosign(receipt, |all| all.truncate(1)))),
        UNPROVED,
        "organisations that cosigned: 1, needed: 2",
    );
    let nobody = CosigningKey::from_seed(Secret32::new([77; 32]));
    let name = NodeId::of_key(stranger(77).public());
    table.row(
        "cosigned by a stranger",
        &call,
        changes(Box::new(move |receipt| {
            let checkpoint = *receipt.checkpoint.checkpoint();
            recosign(receipt, |all| all.push(nobody.sign(&checkpoint, name, COSIGNED_AT_S)));
        })),
        UNPROVED,
        "is not a committer",
    );
    let other = CosigningKey::from_seed(Secret32::new([78; 32]));
    table.row(
        "cosigned by another key in a committer's name",
        &call,
        changes(Box::new(move |receipt| {
            let checkpoint = *receipt.checkpoint.checkpoint();
            recosign(receipt, |all| all[0] = other.sign(&checkpoint, all[0].node, COSIGNED_AT_S));
        })),
        UNPROVED,
        "is by another key",
    );
    table.row(
        "one committer's cosignature in another's name",
        &call,
        changes(Box::new(|receipt| recosign(receipt, |all| all[0] = Cosignature { node: all[0].node, ..all[1] }))),
        UNPROVED,
        "is by another key",
    );
    table.row(
        "a cosignature at another time",
        &call,
        changes(Box::new(|receipt| recosign(receipt, |all| all[0].time_unix_s += 1))),
        UNPROVED,
        "is invalid",
    );
    let mut foreign = *old.checkpoint.checkpoint();
    foreign.network = NetworkId::new([9; 32]);
    let foreign = Receipt { checkpoint: cosigned(&world, foreign, &[0, 1, 2]), ..old.clone() };
    table.row("of another network", &call, vec![shows(&foreign)], UNPROVED, "the checkpoint is of another network");

    // What stands under the checkpoint.
    let not_included = "the receipt does not verify";
    let event = |change: fn(&mut Receipt)| changes(Box::new(change));
    let denied = event(|receipt| with_event(receipt, |event| event.outcome.verdict = Verdict::Deny));
    table.row("another outcome", &call, denied, UNPROVED, not_included);
    table.row("another position", &call, event(|receipt| receipt.index ^= 1), UNPROVED, not_included);
    table.row("a hash less", &call, event(|receipt| receipt.hashes.truncate(1)), UNPROVED, not_included);
    table.row("another transaction", &call, vec![shows(&later)], UNPROVED, "the receipt is of another event");
    table.end();
}
