//! A key handed on among custodians, each a machine of its own.

use super::*;
use crate::share::{VerifiedShare, combine};
use dmdl_types::custody::{CustodyEvent, ReshareTask, Reshared, TaskPart};
use std::collections::BTreeMap;

type Machine = Custodian<MemoryKv, MemoryKeys>;

const E0: ShareEpoch = ShareEpoch::new(0);
const E1: ShareEpoch = ShareEpoch::new(1);
const PLAN: TransactionId = TransactionId::new([0x44; 32]);
/// Who keeps the key next; three of them kept it before.
const NEXT: [u8; 5] = [2, 3, 4, 5, 6];

fn id(number: u8) -> NodeId {
    NodeId::of_key(public(number))
}

fn machine(number: u8, kv: MemoryKv, keys: MemoryKeys) -> Machine {
    let limits = ReleaseLimits::of_channel(2_000, 4_000, 1);
    Custodian::open(&mut rng(99), domain(), Arc::new(signer(number)), limits, kv, keys).unwrap()
}

/// Custodians with record 3 in 2 shares of 4, and what the ledger has of its reshare.
struct Hall {
    machines: BTreeMap<u8, Machine>,
    rng: ChaCha20Rng,
    old: CheckedDealing,
    /// The parts in the ledger's order, with their dealers.
    parts: Vec<(u8, Dealing)>,
}

impl Hall {
    fn new() -> Self {
        let machines = (1..=6).map(|n| (n, machine(n, MemoryKv::default(), MemoryKeys::default()))).collect();
        let (dealt, old) = dealt(3);
        let mut hall = Self { machines, rng: rng(1), old, parts: Vec::new() };
        for number in 1..=4 {
            let key = hall.key(number, DEALER);
            let context = hall.old.context(id(number), ShareIndex::new(number));
            let sealed = seal(&dealt.shares()[usize::from(number) - 1], &context, &key);
            let assignment = Assignment {
                share: context,
                commitments: hall.old.commitments().as_bytes().to_vec(),
                dealing_key: key.key,
                sealed_digest: digest(&sealed),
                height: Height::new(5),
            };
            let arrival = [Arrival { assignment: &assignment, sealed: &sealed }];
            let (machine, rng) = hall.with(number);
            machine.accept(rng, &arrival).unwrap().remove(0).unwrap();
            machine.settle(&machine.pending(9).unwrap()).unwrap();
        }
        hall
    }

    fn with(&mut self, number: u8) -> (&mut Machine, &mut ChaCha20Rng) {
        (self.machines.get_mut(&number).unwrap(), &mut self.rng)
    }

    fn key(&mut self, number: u8, dealer: PublicKey) -> DealingKey {
        let (machine, rng) = self.with(number);
        machine.mint(rng, dealer, 1, NOW).unwrap()[0]
    }

    fn reshared(&self) -> Reshared<'_> {
        Reshared { data: data(3), epoch: E0, commitments: self.old.commitments().as_bytes(), shares: 4 }
    }

    /// What the ledger says when these parts count.
    fn task(&self, dealers: &[u8]) -> ReshareTask {
        let chosen: Vec<_> =
            dealers.iter().map(|n| self.parts.iter().find(|(dealer, _)| dealer == n).unwrap()).collect();
        let parts: Vec<_> = chosen.iter().map(|(dealer, part)| (ShareIndex::new(*dealer), part)).collect();
        let merged = merge(&self.reshared(), &parts);
        ReshareTask {
            transaction: PLAN,
            data: data(3),
            epoch: E0,
            commitments: self.old.commitments().as_bytes().to_vec(),
            custodians: NEXT.map(id).to_vec(),
            threshold: 3,
            min_acks: 5,
            holders: (1..=4).map(id).collect(),
            dealers: Vec::new(),
            parts: chosen
                .iter()
                .map(|(dealer, part)| TaskPart {
                    dealer: id(*dealer),
                    from: ShareIndex::new(*dealer),
                    commitments: part.commitments.clone(),
                    is_chosen: true,
                    keyless: Vec::new(),
                    missing: Vec::new(),
                })
                .collect(),
            acks: Vec::new(),
            merged: merged.map(|commitments| dmdl_types::id::DealingId::derive(&data(3), E1, &commitments)),
        }
    }

    /// Lets a custodian deal its part.
    fn deal(&mut self, dealer: u8) {
        let keys: Vec<_> = NEXT.iter().map(|number| Some(self.key(*number, public(dealer)))).collect();
        let task = self.task(&[]);
        let (machine, rng) = self.with(dealer);
        let item = machine.deal_part(rng, &task, &keys).unwrap();
        assert_eq!(machine.deal_part(rng, &task, &[]).unwrap(), item, "asked again, the same part");
        assert_eq!(machine.pending(9).unwrap(), std::slice::from_ref(&item));
        let SystemItem::Part { dealing, .. } = item else { panic!("{item:?}") };
        assert!(is_part(&self.reshared(), ShareIndex::new(dealer), &dealing));
        self.parts.push((dealer, *dealing));
    }

    /// What a next custodian is to get of a part.
    fn assignment(&self, dealer: u8, to: u8) -> Assignment {
        let (_, part) = self.parts.iter().find(|(known, _)| *known == dealer).unwrap();
        let context = CheckedDealing::of_dealing(part, data(3)).unwrap();
        let index = NEXT.iter().position(|number| *number == to).unwrap();
        Assignment {
            share: context.context(id(to), ShareIndex::new(u8::try_from(index).unwrap() + 1)),
            commitments: part.commitments.clone(),
            dealing_key: part.shares[index].key.key,
            sealed_digest: part.shares[index].digest,
            height: Height::new(7),
        }
    }

    /// Brings a share of a part to a next custodian.
    fn deliver(&mut self, dealer: u8, to: u8) -> Result<(), AcceptError> {
        let assignment = self.assignment(dealer, to);
        let task = self.task(&[]);
        let sealed = self.machines[&dealer].part_for(&task, assignment.share.index).unwrap().unwrap();
        let arrival = Arrival { assignment: &assignment, sealed: &sealed };
        let (machine, rng) = self.with(to);
        machine.accept_part(rng, (PLAN, id(dealer)), &arrival).unwrap()
    }

    fn merge(&mut self, number: u8, dealers: &[u8]) -> Next {
        let task = self.task(dealers);
        let (machine, rng) = self.with(number);
        machine.merge(rng, &task).unwrap()
    }

    /// The epoch begins with what these parts add up to.
    fn begin(&mut self, dealers: &[u8]) -> CheckedDealing {
        let chosen: Vec<_> =
            dealers.iter().map(|n| self.parts.iter().find(|(dealer, _)| dealer == n).unwrap().clone()).collect();
        let parts: Vec<_> = chosen.iter().map(|(dealer, part)| (ShareIndex::new(*dealer), part)).collect();
        let commitments = merge(&self.reshared(), &parts).unwrap();
        let threshold = Threshold::new(3, 5).unwrap();
        let commitments = crate::share::Commitments::parse(threshold, &commitments).unwrap();
        let next = CheckedDealing::new(commitments, data(3), E1);
        let (record, version) = (data(3).record, data(3).version);
        let events =
            [CustodyEvent::EpochBegan(record, version, E1, next.id()), CustodyEvent::EpochEnded(record, version, E0)];
        for number in 1..=6 {
            let (machine, rng) = self.with(number);
            machine.observe(rng, &events).unwrap();
        }
        next
    }

    /// The share that a custodian releases for an allowed decryption, verified.
    fn released(&mut self, number: u8, dealing: &CheckedDealing, index: u8) -> Result<VerifiedShare, AskError> {
        let share = dealing.context(id(number), ShareIndex::new(index));
        let mut view = view_of(share, dealing.commitments().as_bytes().to_vec());
        let key = x25519_public(&opening_secret());
        view.decryption.as_mut().unwrap().opening_key = Some(key);
        let (machine, rng) = self.with(number);
        let entry = machine.release(rng, ASKED, &view, NOW)?;
        let context = dmdl_types::context::ReleaseContext {
            share,
            transaction: ASKED,
            requester: public(0x21),
            opening_key: key,
        };
        let released = dmdl_types::codec::decode(&entry.answer(), 1024).unwrap();
        let share = crate::seal::open_released(&released, &context, &opening_secret()).unwrap();
        Ok(dealing.verify(share).unwrap())
    }
}

/// The acknowledgement that somebody sends of what these parts add up to.
fn acknowledges(hall: &mut Hall, number: u8, dealers: &[u8]) -> bool {
    let dealing = hall.task(dealers).merged.unwrap();
    let (record, version) = (data(3).record, data(3).version);
    let expected = SystemItem::Acknowledge { record, version, epoch: E1, dealing };
    hall.merge(number, dealers) == Next::Acknowledge(Box::new(expected))
}

#[test]
fn a_key_is_handed_on_without_being_rebuilt_and_old_shares_go_when_the_next_epoch_begins() {
    let mut hall = Hall::new();
    let key = dealt(3).0.data_key(&data(3));
    for dealer in [4, 1] {
        hall.deal(dealer);
        for to in NEXT {
            hall.deliver(dealer, to).unwrap();
            hall.deliver(dealer, to).unwrap();
        }
    }
    for number in NEXT {
        assert!(acknowledges(&mut hall, number, &[4, 1]) && acknowledges(&mut hall, number, &[4, 1]), "{number}");
    }
    // Until the epoch begins, the old shares are released, also by those who have the next ones.
    let old = hall.old.clone();
    let two: Vec<_> = [2, 3].iter().map(|n| hall.released(*n, &old, *n).unwrap()).collect();
    assert_eq!(combine(&old, &two).unwrap().expose(|k| *k), key.expose(|k| *k));

    let next = hall.begin(&[4, 1]);
    let three: Vec<_> = [(2, 1), (5, 4), (6, 5)].iter().map(|(n, i)| hall.released(*n, &next, *i).unwrap()).collect();
    assert_eq!(combine(&next, &three).unwrap().expose(|k| *k), key.expose(|k| *k), "the same key");
    for number in 1..=4 {
        assert!(hall.released(number, &old, number).is_err(), "{number} has nothing of the old epoch");
        assert!(
            hall.machines[&number]
                .store
                .share(Slot::of(&old.context(id(number), ShareIndex::new(number))))
                .unwrap()
                .is_none()
        );
    }
    // Of the parts nothing is left: neither shares of them nor what opened them.
    for machine in hall.machines.values() {
        assert!(machine.store.part_shares_of(data(3).record, None).unwrap().is_empty());
        assert!(machine.store.own_parts_of(data(3).record, None).unwrap().is_empty());
        let names = machine.keys.names().unwrap();
        assert!(names.iter().all(|name| matches!(name.owner(), Some(Owner::Share(slot)) if slot.epoch == E1)));
    }
}

#[test]
fn a_custodian_names_whose_shares_it_misses_and_adds_up_other_parts_when_the_ledger_says_so() {
    let mut hall = Hall::new();
    for dealer in [1, 2, 3] {
        hall.deal(dealer);
    }
    assert_eq!(hall.merge(5, &[]), Next::Wait);
    hall.deliver(1, 5).unwrap();
    assert_eq!(hall.merge(5, &[1, 2]), Next::Wait);
    let task = hall.task(&[1, 2]);
    assert_eq!(hall.machines[&5].lacking(&task).unwrap(), [id(2)]);
    let keyless = TaskPart { keyless: vec![id(5)], ..task.parts[1].clone() };
    let without = ReshareTask { parts: vec![keyless], ..task.clone() };
    assert_eq!(hall.machines[&5].lacking(&without).unwrap(), [], "it is to get nothing");
    hall.machines.get_mut(&5).unwrap().miss_part(&task, id(2)).unwrap();
    let (record, version) = (data(3).record, data(3).version);
    let missing = SystemItem::PartMissing { plan: PLAN, record, version, epoch: E1, dealer: id(2) };
    assert_eq!(hall.machines[&5].pending(9).unwrap(), std::slice::from_ref(&missing));
    hall.deliver(3, 5).unwrap();
    assert!(acknowledges(&mut hall, 5, &[1, 3]));
    hall.machines.get_mut(&5).unwrap().settle(&[missing]).unwrap();
    // Should the missing one come after all, and the ledger choose it again, that is another share.
    hall.deliver(2, 5).unwrap();
    assert!(acknowledges(&mut hall, 5, &[1, 2]));
    let dealing = hall.task(&[1, 2]).merged.unwrap();
    let acknowledged = SystemItem::Acknowledge { record, version, epoch: E1, dealing };
    assert_eq!(hall.machines[&5].pending(9).unwrap(), [acknowledged], "one word, the last one");
    // Who held nothing deals nothing, and who is not to hold anything adds nothing up.
    let (machine, rng) = hall.with(6);
    assert!(matches!(machine.deal_part(rng, &task, &[]), Err(DealPartError::OtherKeys)));
    assert_eq!(hall.merge(1, &[1, 2]), Next::Wait);
}

#[test]
fn a_share_of_a_part_that_does_not_verify_is_complained_of_with_proof() {
    let mut hall = Hall::new();
    hall.deal(1);
    // The dealer seals the neighbour's share to custodian 5, and says so on the ledger.
    let (own, other) = (hall.assignment(1, 5), hall.assignment(1, 4));
    let task = hall.task(&[]);
    let bad = hall.machines[&1].part_for(&task, other.share.index).unwrap().unwrap();
    let at = usize::from(own.share.index.get()) - 1;
    hall.parts[0].1.shares[at].digest = digest(&bad);
    let assignment = hall.assignment(1, 5);
    let arrival = Arrival { assignment: &assignment, sealed: &bad };
    let (machine, rng) = hall.with(5);
    machine.accept_part(rng, (PLAN, id(1)), &arrival).unwrap().unwrap();
    let items = machine.pending(9).unwrap();
    let [SystemItem::PartComplaint { dealer, sealed, dealing_secret, .. }] = &items[..] else { panic!("{items:?}") };
    assert_eq!((*dealer, sealed), (id(1), &bad));
    assert!(judge(&assignment.share, &hall.parts[0].1, sealed, dealing_secret), "everybody finds the dealer at fault");
    assert!(hall.machines[&5].keys.names().unwrap().is_empty(), "the secret is public now, and kept no longer");
    // The same bytes under the digest of good ones prove nothing, and nothing is said of them.
    let mut hall = Hall::new();
    hall.deal(1);
    let assignment = hall.assignment(1, 5);
    let arrival = Arrival { assignment: &assignment, sealed: &bad };
    let (machine, rng) = hall.with(5);
    assert_eq!(machine.accept_part(rng, (PLAN, id(1)), &arrival).unwrap(), Err(AcceptError::OtherBytes));
    assert_eq!(machine.pending(9).unwrap(), []);
}

#[test]
fn a_restart_keeps_parts_and_what_came_of_others_and_an_erasure_takes_them() {
    let mut hall = Hall::new();
    hall.deal(1);
    hall.deal(2);
    for dealer in [1, 2] {
        hall.deliver(dealer, 3).unwrap();
    }
    for number in [1, 2, 3] {
        let before = hall.machines.remove(&number).unwrap();
        let after = machine(number, before.store.kv().clone(), before.keys.clone());
        hall.machines.insert(number, after);
    }
    hall.deliver(1, 4).unwrap();
    assert!(acknowledges(&mut hall, 3, &[1, 2]));
    // Dealing keys that were never used go after a while; those that open shares of parts do not.
    let (third, rng) = hall.with(3);
    assert_eq!(third.retire(rng, NOW.plus_ms(1)).unwrap(), 0);
    third.observe(rng, &[CustodyEvent::RecordErased(data(3).record)]).unwrap();
    assert!(third.keys.names().unwrap().is_empty());
    assert_eq!(third.pending(9).unwrap(), []);
    assert_eq!(hall.merge(3, &[1, 2]), Next::Wait);
    assert_eq!(hall.deliver(1, 3), Err(AcceptError::Over { record: data(3).record }));
}

#[test]
fn a_dealer_shows_what_somebody_misses_and_nothing_else() {
    let mut hall = Hall::new();
    hall.deal(1);
    let mut task = hall.task(&[1]);
    let (first, _) = hall.with(1);
    assert!(first.can_deal(&task).unwrap());
    let part = first.dealt_part(&task).unwrap().unwrap();
    first.settle(&[part]).unwrap();
    first.show_missing(&task).unwrap();
    assert_eq!(first.pending(9).unwrap(), []);
    task.parts[0].missing = vec![id(5)];
    first.show_missing(&task).unwrap();
    first.show_missing(&task).unwrap();
    let [SystemItem::PartShown { plan, custodian, sealed, .. }] = &first.pending(9).unwrap()[..] else { panic!() };
    assert_eq!((*plan, *custodian), (PLAN, id(5)));
    // From the ledger it is what it would have been from the dealer.
    let assignment = hall.assignment(1, 5);
    assert!(is_sealed(sealed, &assignment.sealed_digest));
    let (fifth, rng) = hall.with(5);
    fifth.accept_part(rng, (PLAN, id(1)), &Arrival { assignment: &assignment, sealed }).unwrap().unwrap();
    assert_eq!(hall.machines[&5].lacking(&task).unwrap(), []);
    let (sixth, _) = hall.with(6);
    assert!(!sixth.can_deal(&task).unwrap());
    sixth.show_missing(&task).unwrap();
    assert_eq!(sixth.pending(9).unwrap(), [], "it is not its part");
}

#[test]
fn what_is_kept_of_a_reshare_goes_when_another_one_of_the_same_version_begins() {
    let mut hall = Hall::new();
    hall.deal(1);
    hall.deliver(1, 5).unwrap();
    let (record, version) = (data(3).record, data(3).version);
    for number in [1, 5] {
        let (machine, rng) = hall.with(number);
        machine.observe(rng, &[CustodyEvent::Resharing(record, version, PLAN)]).unwrap();
    }
    let task = hall.task(&[1]);
    assert!(hall.machines[&1].dealt_part(&task).unwrap().is_some());
    assert_eq!(hall.machines[&5].lacking(&task).unwrap(), []);
    for number in [1, 5] {
        let (machine, rng) = hall.with(number);
        machine.observe(rng, &[CustodyEvent::Resharing(record, version, TransactionId::new([0x45; 32]))]).unwrap();
    }
    assert!(hall.machines[&1].dealt_part(&task).unwrap().is_none());
    assert_eq!(hall.machines[&1].pending(9).unwrap(), [], "nor is the ledger told of it any more");
    assert_eq!(hall.machines[&5].lacking(&task).unwrap(), [id(1)]);
    assert!(hall.machines[&5].keys.names().unwrap().is_empty());
    assert!(hall.machines[&1].can_deal(&task).unwrap(), "the share itself stays");
}

#[test]
fn a_share_of_a_part_that_comes_when_the_epoch_has_begun_is_not_taken() {
    let mut hall = Hall::new();
    for dealer in [1, 2] {
        hall.deal(dealer);
    }
    let late =
        (hall.assignment(1, 5), hall.machines[&1].part_for(&hall.task(&[]), ShareIndex::new(4)).unwrap().unwrap());
    hall.begin(&[1, 2]);
    let (fifth, rng) = hall.with(5);
    let arrival = Arrival { assignment: &late.0, sealed: &late.1 };
    let over = fifth.accept_part(rng, (PLAN, id(1)), &arrival).unwrap();
    assert_eq!(over, Err(AcceptError::Over { record: data(3).record }));
}

#[test]
fn shares_of_another_sum_go_when_the_epoch_begins() {
    let mut hall = Hall::new();
    for dealer in [1, 2, 3] {
        hall.deal(dealer);
    }
    for (dealer, to) in [(1, 5), (2, 5), (1, 6), (3, 6)] {
        hall.deliver(dealer, to).unwrap();
    }
    assert!(acknowledges(&mut hall, 5, &[1, 2]) && acknowledges(&mut hall, 6, &[1, 3]));
    let next = hall.begin(&[1, 3]);
    assert!(hall.released(6, &next, 5).is_ok());
    assert!(matches!(hall.released(5, &next, 4), Err(AskError::Refused(ReleaseError::NotHeld { .. }))));
    // What is left is the key for a part that never came, until it is retired.
    let (fifth, rng) = hall.with(5);
    assert_eq!(fifth.retire(rng, NOW.plus_ms(1)).unwrap(), 1);
    assert!(fifth.keys.names().unwrap().is_empty());
}

#[test]
fn a_custodian_says_that_nothing_is_left_only_of_what_has_gone_and_since_when() {
    let mut hall = Hall::new();
    let (record, version) = (data(3).record, data(3).version);
    let (first, rng) = hall.with(1);
    first.attest(record, None).unwrap();
    first.attest(record, Some((version, E0))).unwrap();
    assert_eq!(first.pending(9).unwrap(), [], "it still keeps its share");
    assert_eq!(first.gone().unwrap(), []);
    let kept = first.keys.generation();
    first.observe(rng, &[CustodyEvent::EpochEnded(record, version, E0)]).unwrap();
    assert!(first.keys.generation() > kept);
    let generation = first.keys.generation();
    first.attest(record, Some((version, E0))).unwrap();
    first.attest(record, Some((version, E1))).unwrap();
    let word = SystemItem::Destroyed { record, of: Some((version, E0)), generation };
    assert_eq!(first.pending(9).unwrap(), [word]);
    assert_eq!(first.gone().unwrap(), [(record, Some((version, E0)))]);
    first.observe(rng, &[CustodyEvent::RecordErased(record)]).unwrap();
    first.attest(record, None).unwrap();
    assert_eq!(first.pending(9).unwrap().len(), 2, "of the epoch and of the record");
    assert_eq!(first.gone().unwrap(), [(record, None), (record, Some((version, E0)))]);
}
