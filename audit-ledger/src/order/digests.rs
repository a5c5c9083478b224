//! Digests that were met lately.

pub(super) type Digest = [u8; 32];

/// A digest falls into one of so many sets.
const SETS: usize = 1 << 15;
/// Each has the newest so many of those that fell into it. On the fastest network some 20,000 are wanted at a time, and 3 of
/// 1,000 are gone before.
const PLACES: usize = 4;
/// In a place that nothing was put into.
const NONE: Digest = [0; 32];

/// A table that answers whether it was given a digest lately: always right if it says so.
#[derive(Debug)]
pub(super) struct Digests(Box<[[Digest; PLACES]]>);

impl Default for Digests {
    fn default() -> Self {
        Self(vec![[NONE; PLACES]; SETS].into_boxed_slice())
    }
}

impl Digests {
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        *digest != NONE && self.0.get(set(digest)).is_some_and(|set| set.contains(digest))
    }

    /// Takes a digest, in the place of the oldest of its set.
    pub(super) fn insert(&mut self, digest: Digest) {
        if !self.contains(&digest)
            && let Some(set) = self.0.get_mut(set(&digest))
        {
            set.rotate_right(1);
            set[0] = digest;
        }
    }
}

/// Whoever makes digests that fall into one set has nothing but some of them met as new.
fn set(digest: &Digest) -> usize {
    usize::from(u16::from_le_bytes([digest[0], digest[1]])) % SETS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(first: u8, last: u8) -> Digest {
        let mut digest = [first; 32];
        digest[31] = last;
        digest
    }

    #[test]
    fn what_was_taken_is_known_and_nothing_else() {
        let mut digests = Digests::default();
        assert!(!digests.contains(&NONE), "an empty place is no digest");
        for first in 0..=u8::MAX {
            digests.insert(digest(first, 1));
        }
        assert!((0..=u8::MAX).all(|first| digests.contains(&digest(first, 1)) && !digests.contains(&digest(first, 2))));
    }

    #[test]
    fn a_set_that_is_full_lets_the_oldest_go() {
        let mut digests = Digests::default();
        for last in [1, 2, 3, 4, 2, 2, 5] {
            digests.insert(digest(7, last));
        }
        let known = [1, 2, 3, 4, 5].map(|last| digests.contains(&digest(7, last)));
        assert_eq!(known, [false, true, true, true, true], "what is met again takes no second place");
    }
}
