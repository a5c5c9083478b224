//! `dmdl channel update`, `approve` and `withdraw`: changes of a channel, which organisations propose and approve.

use super::super::{
    Report, failure,
    record::applied,
    session::{Globals, Session},
    text,
};
use crate::{
    changes_file::ChangesFile,
    client::AskGatewayError,
    exit::{Exit, Failure},
    node::Final,
};
use dmdl_types::{
    genesis::{ChannelConfig, EpochConfig, Member},
    governance::{Change, Governance, apply},
    id::{ChannelName, Epoch, TransactionId},
    invocation::Invocation,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// Open proposals that are shown; there are hardly ever more than a few.
const SHOWN_MAX: usize = 100;

/// Proposes what a file describes.
pub(super) fn update(name: &ChannelName, file: &Path, globals: &Globals) -> Result<Report, Failure> {
    let described = ChangesFile::read(file).map_err(|error| failure::text_file(&error, "bad_changes"))?;
    let session = globals.on(name).connect()?;
    let decided = decided(&session)?;
    let changes = described.upon(&decided.channel);
    // The ledger would refuse it as well, and not say why.
    apply(&decided, &changes, session.client.trust().founding().single_org_demo)
        .map_err(|error| Failure::new(Exit::Configuration, "bad_changes", format!("{}: {error}", text::path(file))))?;
    let done = call(&session, Governance::Propose { changes: changes.clone() })?;
    told(&session, done.transaction, &changes, globals.quiet)
}

/// Approves a proposal, once it has shown what that changes.
pub(super) fn approve(proposal: TransactionId, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let changes = proved(&session, proposal)?;
    if !globals.quiet {
        text::show(&json!({ "proposal": proposal, "changes": changes }));
    }
    call(&session, Governance::Approve { proposal })?;
    told(&session, proposal, &changes, globals.quiet)
}

/// Takes a proposal of one's own organisation back.
pub(super) fn withdraw(proposal: TransactionId, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let done = call(&session, Governance::Withdraw { proposal })?;
    let json = json!({
        "proposal": proposal, "state": "withdrawn", "transaction": done.transaction, "height": done.event.height,
    });
    Ok(Report { text: format!("proposal {proposal} is withdrawn"), json, exit: Exit::Ok })
}

/// Shows what a proposal changes, and how it stands.
pub(super) fn show(proposal: TransactionId, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let changes = proved(&session, proposal)?;
    told(&session, proposal, &changes, globals.quiet)
}

/// The proposals that wait for approvals, as text and as a page.
pub(super) fn open(session: &Session) -> Result<(String, Value), Failure> {
    let page = asked(session, &format!("proposals?open=true&limit={SHOWN_MAX}"))?;
    let items = page.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rows = items.iter().map(|item| {
        let proposed = item.get("proposed").and_then(Value::as_u64).map(text::time).unwrap_or_default();
        let approvals = item.get("approvals").and_then(Value::as_array).map_or(0, Vec::len);
        let approvals = format!("{approvals} of {}", text::clean(item.get("needed")));
        vec![text::clean(item.get("proposal")), proposed, text::clean(item.get("proposer")), approvals]
    });
    let mut shown = text::table(&["OPEN PROPOSAL", "PROPOSED", "BY", "APPROVALS"], rows);
    if page.get("next_cursor").is_some_and(Value::is_string) {
        shown.push_str("\nand more");
    }
    Ok((shown, page))
}

/// What the channel will be after all that is accepted, as the gateway says: what comes of a wrong word is shown to
/// whoever approves.
fn decided(session: &Session) -> Result<EpochConfig, Failure> {
    #[derive(Deserialize)]
    struct Shown {
        epoch: Epoch,
        members: Vec<Member>,
        rules: ChannelConfig,
    }
    let shown = serde_json::from_value(asked(session, "configuration")?);
    let Shown { epoch, members, rules } =
        shown.map_err(|error| failure::gateway(&AskGatewayError::Nonsense(error.to_string())))?;
    Ok(EpochConfig { epoch, members, channel: rules, qualified: Vec::new() })
}

/// Whether the channel's nodes let old blocks go, as the gateway says.
pub(super) fn prunes_blocks(session: &Session) -> Result<bool, Failure> {
    Ok(asked(session, "configuration")?.get("prunes_blocks").and_then(Value::as_bool).unwrap_or_default())
}

/// What a proposal changes, from the proposing transaction itself: a gateway cannot put other changes in their place.
fn proved(session: &Session, proposal: TransactionId) -> Result<Vec<Change>, Failure> {
    let changes = session.run(session.client.proposal(proposal)).map_err(|error| failure::call(&error))?;
    changes.ok_or_else(|| refused(Failure::new(Exit::NotFound, "unknown_proposal", "")))
}

fn call(session: &Session, call: Governance) -> Result<Final, Failure> {
    let done = session.run(session.client.call(Invocation::Governance(call)));
    let done = done.map_err(|error| refused(failure::call(&error)))?;
    applied(&done).map_err(refused)?;
    Ok(done)
}

/// Why a call came to nothing, in the words of whoever tried.
fn refused(failure: Failure) -> Failure {
    let detail = match failure.code.as_ref() {
        "role" => "only admins of organisations that run a node propose and approve; who proposed withdraws",
        "unknown_proposal" => "there is no such proposal on this channel; `dmdl channel show` lists the open ones",
        "duplicate" => "your organisation has approved this proposal already; it takes those of others",
        "already_decided" => "the proposal is accepted or withdrawn already; `dmdl channel show PROPOSAL` says which",
        "proposal_unfit" => "the changes do not fit what the channel has become meanwhile; propose others",
        "id_reuse" => "a key in the changes is or was somebody else's; take a new one",
        _ => return failure,
    };
    Failure { detail: detail.to_owned(), ..failure }
}

/// What is told of a proposal: how it stands, and what it changes.
fn told(session: &Session, proposal: TransactionId, changes: &[Change], quiet: bool) -> Result<Report, Failure> {
    let standing = asked(session, &format!("proposals/{proposal}"))?;
    let member = |name: &str| standing.get(name).cloned().unwrap_or_default();
    let json = json!({
        "proposal": proposal, "state": member("state"), "approvals": member("approvals"), "needed": member("needed"),
        "from_epoch": member("from_epoch"), "changes": changes,
    });
    let name = &session.client.trust().founding().channel.name;
    let shown = match standing.get("state").and_then(Value::as_str) {
        _ if quiet => proposal.to_string(),
        Some("open") => format!(
            "{}\n\nIt takes the approval of {} organisations. An admin of each further one looks at it and approves \
             it:\n\n  dmdl --channel {name} channel show {proposal}\n  dmdl --channel {name} channel approve {proposal}",
            text::fields(&json),
            text::clean(standing.get("needed")),
        ),
        _ => text::fields(&json),
    };
    Ok(Report { text: shown, json, exit: Exit::Ok })
}

fn asked(session: &Session, route: &str) -> Result<Value, Failure> {
    session.run(session.client.gateway().get(route)).map_err(|error| failure::gateway(&error))
}
