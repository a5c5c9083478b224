//! Checkpoints that were verified a moment ago, so that many receipts under one of them do not cost its signatures and
//! its proof each time.

use dmdl_types::checkpoint::{CosignedCheckpoint, VerifiedCheckpoint};
use std::collections::VecDeque;

/// Most of each kind: blocks come by the dozen a second, and each may be shown with several sets of cosignatures.
const KEPT: usize = 32;

/// The newest of them, the last one first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    vouched: VecDeque<(CosignedCheckpoint, VerifiedCheckpoint)>,
    of_log: VecDeque<VerifiedCheckpoint>,
}

impl Recent {
    /// What was verified of exactly this checkpoint with these cosignatures. One more or another one is verified anew,
    /// so that no byte can be changed unnoticed.
    pub(super) fn vouched(&self, shown: &CosignedCheckpoint) -> Option<VerifiedCheckpoint> {
        self.vouched.iter().find(|(known, _)| known == shown).map(|(_, verified)| *verified)
    }

    /// Takes note that its cosignatures verify.
    pub(super) fn note_vouched(&mut self, shown: &CosignedCheckpoint, verified: VerifiedCheckpoint) {
        note(&mut self.vouched, (shown.clone(), verified));
    }

    /// Whether it is known to be of the log that was seen.
    pub(super) fn is_of_log(&self, verified: &VerifiedCheckpoint) -> bool {
        self.of_log.contains(verified)
    }

    /// Takes note that it is.
    pub(super) fn note_of_log(&mut self, verified: VerifiedCheckpoint) {
        note(&mut self.of_log, verified);
    }
}

fn note<T>(kept: &mut VecDeque<T>, one: T) {
    kept.truncate(KEPT - 1);
    kept.push_front(one);
}

#[cfg(test)]
mod tests {
    use super::*;
    use dmdl_types::{
        checkpoint::{Checkpoint, Committer, CosigningKey},
        id::{BlockDigest, ChannelId, Height, NetworkId, NodeId, OrgId},
        secret::Secret32,
        sign::{Domain, PublicKey},
    };

    const DOMAIN: Domain = Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) };

    fn node(number: u8) -> NodeId {
        NodeId::of_key(PublicKey::new([number; 32]))
    }

    fn key(number: u8) -> CosigningKey {
        CosigningKey::from_seed(Secret32::new([number; 32]))
    }

    /// A checkpoint of so many events, cosigned by these.
    fn shown(size: u64, cosigners: &[u8]) -> (CosignedCheckpoint, VerifiedCheckpoint) {
        let Domain { network, channel } = DOMAIN;
        let (block, root) = (BlockDigest::new([3; 32]), [4; 32]);
        let height = Height::new(size);
        let checkpoint = Checkpoint { network, channel, size, root, height, block, state: [5; 32], index: [6; 32] };
        let cosigned = cosigners.iter().map(|number| key(*number).sign(&checkpoint, node(*number), 7)).collect();
        let committer = |number: &u8| Committer {
            node: node(*number),
            cosigning_key: key(*number).public(),
            org: OrgId::new(format!("org-{number}")).unwrap(),
        };
        let committers: Vec<Committer> = cosigners.iter().map(committer).collect();
        let cosigned = CosignedCheckpoint::new(checkpoint, cosigned).unwrap();
        let verified = cosigned.verify(&DOMAIN, &committers, 1).unwrap();
        (cosigned, verified)
    }

    #[test]
    fn only_the_same_cosignatures_are_not_verified_again() {
        let mut recent = Recent::default();
        let (cosigned, verified) = shown(9, &[1, 2]);
        assert_eq!(recent.vouched(&cosigned), None);
        recent.note_vouched(&cosigned, verified);
        assert_eq!(recent.vouched(&cosigned), Some(verified));
        assert_eq!(recent.vouched(&shown(9, &[1, 2, 3]).0), None, "with a further cosignature");
        assert_eq!(recent.vouched(&shown(10, &[1, 2]).0), None, "another checkpoint");
    }

    #[test]
    fn what_was_proved_of_one_checkpoint_holds_for_it_alone() {
        let mut recent = Recent::default();
        recent.note_of_log(shown(9, &[1]).1);
        assert!(recent.is_of_log(&shown(9, &[2]).1), "whoever cosigned it");
        assert!(!recent.is_of_log(&shown(8, &[1]).1));
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut recent = Recent::default();
        for size in 0..100 {
            let (cosigned, verified) = shown(size, &[1]);
            recent.note_vouched(&cosigned, verified);
            recent.note_of_log(verified);
        }
        assert_eq!((recent.vouched.len(), recent.of_log.len()), (KEPT, KEPT));
        let kept = |size| recent.vouched(&shown(size, &[1]).0).is_some() && recent.is_of_log(&shown(size, &[1]).1);
        assert!(kept(99) && kept(68) && !kept(67));
    }
}
