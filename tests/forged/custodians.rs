//! Custodians, asked for shares: they take no proofs, only what their own node has executed.

use super::{
    scene::Scene,
    story,
    table::{Table, Tally},
};
use dmdl::node::{GatewayError, Refused};
use dmdl_types::id::TransactionId;

pub(crate) fn table(scene: &Scene) -> Tally {
    let story = &scene.story;
    let (gateway, custodian) = (scene.network.node(1), scene.network.node(3).id());
    let accepts = |decryption: &TransactionId| -> Result<(), Refused> {
        match scene.network.run(gateway.release(custodian, *decryption)) {
            Ok(share) => {
                assert!(!share.is_empty());
                Ok(())
            }
            Err(GatewayError::NodeRefused { node, refused }) if node == custodian => Err(refused),
            Err(error) => panic!("the custodian answers: {error}"),
        }
    };
    let not_allowed = |id: TransactionId| {
        Refused::new("denied", format!("decryption `{id}` was not executed here with outcome ALLOW"))
    };
    let not_final = |id: TransactionId| Refused::new("not_final", format!("transaction `{id}` is not executed here"));
    let grant = story.outlived.event.outcome.grant.expect("it was decrypted under a grant");

    let mut table = Table::new("custodians", story.allowed.transaction, accepts);
    let mut row = |name, id: TransactionId, expected| table.row(name, |asked| *asked = id, expected);
    row("a decryption that was denied", story.denied.transaction, not_allowed(story.denied.transaction));
    row("a request that was allowed", story.requested.transaction, not_allowed(story.requested.transaction));
    row("a registration", story.rejected.1.transaction, not_allowed(story.rejected.1.transaction));
    row("a transaction that was never ordered", story::unknown(), not_final(story::unknown()));
    row(
        "a decryption whose grant was revoked since",
        story.outlived.transaction,
        Refused::new("denied", format!("grant `{grant}` is revoked")),
    );
    table.tally()
}
