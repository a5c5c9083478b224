//! Secure utilisation of sensitive data: one record, one researcher, one purpose, one use.
//!
//! Four organisations run a node each, in this process, over TCP on the loopback address. Run it with
//! `cargo run --example secure_utilisation`; it prints
//!
//! ```text
//! registered and active
//! granted: policy_permits, rule `research`, …
//! opened: 26 bytes
//! second try: denied: grant_used_up
//! ```

use dmdl::{
    client::{Draft, OpenError, reasons},
    local::{Identity, LocalClient, LocalNetwork, Shape},
};
use dmdl_policies::templates::Template;
use dmdl_types::{
    access::{DuoCode, Permission, Purpose, Terms},
    genesis::Role,
    invocation::{Authority, Metadata},
};
use std::{error::Error, io::Cursor, time::Duration};

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let owner = Identity::new("north-hospital", "dr-adams", Role::Owner)?;
    let researcher = Identity::new("west-institute", "dr-baker", Role::Researcher)?;
    let orgs = ["north-hospital", "south-clinic", "west-institute", "east-registry"];
    let mut network = LocalNetwork::create(dir.path(), &orgs, &[&owner, &researcher], Shape::default())?;
    network.start_all()?;
    network.wait_ready(PATIENCE)?;
    let at = |position: usize, who: &Identity| network.client(position, who, PATIENCE);
    let (Some(owner), Some(researcher)) = (at(0, &owner), at(2, &researcher)) else {
        return Err("a node is down".into());
    };
    tokio::runtime::Runtime::new()?.block_on(story(&owner, &researcher))
}

async fn story(owner: &LocalClient, researcher: &LocalClient) -> Result<(), Box<dyn Error>> {
    // The owner seals the record on their own machine; the gateway sees ciphertext and sealed shares.
    let record = b"HbA1c 48 mmol/mol, 2026-01";
    let permission = Permission { code: DuoCode::Hmb, diseases: Vec::new() };
    let metadata = Metadata { media_type: "text/plain".into(), subject: None, listed: true };
    let draft = Draft::new(metadata, Some(Template::ResearchAuto.document(permission)));
    let registered = owner.register(&record[..], Cursor::new(Vec::new()), draft, &|_| ()).await?;
    if !owner.wait_active(registered.record, registered.version, PATIENCE).await? {
        return Err("the record is not active yet".into());
    }
    say("registered and active");

    // The researcher asks for one use within the permission; the policy decides at once.
    let terms = Terms {
        purpose: Purpose { code: DuoCode::Hmb, disease: None },
        days: 7,
        uses: 1,
        non_profit: true,
        commercial: false,
        country: None,
        project: None,
        ethics: None,
    };
    let asked = researcher.request(registered.record, terms, "diabetes study").await?;
    let grant = asked.event.outcome.grant.ok_or("no grant")?;
    say(&format!("granted: {}", reasons(&asked.event.outcome.reasons)));

    // The decryption is a transaction; custodians wait for it, and for nothing else.
    let authority = Authority::Grant(grant);
    let opening = researcher.decrypt(registered.record, registered.version, authority).await?;
    let mut plaintext = Vec::new();
    let opened = researcher.open(&opening, &mut plaintext).await?;
    if plaintext != record {
        return Err("other bytes came back".into());
    }
    say(&format!("opened: {} bytes", opened.plaintext_len_bytes));

    match researcher.decrypt(registered.record, registered.version, authority).await {
        Err(OpenError::Denied(why)) => say(&format!("second try: denied: {why}")),
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("a used-up grant was used again".into()),
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example speaks to whoever runs it")]
fn say(line: &str) {
    println!("{line}");
}
