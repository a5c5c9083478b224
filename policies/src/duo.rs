//! Which purposes lie within which permission: the table of the Data Use Ontology.
//!
//! | permission | purposes within it                       |
//! |------------|------------------------------------------|
//! | `NRES`     | every stated purpose                     |
//! | `GRU`      | `GRU`, `HMB`, `DS`, `POA`                |
//! | `HMB`      | `HMB`, `DS`                              |
//! | `DS`       | `DS` of a disease that the owner listed  |
//! | `POA`      | `POA`                                    |
//!
//! "No restriction" is no purpose, and disease research without its disease is not stated: both lie
//! within no permission. `HMB` leaves out ancestry by its definition. Population research lies
//! within `GRU`, which permits any research, and within `POA`.
//!
//! # Source
//! GA4GH Data Use Ontology, EBISPOT/DUO `duo.csv`; docs/spec/policy.md

use dmdl_types::access::{DuoCode, MondoId, Permission, Purpose};
use std::collections::BTreeSet;

/// Whether `purpose` says what the data is for.
#[must_use]
pub const fn is_stated(purpose: &Purpose) -> bool {
    match purpose.code {
        DuoCode::Nres => false,
        DuoCode::Ds => purpose.disease.is_some(),
        DuoCode::Gru | DuoCode::Hmb | DuoCode::Poa => true,
    }
}

/// Whether `purpose` lies within `permission`.
#[must_use]
pub fn permits(permission: &Permission, purpose: &Purpose) -> bool {
    use DuoCode::{Ds, Gru, Hmb, Nres, Poa};
    is_stated(purpose)
        && match (permission.code, purpose.code) {
            (Nres | Gru, _) | (Hmb, Hmb | Ds) | (Poa, Poa) => true,
            (Ds, Ds) => purpose.disease.is_some_and(|studied| lists(&permission.diseases, studied)),
            (Hmb | Ds | Poa, _) => false,
        }
}

/// The codes for which `purpose` is refused, none if it lies within every one of `permissions`.
///
/// The strictest wins: a purpose must lie within all of them. A refusing permission is named by its
/// code, a purpose that is not stated by its own.
#[must_use]
pub fn refusals(permissions: &[&Permission], purpose: &Purpose) -> BTreeSet<DuoCode> {
    if !is_stated(purpose) {
        return BTreeSet::from([purpose.code]);
    }
    permissions.iter().filter(|permission| !permits(permission, purpose)).map(|permission| permission.code).collect()
}

/// Exact match. The ontology's ancestors will widen this, and nothing else.
fn lists(listed: &[MondoId], studied: MondoId) -> bool {
    listed.contains(&studied)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIABETES: Option<MondoId> = MondoId::new(5148);
    const ASTHMA: Option<MondoId> = MondoId::new(4979);

    fn permission(code: DuoCode) -> Permission {
        let diseases = if code == DuoCode::Ds { DIABETES.into_iter().collect() } else { vec![] };
        Permission { code, diseases }
    }

    #[test]
    fn the_table_of_the_ontology_holds() {
        use DuoCode::{Ds, Gru, Hmb, Nres, Poa};
        // Columns: NRES, GRU, HMB, DS without a disease, DS of a listed one, DS of another, POA.
        let purposes = [(Nres, None), (Gru, None), (Hmb, None), (Ds, None), (Ds, DIABETES), (Ds, ASTHMA), (Poa, None)];
        for (code, row) in [(Nres, "-XX-XXX"), (Gru, "-XX-XXX"), (Hmb, "--X-XX-"), (Ds, "----X--"), (Poa, "------X")] {
            let got: String = purposes
                .iter()
                .map(|&(purpose, disease)| permits(&permission(code), &Purpose { code: purpose, disease }))
                .map(|permitted| if permitted { 'X' } else { '-' })
                .collect();
            assert_eq!(got, row, "permission {code}");
        }
    }

    #[test]
    fn a_disease_beside_another_purpose_does_not_make_it_disease_research() {
        let purpose = Purpose { code: DuoCode::Hmb, disease: DIABETES };
        assert!(!permits(&permission(DuoCode::Ds), &purpose));
    }

    #[test]
    fn of_contradicting_permissions_the_strictest_wins() {
        let (general, disease) = (permission(DuoCode::Gru), permission(DuoCode::Ds));
        let population = Purpose { code: DuoCode::Poa, disease: None };
        assert_eq!(refusals(&[&general, &disease], &population), BTreeSet::from([DuoCode::Ds]));
        assert_eq!(refusals(&[&disease, &general], &population), BTreeSet::from([DuoCode::Ds]));
        assert_eq!(refusals(&[&general, &general], &population), BTreeSet::new());
    }

    #[test]
    fn an_unstated_purpose_is_refused_for_its_own_code() {
        let nothing = Purpose { code: DuoCode::Nres, disease: None };
        assert_eq!(refusals(&[&permission(DuoCode::Nres)], &nothing), BTreeSet::from([DuoCode::Nres]));
    }
}
