//! Accusations: what a custodian released for a decryption, shown to everybody.

use super::super::{Call, Stop, custody::kept_by};
use crate::{
    store::Reader,
    world::{DecryptionRow, FalseRelease, FalseReleases, PersonRow},
};
use dmdl_types::{
    access::{Reason, ReasonCode},
    context::{DataContext, ReleaseContext},
    event::{Outcome, Verdict},
    invocation::Accusation,
};

/// Judges a release by the revealed one-time secret: everyone comes to the same finding. It counts once.
pub(super) fn accuse<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    accusation: &Accusation,
) -> Result<Outcome, Stop> {
    let Accusation { decryption: id, custodian, epoch, released, opening_secret } = accusation;
    call.about.refers_to = Some(*id);
    let row: DecryptionRow = call.world.get(id)?.ok_or(ReasonCode::UnknownDecryption)?;
    if row.requester != author.person.key {
        return Err(ReasonCode::UnknownDecryption.into());
    }
    let sharing = kept_by(call, *custodian, row.record, row.version, *epoch)?;
    let listed = row.keys.iter().find(|key| key.custodian == *custodian).ok_or(ReasonCode::BadOpeningKey)?;
    let slot = (*id, *custodian);
    if call.world.has::<FalseRelease>(&slot)? {
        return Err(ReasonCode::Duplicate.into());
    }
    let domain = call.ctx.domain;
    let data =
        DataContext { network: domain.network, channel: domain.channel, record: row.record, version: row.version };
    let context = ReleaseContext {
        share: sharing.context(&data, *custodian).ok_or(ReasonCode::NotCustodian)?,
        transaction: *id,
        requester: row.requester,
        opening_key: listed.key,
    };
    if !(call.ctx.math.lied)(&context, &sharing.commitments, released, opening_secret) {
        return Err(ReasonCode::AccusationRefuted.into());
    }
    call.world.put(&slot, &FalseRelease);
    let count: FalseReleases = call.world.get(custodian)?.unwrap_or_default();
    call.world.put(custodian, &FalseReleases(count.0.saturating_add(1)));
    Ok(Outcome::of(Verdict::Applied, Reason::code(ReasonCode::CustodianFault)))
}
