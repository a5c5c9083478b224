//! A key store in a folder: buckets of secrets, a table of bucket keys, one root key.
//!
//! Every change writes the buckets that it touches under new keys, a new table that names them under a
//! new root key, and last the root key, whose renaming is the moment at which the change holds. Every
//! key encrypts one file, once. Destroying a secret is forgetting the old root key: what is left of the
//! old table and the old bucket, in any copy, has no key.
//!
//! What survives a crash: every change that returned. One that did not return holds or not; files that
//! nothing refers to are removed when the store is opened.
//!
//! # Source
//! docs/spec/custodian.md, "The key store"

use super::{KeyName, KeyStore};
use crate::{custodian::store::StoreError, keys::random_secret};
use chacha20poly1305::{
    ChaCha20Poly1305, Key, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use dmdl_types::secret::Secret32;
use rand_core::CryptoRng;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// One bucket for each first byte of a name's id.
const BUCKETS: usize = 256;
/// A name and its secret.
const ENTRY_LEN: usize = KeyName::LEN + 32;
/// What is lost with a file.
const ALL: &str = "all shares of this node";
const ONE_BUCKET: &str = "some shares of this node";
/// `generation u64 ‖ key[32]`: a root key file, and one line of the table.
const LINE_LEN: usize = 40;

/// A [`KeyStore`] in a folder of its own, with its root key in a file that may lie elsewhere.
#[derive(Debug)]
pub struct FileKeys {
    folder: PathBuf,
    root: PathBuf,
    generation: u64,
    table: BTreeMap<u8, Bucket>,
    lost: Vec<PathBuf>,
    closed: bool,
}

/// The file of a bucket that has entries.
#[derive(Debug)]
struct Bucket {
    generation: u64,
    key: Secret32,
}

impl FileKeys {
    /// Opens the store in `folder` with its root key at the path `root`; both are made where they are
    /// missing together. The secrets of a bucket whose file is missing are lost: see [`Self::lost`].
    ///
    /// # Errors
    /// [`StoreError`] when a file does not decrypt, the table or the root key is missing, or anybody but this user
    /// may read or replace one.
    pub fn open(folder: &Path, root: &Path) -> Result<Self, StoreError> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let owner = owner_of_new_files(folder)?;
        check_private(folder, owner, 0o700)?;
        let mut store = Self {
            folder: folder.to_owned(),
            root: root.to_owned(),
            generation: 0,
            table: BTreeMap::new(),
            lost: Vec::new(),
            closed: false,
        };
        match fs::symlink_metadata(root) {
            Ok(_) => {
                check_private(root, owner, 0o600)?;
                store.load()?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Before anything else exists, so that a lost root key is told from a first start.
                if store.files()?.next().is_some() {
                    return Err(StoreError::Corrupt { what: "the root key is missing" });
                }
                store.write_root(&Secret32::new([0; 32]), 0)?;
            }
            Err(error) => return Err(error.into()),
        }
        store.remove_strays()?;
        Ok(store)
    }

    /// The files of buckets that are missing, and whose secrets are lost.
    #[must_use]
    pub fn lost(&self) -> &[PathBuf] {
        &self.lost
    }

    fn load(&mut self) -> Result<(), StoreError> {
        let root = Zeroizing::new(fs::read(&self.root)?);
        let (generation, key) = line(&root).ok_or_else(|| damaged(&self.root, ALL))?;
        self.generation = generation;
        if generation == 0 {
            return Ok(());
        }
        let path = self.folder.join(table_name(generation));
        let sealed = match fs::read(&path) {
            // The generation that the root key names may be what is damaged.
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(damaged(&self.root, ALL)),
            sealed => sealed?,
        };
        let table = decrypt(&key, &generation.to_le_bytes(), &sealed).map_err(|_| damaged(&path, ALL))?;
        if table.len() != BUCKETS * LINE_LEN {
            return Err(damaged(&path, ALL));
        }
        for (bucket, bytes) in (0..=u8::MAX).zip(table.chunks_exact(LINE_LEN)) {
            if let Some((generation, key)) = line(bytes).filter(|(generation, _)| *generation != 0) {
                self.table.insert(bucket, Bucket { generation, key });
            }
        }
        self.check_buckets()
    }

    /// Reads every bucket once: one that is damaged is told of before anybody asks for what is in it.
    fn check_buckets(&mut self) -> Result<(), StoreError> {
        let mut missing = Vec::new();
        for (bucket, found) in &self.table {
            let path = self.folder.join(bucket_name(*bucket, found.generation));
            match fs::read(&path) {
                Ok(sealed) => {
                    let entries = decrypt(&found.key, &bucket_aad(*bucket, found.generation), &sealed);
                    entries.map_err(|_| damaged(&path, ONE_BUCKET))?;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => missing.push((*bucket, path)),
                Err(error) => return Err(error.into()),
            }
        }
        for (bucket, path) in missing {
            self.table.remove(&bucket);
            self.lost.push(path);
        }
        Ok(())
    }

    /// The entries of a bucket, `name ‖ secret` each.
    fn entries(&self, bucket: u8) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let Some(found) = self.table.get(&bucket) else { return Ok(Zeroizing::new(Vec::new())) };
        let sealed = fs::read(self.folder.join(bucket_name(bucket, found.generation)))?;
        decrypt(&found.key, &bucket_aad(bucket, found.generation), &sealed)
    }

    fn try_change(
        &mut self,
        rng: &mut impl CryptoRng,
        put: &[(KeyName, Secret32)],
        destroy: &[KeyName],
    ) -> Result<(), StoreError> {
        let gone: BTreeSet<KeyName> = destroy.iter().chain(put.iter().map(|(name, _)| name)).copied().collect();
        let buckets: BTreeSet<u8> = gone.iter().map(KeyName::bucket).collect();
        let generation = self.generation.saturating_add(1);
        let mut changed = BTreeMap::new();
        for bucket in buckets {
            let old = self.entries(bucket)?;
            let new = edited(&old, &gone, put.iter().filter(|(name, _)| name.bucket() == bucket));
            if *new == *old {
                continue;
            }
            let mut line = None;
            if !new.is_empty() {
                let key = random_secret(rng);
                let sealed = encrypt(&key, &bucket_aad(bucket, generation), &new)?;
                write_new(&self.folder.join(bucket_name(bucket, generation)), &sealed)?;
                line = Some(Bucket { generation, key });
            }
            changed.insert(bucket, line);
        }
        if changed.is_empty() {
            return Ok(());
        }

        let mut old_files = vec![table_name(self.generation)];
        for (bucket, line) in changed {
            let old = match line {
                Some(line) => self.table.insert(bucket, line),
                None => self.table.remove(&bucket),
            };
            old_files.extend(old.map(|old| bucket_name(bucket, old.generation)));
        }
        let root = random_secret(rng);
        let table = encrypt(&root, &generation.to_le_bytes(), &self.table_bytes())?;
        write_new(&self.folder.join(table_name(generation)), &table)?;
        sync_folder(&self.folder)?;
        self.write_root(&root, generation)?;
        self.generation = generation;
        for name in old_files {
            remove(&self.folder.join(name))?;
        }
        Ok(())
    }

    fn table_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BUCKETS * LINE_LEN));
        for bucket in 0..=u8::MAX {
            match self.table.get(&bucket) {
                Some(Bucket { generation, key }) => {
                    bytes.extend_from_slice(&generation.to_le_bytes());
                    key.expose(|key| bytes.extend_from_slice(key));
                }
                None => bytes.extend_from_slice(&[0; LINE_LEN]),
            }
        }
        bytes
    }

    /// Puts a new root key in the place of the old one, and wipes the old one.
    fn write_root(&self, key: &Secret32, generation: u64) -> Result<(), StoreError> {
        let mut line = Zeroizing::new(Vec::with_capacity(LINE_LEN));
        line.extend_from_slice(&generation.to_le_bytes());
        key.expose(|key| line.extend_from_slice(key));
        let staged = self.staged_root();
        remove(&staged)?;
        write_new(&staged, &line)?;
        // Held across the renaming: afterwards the old file has no name to open it by.
        let old = match OpenOptions::new().write(true).open(&self.root) {
            Ok(old) => Some(old),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        fs::rename(&staged, &self.root)?;
        sync_folder(parent(&self.root))?;
        if let Some(mut old) = old {
            old.rewind()?;
            old.write_all(&[0; LINE_LEN])?;
            old.sync_all()?;
        }
        Ok(())
    }

    fn staged_root(&self) -> PathBuf {
        let mut name = self.root.clone().into_os_string();
        name.push(".new");
        name.into()
    }

    /// The names of the store's own files in its folder.
    fn files(&self) -> Result<impl Iterator<Item = OsString>, StoreError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            if name.to_str().is_some_and(|name| name.starts_with("table-") || name.starts_with("bucket-")) {
                names.push(name);
            }
        }
        Ok(names.into_iter())
    }

    /// Removes what a change left that did not return.
    fn remove_strays(&self) -> Result<(), StoreError> {
        remove(&self.staged_root())?;
        let mut known: BTreeSet<OsString> = BTreeSet::from([table_name(self.generation).into()]);
        known.extend(self.table.iter().map(|(bucket, found)| bucket_name(*bucket, found.generation).into()));
        for name in self.files()?.filter(|name| !known.contains(name)) {
            remove(&self.folder.join(name))?;
        }
        Ok(())
    }
}

impl KeyStore for FileKeys {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn get(&self, name: KeyName) -> Result<Option<Secret32>, StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        let entries = self.entries(name.bucket())?;
        let mut entries = entries.chunks_exact(ENTRY_LEN);
        let found = entries.find_map(|entry| entry.strip_prefix(name.as_bytes().as_slice()));
        Ok(found.and_then(|secret| secret.try_into().ok()).map(Secret32::new))
    }

    fn names(&self) -> Result<Vec<KeyName>, StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        let mut names = Vec::new();
        for bucket in self.table.keys() {
            let entries = self.entries(*bucket)?;
            let of_entry = |entry: &[u8]| entry.first_chunk::<{ KeyName::LEN }>().copied().map(KeyName);
            names.extend(entries.chunks_exact(ENTRY_LEN).filter_map(of_entry));
        }
        Ok(names)
    }

    fn change(
        &mut self,
        rng: &mut impl CryptoRng,
        put: &[(KeyName, Secret32)],
        destroy: &[KeyName],
    ) -> Result<(), StoreError> {
        if self.closed {
            return Err(StoreError::Closed);
        }
        self.closed = true;
        self.try_change(rng, put, destroy)?;
        self.closed = false;
        Ok(())
    }
}

/// The entries without those that are gone, and with the added ones; sized at once, for a vector that
/// grows leaves copies behind.
fn edited<'a>(
    old: &[u8],
    gone: &BTreeSet<KeyName>,
    added: impl Iterator<Item = &'a (KeyName, Secret32)> + Clone,
) -> Zeroizing<Vec<u8>> {
    let mut new = Zeroizing::new(Vec::with_capacity(old.len() + added.clone().count() * ENTRY_LEN));
    for entry in old.chunks_exact(ENTRY_LEN) {
        let name = entry.first_chunk::<{ KeyName::LEN }>();
        if name.is_some_and(|name| !gone.contains(&KeyName(*name))) {
            new.extend_from_slice(entry);
        }
    }
    for (name, secret) in added {
        new.extend_from_slice(name.as_bytes());
        secret.expose(|secret| new.extend_from_slice(secret));
    }
    new
}

fn line(bytes: &[u8]) -> Option<(u64, Secret32)> {
    let bytes: &[u8; LINE_LEN] = bytes.try_into().ok()?;
    let (generation, key) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*generation), Secret32::new(key.try_into().ok()?)))
}

fn table_name(generation: u64) -> String {
    format!("table-{generation:016x}")
}

fn bucket_name(bucket: u8, generation: u64) -> String {
    format!("bucket-{bucket:02x}-{generation:016x}")
}

fn bucket_aad(bucket: u8, generation: u64) -> Vec<u8> {
    [generation.to_le_bytes().as_slice(), &[bucket]].concat()
}

/// Encrypts a file. The nonce is constant: every key is random and encrypts one file.
fn encrypt(key: &Secret32, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
    cipher(key)
        .encrypt(&Nonce::default(), Payload { msg: plain, aad })
        .map_err(|_| StoreError::Corrupt { what: "a bucket is too large to encrypt" })
}

fn decrypt(key: &Secret32, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    cipher(key)
        .decrypt(&Nonce::default(), Payload { msg: sealed, aad })
        .map(Zeroizing::new)
        .map_err(|_| StoreError::Corrupt { what: "a file of the key store does not decrypt" })
}

fn damaged(path: &Path, loses: &'static str) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), loses }
}

fn cipher(key: &Secret32) -> ChaCha20Poly1305 {
    key.expose(|key| ChaCha20Poly1305::new(&Key::from(*key)))
}

/// Writes a file that did not exist, readable by this user alone, and syncs it.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    Ok(File::open(folder)?.sync_all()?)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Who owns the files that this process makes.
fn owner_of_new_files(folder: &Path) -> Result<u32, StoreError> {
    Ok(tempfile::tempfile_in(folder)?.metadata()?.uid())
}

/// Refuses a folder or a file that another user may read or replace, and a link.
fn check_private(path: &Path, owner: u32, mode_max: u32) -> Result<(), StoreError> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.file_type().is_symlink() {
        return Err(StoreError::Corrupt { what: "the key store or its root key is a link" });
    }
    if metadata.uid() != owner || metadata.mode() & 0o777 & !mode_max != 0 {
        return Err(StoreError::Corrupt { what: "other users may reach the key store or its root key" });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
