//! Proofs of custody, as whoever opens a record verifies them.

use super::{
    scene::{Scene, event, stranger},
    table::{Table, Tally},
};
use dmdl_types::{
    checkpoint::{CheckpointError, Committer},
    custody::ShareSet,
    custody_proof::{CustodyProof, CustodyProofError},
    event::{Action, Event, Verdict},
    id::{ChannelId, Epoch, PayloadDigest, RecordId, RecordVersion, ShareSetId},
    invocation::{Access, Invocation, Registration},
    merkle::ProofError,
    receipt::{Receipt, ReceiptError},
    sign::{Domain, SigningKey},
    transaction::TransactionError,
};

/// A proof, the version that was asked for, and what the one who asks knows by itself.
#[derive(Clone)]
struct Shown {
    proof: CustodyProof,
    of: (RecordId, RecordVersion),
    domain: Domain,
    committers: Vec<Committer>,
}

/// Why a version is not believed to be in custody.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Proof(#[from] CustodyProofError),
    #[error("too few custodians have acknowledged")]
    NotActive,
}

/// The registration that a proof carries.
fn call(proof: &mut CustodyProof) -> &mut Registration {
    let Invocation::Access(Access::Register(call)) = &mut proof.registration.body.invocation else {
        panic!("it registers")
    };
    call
}

/// Signs the registration again, as somebody.
fn sign_again(proof: &mut CustodyProof, author: &SigningKey) {
    proof.registration.body.authors = vec![author.public()];
    proof.registration = proof.registration.body.clone().sign(&[author]);
}

pub(crate) fn table(scene: &Scene) -> Tally {
    let story = &scene.story;
    let (owner, neighbour) = (&scene.network.owner.key, &scene.network.neighbour.key);
    let config = scene.config(Epoch::new(0));
    let needed = config.cosigners_needed();
    let first = RecordVersion::new(1);
    let original = Shown {
        proof: story.custody.clone(),
        of: (story.record, first),
        domain: scene.domain(),
        committers: config.cosigners(),
    };
    let accepts = |s: &Shown| -> Result<(), Refusal> {
        let leaf = |receipt: &Receipt| receipt.verify(&s.domain, &s.committers, needed);
        let custody = s.proof.verify(s.of, &s.domain, leaf)?;
        if custody.is_active() { Ok(()) } else { Err(Refusal::NotActive) }
    };
    let other_event = || Refusal::Proof(CustodyProofError::OtherEvent);
    let unsigned = || Refusal::Proof(TransactionError::Signature(owner.public()).into());
    let other_call = |record, version| Refusal::Proof(CustodyProofError::OtherCall { record, version });
    let receipt = |error: ReceiptError| Refusal::Proof(error.into());
    // The receipt of an event that never was, in a log that more committers signed than may lie.
    let lie = |real: &Receipt, change: &dyn Fn(&mut Event)| {
        let mut event = event(&real.leaf);
        change(&mut event);
        scene.lie(&[event.to_leaf()])
    };

    let mut table = Table::new("proofs of custody", original, accepts);
    table.also_accepts("the proof of the second version", |s| {
        (s.proof, s.of) = (story.second_version.clone(), (story.record, first.next()));
    });

    // The registration.
    table.row("of another record", |s| s.proof = story.other_custody.clone(), other_call(story.record, first));
    table.row("of another version", |s| s.proof = story.second_version.clone(), other_call(story.record, first));
    table.row("asked for as another record", |s| s.of.0 = story.other, other_call(story.other, first));
    table.row("asked for as another version", |s| s.of.1 = first.next(), other_call(story.record, first.next()));
    table.row("with commitments exchanged", |s| call(&mut s.proof).dealing.commitments.swap(0, 1), unsigned());
    table.row("with another payload", |s| call(&mut s.proof).payload.digest = PayloadDigest::new([1; 32]), unsigned());
    table.row("with custodians exchanged", |s| call(&mut s.proof).dealing.shares.swap(0, 1), unsigned());
    table.row("with fewer acknowledgements needed", |s| call(&mut s.proof).dealing.min_acks = 1, unsigned());
    table.row(
        "with commitments exchanged, signed by its owner",
        |s| {
            call(&mut s.proof).dealing.commitments.swap(0, 1);
            sign_again(&mut s.proof, owner);
        },
        Refusal::Proof(CustodyProofError::OtherRecord),
    );
    table.row(
        "with another payload, signed by its owner",
        |s| {
            call(&mut s.proof).payload.digest = PayloadDigest::new([1; 32]);
            sign_again(&mut s.proof, owner);
        },
        other_event(),
    );
    table.row(
        "with a custodian twice, signed by its owner",
        |s| {
            let shares = &mut call(&mut s.proof).dealing.shares;
            shares[1] = shares[0];
            sign_again(&mut s.proof, owner);
        },
        Refusal::Proof(CustodyProofError::CustodianTwice),
    );
    table.row(
        "registered by another author",
        |s| sign_again(&mut s.proof, neighbour),
        Refusal::Proof(CustodyProofError::OtherRecord),
    );
    table.row(
        "in another author's name",
        |s| s.proof.registration.body.authors = vec![neighbour.public()],
        Refusal::Proof(TransactionError::Signature(neighbour.public()).into()),
    );
    table.row(
        "by two authors, one of whom did not sign",
        |s| s.proof.registration.body.authors.push(neighbour.public()),
        Refusal::Proof(TransactionError::Authors.into()),
    );
    table.row(
        "registered on another network",
        |s| s.proof.registration.body.domain = scene.other_genesis().domain(),
        Refusal::Proof(TransactionError::WrongContext.into()),
    );

    // Its outcome.
    table.row(
        "of a registration that the ledger rejected",
        |s| {
            s.proof.registration = story.rejected.0.clone();
            s.proof.receipt = scene.receipt(story.rejected.1.position, &story.late);
        },
        other_event(),
    );
    table.row(
        "of a registration that the ledger rejected, with the receipt of the real one",
        |s| s.proof.registration = story.rejected.0.clone(),
        other_event(),
    );
    table.row(
        "with the receipt of a decryption",
        |s| s.proof.receipt = scene.receipt(story.allowed.position, &story.late),
        other_event(),
    );
    table.row(
        "with an acknowledgement as the receipt",
        |s| s.proof.receipt = s.proof.acknowledgements[0].clone(),
        other_event(),
    );
    table.row(
        "with a receipt whose outcome was changed",
        |s| {
            s.proof.registration = story.rejected.0.clone();
            s.proof.receipt = scene.receipt(story.rejected.1.position, &story.late);
            let mut event = event(&s.proof.receipt.leaf);
            event.outcome.verdict = Verdict::Applied;
            s.proof.receipt.leaf = event.to_leaf();
        },
        receipt(ReceiptError::Inclusion(ProofError::RootMismatch)),
    );
    table.row(
        "with a receipt of one organisation",
        |s| {
            let checkpoint = *s.proof.receipt.checkpoint.checkpoint();
            s.proof.receipt.checkpoint = scene.cosigned(checkpoint, &[0]);
        },
        receipt(ReceiptError::Checkpoint(CheckpointError::TooFewOrgs { got: 1, needed: 2 })),
    );
    table.row(
        "shown on another channel",
        |s| s.domain.channel = ChannelId::new([1; 32]),
        Refusal::Proof(TransactionError::WrongContext.into()),
    );

    // Its acknowledgements.
    table.row("without acknowledgements", |s| s.proof.acknowledgements.clear(), Refusal::NotActive);
    table.row("with one acknowledgement too few", |s| drop(s.proof.acknowledgements.pop()), Refusal::NotActive);
    table.row(
        "with one acknowledgement as often as are needed",
        |s| {
            let all = s.proof.acknowledgements.len();
            s.proof.acknowledgements = vec![s.proof.acknowledgements[0].clone(); all];
        },
        Refusal::NotActive,
    );
    table.row(
        "with an acknowledgement of another record",
        |s| s.proof.acknowledgements[0] = story.other_custody.acknowledgements[0].clone(),
        other_event(),
    );
    table.row(
        "with an acknowledgement of another version",
        |s| s.proof.acknowledgements[0] = story.second_version.acknowledgements[0].clone(),
        other_event(),
    );
    table.row(
        "with the registration as an acknowledgement",
        |s| s.proof.acknowledgements[0] = s.proof.receipt.clone(),
        other_event(),
    );
    table.row(
        "with an acknowledgement at another index",
        |s| s.proof.acknowledgements[0].index ^= 1,
        receipt(ReceiptError::Inclusion(ProofError::RootMismatch)),
    );
    let ack = &story.custody.acknowledgements[0];
    let mut told = |name, change: &dyn Fn(&mut Event)| {
        table.row(name, |s| s.proof.acknowledgements[0] = lie(ack, change), other_event());
    };
    told("with an acknowledgement of a stranger", &|e| e.actor = stranger(9).public());
    told("with an acknowledgement of the owner", &|e| e.actor = owner.public());
    told("with an acknowledgement that was rejected", &|e| e.outcome.verdict = Verdict::Rejected);
    told("with a complaint as an acknowledgement", &|e| e.action = Action::Complain);
    let shares = event(&ack.leaf).shares.expect("it acknowledges shares");
    told("with an acknowledgement of no shares", &|e| e.shares = None);
    told("with an acknowledgement of another share epoch", &|e| {
        e.shares = Some(ShareSet { epoch: shares.epoch.next(), ..shares });
    });
    told("with an acknowledgement of shares that others keep", &|e| {
        e.shares = Some(ShareSet { id: ShareSetId::new([7; 32]), ..shares });
    });
    table.row(
        "with an acknowledgement that is no event",
        |s| s.proof.acknowledgements[0] = scene.lie(&[vec![1, 2, 3]]),
        other_event(),
    );
    table.tally()
}
