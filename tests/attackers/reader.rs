//! Readers who want what was released to somebody else.

use super::world::{Known, World};
use crate::common::{NODES, denied, granted, random_bytes};
use dmdl::client::{AskGatewayError, CallError, Gateway as _, Prepared};
use dmdl_types::{
    access::ReasonCode,
    codec,
    context::ReleaseContext,
    event::Verdict,
    id::{ShareEpoch, ShareIndex, TransactionId},
    invocation::{Access, Authority, Invocation, OpeningKey},
    secret::Secret32,
    sign::PublicKey,
};
use dmdl_vault::{
    keys::{opening_secret, random_secret, x25519_public},
    seal::{OpenError, ReleasedShare, open_released},
    share::{CheckedDealing, combine},
};

/// An allowed decryption of the researcher, with the secret that only the researcher has.
struct Allowed {
    prepared: Prepared,
    keys: Vec<OpeningKey>,
    seed: Secret32,
}

impl Allowed {
    fn id(&self) -> TransactionId {
        self.prepared.id()
    }

    fn nonce(&self) -> [u8; 16] {
        self.prepared.parts().0.body.nonce
    }
}

fn allow(world: &World, record: &Known) -> Allowed {
    world.network.run(async {
        let researcher = world.network.at(2, &world.network.researcher);
        let grant = granted(&researcher, record.registered.record, 1).await;
        let of = &record.registered;
        let prepared = researcher.prepare(of.record, of.version, Authority::Grant(grant)).await.unwrap();
        researcher.order(&prepared).await.unwrap();
        world.network.all_catch_up(2).await;
        let (transaction, seed) = prepared.parts();
        let Invocation::Access(Access::Decrypt { keys, .. }) = &transaction.body.invocation else { panic!() };
        let (keys, seed) = (keys.clone(), seed.expose(|bytes| Secret32::new(*bytes)));
        Allowed { prepared, keys, seed }
    })
}

/// The public dealing of a record.
fn dealing(world: &World, record: &Known) -> CheckedDealing {
    let dealt = super::world::dealt(record.seed, record.registered.custodians.len());
    CheckedDealing::new(dealt.commitments().clone(), world.data(&record.registered), ShareEpoch::new(0))
}

fn scene() -> (World, Known) {
    let world = World::start();
    let record = world.register(random_bytes(3_000));
    (world, record)
}

#[test]
fn a_release_is_shown_to_the_requester_of_its_decryption_alone() {
    let (world, record) = scene();
    let allowed = allow(&world, &record);
    let custodian = record.registered.custodians[0];
    let network = &world.network;
    for (name, identity) in [
        ("another researcher of the same organisation", &network.colleague),
        ("the owner of the record", &network.owner),
        ("the committee of the owner", &network.committee),
        ("another owner", &network.neighbour),
    ] {
        let other = world.victim(identity, 1);
        let refused = network.run(other.gateway().release(custodian, allowed.id())).expect_err(name);
        let AskGatewayError::Problem(problem) = &refused else { panic!("{name}: {refused:?}") };
        assert_eq!((problem.status, problem.code.as_ref()), (403, "reader_mismatch"), "{name}");
    }
    let researcher = world.victim(&network.researcher, 2);
    assert!(!network.run(researcher.gateway().release(custodian, allowed.id())).unwrap().is_empty());
}

#[test]
fn a_share_that_reaches_another_reader_does_not_open() {
    let (world, record) = scene();
    let allowed = allow(&world, &record);
    let dealing = dealing(&world, &record);
    let reader = world.network.researcher.person.key;
    let colleague = world.network.colleague.person.key;
    let own = random_secret(&mut dmdl::local::os_rng());
    let mut shares = Vec::new();
    for (custodian, index) in record.registered.custodians.iter().zip(1..) {
        // A node passes on what a custodian sends, so whoever runs one has it.
        let bytes = world.released(*custodian, allowed.id());
        let released: ReleasedShare = codec::decode(&bytes, 1024).unwrap();
        let key = allowed.keys.iter().find(|key| key.custodian == *custodian).unwrap().key;
        let context = |requester: PublicKey, opening_key: [u8; 32], transaction| ReleaseContext {
            share: dealing.context(*custodian, ShareIndex::new(index)),
            transaction,
            requester,
            opening_key,
        };
        let real = context(reader, key, allowed.id());
        let secret = opening_secret(&allowed.seed, &allowed.nonce(), *custodian);
        let next = record.registered.custodians[usize::from(index) % NODES];
        let rows = [
            ("under the colleague's own secret", real, &own, OpenError::NotOpened),
            (
                "under the secret for another custodian",
                real,
                &opening_secret(&allowed.seed, &allowed.nonce(), next),
                OpenError::NotOpened,
            ),
            (
                "under the secret for another decryption",
                real,
                &opening_secret(&allowed.seed, &[0; 16], *custodian),
                OpenError::NotOpened,
            ),
            ("as the colleague's", context(colleague, key, allowed.id()), &secret, OpenError::NotSigned),
            ("for the colleague's key", context(reader, x25519_public(&own), allowed.id()), &own, OpenError::NotSigned),
            (
                "for another decryption",
                context(reader, key, TransactionId::new([1; 32])),
                &secret,
                OpenError::NotSigned,
            ),
        ];
        for (name, context, secret, expected) in rows {
            assert_eq!(open_released(&released, &context, secret).err(), Some(expected), "{name}");
        }
        shares.push(dealing.verify(open_released(&released, &real, &secret).unwrap()).unwrap());
    }
    // In the reader's hands they are what they should be.
    let key = combine(&dealing, &shares[..2]).unwrap();
    assert_eq!(record.secrets.find(&key.expose(|bytes| bytes.to_vec())), Some("the data key"));
}

#[test]
fn who_lists_anothers_one_time_keys_gets_shares_that_only_the_other_could_open() {
    let (world, record) = scene();
    let allowed = allow(&world, &record);
    let dealing = dealing(&world, &record);
    let (id, version) = (record.registered.record, record.registered.version);
    let custodian = record.registered.custodians[0];
    let (copied, refused) = world.network.run(async {
        let colleague = world.network.at(2, &world.network.colleague);
        let grant = granted(&colleague, id, 1).await;
        let authority = Authority::Grant(grant);
        let call = Access::Decrypt { record: id, version, authority, keys: allowed.keys.clone() };
        let copied = colleague.call(Invocation::Access(call)).await.unwrap();
        // Nor can a key of one's own be put under somebody else's decryption.
        let key = OpeningKey { custodian, key: x25519_public(&random_secret(&mut dmdl::local::os_rng())) };
        let call = Access::Rekey { decryption: allowed.id(), keys: vec![key] };
        (copied, colleague.call(Invocation::Access(call)).await)
    });
    assert_eq!(copied.event.outcome.verdict, Verdict::Allow, "a key is a key");
    let refused = refused.expect_err("it is not the colleague's decryption");
    let code = |error: &CallError| error.problem().map(|problem| problem.code.to_string());
    assert_eq!(code(&refused), Some("unknown_decryption".to_owned()), "{refused}");

    let released: ReleasedShare = codec::decode(&world.released(custodian, copied.transaction), 1024).unwrap();
    let context = ReleaseContext {
        share: dealing.context(custodian, ShareIndex::new(1)),
        transaction: copied.transaction,
        requester: world.network.colleague.person.key,
        opening_key: allowed.keys.iter().find(|key| key.custodian == custodian).unwrap().key,
    };
    for number in 0..8 {
        let secret = Secret32::new([number; 32]);
        assert_eq!(open_released(&released, &context, &secret).err(), Some(OpenError::NotOpened));
    }
    // And a second decryption with the same grant is a second use, which there is none of.
    let again = world.network.run(async {
        let colleague = world.network.at(2, &world.network.colleague);
        let grant = copied.event.outcome.grant.unwrap();
        denied(&world.network, &colleague, &record.registered, Authority::Grant(grant)).await
    });
    assert_eq!(again, ReasonCode::GrantUsedUp);
}
