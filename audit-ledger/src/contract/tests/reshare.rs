use crate::{
    testing::*,
    world::{ErasureRow, Holders, PartRow, PartState, ReshareRow, Sharing, VersionRow},
};
use dmdl_types::{
    access::ReasonCode::{self, *},
    custody::{CustodyEvent, Dealing, DealingKey, DealtShare, SealedBytes},
    event::{Event, Verdict},
    id::{DealingId, RecordId, RecordVersion, ShareEpoch, TransactionId},
    invocation::{Access, Authority, Reshare, SystemItem},
    limits,
    sign::SigningKey,
};

const V1: RecordVersion = RecordVersion::new(1);
const E0: ShareEpoch = ShareEpoch::new(0);
const E1: ShareEpoch = ShareEpoch::new(1);
const APPLIED: (Verdict, Option<ReasonCode>) = (Verdict::Applied, None);

fn plan(record: RecordId, custodians: &[u8]) -> Reshare {
    let custodians = custodians.iter().map(|org| node_id(*org)).collect();
    Reshare { record, version: V1, custodians, threshold: 2, min_acks: 3 }
}

fn begin(ledger: &mut Ledger, author: &SigningKey, plan: Reshare) -> Event {
    ledger.access(author, Access::Reshare(Box::new(plan)))
}

/// A record of the nodes 1, 2 and 3, on its way to the nodes 2, 3 and 4.
fn under_way(ledger: &mut Ledger) -> RecordId {
    let deal = Deal { custodians: vec![1, 2, 3], ..Deal::default() };
    let record = ledger.active_record(&owner(1), &deal);
    assert_eq!(told(&begin(ledger, &owner(1), plan(record, &[2, 3, 4]))), APPLIED);
    record
}

/// A node's part for some custodians.
fn dealing(ledger: &mut Ledger, dealer: u8, custodians: &[u8]) -> Dealing {
    let domain = ledger.domain();
    let commitments = (0..2).map(|_| ledger.bytes()).collect();
    let share = |org: &u8, bytes| DealtShare {
        key: DealingKey::sign(&node(*org), &domain, node(dealer).public(), bytes),
        digest: bytes,
    };
    let shares = custodians.iter().map(|org| share(org, ledger.bytes())).collect();
    Dealing { suite: 1, epoch: E1, commitments, shares, min_acks: 3 }
}

/// The call that began the reshare of a record.
fn begun(ledger: &Ledger, record: RecordId) -> TransactionId {
    row(ledger, record).transaction
}

fn part_of(plan: TransactionId, record: RecordId, dealing: Dealing) -> SystemItem {
    SystemItem::Part { plan, record, version: V1, dealing: Box::new(dealing) }
}

/// Lets nodes deal their parts.
fn deal(ledger: &mut Ledger, record: RecordId, dealers: &[u8]) {
    let plan = begun(ledger, record);
    for dealer in dealers {
        let part = part_of(plan, record, dealing(ledger, *dealer, &[2, 3, 4]));
        assert_eq!(told(&ledger.tell(*dealer, part)), APPLIED, "{dealer}");
    }
}

fn row(ledger: &Ledger, record: RecordId) -> ReshareRow {
    ledger.row(&(record, V1)).unwrap()
}

fn merged(ledger: &Ledger, record: RecordId) -> DealingId {
    row(ledger, record).merged.unwrap().dealing
}

fn ack(record: RecordId, dealing: DealingId) -> SystemItem {
    SystemItem::Acknowledge { record, version: V1, epoch: E1, dealing }
}

fn complaint(plan: TransactionId, record: RecordId, dealer: u8, dealing_secret: [u8; 32]) -> SystemItem {
    let (sealed, dealer) = (SealedBytes(vec![1]), node_id(dealer));
    SystemItem::PartComplaint { plan, record, version: V1, epoch: E1, dealer, sealed, dealing_secret }
}

fn missing(plan: TransactionId, record: RecordId, dealer: u8) -> SystemItem {
    SystemItem::PartMissing { plan, record, version: V1, epoch: E1, dealer: node_id(dealer) }
}

fn release(ledger: &Ledger, record: RecordId, epoch: ShareEpoch) -> SystemItem {
    let decryption = ledger.last_transaction();
    SystemItem::Release { decryption, record, version: V1, epoch, share: [0; 32] }
}

#[test]
fn an_epoch_begins_when_enough_of_the_next_custodians_acknowledged_and_not_before() {
    let mut ledger = Ledger::new();
    let record = under_way(&mut ledger);
    let before = ledger.version_row(record, V1);
    deal(&mut ledger, record, &[3]);
    assert_eq!(row(&ledger, record).merged, None, "one part of two");
    deal(&mut ledger, record, &[1, 2]);
    let next = merged(&ledger, record);
    for org in [4, 2] {
        let event = ledger.tell(org, ack(record, next));
        assert_eq!(told(&event), APPLIED);
        assert_eq!(event.shares.unwrap().epoch, E1);
        assert_eq!(ledger.version_row(record, V1), before, "nothing has changed for anybody");
    }
    let keys = ledger.opening_keys(&[1, 2, 3]);
    let call = Access::Decrypt { record, version: V1, authority: Authority::Owner, keys };
    assert_eq!(ledger.access(&owner(1), call).outcome.verdict, Verdict::Allow);
    let early = release(&ledger, record, E0);

    let last = ledger.system(3, vec![ack(record, next)]);
    let done = ledger.execute(vec![], vec![last]);
    assert_eq!(told(&done.events[0]), (Verdict::Applied, Some(EpochBegan)));
    assert_eq!(
        done.custody,
        [CustodyEvent::EpochBegan(record, V1, E1, next), CustodyEvent::EpochEnded(record, V1, E0)]
    );
    let after = ledger.version_row(record, V1);
    let custodians = [2, 3, 4].map(node_id).to_vec();
    assert_eq!((after.epoch, after.dealing, after.holders.nodes()), (E1, next, custodians));
    assert!(matches!(after.holders, Holders::Reshared(..)));
    assert_eq!(done.events[0].shares, Some(after.share_set()));
    assert_eq!((after.commitments.len(), after.acks.len(), &after.payload), (2, 3, &before.payload));
    let ended: Sharing = ledger.row(&(record, V1, E0)).unwrap();
    assert_eq!(ended, before.sharing());
    assert!(ledger.row::<ReshareRow>(&(record, V1)).is_none());
    assert!((1..=3).all(|org| ledger.row::<PartRow>(&(record, V1, node_id(org))).is_none()));

    // What was released in the epoch before was released; who keeps nothing any more releases nothing in this one.
    let event = ledger.tell(1, early);
    assert_eq!((told(&event), event.shares), (APPLIED, Some(before.share_set())));
    let late = release(&ledger, record, E1);
    assert_eq!(told(&ledger.tell(1, late)), (Verdict::Rejected, Some(NotCustodian)));
    let mut never = release(&ledger, record, E0);
    assert_eq!(told(&ledger.tell(4, never.clone())), (Verdict::Rejected, Some(NotCustodian)));
    if let SystemItem::Release { epoch, .. } = &mut never {
        *epoch = ShareEpoch::new(2);
    }
    assert_eq!(told(&ledger.tell(2, never)), (Verdict::Rejected, Some(NotCustodian)));

    // From here it can be handed on again.
    assert_eq!(told(&begin(&mut ledger, &owner(1), plan(record, &[1, 2, 3]))), APPLIED);
    assert_eq!(row(&ledger, record).epoch, ShareEpoch::new(2));
}

#[test]
fn only_who_decides_about_an_active_version_begins_a_reshare_and_only_to_custodians_that_a_registration_may_name() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    let fresh = ledger.registration(&owner(1), &Deal::default());
    let pending = fresh.record;
    ledger.access(&owner(1), Access::Register(Box::new(fresh)));
    let erased = ledger.active_record(&owner(1), &Deal::default());
    ledger.access(&owner(1), Access::Erase { record: erased });
    let good = plan(record, &[2, 3, 4]);
    let stranger = dmdl_types::id::NodeId::new([9; 32]);
    let mut unknown = good.clone();
    unknown.custodians[0] = stranger;
    let rows = [
        ("a researcher", researcher(1), good.clone(), Role),
        ("another owner", owner(2), good.clone(), Role),
        ("another committee", committee(2), good.clone(), Role),
        ("a pending record", owner(1), plan(pending, &[2, 3, 4]), RecordPending),
        ("an erased one", owner(1), plan(erased, &[2, 3, 4]), RecordErased),
        ("none", owner(1), plan(RecordId::new([1; 32]), &[2, 3, 4]), UnknownRecord),
        ("another version", owner(1), Reshare { version: V1.next(), ..good.clone() }, BadVersion),
        ("a stranger", owner(1), unknown, BadThreshold),
        ("a custodian twice", owner(1), plan(record, &[2, 3, 3]), BadThreshold),
        ("too few", owner(1), plan(record, &[2, 3]), BadThreshold),
        ("more than anybody hands on to", owner(1), plan(record, &[2; 65]), BadThreshold),
        ("a threshold of one", owner(1), Reshare { threshold: 1, ..good.clone() }, BadThreshold),
        ("too few acknowledgements", owner(1), Reshare { min_acks: 2, ..good.clone() }, BadThreshold),
        ("too many", owner(1), Reshare { min_acks: 4, ..good.clone() }, BadThreshold),
    ];
    let before = ledger.state();
    for (name, author, plan, code) in rows {
        assert_eq!(told(&begin(&mut ledger, &author, plan)), (Verdict::Rejected, Some(code)), "{name}");
    }
    assert_eq!(ledger.state(), before);
    for author in [owner(1), committee(1)] {
        assert_eq!(told(&begin(&mut ledger, &author, good.clone())), APPLIED);
    }
}

#[test]
fn a_part_is_its_dealers_own_share_for_exactly_the_planned_custodians_and_comes_once() {
    let mut ledger = Ledger::new();
    let record = under_way(&mut ledger);
    let (plan_id, good) = (begun(&ledger, record), dealing(&mut ledger, 1, &[2, 3, 4]));
    let change = |change: fn(&mut Dealing)| {
        let mut dealing = good.clone();
        change(&mut dealing);
        part_of(plan_id, record, dealing)
    };
    let foreign = dealing(&mut ledger, 2, &[2, 3, 4]);
    let rows = [
        ("a node that keeps no share", 4, part_of(plan_id, record, good.clone()), NotCustodian),
        ("another share than its own", 1, change(|d| d.commitments[0] = [0; 32]), BadDealing),
        ("another threshold", 1, change(|d| d.commitments.truncate(1)), BadDealing),
        ("other custodians", 1, change(|d| d.shares.swap(0, 1)), BadDealing),
        ("fewer custodians", 1, change(|d| d.shares.truncate(2)), BadDealing),
        ("fewer acknowledgements", 1, change(|d| d.min_acks = 2), BadDealing),
        ("another suite", 1, change(|d| d.suite = 2), BadDealing),
        (
            "nothing for one that cannot be spared",
            1,
            change(|d| d.shares[1] = DealtShare::none_for(node_id(3))),
            BadDealing,
        ),
        ("keys for another dealer", 1, part_of(plan_id, record, foreign), BadDealing),
        ("another epoch", 1, change(|d| d.epoch = ShareEpoch::new(2)), UnknownReshare),
        ("another reshare", 1, part_of(TransactionId::new([9; 32]), record, good.clone()), UnknownReshare),
        ("another record", 1, part_of(plan_id, RecordId::new([1; 32]), good.clone()), UnknownRecord),
    ];
    let before = ledger.state();
    for (name, org, item, code) in rows {
        assert_eq!(told(&ledger.tell(org, item)), (Verdict::Rejected, Some(code)), "{name}");
    }
    assert_eq!(ledger.state(), before);
    assert_eq!(told(&ledger.tell(1, part_of(plan_id, record, good.clone()))), APPLIED);
    assert_eq!(told(&ledger.tell(1, part_of(plan_id, record, good.clone()))).1, Some(Duplicate));
    let second = part_of(plan_id, record, dealing(&mut ledger, 1, &[2, 3, 4]));
    assert_eq!(told(&ledger.tell(1, second)).1, Some(Duplicate), "nor another one");

    // The keys are used, whatever becomes of the reshare.
    begin(&mut ledger, &owner(1), plan(record, &[2, 3, 4]));
    assert_eq!(
        told(&ledger.tell(1, part_of(plan_id, record, good.clone()))).1,
        Some(UnknownReshare),
        "of the one before"
    );
    let again = begun(&ledger, record);
    assert_eq!(told(&ledger.tell(1, part_of(again, record, good))).1, Some(BadDealing));
}

#[test]
fn a_part_that_is_proved_bad_names_its_dealer_and_the_next_takes_its_place() {
    let mut ledger = Ledger::new();
    let record = under_way(&mut ledger);
    let plan = begun(&ledger, record);
    deal(&mut ledger, record, &[2, 1]);
    let dealt = row(&ledger, record);
    let first = merged(&ledger, record);
    assert_eq!(told(&ledger.tell(2, ack(record, first))), APPLIED);
    deal(&mut ledger, record, &[3]);
    assert_eq!(merged(&ledger, record), first, "the first two count");

    let before = ledger.state();
    let refused = [
        ("evidence that proves nothing", 3, complaint(plan, record, 1, [0; 32]), ComplaintRefuted),
        ("nobody's", 1, complaint(plan, record, 1, DAMNING), NotCustodian),
        ("of who acknowledged", 2, complaint(plan, record, 1, DAMNING), Duplicate),
        ("of a part that is not there", 3, complaint(plan, record, 4, DAMNING), UnknownReshare),
    ];
    for (name, org, item, code) in refused {
        assert_eq!(told(&ledger.tell(org, item)), (Verdict::Rejected, Some(code)), "{name}");
    }
    assert_eq!(ledger.state(), before);

    let event = ledger.tell(3, complaint(plan, record, 1, DAMNING));
    assert_eq!(told(&event), (Verdict::Applied, Some(DealerFault)));
    let part: PartRow = ledger.row(&(record, V1, node_id(1))).unwrap();
    assert_eq!(event.refers_to, Some(part.transaction), "the part is whose transaction it came in");
    let after = row(&ledger, record);
    assert_eq!((after.parts[1].dealer, after.parts[1].state), (node_id(1), PartState::Struck));
    assert_ne!(after.merged, dealt.merged);
    assert_eq!(after.acks, [], "nobody has acknowledged what it adds up to now");
    assert_eq!(told(&ledger.tell(3, complaint(plan, record, 1, DAMNING))).1, Some(Duplicate));
    assert_eq!(told(&ledger.tell(3, ack(record, first))).1, Some(BadDealing));
    let second = merged(&ledger, record);
    for org in [2, 3, 4] {
        ledger.tell(org, ack(record, second));
    }
    assert_eq!(ledger.version_row(record, V1).dealing, second);
}

#[test]
fn a_part_whose_dealer_shows_no_share_that_somebody_misses_is_passed_over_and_blames_nobody() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    begin(&mut ledger, &owner(1), plan(record, &[1, 2, 3, 4]));
    let at = begun(&ledger, record);
    for dealer in [4, 1, 2] {
        let part = part_of(at, record, dealing(&mut ledger, dealer, &[1, 2, 3, 4]));
        assert_eq!(told(&ledger.tell(dealer, part)), APPLIED);
    }
    let first = merged(&ledger, record);
    assert_eq!(told(&ledger.tell(1, ack(record, first))), APPLIED);
    assert_eq!(told(&ledger.tell(2, missing(at, record, 4))), APPLIED);
    assert_eq!(told(&ledger.tell(2, missing(at, record, 4))).1, Some(Duplicate), "the dealer has some time");
    assert_eq!(told(&ledger.tell(1, missing(at, record, 4))).1, Some(Duplicate), "it has said that it has all");
    assert_eq!((merged(&ledger, record), row(&ledger, record).acks.len()), (first, 1));
    ledger.time = ledger.time.plus_ms(limits::PART_ANSWER_MS);
    assert_eq!(told(&ledger.tell(3, missing(at, record, 4))), APPLIED, "its own time begins now");
    assert_eq!(told(&ledger.tell(2, missing(at, record, 4))), (Verdict::Applied, Some(PartPassedOver)));
    let after = row(&ledger, record);
    assert_eq!(after.parts[0].state, PartState::PassedOver);
    assert!(after.acks.is_empty() && merged(&ledger, record) != first);
    // With one part of three gone too, there are too few; a fourth makes them enough.
    ledger.tell(3, complaint(at, record, 1, DAMNING));
    assert_eq!(row(&ledger, record).merged, None);
    let part = part_of(at, record, dealing(&mut ledger, 3, &[1, 2, 3, 4]));
    ledger.tell(3, part);
    assert!(row(&ledger, record).merged.is_some());
}

#[test]
fn a_dealer_that_shows_what_somebody_misses_is_not_passed_over() {
    let mut ledger = Ledger::new();
    let record = under_way(&mut ledger);
    let at = begun(&ledger, record);
    deal(&mut ledger, record, &[1, 2]);
    let first = merged(&ledger, record);
    let part: PartRow = ledger.row(&(record, V1, node_id(1))).unwrap();
    let digest_of = |org: u8| part.dealing.shares[usize::from(org) - 2].digest.to_vec();
    let shown = |custodian: u8, sealed: Vec<u8>| {
        let (custodian, sealed) = (node_id(custodian), SealedBytes(sealed));
        SystemItem::PartShown { plan: at, record, version: V1, epoch: E1, custodian, sealed }
    };
    assert_eq!(told(&ledger.tell(1, shown(3, digest_of(3)))).1, Some(Duplicate), "nobody misses it");
    assert_eq!(told(&ledger.tell(3, missing(at, record, 1))), APPLIED);
    assert_eq!(told(&ledger.tell(2, shown(3, digest_of(3)))).1, Some(Duplicate), "of another's part");
    assert_eq!(told(&ledger.tell(1, shown(3, digest_of(4)))).1, Some(BadDealing), "what it did not register");
    let event = ledger.tell(1, shown(3, digest_of(3)));
    assert_eq!((told(&event), event.refers_to), (APPLIED, Some(part.transaction)));
    let after: PartRow = ledger.row(&(record, V1, node_id(1))).unwrap();
    assert_eq!(after.shown, [(node_id(3), SealedBytes(digest_of(3)))]);
    assert_eq!(told(&ledger.tell(1, shown(3, digest_of(3)))).1, Some(Duplicate));
    ledger.time = ledger.time.plus_ms(2 * limits::PART_ANSWER_MS);
    assert_eq!(told(&ledger.tell(3, missing(at, record, 1))).1, Some(Duplicate), "it lies there for it");
    assert_eq!((row(&ledger, record).parts[0].state, merged(&ledger, record)), (PartState::Good, first));
}

#[test]
fn whoever_gives_one_key_to_two_dealers_gets_nothing_of_the_second_part_and_blames_nobody() {
    let mut ledger = Ledger::new();
    let record = ledger.active_record(&owner(1), &Deal::default());
    begin(&mut ledger, &owner(1), plan(record, &[1, 2, 3, 4]));
    let at = begun(&ledger, record);
    let first = dealing(&mut ledger, 1, &[1, 2, 3, 4]);
    let mut second = dealing(&mut ledger, 2, &[1, 2, 3, 4]);
    let same = first.shares[3].key.key;
    second.shares[3].key = DealingKey::sign(&node(4), &ledger.domain(), node(2).public(), same);
    for (dealer, part) in [(1, first), (2, second.clone())] {
        assert_eq!(told(&ledger.tell(dealer, part_of(at, record, part))), APPLIED, "{dealer}");
    }
    let after = row(&ledger, record);
    assert_eq!((after.parts[0].keyless.len(), &after.parts[1].keyless[..]), (0, &[node_id(4)][..]));
    let kept: PartRow = ledger.row(&(record, V1, node_id(2))).unwrap();
    assert!(kept.dealing.shares[3].is_none());
    assert_eq!(told(&ledger.tell(4, missing(at, record, 2))).1, Some(NotCustodian), "it gets nothing of it");
    // A part that leaves out others does not fit to this one: more would be without a share than can be spared.
    let mut third = dealing(&mut ledger, 3, &[1, 2, 3, 4]);
    third.shares[0] = DealtShare::none_for(node_id(1));
    begin(&mut ledger, &owner(1), plan(record, &[1, 2, 3, 4]));
    let at = begun(&ledger, record);
    for share in &mut second.shares {
        let key = ledger.bytes();
        let custodian = (1..=4).find(|org| node_id(*org) == share.key.custodian).unwrap();
        share.key = DealingKey::sign(&node(custodian), &ledger.domain(), node(2).public(), key);
    }
    second.shares[3] = DealtShare::none_for(node_id(4));
    for (dealer, part) in [(2, second), (3, third)] {
        assert_eq!(told(&ledger.tell(dealer, part_of(at, record, part))), APPLIED, "{dealer}");
    }
    assert_eq!(row(&ledger, record).merged, None, "two would be left out, and one can be spared");
    let part = part_of(at, record, dealing(&mut ledger, 4, &[1, 2, 3, 4]));
    ledger.tell(4, part);
    let after = row(&ledger, record);
    let chosen: Vec<_> = after.chosen(2).unwrap().iter().map(|part| part.dealer).collect();
    assert_eq!(chosen, [node_id(2), node_id(4)]);
}

#[test]
fn a_reshare_that_is_begun_again_begins_anew_and_none_outlives_its_record() {
    let mut ledger = Ledger::new();
    let record = under_way(&mut ledger);
    deal(&mut ledger, record, &[1, 2]);
    let first = merged(&ledger, record);
    assert_eq!(told(&begin(&mut ledger, &committee(1), plan(record, &[2, 3, 4]))), APPLIED);
    assert!((1..=2).all(|org| ledger.row::<PartRow>(&(record, V1, node_id(org))).is_none()));
    assert_eq!(told(&ledger.tell(2, ack(record, first))).1, Some(BadDealing));
    deal(&mut ledger, record, &[1, 2]);
    let (again, second) = (begun(&ledger, record), merged(&ledger, record));
    ledger.access(&owner(1), Access::Erase { record });
    let before = ledger.state();
    let part = part_of(again, record, dealing(&mut ledger, 3, &[2, 3, 4]));
    for item in [part, missing(again, record, 1), complaint(again, record, 1, DAMNING)] {
        assert_eq!(told(&ledger.tell(3, item)), (Verdict::Rejected, Some(RecordErased)));
    }
    assert_eq!(told(&ledger.tell(3, ack(record, second))).0, Verdict::Rejected);
    assert!(
        ledger.row::<ReshareRow>(&(record, V1)).is_none() && ledger.row::<PartRow>(&(record, V1, node_id(1))).is_none()
    );
    assert_eq!(ledger.state(), before);
    let version: VersionRow = ledger.version_row(record, V1);
    assert_eq!(version.epoch, E0);
}

fn destroyed(record: RecordId, of: Option<(RecordVersion, ShareEpoch)>) -> SystemItem {
    SystemItem::Destroyed { record, of, generation: 7 }
}

#[test]
fn everybody_who_may_have_had_something_of_an_erased_record_is_waited_for_until_they_say_that_nothing_is_left() {
    let mut ledger = Ledger::new();
    // Of nodes 1 to 3; node 4 may have had shares of parts.
    let record = under_way(&mut ledger);
    assert_eq!(told(&ledger.tell(1, destroyed(record, None))), (Verdict::Rejected, Some(NotEnded)));
    ledger.access(&owner(1), Access::Erase { record });
    let erasing = ledger.last_transaction();
    let mut keepers = [1, 2, 3, 4].map(node_id).to_vec();
    keepers.sort_unstable();
    let row: ErasureRow = ledger.row(&record).unwrap();
    assert_eq!((row.transaction, row.keepers, row.destroyed), (erasing, keepers, Vec::new()));
    for org in [4, 1] {
        let event = ledger.tell(org, destroyed(record, None));
        assert_eq!(told(&event), (Verdict::Applied, Some(SharesDestroyed)));
        assert_eq!(event.outcome.reasons[0].rule.as_deref(), Some("generation-7"), "the trail says since when");
        assert_eq!(event.refers_to, Some(erasing));
        assert_eq!(told(&ledger.tell(org, destroyed(record, None))).1, Some(Duplicate));
    }
    let row: ErasureRow = ledger.row(&record).unwrap();
    assert_eq!(row.destroyed.len(), 2);

    // Whoever never had anything has nothing to say, and of what nobody kept there is nothing to be said.
    let deal = Deal { custodians: vec![1, 2, 3], ..Deal::default() };
    let other = ledger.active_record(&owner(1), &deal);
    ledger.access(&owner(1), Access::Erase { record: other });
    assert_eq!(told(&ledger.tell(4, destroyed(other, None))).1, Some(NotCustodian));
    assert_eq!(told(&ledger.tell(1, destroyed(RecordId::new([1; 32]), None))).1, Some(UnknownRecord));
}

#[test]
fn custodians_of_an_epoch_that_ended_say_that_nothing_of_it_is_left() {
    let mut ledger = Ledger::new();
    let record = under_way(&mut ledger);
    let before = ledger.version_row(record, V1).share_set();
    assert_eq!(told(&ledger.tell(1, destroyed(record, Some((V1, E0))))).1, Some(NotEnded));
    deal(&mut ledger, record, &[1, 2]);
    let next = merged(&ledger, record);
    for org in [2, 3, 4] {
        ledger.tell(org, ack(record, next));
    }
    let event = ledger.tell(1, destroyed(record, Some((V1, E0))));
    assert_eq!((told(&event), event.shares), ((Verdict::Applied, Some(SharesDestroyed)), Some(before)));
    for (org, of, code) in
        [(1, (V1, E0), Duplicate), (4, (V1, E0), NotCustodian), (2, (V1, E1), NotEnded), (2, (V1.next(), E0), NotEnded)]
    {
        assert_eq!(
            told(&ledger.tell(org, destroyed(record, Some(of)))),
            (Verdict::Rejected, Some(code)),
            "{org} {of:?}"
        );
    }
    let ended: Sharing = ledger.row(&(record, V1, E0)).unwrap();
    assert_eq!(ended.destroyed.len(), 1);
    // Should the record be erased, those of every epoch are asked again: for all of it.
    ledger.access(&owner(1), Access::Erase { record });
    assert_eq!(ledger.row::<ErasureRow>(&record).unwrap().keepers.len(), 4);
}
