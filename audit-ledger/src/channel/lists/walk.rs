//! One page of a list: looks at so many rows, and no more.

use super::{
    super::{ViewError, view::PAGE_MAX},
    Page,
    cursor::Binding,
};
use crate::store::StoreError;
use std::cell::Cell;

/// Rows that are read at a time: fewer are read only at the end of a list.
pub(super) const CHUNK: usize = 256;
/// After looking this often, a page ends with what it has.
pub(super) const LOOKS_MAX: usize = 4096;

/// Fills a page from a list that is read in chunks, with what `keep` makes of each row.
///
/// `looked` counts the rows; `keep` may add what it costs itself.
pub(super) fn walk<const N: usize, R, T>(
    (binding, cursor): (&Binding, Option<&[u8]>),
    (limit, looked): (usize, &Cell<usize>),
    mut chunk: impl FnMut(Option<[u8; N]>) -> Result<Vec<([u8; N], R)>, StoreError>,
    mut keep: impl FnMut([u8; N], R) -> Result<Option<T>, StoreError>,
) -> Result<Page<T>, ViewError> {
    let limit = limit.clamp(1, PAGE_MAX);
    let mut at = cursor.map(|cursor| binding.open(cursor)).transpose()?;
    let mut items = Vec::new();
    loop {
        let rows = chunk(at)?;
        let last = rows.len() < CHUNK;
        let mut rows = rows.into_iter().peekable();
        while let Some((place, row)) = rows.next() {
            looked.set(looked.get() + 1);
            items.extend(keep(place, row)?);
            at = Some(place);
            if items.len() >= limit || looked.get() >= LOOKS_MAX {
                let ended = last && rows.peek().is_none();
                return Ok(Page { items, next: (!ended).then(|| binding.seal(&place)) });
            }
        }
        if last {
            return Ok(Page { items, next: None });
        }
    }
}
