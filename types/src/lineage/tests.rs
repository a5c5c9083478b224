//! A channel that a fifth organisation joins in epoch 3, and that the first one has left in epoch 5.

use super::*;
use crate::{
    checkpoint::{Checkpoint, CheckpointError, CosignedCheckpoint, CosigningKey},
    genesis::{Genesis, Member, NodeRoles, tests::genesis},
    governance::{Change, apply},
    id::{BlockDigest, ChannelId, OrgId, UnixMillis, View},
    secret::Secret32,
    sign::SigningKey,
};
use commonware_codec::{Copying, DecodeExt, Encode};
use commonware_cryptography::{Signer as _, ed25519};

const LAST: u64 = 6;
const BLOCKS: u64 = 10;

fn founding() -> Founding {
    let mut genesis: Genesis = genesis();
    genesis.channel.epoch_blocks = BLOCKS;
    genesis.founding()
}

fn key(n: u8) -> PublicKey {
    SigningKey::from_seed(Secret32::new([n; 32])).public()
}

fn node(n: u8) -> NodeId {
    NodeId::of_key(key(n))
}

fn member(n: u8) -> Member {
    let org = OrgId::new(format!("org-{n}")).unwrap();
    Member { node: node(n), cosigning_key: key(100 + n), org, roles: NodeRoles::ALL }
}

/// The configurations of epochs 0 to [`LAST`].
fn configs() -> Vec<EpochConfig> {
    let mut configs = vec![founding().epoch_config(Epoch::new(0))];
    for epoch in 1..=LAST {
        let before = configs.last().unwrap();
        let mut config = match epoch {
            3 => {
                let change = Change::AddNode { member: member(5), address: "five.example:7400".to_owned() };
                apply(before, &[change], false).unwrap()
            }
            5 => apply(before, &[Change::RemoveNode { node: node(1) }], false).unwrap(),
            _ => before.clone(),
        };
        config.epoch = Epoch::new(epoch);
        config.qualified = config.orderers();
        // Who may propose changes more often than who may cosign.
        if epoch == 4 {
            config.qualified.reverse();
        }
        configs.push(config);
    }
    configs
}

/// The last header of an epoch.
fn header(configs: &[EpochConfig], epoch: u64) -> Header {
    let at = usize::try_from(epoch).unwrap();
    let (config, next) = (&configs[at], &configs[at + 1]);
    Header {
        domain: founding().domain,
        height: Height::new((epoch + 1) * BLOCKS - 1),
        epoch: config.epoch,
        view: View::new(9),
        primary: config.qualified[0],
        parent_view: View::new(8),
        parent: BlockDigest::new([7; 32]),
        parent_signers: Vec::new(),
        time: UnixMillis::new(epoch),
        config: config.digest(),
        next_config: next.digest(),
        body: [0; 32],
        checkpoint: None,
    }
}

/// A certificate of a header, as if it were of this epoch, with the votes of the nodes of these organisations among
/// those of a committee.
fn certificate(header: &Header, epoch: Epoch, committee: &[NodeId], by: &[u8]) -> Vec<u8> {
    let proposal = crate::certificate::Proposal {
        epoch,
        view: header.view,
        parent_view: header.parent_view,
        digest: header.digest(),
    };
    let namespace = [&crate::certificate::vote_namespace(&header.domain)[..], b"_FINALIZE"].concat();
    let mut out = proposal.encode();
    out.extend((committee.len() as u64).to_be_bytes());
    let mut votes: Vec<(usize, u8)> =
        by.iter().map(|n| (committee.iter().position(|member| *member == node(*n)).unwrap(), *n)).collect();
    votes.sort_unstable();
    out.extend([votes.iter().fold(0, |bits, (position, _)| bits | 1 << position), u8::try_from(votes.len()).unwrap()]);
    for (_, n) in votes {
        let key = ed25519::PrivateKey::decode(Copying(&[n; 32])).unwrap();
        out.extend(key.sign(&namespace, &proposal.encode()).encode());
    }
    out
}

/// Members that are there from the beginning to the end, and a quorum of four and of five.
const QUORUM: [u8; 4] = [2, 3, 4, 5];

fn quorum(config: &EpochConfig) -> Vec<u8> {
    QUORUM.into_iter().filter(|n| config.orderers().contains(&node(*n))).collect()
}

fn sealed(header: Header, config: &EpochConfig) -> FinalHeader {
    let certificate = certificate(&header, config.epoch, &config.orderers(), &quorum(config));
    FinalHeader { header, links: Vec::new(), certificate }
}

/// The steps to the epochs from 2 on.
fn steps() -> Vec<EpochStep> {
    let configs = configs();
    let pairs = configs.iter().zip(configs.iter().skip(1)).skip(1);
    pairs
        .map(|(before, config)| EpochStep {
            announced: sealed(header(&configs, before.epoch.get()), before),
            config: config.clone(),
        })
        .collect()
}

fn followed(steps: &[EpochStep]) -> Result<Lineage, LineageError> {
    let mut lineage = Lineage::new(&founding());
    lineage.follow(steps).map(|()| lineage)
}

fn cosigned(height: u64, by: &[u8]) -> CosignedCheckpoint {
    let Domain { network, channel } = founding().domain;
    let checkpoint = Checkpoint {
        network,
        channel,
        size: height,
        root: [1; 32],
        height: Height::new(height),
        block: BlockDigest::new([2; 32]),
        state: [3; 32],
        index: [4; 32],
    };
    let cosign = |n: &u8| CosigningKey::from_seed(Secret32::new([100 + n; 32])).sign(&checkpoint, node(*n), 1);
    CosignedCheckpoint::new(checkpoint, by.iter().map(cosign).collect()).unwrap()
}

fn vouched(lineage: &Lineage, height: u64, by: &[u8]) -> Result<(), VouchError<CheckpointError>> {
    let cosigned = cosigned(height, by);
    let verified = lineage
        .vouch(Height::new(height), |committers, needed| cosigned.verify(&founding().domain, committers, needed));
    verified.map(drop)
}

#[test]
fn committees_are_followed_to_the_newest_configuration() {
    let steps = steps();
    let lineage = followed(&steps).unwrap();
    assert_eq!(Some(lineage.newest()), configs().last());
    // Page by page, as well.
    let mut paged = Lineage::new(&founding());
    for page in steps.chunks(2) {
        paged.follow(page).unwrap();
    }
    assert_eq!(paged, lineage);
    paged.follow(&[]).unwrap();
    assert_eq!(paged, lineage);
}

#[test]
fn a_step_is_missing_doubled_or_forged_in_vain() {
    type Forge = Box<dyn Fn(&mut Vec<EpochStep>)>;
    fn row(
        name: &'static str,
        error: LineageError,
        change: impl Fn(&mut Vec<EpochStep>) + 'static,
    ) -> (&'static str, LineageError, Forge) {
        (name, error, Box::new(change))
    }
    let configuration = |epoch| LineageError::Configuration(Epoch::new(epoch));
    let no_quorum = |got, needed| LineageError::Certificate(CertificateError::NoQuorum { got, needed });
    let rows = [
        row("the first missing", configuration(2), |s| drop(s.remove(0))),
        row("one between missing", configuration(4), |s| drop(s.remove(2))),
        row("one twice", configuration(3), |s| s.insert(1, s[0].clone())),
        row("two exchanged", configuration(2), |s| s.swap(0, 1)),
        row("a configuration that was not announced", configuration(3), |s| {
            s[1].config.members[0].cosigning_key = key(99);
        }),
        row("a configuration of another epoch", configuration(3), |s| s[1].config.epoch = Epoch::new(7)),
        row("announced by a header that was changed", LineageError::Links, |s| {
            s[1].config.channel.endorsements = 3;
            s[1].announced.header.next_config = s[1].config.digest();
        }),
        row("announced on another channel", LineageError::Links, |s| {
            let mut header = s[1].announced.header.clone();
            header.domain.channel = ChannelId::new([9; 32]);
            s[1].announced = sealed(header, &configs()[2]);
        }),
        row("announced by a header of another epoch", LineageError::Links, |s| {
            let mut header = s[1].announced.header.clone();
            header.epoch = Epoch::new(3);
            s[1].announced = sealed(header, &configs()[2]);
        }),
        row("announced under another configuration", LineageError::Links, |s| {
            let mut header = s[1].announced.header.clone();
            header.config = configs()[1].digest();
            s[1].announced = sealed(header, &configs()[2]);
        }),
        row("under a certificate of another epoch", LineageError::Links, |s| {
            let (header, committee) = (&s[1].announced.header, configs()[2].orderers());
            s[1].announced.certificate = certificate(header, Epoch::new(3), &committee, &[2, 3, 4]);
        }),
        row("under the certificate of another header", LineageError::Links, |s| {
            s[1].announced.certificate = s[0].announced.certificate.clone();
        }),
        row(
            "certified by the committee after it",
            LineageError::Certificate(CertificateError::OtherCommittee { certificate: 5, committee: 4 }),
            |s| {
                let (header, committee) = (&s[1].announced.header, configs()[3].orderers());
                s[1].announced.certificate = certificate(header, Epoch::new(2), &committee, &QUORUM);
            },
        ),
        row("certified by too few", no_quorum(2, 3), |s| {
            let (header, committee) = (&s[1].announced.header, configs()[2].orderers());
            s[1].announced.certificate = certificate(header, Epoch::new(2), &committee, &[2, 3]);
        }),
        row("with a certificate that is cut", LineageError::Certificate(CertificateError::Malformed), |s| {
            _ = s[1].announced.certificate.pop();
        }),
        row("with a link that leads nowhere", LineageError::Links, |s| {
            let link = s[0].announced.header.clone();
            s[1].announced.links.push(link);
        }),
    ];
    for (name, error, change) in rows {
        let mut forged = steps();
        change(&mut forged);
        assert_eq!(followed(&forged), Err(error), "{name}");
    }
}

#[test]
fn a_header_is_final_by_a_descendant_in_its_epoch() {
    let (configs, mut steps) = (configs(), steps());
    let announced = Header { height: Height::new(15), ..header(&configs, 1) };
    let descendant = Header { parent: announced.digest(), height: Height::new(16), ..header(&configs, 1) };
    let FinalHeader { header, certificate, .. } = sealed(descendant, &configs[1]);
    steps[0].announced = FinalHeader { header: announced, links: vec![header], certificate };
    followed(&steps).unwrap();
}

#[test]
fn what_was_followed_before_a_wrong_step_stays() {
    let mut forged = steps();
    forged[3].config.qualified.reverse();
    let mut lineage = Lineage::new(&founding());
    assert_eq!(lineage.follow(&forged), Err(LineageError::Configuration(Epoch::new(5))));
    assert_eq!(lineage.newest(), &configs()[4]);
    lineage.follow(&steps()[3..]).unwrap();
}

#[test]
fn committers_vouch_for_their_own_epochs_and_for_what_was_before() {
    let lineage = followed(&steps()).unwrap();
    let unknown = |n| Err(VouchError::Refused(CheckpointError::UnknownCosigner { node: node(n) }));
    // The block after height 29 is the first of epoch 3.
    assert_eq!([28, 29, 30].map(|height| cosigning_epoch(Height::new(height), BLOCKS).get()), [2, 3, 3]);
    let (founders, fifth) = ([1, 2], [2, 5]);
    for height in [0, 9, 28, 29, 48] {
        assert_eq!(vouched(&lineage, height, &founders), Ok(()), "{height}");
        assert_eq!(vouched(&lineage, height, &fifth), Ok(()), "{height}");
    }
    for height in [49, 50, 68] {
        assert_eq!(vouched(&lineage, height, &founders), unknown(1), "{height}");
        assert_eq!(vouched(&lineage, height, &fifth), Ok(()), "{height}");
    }
    // Those who left and those who came never stand under one checkpoint by a rule of one epoch alone.
    assert_eq!(vouched(&lineage, 48, &[1, 5]), Ok(()));
    assert_eq!(vouched(&lineage, 49, &[1, 5]), unknown(1));
    let few = CheckpointError::TooFewOrgs { got: 1, needed: 2 };
    assert_eq!(vouched(&lineage, 30, &[5]), Err(VouchError::Refused(few)));
}

#[test]
fn nobody_vouches_for_an_epoch_that_is_not_known() {
    let lineage = Lineage::new(&founding());
    assert_eq!(vouched(&lineage, 18, &[1, 2]), Ok(()));
    for (height, epoch) in [(19, 2), (20, 2), (1000, 100), (u64::MAX, u64::MAX / BLOCKS)] {
        assert_eq!(vouched(&lineage, height, &[1, 2]), Err(VouchError::Unknown(Epoch::new(epoch))), "{height}");
    }
}

#[test]
fn what_is_kept_is_small_and_read_back() {
    let lineage = followed(&steps()).unwrap();
    assert_eq!(lineage.turns.iter().map(|turn| turn.epoch.get()).collect::<Vec<_>>(), [0, 3, 5]);
    assert_eq!(Lineage::from_bytes(&founding(), &lineage.to_bytes()), Some(lineage));
    let new = Lineage::new(&founding());
    assert_eq!(Lineage::from_bytes(&founding(), &new.to_bytes()), Some(new));
}

#[test]
fn what_is_damaged_or_of_another_channel_is_not_read() {
    let kept = followed(&steps()).unwrap().to_bytes();
    for at in 0..kept.len() {
        let mut damaged = kept.clone();
        damaged[at] ^= 1;
        assert_eq!(Lineage::from_bytes(&founding(), &damaged), None, "byte {at}");
    }
    for cut in [0, 31, 32, kept.len() - 1] {
        assert_eq!(Lineage::from_bytes(&founding(), &kept[..cut]), None, "cut at {cut}");
    }
    assert_eq!(Lineage::from_bytes(&founding(), &[&kept[..], &[0]].concat()), None);

    let mut other = founding();
    other.members[0].cosigning_key = key(99);
    assert_eq!(Lineage::from_bytes(&other, &kept), None);

    // A digest alone makes no lineage.
    let lineage = followed(&steps()).unwrap();
    let with = |turns: &[EpochConfig], newest: &EpochConfig| {
        Lineage { turns: turns.to_vec(), newest: newest.clone(), ..lineage.clone() }.to_bytes()
    };
    let [first, third, fifth] = lineage.turns.as_slice() else { panic!("three turns") };
    let (first, third, fifth) = (first.clone(), third.clone(), fifth.clone());
    for kept in [
        with(&[], &lineage.newest),
        with(&[third.clone(), fifth.clone()], &lineage.newest),
        with(&[first.clone(), fifth.clone(), third.clone()], &lineage.newest),
        with(&[first.clone(), third], &lineage.newest),
        with(&lineage.turns, &configs()[4]),
        with(std::slice::from_ref(&first), &first),
    ] {
        assert_eq!(Lineage::from_bytes(&founding(), &kept), None);
    }
}
