//! A gateway that exports a forged trail, or somebody else's, or an old one.

use super::{
    gateway::scene,
    mitm::{Answer, Change, Trick},
    table::{Call, End, OUT, Table},
    world::words,
};
use crate::common::PATIENCE;
use dmdl_types::{
    bundle::{Bundle, Content},
    codec,
    event::{Event, Verdict},
    id::RecordId,
    index_proof::HeadKey,
    limits,
};

#[test]
fn no_forged_trail_is_exported() {
    let (world, record, other) = scene();
    let id = record.registered.record;
    let bundle = |record: RecordId| {
        let node = world.node();
        world.network.run(node.export(Some(HeadKey::Record(record)), node.log_size(), PATIENCE)).unwrap()
    };
    let (old, others) = (bundle(id).to_bytes(), bundle(other.registered.record).to_bytes());
    world.allowed_request(&record);
    let args = [words(&format!("audit export --record {id} --timeout 20 --out")), vec![OUT.to_owned()]].concat();
    let call = Call { who: "owner", args, honest: 0 };
    // The owner's program has seen a later trail than the old bundle's.
    let (exit, said) = world.run("owner", &words(&format!("policy set {id} research-auto")));
    assert_eq!(exit, 0, "{said}");
    let mut table = Table::new("a gateway that forges, exports", &world, &record.secrets);
    let changed = |change: Change<Bundle>| {
        vec![Trick::alter("GET", "/audit/export", move |_, answer| {
            // Not every answer is a bundle: a checkpoint over all of it may not be final yet.
            if let Ok(mut bundle) = Bundle::from_bytes(&answer.body) {
                change(&mut bundle);
                answer.body = bundle.to_bytes().into();
            }
        })]
    };
    let leaves = |bundle: &mut Bundle, change: fn(&mut Vec<(u64, Vec<u8>)>)| {
        let Content::Head { leaves, .. } = &mut bundle.content else { panic!("it is of one record") };
        change(leaves);
    };
    let invalid = End { exit: 5, code: "bundle_invalid" };
    let incomplete = "the events are not all the events under the checkpoint";
    let mut with_leaves = |name, change: fn(&mut Vec<(u64, Vec<u8>)>)| {
        table.row(name, &call, changed(Box::new(move |bundle| leaves(bundle, change))), invalid, incomplete);
    };
    with_leaves("an event left out", |leaves| drop(leaves.remove(1)));
    with_leaves("the last event left out", |leaves| drop(leaves.pop()));
    with_leaves("two events exchanged", |leaves| leaves.swap(0, 1));
    with_leaves("an event twice", |leaves| leaves.push(leaves[0].clone()));
    with_leaves("an event at another position", |leaves| leaves[1].0 += 1);
    with_leaves("an event changed", |leaves| {
        let mut event: Event = codec::decode(&leaves[0].1, limits::EVENT_BYTES).unwrap();
        event.outcome.verdict = Verdict::Deny;
        leaves[0].1 = event.to_leaf();
    });
    table.row(
        "of another network",
        &call,
        changed(Box::new(|bundle| bundle.domain.network = dmdl_types::id::NetworkId::new([9; 32]))),
        invalid,
        "of another network or channel",
    );
    table.row(
        "with a checkpoint that it does not cover",
        &call,
        changed(Box::new(|bundle| bundle.anchor.header.checkpoint = None)),
        invalid,
        "the headers do not lead to the certificate",
    );
    let is = |bytes: Vec<u8>| vec![Trick::alter("GET", "/audit/export", move |_, a| *a = whole(&bytes))];
    table.row("of another record", &call, is(others), invalid, "covers something else than was asked for");
    table.row(
        "cut short by a byte",
        &call,
        vec![Trick::alter("GET", "/audit/export", |_, answer| {
            if answer.status == 200 {
                answer.body.truncate(answer.body.len() - 1);
            }
        })],
        invalid,
        "",
    );
    let hasty = Call {
        args: call.args.iter().map(|arg| if arg == "20" { "4".to_owned() } else { arg.clone() }).collect(),
        ..call
    };
    table.row("an old one", &hasty, is(old), End { exit: 6, code: "gateway_behind" }, "the gateway is behind");
    table.end();
}

fn whole(bytes: &[u8]) -> Answer {
    Answer { status: 200, body: bytes.to_vec().into() }
}
