//! Putting a payload: hashed as it arrives, visible only when it is the one that was promised.

use super::{PayloadStore, location};
use bytes::Bytes;
use dmdl_types::id::PayloadDigest;
use futures_util::{Stream, StreamExt as _};
use object_store::{MultipartUpload, ObjectStoreExt as _, PutPayload};
use std::{error::Error, pin::pin};

/// The least that is collected before it is passed on; S3 takes no parts under 5 MiB.
const PART_LEN_BYTES_MIN: u64 = 8 << 20;
/// S3 takes no more parts than this.
const PART_COUNT_MAX: u64 = 10_000;

/// Why a payload was not stored. Nothing of it is then visible in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The bytes are not the ones that the digest names.
    #[error("the bytes do not have digest `{expected}`")]
    DigestMismatch {
        /// The digest that was promised.
        expected: PayloadDigest,
    },
    /// Fewer or more bytes came than were promised.
    #[error("{got_bytes} bytes or more came, {expected_bytes} were promised")]
    LengthMismatch {
        /// The length that was promised.
        expected_bytes: u64,
        /// How many had come when putting stopped.
        got_bytes: u64,
    },
    /// The bytes stopped coming.
    #[error("the upload broke off")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// The store could not take the bytes.
    #[error("the payload store failed")]
    Io(#[source] object_store::Error),
}

impl PayloadStore {
    /// Stores a payload that must have this digest and length.
    ///
    /// Returns after the bytes and their name are durable. Memory stays at one part: 8 MiB, or a
    /// ten-thousandth of a payload beyond 80 GiB. Putting a payload again replaces it with the same
    /// bytes, which heals a damaged copy.
    ///
    /// # Errors
    /// [`PutError`]; the payload is then not in the store, unless it was before.
    pub async fn put<E>(
        &self,
        digest: PayloadDigest,
        len_bytes: u64,
        bytes: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<(), PutError>
    where
        E: Into<Box<dyn Error + Send + Sync>> + Send,
    {
        let mut incoming = Incoming::new(self, digest, len_bytes);
        let stored = match incoming.receive(bytes).await {
            Ok(()) => incoming.publish().await,
            Err(error) => Err(error),
        };
        if stored.is_err() {
            incoming.discard().await;
        }
        stored
    }
}

/// A payload on its way in.
struct Incoming<'a> {
    store: &'a PayloadStore,
    digest: PayloadDigest,
    len_bytes: u64,
    got_bytes: u64,
    hasher: blake3::Hasher,
    /// What will be the next part.
    part: Vec<Bytes>,
    part_len_bytes: u64,
    part_len_bytes_max: u64,
    /// Begun with the second part: most payloads are one.
    upload: Option<Box<dyn MultipartUpload>>,
}

impl<'a> Incoming<'a> {
    fn new(store: &'a PayloadStore, digest: PayloadDigest, len_bytes: u64) -> Self {
        Self {
            store,
            digest,
            len_bytes,
            got_bytes: 0,
            hasher: blake3::Hasher::new(),
            part: Vec::new(),
            part_len_bytes: 0,
            part_len_bytes_max: PART_LEN_BYTES_MIN.max(len_bytes.div_ceil(PART_COUNT_MAX)),
            upload: None,
        }
    }

    /// Takes all bytes and checks that they are the promised ones.
    async fn receive<E>(&mut self, bytes: impl Stream<Item = Result<Bytes, E>> + Send) -> Result<(), PutError>
    where
        E: Into<Box<dyn Error + Send + Sync>> + Send,
    {
        let mut bytes = pin!(bytes);
        while let Some(item) = bytes.next().await {
            self.take(item.map_err(|error| PutError::Source(error.into()))?).await?;
        }
        if self.got_bytes != self.len_bytes {
            return Err(self.length_mismatch());
        }
        if self.hasher.finalize() != *self.digest.as_bytes() {
            return Err(PutError::DigestMismatch { expected: self.digest });
        }
        Ok(())
    }

    async fn take(&mut self, mut bytes: Bytes) -> Result<(), PutError> {
        self.got_bytes = self.got_bytes.saturating_add(bytes.len() as u64);
        if self.got_bytes > self.len_bytes {
            return Err(self.length_mismatch());
        }
        self.hasher.update(&bytes);
        while !bytes.is_empty() {
            // A part is sent when it is full and more comes: the last one waits for the digest. All
            // but the last are equally long, as some stores demand.
            if self.part_len_bytes == self.part_len_bytes_max {
                self.send_part().await?;
            }
            let room = usize::try_from(self.part_len_bytes_max - self.part_len_bytes).unwrap_or(usize::MAX);
            let taken = bytes.split_to(room.min(bytes.len()));
            self.part_len_bytes += taken.len() as u64;
            self.part.push(taken);
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), PutError> {
        let part = self.next_part();
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let location = location(self.digest);
                none.insert(self.store.objects.put_multipart(&location).await.map_err(PutError::Io)?)
            }
        };
        upload.put_part(part).await.map_err(PutError::Io)
    }

    /// Gives the bytes their name; only called once they are known to be right.
    async fn publish(&mut self) -> Result<(), PutError> {
        if self.upload.is_none() {
            let whole = self.next_part();
            self.store.objects.put(&location(self.digest), whole).await.map_err(PutError::Io)?;
            return Ok(());
        }
        self.send_part().await?;
        if let Some(mut upload) = self.upload.take() {
            upload.complete().await.map_err(PutError::Io)?;
        }
        Ok(())
    }

    /// Drops what was passed on. A store that cannot even do that keeps invisible parts, which
    /// sweeping a folder removes, and which other stores expire by their own rules.
    async fn discard(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            let _ = upload.abort().await;
        }
    }

    fn next_part(&mut self) -> PutPayload {
        self.part_len_bytes = 0;
        PutPayload::from_iter(std::mem::take(&mut self.part))
    }

    fn length_mismatch(&self) -> PutError {
        PutError::LengthMismatch { expected_bytes: self.len_bytes, got_bytes: self.got_bytes }
    }
}
