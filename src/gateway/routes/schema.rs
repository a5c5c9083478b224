//! How values look in JSON, for routes that show the same ones.

use dmdl_types::{
    access::{DuoCode, Permission, Reason, Terms},
    event::{Action, Event, Verdict},
    genesis::Member,
    id::{GrantId, NodeId, OrgId, PolicyId, RecordId, ShareSetId, SubjectId, TransactionId, UnixMillis},
    sign::PublicKey,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// 32 bytes as 64 lower-case hexadecimal digits.
#[derive(ToSchema)]
#[schema(
    pattern = "^[0-9a-f]{64}$",
    min_length = 64,
    max_length = 64,
    example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)]
#[expect(dead_code, reason = "a schema")]
pub(super) struct Hex(String);

/// Bytes in standard base64 with padding.
#[derive(ToSchema)]
#[schema(pattern = "^[A-Za-z0-9+/]*={0,2}$", example = "AAECAw==")]
#[expect(dead_code, reason = "a schema")]
pub(super) struct Base64(String);

/// An object whose members docs/spec has.
#[derive(ToSchema)]
#[schema(value_type = Object)]
#[expect(dead_code, reason = "a schema")]
pub(super) struct Described(String);

/// Bytes as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "a schema")]
pub(super) struct Octets(Vec<u8>);

/// Proof that an event stands in the audit log: a C2SP `tlog-proof`, as docs/spec/receipt.md has it.
#[derive(ToSchema)]
#[schema(pattern = "^c2sp\\.org/tlog-proof@v1\n")]
#[expect(dead_code, reason = "a schema")]
pub(super) struct ReceiptText(String);

/// A data use permission or purpose of DUO.
#[derive(ToSchema)]
#[expect(dead_code, clippy::upper_case_acronyms, reason = "a schema")]
pub(super) enum Duo {
    NRES,
    GRU,
    HMB,
    DS,
    POA,
}

/// What became of a transaction.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It had its effect; nothing was asked to be decided.
    Applied,
    /// A request or decryption was allowed.
    Allow,
    /// A request or decryption was denied.
    Deny,
    /// A request waits for review.
    Pending,
    /// It could not be applied, and had no effect.
    Rejected,
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Allow => Self::Allow,
            Outcome::Deny => Self::Deny,
            Outcome::Pending => Self::Pending,
            Outcome::Rejected => Self::Rejected,
        }
    }
}

/// What a person may do.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "a schema")]
pub(super) enum PersonRole {
    Owner,
    Researcher,
    Committee,
    Officer,
    Admin,
}

/// A problem, as RFC 9457 has it. More members are named where a route adds them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema")]
pub(super) struct Problem {
    /// Always `about:blank`: the code says which problem it is.
    #[schema(rename = "type", example = "about:blank")]
    kind: String,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// A sentence for people.
    detail: String,
    /// A stable code for machines.
    #[schema(example = "unknown_record")]
    code: String,
}

/// A node of the channel.
#[derive(Serialize, ToSchema)]
pub(super) struct Peer {
    /// The node, by its key.
    #[schema(value_type = Hex)]
    pub(super) node: NodeId,
    /// Whose node.
    #[schema(value_type = String)]
    pub(super) org: OrgId,
    /// Its roles.
    #[schema(example = json!(["endorser", "orderer", "committer", "custodian"]))]
    pub(super) roles: Vec<&'static str>,
}

impl From<&Member> for Peer {
    fn from(member: &Member) -> Self {
        Self { node: member.node, org: member.org.clone(), roles: member.roles.names().collect() }
    }
}

/// What a record may be used for.
#[derive(Serialize, ToSchema)]
pub(super) struct PermissionShown {
    /// The permission.
    #[schema(value_type = Duo)]
    code: DuoCode,
    /// The diseases of `DS`.
    #[schema(example = json!(["MONDO:0005148"]))]
    diseases: Vec<String>,
}

impl From<Permission> for PermissionShown {
    fn from(permission: Permission) -> Self {
        let diseases = permission.diseases.iter().map(ToString::to_string).collect();
        Self { code: permission.code, diseases }
    }
}

/// Why somebody asks.
#[derive(Serialize, ToSchema)]
pub(super) struct PurposeShown {
    /// The purpose.
    #[schema(value_type = Duo)]
    code: DuoCode,
    /// The disease under study.
    disease: Option<String>,
}

impl From<dmdl_types::access::Purpose> for PurposeShown {
    fn from(purpose: dmdl_types::access::Purpose) -> Self {
        Self { code: purpose.code, disease: purpose.disease.map(|disease| disease.to_string()) }
    }
}

/// What a requester asks for.
#[derive(Serialize, ToSchema)]
pub(super) struct TermsShown {
    /// Why.
    purpose: PurposeShown,
    /// For how many days from the decision.
    days: u16,
    /// For how many decryptions.
    uses: u32,
    /// The requester's statement that the use is not for profit.
    non_profit: bool,
    /// The requester's statement that the use is commercial.
    commercial: bool,
    /// The country of use, ISO 3166-1 alpha-2.
    #[schema(example = "DE")]
    country: Option<String>,
    /// Commitment to the approved project.
    #[schema(value_type = Option<Hex>)]
    project: Option<String>,
    /// Commitment to an ethics approval.
    #[schema(value_type = Option<Hex>)]
    ethics: Option<String>,
}

impl From<&Terms> for TermsShown {
    fn from(terms: &Terms) -> Self {
        // The ledger takes any two bytes; letters are shown, others are not.
        let letters = |code: [u8; 2]| code.iter().all(u8::is_ascii_alphabetic).then(|| code.map(char::from));
        Self {
            purpose: terms.purpose.into(),
            days: terms.days,
            uses: terms.uses,
            non_profit: terms.non_profit,
            commercial: terms.commercial,
            country: terms.country.and_then(letters).map(String::from_iter),
            project: terms.project.map(|commitment| commitment.to_string()),
            ethics: terms.ethics.map(|commitment| commitment.to_string()),
        }
    }
}

/// One reason of an outcome.
#[derive(Serialize, ToSchema)]
pub(super) struct ReasonShown {
    /// What was found.
    #[schema(example = "purpose_not_permitted")]
    code: String,
    /// The policy that was applied.
    #[schema(value_type = Option<Hex>)]
    policy: Option<PolicyId>,
    /// The rule of that policy, by its `@id`.
    rule: Option<String>,
    /// The permission or purpose concerned.
    #[schema(value_type = Option<Duo>)]
    duo: Option<DuoCode>,
}

impl From<&Reason> for ReasonShown {
    fn from(reason: &Reason) -> Self {
        let Reason { code, policy, rule, duo } = reason;
        Self { code: code.as_str(), policy: *policy, rule: rule.clone(), duo: *duo }
    }
}

/// The reasons of an outcome.
pub(super) fn reasons(reasons: &[Reason]) -> Vec<ReasonShown> {
    reasons.iter().map(ReasonShown::from).collect()
}

/// An event of the audit log: one executed transaction, with its outcome.
#[derive(Serialize, ToSchema)]
pub(super) struct EventShown {
    /// Height of the block.
    height: u64,
    /// Block time, in milliseconds since 1970.
    #[schema(value_type = u64)]
    time: UnixMillis,
    /// The transaction.
    #[schema(value_type = Hex)]
    transaction: TransactionId,
    /// Position in a node's transaction of several items; 0 for others.
    item: u32,
    /// What happened.
    #[schema(value_type = String, example = "decrypt")]
    action: Action,
    /// Who acted: a person's key, or a node's.
    #[schema(value_type = Hex)]
    actor: PublicKey,
    /// The actor's organisation, where the actor is known.
    #[schema(value_type = Option<String>)]
    org: Option<OrgId>,
    /// The record concerned.
    #[schema(value_type = Option<Hex>)]
    record: Option<RecordId>,
    /// Its version.
    version: Option<u32>,
    /// Its pseudonymous patient.
    #[schema(value_type = Option<Hex>)]
    subject: Option<SubjectId>,
    /// The shares that it is about.
    shares: Option<SharesShown>,
    /// The purpose of a request or decryption.
    purpose: Option<PurposeShown>,
    /// The policy that decided.
    #[schema(value_type = Option<Hex>)]
    policy: Option<PolicyId>,
    /// The transaction that it refers to.
    #[schema(value_type = Option<Hex>)]
    refers_to: Option<TransactionId>,
    /// What became of it.
    outcome: OutcomeShown,
}

/// The shares of one epoch of a record's version.
#[derive(Serialize, ToSchema)]
pub(super) struct SharesShown {
    /// The generation of shares: 0 at registration.
    epoch: u32,
    /// Digest of their dealing, and of who keeps them.
    #[schema(value_type = Hex)]
    id: ShareSetId,
}

/// What became of a transaction, and why.
#[derive(Serialize, ToSchema)]
pub(super) struct OutcomeShown {
    /// What became of it.
    #[schema(value_type = Outcome)]
    verdict: Verdict,
    /// Why.
    reasons: Vec<ReasonShown>,
    /// The grant that it made or used.
    #[schema(value_type = Option<Hex>)]
    grant: Option<GrantId>,
    /// Which use of the grant it was.
    use_number: Option<u32>,
}

impl From<&Event> for EventShown {
    fn from(event: &Event) -> Self {
        Self {
            height: event.height.get(),
            time: event.time,
            transaction: event.transaction,
            item: event.item,
            action: event.action,
            actor: event.actor,
            org: event.org.clone(),
            record: event.record,
            version: event.version.map(|version| version.get()),
            subject: event.subject,
            shares: event.shares.map(|shares| SharesShown { epoch: shares.epoch.get(), id: shares.id }),
            purpose: event.purpose.map(Into::into),
            policy: event.policy,
            refers_to: event.refers_to,
            outcome: OutcomeShown {
                verdict: event.outcome.verdict,
                reasons: reasons(&event.outcome.reasons),
                grant: event.outcome.grant,
                use_number: event.outcome.use_number.map(|number| number.get()),
            },
        }
    }
}

/// An event with its place in the log.
#[derive(Serialize, ToSchema)]
pub(super) struct Placed {
    /// Where its leaf stands in the audit log, from 0.
    position: u64,
    /// The event.
    event: EventShown,
}

impl From<(u64, Event)> for Placed {
    fn from((position, event): (u64, Event)) -> Self {
        Self { position, event: EventShown::from(&event) }
    }
}
