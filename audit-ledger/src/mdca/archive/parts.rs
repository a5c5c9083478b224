//! An archive of two parts: one that keeps everything on disk, and one that lets go of what is old, and pays for it with
//! memory for each block that it holds.
//!
//! A channel that keeps all has the first part alone. Where blocks go, all that is new is put into the second one, and what
//! the first one held before stays.

use super::super::block::EngineBlock;
use crate::fault::{FaultKind, FaultSink, Place, StorageFault};
use commonware_codec::Codec;
use commonware_consensus::{
    marshal::store,
    simplex::{scheme::ed25519::Scheme, types::Finalization},
    types::Height,
};
use commonware_cryptography::sha256::Digest;
use commonware_runtime::{Clock, Handle, Metrics, Storage};
use commonware_storage::{
    archive::{Archive as _, Error, Identifier, immutable, prunable},
    translator::FourCap,
};
use std::{fmt::Display, sync::Arc};

/// First and last height of what is there without a gap.
type Range = (u64, u64);

/// Blocks, or certificates, by height and by their block's digest.
pub(in super::super) struct Archive<E, V>
where
    E: Storage + Metrics + Clock,
    V: Codec + Send + Sync,
{
    whole: immutable::Archive<E, Digest, V>,
    recent: Option<prunable::Archive<FourCap, E, Digest, V>>,
    guard: Guard,
}

/// Tells when an archive is damaged: what does not come back as it was written is a fault of the disk, since all that
/// fails there is told already where it is met.
#[derive(Clone)]
pub(super) struct Guard {
    /// What the names of its partitions begin with.
    pub(super) partitions: String,
    pub(super) faults: FaultSink,
}

impl Guard {
    pub(super) fn checked<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            self.faults.tell(&StorageFault::new(FaultKind::Damaged, Place::Archive(self.partitions.clone()), error));
        }
        result
    }
}

impl<E, V> Archive<E, V>
where
    E: Storage + Metrics + Clock,
    V: Codec + Send + Sync,
{
    pub(super) async fn open(
        runtime: &E,
        whole: immutable::Config<V::Cfg>,
        recent: Option<prunable::Config<FourCap, V::Cfg>>,
        guard: Guard,
    ) -> Result<Self, Error> {
        let whole = guard.checked(immutable::Archive::init(runtime.child("whole"), whole).await)?;
        let recent = match recent {
            Some(recent) => Some(guard.checked(prunable::Archive::init(runtime.child("recent"), recent).await)?),
            None => None,
        };
        Ok(Self { whole, recent, guard })
    }

    /// What is there at a height.
    pub(in super::super) async fn at(&self, height: u64) -> Result<Option<V>, Error> {
        self.find(Identifier::Index(height)).await
    }

    /// Tells that something is not here that belongs here; others have it.
    pub(in super::super) fn tell_missing(&self, what: impl Display) {
        let place = Place::Archive(self.guard.partitions.clone());
        self.guard.faults.tell(&StorageFault::new(FaultKind::Damaged, place, what));
    }

    async fn find(&self, id: Identifier<'_, Digest>) -> Result<Option<V>, Error> {
        self.guard.checked(self.look_up(id).await)
    }

    async fn look_up(&self, id: Identifier<'_, Digest>) -> Result<Option<V>, Error> {
        if let Some(recent) = &self.recent {
            let found = match &id {
                Identifier::Index(height) => recent.get(Identifier::Index(*height)).await?,
                Identifier::Key(digest) => recent.get(Identifier::Key(digest)).await?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        let index = match &id {
            Identifier::Index(height) => Some(*height),
            Identifier::Key(_) => None,
        };
        let found = self.whole.get(id).await?;
        // The list of what is there has it, and it is not there: whoever believes the list would wait for ever.
        if let (None, Some(height)) = (&found, index)
            && self.whole.has(Identifier::Index(height)).await?
        {
            return Err(Error::RecordCorrupted);
        }
        Ok(found)
    }

    pub(in super::super) async fn add(self, height: u64, digest: Digest, value: &V) -> Result<Self, Error> {
        let Self { whole, recent, guard } = self;
        let is_there = match &recent {
            Some(_) => guard.checked(whole.has(Identifier::Index(height)).await)?,
            None => false,
        };
        match recent {
            Some(recent) if is_there => Ok(Self { whole, recent: Some(recent), guard }),
            Some(recent) => {
                let recent = guard.checked(recent.put(height, digest, value).await)?;
                Ok(Self { whole, recent: Some(recent), guard })
            }
            None => {
                let whole = guard.checked(whole.put(height, digest, value).await)?;
                Ok(Self { whole, recent: None, guard })
            }
        }
    }

    /// Makes what was added durable; the part that is not added to has nothing that is not.
    pub(in super::super) async fn settle(self) -> Result<Self, Error> {
        let Self { whole, recent, guard } = self;
        match recent {
            Some(recent) => {
                let recent = guard.checked(recent.sync().await)?;
                Ok(Self { whole, recent: Some(recent), guard })
            }
            None => {
                let whole = guard.checked(whole.sync().await)?;
                Ok(Self { whole, recent: None, guard })
            }
        }
    }

    async fn start_to_settle(self) -> Result<(Self, Handle<()>), Error> {
        let Self { whole, recent, guard } = self;
        match recent {
            Some(recent) => {
                let (recent, done) = guard.checked(recent.start_sync().await)?;
                Ok((Self { whole, recent: Some(recent), guard }, done))
            }
            None => {
                let (whole, done) = guard.checked(whole.start_sync().await)?;
                Ok((Self { whole, recent: None, guard }, done))
            }
        }
    }

    async fn let_go_below(self, height: u64) -> Result<Self, Error> {
        let Self { whole, recent, guard } = self;
        let recent = match recent {
            Some(recent) => Some(guard.checked(recent.prune(height).await)?),
            None => None,
        };
        Ok(Self { whole, recent, guard })
    }

    /// The last height of what is there.
    pub(in super::super) fn last(&self) -> Option<u64> {
        self.whole.last_index().max(self.recent.as_ref().and_then(|recent| recent.last_index()))
    }

    /// The first height from this one on that is not there.
    pub(in super::super) fn first_missing(&self, from: u64) -> u64 {
        gap(&self.ranges(from), from).0.map_or(from, |last| last.get().saturating_add(1))
    }

    /// What is there from a height on, beginning with the range that holds it.
    fn ranges(&self, from: u64) -> Vec<Range> {
        let recent = self.recent.iter().flat_map(|recent| recent.ranges_from(from));
        joined(self.whole.ranges_from(from).chain(recent).collect())
    }
}

/// Ranges in order, where those that touch are one.
fn joined(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let touches = next.0 <= before.1.saturating_add(1);
        if touches {
            before.1 = before.1.max(next.1);
        }
        touches
    });
    ranges
}

/// The first `max` heights from `start` on that lie before one of the ranges and in none.
fn missing(ranges: &[Range], start: u64, max: usize) -> Vec<Height> {
    let begins = std::iter::once(start).chain(ranges.iter().map(|(_, last)| last.saturating_add(1)));
    let gaps = begins.zip(ranges).flat_map(|(begin, (first, _))| begin..*first);
    gaps.take(max).map(Height::new).collect()
}

/// The end of the range that holds a height, and where the next one begins.
fn gap(ranges: &[Range], height: u64) -> (Option<Height>, Option<Height>) {
    let holds = ranges.first().filter(|(first, last)| (*first..=*last).contains(&height));
    let next = ranges.iter().find(|(first, _)| *first > height);
    (holds.map(|(_, last)| Height::new(*last)), next.map(|(first, _)| Height::new(*first)))
}

impl<E> store::Certificates for Archive<E, Finalization<Scheme, Digest>>
where
    E: Storage + Metrics + Clock,
{
    type BlockDigest = Digest;
    type Commitment = Digest;
    type Scheme = Scheme;
    type Error = Error;

    async fn put(
        self,
        height: Height,
        digest: Digest,
        certificate: &Finalization<Scheme, Digest>,
    ) -> Result<Self, Error> {
        self.add(height.get(), digest, certificate).await
    }

    async fn sync(self) -> Result<Self, Error> {
        self.settle().await
    }

    async fn start_sync(self) -> Result<(Self, Handle<()>), Error> {
        self.start_to_settle().await
    }

    async fn get(&self, id: Identifier<'_, Digest>) -> Result<Option<Finalization<Scheme, Digest>>, Error> {
        self.find(id).await
    }

    async fn has(&self, height: Height) -> Result<bool, Error> {
        Ok(gap(&self.ranges(height.get()), height.get()).0.is_some())
    }

    async fn prune(self, min: Height) -> Result<Self, Error> {
        self.let_go_below(min.get()).await
    }

    fn last_index(&self) -> Option<Height> {
        self.last().map(Height::new)
    }

    fn ranges_from(&self, from: Height) -> impl Iterator<Item = (Height, Height)> {
        let ranges = self.ranges(from.get()).into_iter();
        ranges.map(|(first, last)| (Height::new(first), Height::new(last)))
    }
}

impl<E> store::Blocks for Archive<E, Arc<EngineBlock>>
where
    E: Storage + Metrics + Clock,
{
    type Block = Arc<EngineBlock>;
    type Error = Error;

    async fn put(self, digest: Digest, block: &Arc<EngineBlock>) -> Result<Self, Error> {
        self.add(block.header().height.get(), digest, block).await
    }

    async fn sync(self) -> Result<Self, Error> {
        self.settle().await
    }

    async fn start_sync(self) -> Result<(Self, Handle<()>), Error> {
        self.start_to_settle().await
    }

    async fn get(&self, id: Identifier<'_, Digest>) -> Result<Option<Arc<EngineBlock>>, Error> {
        self.find(id).await
    }

    async fn prune(self, min: Height) -> Result<Self, Error> {
        self.let_go_below(min.get()).await
    }

    fn missing_items(&self, start: Height, max: usize) -> Vec<Height> {
        missing(&self.ranges(start.get()), start.get(), max)
    }

    fn next_gap(&self, height: Height) -> (Option<Height>, Option<Height>) {
        gap(&self.ranges(height.get()), height.get())
    }

    fn last_index(&self) -> Option<Height> {
        self.last().map(Height::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heights(heights: impl IntoIterator<Item = u64>) -> Vec<Height> {
        heights.into_iter().map(Height::new).collect()
    }

    #[test]
    fn two_parts_that_touch_have_no_gap_between_them() {
        assert_eq!(joined(vec![(11, 20), (0, 10)]), [(0, 20)]);
        assert_eq!(joined(vec![(12, 20), (0, 10), (30, 30)]), [(0, 10), (12, 20), (30, 30)]);
        assert_eq!(joined(vec![(0, 10), (8, 9)]), [(0, 10)]);
    }

    #[test]
    fn what_is_missing_lies_between_what_is_there() {
        let ranges = [(5, 10), (13, 20)];
        assert_eq!(missing(&ranges, 3, 16), heights([3, 4, 11, 12]));
        assert_eq!(missing(&ranges, 3, 3), heights([3, 4, 11]));
        assert_eq!(missing(&ranges, 7, 16), heights([11, 12]));
        assert_eq!(missing(&[], 7, 16), heights([]), "nobody knows that there is more");
    }

    #[test]
    fn a_gap_is_seen_from_both_of_its_ends() {
        let ranges = [(5, 10), (13, 20)];
        let at = |height| (Some(Height::new(height)), Some(Height::new(13)));
        assert_eq!(gap(&ranges, 5), at(10));
        assert_eq!(gap(&ranges[1..], 11), (None, Some(Height::new(13))));
        assert_eq!(gap(&ranges[1..], 20), (Some(Height::new(20)), None));
    }
}
