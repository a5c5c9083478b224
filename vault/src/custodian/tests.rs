//! A custodian through its life: what is durable before what is said, and what is forgotten.

mod dealing;
mod life;
mod reshare;

use super::*;
use crate::{
    keys::x25519_public,
    seal::{SealedShare, digest, seal_to_custodian},
    share::{CheckedDealing, Dealt, Share, Threshold, deal},
};
use dmdl_types::{
    context::{DataContext, ShareContext},
    custody::{
        AllowedDecryption, Assignment, Dealing, DealingKey, DealtShare, GrantView, ReleaseView, SealedBytes, ShareView,
    },
    id::{ChannelId, GrantId, Height, NetworkId, RecordVersion, ShareEpoch, ShareIndex, UseNumber},
    secret::Secret32,
    sign::PublicKey,
};
use rand::{SeedableRng as _, rngs::ChaCha20Rng};
use std::{cell::Cell, rc::Rc};

pub(super) const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);

pub(super) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

pub(super) fn domain() -> Domain {
    Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) }
}

pub(super) fn signer(number: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([number; 32]))
}

pub(super) fn public(number: u8) -> PublicKey {
    signer(number).public()
}

fn data(record: u8) -> DataContext {
    DataContext {
        network: domain().network,
        channel: domain().channel,
        record: RecordId::new([record; 32]),
        version: RecordVersion::new(1),
    }
}

/// Two of four; the custodian under test is number 2.
fn dealt(record: u8) -> (Dealt, CheckedDealing) {
    let dealt = deal(&mut rng(u64::from(record)), Threshold::new(2, 4).unwrap()).unwrap();
    let dealing = CheckedDealing::new(dealt.commitments().clone(), data(record), ShareEpoch::new(0));
    (dealt, dealing)
}

/// The dealing of record 3, and what the custodian's share of it is bound to.
pub(super) fn custodian_context() -> (CheckedDealing, ShareContext) {
    let (_, dealing) = dealt(3);
    let context = dealing.context(NodeId::of_key(public(2)), ShareIndex::new(2));
    (dealing, context)
}

fn copy(share: &Share) -> Share {
    share.expose(|bytes| Share::from_bytes(bytes)).unwrap()
}

pub(super) fn good_share() -> Share {
    copy(&dealt(3).0.shares()[1])
}

/// Shares that are not the custodian's of record 3: altered, of another position, of another record.
pub(super) fn bad_shares() -> Vec<Share> {
    let mut altered = good_share().expose(|bytes| *bytes);
    altered[1] ^= 1;
    let mut blinded = good_share().expose(|bytes| *bytes);
    blinded[33] ^= 1;
    vec![
        Share::from_bytes(&altered).unwrap(),
        Share::from_bytes(&blinded).unwrap(),
        copy(&dealt(3).0.shares()[0]),
        copy(&dealt(4).0.shares()[1]),
    ]
}

/// A store that fails at its `n`-th write from now, and is closed by whoever uses it.
#[derive(Clone, Default)]
pub(super) struct FaultyKv {
    inner: MemoryKv,
    /// Writes until the failure; none for never.
    left: Rc<Cell<Option<u32>>>,
}

fn tick(left: &Cell<Option<u32>>) -> Result<(), StoreError> {
    match left.get() {
        Some(0) => Err(std::io::Error::other("injected").into()),
        count => {
            left.set(count.map(|count| count - 1));
            Ok(())
        }
    }
}

impl Kv for FaultyKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.scan(prefix, after, limit)
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        tick(&self.left)?;
        self.inner.commit(changes)
    }
}

#[derive(Clone, Default)]
pub(super) struct FaultyKeys {
    inner: MemoryKeys,
    left: Rc<Cell<Option<u32>>>,
}

impl KeyStore for FaultyKeys {
    fn generation(&self) -> u64 {
        self.inner.generation()
    }

    fn get(&self, name: KeyName) -> Result<Option<Secret32>, StoreError> {
        self.inner.get(name)
    }

    fn names(&self) -> Result<Vec<KeyName>, StoreError> {
        self.inner.names()
    }

    fn change(
        &mut self,
        rng: &mut impl CryptoRng,
        put: &[(KeyName, Secret32)],
        destroy: &[KeyName],
    ) -> Result<(), StoreError> {
        tick(&self.left)?;
        self.inner.change(rng, put, destroy)
    }
}

type Tested = Custodian<FaultyKv, FaultyKeys>;

/// A custodian whose disks fail at the same count of writes.
fn custodian() -> Tested {
    let left = Rc::new(Cell::new(None));
    let (kv, keys) =
        (FaultyKv { left: left.clone(), ..FaultyKv::default() }, FaultyKeys { left, ..FaultyKeys::default() });
    open(kv, keys)
}

fn open(kv: FaultyKv, keys: FaultyKeys) -> Tested {
    let limits = ReleaseLimits::of_channel(2_000, 4_000, 1);
    Custodian::open(&mut rng(99), domain(), Arc::new(signer(2)), limits, kv, keys).unwrap()
}

impl Tested {
    fn fail_after(&self, writes: u32) {
        self.keys.left.set(Some(writes));
    }

    /// What a new process finds on the disks.
    fn restarted(&self) -> Self {
        let (kv, keys) = (self.store.kv().clone(), self.keys.clone());
        kv.left.set(None);
        open(kv, keys)
    }
}

/// A registration as the custodian's ledger has it, and the bytes that the dealer sends.
struct Sent {
    dealing: Dealing,
    assignment: Assignment,
    sealed: SealedBytes,
}

impl Sent {
    fn arrival(&self) -> Arrival<'_> {
        Arrival { assignment: &self.assignment, sealed: &self.sealed }
    }
}

/// A dealing of `record`, whose share for the custodian is sealed by `seal`.
fn sent(record: u8, key: DealingKey, seal: impl FnOnce(&Dealt, &ShareContext) -> SealedBytes) -> Sent {
    let (dealt, checked) = dealt(record);
    let context = checked.context(NodeId::of_key(public(2)), ShareIndex::new(2));
    let sealed = seal(&dealt, &context);
    let shares = (1..=4).map(|number| {
        let other = DealingKey::sign(&signer(number), &domain(), DEALER, x25519_public(&Secret32::new([number; 32])));
        if number == 2 {
            DealtShare { key, digest: digest(&sealed) }
        } else {
            DealtShare { key: other, digest: [0; 32] }
        }
    });
    let commitments = dealt.commitments().as_bytes().to_vec();
    let dealing = Dealing {
        suite: 1,
        epoch: ShareEpoch::new(0),
        commitments: commitments.clone(),
        shares: shares.collect(),
        min_acks: 3,
    };
    let assignment = Assignment {
        share: context,
        commitments,
        dealing_key: key.key,
        sealed_digest: digest(&sealed),
        height: Height::new(5),
    };
    Sent { dealing, assignment, sealed }
}

fn seal(share: &Share, context: &ShareContext, key: &DealingKey) -> SealedBytes {
    seal_to_custodian(&mut rng(7), share, context, &key.key).unwrap().to_bytes()
}

/// A dealing as an honest dealer makes it.
fn honest(record: u8, key: DealingKey) -> Sent {
    sent(record, key, |dealt, context| seal(&dealt.shares()[1], context, &key))
}

/// Whose shares travel.
const DEALER: PublicKey = PublicKey::new([0xd; 32]);

fn mint(custodian: &mut Tested) -> DealingKey {
    custodian.mint(&mut rng(5), DEALER, 1, NOW).unwrap()[0]
}

/// A custodian that acknowledged its share of a record.
fn holding(record: u8) -> (Tested, Sent) {
    let mut custodian = custodian();
    let key = mint(&mut custodian);
    let sent = honest(record, key);
    custodian.accept(&mut rng(6), &[sent.arrival()]).unwrap().remove(0).unwrap();
    (custodian, sent)
}

const GRANT: GrantId = GrantId::new([8; 32]);
const ASKED: TransactionId = TransactionId::new([0x77; 32]);

fn opening_secret() -> Secret32 {
    Secret32::new([9; 32])
}

/// What the ledger says when every clause holds.
fn view(sent: &Sent) -> ReleaseView {
    view_of(sent.assignment.share, sent.assignment.commitments.clone())
}

/// The same, of a share.
fn view_of(share: ShareContext, commitments: Vec<[u8; 32]>) -> ReleaseView {
    let grant = GrantView { grant: GRANT, uses_max: 3, ends: NOW.plus_ms(60_000), revoked: false };
    let decryption = AllowedDecryption {
        transaction: ASKED,
        time: NOW,
        requester: public(0x21),
        grant: Some(grant),
        use_number: UseNumber::new(1),
        opening_key: Some(x25519_public(&opening_secret())),
    };
    ReleaseView {
        network: domain().network,
        channel: domain().channel,
        tip: Height::new(9),
        tip_time: NOW,
        conflict_seen: false,
        decryption: Some(decryption),
        share: Some(ShareView { share, commitments, erased: false }),
        key_active: true,
        suspended: false,
    }
}
