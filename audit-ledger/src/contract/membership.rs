//! `membership`: who belongs to the channel.

use super::{Call, Stop};
use crate::{
    store::Reader,
    world::{PersonRow, PersonStatus},
};
use dmdl_types::{access::ReasonCode, event::Outcome, genesis::Role, invocation::Membership, sign::PublicKey};

pub(super) fn invoke<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    invocation: &Membership,
) -> Result<Outcome, Stop> {
    call.require(author, &[Role::Admin])?;
    match invocation {
        Membership::Enrol { person } => {
            // An admin speaks for their own organisation, and for no other.
            if person.org != author.person.org {
                return Err(ReasonCode::Role.into());
            }
            person.key.check().map_err(|_| ReasonCode::BadArgument)?;
            if call.world.has::<PersonRow>(&person.key)? || is_node_key(call, &person.key) {
                return Err(ReasonCode::IdReuse.into());
            }
            let (person, enrolled_by) = (person.clone(), Some(call.ctx.transaction));
            let row = PersonRow { person, status: PersonStatus::Active, enrolled_by };
            call.world.put(&row.person.key, &row);
        }
        Membership::Suspend { key } => change(call, author, key, PersonStatus::Suspended)?,
        Membership::Reinstate { key } => change(call, author, key, PersonStatus::Active)?,
        Membership::Revoke { key } => change(call, author, key, PersonStatus::Revoked)?,
    }
    Ok(Outcome::applied())
}

fn change<R: Reader>(
    call: &mut Call<'_, R>,
    author: &PersonRow,
    key: &PublicKey,
    status: PersonStatus,
) -> Result<(), Stop> {
    let mut row: PersonRow = call.world.get(key)?.ok_or(ReasonCode::UnknownAuthor)?;
    if row.person.org != author.person.org {
        return Err(ReasonCode::Role.into());
    }
    // Revocation is for ever: a stolen key must not come back.
    if row.status == PersonStatus::Revoked {
        return Err(ReasonCode::KeyRevoked.into());
    }
    row.status = status;
    call.world.put(key, &row);
    Ok(())
}

fn is_node_key<R: Reader>(call: &Call<'_, R>, key: &PublicKey) -> bool {
    call.ctx.config.members.iter().any(|m| m.node.key() == *key || m.cosigning_key == *key)
}
