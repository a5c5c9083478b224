//! The contracts once more, by what is written of them: what each transaction of a trail must have led to, and what a
//! reader must have seen at each height. Written for its own sake, and not after the code that it judges.
//!
//! It knows no policy but one that lets biomedical research in.

use super::log::{Call, EntrySeen, GrantSeen, Question, RecordSeen, RequestSeen, Seen};
use dmdl_types::{
    access::ReasonCode,
    event::{Action, Event, Verdict},
    id::{ChannelId, GrantId, NetworkId, RecordId, TransactionId, UnixMillis},
    sign::PublicKey,
};
use std::collections::BTreeMap;

const MS_PER_DAY: u64 = 86_400_000;
/// Most items of a page.
pub(crate) const PAGE: usize = 500;

/// What the transactions of a trail have led to.
#[derive(Debug)]
pub(crate) struct Model<'a> {
    domain: (NetworkId, ChannelId),
    /// Everybody's organisation.
    orgs: &'a BTreeMap<PublicKey, String>,
    owners: &'a [PublicKey],
    records: BTreeMap<RecordId, Record>,
    grants: BTreeMap<GrantId, Grant>,
    /// Requests with their grants.
    requests: BTreeMap<TransactionId, GrantId>,
}

#[derive(Debug)]
struct Record {
    owner: PublicKey,
    state: &'static str,
    registered: UnixMillis,
    history: Vec<EntrySeen>,
    acks: u8,
    /// None for what is in nobody's custody.
    min_acks: Option<u8>,
}

#[derive(Debug)]
struct Grant {
    record: RecordId,
    requester: PublicKey,
    ends: UnixMillis,
    uses: u32,
    used: u32,
    revoked: bool,
}

/// What a transaction must have led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) verdict: Verdict,
    /// Why not, if not.
    pub(crate) reason: Option<ReasonCode>,
    pub(crate) grant: Option<GrantId>,
    pub(crate) use_number: Option<u32>,
}

impl Expected {
    const APPLIED: Self = Self { verdict: Verdict::Applied, reason: None, grant: None, use_number: None };

    const fn no(verdict: Verdict, reason: ReasonCode) -> Self {
        Self { verdict, reason: Some(reason), grant: None, use_number: None }
    }

    /// What an event says that it has led to.
    pub(crate) fn of(event: &Event) -> Self {
        let outcome = &event.outcome;
        let is_no = matches!(outcome.verdict, Verdict::Deny | Verdict::Rejected);
        Self {
            verdict: outcome.verdict,
            reason: outcome.reasons.first().filter(|_| is_no).map(|reason| reason.code),
            grant: outcome.grant,
            use_number: outcome.use_number.map(|number| number.get()),
        }
    }
}

impl<'a> Model<'a> {
    pub(crate) fn new(
        domain: (NetworkId, ChannelId),
        orgs: &'a BTreeMap<PublicKey, String>,
        owners: &'a [PublicKey],
    ) -> Self {
        Self { domain, orgs, owners, records: BTreeMap::new(), grants: BTreeMap::new(), requests: BTreeMap::new() }
    }

    /// Executes what somebody signed, as the event says when and by whom.
    pub(crate) fn execute(&mut self, event: &Event, call: &Call) -> Expected {
        let (verdict, result) = match call {
            Call::Register { record, min_acks } => (Verdict::Rejected, self.register(event, *record, Some(*min_acks))),
            Call::Initial => (Verdict::Rejected, self.register(event, self.item(event.actor, event.transaction), None)),
            Call::Transfer { record, to } => (Verdict::Rejected, self.transfer(event, *record, *to)),
            Call::Delete { record } => (Verdict::Rejected, self.delete(event, *record)),
            Call::Request { record, uses, days } => (Verdict::Deny, self.request(event, *record, *uses, *days)),
            Call::Revoke { grant } => (Verdict::Rejected, self.revoke(event, *grant)),
            Call::Decrypt { record, grant } => return self.decrypt(event, *record, *grant),
        };
        result.unwrap_or_else(|reason| Expected::no(verdict, reason))
    }

    /// Executes what a node told the ledger, as far as people see it.
    pub(crate) fn observe(&mut self, event: &Event) {
        let acknowledges = event.action == Action::Acknowledge && event.outcome.verdict == Verdict::Applied;
        let Some(record) = event.record.filter(|_| acknowledges).and_then(|id| self.records.get_mut(&id)) else {
            return;
        };
        record.acks += 1;
        if record.min_acks == Some(record.acks) {
            record.state = "ACTIVE";
            record.note("storage", event);
        }
    }

    /// The id of an item that somebody enters with a transaction.
    pub(crate) fn item(&self, author: PublicKey, transaction: TransactionId) -> RecordId {
        RecordId::derive(self.domain.0, self.domain.1, author, &[*transaction.as_bytes()])
    }

    fn register(&mut self, event: &Event, id: RecordId, min_acks: Option<u8>) -> Result<Expected, ReasonCode> {
        if !self.owners.contains(&event.actor) {
            return Err(ReasonCode::Role);
        }
        let state = if min_acks.is_some() { "PENDING" } else { "CATALOGUED" };
        let (owner, registered) = (event.actor, event.time);
        let mut record = Record { owner, state, registered, history: Vec::new(), acks: 0, min_acks };
        record.note("source", event);
        record.note("registration", event);
        self.records.insert(id, record);
        Ok(Expected::APPLIED)
    }

    fn transfer(&mut self, event: &Event, id: RecordId, to: PublicKey) -> Result<Expected, ReasonCode> {
        let is_owner = self.owners.contains(&to);
        let record = self.own(event.actor, id)?;
        if !is_owner {
            return Err(ReasonCode::Role);
        }
        if record.owner == to {
            return Err(ReasonCode::Duplicate);
        }
        record.owner = to;
        record.note("transfer", event);
        Ok(Expected::APPLIED)
    }

    fn delete(&mut self, event: &Event, id: RecordId) -> Result<Expected, ReasonCode> {
        let record = self.own(event.actor, id)?;
        record.state = "ERASED";
        record.note("deletion", event);
        Ok(Expected::APPLIED)
    }

    fn own(&mut self, who: PublicKey, id: RecordId) -> Result<&mut Record, ReasonCode> {
        let record = self.records.get_mut(&id).ok_or(ReasonCode::UnknownRecord)?;
        match (record.owner == who, record.state) {
            (false, _) => Err(ReasonCode::Role),
            (true, "ERASED") => Err(ReasonCode::RecordErased),
            _ => Ok(record),
        }
    }

    fn request(&mut self, event: &Event, id: RecordId, uses: u32, days: u16) -> Result<Expected, ReasonCode> {
        self.living(id)?;
        let ends = event.time.plus_ms(u64::from(days) * MS_PER_DAY);
        let grant = Grant { record: id, requester: event.actor, ends, uses, used: 0, revoked: false };
        let granted = GrantId::of_request(event.transaction);
        self.grants.insert(granted, grant);
        self.requests.insert(event.transaction, granted);
        Ok(Expected { verdict: Verdict::Allow, reason: None, grant: Some(granted), use_number: None })
    }

    fn revoke(&mut self, event: &Event, id: GrantId) -> Result<Expected, ReasonCode> {
        let grant = self.grants.get_mut(&id).ok_or(ReasonCode::UnknownGrant)?;
        // Nobody in these runs has a role that lets them decide about other people's records.
        if self.records.get(&grant.record).is_none_or(|record| record.owner != event.actor) {
            return Err(ReasonCode::Role);
        }
        grant.revoked = true;
        Ok(Expected { grant: Some(id), ..Expected::APPLIED })
    }

    fn decrypt(&mut self, event: &Event, id: RecordId, granted: GrantId) -> Expected {
        let no = |reason| Expected::no(Verdict::Deny, reason);
        match self.living(id).map(|record| record.state) {
            Err(reason) => return no(reason),
            Ok("ACTIVE") => {}
            Ok(_) => return no(ReasonCode::RecordPending),
        }
        let Some(grant) = self.grants.get_mut(&granted) else { return no(ReasonCode::UnknownGrant) };
        if grant.record != id || grant.requester != event.actor {
            no(ReasonCode::GrantMismatch)
        } else if grant.revoked {
            no(ReasonCode::GrantRevoked)
        } else if event.time > grant.ends {
            no(ReasonCode::GrantExpired)
        } else if grant.used >= grant.uses {
            no(ReasonCode::GrantUsedUp)
        } else {
            grant.used += 1;
            let (verdict, use_number) = (Verdict::Allow, Some(grant.used));
            Expected { verdict, reason: None, grant: Some(granted), use_number }
        }
    }

    fn living(&self, id: RecordId) -> Result<&Record, ReasonCode> {
        let record = self.records.get(&id).ok_or(ReasonCode::UnknownRecord)?;
        if record.state == "ERASED" { Err(ReasonCode::RecordErased) } else { Ok(record) }
    }

    /// What a reader sees.
    pub(crate) fn answer(&self, question: &Question) -> Seen {
        match question {
            Question::Record(id) => self.records.get(id).map(|record| {
                let org = self.orgs.get(&record.owner).cloned().unwrap_or_default();
                let Record { owner, registered, .. } = *record;
                Seen::Record(RecordSeen { owner, org, state: record.state.to_owned(), registered })
            }),
            Question::History(id) => {
                let first = |record: &Record| record.history.iter().take(PAGE).cloned().collect();
                self.records.get(id).map(|record| Seen::History(first(record)))
            }
            Question::OwnedBy(owner) => {
                let owned = self.records.iter().filter(|(_, record)| record.owner == *owner);
                Some(Seen::Owned(owned.take(PAGE).map(|(id, record)| (*id, record.state.to_owned())).collect()))
            }
            Question::Request(id) => self.requests.get(id).map(|granted| {
                let seen = |grant: &Grant| {
                    let Grant { ends, uses, used, revoked, .. } = *grant;
                    GrantSeen { ends, uses, used, revoked }
                };
                Seen::Request(RequestSeen { state: "ALLOWED".to_owned(), grant: self.grants.get(granted).map(seen) })
            }),
        }
        .unwrap_or(Seen::Missing)
    }
}

impl Record {
    fn note(&mut self, kind: &str, event: &Event) {
        let (transaction, time, owner) = (event.transaction, event.time, self.owner);
        self.history.push(EntrySeen { kind: kind.to_owned(), transaction, time, owner });
    }
}
