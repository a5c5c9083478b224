//! An archive of two parts: one that keeps everything on disk, and one that lets go of what is old, and pays for it with
//! memory for each block that it holds.
//!
//! A channel that keeps all has the first part alone. Where blocks go, all that is new is put into the second one, and what
//! the first one held before stays.

use super::super::block::EngineBlock;
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
use std::sync::Arc;

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
    ) -> Result<Self, Error> {
        let whole = immutable::Archive::init(runtime.child("whole"), whole).await?;
        let recent = match recent {
            Some(recent) => Some(prunable::Archive::init(runtime.child("recent"), recent).await?),
            None => None,
        };
        Ok(Self { whole, recent })
    }

    /// What is there at a height.
    pub(in super::super) async fn at(&self, height: u64) -> Result<Option<V>, Error> {
        self.find(Identifier::Index(height)).await
    }

    async fn find(&self, id: Identifier<'_, Digest>) -> Result<Option<V>, Error> {
        if let Some(recent) = &self.recent {
            let found = match &id {
                Identifier::Index(height) => recent.get(Identifier::Index(*height)).await?,
                Identifier::Key(digest) => recent.get(Identifier::Key(digest)).await?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        self.whole.get(id).await
    }

    async fn add(self, height: u64, digest: Digest, value: &V) -> Result<Self, Error> {
        let Self { whole, recent } = self;
        Ok(match recent {
            Some(recent) if whole.has(Identifier::Index(height)).await? => Self { whole, recent: Some(recent) },
            Some(recent) => Self { whole, recent: Some(recent.put(height, digest, value).await?) },
            None => Self { whole: whole.put(height, digest, value).await?, recent: None },
        })
    }

    /// Makes what was added durable; the part that is not added to has nothing that is not.
    async fn settle(self) -> Result<Self, Error> {
        let Self { whole, recent } = self;
        Ok(match recent {
            Some(recent) => Self { whole, recent: Some(recent.sync().await?) },
            None => Self { whole: whole.sync().await?, recent: None },
        })
    }

    async fn start_to_settle(self) -> Result<(Self, Handle<()>), Error> {
        let Self { whole, recent } = self;
        Ok(match recent {
            Some(recent) => {
                let (recent, done) = recent.start_sync().await?;
                (Self { whole, recent: Some(recent) }, done)
            }
            None => {
                let (whole, done) = whole.start_sync().await?;
                (Self { whole, recent: None }, done)
            }
        })
    }

    async fn let_go_below(self, height: u64) -> Result<Self, Error> {
        let Self { whole, recent } = self;
        let recent = match recent {
            Some(recent) => Some(recent.prune(height).await?),
            None => None,
        };
        Ok(Self { whole, recent })
    }

    fn last(&self) -> Option<u64> {
        self.whole.last_index().max(self.recent.as_ref().and_then(|recent| recent.last_index()))
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
