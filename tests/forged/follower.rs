//! What follows the chain: blocks, certificates and the headers between, as they come from a peer.

use super::{
    scene::{Scene, name_body, stranger},
    table::{Table, Tally},
    votes::{Certificate, FINALIZE, NOTARIZE, Proposal},
};
use dmdl_audit_ledger::{
    execute::{ExecuteError, Executor},
    finalized::{FinalityError, Finalized},
    mdca::{BlockError as WireError, EngineBlock},
    store::MemoryStore,
};
use dmdl_types::{
    block::{Block, BlockError, Body, Header},
    certificate::{CertificateError, FinalityCertificate},
    codec::{self, DecodeError},
    id::{BlockDigest, ChannelId, ConfigDigest, Epoch, Height, NetworkId, View},
    sign::{Domain, PublicKey},
};

/// What a peer hands over.
#[derive(Clone)]
pub(crate) struct Handed {
    pub(crate) block: Vec<u8>,
    pub(crate) links: Vec<Header>,
    pub(crate) certificate: Vec<u8>,
}

/// Why a follower does not execute it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Block(#[from] WireError),
    #[error(transparent)]
    Final(#[from] FinalityError),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error("it was executed before, so it has no effect")]
    NoEffect,
}

/// Reads a block and what makes it final, verifies both, and executes it: all that a follower does.
pub(crate) fn follow(executor: &mut Executor<MemoryStore>, handed: &Handed) -> Result<(), Refusal> {
    let block = EngineBlock::decode(&handed.block)?.block().clone();
    let (domain, epoch) = (executor.founding().domain, block.header.epoch);
    let config = executor.epoch_config(epoch).map_err(ExecuteError::from)?;
    let committee = config.ok_or(ExecuteError::NoConfiguration(epoch))?.orderers();
    let certificate = FinalityCertificate::decode(&handed.certificate).map_err(FinalityError::from)?;
    let block = Finalized::by_certificate(block, &handed.links, &certificate, &domain, &committee)?;
    let before = *executor.tip();
    let alarm = |error: &ExecuteError| matches!(error, ExecuteError::Conflict(_) | ExecuteError::Diverged(_));
    match executor.execute(&block) {
        Ok(done) if done.events.is_empty() => Err(Refusal::NoEffect),
        Ok(_) => Ok(()),
        Err(error) => {
            assert_eq!(*executor.tip(), before, "what is refused changes nothing");
            assert_eq!(executor.conflict_seen(), alarm(&error), "only a contradiction raises the alarm: {error}");
            Err(error.into())
        }
    }
}

/// The error of a certificate.
pub(crate) const fn certificate(error: CertificateError) -> Refusal {
    Refusal::Final(FinalityError::Certificate(error))
}

const LINKS: Refusal = Refusal::Final(FinalityError::Links);
const OTHER_EPOCH: Refusal = Refusal::Final(FinalityError::Epoch);
const MALFORMED: Refusal = certificate(CertificateError::Malformed);
const OTHER_BODY: Refusal = Refusal::Block(WireError::Decode(BlockError::Body));

fn not_a_block() -> Refusal {
    Refusal::Block(WireError::Decode(BlockError::Decode(DecodeError::Malformed { kind: "Block" })))
}

fn bad_signature(signer: PublicKey) -> Refusal {
    certificate(CertificateError::BadSignature { signer })
}

/// The block that is handed over, and its neighbours.
struct Place<'a> {
    scene: &'a Scene,
    height: usize,
    block: &'a Block,
    original: Handed,
    descendant: Handed,
}

impl<'a> Place<'a> {
    fn new(scene: &'a Scene) -> Self {
        let height = usize::try_from(scene.story.busy.get()).unwrap();
        let block = &scene.blocks[height];
        assert!(block.body.transactions.len() > 1);
        let certificate = |height: usize| scene.certificates[height].clone().expect("it has one of its own");
        let original = Handed { block: codec::encode(block), links: vec![], certificate: certificate(height) };
        let links = scene.headers([height + 1, height + 2]);
        let descendant = Handed { links, certificate: certificate(height + 2), ..original.clone() };
        Self { scene, height, block, original, descendant }
    }

    fn table(&self, title: &'static str, original: &Handed) -> Table<'a, Handed, Refusal> {
        let (scene, height) = (self.scene, self.height);
        Table::new(title, original.clone(), move |handed| follow(&mut scene.follower(height).1, handed))
    }

    /// Votes of three members on this block.
    fn votes(&self, domain: &Domain, kind: &[u8]) -> Vec<u8> {
        self.scene.votes(Proposal::of(&self.block.header), domain, kind, &[0, 1, 2]).encode()
    }

    /// The real certificate, with a change.
    fn altered(&self, change: impl FnOnce(&mut Certificate)) -> Vec<u8> {
        let mut certificate = Certificate::read(&self.original.certificate);
        change(&mut certificate);
        certificate.encode()
    }

    /// A certificate of three members, with a change.
    fn made(&self, change: impl FnOnce(&mut Certificate)) -> Vec<u8> {
        let on = Proposal::of(&self.block.header);
        let mut certificate = self.scene.votes(on, &self.scene.domain(), FINALIZE, &[0, 1, 2]);
        change(&mut certificate);
        certificate.encode()
    }

    /// A block of the same height on the same parent, that a quorum finalized elsewhere.
    fn sibling(&self) -> Header {
        Header { time: self.block.header.time.plus_ms(1), ..self.block.header.clone() }
    }
}

pub(crate) fn tables(scene: &Scene) -> Vec<Tally> {
    let place = Place::new(scene);
    vec![certificates(&place), descendants(&place), headers(&place), bodies(&place), finality(&place)]
}

fn certificates(place: &Place<'_>) -> Tally {
    let Place { scene, height, original, .. } = place;
    let (scene, domain, committee) = (*scene, place.scene.domain(), place.scene.committee());
    let first = committee[Certificate::read(&original.certificate).first_signer()];
    let on = Proposal::of(&place.block.header);
    let vote = |seed: &[u8; 32]| on.vote(&domain, FINALIZE, seed);
    let other_network = scene.other_genesis().domain();
    let other_channel = Domain { channel: ChannelId::new([1; 32]), ..domain };

    let mut table = place.table("block follower, certificates", original);
    table.also_accepts("three votes of four", |h| h.certificate = place.made(|_| ()));
    table.row(
        "of another network",
        |h| h.certificate = place.votes(&other_network, FINALIZE),
        bad_signature(committee[0]),
    );
    table.row(
        "of another channel",
        |h| h.certificate = place.votes(&other_channel, FINALIZE),
        bad_signature(committee[0]),
    );
    table.row("of votes to notarize", |h| h.certificate = place.votes(&domain, NOTARIZE), bad_signature(committee[0]));
    table.row(
        "rewritten for the next epoch",
        |h| h.certificate = place.altered(|c| c.proposal.epoch += 1),
        bad_signature(first),
    );
    table.row(
        "rewritten for another view",
        |h| h.certificate = place.altered(|c| c.proposal.view += 1),
        bad_signature(first),
    );
    table.row(
        "rewritten for another digest",
        |h| h.certificate = place.altered(|c| c.proposal.digest[31] ^= 1),
        bad_signature(first),
    );
    table.row(
        "of the votes on its parent",
        |h| {
            let parent = Proposal::of(&scene.blocks[height - 1].header);
            let votes = scene.votes(parent, &domain, FINALIZE, &[0, 1, 2]);
            h.certificate = Certificate { proposal: on, ..votes }.encode();
        },
        bad_signature(committee[0]),
    );
    table.row(
        "by a committee of other keys",
        |h| {
            let votes = [1, 2, 3].map(|n| (usize::from(n) - 1, vote(&[n; 32])));
            h.certificate = Certificate::of(on, &votes).encode();
        },
        bad_signature(committee[0]),
    );
    table.row(
        "by a stranger in the place of a member",
        |h| h.certificate = place.made(|c| c.signatures[2] = vote(&[9; 32])),
        bad_signature(committee[2]),
    );
    table.row(
        "by two of four",
        |h| h.certificate = scene.certificate(&place.block.header, &[1, 3]),
        certificate(CertificateError::NoQuorum { got: 2, needed: 3 }),
    );
    table.row("by nobody", |h| h.certificate = scene.certificate(&place.block.header, &[]), MALFORMED);
    table.row(
        "by two, one of them twice",
        |h| {
            h.certificate = place.made(|c| {
                c.bitmap = 0b011;
                c.signatures[2] = c.signatures[1];
            });
        },
        MALFORMED,
    );
    table.row(
        "by two, one of them in the name of a third",
        |h| h.certificate = place.made(|c| c.signatures[2] = c.signatures[1]),
        bad_signature(committee[2]),
    );
    table.row(
        "by a member past the last",
        |h| {
            h.certificate = place.made(|c| {
                c.bitmap |= 1 << 4;
                c.count = 4;
                c.signatures.push(vote(&[9; 32]));
            });
        },
        MALFORMED,
    );
    table.row(
        "of a larger committee",
        |h| h.certificate = place.made(|c| c.members = 5),
        certificate(CertificateError::OtherCommittee { certificate: 5, committee: 4 }),
    );
    table.row(
        "of a smaller committee",
        |h| h.certificate = place.made(|c| c.members = 3),
        certificate(CertificateError::OtherCommittee { certificate: 3, committee: 4 }),
    );
    table.row(
        "of signatures that changed places",
        |h| h.certificate = place.made(|c| c.signatures.swap(0, 1)),
        bad_signature(committee[0]),
    );
    table.row(
        "of a signature with a bit changed",
        |h| h.certificate = place.altered(|c| c.signatures[0][40] ^= 1),
        bad_signature(first),
    );
    table.row("with a byte after its end", |h| h.certificate.push(0), MALFORMED);
    table.row("cut short by a byte", |h| h.certificate.truncate(h.certificate.len() - 1), MALFORMED);
    table.row("none at all", |h| h.certificate.clear(), MALFORMED);
    table.row(
        "with a number in more bytes than it needs",
        |h| {
            let epoch = h.certificate[0];
            h.certificate.splice(0..1, [epoch | 0x80, 0]);
        },
        MALFORMED,
    );
    table.row(
        "of its parent",
        |h| h.certificate = scene.certificate(&scene.blocks[height - 1].header, &[0, 1, 2]),
        LINKS,
    );
    table.row(
        "of its child, without the header between",
        |h| h.certificate = place.descendant.certificate.clone(),
        LINKS,
    );
    table.row("of a sibling", |h| h.certificate = scene.certificate(&place.sibling(), &[0, 1, 2]), LINKS);
    table.row(
        "of the previous epoch",
        |h| {
            let epoch = place.block.header.epoch;
            let mut earlier = (1..*height).rev().filter(|at| scene.blocks[*at].header.epoch < epoch);
            let own = earlier.find_map(|at| scene.certificates[at].clone());
            h.certificate = own.expect("an earlier epoch has a certificate");
        },
        LINKS,
    );
    table.row(
        "of the same members in their next epoch",
        |h| {
            let later = Proposal { epoch: on.epoch + 1, ..on };
            h.certificate = scene.votes(later, &domain, FINALIZE, &[0, 1, 2]).encode();
        },
        OTHER_EPOCH,
    );
    table.tally()
}

fn descendants(place: &Place<'_>) -> Tally {
    let scene = place.scene;
    let mut table = place.table("block follower, certificate of a descendant", &place.descendant);
    table.row("the first header missing", |h| drop(h.links.remove(0)), LINKS);
    table.row("the last header missing", |h| drop(h.links.pop()), LINKS);
    table.row("no headers", |h| h.links.clear(), LINKS);
    table.row("two headers in another order", |h| h.links.swap(0, 1), LINKS);
    table.row("a header twice", |h| h.links.insert(1, h.links[0].clone()), LINKS);
    table.row("a header too many", |h| h.certificate = place.original.certificate.clone(), LINKS);
    table.row("its own header among them", |h| h.links.insert(0, place.block.header.clone()), LINKS);
    table.row("a header with another time", |h| h.links[0].time = h.links[0].time.plus_ms(1), LINKS);
    table.row("a header with another parent", |h| h.links[0].parent = place.sibling().digest(), LINKS);
    table.row("the last header altered", |h| h.links[1].view = h.links[1].view.next(), LINKS);
    table.row(
        "a branch that begins at a sibling",
        |h| {
            h.links[0].parent = place.sibling().digest();
            h.links[1].parent = h.links[0].digest();
            h.certificate = scene.certificate(&h.links[1], &[0, 1, 2]);
        },
        LINKS,
    );
    table.row(
        "the headers of an earlier stretch of the chain",
        |h| {
            h.links = scene.headers([place.height - 2, place.height - 1]);
            h.certificate = scene.certificate(&h.links[1], &[0, 1, 2]);
        },
        LINKS,
    );
    let mut moved = |name, first: u64, last: u64| {
        table.row(
            name,
            |h| {
                let epoch = place.block.header.epoch.get();
                h.links[0].epoch = Epoch::new(epoch + first);
                h.links[1].epoch = Epoch::new(epoch + last);
                h.links[1].parent = h.links[0].digest();
                h.certificate = scene.certificate(&h.links[1], &[0, 1, 2]);
            },
            OTHER_EPOCH,
        );
    };
    moved("headers that lead into the next epoch", 0, 1);
    moved("headers of the next epoch", 1, 1);
    moved("a header of the next epoch between", 1, 0);
    table.tally()
}

/// Under the real certificate, each field of the header changed: the digest is another one.
fn headers(place: &Place<'_>) -> Tally {
    let scene = place.scene;
    let undecided = Epoch::new(place.block.header.epoch.get() + 9);
    let mut table = place.table("block follower, headers", &place.original);
    let mut row = |name, expected, change: &dyn Fn(&mut Header)| {
        let forge = |h: &mut Handed| {
            let mut block = place.block.clone();
            change(&mut block.header);
            h.block = codec::encode(&block);
        };
        table.row(name, forge, expected);
    };
    row("another network", LINKS, &|h| h.domain.network = NetworkId::new([1; 32]));
    row("another channel", LINKS, &|h| h.domain.channel = ChannelId::new([1; 32]));
    row("the height before", LINKS, &|h| h.height = Height::new(h.height.get() - 1));
    row("the next height", LINKS, &|h| h.height = h.height.next());
    row("the epoch before", LINKS, &|h| h.epoch = Epoch::new(h.epoch.get() - 1));
    row("an epoch that is not decided", Refusal::Execute(ExecuteError::NoConfiguration(undecided)), &|h| {
        h.epoch = undecided;
    });
    row("another view", LINKS, &|h| h.view = h.view.next());
    row("another primary", LINKS, &|h| {
        let other = scene.network.keys.iter().find(|node| node.id != h.primary).unwrap();
        h.primary = other.id;
    });
    row("another view of the parent", LINKS, &|h| h.parent_view = View::new(h.parent_view.get() + 1));
    row("the parent's parent as its parent", LINKS, &|h| h.parent = scene.blocks[place.height - 1].header.parent);
    row("no parent", LINKS, &|h| h.parent = BlockDigest::new([0; 32]));
    row("signers of the parent", LINKS, &|h| h.parent_signers.push(0));
    row("a later time", LINKS, &|h| h.time = h.time.plus_ms(1));
    row("an earlier time", LINKS, &|h| h.time = scene.blocks[place.height - 1].header.time);
    row("another configuration", LINKS, &|h| h.config = ConfigDigest::new([1; 32]));
    row("the next configuration as its own", LINKS, &|h| h.config = h.next_config);
    row("another next configuration", LINKS, &|h| h.next_config = h.config);
    row("another checkpoint", LINKS, &|h| {
        h.checkpoint = if h.checkpoint.is_some() { None } else { Some(scene.story.early.clone()) };
    });
    row("the digest of another body", OTHER_BODY, &|h| h.body[0] ^= 1);
    table.tally()
}

/// A block that did not come as bytes, under its real certificate, with a body that was changed after its
/// header was.
fn finality(place: &Place<'_>) -> Tally {
    let Place { scene, original, .. } = place;
    let certificate = FinalityCertificate::decode(&original.certificate).unwrap();
    let (domain, committee) = (scene.domain(), scene.config(place.block.header.epoch).orderers());
    let accepts =
        |block: &Block| Finalized::by_certificate(block.clone(), &[], &certificate, &domain, &committee).map(drop);
    let mut table = Table::new("finality, bodies", place.block.clone(), accepts);
    let other = || FinalityError::Body;
    table.row("the body of another block", |b| b.body = scene.blocks[place.height - 1].body.clone(), other());
    table.row("no body", |b| b.body = Body::default(), other());
    table.row("a transaction put in", |b| b.body.transactions.push(scene.transaction()), other());
    table.row(
        "another body, named",
        |b| {
            b.body = Body::default();
            name_body(b);
        },
        FinalityError::Links,
    );
    table.tally()
}

/// Under the real certificate, another body: with the header that names the real one, and with one that
/// names the other.
fn bodies(place: &Place<'_>) -> Tally {
    let scene = place.scene;
    let batch = || {
        let all = scene.blocks.iter().flat_map(|block| &block.body.system);
        all.clone().next().expect("nodes have told the ledger something").clone()
    };
    type Change<'a> = &'a dyn Fn(&mut Block);
    let changes: [(&'static str, &'static str, Change<'_>); 8] = [
        ("the body of another block", "the body of another block, named", &|b| {
            b.body = scene.blocks[place.height - 1].body.clone();
        }),
        ("no body", "no body, named", &|b| b.body = Body::default()),
        ("a transaction left out", "a transaction left out, named", &|b| drop(b.body.transactions.pop())),
        ("a transaction put in", "a transaction put in, named", &|b| b.body.transactions.push(scene.transaction())),
        ("a transaction twice", "a transaction twice, named", &|b| {
            b.body.transactions.push(b.body.transactions[0].clone());
        }),
        ("two transactions exchanged", "two transactions exchanged, named", &|b| b.body.transactions.swap(0, 1)),
        ("an endorsement left out", "an endorsement left out, named", &|b| {
            drop(b.body.transactions[0].endorsements.pop());
        }),
        ("a node's batch put in", "a node's batch put in, named", &|b| b.body.system.push(batch())),
    ];
    let mut table = place.table("block follower, bodies", &place.original);
    for (name, named, change) in changes {
        let with = |handed: &mut Handed, finish: fn(&mut Block)| {
            let mut block = place.block.clone();
            change(&mut block);
            finish(&mut block);
            handed.block = codec::encode(&block);
        };
        table.row(name, |h| with(h, |_| ()), OTHER_BODY);
        table.row(named, |h| with(h, name_body), LINKS);
    }
    table.row(
        "a transaction by somebody else",
        |h| {
            let mut block = place.block.clone();
            block.body.transactions[0].transaction.body.authors = vec![stranger(9).public()];
            h.block = codec::encode(&block);
        },
        OTHER_BODY,
    );
    table.row("a byte after the block", |h| h.block.push(0), not_a_block());
    table.row("a block cut short", |h| h.block.truncate(h.block.len() - 1), not_a_block());
    table.row(
        "a list that promises more than came",
        |h| {
            let header = codec::encode(&place.block.header).len();
            h.block[header..header + 4].fill(0xff);
        },
        not_a_block(),
    );
    table.row(
        "a transaction more counted than there is",
        |h| {
            let header = codec::encode(&place.block.header).len();
            h.block[header] += 1;
        },
        not_a_block(),
    );
    table.tally()
}
