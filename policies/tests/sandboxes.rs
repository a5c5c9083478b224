//! Runs the cases in `sandboxes/`, which data stewards can read and add to.
//!
//! A case is a folder with `README.md`, `policy.cedar` and `requests.json`. To see what a policy of
//! your own would decide, copy a folder and run `cargo test -p dmdl-policies --test sandboxes`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a sandbox that can't be read fails its test")]

use dmdl_policies::{Action, Facts, GrantFacts, ParsedPolicy, Request, decide};
use dmdl_types::{
    access::{Decision, DuoCode, MondoId, Permission, PolicyDocument, Purpose, Terms},
    genesis::Role,
    id::{NoteCommitment, OrgId, RecordId, UnixMillis},
    sign::PublicKey,
};
use serde::Deserialize;
use std::{fs, path::Path};

/// `requests.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sandbox {
    /// The permission of the policy, as `DS MONDO:0005148`.
    permission: String,
    /// That of the record, if it is another one.
    record_permission: Option<String>,
    /// The record's media type.
    #[serde(default)]
    media_type: String,
    requests: Vec<Ask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// What is asked, in a sentence.
    story: String,
    #[serde(default = "request")]
    action: String,
    #[serde(default = "researcher")]
    role: Role,
    #[serde(default = "university")]
    org: OrgId,
    /// As `DS MONDO:0005148`.
    purpose: String,
    #[serde(default = "thirty")]
    days: u16,
    #[serde(default = "one")]
    uses: u32,
    #[serde(default)]
    non_profit: bool,
    #[serde(default)]
    commercial: bool,
    country: Option<String>,
    #[serde(default)]
    ethics: bool,
    #[serde(default)]
    project: bool,
    #[serde(default)]
    cohort: u32,
    #[serde(default)]
    suspended: bool,
    grant: Option<Grant>,
    /// `allow`, `deny` or `review`, then the reasons: `code` or `code/rule`.
    decision: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    #[serde(default)]
    approved: bool,
    days_left: u64,
    uses_max: u32,
    uses_so_far: u32,
}

fn request() -> String {
    "request".into()
}

const fn researcher() -> Role {
    Role::Researcher
}

fn university() -> OrgId {
    OrgId::new("university").unwrap()
}

const fn thirty() -> u16 {
    30
}

const fn one() -> u32 {
    1
}

const NOW: UnixMillis = UnixMillis::new(1_795_000_000_000);
const DAY_MS: u64 = 86_400_000;

fn terms_of(text: &str) -> (DuoCode, Vec<MondoId>) {
    let mut words = text.split_whitespace();
    let code = words.next().unwrap().parse().unwrap();
    (code, words.map(|word| word.parse().unwrap()).collect())
}

fn permission(text: &str) -> Permission {
    let (code, diseases) = terms_of(text);
    Permission { code, diseases }
}

impl Ask {
    fn request(&self) -> Request {
        let (code, diseases) = terms_of(&self.purpose);
        let commitment = |given: bool| given.then_some(NoteCommitment::new([7; 32]));
        Request {
            requester: PublicKey::new([2; 32]),
            requester_org: self.org.clone(),
            requester_role: self.role,
            terms: Terms {
                purpose: Purpose { code, disease: diseases.first().copied() },
                days: self.days,
                uses: self.uses,
                non_profit: self.non_profit,
                commercial: self.commercial,
                country: self.country.as_ref().map(|c| c.as_bytes().try_into().unwrap()),
                project: commitment(self.project),
                ethics: commitment(self.ethics),
            },
        }
    }

    fn facts(&self, sandbox: &Sandbox) -> Facts {
        Facts {
            record: RecordId::new([1; 32]),
            owner: PublicKey::new([3; 32]),
            owner_org: OrgId::new("st-mary").unwrap(),
            media_type: sandbox.media_type.clone(),
            permission: permission(sandbox.record_permission.as_ref().unwrap_or(&sandbox.permission)),
            now: NOW,
            suspended: self.suspended,
            grant: self.grant.as_ref().map(|grant| GrantFacts {
                approved: grant.approved,
                ends: NOW.plus_ms(grant.days_left * DAY_MS),
                uses_max: grant.uses_max,
                uses_so_far: grant.uses_so_far,
            }),
            cohort: self.cohort,
        }
    }
}

fn show(decision: &Decision) -> Vec<String> {
    let reasons = decision.reasons.iter().map(|reason| match &reason.rule {
        Some(rule) => format!("{}/{rule}", reason.code.as_str()),
        None => reason.code.as_str(),
    });
    std::iter::once(format!("{:?}", decision.ruling).to_lowercase()).chain(reasons).collect()
}

/// How many requests the case has.
fn run(folder: &Path) -> usize {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{folder:?}/{name}: {e}"));
    let sandbox: Sandbox = serde_json::from_str(&read("requests.json")).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let document = PolicyDocument { permission: permission(&sandbox.permission), rules: read("policy.cedar") };
    let policy = ParsedPolicy::parse(&document).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    assert!(!read("README.md").is_empty());
    for ask in &sandbox.requests {
        let action = Action::ALL.into_iter().find(|a| a.as_str() == ask.action).unwrap();
        let decision = decide(action, &ask.request(), &ask.facts(&sandbox), &policy);
        assert_eq!(show(&decision), ask.decision, "{folder:?}: {}", ask.story);
    }
    sandbox.requests.len()
}

#[test]
fn every_sandbox_decides_as_its_steward_expects() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sandboxes");
    let mut folders: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 7, "{} cases", folders.len());
    let requests: usize = folders.iter().map(|folder| run(folder)).sum();
    assert!(requests >= 30, "{requests} requests");
}
