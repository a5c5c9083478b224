use super::*;
use crate::{
    store::{Batch, MemoryBudget, MemoryStore, Reader as _, RocksStore, Space},
    testing::{
        BLOCK_MS, Deal, Ledger, channel_over, committee, genesis, metadata, owner, permission, person, policy,
        researcher, rules, terms,
    },
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::Purpose,
    genesis::{ChannelConfig, EpochConfig},
    governance::{Change, Governance},
    id::RecordVersion,
    invocation::{Access, Authority, Invocation, Medical},
    sign::SigningKey,
};
use std::collections::BTreeSet;

const ROLES: [Role; 5] = [Role::Owner, Role::Researcher, Role::Committee, Role::Officer, Role::Admin];

/// A ledger with what lists show: listed and unlisted records of two owners, requests in every state.
struct Story {
    ledger: Ledger,
    listed: RecordId,
    hidden: RecordId,
    /// Of organisation 3's owner.
    foreign: RecordId,
    /// Pending, by a colleague of the owner, for the unlisted record.
    asked: TransactionId,
    /// Allowed at once, for the foreign record.
    allowed: TransactionId,
}

fn automatic() -> Deal {
    Deal { policy: Some(policy(Template::ResearchAuto)), ..Deal::default() }
}

fn unlisted() -> Deal {
    Deal { metadata: dmdl_types::invocation::Metadata { listed: false, ..metadata() }, ..Deal::default() }
}

fn story() -> Story {
    let mut ledger = Ledger::new();
    let listed = ledger.active_record(&owner(1), &Deal::default());
    let hidden = ledger.active_record(&owner(1), &unlisted());
    let foreign = ledger.active_record(&owner(3), &automatic());
    assert_eq!(ledger.request(&researcher(1), hidden, terms(30, 5)).outcome.verdict, Verdict::Pending);
    let asked = ledger.last_transaction();
    // One that does not count: nobody told them of the record.
    assert_eq!(ledger.request(&researcher(2), hidden, terms(30, 5)).outcome.verdict, Verdict::Deny);
    assert_eq!(ledger.request(&researcher(2), foreign, terms(30, 5)).outcome.verdict, Verdict::Allow);
    let allowed = ledger.last_transaction();
    Story { ledger, listed, hidden, foreign, asked, allowed }
}

fn open<S: Store>(store: S) -> Channel<(), S> {
    channel_over(store, genesis().founding())
}

impl Ledger {
    fn reader(&self, key: &SigningKey) -> PersonRow {
        self.row(&key.public()).unwrap()
    }
}

/// All items of a list, page by page.
fn all<T>(mut page: impl FnMut(Option<&[u8]>) -> Result<Page<T>, ViewError>) -> Vec<T> {
    let (mut items, mut cursor) = (Vec::new(), None);
    for _ in 0..10_000 {
        let next = page(cursor.as_deref()).unwrap();
        items.extend(next.items);
        match next.next {
            Some(next) => cursor = Some(next),
            None => return items,
        }
    }
    panic!("the list does not end");
}

fn ids(records: Vec<RecordView>) -> BTreeSet<RecordId> {
    let all: Vec<RecordId> = records.iter().map(|view| view.id).collect();
    assert!(all.is_sorted_by(|a, b| a < b), "in the order of ids, each once");
    all.into_iter().collect()
}

#[test]
fn who_may_know_of_a_record_is_one_table() {
    let Story { mut ledger, listed, hidden, foreign, .. } = story();
    // The grant outlives the listing.
    let second = ledger.version(&owner(3), foreign, &unlisted());
    assert_eq!(ledger.access(&owner(3), Access::Register(Box::new(second))).outcome.verdict, Verdict::Applied);
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let missing = RecordId::new([1; 32]);
    for org in 1..=4 {
        for role in ROLES {
            let reader = ledger.reader(&person(org, role));
            let sees = |record| reading.visible_record(&reader, record).unwrap().is_some();
            let decides = |of| org == of && matches!(role, Role::Owner | Role::Committee);
            let asked = |who| (org, role) == (who, Role::Researcher);
            let name = format!("{role:?} of {org}");
            assert!(sees(listed), "{name}");
            assert!(!sees(missing), "{name}");
            assert_eq!(sees(hidden), decides(1) || role == Role::Officer || asked(1), "{name}");
            assert_eq!(sees(foreign), decides(3) || role == Role::Officer || asked(2), "{name}");
            let seen = ids(all(|cursor| reading.records(&reader, &RecordFilter::default(), cursor, 2)));
            let expected = [listed, hidden, foreign].into_iter().filter(|record| sees(*record)).collect();
            assert_eq!(seen, expected, "{name}: the list shows what can be looked up");
        }
    }
}

#[test]
fn only_the_owner_of_today_is_an_owner() {
    let Story { mut ledger, hidden, .. } = story();
    let event = ledger.medical(&owner(1), Medical::Transfer { record: hidden, to: owner(2).public() });
    assert_eq!(event.outcome.verdict, Verdict::Applied);
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let sees = |key: &SigningKey| reading.visible_record(&ledger.reader(key), hidden).unwrap().is_some();
    assert!(!sees(&owner(1)) && !sees(&committee(1)));
    assert!(sees(&owner(2)) && sees(&committee(2)) && sees(&researcher(1)));
    assert!(!sees(&researcher(2)), "whoever only asked in vain");
}

#[test]
fn who_opened_a_record_knows_of_it() {
    let Story { mut ledger, foreign, allowed, .. } = story();
    let grant = GrantId::of_request(allowed);
    let event = ledger.decrypt(&researcher(2), foreign, Authority::Grant(grant));
    assert_eq!(event.outcome.verdict, Verdict::Allow);
    let channel = open(ledger.store.clone());
    let looked = Cell::new(0);
    assert!(channel.reading().unwrap().has_asked(researcher(2).public(), foreign, &looked).unwrap());
    assert_eq!(looked.get(), 0, "without looking through what they did");
}

#[test]
fn records_are_listed_by_what_they_are() {
    let Story { mut ledger, listed, hidden, foreign, .. } = story();
    let later = ledger.time;
    let text = dmdl_types::invocation::Metadata { media_type: "text/csv".into(), ..metadata() };
    let fresh = ledger.active_record(&owner(1), &Deal { metadata: text, ..automatic() });
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let officer = ledger.reader(&person(4, Role::Officer));
    let list = |filter: RecordFilter| ids(all(|cursor| reading.records(&officer, &filter, cursor, 1)));
    let default = RecordFilter::default;
    let set = |records: &[RecordId]| records.iter().copied().collect::<BTreeSet<_>>();
    let text = |text: &str| RecordFilter { text: Some(text.into()), ..default() };
    assert_eq!(list(default()), set(&[listed, hidden, foreign, fresh]));
    assert_eq!(list(RecordFilter { owner: Some(owner(1).public()), ..default() }), set(&[listed, hidden, fresh]));
    assert_eq!(list(RecordFilter { owner: Some(owner(2).public()), ..default() }), set(&[]));
    assert_eq!(list(RecordFilter { media_type: Some("text/csv".into()), ..default() }), set(&[fresh]));
    assert_eq!(list(RecordFilter { media_type: Some("text".into()), ..default() }), set(&[]));
    assert_eq!(list(RecordFilter { permission: Some(permission().code), ..default() }), set(&[foreign, fresh]));
    assert_eq!(list(RecordFilter { permission: Some(DuoCode::Poa), ..default() }), set(&[]));
    assert_eq!(list(RecordFilter { since: Some(later.plus_ms(1)), ..default() }), set(&[fresh]));
    assert_eq!(list(text("dicom")), set(&[listed, hidden, foreign]));
    assert_eq!(list(text("org-3")), set(&[foreign]));
    assert_eq!(list(text(&listed.to_string()[8..24])), set(&[listed]));
    assert_eq!(list(text("*")), set(&[]));
    // What somebody calls a record is known beside the ledger; who may not know of it finds nothing by it.
    let titles = move |id: RecordId, _: &RecordRow, text: &str| id == hidden && "ct of the chest".contains(text);
    let reading = channel.reading().unwrap().titled(&titles);
    let found = |who: &PersonRow| ids(all(|cursor| reading.records(who, &text("chest"), cursor, 1)));
    assert_eq!(found(&officer), set(&[hidden]));
    assert_eq!(found(&ledger.reader(&researcher(4))), set(&[]));
}

#[test]
fn people_are_listed_by_organisation_and_role() {
    let Story { ledger, .. } = story();
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let list = |filter: PersonFilter| all(|cursor| reading.people(&filter, cursor, 2));
    let everybody = list(PersonFilter::default());
    assert!(everybody.is_sorted_by(|a, b| a.person.key < b.person.key) && everybody.len() > 4);
    let org = Some(everybody[0].person.org.clone());
    for (filter, fits) in [
        (PersonFilter { org: org.clone(), role: None }, (true, false)),
        (PersonFilter { org: None, role: Some(Role::Officer) }, (false, true)),
        (PersonFilter { org: org.clone(), role: Some(Role::Officer) }, (true, true)),
    ] {
        let expected = everybody.iter().filter(|row| {
            (!fits.0 || Some(&row.person.org) == org.as_ref()) && (!fits.1 || row.person.role == Role::Officer)
        });
        assert_eq!(list(filter), expected.cloned().collect::<Vec<_>>());
    }
}

#[test]
fn proposals_are_listed_and_change_what_was_decided_last() {
    const EPOCH_BLOCKS: u64 = 8;
    let mut genesis = genesis();
    genesis.channel.epoch_blocks = EPOCH_BLOCKS;
    let mut ledger = Ledger::of(genesis.clone());
    let call = |ledger: &mut Ledger, org: u8, call: Governance| {
        let event = ledger.call(&person(org, Role::Admin), Invocation::Governance(call));
        assert_eq!(event.outcome.verdict, Verdict::Applied);
        event.transaction
    };
    let rules = |endorsements: u8| ChannelConfig { endorsements, ..genesis.channel.clone() };
    let propose =
        |endorsements: u8| Governance::Propose { changes: vec![Change::SetRules { rules: rules(endorsements) }] };
    let [accepted, taken_back, waiting] = [3, 4, 3].map(|endorsements| call(&mut ledger, 1, propose(endorsements)));
    call(&mut ledger, 1, Governance::Withdraw { proposal: taken_back });
    for org in [2, 3] {
        call(&mut ledger, org, Governance::Approve { proposal: accepted });
    }
    let decided = |ledger: &Ledger| {
        let channel = channel_over(ledger.store.clone(), genesis.founding());
        let EpochConfig { epoch, channel: rules, .. } = channel.reading().unwrap().decided().unwrap();
        (epoch.get(), rules.endorsements)
    };
    assert_eq!(decided(&ledger), (2, 3), "it holds from the epoch after the next, and is what the next one changes");
    while ledger.height().get() < EPOCH_BLOCKS - 1 {
        ledger.empty();
    }
    assert_eq!(decided(&ledger), (2, 3), "after the last block of the epoch");
    ledger.empty();
    assert_eq!(decided(&ledger), (2, 3), "in the next one");

    let channel = channel_over(ledger.store.clone(), genesis.founding());
    let reading = channel.reading().unwrap();
    let list = |open: bool| -> Vec<TransactionId> {
        let listed = all(|cursor| reading.proposals(ProposalFilter { open }, cursor, 1));
        listed.into_iter().map(|(id, _)| id).collect()
    };
    let mut every = vec![accepted, taken_back, waiting];
    every.sort();
    assert_eq!((list(false), list(true)), (every, vec![waiting]));
}

#[test]
fn a_cursor_is_of_one_list_and_its_filters_and_of_nothing_else() {
    let Story { ledger, listed, foreign, .. } = story();
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let officer = ledger.reader(&person(4, Role::Officer));
    let filter = RecordFilter::default();
    let cursor = reading.records(&officer, &filter, None, 1).unwrap().next.unwrap();
    assert!(reading.records(&officer, &filter, Some(&cursor), 1).is_ok());
    assert!(reading.records(&ledger.reader(&researcher(4)), &filter, Some(&cursor), 1).is_ok(), "whoever asks");
    let refused = |result: Result<(), ViewError>| assert!(matches!(result, Err(ViewError::Cursor)), "{result:?}");
    for position in 0..cursor.len() {
        for bit in 0..8 {
            let mut forged = cursor.clone();
            forged[position] ^= 1 << bit;
            refused(reading.records(&officer, &filter, Some(&forged), 1).map(drop));
        }
    }
    for bad in [&[][..], &cursor[1..], &[0; 200]] {
        refused(reading.records(&officer, &filter, Some(bad), 1).map(drop));
    }
    let other = RecordFilter { since: Some(UnixMillis::new(0)), ..filter };
    refused(reading.records(&officer, &other, Some(&cursor), 1).map(drop));
    refused(reading.requests(&officer, &RequestFilter::default(), Some(&cursor), 1).map(drop));
    refused(reading.events(&EventFilter::default(), Some(&cursor), 1).map(drop));
    refused(reading.history(listed, Some(&cursor), 1).map(drop));
    let cursor = reading.history(listed, None, 1).unwrap().next.unwrap();
    assert!(reading.history(listed, Some(&cursor), 1).is_ok());
    refused(reading.history(foreign, Some(&cursor), 1).map(drop));

    let elsewhere = dmdl_types::genesis::Genesis { seed: [8; 32], ..genesis() };
    let elsewhere = channel_over(MemoryStore::new(), elsewhere.founding());
    refused(elsewhere.reading().unwrap().history(listed, Some(&cursor), 1).map(drop));
}

#[test]
fn a_cursor_stays_valid_whatever_is_executed_since() {
    let Story { mut ledger, .. } = story();
    let officer = ledger.reader(&person(4, Role::Officer));
    let first = {
        let channel = open(ledger.store.clone());
        let reading = channel.reading().unwrap();
        reading.records(&officer, &RecordFilter::default(), None, 2).unwrap()
    };
    let events = {
        let channel = open(ledger.store.clone());
        let reading = channel.reading().unwrap();
        reading.events(&EventFilter::default(), None, 5).unwrap()
    };
    for org in [1, 2, 3, 4] {
        ledger.active_record(&owner(org), &Deal::default());
    }
    ledger.reopen();
    let channel = open(ledger.store.reopen().unwrap());
    let reading = channel.reading().unwrap();
    let last = first.items.last().unwrap().id;
    let rest = all(|cursor| {
        let cursor = cursor.or(first.next.as_deref());
        reading.records(&officer, &RecordFilter::default(), cursor, 1)
    });
    let whole = all(|cursor| reading.records(&officer, &RecordFilter::default(), cursor, 500));
    assert_eq!(whole.len(), 7);
    assert_eq!(ids(rest), whole.iter().map(|view| view.id).filter(|id| *id > last).collect());
    let rest = all(|cursor| reading.events(&EventFilter::default(), cursor.or(events.next.as_deref()), 3));
    let positions: Vec<u64> = rest.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, (5..reading.tip().size).collect::<Vec<_>>());
}

#[test]
fn a_page_ends_after_so_many_looks_even_without_an_item() {
    let ledger = Ledger::new();
    let row = RecordRow {
        owner: owner(1).public(),
        org: crate::testing::org_id(1),
        metadata: metadata(),
        state: crate::world::RecordState::Catalogued,
        policy: None,
        last_version: RecordVersion::new(0),
        active_version: RecordVersion::new(0),
        registered: UnixMillis::new(1),
        history_len: 0,
    };
    let rows = 2 * walk::LOOKS_MAX + 1;
    let mut batch = Batch::new();
    for number in 0..rows {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        batch.put(Space::State, world::row_key::<RecordRow>(&RecordId::new(id)), codec::encode(&row));
    }
    ledger.store.commit(batch).unwrap();
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let reader = ledger.reader(&researcher(2));
    let none = RecordFilter { media_type: Some("text/none".into()), ..RecordFilter::default() };
    let (mut pages, mut cursor) = (0, None);
    loop {
        let page = reading.records(&reader, &none, cursor.as_deref(), 500).unwrap();
        assert!(page.items.is_empty());
        pages += 1;
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(all(|cursor| reading.records(&reader, &RecordFilter::default(), cursor, 500)).len(), rows);
    let page = reading.records(&reader, &RecordFilter::default(), None, usize::MAX).unwrap();
    assert_eq!(page.items.len(), PAGE_MAX);
}

#[test]
fn what_hides_a_record_is_looked_up_in_bounded_steps() {
    let Story { mut ledger, hidden, .. } = story();
    // Somebody does a lot, and asks in vain every other time.
    for _ in 0..40 {
        ledger.request(&researcher(2), hidden, terms(1, 1));
        ledger.request(&researcher(2), RecordId::new([2; 32]), terms(1, 1));
    }
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let looked = Cell::new(0);
    assert!(!reading.has_asked(researcher(2).public(), hidden, &looked).unwrap());
    assert!((80..300).contains(&looked.get()), "{}", looked.get());
    let few = Cell::new(0);
    assert!(!reading.has_asked(researcher(4).public(), hidden, &few).unwrap());
    assert!(few.get() <= 1, "who did nothing is told at once");
}

#[test]
fn requests_are_for_the_requester_and_who_decides() {
    let Story { ledger, listed, hidden, foreign, asked, allowed } = story();
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    for org in 1..=4 {
        for role in ROLES {
            let reader = ledger.reader(&person(org, role));
            let decides = |of| org == of && matches!(role, Role::Owner | Role::Committee);
            let own = |who| (org, role) == (who, Role::Researcher);
            let sees_asked = role == Role::Officer || decides(1) || own(1);
            let sees_allowed = role == Role::Officer || decides(3) || own(2);
            let name = format!("{role:?} of {org}");
            let sees = |id| reading.visible_request(&reader, id).unwrap().is_some();
            assert_eq!((sees(asked), sees(allowed)), (sees_asked, sees_allowed), "{name}");
            assert!(!sees(TransactionId::new([1; 32])), "{name}");
            let list = |filter: RequestFilter| -> BTreeSet<TransactionId> {
                all(|cursor| reading.requests(&reader, &filter, cursor, 1)).iter().map(|view| view.id).collect()
            };
            let expected = |of: &[(TransactionId, bool)]| -> BTreeSet<TransactionId> {
                of.iter().filter(|(_, sees)| *sees).map(|(id, _)| *id).collect()
            };
            let both = expected(&[(asked, sees_asked), (allowed, sees_allowed)]);
            let default = RequestFilter::default;
            assert_eq!(list(default()), both, "{name}");
            let record = |record| RequestFilter { record: Some(record), ..default() };
            assert_eq!(list(record(hidden)), expected(&[(asked, sees_asked)]), "{name}");
            assert_eq!(list(record(foreign)), expected(&[(allowed, sees_allowed)]), "{name}");
            assert_eq!(list(record(listed)), BTreeSet::new(), "{name}");
            let of = |key: SigningKey| RequestFilter { requester: Some(key.public()), ..default() };
            assert_eq!(list(of(researcher(1))), expected(&[(asked, sees_asked)]), "{name}");
            assert_eq!(list(of(researcher(2))), expected(&[(allowed, sees_allowed)]), "{name}");
            let state = |state| RequestFilter { state: Some(state), ..default() };
            assert_eq!(list(state(RequestState::Pending)), expected(&[(asked, sees_asked)]), "{name}");
            assert_eq!(list(state(RequestState::Denied)), BTreeSet::new(), "{name}");
        }
    }
}

#[test]
fn a_decision_is_the_event_that_decided() {
    let Story { mut ledger, hidden, asked, allowed, .. } = story();
    let strict = rules(r#"@id("none") forbid (principal, action == Action::"request", resource);"#);
    let closed = ledger.active_record(&owner(2), &Deal { policy: Some(strict), ..Deal::default() });
    assert_eq!(ledger.request(&researcher(2), closed, terms(1, 1)).outcome.verdict, Verdict::Deny);
    let denied = ledger.last_transaction();
    // A review that does not count, and one of another request.
    ledger.access(&committee(2), Access::Approve { request: asked });
    ledger.request(&researcher(1), hidden, terms(1, 1));
    let later = ledger.last_transaction();
    ledger.access(&committee(1), Access::Deny { request: later });
    let officer = ledger.reader(&person(4, Role::Officer));
    let decision = |ledger: &Ledger, id| {
        let channel = open(ledger.store.clone());
        let reading = channel.reading().unwrap();
        let view = reading.visible_request(&officer, id).unwrap().unwrap();
        reading.decision(&view).unwrap().map(|(position, event)| {
            assert_eq!(log::event(&ledger.store, position).unwrap().as_ref(), Some(&event));
            (event.action, event.transaction)
        })
    };
    assert_eq!(decision(&ledger, asked), None);
    assert_eq!(decision(&ledger, allowed), Some((Action::Request, allowed)));
    assert_eq!(decision(&ledger, denied), Some((Action::Request, denied)));
    let approval = ledger.access(&committee(1), Access::Approve { request: asked });
    assert_eq!(approval.outcome.verdict, Verdict::Applied);
    assert_eq!(decision(&ledger, asked), Some((Action::Approve, approval.transaction)));
    assert_eq!(decision(&ledger, later).unwrap().0, Action::DenyRequest);
    let channel = open(ledger.store.clone());
    let view = channel.reading().unwrap().visible_request(&officer, asked).unwrap().unwrap();
    let (grant, row) = view.grant.unwrap();
    assert_eq!((grant, row.request, row.used), (GrantId::of_request(asked), asked, 0));
}

#[test]
fn events_are_those_that_a_look_at_all_of_them_finds() {
    let Story { mut ledger, listed, hidden, foreign, .. } = story();
    let subject = SubjectId::new([6; 32]);
    let patient = dmdl_types::invocation::Metadata { subject: Some(subject), ..metadata() };
    ledger.active_record(&owner(2), &Deal { metadata: patient, ..Deal::default() });
    let ds = Purpose { code: DuoCode::Ds, disease: dmdl_types::access::MondoId::new(5148) };
    ledger.request(&researcher(3), foreign, dmdl_types::access::Terms { purpose: ds, ..terms(1, 1) });
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let size = reading.tip().size;
    let every: Vec<(u64, Event)> =
        (0..size).map(|position| (position, log::event(&ledger.store, position).unwrap().unwrap())).collect();
    let times: Vec<UnixMillis> = every.iter().map(|(_, event)| event.time).collect();
    let (first, last) = (times[0], times[times.len() - 1]);
    let default = EventFilter::default;
    let mut filters = vec![
        default(),
        EventFilter { record: Some(listed), ..default() },
        EventFilter { record: Some(hidden), actor: Some(researcher(2).public()), ..default() },
        EventFilter { actor: Some(owner(1).public()), ..default() },
        EventFilter { actor: Some(crate::testing::node(2).public()), ..default() },
        EventFilter { subject: Some(subject), ..default() },
        EventFilter { purpose: Some(DuoCode::Ds), ..default() },
        EventFilter { verdict: Some(Verdict::Deny), ..default() },
        EventFilter { verdict: Some(Verdict::Rejected), ..default() },
        EventFilter { record: Some(RecordId::new([1; 32])), ..default() },
    ];
    for from in [0, first.get() - 1, first.get(), first.get() + 1, last.get() - BLOCK_MS, last.get(), last.get() + 1] {
        for to in [first.get() - 1, first.get() + 3 * BLOCK_MS, last.get(), u64::MAX] {
            let (from, to) = (Some(UnixMillis::new(from)), Some(UnixMillis::new(to)));
            filters.push(EventFilter { from, to, ..default() });
            filters.push(EventFilter { from, record: Some(hidden), ..default() });
            filters.push(EventFilter { to, actor: Some(researcher(2).public()), ..default() });
        }
    }
    for filter in filters {
        let fits = |(_, event): &&(u64, Event)| {
            filter.fits(event)
                && filter.from.is_none_or(|from| event.time >= from)
                && filter.to.is_none_or(|to| event.time <= to)
        };
        let expected: Vec<(u64, Event)> = every.iter().filter(fits).cloned().collect();
        for limit in [1, 3, 500] {
            assert_eq!(all(|cursor| reading.events(&filter, cursor, limit)), expected, "{filter:?} by {limit}");
        }
    }
    assert_eq!(reading.events_from(3, 4).unwrap(), every[3..7]);
    assert!(reading.events_from(size, 4).unwrap().is_empty());
    assert!(reading.events_from(u64::MAX, 4).unwrap().is_empty());
}

#[test]
fn the_trail_is_for_officers_and_everybody_has_their_own_part() {
    let Story { ledger, listed, hidden, foreign, .. } = story();
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let default = EventFilter::default;
    for org in 1..=4 {
        for role in ROLES {
            let key = person(org, role);
            let reader = ledger.reader(&key);
            let may = |filter: EventFilter| reading.may_audit(&reader, &filter).unwrap();
            let is_officer = role == Role::Officer;
            let owns = |of| (org, role) == (of, Role::Owner);
            let name = format!("{role:?} of {org}");
            assert_eq!(may(default()), is_officer, "{name}");
            assert_eq!(may(EventFilter { subject: Some(SubjectId::new([6; 32])), ..default() }), is_officer, "{name}");
            for (record, of) in [(listed, 1), (hidden, 1), (foreign, 3)] {
                assert_eq!(may(EventFilter::of(Some(HeadKey::Record(record)))), is_officer || owns(of), "{name}");
            }
            assert_eq!(may(EventFilter { record: Some(RecordId::new([1; 32])), ..default() }), is_officer, "{name}");
            assert!(may(EventFilter { actor: Some(key.public()), record: Some(hidden), ..default() }), "{name}");
            let other = EventFilter {
                actor: Some(SigningKey::from_seed(dmdl_types::secret::Secret32::new([9; 32])).public()),
                ..default()
            };
            assert_eq!(may(other), is_officer, "{name}");
        }
    }
}

#[test]
fn a_history_is_told_from_its_beginning() {
    let Story { mut ledger, hidden, .. } = story();
    ledger.medical(&owner(1), Medical::Transfer { record: hidden, to: owner(2).public() });
    ledger.medical(&owner(2), Medical::Delete { record: hidden });
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let expected = channel.history(hidden, 0, 100).unwrap();
    assert_eq!(expected.len(), 5);
    for limit in 1..=5 {
        assert_eq!(all(|cursor| reading.history(hidden, cursor, limit)), expected, "by {limit}");
    }
    assert!(reading.history(RecordId::new([1; 32]), None, 5).unwrap().items.is_empty());
}

#[test]
fn what_is_read_is_of_one_height() {
    let Story { mut ledger, listed, .. } = story();
    let channel = open(ledger.store.clone());
    let reading = channel.reading().unwrap();
    let (height, size) = (reading.tip().height, reading.tip().size);
    let officer = ledger.reader(&person(4, Role::Officer));
    let before = all(|cursor| reading.records(&officer, &RecordFilter::default(), cursor, 500)).len();
    ledger.active_record(&owner(2), &Deal::default());
    ledger.access(&owner(1), Access::Erase { record: listed });
    assert_eq!((reading.tip().height, reading.tip().size), (height, size));
    assert_eq!(all(|cursor| reading.records(&officer, &RecordFilter::default(), cursor, 500)).len(), before);
    assert_eq!(all(|cursor| reading.events(&EventFilter::default(), cursor, 500)).len() as u64, size);
    assert!(!reading.row::<RecordRow>(&listed).unwrap().unwrap().is_erased());
    let after = channel.reading().unwrap();
    assert!(after.tip().height > height);
    assert!(after.row::<RecordRow>(&listed).unwrap().unwrap().is_erased());
}

#[test]
fn a_store_on_disk_lists_the_same() {
    let Story { ledger, hidden, .. } = story();
    let folder = std::env::temp_dir().join(format!("dmdl-lists-{}", std::process::id()));
    let disk = RocksStore::open(&folder, &MemoryBudget::default()).unwrap();
    let mut batch = Batch::new();
    for space in Space::ALL {
        for (key, value) in ledger.store.scan(space, &[], None, usize::MAX).unwrap() {
            batch.put(space, key, value);
        }
    }
    disk.commit(batch).unwrap();
    let (twin, disk) = (open(ledger.store.clone()), open(disk));
    let (twin, reading) = (twin.reading().unwrap(), disk.reading().unwrap());
    assert_eq!(twin.tip(), reading.tip());
    for role in ROLES {
        let reader = ledger.reader(&person(1, role));
        for limit in [1, 2, 500] {
            let filter = RecordFilter::default();
            let page = twin.records(&reader, &filter, None, limit).unwrap();
            assert_eq!(reading.records(&reader, &filter, None, limit).unwrap(), page, "cursors are the same too");
            let filter = RequestFilter { record: Some(hidden), ..RequestFilter::default() };
            let page = twin.requests(&reader, &filter, None, limit).unwrap();
            assert_eq!(reading.requests(&reader, &filter, None, limit).unwrap(), page);
            let filter = EventFilter { from: Some(UnixMillis::new(1)), ..EventFilter::default() };
            let page = twin.events(&filter, None, limit).unwrap();
            assert_eq!(reading.events(&filter, None, limit).unwrap(), page);
        }
    }
    drop(reading);
    drop(disk);
    std::fs::remove_dir_all(folder).unwrap();
}
