//! What happens on the network before anything is forged: a bit of everything, honestly.

use super::network::{EPOCH_BLOCKS, Network};
use crate::common::{
    PATIENCE, Person, allowed, granted, open, research_policy,
    start::{reaches, register_among_all, register_among_enough},
    terms,
};
use dmdl::{
    client::{Draft, OpenError, Registered},
    node::Final,
};
use dmdl_types::{
    access::DuoCode,
    bundle::Bundle,
    checkpoint::CosignedCheckpoint,
    custody_proof::CustodyProof,
    event::Verdict,
    id::{Height, PayloadDigest, RecordId, RecordVersion, TransactionId},
    index_proof::HeadKey,
    invocation::{Access, Authority, Invocation, Metadata},
    transaction::{Endorsement, Transaction, TransactionBody},
};
use futures::future::join_all;
use std::{collections::BTreeSet, io::Cursor, time::Duration};

/// What came of it, as the network itself shows it.
pub(crate) struct Story {
    /// A record of two versions.
    pub(crate) record: RecordId,
    pub(crate) custody: CustodyProof,
    pub(crate) second_version: CustodyProof,
    /// Another record of the same owner.
    pub(crate) other: RecordId,
    pub(crate) other_custody: CustodyProof,
    /// A checkpoint of the beginning, and one of the end.
    pub(crate) early: CosignedCheckpoint,
    pub(crate) late: CosignedCheckpoint,
    /// A request that was allowed.
    pub(crate) requested: Final,
    /// A decryption that was allowed, and one after it that was denied.
    pub(crate) allowed: Final,
    pub(crate) denied: Final,
    /// A decryption that was allowed under a grant that was revoked afterwards.
    pub(crate) outlived: Final,
    /// Another registration of the record's first version, which the ledger rejected.
    pub(crate) rejected: (Transaction, Final),
    /// A final block of several transactions.
    pub(crate) busy: Height,
    /// Everything, under a header that is final by the certificate of a descendant.
    pub(crate) whole: Bundle,
    /// Everything about the record, early and late.
    pub(crate) about_early: Bundle,
    pub(crate) about: Bundle,
}

/// Tells it.
pub(crate) async fn tell(network: &Network) -> Story {
    let gateway = network.node(0);
    let (owner, researcher) = (network.at(0, &network.owner), network.at(2, &network.researcher));

    let first = register_everywhere(network, &owner, b"the first version").await;
    let early = gateway.receipt(&first.done, PATIENCE).await.unwrap().checkpoint;
    let custody = custody(network, &first).await;
    let requested = researcher.request(first.record, terms(DuoCode::Hmb, 1), "hypertension study").await.unwrap();
    let once = Authority::Grant(requested.event.outcome.grant.expect("the policy permits it"));
    let opening = allowed(&researcher, &first, once).await;
    let denied = denied(network, &researcher, &first, once).await;
    let key = Some(HeadKey::Record(first.record));
    let about_early = gateway.export(key, gateway.log_size(), PATIENCE).await.unwrap();

    let second = register_everywhere(network, &owner, b"another record").await;
    let grant = granted(&researcher, second.record, 2).await;
    assert_eq!(open(&researcher, &second, Authority::Grant(grant)).await, b"another record");
    let outlived = allowed(&researcher, &second, Authority::Grant(grant)).await;
    owner.revoke(grant).await.unwrap();
    let version = replace(&owner, &first, b"the second version").await;
    let rejected = register_again(network, &custody.registration).await;

    let busy = busy_block(network, &owner, second.record).await;
    let whole = whole_trail(network, &owner, second.record).await;
    let about = gateway.export(key, gateway.log_size(), PATIENCE).await.unwrap();
    let last = owner.set_policy(second.record, research_policy()).await.unwrap();
    let late = gateway.receipt(&last, PATIENCE).await.unwrap().checkpoint;
    certify(network, late.checkpoint().height).await;
    Story {
        record: first.record,
        second_version: self::custody(network, &version).await,
        other: second.record,
        other_custody: self::custody(network, &second).await,
        custody,
        early,
        late,
        requested,
        allowed: opening.done,
        denied,
        outlived: outlived.done,
        rejected,
        busy,
        whole,
        about_early,
        about,
    }
}

async fn custody(network: &Network, registered: &Registered) -> CustodyProof {
    let proof = network.node(0).custody(registered.record, registered.version, PATIENCE).await.unwrap();
    proof.expect("it is registered")
}

/// Orders a decryption that the ledger denies.
async fn denied(network: &Network, person: &Person, registered: &Registered, authority: Authority) -> Final {
    let prepared = person.prepare(registered.record, registered.version, authority).await.unwrap();
    let error = person.order(&prepared).await.expect_err("the grant is used up");
    assert!(matches!(error, OpenError::Denied(_)), "{error}");
    let done = network.node(0).wait_final(prepared.id(), PATIENCE).await.unwrap();
    assert_eq!(done.event.outcome.verdict, Verdict::Deny);
    done
}

/// Registers a record that biomedical research may open, and that every custodian has a share of.
async fn register_everywhere(network: &Network, owner: &Person, bytes: &[u8]) -> Registered {
    let metadata = Metadata { media_type: "application/octet-stream".to_owned(), subject: None, listed: true };
    let draft = Draft::new(metadata, Some(research_policy()));
    let register = async || owner.register(bytes, Cursor::new(Vec::new()), draft.clone(), &|_| ()).await;
    let registered = register_among_all(&network.nodes, register).await;
    assert!(owner.wait_active(registered.record, registered.version, PATIENCE).await.unwrap());
    registered
}

async fn replace(owner: &Person, registered: &Registered, bytes: &[u8]) -> Registered {
    let metadata = Metadata { media_type: "application/octet-stream".to_owned(), subject: None, listed: true };
    let version = RecordVersion::new(2);
    let draft = Draft { replaces: Some((registered.record, version)), ..Draft::new(metadata, None) };
    let register = async || owner.register(bytes, Cursor::new(Vec::new()), draft.clone(), &|_| ()).await;
    let replaced = register_among_enough(register).await;
    assert!(owner.wait_active(replaced.record, version, PATIENCE).await.unwrap());
    replaced
}

/// The owner registers the same version once more, with another payload. Honest endorsers would refuse,
/// so two that are not sign for it; execution rejects it, and it is on the ledger as rejected.
async fn register_again(network: &Network, registration: &Transaction) -> (Transaction, Final) {
    let mut body: TransactionBody = registration.body.clone();
    let Invocation::Access(Access::Register(call)) = &mut body.invocation else { panic!("it registers") };
    call.payload.digest = PayloadDigest::new([9; 32]);
    body.nonce = [9; 16];
    body.expires = Height::new(network.node(0).channel().tip().height.get() + 100);
    let (domain, id) = (body.domain, body.id());
    let transaction = body.sign(&[&network.owner.key]);
    let signed = transaction.digest();
    let by =
        |node: usize| Endorsement::sign(&network.keys[node].signing_key(), &domain, signed, Height::new(0), vec![]);
    let endorsements = vec![by(0), by(1)];
    let endorsed = dmdl_types::transaction::EndorsedTransaction { transaction, endorsements };
    for node in 0..network.keys.len() {
        network.node(node).channel().submit(endorsed.clone()).unwrap();
    }
    let done = network.node(0).wait_final(id, PATIENCE).await.unwrap();
    assert_eq!(done.event.outcome.verdict, Verdict::Rejected);
    (endorsed.transaction, done)
}

/// Lets several transactions come at once until two are in one block that has a certificate of its own
/// and, two heights on, a descendant that has one.
async fn busy_block(network: &Network, owner: &Person, record: RecordId) -> Height {
    loop {
        let calls = join_all((0..4).map(|_| owner.set_policy(record, research_policy()))).await;
        let mut seen = BTreeSet::new();
        let heights: Vec<Height> = calls.into_iter().map(|call| call.unwrap().event.height).collect();
        // Its descendant settles it only from within its own epoch.
        let room = |height: &Height| height.get() % EPOCH_BLOCKS + 2 < EPOCH_BLOCKS;
        let Some(busy) = heights.into_iter().find(|height| !seen.insert(*height) && room(height)) else { continue };
        settle(network, after(busy, 3)).await;
        if network.chain().certificate(busy).await.is_some()
            && network.chain().certificate(after(busy, 2)).await.is_some()
        {
            return busy;
        }
    }
}

/// Exports everything until its header stands at least two epochs after the first two, which genesis
/// decides, and a descendant in the same epoch, two headers on, has a certificate.
async fn whole_trail(network: &Network, owner: &Person, record: RecordId) -> Bundle {
    loop {
        owner.set_policy(record, research_policy()).await.unwrap();
        let gateway = network.node(0);
        let mut bundle = gateway.export(None, gateway.log_size(), PATIENCE).await.unwrap();
        let header = &bundle.anchor.header;
        let left = EPOCH_BLOCKS - 1 - header.height.get() % EPOCH_BLOCKS;
        if header.epoch.get() < 3 || left < 2 {
            continue;
        }
        let height = header.height;
        settle(network, after(height, 3)).await;
        let Some(certificate) = network.chain().certificate(after(height, 2)).await else { continue };
        bundle.anchor.links = Vec::new();
        for more in 1..=2 {
            let block = network.chain().block(after(height, more)).await.expect("it is final");
            bundle.anchor.links.push(block.header().clone());
        }
        bundle.anchor.certificate = certificate;
        return bundle;
    }
}

/// Waits until a later height than this has a certificate.
async fn certify(network: &Network, height: Height) {
    let mut later = height.next();
    settle(network, later).await;
    while network.chain().certificate(later).await.is_none() {
        later = later.next();
        settle(network, later).await;
    }
}

fn after(height: Height, more: u64) -> Height {
    Height::new(height.get() + more)
}

/// Waits until a height is executed.
async fn settle(network: &Network, height: Height) {
    reaches(network.node(0), height, Duration::from_secs(60)).await;
}

/// The id of nothing.
pub(crate) const fn unknown() -> TransactionId {
    TransactionId::new([5; 32])
}
