//! Audited decryption, from the request to the plaintext in the requester's hands.

use super::{
    super::failure,
    driver::Worker,
    insist::insist,
    stage::{PATIENCE, Person, proved},
};
use crate::{
    client::{Draft, Registered},
    exit::{Exit, Failure},
};
use dmdl_types::{
    access::{DuoCode, Permission, PolicyDocument, Purpose, Terms},
    id::GrantId,
    invocation::{Authority, Metadata},
};
use std::{io::Cursor, sync::Arc};

/// What is in the record: the payload's length does not matter to custodians, so it is a small one.
const PLAINTEXT: [u8; 16 * 1024] = [0x5a; 16 * 1024];
/// Every researcher may open it often enough for any run.
const POLICY: &str = r#"@id("bench") permit (principal, action == Action::"request", resource)
when { principal.role == Role::"researcher" };"#;
const USES: u32 = 100_000;

/// Seals a record of this owner, and waits until its custodians have acknowledged their shares.
pub(super) async fn register(owner: &Person) -> Result<Registered, Failure> {
    let permission = Permission { code: DuoCode::Hmb, diseases: Vec::new() };
    let policy = PolicyDocument { permission, rules: POLICY.to_owned() };
    let metadata = Metadata { media_type: "application/octet-stream".to_owned(), subject: None, listed: true };
    let draft = Draft::new(metadata, Some(policy));
    let registered = owner.register(&PLAINTEXT[..], Cursor::new(Vec::new()), draft, &|_| ()).await;
    let registered = registered.map_err(|error| failure::register(&error))?;
    let active = owner.wait_active(registered.record, registered.version, PATIENCE).await;
    if active.map_err(|error| failure::call(&error))? {
        return Ok(registered);
    }
    Err(Failure::new(Exit::Unavailable, "not_active", "too few custodians acknowledged their shares in time"))
}

/// A researcher with a grant, who opens the record again and again.
pub(super) struct Reader {
    person: Arc<Person>,
    record: Arc<Registered>,
    grant: GrantId,
}

impl Reader {
    /// A researcher who has asked for access, and got it by the record's policy.
    pub(super) async fn with_grant(person: Arc<Person>, record: Arc<Registered>) -> Result<Self, Failure> {
        let terms = Terms {
            purpose: Purpose { code: DuoCode::Hmb, disease: None },
            days: 30,
            uses: USES,
            non_profit: true,
            commercial: false,
            country: None,
            project: None,
            ethics: None,
        };
        let ask = async || proved(person.request(record.record, terms.clone(), "bench").await);
        let asked = insist(PATIENCE, ask).await?;
        let none = || Failure::new(Exit::Denied, "no_grant", "the policy gave no grant");
        let grant = asked.event.outcome.grant.ok_or_else(none)?;
        Ok(Self { person, record, grant })
    }
}

impl Worker for Reader {
    async fn step(&mut self) -> Result<(), Failure> {
        let failed = |error| failure::open(&error);
        let authority = Authority::Grant(self.grant);
        let opening = self.person.decrypt(self.record.record, self.record.version, authority).await.map_err(failed)?;
        let mut plaintext = Vec::with_capacity(PLAINTEXT.len());
        self.person.open(&opening, &mut plaintext).await.map_err(failed)?;
        let other = || Failure::new(Exit::Integrity, "other_plaintext", "what was opened is not what was sealed");
        (plaintext == PLAINTEXT).then_some(()).ok_or_else(other)
    }
}
