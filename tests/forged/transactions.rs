//! Transactions at a node's door: from bytes to its pool.

use super::{
    scene::{Scene, stranger},
    table::{Table, Tally},
};
use dmdl_audit_ledger::channel::SubmitError;
use dmdl_types::{
    codec::{self, DecodeError},
    id::{ChannelId, Height},
    label, limits,
    sign::{Domain, Meaning},
    transaction::{EndorsedTransaction, TransactionError},
};

/// Why a node does not take a transaction.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

const fn transaction(error: TransactionError) -> Refusal {
    Refusal::Submit(SubmitError::Transaction(error))
}

const MALFORMED: Refusal = Refusal::Bytes(DecodeError::Malformed { kind: "EndorsedTransaction" });

pub(crate) fn tables(scene: &Scene) -> Vec<Tally> {
    vec![bytes(scene), signed(scene)]
}

/// What a node does with bytes that somebody sends.
fn accepts(scene: &Scene) -> impl Fn(&Vec<u8>) -> Result<(), Refusal> {
    let channel = scene.network.node(1).channel().clone();
    move |bytes| {
        let endorsed: EndorsedTransaction = codec::decode(bytes, limits::TRANSACTION_BYTES)?;
        channel.submit(endorsed)?;
        Ok(())
    }
}

fn bytes(scene: &Scene) -> Tally {
    /// Where the encoding has the number of authors: after the network and the channel.
    const AUTHORS: usize = 64;
    /// Where it says which contract is called: after one author, nonce and expiry.
    const CONTRACT: usize = AUTHORS + 4 + 32 + 16 + 8;
    let original = codec::encode(&scene.transaction());
    let mut table = Table::new("transactions, bytes", original, accepts(scene));
    table.row("a byte after the end", |b| b.push(0), MALFORMED);
    table.row("a byte cut off", |b| b.truncate(b.len() - 1), MALFORMED);
    table.row("no bytes", Vec::clear, MALFORMED);
    table.row("a length that promises more than came", |b| b[AUTHORS..AUTHORS + 4].fill(0xff), MALFORMED);
    table.row("a length that promises one more than came", |b| b[AUTHORS] = 2, MALFORMED);
    table.row("a contract that there is not", |b| b[CONTRACT] = 3, MALFORMED);
    table.row("a call that there is not", |b| b[CONTRACT + 1] = 9, MALFORMED);
    let limit = limits::TRANSACTION_BYTES;
    table.row(
        "more bytes than are allowed",
        |b| b.resize(limit + 1, 0),
        Refusal::Bytes(DecodeError::TooLong { got: limit + 1, limit }),
    );
    table.tally()
}

fn signed(scene: &Scene) -> Tally {
    let (domain, owner) = (scene.domain(), &scene.network.owner.key);
    let original = scene.transaction();
    let (id, height) = (original.transaction.body.id(), scene.network.node(1).channel().tip().height);
    let mut table = Table::new("transactions, signed and endorsed", codec::encode(&original), accepts(scene));
    let mut row = |name, expected, forge: &dyn Fn(&mut EndorsedTransaction)| {
        let forge = |bytes: &mut Vec<u8>| {
            let mut endorsed = original.clone();
            forge(&mut endorsed);
            *bytes = codec::encode(&endorsed);
        };
        table.row(name, forge, expected);
    };
    let by_owner = || transaction(TransactionError::Signature(owner.public()));
    let by_first = || transaction(TransactionError::Endorsement(scene.keys(0).id));
    // Signed and endorsed for what they say, but not for here or now.
    let anew = |e: &mut EndorsedTransaction, domain: Domain, expires: Height| {
        let mut body = scene.body();
        (body.domain, body.expires) = (domain, expires);
        *e = scene.endorsed(body, owner, &[0, 1]);
    };
    let soon = Height::new(height.get() + 100);
    let elsewhere = Domain { channel: ChannelId::new([1; 32]), ..domain };
    row("for another network", transaction(TransactionError::WrongContext), &|e| {
        anew(e, scene.other_genesis().domain(), soon);
    });
    row("for another channel", transaction(TransactionError::WrongContext), &|e| anew(e, elsewhere, soon));
    row("that has expired", Refusal::Submit(SubmitError::Expiry), &|e| anew(e, domain, height));
    row("that expires too late", Refusal::Submit(SubmitError::Expiry), &|e| {
        anew(e, domain, Height::new(soon.get() + limits::EXPIRY_BLOCKS));
    });
    row("executed before", Refusal::Submit(SubmitError::Executed), &|e| {
        let busy = usize::try_from(scene.story.busy.get()).unwrap();
        *e = scene.blocks[busy].body.transactions[0].clone();
    });

    let meant = |e: &mut EndorsedTransaction, domain: &Domain, meaning: Meaning| {
        e.transaction.signatures = vec![owner.sign(domain, meaning, id.as_bytes())];
    };
    let own = Meaning::v1(label::TRANSACTION_SIGNATURE);
    row("signed for another channel", by_owner(), &|e| meant(e, &elsewhere, own));
    row("signed for another network", by_owner(), &|e| meant(e, &scene.other_genesis().domain(), own));
    row("signed as another kind", by_owner(), &|e| meant(e, &domain, Meaning { kind: 1, ..own }));
    row("signed as another version", by_owner(), &|e| meant(e, &domain, Meaning { version: 2, ..own }));
    row("signed as a batch of a node", by_owner(), &|e| meant(e, &domain, Meaning::v1(label::SYSTEM_SIGNATURE)));
    row("signed by somebody else", by_owner(), &|e| {
        e.transaction.signatures = vec![scene.network.neighbour.key.sign(&domain, own, id.as_bytes())];
    });
    row("changed after it was signed", by_owner(), &|e| e.transaction.body.nonce[0] ^= 1);
    row("with another call after it was signed", by_owner(), &|e| {
        e.transaction.body.invocation = scene.story.custody.registration.body.invocation.clone();
    });
    row("without a signature", transaction(TransactionError::Authors), &|e| e.transaction.signatures.clear());
    row("without an author", transaction(TransactionError::Authors), &|e| e.transaction.body.authors.clear());
    row("with an author twice", transaction(TransactionError::Authors), &|e| {
        e.transaction.body.authors.push(owner.public());
        e.transaction.signatures.push(e.transaction.signatures[0]);
    });

    row("with the endorsements of another", by_first(), &|e| e.endorsements = scene.transaction().endorsements);
    row("with an endorsement of another height", by_first(), &|e| e.endorsements[0].height = Height::new(1));
    row("with an endorsement in another's name", by_first(), &|e| {
        e.endorsements[0] = e.endorsements[1].clone();
        e.endorsements[0].endorser = scene.keys(0).id;
    });
    row("endorsed twice by one", transaction(TransactionError::TooMany("endorsements of one endorser")), &|e| {
        e.endorsements[1] = e.endorsements[0].clone();
    });
    row("endorsed by one", Refusal::Submit(SubmitError::NotEndorsed), &|e| drop(e.endorsements.pop()));
    row("endorsed by a stranger too", Refusal::Submit(SubmitError::NotEndorsed), &|e| {
        let mut outside = scene.endorsed(e.transaction.body.clone(), owner, &[0, 1]);
        let stranger = stranger(9);
        let more = dmdl_types::transaction::Endorsement::sign(
            &stranger,
            &domain,
            outside.transaction.digest(),
            Height::new(0),
            vec![],
        );
        outside.endorsements.push(more);
        outside.endorsements.sort_by_key(|endorsement| endorsement.endorser);
        *e = outside;
    });
    table.tally()
}
