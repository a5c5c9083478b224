//! What people did, as each of them wrote it down: when it was begun and over, and what was said of it.

use dmdl_types::{
    event::Event,
    id::{GrantId, Height, RecordId, TransactionId, UnixMillis},
    sign::PublicKey,
};
use std::collections::BTreeMap;

/// Microseconds since the run began, by the steady clock.
pub(crate) type Micros = u64;

/// What somebody signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A record is registered, and active once so many custodians have acknowledged.
    Register { record: RecordId, min_acks: u8 },
    /// `initialMedical`.
    Initial,
    /// `transferMedical`.
    Transfer { record: RecordId, to: PublicKey },
    /// `delete`.
    Delete { record: RecordId },
    /// A grant of so many uses is asked for.
    Request { record: RecordId, uses: u32, days: u16 },
    /// A grant is ended.
    Revoke { grant: GrantId },
    /// A decryption under a grant.
    Decrypt { record: RecordId, grant: GrantId },
}

/// What somebody wanted to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// `readMedical`.
    Record(RecordId),
    /// `getHistory`.
    History(RecordId),
    /// `queryByOwner`: the first page.
    OwnedBy(PublicKey),
    /// A request that is the caller's own.
    Request(TransactionId),
}

/// What was answered, as far as it is of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// There is no such thing.
    Missing,
    Record(RecordSeen),
    /// What happened to a record, oldest first.
    History(Vec<EntrySeen>),
    /// Records in the order of their ids, with their states.
    Owned(Vec<(RecordId, String)>),
    Request(RequestSeen),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordSeen {
    pub(crate) owner: PublicKey,
    pub(crate) org: String,
    pub(crate) state: String,
    pub(crate) registered: UnixMillis,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntrySeen {
    pub(crate) kind: String,
    pub(crate) transaction: TransactionId,
    pub(crate) time: UnixMillis,
    pub(crate) owner: PublicKey,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestSeen {
    pub(crate) state: String,
    pub(crate) grant: Option<GrantSeen>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrantSeen {
    pub(crate) ends: UnixMillis,
    pub(crate) uses: u32,
    pub(crate) used: u32,
    pub(crate) revoked: bool,
}

/// What became of a transaction, as far as its author was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It was executed, with a receipt that verified.
    Done { position: u64, event: Box<Event> },
    /// It was not let through, and nobody else was asked.
    Refused(String),
    /// It may have been ordered, or not.
    Unknown(String),
    /// Something came that is no proof.
    Forged(String),
}

/// What somebody did at a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Had a transaction ordered.
    Write { id: TransactionId, told: Told },
    /// Read; nothing, when it was not answered.
    Read { question: Question, is_linear: bool, seen: Option<(Height, Seen)> },
    /// Asked custodians for the shares of a decryption that was allowed; true when the record opened.
    Open { decryption: TransactionId, grant: GrantId, opened: bool },
}

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    /// The position of the node whose gateway gave the last answer.
    pub(crate) gateway: usize,
    pub(crate) invoked: Micros,
    pub(crate) completed: Micros,
    pub(crate) act: Act,
}

impl Op {
    /// Where the ledger has it, if it is an acknowledged transaction.
    pub(crate) fn done(&self) -> Option<(TransactionId, u64, &Event)> {
        match &self.act {
            Act::Write { id, told: Told::Done { position, event } } => Some((*id, *position, event)),
            _ => None,
        }
    }
}

/// A run as it is judged: what people did, and the ledger's own order of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) ops: Vec<Op>,
    /// Everything that was signed, by whom; also what never had an effect.
    pub(crate) calls: BTreeMap<TransactionId, (PublicKey, Call)>,
    /// The organisations of those who signed.
    pub(crate) orgs: BTreeMap<PublicKey, String>,
    /// Those of them who are owners.
    pub(crate) owners: Vec<PublicKey>,
    /// The exported and verified trail.
    pub(crate) trail: Vec<Event>,
    /// The height at which all nodes stood when it was over.
    pub(crate) height: Height,
    /// The time of day when it began, by the clock of those who did all this.
    pub(crate) begun_at: UnixMillis,
}
