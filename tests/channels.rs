//! Several channels on one network: a channel of four organisations beside that of all five, and what the fifth
//! learns of it: nothing, by what it receives, keeps and is told.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod channels {
    pub(crate) mod cluster;
    pub(crate) mod heard;
    pub(crate) mod hosts;
    pub(crate) mod told;
}
mod common;

use dmdl::local::Identity;
use dmdl_types::{
    access::PolicyDocument,
    charter::{Charter, SignedCharter},
    genesis::{ChannelConfig, Genesis, Person, Role},
    id::{ChannelName, DisplayName, OrgId, UnixMillis},
    sign::SigningKey,
};

/// The organisations; the last one takes no part in the second channel.
pub(crate) const ORGS: [&str; 5] = ["city", "university", "institute", "registry", "outsider"];
pub(crate) const OUTSIDER: usize = 4;

/// What only the second channel knows of.
pub(crate) const NAME: &str = "canary-trial";
pub(crate) const PATIENT_MEDIA: &str = "application/x-canary-record";
pub(crate) const RULE: &str = "// canary rule";
pub(crate) const STAFF: &str = "canary-staff";
const CANARIES: [&str; 4] = [NAME, PATIENT_MEDIA, RULE, STAFF];

/// Whether bytes speak of the second channel.
pub(crate) fn is_told_of_it(bytes: &[u8]) -> Option<&'static str> {
    CANARIES.into_iter().find(|canary| bytes.windows(canary.len()).any(|window| window == canary.as_bytes()))
}

/// The charter of the second channel, approved by these admins.
pub(crate) fn charter(genesis: &Genesis, people: &[&Person], admins: &[SigningKey], time: UnixMillis) -> SignedCharter {
    let outsider = OrgId::new(ORGS[OUTSIDER]).unwrap();
    let mut people: Vec<Person> = people.iter().map(|person| (*person).clone()).collect();
    people.push(Person { name: DisplayName::new(STAFF).unwrap(), ..staff().person });
    people.sort_by_key(|person| person.key);
    let channel = ChannelConfig { name: ChannelName::new(NAME).unwrap(), ..genesis.channel.clone() };
    let mut charter = SignedCharter::new(Charter {
        version: 1,
        network: genesis.id(),
        seed: [7; 32],
        time,
        members: genesis.members.iter().filter(|member| member.org != outsider).cloned().collect(),
        people,
        channel,
    });
    admins.iter().for_each(|admin| charter.approve(admin));
    charter
}

fn staff() -> Identity {
    Identity::new(ORGS[0], "staff", Role::Officer).unwrap()
}

/// The research policy, with a rule that says where it belongs.
pub(crate) fn policy() -> PolicyDocument {
    let mut policy = common::research_policy();
    policy.rules = format!("{RULE}\n{}", policy.rules);
    policy
}
