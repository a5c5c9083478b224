//! Removing what nobody registered.

use super::{DeleteError, PayloadStore, run_blocking};
use dmdl_types::id::{PayloadDigest, UnixMillis};
use futures_util::StreamExt as _;
use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What sweeping removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Payloads that nobody keeps.
    pub payloads: u64,
    /// Their bytes.
    pub payload_bytes: u64,
    /// Uploads that a crash cut off.
    pub abandoned_uploads: u64,
}

impl PayloadStore {
    /// Removes payloads that `is_kept` denies and that came before `before`, and uploads into a
    /// folder that were last written to before then.
    ///
    /// A payload is put before it is registered, so `before` lies at least as far back as a
    /// registration may take. Objects that are no payloads are left alone.
    ///
    /// # Errors
    /// [`DeleteError`]; sweeping may be tried again.
    pub async fn sweep(
        &self,
        before: UnixMillis,
        is_kept: impl Fn(&PayloadDigest) -> bool,
    ) -> Result<Swept, DeleteError> {
        let mut swept = Swept::default();
        let mut objects = self.objects.list(None);
        while let Some(object) = objects.next().await {
            let object = object.map_err(DeleteError::Io)?;
            let digest = object.location.filename().and_then(|name| name.parse().ok());
            let came = UnixMillis::new(u64::try_from(object.last_modified.timestamp_millis()).unwrap_or(0));
            let Some(digest) = digest.filter(|digest| came < before && !is_kept(digest)) else { continue };
            self.delete(digest).await?;
            swept.payloads += 1;
            swept.payload_bytes += object.size;
        }
        if let Some(folder) = self.folder.clone() {
            let before = UNIX_EPOCH + Duration::from_millis(before.get());
            let sweeping = move || remove_abandoned_uploads(&folder, before);
            swept.abandoned_uploads = run_blocking(sweeping).await.map_err(DeleteError::Folder)?;
        }
        Ok(swept)
    }
}

/// Removes staged files (`<digest>#<number>`) that were last written to before `before`.
fn remove_abandoned_uploads(folder: &Path, before: SystemTime) -> io::Result<u64> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            // Two levels deep, by the store's own layout.
            removed += remove_abandoned_uploads(&entry.path(), before)?;
        } else if kind.is_file() && is_staged(&entry.file_name().to_string_lossy()) {
            match entry.metadata().and_then(|meta| meta.modified()) {
                Ok(modified) if modified < before => {
                    fs::remove_file(entry.path())?;
                    removed += 1;
                }
                // It was finished, or given up, while we looked.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(removed)
}

fn is_staged(name: &str) -> bool {
    name.split_once('#').is_some_and(|(digest, number)| {
        digest.parse::<PayloadDigest>().is_ok() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}
