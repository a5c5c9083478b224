//! Parts of a reshare, as every executor checks them and adds them up.
//!
//! # Source
//! docs/spec/share.md, "Resharing"

use crate::share::{CheckedDealing, Commitments, SubDealing, Threshold, merge_commitments};
use dmdl_types::{
    custody::{Dealing, Reshared},
    id::ShareIndex,
};

/// Whether a part deals exactly the share at an index of the dealing that is handed on.
///
/// # Security
/// Pure and total, as [`merge`].
#[must_use]
pub fn is_part(old: &Reshared<'_>, from: ShareIndex, part: &Dealing) -> bool {
    checked(old).is_some_and(|old| sub_dealing(&old, from, part).is_some())
}

/// The commitments that parts add up to, each with the index of the share that it deals; none if they are not one each of
/// as many holders as it takes.
#[must_use]
pub fn merge(old: &Reshared<'_>, parts: &[(ShareIndex, &Dealing)]) -> Option<Vec<[u8; 32]>> {
    let old = checked(old)?;
    let parts: Option<Vec<_>> = parts.iter().map(|(from, part)| sub_dealing(&old, *from, part)).collect();
    Some(merge_commitments(&parts?).ok()?.commitments().as_bytes().to_vec())
}

/// The dealing that is handed on.
pub(super) fn checked(old: &Reshared<'_>) -> Option<CheckedDealing> {
    let threshold = Threshold::new(u8::try_from(old.commitments.len()).ok()?, old.shares).ok()?;
    Some(CheckedDealing::new(Commitments::parse(threshold, old.commitments).ok()?, old.data, old.epoch))
}

fn sub_dealing(old: &CheckedDealing, from: ShareIndex, part: &Dealing) -> Option<SubDealing> {
    let small = |len: usize| u8::try_from(len).ok();
    let threshold = Threshold::new(small(part.commitments.len())?, small(part.shares.len())?).ok()?;
    SubDealing::check(old, from, Commitments::parse(threshold, &part.commitments).ok()?).ok()
}
