//! What the log says, against what was done: random operations, and an account of them that is kept
//! apart from the contracts.

use crate::{execute::log, testing::*, world::GrantRow};
use dmdl_policies::templates::Template;
use dmdl_types::{
    event::{Action, Event, Verdict},
    genesis::Role,
    id::{GrantId, NoteCommitment, RecordId, TransactionId, UnixMillis},
    invocation::{Access, Authority, Invocation, Medical, Membership},
    sign::PublicKey,
    transaction::EndorsedTransaction,
};
use std::collections::{BTreeMap, BTreeSet};

const OPERATIONS: usize = 500;

/// SplitMix64: the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }
}

struct Record {
    owner: u8,
    policy: Template,
    erased: bool,
}

struct Request {
    record: RecordId,
    requester: u8,
    days: u16,
    uses: u32,
    waits: bool,
}

struct Grant {
    record: RecordId,
    requester: u8,
    ends: UnixMillis,
    uses: u32,
    used: u32,
    revoked: bool,
}

/// One line of the account.
#[derive(Debug, PartialEq)]
struct Line {
    transaction: TransactionId,
    actor: PublicKey,
    action: Action,
    record: Option<RecordId>,
    verdict: Verdict,
}

impl Line {
    fn of(event: &Event) -> Self {
        let Event { transaction, actor, action, record, .. } = *event;
        Self { transaction, actor, action, record, verdict: event.outcome.verdict }
    }
}

/// The account: what there is, as somebody who reads the documents would keep it.
#[derive(Default)]
struct Account {
    records: BTreeMap<RecordId, Record>,
    requests: BTreeMap<TransactionId, Request>,
    grants: BTreeMap<GrantId, Grant>,
    suspended: BTreeSet<u8>,
    lines: Vec<Line>,
}

const OWNERS: [u8; 3] = [1, 2, 3];
const RESEARCHERS: [u8; 3] = [2, 3, 4];

/// A call with its author, and what must become of it.
struct Op {
    author: (u8, Role),
    action: Action,
    record: Option<RecordId>,
    call: Invocation,
}

impl Account {
    fn choose(&self, dice: &mut Dice, ledger: &mut Ledger) -> Op {
        let records: Vec<RecordId> = self.records.keys().copied().collect();
        let requests: Vec<TransactionId> = self.requests.keys().copied().collect();
        let grants: Vec<GrantId> = self.grants.keys().copied().collect();
        let record = dice.pick(&records);
        let owner = (if dice.roll(4) == 0 { dice.pick(&OWNERS) } else { self.records[&record].owner }, Role::Owner);
        let researcher = (dice.pick(&RESEARCHERS), Role::Researcher);
        let reason = NoteCommitment::new([0; 32]);
        let access = |author, action, record, call| Op { author, action, record, call: Invocation::Access(call) };
        match dice.roll(20) {
            0 => {
                let policy = policy(dice.pick(&Template::ALL));
                access(owner, Action::SetPolicy, Some(record), Access::SetPolicy { record, policy })
            }
            1..=4 => {
                let terms = terms(dice.pick(&[1, 2, 91]), dice.pick(&[1, 2, 3]));
                access(researcher, Action::Request, Some(record), Access::Request { record, terms, reason })
            }
            5..=7 if !requests.is_empty() => {
                let request = dice.pick(&requests);
                let record = self.requests[&request].record;
                let owner =
                    (if dice.roll(4) == 0 { dice.pick(&OWNERS) } else { self.records[&record].owner }, Role::Owner);
                match dice.roll(4) {
                    0 => access(owner, Action::DenyRequest, Some(record), Access::Deny { request }),
                    _ => access(owner, Action::Approve, Some(record), Access::Approve { request }),
                }
            }
            8 if !grants.is_empty() => {
                let grant = dice.pick(&grants);
                let record = self.grants[&grant].record;
                access(
                    (self.records[&record].owner, Role::Owner),
                    Action::RevokeGrant,
                    Some(record),
                    Access::Revoke { grant },
                )
            }
            9..=15 if !grants.is_empty() => {
                let grant = dice.pick(&grants);
                let held = &self.grants[&grant];
                let by = if dice.roll(5) == 0 { researcher } else { (held.requester, Role::Researcher) };
                let record = if dice.roll(6) == 0 { record } else { held.record };
                access(by, Action::Decrypt, Some(record), ledger.decryption(record, Authority::Grant(grant)))
            }
            16 => access(owner, Action::Decrypt, Some(record), ledger.decryption(record, Authority::Owner)),
            17 => {
                let call = Medical::Transfer { record, to: person(dice.pick(&OWNERS), Role::Owner).public() };
                Op {
                    author: owner,
                    action: Action::TransferMedical,
                    record: Some(record),
                    call: Invocation::Medical(call),
                }
            }
            18 if dice.roll(8) == 0 => access(owner, Action::Erase, Some(record), Access::Erase { record }),
            _ => {
                let key = person(researcher.0, Role::Researcher).public();
                let (action, call) = if self.suspended.contains(&researcher.0) {
                    (Action::Reinstate, Membership::Reinstate { key })
                } else {
                    (Action::Suspend, Membership::Suspend { key })
                };
                Op { author: (researcher.0, Role::Admin), action, record: None, call: Invocation::Membership(call) }
            }
        }
    }

    /// What must become of a call, by the rules as the documents tell them.
    fn judge(&mut self, id: TransactionId, op: &Op, now: UnixMillis) -> Verdict {
        let by = op.author.0;
        let suspended = op.author.1 == Role::Researcher && self.suspended.contains(&by);
        let done = |may: bool| if may { Verdict::Applied } else { Verdict::Rejected };
        match &op.call {
            Invocation::Membership(Membership::Suspend { .. }) => done(self.suspended.insert(by)),
            Invocation::Membership(_) => done(self.suspended.remove(&by)),
            Invocation::Medical(Medical::Transfer { record, to }) => {
                let held = self.records.get_mut(record).unwrap();
                let heir = OWNERS.into_iter().find(|org| owner(*org).public() == *to).unwrap();
                let may = held.owner == by && !held.erased && heir != by;
                if may {
                    held.owner = heir;
                }
                done(may)
            }
            Invocation::Access(Access::SetPolicy { record, policy: document }) => {
                let held = self.records.get_mut(record).unwrap();
                let may = held.owner == by && !held.erased;
                if may {
                    held.policy = Template::ALL.into_iter().find(|t| policy(*t) == *document).unwrap();
                }
                done(may)
            }
            Invocation::Access(Access::Erase { record }) => {
                let held = self.records.get_mut(record).unwrap();
                let may = held.owner == by && !held.erased;
                held.erased |= may;
                done(may)
            }
            Invocation::Access(Access::Request { record, terms, .. }) => {
                let held = &self.records[record];
                if suspended || held.erased {
                    return Verdict::Deny;
                }
                let verdict = match held.policy {
                    Template::Closed => Verdict::Deny,
                    Template::ResearchAuto if terms.days <= 90 => Verdict::Allow,
                    _ => Verdict::Pending,
                };
                let request = Request {
                    record: *record,
                    requester: by,
                    days: terms.days,
                    uses: terms.uses,
                    waits: verdict == Verdict::Pending,
                };
                if verdict == Verdict::Allow {
                    self.grant(id, &request, now);
                }
                self.requests.insert(id, request);
                verdict
            }
            Invocation::Access(call @ (Access::Approve { request } | Access::Deny { request })) => {
                let approve = matches!(call, Access::Approve { .. });
                let Request { record, requester, days, uses, waits } = self.requests[request];
                let held = &self.records[&record];
                let forbidden = approve && (held.policy == Template::Closed || self.suspended.contains(&requester));
                let may = held.owner == by && !held.erased && waits && !forbidden;
                if may {
                    let decided = Request { record, requester, days, uses, waits: false };
                    if approve {
                        self.grant(*request, &decided, now);
                    }
                    self.requests.insert(*request, decided);
                }
                done(may)
            }
            Invocation::Access(Access::Revoke { grant }) => {
                let held = self.grants.get_mut(grant).unwrap();
                let may = self.records[&held.record].owner == by;
                held.revoked |= may;
                done(may)
            }
            Invocation::Access(Access::Decrypt { record, authority, .. }) => {
                let held = &self.records[record];
                let may = !suspended
                    && !held.erased
                    && match authority {
                        Authority::Owner => held.owner == by,
                        Authority::Grant(grant) => {
                            let grant = self.grants.get_mut(grant).unwrap();
                            let may = (grant.record, grant.requester) == (*record, by)
                                && !grant.revoked
                                && now <= grant.ends
                                && grant.used < grant.uses
                                && held.policy != Template::Closed;
                            grant.used += u32::from(may);
                            may
                        }
                    };
                if may { Verdict::Allow } else { Verdict::Deny }
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn grant(&mut self, request: TransactionId, asked: &Request, now: UnixMillis) {
        let Request { record, requester, days, uses, .. } = *asked;
        let ends = now.plus_ms(u64::from(days) * DAY_MS);
        let grant = Grant { record, requester, ends, uses, used: 0, revoked: false };
        self.grants.insert(GrantId::of_request(request), grant);
    }
}

/// Runs random operations, and returns the ledger, the account and the events that blocks returned.
fn run(seed: u64) -> (Ledger, Account, Vec<Event>) {
    let (mut dice, mut ledger, mut account) = (Dice(seed), Ledger::new(), Account::default());
    let mut events = Vec::new();
    for policy_of in [Template::ResearchAuto, Template::ResearchAuto, Template::ReviewOnly, Template::Closed] {
        let by = dice.pick(&OWNERS);
        let record = ledger.active_record(&owner(by), &Deal { policy: Some(policy(policy_of)), ..Deal::default() });
        account.records.insert(record, Record { owner: by, policy: policy_of, erased: false });
    }
    let before = ledger.executor.tip().size;
    let mut earlier: Vec<EndorsedTransaction> = Vec::new();
    let mut left = OPERATIONS;
    while left > 0 {
        ledger.time = ledger.time.plus_ms(dice.pick(&[0, 0, DAY_MS / 3]));
        let now = ledger.time.max(ledger.executor.tip().time).plus_ms(BLOCK_MS);
        let mut transactions = Vec::new();
        for _ in 0..left.min(1 + dice.roll(8)) {
            let op = account.choose(&mut dice, &mut ledger);
            let author = person(op.author.0, op.author.1);
            let transaction = ledger.transaction(&author, op.call.clone());
            let id = transaction.transaction.body.id();
            let verdict = account.judge(id, &op, now);
            // Also who may not act is counted under the record that was asked for.
            let Op { action, record, .. } = op;
            account.lines.push(Line { transaction: id, actor: author.public(), action, record, verdict });
            transactions.push(transaction.clone());
            earlier.push(transaction);
            left -= 1;
        }
        // What was executed comes again now and then.
        let next = ledger.height().next();
        earlier.retain(|transaction| transaction.transaction.body.expires >= next);
        if dice.roll(3) == 0 {
            transactions.push(dice.pick(&earlier));
        }
        if dice.roll(20) == 0 {
            ledger.reopen();
        }
        events.extend(ledger.execute(transactions, vec![]).events);
    }
    assert_eq!(before + events.len() as u64, ledger.executor.tip().size);
    (ledger, account, events)
}

#[test]
fn the_log_equals_an_independent_account_of_what_was_done() {
    for seed in [1, 2, 3] {
        let (ledger, account, events) = run(seed);
        assert_eq!(events.len(), OPERATIONS, "seed {seed}");
        for (event, line) in events.iter().zip(&account.lines) {
            assert_eq!(Line::of(event), *line, "seed {seed}: {event:?}");
        }
        // What the log holds is what blocks returned.
        let first = ledger.executor.tip().size - events.len() as u64;
        for (position, event) in (first..).zip(&events) {
            assert_eq!(log::event(&ledger.store, position).unwrap().as_ref(), Some(event));
            assert_eq!(log::position(&ledger.store, event.transaction, 0).unwrap(), Some(position));
        }
        // Every verdict and every kind of call took place, or the test says little.
        let verdicts: BTreeSet<u8> = events.iter().map(|event| event.outcome.verdict as u8).collect();
        let actions: BTreeSet<Action> = events.iter().map(|event| event.action).collect();
        assert_eq!((verdicts.len(), actions.len() >= 9), (5, true), "seed {seed}: {actions:?}");
    }
}

#[test]
fn no_grant_is_ever_used_more_often_than_it_says() {
    for seed in [4, 5] {
        let (ledger, account, events) = run(seed);
        assert!(account.grants.values().any(|grant| grant.used == grant.uses), "seed {seed}: no grant was used up");
        for (id, grant) in &account.grants {
            let numbers: Vec<u32> = events
                .iter()
                .filter(|event| event.outcome.grant == Some(*id) && event.outcome.verdict == Verdict::Allow)
                .filter_map(|event| event.outcome.use_number.map(|number| number.get()))
                .collect();
            assert!(numbers.iter().copied().eq(1..=grant.used), "seed {seed}: {numbers:?}");
            let row: GrantRow = ledger.row(id).unwrap();
            assert_eq!(
                (row.used, row.terms.uses, row.revoked, row.ends),
                (grant.used, grant.uses, grant.revoked, grant.ends)
            );
            assert!(row.used <= row.terms.uses);
        }
    }
}
