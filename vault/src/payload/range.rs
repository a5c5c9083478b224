//! Random access: any range of the plaintext from its own chunks alone.
//!
//! # Source
//! docs/spec/payload.md, "Ranges"

use super::{
    PayloadEntry,
    layout::{CHUNK_LEN, Layout, SEALED_CHUNK_LEN},
    open::{CommittedKey, OpenError, read_header},
};
use dmdl_types::{context::DataContext, secret::Secret32};
use std::{
    io::{Read, Seek, SeekFrom},
    ops::Range,
};
use zeroize::Zeroizing;

/// Which bytes of a payload a range of its plaintext needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangePlan {
    plaintext: Range<u64>,
    chunks: Range<u64>,
    ciphertext: Range<u64>,
}

impl RangePlan {
    /// Plans for `plaintext` in a payload of this layout.
    ///
    /// # Errors
    /// [`OpenError::NoSuchRange`] when the range reaches past the end or runs backwards.
    pub fn new(layout: Layout, plaintext: Range<u64>) -> Result<Self, OpenError> {
        let Range { start, end } = plaintext;
        let len_bytes = layout.plaintext_len_bytes();
        if start > end || end > len_bytes {
            return Err(OpenError::NoSuchRange { start, end, len_bytes });
        }
        if start == end {
            return Ok(Self { plaintext, chunks: 0..0, ciphertext: 0..0 });
        }
        let chunks = start / CHUNK_LEN as u64..end.div_ceil(CHUNK_LEN as u64);
        let first = layout.chunk(chunks.start).unwrap_or_default();
        let last = layout.chunk(chunks.end - 1).unwrap_or_default();
        Ok(Self { plaintext, chunks, ciphertext: first.start..last.end })
    }

    /// The bytes of the payload to fetch: whole chunks; none for an empty range.
    #[must_use]
    pub fn ciphertext(&self) -> Range<u64> {
        self.ciphertext.clone()
    }

    /// The range of the plaintext that was asked for.
    #[must_use]
    pub fn plaintext(&self) -> Range<u64> {
        self.plaintext.clone()
    }
}

impl CommittedKey {
    /// Plans for a range of this payload's plaintext.
    ///
    /// # Errors
    /// [`OpenError::NoSuchRange`] when the range reaches past the end or runs backwards.
    pub fn plan(&self, plaintext: Range<u64>) -> Result<RangePlan, OpenError> {
        RangePlan::new(self.layout(), plaintext)
    }

    /// Opens the planned bytes of the payload and appends the asked range to `plaintext`.
    ///
    /// `sealed` is what lies at [`RangePlan::ciphertext`].
    ///
    /// # Errors
    /// [`OpenError::Truncated`] or [`OpenError::TooLong`] when `sealed` has another length than
    /// planned, [`OpenError::Altered`] when a chunk is not true. `plaintext` is then as it was.
    ///
    /// # Security
    /// The chunks prove themselves. The payload's digest is not checked: the rest was not read.
    pub fn open_planned(&self, plan: &RangePlan, sealed: &[u8], plaintext: &mut Vec<u8>) -> Result<(), OpenError> {
        let expected_bytes = plan.ciphertext.end - plan.ciphertext.start;
        let got_bytes = sealed.len() as u64;
        if got_bytes < expected_bytes {
            return Err(OpenError::Truncated { expected_bytes, got_bytes });
        }
        if got_bytes > expected_bytes {
            return Err(OpenError::TooLong { expected_bytes });
        }
        let start = plaintext.len();
        let mut opened = Zeroizing::new(Vec::with_capacity(CHUNK_LEN));
        for (chunk, bytes) in plan.chunks.clone().zip(sealed.chunks(SEALED_CHUNK_LEN)) {
            opened.clear();
            if let Err(error) = self.open_chunk(chunk, bytes, &mut opened) {
                plaintext.truncate(start);
                return Err(error);
            }
            let offset = chunk * CHUNK_LEN as u64;
            let wanted = within(plan.plaintext.start, offset)..within(plan.plaintext.end, offset);
            plaintext.extend_from_slice(opened.get(wanted).unwrap_or_default());
        }
        Ok(())
    }
}

/// Opens a range of a payload's plaintext, reading its header and the range's chunks only.
///
/// # Errors
/// [`OpenError`]; then nothing of the range is returned.
pub fn open_range(
    payload: &mut (impl Read + Seek),
    input_key: &Secret32,
    context: &DataContext,
    entry: &PayloadEntry,
    range: Range<u64>,
) -> Result<Vec<u8>, OpenError> {
    payload.seek(SeekFrom::Start(0)).map_err(OpenError::Read)?;
    let header = read_header(payload, entry)?;
    let key = CommittedKey::check(input_key, context, entry, &header)?;
    let plan = key.plan(range)?;
    let Range { start, end } = plan.ciphertext();
    payload.seek(SeekFrom::Start(start)).map_err(OpenError::Read)?;
    let mut sealed = Vec::new();
    payload.take(end - start).read_to_end(&mut sealed).map_err(OpenError::Read)?;
    // Exact, because a buffer that grows leaves copies of plaintext behind.
    let mut plaintext = Vec::with_capacity(usize::try_from(plan.plaintext.end - plan.plaintext.start).unwrap_or(0));
    key.open_planned(&plan, &sealed, &mut plaintext)?;
    Ok(plaintext)
}

/// Where a position of the plaintext falls within the chunk that begins at `offset`, at most its end.
fn within(position: u64, offset: u64) -> usize {
    usize::try_from(position.saturating_sub(offset)).unwrap_or(CHUNK_LEN).min(CHUNK_LEN)
}
