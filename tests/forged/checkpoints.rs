//! Checkpoints, as anyone who knows the committers verifies them.

use super::{
    scene::{Scene, cosign, stranger},
    table::{Table, Tally},
};
use dmdl_types::{
    checkpoint::{Checkpoint, CheckpointError, Committer, Cosignature, CosignaturesError, CosignedCheckpoint},
    id::{BlockDigest, ChannelId, Epoch, Height, NetworkId, NodeId},
    sign::Domain,
};

/// A checkpoint, who is said to have cosigned it, and what the one who reads it knows by itself.
#[derive(Clone)]
struct Shown {
    checkpoint: Checkpoint,
    cosignatures: Vec<Cosignature>,
    domain: Domain,
    committers: Vec<Committer>,
}

/// Why it is not believed.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Set(#[from] CosignaturesError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

pub(crate) fn table(scene: &Scene) -> Tally {
    use CheckpointError as E;
    use Refusal::Checkpoint as Because;

    let real = &scene.story.late;
    let config = scene.config(Epoch::new(0));
    let needed = config.cosigners_needed();
    // Two of the real cosignatures: exactly as many as are needed, so each of them counts.
    let cosignatures = real.cosignatures()[..2].to_vec();
    let (first, second) = (cosignatures[0].node, cosignatures[1].node);
    let place = |node: NodeId| scene.network.keys.iter().position(|keys| keys.id == node).unwrap();
    let absent = (0..4).find(|position| ![place(first), place(second)].contains(position)).unwrap();
    let absent_id = scene.keys(absent).id;
    let original =
        Shown { checkpoint: *real.checkpoint(), cosignatures, domain: scene.domain(), committers: config.cosigners() };
    let accepts = |shown: &Shown| -> Result<(), Refusal> {
        let cosigned = CosignedCheckpoint::new(shown.checkpoint, shown.cosignatures.clone())?;
        cosigned.verify(&shown.domain, &shown.committers, needed)?;
        Ok(())
    };

    let mut table = Table::new("checkpoints", original, accepts);
    table.row("cosigned by nobody", |s| s.cosignatures.clear(), Refusal::Set(CosignaturesError::None));
    table.row("cosigned by one", |s| s.cosignatures.truncate(1), Because(E::TooFewOrgs { got: 1, needed: 2 }));
    table.row(
        "cosigned by one node twice",
        |s| s.cosignatures[1] = s.cosignatures[0],
        Refusal::Set(CosignaturesError::OutOfOrder { node: first }),
    );
    table.row(
        "cosigned by two nodes of one organisation",
        |s| {
            let org = s.committers[place(first)].org.clone();
            s.committers[place(second)].org = org;
        },
        Because(E::TooFewOrgs { got: 1, needed: 2 }),
    );
    table.row(
        "cosigned with one key under two names",
        |s| {
            s.committers[place(second)].cosigning_key = s.committers[place(first)].cosigning_key;
            s.cosignatures[1] = cosign(&s.checkpoint, &scene.keys(place(first)).cosigning, second);
        },
        Because(E::SharedKey { node: second }),
    );
    let unknown = NodeId::of_key(stranger(9).public());
    table.row(
        "cosigned by a stranger too",
        |s| s.cosignatures.push(cosign(&s.checkpoint, &[9; 32], unknown)),
        Because(E::UnknownCosigner { node: unknown }),
    );
    table.row(
        "cosigned in another node's name",
        |s| s.cosignatures[1].node = absent_id,
        Because(E::OtherKey { node: absent_id }),
    );
    table.row(
        "cosigned in another node's name, with its key's id",
        |s| {
            let theirs = scene.cosignature(&s.checkpoint, absent);
            s.cosignatures[1] = Cosignature { signature: s.cosignatures[1].signature, ..theirs };
        },
        Because(E::BadSignature { node: absent_id }),
    );
    table.row(
        "cosigned with the key of votes",
        |s| s.cosignatures[1] = cosign(&s.checkpoint, &scene.keys(place(second)).seed, second),
        Because(E::OtherKey { node: second }),
    );
    table.row(
        "cosigned with the key of votes, under the other key's id",
        |s| {
            let made = cosign(&s.checkpoint, &scene.keys(place(second)).seed, second);
            s.cosignatures[1].signature = made.signature;
            s.cosignatures[1].time_unix_s = made.time_unix_s;
        },
        Because(E::BadSignature { node: second }),
    );
    table.row(
        "cosigned at another time",
        |s| s.cosignatures[0].time_unix_s += 1,
        Because(E::BadSignature { node: first }),
    );
    table.row(
        "cosigned after the end of time",
        |s| s.cosignatures[0].time_unix_s = u64::MAX,
        Because(E::BadSignature { node: first }),
    );
    table.row(
        "with the cosignatures of an earlier one",
        |s| s.cosignatures = scene.story.early.cosignatures()[..2].to_vec(),
        Because(E::BadSignature { node: scene.story.early.cosignatures()[0].node }),
    );

    let mut altered = |name, error, change: &dyn Fn(&mut Checkpoint)| {
        table.row(name, |s| change(&mut s.checkpoint), Because(error));
    };
    let forged = E::BadSignature { node: first };
    altered("of a smaller log with the same root", forged.clone(), &|c| c.size -= 1);
    altered("of a larger log with the same root", forged.clone(), &|c| c.size += 1);
    altered("of a log with another root", forged.clone(), &|c| c.root[0] ^= 1);
    altered("of another state", forged.clone(), &|c| c.state[0] ^= 1);
    altered("of another index", forged.clone(), &|c| c.index[0] ^= 1);
    altered("of another height", forged.clone(), &|c| c.height = Height::new(c.height.get() - 1));
    altered("of another block", forged, &|c| c.block = BlockDigest::new([1; 32]));
    altered("of another network", E::OtherNetwork, &|c| c.network = NetworkId::new([1; 32]));
    altered("of another channel", E::OtherChannel, &|c| c.channel = ChannelId::new([1; 32]));
    table.row("shown on another network", |s| s.domain = scene.other_genesis().domain(), Because(E::OtherNetwork));
    table.tally()
}
