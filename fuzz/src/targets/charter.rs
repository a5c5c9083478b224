//! Charters: a channel is founded by what its organisations approved, byte for byte, and by nothing else.

use super::{
    Seeds,
    draw::Draw,
    fixtures::{Network, change, key},
};
use dmdl_types::{
    charter::{Charter, CharterError, SignedCharter},
    codec,
    genesis::{Genesis, Person, Role},
    id::UnixMillis,
    limits,
};
use std::sync::LazyLock;

/// The seeds of the admins' keys, one an organisation.
const ADMINS: std::ops::Range<u8> = 51..55;

static GENESIS: LazyLock<Genesis> = LazyLock::new(|| {
    let mut genesis = Network::new(31).genesis;
    let admins = ADMINS.zip(31_u8..).map(|(admin, member)| Person {
        key: key(admin).public(),
        org: format!("org-{member}").parse().expect("a name"),
        name: "dr-green".parse().expect("a name"),
        role: Role::Admin,
    });
    genesis.people.extend(admins);
    genesis.people.sort_by_key(|person| person.key);
    genesis.check().expect("a good genesis");
    genesis
});
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| codec::encode(&approved(charter())));

fn charter() -> Charter {
    let mut channel = GENESIS.channel.clone();
    channel.name = "trial".parse().expect("a name");
    Charter {
        version: 1,
        network: GENESIS.id(),
        seed: [7; 32],
        time: UnixMillis::new(1_795_372_250_000),
        members: GENESIS.members.clone(),
        people: Vec::new(),
        channel,
    }
}

fn approved(charter: Charter) -> SignedCharter {
    let mut signed = SignedCharter::new(charter);
    ADMINS.for_each(|admin| signed.approve(&key(admin)));
    signed
}

fn read(data: &[u8]) -> Option<SignedCharter> {
    codec::decode(data, limits::CHARTER_BYTES).ok()
}

pub(super) fn run(data: &[u8]) {
    if let Some(charter) = read(data) {
        assert_eq!(codec::encode(&charter), data, "a second encoding");
        let founded = charter.verify(&GENESIS);
        assert_eq!(
            founded.is_ok(),
            data == *GOOD,
            "a channel that nobody approved, or a good one refused: {founded:?}"
        );
        made(charter.charter);
    }
    let changed = Draw::new(data).change(&GOOD);
    let founded = read(&changed).is_some_and(|charter| charter.verify(&GENESIS).is_ok());
    assert!(!founded || changed == *GOOD, "a changed byte goes unseen");
    if let Ok(charter) = codec::decode(&change(&codec::encode(&charter())), limits::CHARTER_BYTES) {
        made(charter);
    }
}

/// Whatever all admins approve founds a channel if it keeps the rules, and the channel is what was approved.
fn made(charter: Charter) {
    let signed = approved(charter.clone());
    match (charter.check(&GENESIS), signed.verify(&GENESIS)) {
        (Ok(checked), Ok(founding)) => {
            assert_eq!(checked, founding);
            assert_eq!((&founding.members, &founding.channel), (&charter.members, &charter.channel));
            assert_eq!(founding.domain, charter.domain());
            founding.check().expect("a channel that breaks a rule");
        }
        // Somebody has approved whose organisation takes no part.
        (Ok(_), Err(CharterError::NotAdmin(_))) => {}
        (Err(broken), Err(refused)) => assert_eq!(broken, refused),
        (checked, verified) => panic!("{checked:?}, but {verified:?}"),
    }
}

pub(super) fn seeds() -> Seeds {
    let unapproved = codec::encode(&SignedCharter::new(charter()));
    vec![("approved".to_owned(), GOOD.clone()), ("unapproved".to_owned(), unapproved)]
}
