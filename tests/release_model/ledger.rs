//! The ledger of the model: one call a block, one tick of time a block, and what each call does.
//!
//! # Source
//! docs/spec/custodian.md and docs/spec/transaction.md, in the model's own words

use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// Custodians A, B, C and D, by number.
pub(crate) const CUSTODIANS: u8 = 4;
/// How many shares of one epoch open a record.
pub(crate) const THRESHOLD: u32 = 2;
/// Most blocks of a ledger.
const BLOCKS: usize = 12;
/// Most decryptions of a plan.
const DECRYPTIONS: usize = 6;

/// The custodians of a record in a share epoch, one bit each. Record 0 may be reshared: A leaves, D
/// comes.
pub(crate) const fn set(record: u8, epoch: u8) -> u8 {
    if record == 0 && epoch == 0 { 0b0111 } else { 0b1110 }
}

/// What a block asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// Nothing: time passes.
    Beat,
    /// A decryption, by its number in the plan.
    Decrypt(u8),
    /// Lists keys for custodians that came after the decryption.
    Rekey(u8),
    /// Revokes a grant.
    Revoke(u8),
    /// Erases a record.
    Erase(u8),
    /// Moves a record to its next share epoch.
    Reshare(u8),
    /// Suspends a reader.
    Suspend(u8),
    /// Takes the suspension back.
    Reinstate(u8),
    /// Revokes a reader's key, for ever.
    RevokeKey(u8),
}

impl Call {
    /// A number of seven bits, another one for each call.
    const fn code(self) -> u8 {
        let (kind, of) = match self {
            Self::Beat => (0, 0),
            Self::Decrypt(of) => (1, of),
            Self::Rekey(of) => (2, of),
            Self::Revoke(of) => (3, of),
            Self::Erase(of) => (4, of),
            Self::Reshare(of) => (5, of),
            Self::Suspend(of) => (6, of),
            Self::Reinstate(of) => (7, of),
            Self::RevokeKey(of) => (8, of),
        };
        (kind << 3) | of
    }
}

/// A permission that the ledger holds from the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) reader: u8,
    pub(crate) record: u8,
    pub(crate) uses: u8,
    /// The last tick at which it serves.
    pub(crate) ends: u8,
}

/// A decryption that somebody may have ordered: once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decryption {
    pub(crate) reader: u8,
    pub(crate) record: u8,
    /// None for an owner.
    pub(crate) grant: Option<u8>,
}

/// The numbers of the release rule, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How far a clock may be behind.
    pub(crate) clock_bound: i8,
    /// How old the tip may be by the own clock.
    pub(crate) staleness: i8,
    /// How long after its block a decryption is answered.
    pub(crate) window: u8,
}

/// Who may what, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) grants: &'static [Grant],
    pub(crate) decryptions: &'static [Decryption],
    pub(crate) limits: Limits,
    /// Whether the contract counts the uses of a grant; only a planted mistake does not.
    pub(crate) counts_uses: bool,
}

/// The ordered blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ledger {
    calls: [Call; BLOCKS],
    height: u8,
}

impl Ledger {
    pub(crate) const GENESIS: Self = Self { calls: [Call::Beat; BLOCKS], height: 0 };

    pub(crate) const fn height(&self) -> u8 {
        self.height
    }

    pub(crate) fn push(&mut self, call: Call) {
        self.calls[usize::from(self.height)] = call;
        self.height += 1;
    }

    /// The calls up to a height.
    pub(crate) fn until(&self, height: u8) -> &[Call] {
        &self.calls[..usize::from(height)]
    }

    pub(crate) fn has(&self, call: Call) -> bool {
        self.until(self.height).contains(&call)
    }
}

impl Hash for Ledger {
    /// In one word: exploring is hashing.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let calls = self.until(self.height).iter();
        calls.fold(u128::from(self.height), |word, call| (word << 7) | u128::from(call.code())).hash(hasher);
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.until(self.height)).finish()
    }
}

/// What an executor holds at a height: whoever executes the same blocks holds the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    /// The height, which is also the time.
    pub(crate) tip: u8,
    /// In which block each decryption is; 0 for none. Being there says nothing of the outcome.
    pub(crate) ordered: [u8; DECRYPTIONS],
    /// Which decryptions have the outcome ALLOW.
    allowed: u8,
    /// Which use of its grant each decryption is.
    pub(crate) number: [u8; DECRYPTIONS],
    /// For which custodians each decryption lists a key.
    listed: [u8; DECRYPTIONS],
    used: [u8; 2],
    revoked: u8,
    erased: u8,
    pub(crate) epochs: [u8; 2],
    suspended: u8,
    keys_revoked: u8,
}

const fn has(mask: u8, number: u8) -> bool {
    mask & (1 << number) != 0
}

impl World {
    /// Executes the ledger up to a height.
    pub(crate) fn at(terms: &Terms, ledger: &Ledger, height: u8) -> Self {
        let mut world = Self::default();
        for call in ledger.until(height) {
            world.apply(terms, *call);
        }
        world
    }

    /// Executes one more block.
    pub(crate) fn apply(&mut self, terms: &Terms, call: Call) {
        self.tip += 1;
        match call {
            Call::Beat => {}
            Call::Decrypt(number) => self.decrypt(terms, number),
            Call::Rekey(number) => {
                if self.allows(number) {
                    let Decryption { record, .. } = terms.decryptions[usize::from(number)];
                    self.listed[usize::from(number)] |= set(record, self.epoch(record));
                }
            }
            Call::Revoke(grant) => self.revoked |= 1 << grant,
            Call::Erase(record) => self.erased |= 1 << record,
            Call::Reshare(record) => {
                if !self.is_erased(record) {
                    self.epochs[usize::from(record)] += 1;
                }
            }
            Call::Suspend(reader) => self.suspended |= 1 << reader,
            Call::Reinstate(reader) => self.suspended &= !(1 << reader),
            Call::RevokeKey(reader) => self.keys_revoked |= 1 << reader,
        }
    }

    fn decrypt(&mut self, terms: &Terms, number: u8) {
        let Decryption { reader, record, grant } = terms.decryptions[usize::from(number)];
        let at = usize::from(number);
        self.ordered[at] = self.tip;
        self.listed[at] = set(record, self.epoch(record));
        self.number[at] = 1;
        let mut allow = !self.is_erased(record) && !self.is_suspended(reader) && !self.is_key_revoked(reader);
        if let Some(grant) = grant {
            let Grant { reader: holder, record: of, uses, ends } = terms.grants[usize::from(grant)];
            let used = &mut self.used[usize::from(grant)];
            self.number[at] = *used + 1;
            allow &= (reader, record) == (holder, of) && *used < uses && self.tip <= ends && !has(self.revoked, grant);
            if allow && terms.counts_uses {
                *used += 1;
            }
        }
        if allow {
            self.allowed |= 1 << number;
        }
    }

    /// Whether the decryption was executed with outcome ALLOW.
    pub(crate) const fn allows(&self, decryption: u8) -> bool {
        has(self.allowed, decryption)
    }

    pub(crate) fn is_ordered(&self, decryption: u8) -> bool {
        self.ordered[usize::from(decryption)] > 0
    }

    pub(crate) fn lists(&self, decryption: u8, custodian: u8) -> bool {
        has(self.listed[usize::from(decryption)], custodian)
    }

    pub(crate) const fn is_revoked(&self, grant: u8) -> bool {
        has(self.revoked, grant)
    }

    pub(crate) const fn is_erased(&self, record: u8) -> bool {
        has(self.erased, record)
    }

    pub(crate) fn epoch(&self, record: u8) -> u8 {
        self.epochs[usize::from(record)]
    }

    pub(crate) const fn is_suspended(&self, reader: u8) -> bool {
        has(self.suspended, reader)
    }

    pub(crate) const fn is_key_revoked(&self, reader: u8) -> bool {
        has(self.keys_revoked, reader)
    }

    pub(crate) fn is_custodian(&self, record: u8, custodian: u8) -> bool {
        has(set(record, self.epoch(record)), custodian)
    }
}
