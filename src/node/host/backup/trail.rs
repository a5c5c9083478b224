//! The audit trail of a channel, out of a backup: what is left where no node is.

use super::{RestoreError, reading::Pieces};
use dmdl_types::{
    backup::{BackupError, Piece},
    bundle::{Bundle, Content},
    genesis::{Founding, Genesis},
    snapshot::{Offer, Part},
};
use std::io::Read;

/// A bundle of a channel's whole trail as it is in somebody's backup, with what founded the channel; none where the
/// backup has no ledger of it. That the bundle verifies is for whoever reads it to see.
///
/// # Errors
/// [`RestoreError`] when it is no backup of a node of this network, or none that is whole.
pub fn trail(genesis: &Genesis, channel: &str, from: impl Read) -> Result<Option<(Founding, Bundle)>, RestoreError> {
    let mut pieces = Pieces::begin(genesis, None, from, |_| ())?;
    let (mut current, mut found) = (None, None);
    loop {
        match pieces.next()? {
            Piece::Channel(charter) => {
                let founding = charter.map_or_else(|| Ok(genesis.founding()), |charter| charter.verify(genesis))?;
                current = (founding.channel.name.as_str() == channel).then_some(founding);
            }
            Piece::Ledger(part) => match (*part, &current) {
                (Part::Newest(Some(offer)), Some(founding)) if found.is_none() => {
                    found = Some(begin(founding.clone(), *offer));
                }
                (part, Some(_)) => add(found.as_mut().map(|(_, bundle)| bundle), part)?,
                (_, None) => {}
            },
            Piece::End(_) => return Ok(found),
            Piece::Begin(_) | Piece::Signed(_) => {}
        }
    }
}

fn begin(founding: Founding, offer: Offer) -> (Founding, Bundle) {
    let content = Content::All { leaves: Vec::new() };
    let bundle = Bundle { domain: founding.domain, epochs: Vec::new(), anchor: offer.anchor, content };
    (founding, bundle)
}

fn add(bundle: Option<&mut Bundle>, part: Part) -> Result<(), BackupError> {
    match (bundle, part) {
        (Some(bundle), Part::Steps(steps)) => bundle.epochs.extend(steps),
        (Some(Bundle { content: Content::All { leaves: all }, .. }), Part::Leaves(leaves)) => all.extend(leaves),
        (Some(_), Part::State(_)) => {}
        _ => return Err(BackupError::OutOfPlace),
    }
    Ok(())
}
