//! Places for work of one kind, and who has how many of them.
//!
//! Whoever has less than twice as many places as are free gets another one, and an organisation is bounded by the same
//! rule over all of its people. A single key that takes all it can get ends with two thirds; n of them leave one part in
//! 2n + 1 free. So whoever comes with little to do finds a place, and nobody needs to know how many there are to share with.
//!
//! # Source
//! docs/adr/0015-admission.md: dynamic thresholds

use dmdl_types::{genesis::Person, id::OrgId, sign::PublicKey};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// How many times as many places as are free somebody may have before the next one.
const SHARE: usize = 2;

/// Whose work takes a place. Whoever is not known shares with all others who are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holder {
    key: Option<PublicKey>,
    org: Option<OrgId>,
}

impl Holder {
    /// A person.
    pub(crate) fn of(person: &Person) -> Self {
        Self { key: Some(person.key), org: Some(person.org.clone()) }
    }

    fn parties(&self) -> impl Iterator<Item = Party> {
        std::iter::once(Party::Key(self.key)).chain(self.org.clone().map(Party::Org))
    }
}

/// What has a share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Party {
    Key(Option<PublicKey>),
    Org(OrgId),
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// Nobody gets one: none is free.
    All,
    /// Who asks has its share, and others may still come.
    Share,
}

/// Places; clones are the same places.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug)]
struct Taken {
    most: usize,
    all: usize,
    by: BTreeMap<Party, usize>,
}

/// Some places of somebody, given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    holder: Holder,
    count: usize,
}

impl Places {
    /// So many places.
    pub(crate) fn new(most: usize) -> Self {
        let taken = Mutex::new(Taken { most, all: 0, by: BTreeMap::new() });
        Self(Arc::new(Inner { taken, freed: Notify::new() }))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Consistent after every statement.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it so many from now on. Nobody loses a place.
    pub(super) fn set_most(&self, most: usize) {
        self.taken().most = most;
    }

    /// How many are taken.
    pub(crate) fn count(&self) -> usize {
        self.taken().all
    }

    /// Whether none is free.
    pub(super) fn is_full(&self) -> bool {
        self.taken().free() == 0
    }

    /// Whether somebody would get a place now.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn check(&self, holder: &Holder) -> Result<(), Full> {
        self.taken().check(holder)
    }

    /// Takes so many places for one piece of work. A large one gets them as a small one would, and others wait until it
    /// is done.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn take(&self, holder: &Holder, count: usize) -> Result<Place, Full> {
        let mut taken = self.taken();
        taken.check(holder)?;
        taken.give(holder, count);
        Ok(Place { places: self.clone(), holder: holder.clone(), count })
    }

    /// Waits until somebody gets so many places, for work that is worth a wait. How many may wait is bounded elsewhere.
    pub(crate) async fn wait(&self, holder: &Holder, count: usize) -> Place {
        loop {
            // Begun before the look: a place that is given back meanwhile is not slept over.
            let freed = self.0.freed.notified();
            if let Ok(place) = self.take(holder, count) {
                return place;
            }
            freed.await;
        }
    }

    /// Takes so many places that nobody has a share of, if as many are free.
    pub(crate) fn take_free(&self, count: usize) -> Option<Place> {
        let mut taken = self.taken();
        if taken.free() < count {
            return None;
        }
        let holder = Holder::default();
        taken.give(&holder, count);
        Some(Place { places: self.clone(), holder, count })
    }
}

impl Taken {
    const fn free(&self) -> usize {
        self.most.saturating_sub(self.all)
    }

    fn check(&self, holder: &Holder) -> Result<(), Full> {
        let free = self.free();
        if free == 0 {
            return Err(Full::All);
        }
        let has_share = |party| self.by.get(&party).is_some_and(|has| *has >= SHARE.saturating_mul(free));
        if holder.parties().any(has_share) { Err(Full::Share) } else { Ok(()) }
    }

    fn give(&mut self, holder: &Holder, count: usize) {
        self.all += count;
        for party in holder.parties() {
            *self.by.entry(party).or_default() += count;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= self.count;
        for party in self.holder.parties() {
            if let Some(has) = taken.by.get_mut(&party) {
                *has -= self.count;
                if *has == 0 {
                    taken.by.remove(&party);
                }
            }
        }
        drop(taken);
        self.places.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(key: u8, org: &str) -> Holder {
        Holder { key: Some(PublicKey::new([key; 32])), org: Some(org.parse().unwrap()) }
    }

    /// Takes as many places as it is given.
    fn fill(places: &Places, holder: &Holder) -> (Vec<Place>, Full) {
        let mut own = Vec::new();
        loop {
            match places.take(holder, 1) {
                Ok(place) => own.push(place),
                Err(full) => return (own, full),
            }
        }
    }

    #[test]
    fn one_key_gets_two_thirds_and_leaves_room_for_others() {
        let places = Places::new(90);
        let (greedy, full) = fill(&places, &holder(1, "university"));
        assert_eq!((greedy.len(), full), (60, Full::Share));
        assert!(places.take(&holder(2, "hospital"), 1).is_ok());
        // A second one as greedy ends with less than the first, which gets no more until it has less.
        let (second, full) = fill(&places, &holder(3, "institute"));
        assert_eq!((second.len(), full), (20, Full::Share));
        assert_eq!(places.check(&holder(1, "university")), Err(Full::Share));
        drop(greedy);
        assert_eq!(places.count(), 20);
        assert_eq!(fill(&places, &holder(3, "institute")).0.len(), 40);
    }

    #[test]
    fn many_keys_of_one_organisation_have_one_share() {
        let places = Places::new(90);
        let people: Vec<_> = (0..100).map(|key| places.take(&holder(key, "university"), 1)).collect();
        assert_eq!(people.iter().filter(|taken| taken.is_ok()).count(), 60);
        assert_eq!(places.check(&holder(200, "university")), Err(Full::Share));
        assert_eq!(places.check(&holder(200, "hospital")), Ok(()));
    }

    #[test]
    fn whoever_is_not_known_shares_with_the_others_who_are_not() {
        let places = Places::new(3);
        let (_nobody, full) = fill(&places, &Holder::default());
        assert_eq!(full, Full::Share);
        assert_eq!(places.check(&holder(1, "hospital")), Ok(()));
    }

    #[test]
    fn when_none_is_free_nobody_gets_one() {
        let places = Places::new(2);
        let _one = places.take(&holder(1, "a"), 1).unwrap();
        let two = places.take(&holder(2, "b"), 1).unwrap();
        assert_eq!(places.check(&holder(3, "c")), Err(Full::All));
        drop(two);
        assert_eq!(places.check(&holder(3, "c")), Ok(()));
        places.set_most(1);
        assert_eq!(places.check(&holder(3, "c")), Err(Full::All));
        assert_eq!(Places::new(0).check(&holder(3, "c")), Err(Full::All));
    }

    #[tokio::test]
    async fn whoever_waits_gets_a_place_when_one_is_given_back() {
        let places = Places::new(1);
        let first = places.take(&holder(1, "a"), 1).unwrap();
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.wait(&holder(2, "b"), 1).await }
        });
        tokio::task::yield_now().await;
        drop(first);
        let second = waiting.await.unwrap();
        assert_eq!(places.count(), 1);
        drop(second);
    }

    #[test]
    fn what_nobody_has_a_share_of_is_given_out_to_the_last() {
        let places = Places::new(4);
        let both = [places.take_free(2), places.take_free(2)];
        assert!(both.iter().all(Option::is_some));
        assert!(places.take_free(1).is_none());
        drop(both);
        assert!(places.take_free(5).is_none() && places.take_free(4).is_some());
    }

    #[test]
    fn a_large_piece_of_work_is_let_in_like_a_small_one_and_counts_as_what_it_is() {
        let places = Places::new(4);
        let _small = places.take(&holder(1, "a"), 1).unwrap();
        let large = places.take(&holder(2, "b"), 16).unwrap();
        assert_eq!((places.count(), places.check(&holder(3, "c"))), (17, Err(Full::All)));
        drop(large);
        assert_eq!((places.count(), places.check(&holder(2, "b"))), (1, Ok(())));
    }
}
