//! Bundles, as `audit verify` reads them: each is shown to the library and to the program.

use super::{
    scene::{Scene, event},
    table::{Table, Tally},
    votes::{FINALIZE, Proposal},
};
use dmdl::network_file::NetworkFile;
use dmdl_types::{
    block::Header,
    bundle::{self, Bundle, BundleError, Content},
    certificate::CertificateError,
    checkpoint::{Checkpoint, CheckpointError, CosignedCheckpoint},
    codec::DecodeError,
    event::Verdict,
    genesis::{Genesis, GenesisError},
    id::{BlockDigest, ChannelId, ConfigDigest, Epoch, Height, NodeId, RecordId},
    index_proof::{Head, HeadKey, HeadProof, HeadProofError, Terminal},
    lineage::{EpochStep, FinalHeader},
};
use serde_json::Value;
use std::{fs, process::Command};
use tempfile::TempDir;

/// A bundle, the genesis that it is verified from, and what is done to its file.
#[derive(Clone)]
struct Shown {
    bundle: Bundle,
    pinned: Genesis,
    spoil: fn(&mut Vec<u8>),
}

/// A leaf with its position.
type Placed = (u64, Vec<u8>);

/// `dmdl audit verify`, in a folder of its own.
struct Program(TempDir);

impl Program {
    fn new(genesis: &Genesis) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("network.toml"), NetworkFile::of(genesis.clone()).to_text().unwrap()).unwrap();
        Self(dir)
    }

    /// Verifies a file; an error is what the program says is wrong with it.
    fn verify(&self, bytes: &[u8]) -> Result<(), String> {
        let file = self.0.path().join("trail.bundle");
        fs::write(&file, bytes).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dmdl"));
        let pin = self.0.path().join("network.toml");
        let output = command.args(["audit", "verify", "--json"]).arg(&file).arg("--network").arg(pin).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        match (output.status.code(), &said["valid"]) {
            (Some(0), Value::Bool(true)) => Ok(()),
            (Some(5), Value::Bool(false)) => Err(said["problems"][0]["detail"].as_str().unwrap().to_owned()),
            _ => panic!("{said} {}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

/// What verifies bundles: both ways of asking must give one answer.
struct Auditor<'a> {
    scene: &'a Scene,
    program: Program,
}

impl Auditor<'_> {
    fn verify(&self, shown: &Shown) -> Result<(), BundleError> {
        let mut bytes = shown.bundle.to_bytes();
        (shown.spoil)(&mut bytes);
        let verified = bundle::verify(&bytes, &shown.pinned.founding()).map(drop);
        if shown.pinned == *self.scene.genesis() {
            let told = verified.as_ref().map_err(ToString::to_string);
            assert_eq!(self.program.verify(&bytes), told.copied());
        }
        verified
    }

    fn table(&self, title: &'static str, bundle: &Bundle) -> Table<'_, Shown, BundleError> {
        let original = Shown { bundle: bundle.clone(), pinned: self.scene.genesis().clone(), spoil: |_| () };
        Table::new(title, original, move |shown| self.verify(shown))
    }
}

pub(crate) fn tables(scene: &Scene) -> Vec<Tally> {
    let auditor = Auditor { scene, program: Program::new(scene.genesis()) };
    vec![
        origins(&auditor),
        anchors(&auditor),
        checkpoints(&auditor),
        epochs(&auditor),
        trails(&auditor),
        heads(&auditor),
    ]
}

const LINKS: BundleError = BundleError::Links;

fn origins(auditor: &Auditor<'_>) -> Tally {
    let scene = auditor.scene;
    let malformed = BundleError::Decode(DecodeError::Malformed { kind: "Bundle" });
    let other = scene.other_genesis();
    let mut table = auditor.table("audit verify, file and pin", &scene.story.whole);
    table.row("pinned to another seed", |s| s.pinned = other.clone(), BundleError::OtherLedger);
    table.row("pinned to a genesis with one person less", |s| drop(s.pinned.people.pop()), BundleError::OtherLedger);
    table.row(
        "pinned to a genesis with another cosigning key",
        |s| s.pinned.members[0].cosigning_key = super::scene::stranger(9).public(),
        BundleError::OtherLedger,
    );
    table.row(
        "pinned to a genesis that breaks its own rules",
        |s| s.pinned.version = 2,
        BundleError::Genesis(GenesisError::Version(2)),
    );
    table.row("said to be of another network", |s| s.bundle.domain = other.domain(), BundleError::OtherLedger);
    table.row(
        "said to be of another channel",
        |s| s.bundle.domain.channel = ChannelId::new([1; 32]),
        BundleError::OtherLedger,
    );
    table.row(
        "pinned to another network, and said to be of it",
        |s| {
            s.pinned = other.clone();
            s.bundle.domain = other.domain();
        },
        LINKS,
    );
    table.row("with another first line", |s| s.spoil = |bytes| bytes[13] ^= 3, malformed.clone());
    table.row("with a byte after the end", |s| s.spoil = |bytes| bytes.push(0), malformed.clone());
    table.row("cut short by a byte", |s| s.spoil = |bytes| bytes.truncate(bytes.len() - 1), malformed.clone());
    table.row("without any byte", |s| s.spoil = Vec::clear, malformed);
    table.tally()
}

/// Lets real keys of three members make a header final by itself, whatever it says.
pub(crate) fn finalize(scene: &Scene, anchor: &mut FinalHeader) {
    anchor.links.clear();
    anchor.certificate = scene.certificate(&anchor.header, &[0, 1, 2]);
}

fn anchors(auditor: &Auditor<'_>) -> Tally {
    let scene = auditor.scene;
    let (domain, committee) = (scene.domain(), scene.committee());
    let whole = &scene.story.whole;
    let last = &whole.anchor.links[1];
    let bad = |signer| BundleError::Certificate(CertificateError::BadSignature { signer });
    let certified = BundleError::Certificate;

    let mut table = auditor.table("audit verify, the final header", whole);
    table.also_accepts("its own certificate", |s| finalize(scene, &mut s.bundle.anchor));
    let mut row = |name, expected, change: &dyn Fn(&mut FinalHeader)| {
        table.row(name, |s| change(&mut s.bundle.anchor), expected);
    };
    row("no headers between", LINKS, &|a| a.links.clear());
    row("the first header between missing", LINKS, &|a| drop(a.links.remove(0)));
    row("the last header between missing", LINKS, &|a| drop(a.links.pop()));
    row("headers in another order", LINKS, &|a| a.links.swap(0, 1));
    row("a header between twice", LINKS, &|a| a.links.insert(1, a.links[0].clone()));
    row("a header between with another parent", LINKS, &|a| a.links[0].parent = BlockDigest::new([0; 32]));
    row("a header between of another epoch", LINKS, &|a| a.links[0].epoch = a.links[0].epoch.next());
    row("a header between of another channel", LINKS, &|a| a.links[0].domain.channel = ChannelId::new([1; 32]));

    row("another height", LINKS, &|a| a.header.height = a.header.height.next());
    row("another time", LINKS, &|a| a.header.time = a.header.time.plus_ms(1));
    row("another view", LINKS, &|a| a.header.view = a.header.view.next());
    row("another body", LINKS, &|a| a.header.body[0] ^= 1);
    row("another parent", LINKS, &|a| a.header.parent = BlockDigest::new([0; 32]));
    row("another network, finalized", LINKS, &|a| {
        a.header.domain = scene.other_genesis().domain();
        finalize(scene, a);
    });
    row("another configuration, finalized", LINKS, &|a| {
        a.header.config = ConfigDigest::new([1; 32]);
        finalize(scene, a);
    });
    row("the next configuration as its own, finalized", LINKS, &|a| {
        a.header.config = a.header.next_config;
        finalize(scene, a);
    });

    row("no certificate", certified(CertificateError::Malformed), &|a| a.certificate.clear());
    row("a certificate of two of four", certified(CertificateError::NoQuorum { got: 2, needed: 3 }), &|a| {
        a.certificate = scene.certificate(last, &[0, 3]);
    });
    row("a certificate of another network", bad(committee[0]), &|a| {
        let other = scene.other_genesis().domain();
        a.certificate = scene.votes(Proposal::of(last), &other, FINALIZE, &[0, 1, 2]).encode();
    });
    row("a certificate with a stranger's vote", bad(committee[2]), &|a| {
        let mut votes = scene.votes(Proposal::of(last), &domain, FINALIZE, &[0, 1, 2]);
        votes.signatures[2] = Proposal::of(last).vote(&domain, FINALIZE, &[9; 32]);
        a.certificate = votes.encode();
    });
    row("a certificate of a sibling", LINKS, &|a| {
        let sibling = Header { time: last.time.plus_ms(1), ..last.clone() };
        a.certificate = scene.certificate(&sibling, &[0, 1, 2]);
    });
    row("a certificate that the committee of the epoch before signed for its own epoch", LINKS, &|a| {
        let on = Proposal { epoch: last.epoch.get() - 1, ..Proposal::of(last) };
        a.certificate = scene.votes(on, &domain, FINALIZE, &[0, 1, 2]).encode();
    });
    row("a certificate that was signed for the next epoch", LINKS, &|a| {
        let on = Proposal { epoch: last.epoch.get() + 1, ..Proposal::of(last) };
        a.certificate = scene.votes(on, &domain, FINALIZE, &[0, 1, 2]).encode();
    });
    let early = scene.certificates.iter().flatten().next().unwrap();
    row("a certificate of the first epoch", LINKS, &|a| a.certificate = early.clone());
    table.tally()
}

/// Checkpoints under a header that a quorum has really finalized.
fn checkpoints(auditor: &Auditor<'_>) -> Tally {
    let scene = auditor.scene;
    let whole = &scene.story.whole;
    let own = *whole.anchor.header.checkpoint.as_ref().unwrap().checkpoint();
    let mut table = auditor.table("audit verify, the checkpoint", whole);
    let carry = |s: &mut Shown, checkpoint: Option<CosignedCheckpoint>| {
        s.bundle.anchor.header.checkpoint = checkpoint;
        finalize(scene, &mut s.bundle.anchor);
    };
    table.also_accepts("cosigned by two others", |s| carry(s, Some(scene.cosigned(own, &[2, 3]))));
    table.row("none", |s| carry(s, None), BundleError::NoCheckpoint);
    table.row(
        "cosigned by one organisation",
        |s| carry(s, Some(scene.cosigned(own, &[1]))),
        BundleError::Checkpoint(CheckpointError::TooFewOrgs { got: 1, needed: 2 }),
    );
    let unknown = NodeId::of_key(super::scene::stranger(9).public());
    table.row(
        "cosigned by one organisation and a stranger",
        |s| {
            let by = vec![scene.cosignature(&own, 1), super::scene::cosign(&own, &[9; 32], unknown)];
            carry(s, Some(CosignedCheckpoint::new(own, by).unwrap()));
        },
        BundleError::Checkpoint(CheckpointError::UnknownCosigner { node: unknown }),
    );
    table.row(
        "cosigned before it was changed",
        |s| {
            let real = scene.cosigned(own, &[0, 1]);
            let changed = Checkpoint { size: own.size - 1, ..own };
            carry(s, Some(CosignedCheckpoint::new(changed, real.cosignatures().to_vec()).unwrap()));
        },
        BundleError::Checkpoint(CheckpointError::BadSignature { node: scene.keys(0).id }),
    );
    let number = || BundleError::Events("their number differs");
    let lies = [
        ("of the header's own height", Checkpoint { height: whole.anchor.header.height, ..own }, LINKS),
        ("of a later height", Checkpoint { height: Height::new(u64::MAX), ..own }, LINKS),
        ("of a smaller log with the same root", Checkpoint { size: own.size - 1, ..own }, number()),
        ("of a larger log with the same root", Checkpoint { size: own.size + 1, ..own }, number()),
        ("of a log with another root", Checkpoint { root: [1; 32], ..own }, BundleError::Events("their root differs")),
        ("of the beginning", *scene.story.early.checkpoint(), number()),
        (
            "of another channel",
            Checkpoint { channel: ChannelId::new([1; 32]), ..own },
            BundleError::Checkpoint(CheckpointError::OtherChannel),
        ),
    ];
    for (name, lie, expected) in lies {
        table.row(name, |s| carry(s, Some(scene.cosigned(lie, &[0, 1]))), expected);
    }
    table.tally()
}

fn epochs(auditor: &Auditor<'_>) -> Tally {
    let scene = auditor.scene;
    let whole = &scene.story.whole;
    let last = whole.anchor.header.epoch;
    let (steps, domain) = (whole.epochs.len(), scene.domain());
    assert!(steps > 1, "genesis decides the first two epochs, the bundle two more");
    let configuration = |epoch| BundleError::Configuration(Epoch::new(epoch));

    let mut table = auditor.table("audit verify, the epochs", whole);
    let mut row = |name, expected, change: &dyn Fn(&mut Vec<EpochStep>)| {
        table.row(name, |s| change(&mut s.bundle.epochs), expected);
    };
    row("no steps", BundleError::Configuration(last), &Vec::clear);
    row("the first step missing", configuration(2), &|e| drop(e.remove(0)));
    row("a step between missing", configuration(3), &|e| drop(e.remove(1)));
    row("the last step missing", BundleError::Configuration(last), &|e| drop(e.pop()));
    row("a step twice", configuration(3), &|e| e.insert(1, e[0].clone()));
    row("a step too many", BundleError::Configuration(last.next()), &|e| e.push(e[steps - 1].clone()));
    row("two steps exchanged", configuration(2), &|e| e.swap(0, 1));
    row("a committee of fewer", configuration(2), &|e| drop(e[0].config.members.pop()));
    row("a committee with somebody else's key", configuration(2), &|e| {
        e[0].config.members[0].node = NodeId::of_key(super::scene::stranger(9).public());
    });
    row("another order of turns", configuration(3), &|e| e[1].config.qualified.reverse());
    row("another rule of endorsement", configuration(3), &|e| e[1].config.channel.endorsements = 1);
    row("the configuration of another epoch", configuration(3), &|e| e[1].config.epoch = Epoch::new(4));
    row("announced by a header that was changed", LINKS, &|e| {
        e[0].config.channel.endorsements = 1;
        e[0].announced.header.next_config = e[0].config.digest();
    });
    row("announced by two of four", BundleError::Certificate(CertificateError::NoQuorum { got: 2, needed: 3 }), &|e| {
        e[0].config.channel.endorsements = 1;
        e[0].announced.header.next_config = e[0].config.digest();
        e[0].announced.certificate = scene.certificate(&e[0].announced.header, &[0, 1]);
        e[0].announced.links.clear();
    });
    row("announced by its own epoch", LINKS, &|e| {
        e[0].announced.header.epoch = Epoch::new(2);
        finalize(scene, &mut e[0].announced);
    });
    row("announced under the certificate of the epoch after", LINKS, &|e| {
        let on = Proposal { epoch: 2, ..Proposal::of(&e[0].announced.header) };
        e[0].announced.links.clear();
        e[0].announced.certificate = scene.votes(on, &domain, FINALIZE, &[0, 1, 2]).encode();
    });
    row("announced on another channel", LINKS, &|e| {
        e[0].announced.header.domain.channel = ChannelId::new([1; 32]);
        finalize(scene, &mut e[0].announced);
    });
    table.row(
        "an anchor of an epoch that no step leads to",
        |s| {
            s.bundle.anchor.header.epoch = last.next();
            finalize(scene, &mut s.bundle.anchor);
        },
        BundleError::Configuration(last.next()),
    );
    table.tally()
}

fn trails(auditor: &Auditor<'_>) -> Tally {
    let scene = auditor.scene;
    let (denied, allowed) = (&scene.story.denied, &scene.story.allowed);
    let at = |position: u64| usize::try_from(position).unwrap();
    let (number, root) = (|| BundleError::Events("their number differs"), || BundleError::Events("their root differs"));
    let mut table = auditor.table("audit verify, every event", &scene.story.whole);
    let mut row = |name, expected, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let forge = |s: &mut Shown| {
            let Content::All { leaves } = &mut s.bundle.content else { panic!("everything was asked for") };
            change(leaves);
        };
        table.row(name, forge, expected);
    };
    row("the last left out", number(), &|l| drop(l.pop()));
    row("the denial left out", number(), &|l| drop(l.remove(at(denied.position))));
    row("all left out", number(), &Vec::clear);
    row("one twice", number(), &|l| l.push(l[0].clone()));
    row("one of another log put in", number(), &|l| l.insert(1, denied.event.to_leaf()));
    row("two exchanged", root(), &|l| l.swap(0, 1));
    row("the denial replaced by the one before that was allowed", root(), &|l| {
        l[at(denied.position)] = l[at(allowed.position)].clone();
    });
    row("the denial as one that was allowed", root(), &|l| {
        let mut event = event(&l[at(denied.position)]);
        event.outcome.verdict = Verdict::Allow;
        l[at(denied.position)] = event.to_leaf();
    });
    row("a decryption by somebody else", root(), &|l| {
        let mut event = event(&l[at(allowed.position)]);
        event.actor = scene.network.neighbour.key.public();
        l[at(allowed.position)] = event.to_leaf();
    });
    row("one that is no event", BundleError::NotAnEvent(3), &|l| l[3].push(0));
    row("one without a byte", BundleError::NotAnEvent(0), &|l| l[0].clear());
    table.tally()
}

fn heads(auditor: &Auditor<'_>) -> Tally {
    let scene = auditor.scene;
    let story = &scene.story;
    let incomplete = || BundleError::Events("the head of the index differs");
    let (own, own_proof) = head(&story.about);
    let (_, older_proof) = head(&story.about_early);
    let (own_proof, older_proof) = (own_proof.clone(), older_proof.clone());
    // Another record, somewhere in the other half of the index.
    let far = (0..=u8::MAX).map(|n| HeadKey::Record(RecordId::new([n; 32])));
    let side = |key: &HeadKey| dmdl_types::index_proof::bit(&key.path(), 0);
    let far = far.into_iter().find(|key| side(key) != side(&own)).unwrap();

    let mut table = auditor.table("audit verify, one record", &story.about);
    let leaves = |s: &mut Shown, change: &dyn Fn(&mut Vec<Placed>)| {
        let Content::Head { leaves, .. } = &mut s.bundle.content else { panic!("one record was asked for") };
        change(leaves);
    };
    table.row("the last event left out", |s| leaves(s, &|l| drop(l.pop())), incomplete());
    table.row("the first event left out", |s| leaves(s, &|l| drop(l.remove(0))), incomplete());
    table.row("all events left out", |s| leaves(s, &Vec::clear), incomplete());
    table.row("an event twice", |s| leaves(s, &|l| l.push(l[0].clone())), incomplete());
    table.row("two events exchanged", |s| leaves(s, &|l| l.swap(0, 1)), incomplete());
    table.row("an event at another position", |s| leaves(s, &|l| l[0].0 += 1), incomplete());
    table.row(
        "an event of another record put in",
        |s| leaves(s, &|l| l.push((story.outlived.position, story.outlived.event.to_leaf()))),
        incomplete(),
    );
    table.row(
        "the denial as one that was allowed",
        |s| {
            leaves(s, &|l| {
                let denial = l.iter_mut().find(|(position, _)| *position == story.denied.position).unwrap();
                let mut event = event(&denial.1);
                event.outcome.verdict = Verdict::Allow;
                denial.1 = event.to_leaf();
            });
        },
        incomplete(),
    );
    table.row(
        "everything as if it were one record's",
        |s| s.bundle.content = all_as(s, own, &story.whole),
        incomplete(),
    );

    let mut proof = |name, expected, change: &dyn Fn(&mut HeadKey, &mut HeadProof)| {
        let forge = |s: &mut Shown| {
            let Content::Head { key, proof, .. } = &mut s.bundle.content else { panic!("one record was asked for") };
            change(key, proof);
        };
        table.row(name, forge, expected);
    };
    let root = || BundleError::Head(HeadProofError::Root);
    proof("the proof under an older root", root(), &|_, proof| *proof = older_proof.clone());
    proof("a hash of the proof left out", root(), &|_, proof| proof.siblings.truncate(proof.siblings.len() - 1));
    proof("a hash of the proof changed", root(), &|_, proof| proof.siblings[0][0] ^= 1);
    proof("a proof with a head of fewer events", root(), &|_, proof| {
        let Terminal::Head { head, .. } = &mut proof.terminal else { panic!("the record has a head") };
        head.count -= 1;
    });
    proof("a proof that there is nothing", root(), &|_, proof| proof.terminal = Terminal::Empty);
    proof("a proof deeper than a path", BundleError::Head(HeadProofError::TooDeep(257)), &|_, proof| {
        proof.siblings.resize(257, [0; 32]);
    });
    proof("the proof of a record on the other side", BundleError::Head(HeadProofError::Elsewhere), &|key, _| {
        *key = far
    });
    table.row(
        "the head and events of before, under the checkpoint of now",
        |s| s.bundle.content = story.about_early.content.clone(),
        root(),
    );
    table.row(
        "the head and events of now, under the checkpoint of before",
        |s| s.bundle = Bundle { content: s.bundle.content.clone(), ..story.about_early.clone() },
        root(),
    );
    table.row(
        "a record that claims the head of nobody",
        |s| {
            let terminal = Terminal::Head { path: own.path(), head: Head { count: 1, rolling: [1; 32] } };
            let proof = HeadProof { siblings: own_proof.siblings.clone(), terminal };
            s.bundle.content = Content::Head { key: own, proof, leaves: vec![] };
        },
        root(),
    );
    table.tally()
}

fn head(bundle: &Bundle) -> (HeadKey, &HeadProof) {
    let Content::Head { key, proof, .. } = &bundle.content else { panic!("one record was asked for") };
    (*key, proof)
}

/// All events of the channel, under the proof of one record.
fn all_as(shown: &Shown, key: HeadKey, whole: &Bundle) -> Content {
    let Content::All { leaves } = &whole.content else { panic!("everything was asked for") };
    let (_, proof) = head(&shown.bundle);
    Content::Head { key, proof: proof.clone(), leaves: (0..).zip(leaves.iter().cloned()).collect() }
}
