//! The secrets that a custodian must be able to destroy, apart from everything that is copied.
//!
//! Two kinds: the secret under which a share is wrapped at rest, and the secret of a one-time dealing
//! key. Without the first, a wrapped share is noise; without the second, a kept copy of a sealed share
//! is. No database and no backup ever holds them.
//!
//! # Source
//! docs/spec/custodian.md, "The key store"; docs/adr/0006-share-store.md

#[cfg(unix)]
mod file;

#[cfg(unix)]
pub use file::FileKeys;

use super::store::{Slot, StoreError};
use dmdl_types::{
    id::{RecordId, RecordVersion, ShareEpoch},
    secret::Secret32,
};
use rand_core::CryptoRng;
use std::{collections::BTreeMap, fmt};

/// What a secret in the key store belongs to.
///
/// # Encoding
/// `kind u8 ‖ id[32] ‖ version u32 ‖ epoch u32`, numbers big-endian: kind 1 is a dealing key, whose id
/// is the public key and whose numbers are 0; kind 2 is a share, whose id is its record's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName([u8; Self::LEN]);

impl KeyName {
    /// Length of an encoded name.
    pub const LEN: usize = 41;

    /// The name's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The bucket that it lies in: the first byte of its id, which is as good as random.
    #[must_use]
    pub const fn bucket(&self) -> u8 {
        let [_, first, ..] = self.0;
        first
    }

    /// What it is the name of.
    pub(super) fn owner(&self) -> Option<Owner> {
        let (kind, rest) = self.0.split_first()?;
        let (id, numbers) = rest.split_first_chunk::<32>()?;
        let (version, epoch) = numbers.split_first_chunk::<4>()?;
        match kind {
            1 => Some(Owner::DealingKey(*id)),
            2 => Some(Owner::Share(Slot {
                record: RecordId::new(*id),
                version: RecordVersion::new(u32::from_be_bytes(*version)),
                epoch: ShareEpoch::new(u32::from_be_bytes(epoch.try_into().ok()?)),
            })),
            _ => None,
        }
    }

    pub(super) fn of_dealing_key(public: &[u8; 32]) -> Self {
        Self::new(1, public, 0, 0)
    }

    pub(super) fn of_share(slot: Slot) -> Self {
        Self::new(2, slot.record.as_bytes(), slot.version.get(), slot.epoch.get())
    }

    fn new(kind: u8, id: &[u8; 32], version: u32, epoch: u32) -> Self {
        let mut name = [0; Self::LEN];
        let fields = [kind].into_iter().chain(*id).chain(version.to_be_bytes()).chain(epoch.to_be_bytes());
        for (to, from) in name.iter_mut().zip(fields) {
            *to = from;
        }
        Self(name)
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyName(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// What a secret belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    DealingKey([u8; 32]),
    Share(Slot),
}

/// A small durable store of secrets that can forget.
pub trait KeyStore {
    /// The secret of this name.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read back as it was written.
    fn get(&self, name: KeyName) -> Result<Option<Secret32>, StoreError>;

    /// The names of all secrets that it has.
    ///
    /// # Errors
    /// [`StoreError`] when they cannot be read back as they were written.
    fn names(&self) -> Result<Vec<KeyName>, StoreError>;

    /// How often it has changed: a copy of an earlier generation may open what was destroyed since.
    fn generation(&self) -> u64;

    /// Destroys secrets and adds others, all or nothing, and returns when it is on disk.
    ///
    /// A name that is put again has the new secret; destroying an unknown one changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]: the change is on disk or not, nobody knows which.
    ///
    /// # Security
    /// What was destroyed cannot be read any more from this store, nor from a copy of its folder that
    /// lacks the root key of that time.
    fn change(
        &mut self,
        rng: &mut impl CryptoRng,
        put: &[(KeyName, Secret32)],
        destroy: &[KeyName],
    ) -> Result<(), StoreError>;
}

/// A key store in memory, for the simulator and for tests.
#[derive(Debug, Default)]
pub struct MemoryKeys {
    secrets: BTreeMap<KeyName, Secret32>,
    generation: u64,
}

impl KeyStore for MemoryKeys {
    fn get(&self, name: KeyName) -> Result<Option<Secret32>, StoreError> {
        Ok(self.secrets.get(&name).map(copy))
    }

    fn names(&self) -> Result<Vec<KeyName>, StoreError> {
        Ok(self.secrets.keys().copied().collect())
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn change(
        &mut self,
        _: &mut impl CryptoRng,
        put: &[(KeyName, Secret32)],
        destroy: &[KeyName],
    ) -> Result<(), StoreError> {
        for name in destroy {
            self.secrets.remove(name);
        }
        self.generation += 1;
        self.secrets.extend(put.iter().map(|(name, secret)| (*name, copy(secret))));
        Ok(())
    }
}

impl Clone for MemoryKeys {
    /// The disk at this moment, for a simulated crash.
    fn clone(&self) -> Self {
        let secrets = self.secrets.iter().map(|(name, secret)| (*name, copy(secret))).collect();
        Self { secrets, generation: self.generation }
    }
}

fn copy(secret: &Secret32) -> Secret32 {
    secret.expose(|bytes| Secret32::new(*bytes))
}
