//! The release rule: the one place that decides whether a share leaves.
//!
//! The rule reads what this node's own executor says at its own tip, the context of the share that is
//! held, and the node's own clock; the clock only ever makes it refuse. Nothing that a requester sends
//! enters but the id of a transaction. What it gives is a [`ReleasePermit`], and only a permit seals.
//!
//! # Source
//! docs/spec/custodian.md, "The release rule": the numbers below are its numbers

use super::entry::{ReleaseEntry, ReleaseRow};
use crate::{
    keys::{KeyError, check_x25519},
    seal::{SealError, seal_to_requester},
    share::{CheckedDealing, DealingError, Share, VerifyError},
};
use dmdl_types::{
    context::{DataContext, ReleaseContext, ShareContext},
    custody::{AllowedDecryption, ReleaseView, ShareView},
    id::{GrantId, NodeId, RecordId, ShareEpoch, TransactionId, UnixMillis, UseNumber},
    planted,
    sign::{Domain, SigningKey},
};
use rand_core::CryptoRng;

/// How far a custodian's clock may lag behind the ledger's.
pub const CLOCK_BOUND_MS: u64 = 2_000;
/// How long after its block a decryption may be answered.
pub const RELEASE_WINDOW_MS: u64 = 24 * 60 * 60 * 1_000;
/// The least staleness limit.
pub const STALENESS_MIN_MS: u64 = 10_000;

/// The numbers of the release rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseLimits {
    /// How far the own clock may lag behind the tip's block time.
    pub clock_bound_ms: u64,
    /// How old the tip may be by the own clock: an eclipsed custodian refuses after this.
    pub staleness_ms: u64,
    /// How long after its block a decryption may be answered.
    pub release_window_ms: u64,
}

impl ReleaseLimits {
    /// The limits of a channel: staleness is one heartbeat and `f + 1` certification timeouts, at
    /// least [`STALENESS_MIN_MS`].
    #[must_use]
    pub const fn of_channel(heartbeat_ms: u64, certification_timeout_ms: u64, faults_tolerated: u64) -> Self {
        let waits = certification_timeout_ms.saturating_mul(faults_tolerated.saturating_add(1));
        let staleness_ms = heartbeat_ms.saturating_add(waits);
        let staleness_ms = if staleness_ms < STALENESS_MIN_MS { STALENESS_MIN_MS } else { staleness_ms };
        Self { clock_bound_ms: CLOCK_BOUND_MS, staleness_ms, release_window_ms: RELEASE_WINDOW_MS }
    }
}

/// Why a share does not leave: one variant a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// Clause 1.
    #[error("the ledger is not the pinned network and channel")]
    OtherLedger,
    /// Clause 2: a state that our own argument says cannot happen.
    #[error("two conflicting certificates were seen: nothing is released any more")]
    ConflictSeen,
    /// Clause 3.
    #[error("decryption `{asked}` was not executed here with outcome ALLOW")]
    NotAllowed {
        /// What was asked for.
        asked: TransactionId,
    },
    /// Clause 4.
    #[error("use `{number}` of a grant of `{max}`")]
    UsedUp {
        /// Which use the decryption is.
        number: UseNumber,
        /// How many there are.
        max: u32,
    },
    /// Clause 5.
    #[error("grant `{grant}` is revoked")]
    GrantRevoked {
        /// The grant.
        grant: GrantId,
    },
    /// Clause 6.
    #[error("the requester's key is not active")]
    KeyInactive,
    /// Clause 7.
    #[error("the requester is suspended")]
    RequesterSuspended,
    /// Clause 8.
    #[error("this node is no custodian of the record")]
    NotCustodian,
    /// Clause 9.
    #[error("record `{record}` is erased")]
    RecordErased {
        /// The record.
        record: RecordId,
    },
    /// Clause 10: nothing is held.
    #[error("this custodian holds no share of record `{record}`")]
    NotHeld {
        /// The record.
        record: RecordId,
    },
    /// Clause 10: what is held belongs to another epoch.
    #[error("a share of epoch `{held}` of record `{record}` is held; the current epoch is `{current}`")]
    OtherEpoch {
        /// The record.
        record: RecordId,
        /// The held share's epoch.
        held: ShareEpoch,
        /// The ledger's epoch.
        current: ShareEpoch,
    },
    /// Clause 11.
    #[error("the held share of record `{record}` is not the one that the ledger speaks of")]
    OtherShare {
        /// The record.
        record: RecordId,
    },
    /// Clause 12.
    #[error("the release window ended at `{ended}`")]
    WindowEnded {
        /// The last instant of the window.
        ended: UnixMillis,
    },
    /// Clause 13.
    #[error("the grant ended at `{ended}`")]
    GrantEnded {
        /// The grant's last instant.
        ended: UnixMillis,
    },
    /// Clause 14.
    #[error("this node's clock lags `{lag_ms}` ms behind the ledger")]
    ClockBehind {
        /// How far.
        lag_ms: u64,
    },
    /// Clause 15.
    #[error("this node's last block is `{age_ms}` ms old")]
    TipStale {
        /// How old.
        age_ms: u64,
    },
    /// Clause 16.
    #[error("decryption `{asked}` lists no one-time key for this custodian")]
    NoOpeningKey {
        /// The decryption.
        asked: TransactionId,
    },
    /// Clause 17.
    #[error("decryption lists a bad one-time key: {0}")]
    BadOpeningKey(KeyError),
    /// Clause 18: the ledger's commitments are not the dealing's.
    #[error("the ledger's commitments are none of this dealing: {0}")]
    BadCommitments(DealingError),
    /// Clause 18: the share is not the committed one.
    #[error("the held share is not the committed one: {0}")]
    NotCommitted(VerifyError),
    /// Sealing refused: the permit and the share or the signer do not belong together.
    #[error("the release was not sealed: {0}")]
    NotSealed(SealError),
}

impl ReleaseError {
    /// Whether the same ask may succeed later without another transaction: the node catches up, or
    /// its clock is set right.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::NotAllowed { .. } | Self::ClockBehind { .. } | Self::TipStale { .. })
    }
}

/// The release rule of one custodian on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseRule {
    /// The network and channel that the operator pinned.
    pub pinned: Domain,
    /// The custodian.
    pub me: NodeId,
    /// The numbers.
    pub limits: ReleaseLimits,
}

impl ReleaseRule {
    /// Whether the share with the context `held` may leave for decryption `asked`.
    ///
    /// # Errors
    /// [`ReleaseError`] names the first clause that does not hold.
    pub fn check(
        &self,
        asked: TransactionId,
        view: &ReleaseView,
        held: Option<&ShareContext>,
        own_clock: UnixMillis,
    ) -> Result<ReleasePermit, ReleaseError> {
        // 1. Network and channel are the pinned ones.
        if (view.network, view.channel) != (self.pinned.network, self.pinned.channel) {
            return Err(ReleaseError::OtherLedger);
        }
        // 2. No conflicting certificate was ever seen.
        if view.conflict_seen {
            return Err(ReleaseError::ConflictSeen);
        }
        let decryption = executed(asked, view)?;
        check_authority(decryption, view)?;
        let share = self.check_share(view, held)?;
        let tip_time = planted!("custodian-trusts-another-tip" => own_clock, else view.tip_time);
        self.check_time(decryption, tip_time, own_clock)?;
        let opening_key = check_opening_key(decryption)?;
        // 18, first half. The commitments are those of the dealing that the share comes from.
        let dealing =
            CheckedDealing::of_context(&share.share, &share.commitments).map_err(ReleaseError::BadCommitments)?;
        let context =
            ReleaseContext { share: share.share, transaction: asked, requester: decryption.requester, opening_key };
        let grant = decryption.grant.map(|grant| grant.grant);
        Ok(ReleasePermit { context, grant, until: self.until(decryption), dealing })
    }

    fn check_share<'a>(
        &self,
        view: &'a ReleaseView,
        held: Option<&ShareContext>,
    ) -> Result<&'a ShareView, ReleaseError> {
        let share = view.share.as_ref().ok_or(ReleaseError::NotCustodian)?;
        let (current, DataContext { network, channel, record, .. }) = (&share.share, share.share.data);
        // 1, once more: of the share too, since that is what the seal is bound to.
        if (network, channel) != (self.pinned.network, self.pinned.channel) {
            return Err(ReleaseError::OtherLedger);
        }
        // 8. This node is a custodian of the record, now.
        if current.custodian != self.me {
            return Err(ReleaseError::NotCustodian);
        }
        // 9. The record is not erased.
        if share.erased {
            return Err(ReleaseError::RecordErased { record });
        }
        // 10. A share is held, and its epoch is the current one.
        let held = held.ok_or(ReleaseError::NotHeld { record })?;
        if held.epoch != current.epoch {
            return Err(ReleaseError::OtherEpoch { record, held: held.epoch, current: current.epoch });
        }
        // 11. Record, version, custodian, index, k, n and dealing, recomputed from the ledger, are
        //     those that the share was kept with.
        if held != current {
            return Err(ReleaseError::OtherShare { record });
        }
        Ok(share)
    }

    fn check_time(
        &self,
        decryption: &AllowedDecryption,
        tip_time: UnixMillis,
        own_clock: UnixMillis,
    ) -> Result<(), ReleaseError> {
        // 12. The ledger's time lies in the decryption's release window.
        let ended = decryption.time.plus_ms(self.limits.release_window_ms);
        if tip_time > ended {
            return Err(ReleaseError::WindowEnded { ended });
        }
        // 13. The ledger's time lies within the grant; an owner has no grant, and no such end.
        if let Some(grant) = decryption.grant.filter(|grant| tip_time > grant.ends) {
            return Err(ReleaseError::GrantEnded { ended: grant.ends });
        }
        // 14. The own clock is not behind the ledger by more than the bound.
        let lag_ms = tip_time.since_ms(own_clock);
        if lag_ms > self.limits.clock_bound_ms {
            return Err(ReleaseError::ClockBehind { lag_ms });
        }
        // 15. The tip is not stale: a node that is cut off does not know what was revoked since.
        let age_ms = own_clock.since_ms(tip_time);
        if age_ms > self.limits.staleness_ms {
            return Err(ReleaseError::TipStale { age_ms });
        }
        Ok(())
    }

    /// The last ledger time at which this decryption may be answered: clauses 12 and 13.
    fn until(&self, decryption: &AllowedDecryption) -> UnixMillis {
        let window = decryption.time.plus_ms(self.limits.release_window_ms);
        decryption.grant.map_or(window, |grant| window.min(grant.ends))
    }
}

/// 3. The decryption that was asked for was executed by this node, and its outcome was ALLOW.
fn executed(asked: TransactionId, view: &ReleaseView) -> Result<&AllowedDecryption, ReleaseError> {
    let decryption = view.decryption.as_ref().ok_or(ReleaseError::NotAllowed { asked })?;
    if decryption.transaction != asked && !planted!("custodian-trusts-the-request") {
        return Err(ReleaseError::NotAllowed { asked });
    }
    Ok(decryption)
}

fn check_authority(decryption: &AllowedDecryption, view: &ReleaseView) -> Result<(), ReleaseError> {
    if let Some(grant) = &decryption.grant {
        // 4. It is one of the grant's uses; an owner's decryption is none.
        let number = decryption.use_number;
        if !(1..=grant.uses_max).contains(&number.get()) {
            return Err(ReleaseError::UsedUp { number, max: grant.uses_max });
        }
        // 5. The grant is not revoked.
        if grant.revoked && !planted!("custodian-ignores-revocation") {
            return Err(ReleaseError::GrantRevoked { grant: grant.grant });
        }
    }
    // 6. The author's key is active.
    if !view.key_active {
        return Err(ReleaseError::KeyInactive);
    }
    // 7. The requester is not suspended.
    if view.suspended {
        return Err(ReleaseError::RequesterSuspended);
    }
    Ok(())
}

fn check_opening_key(decryption: &AllowedDecryption) -> Result<[u8; 32], ReleaseError> {
    // 16. The one-time key is the one that the transaction lists for this custodian.
    let key = decryption.opening_key.ok_or(ReleaseError::NoOpeningKey { asked: decryption.transaction })?;
    // 17. It is no weak point, and spelled in the one way.
    check_x25519(&key).map_err(ReleaseError::BadOpeningKey)?;
    Ok(key)
}

/// Proof that the release rule held; made by [`ReleaseRule::check`] alone, and spent by sealing once.
#[derive(Debug)]
#[must_use]
pub struct ReleasePermit {
    context: ReleaseContext,
    grant: Option<GrantId>,
    until: UnixMillis,
    dealing: CheckedDealing,
}

impl ReleasePermit {
    /// What the release is bound to.
    #[must_use]
    pub const fn context(&self) -> &ReleaseContext {
        &self.context
    }

    /// Seals the share to the requester's one-time key, and signs. What comes out is not yet an
    /// answer: it must be durable first.
    ///
    /// # Errors
    /// [`ReleaseError::NotCommitted`] when the share is not the committed one;
    /// [`ReleaseError::NotSealed`] when share or signer are not the permit's.
    pub fn seal(
        self,
        rng: &mut impl CryptoRng,
        share: Share,
        custodian: &SigningKey,
    ) -> Result<ReleaseEntry, ReleaseError> {
        // 18, second half. The share lies on the committed polynomial: memory and disks fail too.
        let share = self.dealing.verify(share).map_err(ReleaseError::NotCommitted)?;
        let released = seal_to_requester(rng, &share, &self.context, custodian).map_err(ReleaseError::NotSealed)?;
        Ok(ReleaseEntry(ReleaseRow { context: self.context, grant: self.grant, until: self.until, released }))
    }
}

#[cfg(test)]
mod tests;
