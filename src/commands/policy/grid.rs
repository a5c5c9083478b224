//! A bounded grid of requests: what a policy is asked about to learn what it means.

use dmdl_types::{
    access::{DuoCode, MondoId, Permission, Purpose, Terms},
    id::NoteCommitment,
};
use std::{collections::BTreeSet, fmt};

/// Days of a grant, from a look to a year.
const DAYS: [u16; 4] = [1, 30, 90, 365];
/// Openings of a grant.
const USES: [u32; 2] = [1, 10];
/// A disease that no permission is likely to list, to tell one from any.
const ANOTHER: Option<MondoId> = MondoId::new(9_999_999);

/// What the use of the data is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gain {
    Unsaid,
    NonProfit,
    Commercial,
}

/// One request of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) purpose: Purpose,
    pub(super) days: u16,
    pub(super) uses: u32,
    pub(super) gain: Gain,
    /// With an ethics approval and an approved project.
    pub(super) papers: bool,
}

impl Cell {
    /// The request's terms.
    pub(super) fn terms(&self) -> Terms {
        // A commitment to no document in particular.
        let document = self.papers.then_some(NoteCommitment::new([0; 32]));
        Terms {
            purpose: self.purpose,
            days: self.days,
            uses: self.uses,
            non_profit: self.gain == Gain::NonProfit,
            commercial: self.gain == Gain::Commercial,
            country: None,
            project: document,
            ethics: document,
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { purpose, days, uses, gain, papers } = self;
        write!(f, "{}, days {days}, uses {uses}", name(purpose))?;
        f.write_str(match gain {
            Gain::Unsaid => "",
            Gain::NonProfit => ", non-profit",
            Gain::Commercial => ", commercial",
        })?;
        if *papers { f.write_str(", ethics and project") } else { Ok(()) }
    }
}

/// The purposes that can be stated: every code, and of disease research each disease that a permission lists
/// and one that none does.
pub(super) fn purposes(permissions: &[&Permission]) -> Vec<Purpose> {
    let listed: BTreeSet<MondoId> = permissions.iter().flat_map(|permission| permission.diseases.clone()).collect();
    let plain = [DuoCode::Gru, DuoCode::Hmb, DuoCode::Poa].map(|code| Purpose { code, disease: None });
    let diseases =
        listed.into_iter().chain(ANOTHER).map(|disease| Purpose { code: DuoCode::Ds, disease: Some(disease) });
    plain.into_iter().chain(diseases).collect()
}

/// Every combination of purposes, times, uses, gains and papers.
pub(super) fn cells(purposes: &[Purpose]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for purpose in purposes.iter().copied() {
        for days in DAYS {
            for uses in USES {
                for gain in [Gain::Unsaid, Gain::NonProfit, Gain::Commercial] {
                    let with = |papers| Cell { purpose, days, uses, gain, papers };
                    cells.extend([false, true].map(with));
                }
            }
        }
    }
    cells
}

/// What a purpose of the grid is called.
pub(super) fn name(purpose: &Purpose) -> String {
    let another = purpose.disease.is_some() && purpose.disease == ANOTHER;
    if another { "DS of another disease".to_owned() } else { purpose.to_string() }
}

/// What the grid is, for whoever reads an answer from it.
pub(super) fn said(purposes: &[Purpose]) -> String {
    let purposes = purposes.iter().map(name);
    let list = |numbers: &[String]| numbers.join(", ");
    format!(
        "{}; days {}; uses {}; non-profit, commercial or neither; with and without ethics and project",
        purposes.collect::<Vec<_>>().join(", "),
        list(&DAYS.map(|days| days.to_string())),
        list(&USES.map(|uses| uses.to_string())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_has_every_purpose_and_is_bounded() {
        let diseases = vec![MondoId::new(5148).unwrap(), MondoId::new(4979).unwrap()];
        let listed = Permission { code: DuoCode::Ds, diseases };
        let general = Permission { code: DuoCode::Gru, diseases: vec![] };
        let purposes = purposes(&[&listed, &general, &listed]);
        let shown: Vec<String> = purposes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["GRU", "HMB", "POA", "DS MONDO:0004979", "DS MONDO:0005148", "DS MONDO:9999999"]);
        assert_eq!(cells(&purposes).len(), 6 * 4 * 2 * 3 * 2);
        assert!(said(&purposes).contains("DS of another disease"));
    }
}
