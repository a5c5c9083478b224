//! Cursors: where a page ended, for whoever asks for the next one.
//!
//! A cursor is a place in a list's own order, which never changes, so it stays valid for ever, on every
//! node of the channel. A hash ties it to its list and filters: one from elsewhere is refused instead of
//! giving a page that makes no sense. It is no secret and gives no right; every page asks again what its
//! reader may see.

use super::super::ViewError;
use borsh::{BorshDeserialize, BorshSerialize};
use dmdl_types::{codec, hash, label, sign::Domain};

/// Version of the cursors that are given out.
const VERSION: u8 = 1;
/// Longest cursor.
const CURSOR_BYTES: usize = 64;

/// The lists that have cursors.
#[derive(Clone, Copy, BorshSerialize)]
pub(super) enum List {
    Records,
    Requests,
    Events,
    History,
    People,
    Proposals,
}

/// What a cursor belongs to: one list of one channel, with its filters.
pub(super) struct Binding([u8; 32]);

#[derive(BorshSerialize, BorshDeserialize)]
struct Cursor {
    version: u8,
    tag: [u8; 16],
    place: Vec<u8>,
}

impl Binding {
    pub(super) fn new(domain: &Domain, list: List, filter: &impl BorshSerialize) -> Self {
        Self(hash::labelled(label::CURSOR, &[&codec::encode(&(domain, list)), &codec::encode(filter)]))
    }

    /// The cursor of a place.
    pub(super) fn seal(&self, place: &[u8]) -> Vec<u8> {
        codec::encode(&Cursor { version: VERSION, tag: self.tag(place), place: place.to_vec() })
    }

    /// The place that a cursor names.
    ///
    /// # Errors
    /// [`ViewError::Cursor`] when it is none of this list.
    pub(super) fn open<const N: usize>(&self, cursor: &[u8]) -> Result<[u8; N], ViewError> {
        let cursor: Cursor = codec::decode(cursor, CURSOR_BYTES).map_err(|_| ViewError::Cursor)?;
        let place: [u8; N] = cursor.place.try_into().map_err(|_| ViewError::Cursor)?;
        if cursor.version == VERSION && cursor.tag == self.tag(&place) { Ok(place) } else { Err(ViewError::Cursor) }
    }

    fn tag(&self, place: &[u8]) -> [u8; 16] {
        let whole = hash::labelled(label::CURSOR, &[&[VERSION], &self.0, place]);
        let mut tag = [0; 16];
        tag.iter_mut().zip(whole).for_each(|(tag, byte)| *tag = byte);
        tag
    }
}
