//! Somebody who registers another owner's payload again, under a policy of its own.
//!
//! The attacker is an owner with every right that an owner has, and it has seen all that is public and all that
//! passed through its gateway: the ciphertext, the registration with its commitments, and the sealed shares.

use super::{
    gateway::sealed_shares,
    world::{Known, World, stranger, until_answered},
};
use crate::common::{NODES, PATIENCE, denied, granted, open, random_bytes, register_open, research_policy};
use dmdl::{
    client::{AskGatewayError, CallError, Gateway as _, OpenError, Registered},
    local::os_rng,
    node::{Final, GatewayError, Node},
};
use dmdl_audit_ledger::{
    store::Entry,
    world::{RecordRow, VersionRow, VersionState},
};
use dmdl_types::{
    access::ReasonCode,
    context::DataContext,
    custody::{DealingKey, DealtShare, SealedBytes},
    event::{Action, Verdict},
    id::{ChannelId, NetworkId, NodeId, RecordId, RecordVersion, SubjectId},
    invocation::{Access, Authority, Invocation, Registration},
    sign::PublicKey,
    transaction::Transaction,
};
use dmdl_vault::{
    keys::{random_secret, x25519_public},
    payload::OpenError as PayloadError,
    seal::{digest, seal_to_custodian},
    share::{CheckedDealing, Dealt, Threshold, deal},
};

/// What the attacker has.
struct Loot {
    transaction: Transaction,
    registration: Registration,
    /// By custodian, in the order of the dealing.
    sealed: Vec<SealedBytes>,
}

struct Heist {
    world: World,
    record: Known,
    loot: Loot,
    /// The owner's record as it is.
    rows: (Option<RecordRow>, Option<VersionRow>),
    held: Vec<Vec<Entry>>,
}

const FIRST: RecordVersion = RecordVersion::new(1);

impl Heist {
    fn new() -> Self {
        let world = World::start();
        world.evil.seen();
        let record = world.register(random_bytes(20_000));
        let travelled = sealed_shares(&world.evil.seen());
        let transaction = world.network.run(world.node().transaction(record.registered.done.transaction));
        let transaction = transaction.unwrap().expect("it is ordered");
        let Invocation::Access(Access::Register(call)) = &transaction.body.invocation else { panic!("it registers") };
        let registration = (**call).clone();
        let of = |dealt: &DealtShare| {
            let mut seals = travelled.iter().map(|sealed| sealed.to_bytes());
            seals.find(|sealed| digest(sealed) == dealt.digest).expect("it went through the gateway")
        };
        let sealed = registration.dealing.shares.iter().map(of).collect();
        let loot = Loot { transaction, registration, sealed };
        let mut heist = Self { world, record, loot, rows: (None, None), held: Vec::new() };
        (heist.rows, heist.held) = (heist.rows(), heist.held());
        heist
    }

    fn attacker(&self) -> PublicKey {
        self.world.network.neighbour.person.key
    }

    /// What the ledger has of the owner's record.
    fn rows(&self) -> (Option<RecordRow>, Option<VersionRow>) {
        let node = self.world.node();
        let id = self.record.registered.record;
        (node.channel().record(id).unwrap(), node.channel().version(id, FIRST).unwrap())
    }

    /// What custodians hold of the owner's record.
    fn held(&self) -> Vec<Vec<Entry>> {
        (0..NODES).map(|node| self.world.network.shares(node, self.record.registered.record)).collect()
    }

    /// The id of the record that the attacker makes of these commitments.
    fn own_id(&self, commitments: &[[u8; 32]]) -> RecordId {
        let domain = self.world.genesis().domain();
        RecordId::derive(domain.network, domain.channel, self.attacker(), commitments)
    }

    /// Dealing keys for the attacker, from every custodian.
    fn keys(&self) -> Vec<DealingKey> {
        let minted = |node: &NodeId| self.world.dealing_key(*node, self.attacker());
        self.record.registered.custodians.iter().map(minted).collect()
    }

    /// The owner's registration with the attacker's own dealing keys, record id and policy.
    fn copy(&self) -> Registration {
        let mut copy = self.loot.registration.clone();
        for (share, key) in copy.dealing.shares.iter_mut().zip(self.keys()) {
            share.key = key;
        }
        copy.record = self.own_id(&copy.dealing.commitments);
        copy.policy = Some(research_policy());
        copy
    }

    fn register(&self, registration: Registration) -> Result<Final, CallError> {
        let attacker = self.world.network.at(1, &self.world.network.neighbour);
        self.world.network.run(attacker.call(Invocation::Access(Access::Register(Box::new(registration)))))
    }

    /// The code that endorsers refuse a registration with.
    fn refused(&self, registration: Registration) -> String {
        let error = self.register(registration).expect_err("it is not taken in");
        error.problem().unwrap_or_else(|| panic!("{error:?}")).code.to_string()
    }

    /// What each custodian says to its share of the attacker's record.
    fn deliver(&self, record: RecordId, version: RecordVersion, shares: &[SealedBytes]) -> Vec<Result<(), String>> {
        let node = self.world.node();
        let custodians = self.record.registered.custodians.iter();
        let asks = custodians.zip(shares).map(|(custodian, sealed)| {
            let keep = async || Node::deliver(&node, *custodian, record, version, sealed.clone()).await;
            self.world.network.run(until_answered(keep)).map_err(|error| match error {
                GatewayError::NodeRefused { refused, .. } => refused.code,
                error => panic!("the custodian answers: {error}"),
            })
        });
        asks.collect()
    }

    /// A registration that the ledger took in, but no custodian: nothing is ever released for it.
    fn comes_to_nothing(&self, name: &str, copy: Registration, shares: &[SealedBytes]) {
        let (record, version, payload) = (copy.record, copy.version, copy.payload.clone());
        let done = self.register(copy).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(done.event.outcome.verdict, Verdict::Applied, "{name}");
        let said = self.deliver(record, version, shares);
        assert!(said.iter().all(|said| *said == Err("bad_share".to_owned())), "{name}: {said:?}");
        let state = || self.world.node().channel().version(record, version).unwrap().unwrap().state;
        self.world.network.eventually("the complaints are judged", |_| state() == VersionState::Failed);
        let custodians = self.record.registered.custodians.clone();
        let own = Registered { record, version, done, payload, custodians, absent: Vec::new(), threshold: 2 };
        let network = &self.world.network;
        let attacker = network.at(0, &network.neighbour);
        let code = network.run(denied(network, &attacker, &own, Authority::Owner));
        assert_eq!(code, ReasonCode::RecordPending, "{name}");
        let acknowledged = network.events(0, record, Action::Acknowledge);
        assert!(acknowledged.iter().all(|event| event.version != Some(version)), "{name}");
    }

    /// A registration of the attacker's that is whole: its own shares, on somebody else's ciphertext.
    fn opens_nothing(&self, name: &str, dealt: &Dealt, copy: Registration, expected: fn(&PayloadError) -> bool) {
        let (copy, shares) = self.seal(dealt, copy);
        let (record, version, payload) = (copy.record, copy.version, copy.payload.clone());
        let done = self.register(copy).unwrap_or_else(|error| panic!("{name}: {error}"));
        let said = self.deliver(record, version, &shares);
        assert!(said.iter().all(Result::is_ok), "{name}: {said:?}");
        let custodians = self.record.registered.custodians.clone();
        let own = Registered { record, version, done, payload, custodians, absent: Vec::new(), threshold: 2 };
        self.world.network.run(async {
            let network = &self.world.network;
            let attacker = network.at(0, &network.neighbour);
            assert!(attacker.wait_active(record, version, PATIENCE).await.unwrap(), "{name}");
            // Its own ALLOW, on its own record; and a friend's, under its own policy.
            let opening = attacker.decrypt(own.record, own.version, Authority::Owner).await.unwrap();
            let friend = network.at(0, &network.colleague);
            let grant = granted(&friend, own.record, 1).await;
            let befriended = friend.decrypt(own.record, own.version, Authority::Grant(grant)).await.unwrap();
            for (person, opening) in [(&attacker, opening), (&friend, befriended)] {
                let mut out = Vec::new();
                let error = person.open(&opening, &mut out).await.expect_err(name);
                let OpenError::Payload(error) = &error else { panic!("{name}: {error:?}") };
                assert!(expected(error), "{name}: {error:?}");
                assert!(out.is_empty(), "{name}: not a byte came out");
            }
        });
    }

    /// Seals the attacker's own shares to the custodians, and names them in the copy.
    fn seal(&self, dealt: &Dealt, mut copy: Registration) -> (Registration, Vec<SealedBytes>) {
        let domain = self.world.genesis().domain();
        let data = DataContext {
            network: domain.network,
            channel: domain.channel,
            record: copy.record,
            version: copy.version,
        };
        let checked = CheckedDealing::of_dealing(&copy.dealing, data).unwrap();
        let mut shares = Vec::new();
        for (entry, share) in copy.dealing.shares.iter_mut().zip(dealt.shares()) {
            let context = checked.context(entry.key.custodian, share.index());
            let sealed = seal_to_custodian(&mut os_rng(), share, &context, &entry.key.key).unwrap().to_bytes();
            entry.digest = digest(&sealed);
            shares.push(sealed);
        }
        (copy, shares)
    }

    fn deal(&self) -> Dealt {
        let n = u8::try_from(self.record.registered.custodians.len()).unwrap();
        deal(&mut os_rng(), Threshold::new(2, n).unwrap()).unwrap()
    }
}

impl Drop for Heist {
    /// Whatever was tried, the owner's record is as it was.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(self.rows(), self.rows, "the ledger has the record as it was");
        assert_eq!(self.held(), self.held, "the custodians hold the shares that they held");
        assert!(self.held.iter().all(|rows| !rows.is_empty()));
        self.world.network.run(async {
            let owner = self.world.network.at(0, &self.world.network.owner);
            let opened = open(&owner, &self.record.registered, Authority::Owner).await;
            assert_eq!(opened, self.record.plaintext, "the owner opens it");
        });
    }
}

#[test]
fn a_copied_registration_is_refused_or_comes_to_nothing() {
    let heist = Heist::new();
    let original = || heist.loot.registration.clone();
    let domain = heist.world.genesis().domain();

    // 1 to 6. What no endorser lets through.
    assert_eq!(heist.refused(original()), "bad_dealing", "as it is: the dealing keys are for the owner");
    let mut copy = original();
    copy.record = heist.own_id(&copy.dealing.commitments);
    assert_eq!(heist.refused(copy), "bad_dealing", "with an id of its own");
    let mut copy = heist.copy();
    copy.record = original().record;
    assert_eq!(heist.refused(copy), "bad_argument", "with its own dealing keys, and the owner's record id");
    let mut copy = heist.copy();
    (copy.record, copy.version) = (original().record, RecordVersion::new(2));
    assert_eq!(heist.refused(copy), "role", "as the second version of the owner's record");
    let own = random_secret(&mut os_rng());
    let forged = DealingKey::sign(&stranger(5), &domain, heist.attacker(), x25519_public(&own));
    let mut copy = heist.copy();
    for share in &mut copy.dealing.shares {
        share.key = DealingKey { custodian: share.key.custodian, ..forged };
    }
    assert_eq!(heist.refused(copy), "bad_dealing", "with dealing keys that no custodian signed");
    let mut copy = heist.copy();
    let real = original();
    for (share, real) in copy.dealing.shares.iter_mut().zip(&real.dealing.shares) {
        share.key.key = real.key.key;
    }
    assert_eq!(heist.refused(copy), "bad_dealing", "with the owner's one-time keys under its own signatures");

    // 7, 8. What is ordered, and what custodians then say to the shares that they are sent.
    heist.comes_to_nothing("the same commitments under its own key", heist.copy(), &heist.loot.sealed);
    let mut copy = heist.copy();
    copy.metadata.subject = Some(SubjectId::new([4; 32]));
    assert_eq!(heist.refused(copy), "id_reuse", "once more, of another patient");

    // 9 to 11. As further versions of a record that it owns.
    let network = &heist.world.network;
    let first = network.run(async {
        let first = register_open(&network.at(0, &network.neighbour), b"its own").await;
        network.all_catch_up(0).await;
        first
    });
    let further = |version: u32| {
        let mut copy = heist.copy();
        (copy.record, copy.version) = (first.record, RecordVersion::new(version));
        copy
    };
    let mut copy = further(2);
    copy.metadata.subject = Some(SubjectId::new([4; 32]));
    copy.metadata.listed = false;
    heist.comes_to_nothing("as the second version of its own record", copy, &heist.loot.sealed);
    let (copy, shares) = heist.seal(&heist.deal(), further(3));
    heist.comes_to_nothing("the same commitments, and shares of its own", copy, &shares);
    let wrapped: Vec<SealedBytes> = heist
        .loot
        .sealed
        .iter()
        .map(|sealed| SealedBytes([&sealed.0[..1], &random_bytes(32), &sealed.0[33..]].concat()))
        .collect();
    let mut copy = further(4);
    for (share, sealed) in copy.dealing.shares.iter_mut().zip(&wrapped) {
        share.digest = digest(sealed);
    }
    heist.comes_to_nothing("the sealed shares under another encapsulated key", copy, &wrapped);
    network.run(async {
        let attacker = network.at(0, &network.neighbour);
        assert_eq!(open(&attacker, &first, Authority::Owner).await, b"its own", "which harms that record no more");
    });
}

#[test]
fn a_copied_payload_under_a_dealing_of_ones_own_does_not_open() {
    let heist = Heist::new();
    let (one, two) = (heist.deal(), heist.deal());
    let under = |dealt: &Dealt| {
        let mut copy = heist.copy();
        copy.dealing.commitments = dealt.commitments().as_bytes().to_vec();
        copy.record = heist.own_id(&copy.dealing.commitments);
        copy
    };
    // 12. The owner's ciphertext, with the attacker's key.
    heist.opens_nothing("the same payload", &one, under(&one), |error| matches!(error, PayloadError::WrongKey));
    // 13. And with another commitment to that key on the ledger than the ciphertext has.
    let mut copy = under(&two);
    copy.payload.key_commitment = [7; 32];
    heist.opens_nothing("with another key commitment", &two, copy, |error| {
        matches!(error, PayloadError::AlteredHeader | PayloadError::WrongKey)
    });
}

#[test]
fn the_owners_own_messages_sent_again_by_another_change_nothing() {
    let heist = Heist::new();
    let network = &heist.world.network;
    let (id, custodians) = (heist.record.registered.record, heist.record.registered.custodians.clone());
    let node = heist.world.node();

    // 14. The owner's signed transaction, again: it is what it was, once.
    let size = network.events(0, id, Action::Register).len();
    let again = network.run(Node::submit(&node, heist.loot.transaction.clone(), PATIENCE)).unwrap();
    assert_eq!(again, heist.record.registered.done);
    assert_eq!(network.events(0, id, Action::Register).len(), size);
    // 15. On another network or channel, or with another author, its signature is none.
    let changes: [fn(&mut Transaction); 3] = [
        |t| t.body.domain.network = NetworkId::new([1; 32]),
        |t| t.body.domain.channel = ChannelId::new([1; 32]),
        |t| t.body.authors = vec![stranger(6).public()],
    ];
    for change in changes {
        let mut changed = heist.loot.transaction.clone();
        change(&mut changed);
        let error = network.run(Node::submit(&node, changed, PATIENCE)).expect_err("it is none");
        let GatewayError::Refused(refused) = &error else { panic!("{error:?}") };
        assert_eq!(refused.code, "tx_invalid");
    }

    // 16. The sealed shares, again: at a gateway only their dealer may, and at a node nothing comes of it.
    let attacker = heist.world.victim(&network.neighbour, 1);
    let sealed = heist.loot.sealed[0].clone();
    let refused =
        network.run(attacker.gateway().deliver(custodians[0], id, FIRST, sealed)).expect_err("not its record");
    let AskGatewayError::Problem(problem) = &refused else { panic!("{refused:?}") };
    assert_eq!((problem.status, problem.code.as_ref()), (403, "role"));
    assert!(heist.deliver(id, FIRST, &heist.loot.sealed).iter().all(Result::is_ok), "it says what it said");
    let mut turned = heist.loot.sealed.clone();
    turned.rotate_left(1);
    let said = heist.deliver(id, FIRST, &turned);
    assert!(said.iter().all(|said| *said == Err("altered".to_owned())), "{said:?}");

    // 17. Nor can the attacker change who may open the record, or whose it is, or share it anew.
    let calls = [Access::SetPolicy { record: id, policy: research_policy() }, Access::Erase { record: id }];
    for call in calls {
        let attacker = network.at(1, &network.neighbour);
        let error = network.run(attacker.call(Invocation::Access(call))).expect_err("not its record");
        assert_eq!(error.problem().map(|problem| problem.code.to_string()), Some("role".to_owned()), "{error}");
    }
    let call = Invocation::Medical(dmdl_types::invocation::Medical::Transfer { record: id, to: heist.attacker() });
    let error = network.run(network.at(1, &network.neighbour).call(call)).expect_err("not its record");
    assert_eq!(error.problem().map(|problem| problem.code.to_string()), Some("role".to_owned()), "{error}");
    let owner =
        network.run(denied(network, &network.at(1, &network.neighbour), &heist.record.registered, Authority::Owner));
    assert_eq!(owner, ReasonCode::Role, "it does not own the record");
}
