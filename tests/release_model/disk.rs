//! A disk in memory that outlives the process using it, and may fail that process.

use dmdl_types::secret::Secret32;
use dmdl_vault::custodian::{Change, Entry, KeyName, KeyStore, Kv, MemoryKeys, MemoryKv, StoreError};
use rand_core::CryptoRng;
use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
};

/// What the next write of a disk comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// It fails, and nothing is written.
    Before,
    /// It fails, and all is written.
    After,
}

/// A custodian's rows and secrets, which outlive its process.
#[derive(Clone)]
pub(crate) struct Disk {
    rows: Rc<RefCell<MemoryKv>>,
    secrets: Rc<RefCell<MemoryKeys>>,
    fault: Rc<Cell<Fault>>,
}

impl Disk {
    pub(crate) fn new(kv: MemoryKv, keys: MemoryKeys) -> Self {
        Self { rows: Rc::new(RefCell::new(kv)), secrets: Rc::new(RefCell::new(keys)), fault: Rc::default() }
    }

    /// Says what the next write comes to.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.fault.set(fault);
    }

    pub(crate) fn into_parts(self) -> (MemoryKv, MemoryKeys) {
        (self.rows.borrow().clone(), self.secrets.borrow().clone())
    }
}

impl Kv for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.borrow().get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.rows.borrow().scan(prefix, after, limit)
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let fault = self.fault.take();
        if fault != Fault::Before {
            self.rows.borrow_mut().commit(changes)?;
        }
        if fault == Fault::None { Ok(()) } else { Err(io::Error::other("killed").into()) }
    }
}

impl KeyStore for Disk {
    fn generation(&self) -> u64 {
        self.secrets.borrow().generation()
    }

    fn get(&self, name: KeyName) -> Result<Option<Secret32>, StoreError> {
        self.secrets.borrow().get(name)
    }

    fn names(&self) -> Result<Vec<KeyName>, StoreError> {
        self.secrets.borrow().names()
    }

    fn change(
        &mut self,
        rng: &mut impl CryptoRng,
        put: &[(KeyName, Secret32)],
        destroy: &[KeyName],
    ) -> Result<(), StoreError> {
        self.secrets.borrow_mut().change(rng, put, destroy)
    }
}
