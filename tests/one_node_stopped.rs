//! Any one of four nodes may be down: the others go on, and it catches up.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{NODES, TestNetwork, granted, open, register_open};
use dmdl_types::invocation::Authority;

#[test]
fn whichever_node_is_down_records_are_registered_requested_and_opened() {
    let mut network = TestNetwork::start();
    let before = network.run(async { register_open(&network.at(0, &network.owner), b"registered by four").await });
    for down in 0..NODES {
        network.nodes.stop(down);
        let (first, second) = ((down + 1) % NODES, (down + 2) % NODES);
        let text = format!("registered without node {down}");
        network.run(async {
            let owner = network.at(first, &network.owner);
            let researcher = network.at(second, &network.researcher);
            let grant = granted(&researcher, before.record, 1).await;
            let (opened, registered) = futures::join!(
                open(&researcher, &before, Authority::Grant(grant)),
                register_open(&owner, text.as_bytes())
            );
            assert_eq!(opened, b"registered by four");
            assert_eq!(open(&owner, &registered, Authority::Owner).await, text.as_bytes());
        });
        network.nodes.start(down).unwrap();
        network.wait_caught_up(down, first);
        network.assert_same_ledgers();
        // It serves again, as a gateway and from what it caught up with.
        network.run(async {
            let researcher = network.at(down, &network.researcher);
            let grant = granted(&researcher, before.record, 1).await;
            assert_eq!(open(&researcher, &before, Authority::Grant(grant)).await, b"registered by four");
        });
    }
}
