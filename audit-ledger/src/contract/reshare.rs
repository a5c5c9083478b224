//! Resharing: the custodians of a version hand its key on to the next ones, and nobody rebuilds it.
//!
//! Whoever decides about a record says who keeps its key next. Each custodian of today may deal its share to them, as a
//! dealing of its own: a part. The first parts in the ledger's order against which nothing is known, as many as open the
//! version, add up to the next dealing. A part counts no more when somebody proves that a share of it is bad, or when its dealer
//! does not show a share that somebody misses. Once enough of the next custodians have acknowledged that, the next epoch begins, and
//! the one before has ended, in one block. Until then nothing changes for anybody.
//!
//! # Source
//! docs/spec/share.md, "Resharing"; docs/adr/0020-resharing.md

use super::{
    Call, CustodyMath, Judgement, Stop,
    access::{check_custodians, check_threshold, decides},
};
use crate::{
    store::Reader,
    world::{
        DealingKeyUsed, Holders, MergedDealing, Missing, PartEntry, PartRow, PartState, PersonRow, PlannedRow,
        RecordRow, ReshareRow, VersionRow, VersionState,
    },
};
use dmdl_types::{
    access::{Reason, ReasonCode},
    context::{DataContext, ShareContext},
    custody::{CustodyEvent, Dealing, DealtShare, Reshared, SealedBytes, ShareSet, index_of},
    event::{Outcome, Verdict},
    id::{DealingId, NodeId, RecordId, RecordVersion, ShareEpoch, TransactionId},
    invocation::Reshare,
    limits,
};
use std::collections::BTreeSet;

/// How shares are sealed in this version.
const SHARE_SUITE: u8 = 1;

/// Which reshare an item is about.
#[derive(Clone, Copy)]
pub(super) struct Which {
    pub(super) record: RecordId,
    pub(super) version: RecordVersion,
    pub(super) epoch: ShareEpoch,
}

/// Begins a reshare; one of the same version that is under way ends with it.
pub(super) fn begin<R: Reader>(call: &mut Call<'_, R>, author: &PersonRow, plan: &Reshare) -> Result<Outcome, Stop> {
    let slot = (plan.record, plan.version);
    let record: RecordRow = call.world.get(&plan.record)?.ok_or(ReasonCode::UnknownRecord)?;
    if !decides(author, &record) {
        // Whether an unlisted record exists is not for others to learn.
        return Err(if record.metadata.listed { ReasonCode::Role } else { ReasonCode::UnknownRecord }.into());
    }
    call.about.subject = record.metadata.subject;
    if record.is_erased() {
        return Err(ReasonCode::RecordErased.into());
    }
    let version: VersionRow = call.world.get(&slot)?.ok_or(ReasonCode::BadVersion)?;
    if version.state != VersionState::Active {
        return Err(ReasonCode::RecordPending.into());
    }
    call.about.shares = Some(version.share_set());
    let k = usize::from(plan.threshold);
    if plan.custodians.len() > limits::RESHARE_CUSTODIANS {
        return Err(ReasonCode::BadThreshold.into());
    }
    check_threshold(call, k, plan.custodians.len(), plan.min_acks)?;
    check_custodians(call, plan.custodians.iter().copied(), k)?;
    if let Some(before) = call.world.get::<ReshareRow>(&slot)? {
        forget(call, slot, &before);
    }
    let mut planned: PlannedRow = call.world.get(&plan.record)?.unwrap_or_default();
    planned.0 = planned.0.iter().chain(&plan.custodians).copied().collect::<BTreeSet<_>>().into_iter().collect();
    call.world.put(&plan.record, &planned);
    let reshare = ReshareRow {
        record: plan.record,
        version: plan.version,
        transaction: call.ctx.transaction,
        epoch: version.epoch.next(),
        custodians: plan.custodians.clone(),
        threshold: plan.threshold,
        min_acks: plan.min_acks,
        parts: Vec::new(),
        merged: None,
        acks: Vec::new(),
    };
    call.world.put(&slot, &reshare);
    call.custody.push(CustodyEvent::Resharing(plan.record, plan.version, call.ctx.transaction));
    Ok(Outcome::applied())
}

/// Takes a custodian's part in.
pub(super) fn part<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    (plan, which): (TransactionId, Which),
    dealing: &Dealing,
) -> Result<Outcome, Stop> {
    let mut under = UnderWay::of_plan(call, which, plan)?;
    let from = under.version.holders.index_of(node).ok_or(ReasonCode::NotCustodian)?;
    if under.reshare.parts.iter().any(|part| part.dealer == node) {
        return Err(ReasonCode::Duplicate.into());
    }
    let planned = &under.reshare;
    let fits = dealing.suite == SHARE_SUITE
        && dealing.epoch == planned.epoch
        && dealing.min_acks == planned.min_acks
        && dealing.commitments.len() == usize::from(planned.threshold)
        && dealing.shares.iter().map(|share| &share.key.custodian).eq(&planned.custodians)
        && (call.ctx.math.is_part)(&under.reshared(), from, dealing);
    if !fits {
        return Err(ReasonCode::BadDealing.into());
    }
    let spare = planned.spare();
    let (dealing, keyless) = with_fresh_keys(call, node, dealing)?;
    if keyless.len() > spare {
        return Err(ReasonCode::BadDealing.into());
    }
    use_dealing_keys(call, &dealing);
    let row = PartRow { transaction: call.ctx.transaction, dealing, shown: Vec::new() };
    call.world.put(&(which.record, which.version, node), &row);
    let chosen = under.reshare.merged.is_some();
    let entry = PartEntry { dealer: node, from, state: PartState::Good, keyless, missing: Vec::new() };
    under.reshare.parts.push(entry);
    // What comes after those that are chosen takes the place of one that falls away.
    if !chosen {
        under.add_up(call)?;
    }
    under.put(call);
    Ok(Outcome::applied())
}

/// Judges what a next custodian says it got of a part: everyone comes to the same finding from the revealed secret.
pub(super) fn complain<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    (plan, which): (TransactionId, Which),
    dealer: NodeId,
    sealed: &SealedBytes,
    dealing_secret: &[u8; 32],
) -> Result<Outcome, Stop> {
    let mut under = UnderWay::of_plan(call, which, plan)?;
    under.check_may_object(node)?;
    let entry = under.good_part(dealer)?;
    let row: PartRow = call.world.get(&(which.record, which.version, dealer))?.ok_or(ReasonCode::UnknownReshare)?;
    call.about.refers_to = Some(row.transaction);
    let context = part_context(&under.data, &row.dealing, node).ok_or(ReasonCode::NotCustodian)?;
    match (call.ctx.math.judge)(&context, &row.dealing, sealed, dealing_secret) {
        Judgement::Refuted => Err(ReasonCode::ComplaintRefuted.into()),
        Judgement::DealerFault => {
            under.drop_part(call, entry, PartState::Struck)?;
            under.put(call);
            Ok(Outcome::of(Verdict::Applied, Reason::code(ReasonCode::DealerFault)))
        }
    }
}

/// The part as it counts, and who gets nothing of it: whoever gave no key, or one that was used before. That is the doing of
/// that custodian, which may have given it to several dealers, and not of this one.
fn with_fresh_keys<R: Reader>(
    call: &Call<'_, R>,
    dealer: NodeId,
    dealing: &Dealing,
) -> Result<(Dealing, Vec<NodeId>), Stop> {
    let (mut dealing, mut keyless) = (dealing.clone(), Vec::new());
    for share in &mut dealing.shares {
        let custodian = share.key.custodian;
        if !share.is_none() && !share.key.verify(&call.ctx.domain, dealer.key()) {
            return Err(ReasonCode::BadDealing.into());
        }
        if share.is_none() || call.world.has::<DealingKeyUsed>(&(custodian, share.key.key))? {
            *share = DealtShare::none_for(custodian);
            keyless.push(custodian);
        }
    }
    Ok((dealing, keyless))
}

fn use_dealing_keys<R: Reader>(call: &mut Call<'_, R>, dealing: &Dealing) {
    for share in dealing.shares.iter().filter(|share| !share.is_none()) {
        call.world.put(&(share.key.custodian, share.key.key), &DealingKeyUsed);
    }
}

/// Notes who misses its share of a part. Its dealer may show the share on the ledger; of one that does not within a time, the
/// custodian says so again, and another part takes its place. That blames nobody.
pub(super) fn miss<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    (plan, which): (TransactionId, Which),
    dealer: NodeId,
) -> Result<Outcome, Stop> {
    let mut under = UnderWay::of_plan(call, which, plan)?;
    under.check_may_object(node)?;
    let (at, now) = (under.good_part(dealer)?, call.ctx.time);
    let entry = under.reshare.parts.get_mut(at).ok_or(ReasonCode::UnknownReshare)?;
    if entry.keyless.contains(&node) {
        return Err(ReasonCode::NotCustodian.into());
    }
    let outcome = match entry.missing.binary_search_by_key(&node, |missing| missing.custodian) {
        Err(slot) => {
            entry.missing.insert(slot, Missing { custodian: node, since: now, is_shown: false });
            Outcome::applied()
        }
        Ok(slot) => {
            let said = entry.missing.get(slot).filter(|said| !said.is_shown).ok_or(ReasonCode::Duplicate)?;
            if now.get() < said.since.get().saturating_add(limits::PART_ANSWER_MS) {
                return Err(ReasonCode::Duplicate.into());
            }
            under.drop_part(call, at, PartState::PassedOver)?;
            Outcome::of(Verdict::Applied, Reason::code(ReasonCode::PartPassedOver))
        }
    };
    under.put(call);
    Ok(outcome)
}

/// Keeps a share of a dealer's part that a custodian misses where that custodian finds it.
pub(super) fn show<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    (plan, which): (TransactionId, Which),
    custodian: NodeId,
    sealed: &SealedBytes,
) -> Result<Outcome, Stop> {
    let mut under = UnderWay::of_plan(call, which, plan)?;
    let at = under.good_part(node)?;
    let slot = (which.record, which.version, node);
    let mut row: PartRow = call.world.get(&slot)?.ok_or(ReasonCode::UnknownReshare)?;
    call.about.refers_to = Some(row.transaction);
    let entry = under.reshare.parts.get_mut(at).ok_or(ReasonCode::UnknownReshare)?;
    let missing = entry.missing.iter_mut().find(|missing| missing.custodian == custodian && !missing.is_shown);
    let missing = missing.ok_or(ReasonCode::Duplicate)?;
    let dealt = row.dealing.shares.iter().find(|share| share.key.custodian == custodian);
    let dealt = dealt.ok_or(ReasonCode::NotCustodian)?;
    if !(call.ctx.math.is_sealed)(sealed, &dealt.digest) {
        return Err(ReasonCode::BadDealing.into());
    }
    missing.is_shown = true;
    row.shown.push((custodian, sealed.clone()));
    call.world.put(&slot, &row);
    under.put(call);
    Ok(Outcome::applied())
}

/// Counts an acknowledgement of what the parts add up to; enough of them begin the epoch.
pub(super) fn acknowledge<R: Reader>(
    call: &mut Call<'_, R>,
    node: NodeId,
    which: Which,
    dealing: DealingId,
) -> Result<Outcome, Stop> {
    let mut under = UnderWay::of(call, which)?;
    if !under.reshare.custodians.contains(&node) {
        return Err(ReasonCode::NotCustodian.into());
    }
    let merged = under.reshare.merged.clone().filter(|merged| merged.dealing == dealing);
    let merged = merged.ok_or(ReasonCode::BadDealing)?;
    call.about.shares = Some(under.next_set(merged.dealing));
    let Err(slot) = under.reshare.acks.binary_search(&node) else { return Err(ReasonCode::Duplicate.into()) };
    under.reshare.acks.insert(slot, node);
    if under.reshare.acks.len() < usize::from(under.reshare.min_acks) {
        under.put(call);
        return Ok(Outcome::applied());
    }
    under.switch(call, merged);
    Ok(Outcome::of(Verdict::Applied, Reason::code(ReasonCode::EpochBegan)))
}

/// What a next custodian's share of a part is bound to.
#[must_use]
pub fn part_context(data: &DataContext, part: &Dealing, custodian: NodeId) -> Option<ShareContext> {
    let custodians: Vec<_> = part.shares.iter().map(|share| share.key.custodian).collect();
    Some(ShareContext {
        data: *data,
        epoch: part.epoch,
        custodian,
        index: index_of(&custodians, custodian)?,
        k: u8::try_from(part.commitments.len()).ok()?,
        n: u8::try_from(part.shares.len()).ok()?,
        dealing: DealingId::derive(data, part.epoch, &part.commitments),
    })
}

/// A reshare that is under way, with the version whose key it hands on.
struct UnderWay {
    slot: (RecordId, RecordVersion),
    data: DataContext,
    version: VersionRow,
    reshare: ReshareRow,
}

impl UnderWay {
    fn of<R: Reader>(call: &mut Call<'_, R>, which: Which) -> Result<Self, Stop> {
        let Which { record, version, epoch } = which;
        call.about.record = Some(record);
        call.about.version = Some(version);
        let slot = (record, version);
        let record_row: RecordRow = call.world.get(&record)?.ok_or(ReasonCode::UnknownRecord)?;
        call.about.subject = record_row.metadata.subject;
        if record_row.is_erased() {
            return Err(ReasonCode::RecordErased.into());
        }
        let reshare: Option<ReshareRow> = call.world.get(&slot)?;
        let reshare = reshare.filter(|row| row.epoch == epoch).ok_or(ReasonCode::UnknownReshare)?;
        let version: VersionRow = call.world.get(&slot)?.ok_or(ReasonCode::UnknownRecord)?;
        call.about.shares = Some(version.share_set());
        call.about.refers_to = Some(reshare.transaction);
        let domain = call.ctx.domain;
        let data = DataContext { network: domain.network, channel: domain.channel, record, version: slot.1 };
        Ok(Self { slot, data, version, reshare })
    }

    /// The one that this call began: another one of the same version may have been under way before it.
    fn of_plan<R: Reader>(call: &mut Call<'_, R>, which: Which, plan: TransactionId) -> Result<Self, Stop> {
        let under = Self::of(call, which)?;
        if under.reshare.transaction == plan { Ok(under) } else { Err(ReasonCode::UnknownReshare.into()) }
    }

    /// The dealing whose key is handed on.
    fn reshared(&self) -> Reshared<'_> {
        Reshared {
            data: self.data,
            epoch: self.version.epoch,
            commitments: &self.version.commitments,
            shares: u8::try_from(self.version.holders.count()).unwrap_or(u8::MAX),
        }
    }

    fn next_set(&self, dealing: DealingId) -> ShareSet {
        let ReshareRow { epoch, min_acks, custodians, .. } = &self.reshare;
        ShareSet::of(dealing, *epoch, *min_acks, custodians.iter().copied())
    }

    /// Whoever acknowledged has said that its shares are good.
    fn check_may_object(&self, node: NodeId) -> Result<(), Stop> {
        if !self.reshare.custodians.contains(&node) {
            return Err(ReasonCode::NotCustodian.into());
        }
        if self.reshare.acks.binary_search(&node).is_ok() { Err(ReasonCode::Duplicate.into()) } else { Ok(()) }
    }

    /// Where a dealer's part stands against which nothing is known.
    fn good_part(&self, dealer: NodeId) -> Result<usize, Stop> {
        let at = self.reshare.parts.iter().position(|part| part.dealer == dealer).ok_or(ReasonCode::UnknownReshare)?;
        let good = self.reshare.parts.get(at).is_some_and(|part| part.state == PartState::Good);
        if good { Ok(at) } else { Err(ReasonCode::Duplicate.into()) }
    }

    /// A part counts no more. If it was one of those that are chosen, what they add up to is another dealing, and nobody
    /// has acknowledged that.
    fn drop_part<R: Reader>(&mut self, call: &Call<'_, R>, at: usize, state: PartState) -> Result<(), Stop> {
        let needed = self.version.commitments.len();
        let dealer = self.reshare.parts.get(at).map(|part| part.dealer);
        let counted = self.reshare.chosen(needed).is_none_or(|parts| parts.iter().any(|p| Some(p.dealer) == dealer));
        if let Some(part) = self.reshare.parts.get_mut(at) {
            part.state = state;
        }
        if counted { self.add_up(call) } else { Ok(()) }
    }

    /// Adds up the parts that are chosen now.
    fn add_up<R: Reader>(&mut self, call: &Call<'_, R>) -> Result<(), Stop> {
        let CustodyMath { merge, .. } = call.ctx.math;
        let (record, version) = self.slot;
        self.reshare.acks.clear();
        self.reshare.merged = None;
        while let Some(chosen) = self.reshare.chosen(self.version.commitments.len()) {
            let mut rows = Vec::with_capacity(chosen.len());
            for entry in &chosen {
                let row: PartRow =
                    call.world.get(&(record, version, entry.dealer))?.ok_or(ReasonCode::UnknownReshare)?;
                rows.push((entry.from, row.dealing));
            }
            let parts: Vec<_> = rows.iter().map(|(from, dealing)| (*from, dealing)).collect();
            if let Some(commitments) = merge(&self.reshared(), &parts) {
                let dealing = DealingId::derive(&self.data, self.reshare.epoch, &commitments);
                self.reshare.merged = Some(MergedDealing { dealing, commitments });
                break;
            }
            // They cancel each other out: the last one was made to fit the others.
            let last = chosen.last().map(|entry| entry.dealer);
            for entry in self.reshare.parts.iter_mut().filter(|entry| Some(entry.dealer) == last) {
                entry.state = PartState::PassedOver;
            }
        }
        Ok(())
    }

    fn put<R: Reader>(&self, call: &mut Call<'_, R>) {
        call.world.put(&self.slot, &self.reshare);
        call.custody.push(CustodyEvent::Resharing(self.slot.0, self.slot.1, self.reshare.transaction));
    }

    /// The next epoch begins, and with it the one before has ended.
    fn switch<R: Reader>(self, call: &mut Call<'_, R>, merged: MergedDealing) {
        let Self { slot, mut version, reshare, .. } = self;
        let (record, number) = slot;
        call.world.put(&(record, number, version.epoch), &version.sharing());
        call.custody.push(CustodyEvent::EpochBegan(record, number, reshare.epoch, merged.dealing));
        call.custody.push(CustodyEvent::EpochEnded(record, number, version.epoch));
        forget(call, slot, &reshare);
        version.epoch = reshare.epoch;
        version.dealing = merged.dealing;
        version.commitments = merged.commitments;
        version.holders = Holders::Reshared(reshare.transaction, reshare.custodians);
        version.min_acks = reshare.min_acks;
        version.acks = reshare.acks;
        call.world.put(&slot, &version);
    }
}

/// Ends a reshare: nothing of it is left on the ledger's state.
pub(super) fn forget<R: Reader>(
    call: &mut Call<'_, R>,
    (record, version): (RecordId, RecordVersion),
    reshare: &ReshareRow,
) {
    for part in &reshare.parts {
        call.world.remove::<PartRow>(&(record, version, part.dealer));
    }
    call.world.remove::<ReshareRow>(&(record, version));
}
