//! Gathering shares: from as many custodians as are needed, and from another for each that does not give its own in time.
//!
//! Every custodian that is asked has to seal, to sync and to tell the ledger, so no more are asked than it takes: which ones,
//! the decryption decides, so that custodians take turns and the same are asked when it is asked again. One that refuses, or
//! sends what is no share, is replaced at once. One that is slow is joined by another after a while that is learned
//! ([`Hedge`]); whichever answers first is taken.

use super::{
    AskGatewayError, Client, Gateway,
    open::{OpenError, Opening},
};
use dmdl_types::{
    codec,
    context::{ReleaseContext, ShareContext},
    custody::SealedBytes,
    hash,
    id::{NodeId, ShareIndex, TransactionId},
    invocation::Accusation,
    label,
};
use dmdl_vault::{
    keys,
    seal::{self, ReleasedShare},
    share::{CheckedDealing, VerifiedShare},
};
use futures::{
    FutureExt as _, StreamExt as _,
    future::{Either, select},
    stream::FuturesUnordered,
};
use rand_core::CryptoRng;
use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How long custodians are waited for, in milliseconds, before one more is asked: at first, at least and at most.
const WAIT_FIRST_MS: u64 = 50;
const WAIT_MIN_MS: u64 = 30;
const WAIT_MAX_MS: u64 = 2_000;

/// How long to wait before one custodian more is asked than needed.
///
/// Twice as long after one was asked in vain, and a sixteenth less after a wait that was long enough: so about one
/// opening in a dozen asks one too many, however busy the custodians are.
#[derive(Debug)]
pub(super) struct Hedge(AtomicU64);

impl Default for Hedge {
    fn default() -> Self {
        Self(AtomicU64::new(WAIT_FIRST_MS))
    }
}

impl Hedge {
    fn wait(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// Learns from one gathering: who joined those that were asked at first, and whose shares were used.
    ///
    /// Two that learn at a time may forget what one of them learned: that is no harm.
    fn learn(&self, joined: &[NodeId], used: &[NodeId]) {
        let wait = self.0.load(Ordering::Relaxed);
        let next = match joined {
            [] => wait - wait.div_ceil(16),
            joined if joined.iter().any(|node| used.contains(node)) => wait,
            _ => wait * 2,
        };
        self.0.store(next.clamp(WAIT_MIN_MS, WAIT_MAX_MS), Ordering::Relaxed);
    }
}

/// What came of asking custodians.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) shares: Vec<VerifiedShare>,
    /// Whose shares these are.
    pub(super) from: Vec<NodeId>,
    pub(super) altered: Vec<NodeId>,
    pub(super) culprits: Vec<NodeId>,
    /// What proves to everybody who these are.
    pub(super) accusations: Vec<Accusation>,
    missing: Vec<NodeId>,
    /// Whether a custodian said that it may not release.
    refused: bool,
}

/// Why there are too few shares.
pub(super) struct Lack {
    pub(super) error: OpenError,
    /// What proves to everybody that custodians lied.
    pub(super) accusations: Vec<Accusation>,
    /// Whether a custodian said that it may not release, or sent what is not of this share epoch.
    pub(super) may_be_early: bool,
}

/// Why a custodian that was asked gave no share.
#[derive(Debug)]
enum NoShare {
    /// Nothing came.
    Missing(AskGatewayError),
    /// What came is not what the custodian sent, or not for this decryption: that blames nobody.
    Altered,
    /// The custodian signed it for this decryption, and it is not its share.
    False(Box<Accusation>),
}

impl<G: Gateway, R: CryptoRng + Send> Client<G, R> {
    /// Gathers as many verified shares as are needed of `custodians`, which stand in the order of their indices.
    pub(super) async fn gather(
        &self,
        opening: &Opening,
        custodians: Vec<NodeId>,
        checked: &CheckedDealing,
    ) -> Result<Gathered, Lack> {
        let (decryption, needed) = (opening.done.transaction, checked.commitments().as_bytes().len());
        let mut others = turns(decryption, custodians).into_iter().map(|(index, custodian)| {
            let asking = self.share_of(custodian, decryption);
            (custodian, async move { (index, custodian, asking.await) })
        });
        let mut asked: FuturesUnordered<_> = others.by_ref().take(needed).map(|(_, asking)| asking).collect();
        let mut joined = Vec::new();
        let mut gathered = Gathered::default();
        let mut wait = pin!(self.gateway.pause(self.hedge.wait()).fuse());
        while gathered.shares.len() < needed {
            let answer = match select(asked.next(), wait.as_mut()).await {
                Either::Left((answer, _)) => answer,
                Either::Right(_) => {
                    if let Some((custodian, asking)) = others.next() {
                        joined.push(custodian);
                        asked.push(asking);
                        wait.set(self.gateway.pause(self.hedge.wait()).fuse());
                    }
                    continue;
                }
            };
            let Some((index, custodian, released)) = answer else { return Err(gathered.too_few(decryption, needed)) };
            let context = checked.context(custodian, index);
            match released.and_then(|bytes| self.unseal(opening, checked, context, &bytes)) {
                Ok(share) => gathered.take(custodian, share),
                Err(why) => {
                    gathered.lack(custodian, why);
                    asked.extend(others.next().map(|(_, asking)| asking));
                }
            }
        }
        self.hedge.learn(&joined, &gathered.from);
        Ok(gathered)
    }

    /// Asks one custodian for its share, again where that may help.
    async fn share_of(&self, custodian: NodeId, decryption: TransactionId) -> Result<Vec<u8>, NoShare> {
        let mut asked = 0;
        loop {
            let released = self.gateway.release(custodian, decryption).await;
            asked += 1;
            match released {
                Ok(share) => return Ok(share),
                Err(AskGatewayError::Nonsense(_)) => return Err(NoShare::Altered),
                Err(error) if asked < tries(&error) => {}
                Err(error) => return Err(NoShare::Missing(error)),
            }
        }
    }

    /// Opens and verifies one released share.
    fn unseal(
        &self,
        opening: &Opening,
        checked: &CheckedDealing,
        share: ShareContext,
        bytes: &[u8],
    ) -> Result<VerifiedShare, NoShare> {
        let secret = keys::opening_secret(&opening.seed, &opening.nonce, share.custodian);
        let context = ReleaseContext {
            share,
            transaction: opening.done.transaction,
            requester: self.id(),
            opening_key: keys::x25519_public(&secret),
        };
        // One one-time key a custodian: it opens this seal, and no other.
        let accusation = || {
            Box::new(Accusation {
                decryption: context.transaction,
                custodian: share.custodian,
                epoch: share.epoch,
                released: SealedBytes(bytes.to_vec()),
                opening_secret: secret.expose(|secret| *secret),
            })
        };
        let released: ReleasedShare = codec::decode(bytes, ReleasedShare::LEN).map_err(|_| NoShare::Altered)?;
        let opened = seal::open_released(&released, &context, &secret).map_err(|error| match error {
            seal::OpenError::NotSigned => NoShare::Altered,
            _ => NoShare::False(accusation()),
        })?;
        let verified = checked.verify(opened).ok().filter(|verified| verified.fits(&context.share));
        verified.ok_or_else(|| NoShare::False(accusation()))
    }
}

impl From<OpenError> for Lack {
    fn from(error: OpenError) -> Self {
        Self { error, accusations: Vec::new(), may_be_early: false }
    }
}

impl Gathered {
    fn take(&mut self, custodian: NodeId, share: VerifiedShare) {
        self.shares.push(share);
        self.from.push(custodian);
    }

    fn lack(&mut self, custodian: NodeId, why: NoShare) {
        match why {
            NoShare::Missing(error) => {
                tracing::warn!(%custodian, %error, "no share");
                self.refused |= matches!(&error, AskGatewayError::Problem(problem) if problem.code == "denied");
                self.missing.push(custodian);
            }
            NoShare::Altered => self.altered.push(custodian),
            NoShare::False(accusation) => {
                self.culprits.push(custodian);
                self.accusations.push(*accusation);
            }
        }
    }

    /// Why shares are missing: for lack of custodians as long as those that are silent could still do.
    fn too_few(self, transaction: TransactionId, needed: usize) -> Lack {
        let Self { shares, altered, culprits, accusations, missing, refused, .. } = self;
        let (got, bad) = (shares.len(), altered.len() + culprits.len());
        let may_be_early = refused || !altered.is_empty();
        let error = if got + missing.len() < needed && bad > 0 {
            OpenError::BadShares { transaction, got, needed, altered, culprits }
        } else {
            let bad = altered.into_iter().chain(culprits).collect();
            OpenError::TooFewShares { transaction, got, needed, missing, bad }
        };
        Lack { error, accusations, may_be_early }
    }
}

/// The custodians with their indices, in the order in which they are asked for a decryption: the same each time, and another
/// for each decryption.
fn turns(decryption: TransactionId, custodians: Vec<NodeId>) -> Vec<(ShareIndex, NodeId)> {
    let mut turns: Vec<_> = (1..=u8::MAX).map(ShareIndex::new).zip(custodians).collect();
    turns.sort_by_cached_key(|(_, custodian)| {
        hash::labelled(label::CUSTODIAN_TURN, &[decryption.as_bytes(), custodian.as_bytes()])
    });
    turns
}

/// How often a custodian is asked that answers like this: one that has not yet executed the decryption waits a
/// moment for it each time, and one that did not answer may have been busy.
fn tries(error: &AskGatewayError) -> u32 {
    let AskGatewayError::Problem(problem) = error else { return 1 };
    match problem.code.as_ref() {
        "not_final" => 10,
        "custodian_unavailable" => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(range: std::ops::Range<u8>) -> Vec<NodeId> {
        range.map(|byte| NodeId::new([byte; 32])).collect()
    }

    #[test]
    fn a_wait_that_was_too_short_doubles_and_one_that_was_long_enough_shrinks() {
        let hedge = Hedge::default();
        let (asked, joined) = (nodes(0..2), nodes(2..3));
        let ms = |hedge: &Hedge| u64::try_from(hedge.wait().as_millis()).unwrap();
        hedge.learn(&joined, &asked);
        assert_eq!(ms(&hedge), 2 * WAIT_FIRST_MS, "the one that joined was not needed");
        hedge.learn(&joined, &[asked[0], joined[0]]);
        assert_eq!(ms(&hedge), 2 * WAIT_FIRST_MS, "the one that joined was needed: one of the others is slow");
        hedge.learn(&[], &asked);
        assert!(ms(&hedge) < 2 * WAIT_FIRST_MS);
        for _ in 0..100 {
            hedge.learn(&[], &asked);
        }
        assert_eq!(ms(&hedge), WAIT_MIN_MS);
        for _ in 0..100 {
            hedge.learn(&joined, &asked);
        }
        assert_eq!(ms(&hedge), WAIT_MAX_MS);
    }

    #[test]
    fn custodians_take_turns_over_decryptions_and_a_decryption_asks_the_same_again() {
        let custodians = nodes(0..7);
        let mut first = [0; 7];
        for byte in 0..=u8::MAX {
            let decryption = TransactionId::new([byte; 32]);
            let asked = turns(decryption, custodians.clone());
            assert_eq!(asked, turns(decryption, custodians.clone()));
            for (index, custodian) in &asked {
                assert_eq!(custodians[usize::from(index.get()) - 1], *custodian, "each keeps its index");
            }
            let at = custodians.iter().position(|node| *node == asked[0].1).unwrap();
            first[at] += 1;
        }
        assert!(first.iter().all(|count| (18..=60).contains(count)), "{first:?} of 256");
    }
}
