//! The real keys, dealings and disks that a schedule is replayed on: made once, copied for each.

use super::{
    disk::Disk,
    ledger::{CUSTODIANS, Limits, THRESHOLD, set},
    model::Plan,
};
use commonware_utils::TestRng;
use dmdl_types::{
    context::{DataContext, ShareContext},
    custody::{Assignment, SealedBytes},
    id::{
        ChannelId, GrantId, Height, NetworkId, NodeId, RecordId, RecordVersion, ShareEpoch, ShareIndex, TransactionId,
        UnixMillis,
    },
    secret::Secret32,
    sign::{Domain, PublicKey, SigningKey},
};
use dmdl_vault::{
    custodian::{Arrival, Custodian, MemoryKeys, MemoryKv, ReleaseLimits},
    keys::{opening_secret, x25519_public},
    seal::{digest, seal_to_custodian},
    share::{CheckedDealing, Share, SubDealing, Threshold, VerifiedShare, deal, merge_commitments, merge_shares},
};
use std::{collections::BTreeMap, sync::Arc};

/// Block time of genesis.
const GENESIS_MS: u64 = 1_800_000_000_000;
/// How long a tick of the model is.
const TICK_MS: u64 = 5_000;

/// The instant of a tick.
pub(crate) fn instant(tick: i8) -> UnixMillis {
    UnixMillis::new(GENESIS_MS.checked_add_signed(i64::from(tick) * TICK_MS.cast_signed()).unwrap())
}

/// The model's numbers as the real rule's.
pub(crate) fn limits(plan: &Plan) -> ReleaseLimits {
    let Limits { clock_bound, staleness, window } = plan.terms.limits;
    let ms = |ticks: u8| u64::from(ticks) * TICK_MS;
    ReleaseLimits {
        clock_bound_ms: ms(clock_bound.unsigned_abs()),
        staleness_ms: ms(staleness.unsigned_abs()),
        release_window_ms: ms(window),
    }
}

pub(crate) const fn domain() -> Domain {
    Domain { network: NetworkId::new([1; 32]), channel: ChannelId::new([2; 32]) }
}

pub(crate) fn signer(by: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([0x11 + by; 32]))
}

fn node(by: u8) -> NodeId {
    NodeId::of_key(signer(by).public())
}

/// The key of a reader, or of a dealer.
fn reader(number: u8) -> PublicKey {
    SigningKey::from_seed(Secret32::new([0x21 + number; 32])).public()
}

pub(crate) const fn record(number: u8) -> RecordId {
    RecordId::new([0x31 + number; 32])
}

pub(crate) const fn grant(number: u8) -> GrantId {
    GrantId::new([0x41 + number; 32])
}

pub(crate) const fn transaction(decryption: u8) -> TransactionId {
    TransactionId::new([0x51 + decryption; 32])
}

pub(crate) const VERSION: RecordVersion = RecordVersion::new(1);

/// The one-time secret of a decryption's reader for one custodian.
pub(crate) fn one_time_secret(decryption: u8, custodian: u8) -> Secret32 {
    opening_secret(&Secret32::new([0x61; 32]), &[decryption; 16], node(custodian))
}

const fn data(number: u8) -> DataContext {
    let Domain { network, channel } = domain();
    DataContext { network, channel, record: record(number), version: VERSION }
}

/// A record and a share epoch.
pub(crate) type Slot = (u8, u8);

/// A share on its way: the custodian's task, and the sealed bytes.
#[derive(Clone)]
pub(crate) struct Parcel {
    assignment: Assignment,
    sealed: SealedBytes,
}

impl Parcel {
    pub(crate) const fn arrival(&self) -> Arrival<'_> {
        Arrival { assignment: &self.assignment, sealed: &self.sealed }
    }
}

/// One custodian before the first block.
struct Template {
    kv: MemoryKv,
    keys: MemoryKeys,
    parcels: BTreeMap<Slot, Parcel>,
}

/// What all replays have in common.
pub(crate) struct Scene {
    dealings: BTreeMap<Slot, CheckedDealing>,
    contexts: BTreeMap<(Slot, u8), ShareContext>,
    /// By decryption and custodian.
    opening_keys: BTreeMap<(u8, u8), [u8; 32]>,
    readers: [PublicKey; 2],
    data_keys: [[u8; 32]; 2],
    templates: Vec<Template>,
}

fn members(slot: Slot) -> Vec<u8> {
    (0..CUSTODIANS).filter(|by| set(slot.0, slot.1) & (1 << by) != 0).collect()
}

fn threshold(slot: Slot) -> Threshold {
    Threshold::new(u8::try_from(THRESHOLD).unwrap(), u8::try_from(members(slot).len()).unwrap()).unwrap()
}

fn copy(share: &Share) -> Share {
    share.expose(|bytes| Share::from_bytes(bytes)).unwrap()
}

/// The contexts of a dealing's shares, by custodian.
fn contexts(dealing: &CheckedDealing, slot: Slot) -> impl Iterator<Item = ((Slot, u8), ShareContext)> {
    let indices = (1..).map(ShareIndex::new);
    members(slot).into_iter().zip(indices).map(move |(by, index)| ((slot, by), dealing.context(node(by), index)))
}

/// The reshare of record 0: `k` old holders deal their shares, and each new custodian adds up its own.
fn reshare(rng: &mut TestRng, old: &CheckedDealing, shares: &[Share]) -> (CheckedDealing, Vec<Share>) {
    let slot = (0, 1);
    let holders: Vec<VerifiedShare> =
        shares.iter().take(usize::try_from(THRESHOLD).unwrap()).map(|share| old.verify(copy(share)).unwrap()).collect();
    let dealt: Vec<_> = holders.iter().map(|held| SubDealing::deal(rng, held, threshold(slot)).unwrap()).collect();
    let parts = holders.iter().zip(&dealt);
    let parts =
        parts.map(|(held, (commitments, _))| SubDealing::check(old, held.index(), commitments.clone()).unwrap());
    let parts: Vec<SubDealing> = parts.collect();
    let merged = (0..members(slot).len()).map(|position| {
        let shares = parts.iter().zip(&dealt);
        let shares = shares.map(|(part, (_, shares))| part.dealing().verify(copy(&shares[position])).unwrap());
        merge_shares(&parts, &shares.collect::<Vec<_>>()).unwrap()
    });
    (merge_commitments(&parts).unwrap(), merged.collect())
}

impl Scene {
    /// Deals both records, reshares the first, and lets every custodian that is not late take its
    /// first shares in.
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut rng = TestRng::new(1);
        let mut dealings = BTreeMap::new();
        let mut shares: BTreeMap<Slot, Vec<Share>> = BTreeMap::new();
        let data_keys = [0, 1].map(|number| {
            let slot = (number, 0);
            let dealt = deal(&mut rng, threshold(slot)).unwrap();
            let dealing = CheckedDealing::new(dealt.commitments().clone(), data(number), ShareEpoch::new(0));
            dealings.insert(slot, dealing);
            shares.insert(slot, dealt.shares().iter().map(copy).collect());
            dealt.data_key(&data(number)).expose(|bytes| *bytes)
        });
        let (dealing, merged) = reshare(&mut rng, &dealings[&(0, 0)], &shares[&(0, 0)]);
        dealings.insert((0, 1), dealing);
        shares.insert((0, 1), merged);
        let contexts: BTreeMap<_, _> = dealings.iter().flat_map(|(slot, dealing)| contexts(dealing, *slot)).collect();
        let taker = Taker { plan, dealings: &dealings, contexts: &contexts, shares: &shares };
        let templates = (0..CUSTODIANS).map(|by| taker.template(&mut rng, by)).collect();
        let pairs = plan.decryptions().flat_map(|decryption| (0..CUSTODIANS).map(move |by| (decryption, by)));
        let opening_keys =
            pairs.map(|(decryption, by)| ((decryption, by), x25519_public(&one_time_secret(decryption, by))));
        let opening_keys = opening_keys.collect();
        Self { contexts, opening_keys, readers: [0, 1].map(reader), dealings, data_keys, templates }
    }

    /// What a custodian's share is bound to, if the custodian is one of the set.
    pub(crate) fn context(&self, slot: Slot, by: u8) -> Option<ShareContext> {
        self.contexts.get(&(slot, by)).copied()
    }

    /// The one-time key that a decryption lists for a custodian.
    pub(crate) fn opening_key(&self, decryption: u8, custodian: u8) -> [u8; 32] {
        self.opening_keys[&(decryption, custodian)]
    }

    pub(crate) fn reader(&self, number: u8) -> PublicKey {
        self.readers[usize::from(number)]
    }

    pub(crate) fn dealing(&self, slot: Slot) -> &CheckedDealing {
        &self.dealings[&slot]
    }

    pub(crate) fn data_key(&self, record: u8) -> [u8; 32] {
        self.data_keys[usize::from(record)]
    }

    pub(crate) fn parcel(&self, by: u8, slot: Slot) -> &Parcel {
        &self.templates[usize::from(by)].parcels[&slot]
    }

    /// A copy of a custodian's disks.
    pub(crate) fn disk(&self, by: u8) -> Disk {
        let template = &self.templates[usize::from(by)];
        Disk::new(template.kv.clone(), template.keys.clone())
    }
}

/// What the custodians take in before the first block.
struct Taker<'a> {
    plan: &'a Plan,
    dealings: &'a BTreeMap<Slot, CheckedDealing>,
    contexts: &'a BTreeMap<(Slot, u8), ShareContext>,
    shares: &'a BTreeMap<Slot, Vec<Share>>,
}

impl Taker<'_> {
    /// Lets one custodian mint its dealing keys, and take its first shares in unless it is late.
    fn template(&self, rng: &mut TestRng, by: u8) -> Template {
        let late = self.plan.late & (1 << by) != 0;
        let disk = Disk::new(MemoryKv::default(), MemoryKeys::default());
        let (signer, limits) = (Arc::new(signer(by)), limits(self.plan));
        let mut custodian = Custodian::open(rng, domain(), signer, limits, disk.clone(), disk.clone()).unwrap();
        let mut parcels = BTreeMap::new();
        for ((slot, _), context) in self.contexts.iter().filter(|((_, of), _)| *of == by) {
            let key = custodian.mint(rng, reader(9), 1, instant(0)).unwrap()[0];
            let share = &self.shares[slot][usize::from(context.index.get()) - 1];
            let sealed = seal_to_custodian(rng, share, context, &key.key).unwrap().to_bytes();
            let assignment = Assignment {
                share: *context,
                commitments: self.dealings[slot].commitments().as_bytes().to_vec(),
                dealing_key: key.key,
                sealed_digest: digest(&sealed),
                height: Height::new(0),
            };
            let parcel = Parcel { assignment, sealed };
            if slot.1 == 0 && !late {
                custodian.accept(rng, &[parcel.arrival()]).unwrap().remove(0).unwrap();
            }
            parcels.insert(*slot, parcel);
        }
        drop(custodian);
        let (kv, keys) = disk.into_parts();
        Template { kv, keys, parcels }
    }
}
