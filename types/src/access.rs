//! Asking and deciding, as data: purposes, permissions, requests, reasons.
//!
//! # Source
//! GA4GH Data Use Ontology (DUO), EBISPOT/DUO `duo.csv`; docs/spec/transaction.md

use crate::id::{NoteCommitment, PolicyId};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A disease by its number in the MONDO ontology, written `MONDO:0005148`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct MondoId(u32);

impl BorshDeserialize for MondoId {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let number = u32::deserialize_reader(reader)?;
        Self::new(number).ok_or_else(|| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, TermError::NotMondo))
    }
}

/// Why a text is not a term of an ontology.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermError {
    /// Not a MONDO identifier.
    #[error("a disease is written `MONDO:` and seven digits")]
    NotMondo,
    /// Not a DUO permission or purpose that is known here.
    #[error("not a known DUO code: use one of `GRU`, `HMB`, `DS`, `POA`, `NRES`")]
    NotDuo,
}

impl MondoId {
    /// The disease with this number, of at most seven digits.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number <= 9_999_999 { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for MondoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MONDO:{:07}", self.0)
    }
}

impl Serialize for MondoId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for MondoId {
    type Err = TermError;

    fn from_str(text: &str) -> Result<Self, TermError> {
        let digits = text.strip_prefix("MONDO:").ok_or(TermError::NotMondo)?;
        if digits.len() != 7 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TermError::NotMondo);
        }
        digits.parse().ok().and_then(Self::new).ok_or(TermError::NotMondo)
    }
}

/// A data use permission of DUO, as a dataset carries it and as a purpose names it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum DuoCode {
    /// DUO:0000004, no restriction.
    #[serde(rename = "NRES")]
    Nres,
    /// DUO:0000042, general research use.
    #[serde(rename = "GRU")]
    Gru,
    /// DUO:0000006, health, medical or biomedical research.
    #[serde(rename = "HMB")]
    Hmb,
    /// DUO:0000007, disease specific research.
    #[serde(rename = "DS")]
    Ds,
    /// DUO:0000011, population origins or ancestry research only.
    #[serde(rename = "POA")]
    Poa,
}

impl DuoCode {
    /// All codes, in the order of their encoding.
    pub const ALL: [Self; 5] = [Self::Nres, Self::Gru, Self::Hmb, Self::Ds, Self::Poa];

    /// The short code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nres => "NRES",
            Self::Gru => "GRU",
            Self::Hmb => "HMB",
            Self::Ds => "DS",
            Self::Poa => "POA",
        }
    }
}

impl fmt::Display for DuoCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DuoCode {
    type Err = TermError;

    fn from_str(text: &str) -> Result<Self, TermError> {
        Self::ALL.into_iter().find(|code| code.as_str() == text).ok_or(TermError::NotDuo)
    }
}

/// What the data may be used for, as its owner says.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize)]
pub struct Permission {
    /// The permission.
    pub code: DuoCode,
    /// The diseases of `DS`; empty for every other code.
    pub diseases: Vec<MondoId>,
}

/// Why somebody asks, as a DUO code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize, Serialize)]
pub struct Purpose {
    /// The purpose.
    pub code: DuoCode,
    /// The disease under study; required by `DS`.
    pub disease: Option<MondoId>,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.disease {
            Some(disease) => write!(f, "{} {disease}", self.code),
            None => self.code.fmt(f),
        }
    }
}

/// A policy as the ledger keeps it: a permission, and rules in Cedar.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PolicyDocument {
    /// What the data may be used for.
    pub permission: Permission,
    /// The owner's rules, in Cedar; at most [`crate::limits::POLICY_BYTES`].
    pub rules: String,
}

impl PolicyDocument {
    /// The policy's id: the hash of its document.
    #[must_use]
    pub fn id(&self) -> PolicyId {
        PolicyId::new(crate::hash::labelled(crate::label::POLICY_ID, &[&crate::codec::encode(self)]))
    }
}

/// What a requester asks for.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Terms {
    /// Why.
    pub purpose: Purpose,
    /// For how many days from the decision.
    pub days: u16,
    /// For how many decryptions.
    pub uses: u32,
    /// The requester's statement that the use is not for profit.
    pub non_profit: bool,
    /// The requester's statement that the use is commercial.
    pub commercial: bool,
    /// The country of use, ISO 3166-1 alpha-2.
    pub country: Option<[u8; 2]>,
    /// Commitment to the approved project.
    pub project: Option<NoteCommitment>,
    /// Commitment to an ethics approval.
    pub ethics: Option<NoteCommitment>,
}

/// Why a request was allowed, denied or refused.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// A rule of the policy permits it.
    PolicyPermits,
    /// The owner acts on a record of their own.
    Owner,
    /// A committee member or the owner approved it.
    Approved,
    /// The policy leaves it to the owner or the committee.
    NeedsReview,
    /// The purpose is not within the record's permission.
    PurposeNotPermitted,
    /// A rule of the policy forbids it.
    PolicyForbids,
    /// No rule of the policy permits it.
    NoRulePermits,
    /// A rule could not be evaluated.
    PolicyError,
    /// The committee or the owner denied it.
    ReviewDenied,
    /// The author is unknown to the channel.
    UnknownAuthor,
    /// The author's key is revoked.
    KeyRevoked,
    /// The author is suspended.
    Suspended,
    /// The author's role does not allow it.
    Role,
    /// There is no such record, or the author may not know of it.
    UnknownRecord,
    /// The record's shares are not yet acknowledged.
    RecordPending,
    /// The record was erased.
    RecordErased,
    /// There is no such request.
    UnknownRequest,
    /// The request is already decided.
    AlreadyDecided,
    /// There is no such grant.
    UnknownGrant,
    /// The grant is somebody else's, or for another record.
    GrantMismatch,
    /// The grant was revoked.
    GrantRevoked,
    /// The grant's time is over.
    GrantExpired,
    /// The grant's uses are used up.
    GrantUsedUp,
    /// The id is taken.
    IdReuse,
    /// The transaction's expiry height has passed.
    TransactionExpired,
    /// The transaction was executed before.
    Replayed,
    /// The threshold, the custodians or their number do not fit the channel's rules.
    BadThreshold,
    /// The dealing is not well formed.
    BadDealing,
    /// The version does not follow the record's last one.
    BadVersion,
    /// The policy is not valid.
    PolicyInvalid,
    /// A one-time key is missing, doubled or weak.
    BadOpeningKey,
    /// The sender is not a custodian of this dealing.
    NotCustodian,
    /// The item was already there.
    Duplicate,
    /// There is no such decryption.
    UnknownDecryption,
    /// A complaint that its own evidence refutes.
    ComplaintRefuted,
    /// The dealer dealt a bad share.
    DealerFault,
    /// An argument is outside its limits.
    BadArgument,
    /// The author has used up a quota.
    QuotaExceeded,
    /// What is shown proves no fault.
    EvidenceRefuted,
    /// There is no such proposal.
    UnknownProposal,
    /// The changes cannot be made to the channel as it is by now.
    ProposalUnfit,
    /// Too few custodians acknowledged a version in time.
    RegistrationExpired,
    /// There is no such reshare under way.
    UnknownReshare,
    /// With this, enough custodians acknowledged the shares of a new epoch: it began.
    EpochBegan,
    /// With this, too many custodians miss their shares of a part: another takes its place.
    PartPassedOver,
    /// A custodian released something else than its share.
    CustodianFault,
    /// What is shown of a release does not prove that.
    AccusationRefuted,
    /// The record is not erased, or the share epoch has not ended.
    NotEnded,
    /// Nothing is left that opens a share: the rule says from which generation of the key store on.
    SharesDestroyed,
}

impl ReasonCode {
    /// The code as text, for machines.
    #[must_use]
    pub fn as_str(self) -> String {
        // The serde name is the public name; there is only one list.
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// One reason of an outcome: its code, and the policy it comes from, where it comes from one.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize)]
pub struct Reason {
    /// What was found.
    pub code: ReasonCode,
    /// The policy that was applied.
    pub policy: Option<PolicyId>,
    /// The rule of that policy, by its `@id`.
    pub rule: Option<String>,
    /// The permission or purpose concerned.
    pub duo: Option<DuoCode>,
}

impl Reason {
    /// A reason that needs no more than its code.
    #[must_use]
    pub const fn code(code: ReasonCode) -> Self {
        Self { code, policy: None, rule: None, duo: None }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code.as_str())?;
        if let Some(duo) = self.duo {
            write!(f, " ({duo})")?;
        }
        if let Some(rule) = &self.rule {
            write!(f, ", rule `{rule}`")?;
        }
        if let Some(policy) = &self.policy {
            let hex = policy.to_string();
            write!(f, ", policy `{}`", hex.get(..12).unwrap_or(&hex))?;
        }
        Ok(())
    }
}

/// What a policy says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// Allowed.
    Allow,
    /// Denied.
    Deny,
    /// Left to the owner or the committee.
    Review,
}

/// A decision with its reasons, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub ruling: Ruling,
    /// Why.
    pub reasons: Vec<Reason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_have_one_spelling() {
        assert_eq!("MONDO:0005148".parse::<MondoId>().map(|m| m.to_string()), Ok("MONDO:0005148".into()));
        for bad in ["MONDO:5148", "mondo:0005148", "MONDO:00051480", "MONDO:+005148", "DOID:0005148"] {
            assert_eq!(bad.parse::<MondoId>(), Err(TermError::NotMondo), "{bad}");
        }
        assert!(crate::codec::decode::<MondoId>(&10_000_000u32.to_le_bytes(), 4).is_err());
        assert_eq!("gru".parse::<DuoCode>(), Err(TermError::NotDuo));
        assert!(DuoCode::ALL.into_iter().all(|code| code.as_str().parse() == Ok(code)));
    }

    #[test]
    fn reason_codes_are_snake_case_text() {
        assert_eq!(ReasonCode::PurposeNotPermitted.as_str(), "purpose_not_permitted");
    }
}
