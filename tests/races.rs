//! Races between people at different gateways: the ledger's order decides each of them, and nothing
//! else does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{
    NODES, Person, THRESHOLD, TestNetwork, denial, done, granted, plaintext, register, register_among_all,
    register_open, research_policy, terms,
};
use dmdl::{
    client::{OpenError, Opening, Prepared, Registered},
    node::{Final, GatewayError, Refused},
};
use dmdl_types::{
    access::{DuoCode, ReasonCode},
    event::{Action, Event, Verdict},
    id::{GrantId, Height, NodeId, TransactionId, UseNumber},
    invocation::{Access, Authority, Invocation},
    transaction::TransactionBody,
};
use futures::future::join_all;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Races of a revocation against an opening, unless a campaign asks for another number with `DMDL_RACES`, and how many run
/// at a time.
const TRIALS: usize = 200;
const BATCH: usize = 25;
/// Each order must come about at least once in so many.
const OF_EACH: usize = 20;

/// What a custodian says that is behind the ledger.
const BEHIND: [&str; 2] = ["not_final", "stale_view"];
/// A custodian that is late, or behind, takes at least as long: it waits for its own node's ledger.
const LATE: Duration = Duration::from_secs(1);

/// One race, as the people in it saw it.
struct Race {
    grant: GrantId,
    decryption: TransactionId,
    ordered: Result<Opening, OpenError>,
    ordered_in: Duration,
    /// What custodians said to the opening while the revocation was on its way.
    answers: Vec<Answer>,
    opened: Option<Opened>,
    revocation: Final,
    /// Ordered after the revocation was final.
    late: TransactionId,
}

/// What a custodian said, between two looks at its tip.
struct Answer {
    custodian: NodeId,
    before: Height,
    after: Height,
    said: Result<(), Refused>,
}

/// What came of an opening, how long it took, and the tips of all nodes after it.
struct Opened {
    result: Result<Vec<u8>, OpenError>,
    took: Duration,
    tips: Vec<Height>,
}

/// Asks one custodian at its own node.
async fn ask(network: &TestNetwork, position: usize, decryption: TransactionId) -> Answer {
    let node = network.node(position).node();
    let before = network.tip(position).height;
    let said = match node.release(node.id(), decryption).await {
        Ok(_) => Ok(()),
        Err(GatewayError::NodeRefused { refused, .. }) => Err(refused),
        Err(error) => panic!("a custodian says why it refuses: {error}"),
    };
    Answer { custodian: node.id(), before, after: network.tip(position).height, said }
}

impl Race {
    /// Runs race `number`: the revocation begins `delay` after the decryption, or before it.
    async fn run(network: &TestNetwork, registered: &Registered, number: usize, delay: f64) -> Self {
        let owner = network.at(number % NODES, &network.owner);
        let gateway = (number + 1 + number / NODES % (NODES - 1)) % NODES;
        let researcher = network.at(gateway, &network.researcher);
        let (record, version) = (registered.record, registered.version);
        let grant = granted(&researcher, record, 3).await;
        // Every gateway knows of the grant: what is raced for is its end.
        network.all_catch_up(gateway).await;
        let authority = Authority::Grant(grant);
        let prepared = researcher.prepare(record, version, authority).await.unwrap();
        let wait = |seconds: f64| tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0)));
        let open = async {
            wait(-delay).await;
            let begun = Instant::now();
            let ordered = researcher.order(&prepared).await;
            let ordered_in = begun.elapsed();
            let Ok(opening) = &ordered else { return (ordered, ordered_in, Vec::new(), None) };
            let asks = (0..NODES).map(|position| ask(network, position, opening.done.transaction));
            let gather = async {
                let begun = Instant::now();
                (plaintext(&researcher, opening).await, begun.elapsed())
            };
            let ((result, took), answers) = futures::join!(gather, join_all(asks));
            let tips = (0..NODES).map(|position| network.tip(position).height).collect();
            (ordered, ordered_in, answers, Some(Opened { result, took, tips }))
        };
        let revoke = async {
            wait(delay).await;
            done(owner.revoke(grant).await.unwrap())
        };
        let ((ordered, ordered_in, answers, opened), revocation) = futures::join!(open, revoke);
        let elsewhere = network.at((number + 2) % NODES, &network.researcher);
        let late = elsewhere.prepare(record, version, authority).await.unwrap();
        let denied = elsewhere.order(&late).await.expect_err("a revoked grant allows nothing");
        assert!(matches!(denied, OpenError::Denied(_)), "{denied}");
        Self { grant, decryption: prepared.id(), ordered, ordered_in, answers, opened, revocation, late: late.id() }
    }

    /// Whether the decryption was ordered before the revocation; what people were told must follow.
    fn check(&self, ledger: &Ledger, bytes: &[u8]) -> bool {
        let (decrypted, decryption) = ledger.event(self.decryption);
        let (revoked, revocation) = ledger.event(self.revocation.transaction);
        let (late, after) = ledger.event(self.late);
        assert_eq!((revoked, revocation), (self.revocation.position, &self.revocation.event));
        assert!(late > revoked);
        assert_eq!(denial(&after.outcome), ReasonCode::GrantRevoked);
        if decrypted > revoked {
            assert_eq!(denial(&decryption.outcome), ReasonCode::GrantRevoked);
            let Err(OpenError::Denied(reasons)) = &self.ordered else { panic!("{:?}", self.ordered) };
            assert!(reasons.contains("grant_revoked"), "{reasons}");
            return false;
        }
        assert_eq!(decryption.outcome.verdict, Verdict::Allow);
        assert_eq!(decryption.outcome.use_number, Some(UseNumber::new(1)));
        let opening = self.ordered.as_ref().expect("what is ordered before the revocation is allowed");
        assert_eq!((opening.done.position, &opening.done.event), (decrypted, decryption));
        self.answers.iter().for_each(|answer| answer.check(revocation.height, self.grant));
        let opened = self.opened.as_ref().expect("it was tried");
        match &opened.result {
            Ok(opened) => assert!(opened == bytes, "a record opened to other bytes"),
            Err(OpenError::TooFewShares { got, needed, missing, .. }) => {
                assert_eq!((*needed, *got < THRESHOLD), (THRESHOLD, true));
                assert!(missing.len() > NODES - THRESHOLD);
                for (answer, tip) in self.answers.iter().zip(&opened.tips) {
                    if missing.contains(&answer.custodian) {
                        answer.check_missing(*tip >= revocation.height, opened.took);
                    }
                }
            }
            Err(error) => panic!("{error}"),
        }
        true
    }
}

impl Answer {
    /// Whoever had executed the revocation refused, and for that; whoever had not did not say so.
    fn check(&self, revoked: Height, grant: GrantId) {
        match &self.said {
            Ok(()) => assert!(self.before < revoked, "a share left after the revocation was executed there"),
            Err(refused) if self.before >= revoked => assert_revoked(refused, grant),
            Err(refused) if self.after < revoked => assert_ne!(refused.code, "denied", "{refused}"),
            Err(_) => {}
        }
    }

    /// Whose share did not come refused because it knows of the revocation, or was late or behind.
    ///
    /// The opening asked it beside this: who released here, and knows of nothing, can only have been late there.
    fn check_missing(&self, knows: bool, took: Duration) {
        match &self.said {
            Ok(()) => assert!(knows || took >= LATE, "a share was withheld without a revocation, after {took:?}"),
            Err(refused) if refused.code == "denied" => assert!(knows, "it denies what it knows no revocation of"),
            Err(refused) => assert!(BEHIND.contains(&refused.code.as_str()), "{refused}"),
        }
    }
}

fn assert_revoked(refused: &Refused, grant: GrantId) {
    assert_eq!(refused.code, "denied", "{refused}");
    assert_eq!(refused.detail, format!("grant `{grant}` is revoked"));
}

/// A ledger's own order.
struct Ledger(BTreeMap<TransactionId, (u64, Event)>);

impl Ledger {
    fn of(network: &TestNetwork, position: usize) -> Self {
        let events = network.node(position).node().events(0, usize::MAX).unwrap();
        let people = events.into_iter().filter(|(_, event)| event.item == 0);
        Self(people.map(|(at, event)| (event.transaction, (at, event))).collect())
    }

    fn event(&self, transaction: TransactionId) -> (u64, &Event) {
        let (position, event) = &self.0[&transaction];
        (*position, event)
    }

    /// INVARIANT: in the whole log, no decryption is allowed under a grant that was revoked before.
    fn assert_nothing_after_a_revocation(&self, trials: usize) {
        let revoked: BTreeMap<GrantId, u64> = (self.0.values())
            .filter(|(_, event)| event.action == Action::RevokeGrant && event.outcome.verdict == Verdict::Applied)
            .map(|(at, event)| (event.outcome.grant.expect("a revocation names its grant"), *at))
            .collect();
        assert!(revoked.len() >= trials);
        for (at, event) in self.0.values() {
            let allowed = event.action == Action::Decrypt && event.outcome.verdict == Verdict::Allow;
            if let Some(revoked) = event.outcome.grant.filter(|_| allowed).and_then(|grant| revoked.get(&grant)) {
                assert!(at < revoked, "decryption {} was allowed after the revocation", event.transaction);
            }
        }
    }
}

#[test]
fn the_ledgers_order_decides_between_an_opening_and_a_revocation() {
    let trials = std::env::var("DMDL_RACES").map_or(TRIALS, |trials| trials.parse().expect("a number"));
    let network = TestNetwork::start();
    let bytes = common::random_bytes(20_000);
    let (registered, warm) = network.run(async {
        let owner = network.at(0, &network.owner);
        let registered = register_among_all(&network, &owner, &bytes, Some(research_policy())).await;
        // How long an order takes here, so that delays are of its size on any machine.
        let warm = Race::run(&network, &registered, 0, 1.0).await;
        (registered, warm.ordered_in)
    });
    let (mut races, mut latency) = (Vec::new(), warm);
    for first in (0..trials).step_by(BATCH) {
        // From a revocation that is well ahead to one that comes while shares are gathered.
        let step = |number: usize| (number % BATCH) as f64 / BATCH as f64 * 2.5 - 0.75;
        let batch = (first..trials.min(first + BATCH))
            .map(|number| Race::run(&network, &registered, number, step(number) * latency.as_secs_f64()));
        let batch = network.run(join_all(batch));
        let mut took: Vec<Duration> = batch.iter().map(|race| race.ordered_in).collect();
        took.sort();
        latency = took[took.len() / 2];
        races.extend(batch);
    }
    network.assert_same_ledgers();
    let ledger = Ledger::of(&network, 0);
    let allowed = races.iter().filter(|race| race.check(&ledger, &bytes)).count();
    ledger.assert_nothing_after_a_revocation(trials);
    // By now every custodian knows of every revocation.
    network.run(async {
        for race in races.iter().filter(|race| race.ordered.is_ok()) {
            for position in 0..NODES {
                let refused = ask(&network, position, race.decryption).await.said;
                assert_revoked(&refused.expect_err("no share leaves any more"), race.grant);
            }
        }
    });
    let opened = |race: &&Race| race.opened.as_ref().is_some_and(|opened| opened.result.is_ok());
    let refusals: usize = races.iter().map(|race| race.answers.iter().filter(|a| a.said.is_err()).count()).sum();
    eprintln!(
        "{trials} races: {allowed} allowed, {} denied; {} opened, {refusals} shares refused meanwhile",
        trials - allowed,
        races.iter().filter(opened).count()
    );
    let rarer = allowed.min(trials - allowed);
    assert!(rarer * OF_EACH >= trials, "both orders come about: {allowed} of {trials} allowed");
}

/// One signed call, handed to every gateway.
const CALLS: usize = 40;

#[test]
fn one_signed_call_at_every_gateway_is_one_call_and_all_say_the_same_of_it() {
    let network = TestNetwork::start();
    network.run(async {
        let registered = register(&network.at(0, &network.owner), b"by review", None).await;
        network.all_catch_up(0).await;
        let mut latency = Duration::from_millis(100);
        for call in 0..CALLS {
            let researcher = network.at(2, &network.researcher);
            let asked = researcher.request(registered.record, terms(DuoCode::Hmb, 1), "study").await.unwrap();
            assert_eq!(asked.event.outcome.verdict, Verdict::Pending);
            let body = TransactionBody {
                domain: network.nodes.genesis().domain(),
                authors: vec![network.committee.person.key],
                nonce: common::random_bytes(16).try_into().unwrap(),
                expires: Height::new(asked.event.height.get() + 100),
                invocation: Invocation::Access(Access::Approve { request: asked.transaction }),
            };
            let signed = body.sign(&[&network.committee.key]);
            // The later ones hear of it while it is ordered, or when it is executed already.
            let begun = Instant::now();
            let submits = (0..NODES).map(|position| {
                let (node, signed) = (network.node((call + position) % NODES).node(), signed.clone());
                let delay = latency.mul_f64(position as f64 * (call % 10) as f64 / 20.0);
                async move {
                    tokio::time::sleep(delay).await;
                    let done = node.submit(signed, common::PATIENCE).await;
                    (done.unwrap_or_else(|error| panic!("call {call}, gateway {position}: {error}")), begun.elapsed())
                }
            });
            let answers = join_all(submits).await;
            let (first, took) = &answers[0];
            assert_eq!(first.event.outcome.verdict, Verdict::Applied);
            assert!(answers.iter().all(|(done, _)| done == first), "two gateways, two outcomes: {answers:?}");
            latency = *took;
        }
    });
    network.assert_same_ledgers();
}

/// Uses of a grant, and people who want one at the same time.
const USES: u32 = 5;
const CLIENTS: usize = 32;
const ROUNDS: usize = 4;

/// The same signed decryption at two gateways at once: both say the same of it.
async fn order_twice(here: &Person, there: &Person, prepared: &Prepared) -> Result<Opening, OpenError> {
    let (first, second) = futures::join!(here.order(prepared), there.order(prepared));
    match (&first, &second) {
        (Ok(first), Ok(second)) => assert_eq!(first.done, second.done, "two gateways, two outcomes"),
        (Err(OpenError::Denied(first)), Err(OpenError::Denied(second))) => assert_eq!(first, second),
        (first, second) => panic!("two gateways, two outcomes: {first:?}, {second:?}"),
    }
    first
}

#[test]
fn of_thirty_two_at_once_as_many_are_allowed_as_the_grant_has_uses() {
    let network = TestNetwork::start();
    network.run(async {
        let bytes = common::random_bytes(1_000);
        let registered = register_open(&network.at(0, &network.owner), &bytes).await;
        let people: Vec<_> = (0..CLIENTS).map(|n| network.at(n % NODES, &network.researcher)).collect();
        for round in 0..ROUNDS {
            // Somebody at another gateway.
            let another = |number: usize| (number + 1 + round % (NODES - 1)) % CLIENTS;
            let grant = granted(&people[round], registered.record, USES).await;
            // Whoever is at another gateway finds the record and the grant there.
            network.all_catch_up(round % NODES).await;
            let authority = Authority::Grant(grant);
            let prepare = |person| Person::prepare(person, registered.record, registered.version, authority);
            let prepared: Vec<_> = join_all(people.iter().map(prepare)).await;
            let prepared: Vec<Prepared> = prepared.into_iter().map(Result::unwrap).collect();
            let orders = prepared.iter().enumerate().map(|(number, prepared)| {
                // Half of them try another gateway as well, as who waits for an answer does.
                let (here, there) = (&people[number], &people[another(number)]);
                async move {
                    if number % 2 == 0 { order_twice(here, there, prepared).await } else { here.order(prepared).await }
                }
            });
            let (mut openings, mut denials) = (Vec::new(), 0);
            for (number, result) in join_all(orders).await.into_iter().enumerate() {
                match result {
                    Ok(opening) => openings.push((number, opening)),
                    Err(OpenError::Denied(reasons)) if reasons.starts_with("grant_used_up") => denials += 1,
                    Err(error) => panic!("client {number}: {error}"),
                }
            }
            assert_eq!((openings.len(), denials), (USES as usize, CLIENTS - USES as usize));
            let mut uses: Vec<_> = openings.iter().map(|(_, o)| o.done.event.outcome.use_number.unwrap()).collect();
            uses.sort();
            assert_eq!(uses, (1..=USES).map(UseNumber::new).collect::<Vec<_>>());

            // One of the five goes on elsewhere, with what it kept of its decryption.
            let (number, opening) = &openings[round % USES as usize];
            let (transaction, seed) = prepared[*number].parts();
            let seed = seed.expose(|seed| dmdl_types::secret::Secret32::new(*seed));
            let kept = Prepared::restore(transaction.clone(), seed).expect("it is a decryption");
            let elsewhere = &people[another(*number)];
            let resumed = elsewhere.order(&kept).await.unwrap();
            assert_eq!(resumed.done, opening.done, "the same decryption, resumed, is the same use");
            assert!(plaintext(elsewhere, &resumed).await.unwrap() == bytes);
            assert!(plaintext(&people[*number], opening).await.unwrap() == bytes);

            network.assert_same_ledgers();
            let ledger = Ledger::of(&network, round % NODES);
            for prepared in &prepared {
                let (_, event) = ledger.event(prepared.id());
                if event.outcome.verdict != Verdict::Allow {
                    assert_eq!(denial(&event.outcome), ReasonCode::GrantUsedUp);
                }
            }
            for position in 0..NODES {
                assert_eq!(network.uses(position, grant), USES, "at node {position}");
            }
        }
    });
}
