//! What a client believes of a gateway that shows old, contradicting or unproved logs.

use super::{
    bundles::finalize,
    network::EPOCH_BLOCKS,
    scene::Scene,
    table::{Table, Tally},
    votes::{FINALIZE, Proposal},
};
use dmdl::{
    client::{AskGatewayError, BelieveError, Ciphertext, Gateway, Trust, Unproved},
    node::{Parties, RemarkShown, SharedNode},
    problem::Problem,
};
use dmdl_audit_ledger::{process::Steady, store::RocksStore};
use dmdl_types::{
    certificate::CertificateError,
    checkpoint::CheckpointError,
    custody::{DealingKey, SealedBytes},
    custody_proof::CustodyProof,
    id::{ChannelId, Epoch, Height, NodeId, PayloadDigest, RecordId, RecordVersion, TransactionId},
    invocation::PayloadInfo,
    lineage::{EpochStep, Lineage, LineageError, cosigning_epoch},
    merkle::{ConsistencyProof, ProofError},
    receipt::{Receipt, ReceiptError},
    sign::PublicKey,
    title::Title,
    transaction::Transaction,
};
use dmdl_vault::remark::Remark;
use std::{
    fs,
    io::{Read, Seek},
    ops::Range,
    time::Duration,
};

/// How a gateway answers when it is asked to show that one log contains another.
type Answer = fn(ConsistencyProof) -> Result<ConsistencyProof, AskGatewayError>;

/// A real gateway that lies about one thing.
struct Liar<'a> {
    honest: &'a SharedNode<Steady, RocksStore>,
    answer: Answer,
    /// The steps that it shows instead of the real ones.
    steps: Option<&'a [EpochStep]>,
}

impl Gateway for Liar<'_> {
    async fn consistency(&self, old: u64, new: u64) -> Result<ConsistencyProof, AskGatewayError> {
        (self.answer)(Gateway::consistency(self.honest, old, new).await?)
    }

    async fn steps_after(&self, epoch: Epoch) -> Result<Vec<EpochStep>, AskGatewayError> {
        match self.steps {
            Some(steps) => Ok(steps.iter().filter(|step| step.config.epoch > epoch).cloned().collect()),
            None => Gateway::steps_after(self.honest, epoch).await,
        }
    }

    async fn height(&self) -> Result<Height, AskGatewayError> {
        Gateway::height(self.honest).await
    }

    async fn submit(&self, transaction: Transaction, patience: Duration) -> Result<Receipt, AskGatewayError> {
        Gateway::submit(self.honest, transaction, patience).await
    }

    async fn receipt(&self, id: TransactionId, patience: Duration) -> Result<Option<Receipt>, AskGatewayError> {
        Gateway::receipt(self.honest, id, patience).await
    }

    async fn decision(&self, request: TransactionId, patience: Duration) -> Result<Option<Receipt>, AskGatewayError> {
        Gateway::decision(self.honest, request, patience).await
    }

    async fn custody(
        &self,
        record: RecordId,
        version: RecordVersion,
        patience: Duration,
    ) -> Result<Option<CustodyProof>, AskGatewayError> {
        Gateway::custody(self.honest, record, version, patience).await
    }

    async fn dealing_keys(
        &self,
        custodian: NodeId,
        dealer: PublicKey,
        count: u16,
    ) -> Result<Vec<DealingKey>, AskGatewayError> {
        Gateway::dealing_keys(self.honest, custodian, dealer, count).await
    }

    async fn deliver(
        &self,
        custodian: NodeId,
        record: RecordId,
        version: RecordVersion,
        sealed: SealedBytes,
    ) -> Result<(), AskGatewayError> {
        Gateway::deliver(self.honest, custodian, record, version, sealed).await
    }

    async fn release(&self, custodian: NodeId, decryption: TransactionId) -> Result<Vec<u8>, AskGatewayError> {
        Gateway::release(self.honest, custodian, decryption).await
    }

    async fn pause(&self, time: Duration) {
        Gateway::pause(self.honest, time).await;
    }

    async fn upload(
        &self,
        payload: &PayloadInfo,
        ciphertext: impl Read + Seek + Send,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), AskGatewayError> {
        Gateway::upload(self.honest, payload, ciphertext, progress).await
    }

    async fn download(&self, digest: PayloadDigest) -> Result<Ciphertext, AskGatewayError> {
        Gateway::download(self.honest, digest).await
    }

    async fn download_range(&self, digest: PayloadDigest, range: Range<u64>) -> Result<Ciphertext, AskGatewayError> {
        Gateway::download_range(self.honest, digest, range).await
    }

    async fn parties(&self, record: RecordId) -> Result<Parties, AskGatewayError> {
        Gateway::parties(self.honest, record).await
    }

    async fn remarks(&self, request: TransactionId) -> Result<Vec<RemarkShown>, AskGatewayError> {
        Gateway::remarks(self.honest, request).await
    }

    async fn keep_remark(&self, request: TransactionId, remark: &Remark) -> Result<(), AskGatewayError> {
        Gateway::keep_remark(self.honest, request, remark).await
    }

    async fn keep_title(&self, title: &Title) -> Result<(), AskGatewayError> {
        Gateway::keep_title(self.honest, title).await
    }
}

/// What a client has verified before, what it is shown then, and how the gateway stands by it.
#[derive(Clone)]
struct Shown {
    before: Option<Receipt>,
    then: Receipt,
    of: TransactionId,
    answer: Answer,
    steps: Option<Vec<EpochStep>>,
}

/// It has never heard of such a log.
fn unknown() -> AskGatewayError {
    AskGatewayError::Problem(Problem::new(404, "not_found", "there is no such log"))
}

pub(crate) fn table(scene: &Scene) -> Tally {
    let story = &scene.story;
    let (early, late) = (story.early.checkpoint().size, story.late.checkpoint().size);
    let allowed = story.allowed.transaction;
    let before = scene.receipt(0, &story.early);
    let original = Shown {
        before: Some(before.clone()),
        then: scene.receipt(story.allowed.position, &story.late),
        of: allowed,
        answer: Ok,
        steps: None,
    };
    let accepts = |shown: &Shown| -> Result<(), BelieveError> {
        let trust = Trust::new(scene.genesis().founding());
        let honest = scene.network.node(2);
        scene.network.run(async {
            if let Some(before) = &shown.before {
                trust.event(before, honest).await.expect("what was seen before was honest");
            }
            let seen = trust.seen_size();
            let liar = Liar { honest, answer: shown.answer, steps: shown.steps.as_deref() };
            let believed = trust.event_of(shown.of, &shown.then, &liar).await;
            // A good checkpoint is news, even over an event that was not asked for.
            let news = matches!(believed, Ok(_) | Err(BelieveError::Unproved(Unproved::OtherEvent)));
            assert!(news || trust.seen_size() == seen, "a log that is refused is not remembered");
            believed.map(drop)
        })
    };
    let unproved = |error: Unproved| BelieveError::Unproved(error);
    let fork = |seen, shown| BelieveError::Unproved(Unproved::Fork { seen, shown });
    let behind = BelieveError::Unproved(Unproved::Behind { seen: late, shown: early });
    // The client has seen the end, and is shown the beginning.
    let stale = |s: &mut Shown, answer: Answer| {
        let first = super::scene::event(&before.leaf).transaction;
        (s.before, s.then, s.of, s.answer) = (Some(s.then.clone()), before.clone(), first, answer);
    };

    let mut table = Table::new("clients", original, accepts);
    table.also_accepts("a log of before, shown to be its past", |s| stale(s, Ok));
    table.also_accepts("the same log again, whatever the gateway says of others", |s| {
        (s.before, s.answer) = (Some(s.then.clone()), |_| Err(unknown()));
    });
    table.row("a log of before, not shown to be its past", |s| stale(s, |_| Err(unknown())), behind);
    table.row("a log of before, falsely shown", |s| stale(s, |p| Ok(altered(p))), fork(late, early));
    table.row("a log of before, shown with nothing", |s| stale(s, |p| Ok(emptied(p))), fork(late, early));
    table.row(
        "a log that is not shown to contain what was seen",
        |s| s.answer = |_| Err(unknown()),
        BelieveError::Gateway(unknown()),
    );
    table.row("a log falsely shown to contain it", |s| s.answer = |p| Ok(altered(p)), fork(early, late));
    table.row("a log shown to contain it with nothing", |s| s.answer = |p| Ok(emptied(p)), fork(early, late));
    table.row(
        "a log shown to contain another size",
        |s| s.answer = |p| Ok(ConsistencyProof { old_size: p.old_size + 1, ..p }),
        fork(early, late),
    );
    table.row(
        "a log shown to lead to another size",
        |s| s.answer = |p| Ok(ConsistencyProof { new_size: p.new_size + 1, ..p }),
        fork(early, late),
    );
    table.row(
        "a log shown the wrong way round",
        |s| s.answer = |p| Ok(ConsistencyProof { old_size: p.new_size, new_size: p.old_size, ..p }),
        fork(early, late),
    );

    // Logs that more committers signed than may lie.
    let leaf = story.allowed.event.to_leaf();
    let forged = |size: u64| {
        let mut leaves = scene.leaves(size - 1);
        leaves.reverse();
        leaves.push(leaf.clone());
        scene.lie(&leaves)
    };
    table.row("a larger log that rewrites what was seen", |s| s.then = forged(late), fork(early, late));
    table.row("another log of the size that was seen", |s| s.then = forged(early), fork(early, early));
    table.row(
        "a smaller log that never was the past of what was seen",
        |s| (s.before, s.then) = (Some(s.then.clone()), forged(early)),
        fork(late, early),
    );
    table.row(
        "a leaf that is no event",
        |s| {
            (s.before, s.then) = (None, scene.lie(&[vec![1, 2, 3]]));
        },
        unproved(Unproved::OtherEvent),
    );

    let other_event = || unproved(Unproved::OtherEvent);
    table.row("the allowance of one decryption for another", |s| s.of = story.outlived.transaction, other_event());
    table.row(
        "the allowance of a decryption for one that was denied",
        |s| s.of = story.denied.transaction,
        other_event(),
    );
    table.row(
        "the denial of a decryption for one that was allowed",
        |s| s.then = scene.receipt(story.denied.position, &story.late),
        other_event(),
    );
    table.row(
        "a denial rewritten as an allowance",
        |s| {
            s.of = story.denied.transaction;
            s.then = scene.receipt(story.denied.position, &story.late);
            let mut event = super::scene::event(&s.then.leaf);
            event.outcome = story.allowed.event.outcome.clone();
            s.then.leaf = event.to_leaf();
        },
        unproved(Unproved::Receipt(ReceiptError::Inclusion(ProofError::RootMismatch))),
    );
    table.row(
        "a log that one organisation has cosigned",
        |s| s.then.checkpoint = scene.cosigned(*story.late.checkpoint(), &[3]),
        unproved(Unproved::Receipt(ReceiptError::Checkpoint(CheckpointError::TooFewOrgs { got: 1, needed: 2 }))),
    );
    table.tally()
}

/// How a gateway shows who may have cosigned what a client is shown.
pub(crate) fn lineages(scene: &Scene) -> Tally {
    let story = &scene.story;
    let allowed = story.allowed.transaction;
    let steps = steps(scene);
    let original = (scene.receipt(story.allowed.position, &story.late), Some(steps.clone()));
    let accepts = |(receipt, steps): &(Receipt, Option<Vec<EpochStep>>)| -> Result<(), BelieveError> {
        let trust = Trust::new(scene.genesis().founding());
        let liar = Liar { honest: scene.network.node(2), answer: Ok, steps: steps.as_deref() };
        scene.network.run(trust.event_of(allowed, receipt, &liar)).map(drop)
    };
    let domain = scene.domain();
    let needed = epoch_of(story.late.checkpoint().height);
    let not_shown = |epoch| BelieveError::Unproved(Unproved::NoConfiguration(epoch));
    let lineage = |error| BelieveError::Unproved(Unproved::Lineage(error));
    let second = || lineage(LineageError::Configuration(Epoch::new(2)));

    let mut table = Table::new("clients, the epochs", original, accepts);
    table.also_accepts("no more steps than it takes", |(_, s)| {
        s.as_mut().unwrap().retain(|step| step.config.epoch <= needed);
    });
    table.also_accepts("the steps as the gateway has them", |(_, s)| *s = None);
    table.row("no steps", |(_, s)| *s = Some(Vec::new()), not_shown(needed));
    let mut row = |name, expected, change: &dyn Fn(&mut Vec<EpochStep>)| {
        table.row(name, |(_, s)| change(s.as_mut().unwrap()), expected);
    };
    row("steps that end too early", not_shown(needed), &|s| s.retain(|step| step.config.epoch < needed));
    row("the first step missing", second(), &|s| drop(s.remove(0)));
    row("two steps exchanged", second(), &|s| s.swap(0, 1));
    row("a committer less", second(), &|s| drop(s[0].config.members.pop()));
    row("a committer with another key", second(), &|s| {
        s[0].config.members[0].cosigning_key = super::scene::stranger(9).public();
    });
    row("announced by a header that was changed", lineage(LineageError::Links), &|s| {
        s[0].config.channel.endorsements = 1;
        s[0].announced.header.next_config = s[0].config.digest();
    });
    row("announced by two of four", lineage(CertificateError::NoQuorum { got: 2, needed: 3 }.into()), &|s| {
        s[0].config.members[0].cosigning_key = super::scene::stranger(9).public();
        s[0].announced.header.next_config = s[0].config.digest();
        s[0].announced.links.clear();
        s[0].announced.certificate = scene.certificate(&s[0].announced.header, &[0, 1]);
    });
    row("announced by its own epoch", lineage(LineageError::Links), &|s| {
        s[0].announced.header.epoch = Epoch::new(2);
        finalize(scene, &mut s[0].announced);
    });
    row("announced under the certificate of the epoch after", lineage(LineageError::Links), &|s| {
        let on = Proposal { epoch: 2, ..Proposal::of(&s[0].announced.header) };
        s[0].announced.links.clear();
        s[0].announced.certificate = scene.votes(on, &domain, FINALIZE, &[0, 1, 2]).encode();
    });
    row("announced on another channel", lineage(LineageError::Links), &|s| {
        s[0].announced.header.domain.channel = ChannelId::new([1; 32]);
        finalize(scene, &mut s[0].announced);
    });
    table.row(
        "a checkpoint of an epoch that is yet to come",
        |(receipt, s)| {
            let far = dmdl_types::checkpoint::Checkpoint { height: Height::new(u64::MAX), ..*story.late.checkpoint() };
            (receipt.checkpoint, *s) = (scene.cosigned(far, &[0, 1]), None);
        },
        not_shown(epoch_of(Height::new(u64::MAX))),
    );
    table.tally()
}

/// What a client keeps of the epochs, and reads again: whatever became of the file, it believes nothing more.
pub(crate) fn kept(scene: &Scene) -> Tally {
    let story = &scene.story;
    let late = scene.receipt(story.allowed.position, &story.late);
    let founding = scene.genesis().founding();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(founding.domain.network.to_string()).join("main.lineage");
    let trust = Trust::remembering(founding.clone(), folder.path()).unwrap();
    scene.network.run(trust.event(&late, scene.network.node(1))).expect("it is honest");
    let original = Some(fs::read(&file).unwrap());

    let not_known = || Unproved::NotKnown(epoch_of(story.late.checkpoint().height));
    let accepts = |kept: &Option<Vec<u8>>| -> Result<(), Unproved> {
        match kept {
            Some(kept) => fs::write(&file, kept).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let trust = Trust::remembering(founding.clone(), folder.path())?;
        trust.event_offline(&late).map(drop)
    };
    let mut table = Table::new("clients, what is kept", original, accepts);
    table.row("nothing", |kept| *kept = None, not_known());
    let mut row = |name, change: &dyn Fn(&mut Vec<u8>)| {
        table.row(name, |kept| change(kept.as_mut().unwrap()), not_known());
    };
    row("an empty file", &Vec::clear);
    row("a byte changed", &|kept| kept[40] ^= 1);
    row("a byte less", &|kept| _ = kept.pop());
    row("a byte more", &|kept| kept.push(0));
    row("what the beginning was", &|kept| *kept = Lineage::new(&founding).to_bytes());
    row("another network's", &|kept| {
        let mut other = founding.clone();
        other.members[0].cosigning_key = super::scene::stranger(9).public();
        *kept = Lineage::new(&other).to_bytes();
    });
    table.tally()
}

/// All steps that there are.
fn steps(scene: &Scene) -> Vec<EpochStep> {
    let (mut steps, mut after) = (Vec::new(), Epoch::new(1));
    loop {
        let page = scene.network.run(Gateway::steps_after(scene.network.node(0), after)).expect("it is honest");
        let Some(last) = page.last() else { return steps };
        after = last.config.epoch;
        steps.extend(page);
    }
}

fn epoch_of(checkpoint: Height) -> Epoch {
    cosigning_epoch(checkpoint, EPOCH_BLOCKS)
}

fn altered(mut proof: ConsistencyProof) -> ConsistencyProof {
    proof.hashes[0][0] ^= 1;
    proof
}

fn emptied(proof: ConsistencyProof) -> ConsistencyProof {
    ConsistencyProof { hashes: Vec::new(), ..proof }
}
