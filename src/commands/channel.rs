//! `dmdl channel`: channels beside the network's first one, and changes of any.

mod proposals;

use super::{
    Report, failure, network,
    output::{self, storage},
    session::Globals,
    text,
};
use crate::{
    charter_file::{ChannelFile, CharterFile},
    client::learn,
    exit::{Exit, Failure},
    local::{os_rng, wall_clock},
    spec::ChannelSpec,
};
use clap::Subcommand;
use dmdl_types::{
    charter::{Charter, CharterError, SignedCharter},
    genesis::{ChannelConfig, Genesis},
    id::{ChannelName, OrgId, TransactionId},
};
use rand_core::Rng as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Drafts the charter of a channel among some nodes of the network, and approves it for the acting admin's
    /// organisation. Nothing is sent: the charter is a file to hand on.
    #[command(after_help = "Example:\n  dmdl --as admin.key channel create trial.toml --out trial.charter")]
    Create {
        /// What the channel is: its members, people and numbers, in TOML.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The charter to write; nothing is replaced. `NAME.charter`, if not given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Approves, for the acting admin's organisation, a charter or a proposal to change the channel.
    ///
    /// Of a charter nothing is sent: the file is to hand on. What a proposal changes is shown before it is approved.
    #[command(after_help = "Examples:
  dmdl --as admin.key channel approve trial.charter
  dmdl --as admin.key channel approve 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")]
    Approve {
        /// The charter's file, or the id of a proposal.
        #[arg(value_name = "CHARTER|PROPOSAL")]
        what: PathBuf,
    },
    /// Proposes changes of a channel's members, roles and rules for the acting admin's organisation.
    ///
    /// They are accepted with the approval of a quorum of the organisations that run a node, and hold from the epoch
    /// after the next.
    #[command(after_help = "Example:\n  dmdl --as admin.key channel update main changes.toml

where changes.toml has any of these, each under a [[change]] of its own:

  [[change]]
  set-rules = { endorsements = 3, mdca = { decay = 800000 } }     # what is not named stays
  [[change]]
  set-roles = { node = \"NODE\", roles = [\"committer\", \"custodian\"] }
  [[change]]
  add-node = { node = \"NODE\", cosigning_key = \"KEY\", org = \"east\", address = \"HOST:PORT\" }
  [[change]]
  add-person = { key = \"KEY\", org = \"east\", name = \"admin\", role = \"admin\" }
  [[change]]
  remove-node = \"NODE\"
  [[change]]
  remove-org = \"west\"
  [[change]]
  prune-blocks = {}                                               # nothing takes it back")]
    Update {
        /// The channel.
        name: ChannelName,
        /// What is to change, in TOML.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Takes back a proposal of the acting admin's organisation.
    Withdraw {
        /// The proposal.
        proposal: TransactionId,
    },
    /// Founds the channel of a charter that every organisation in it has approved, at a gateway of one of its nodes.
    #[command(after_help = "Example:\n  dmdl --as admin.key channel found trial.charter")]
    Found {
        /// The charter.
        #[arg(value_name = "CHARTER")]
        charter: PathBuf,
    },
    /// Lists the channels that the acting person is enrolled in, and the network's first one.
    #[command(after_help = "Example:\n  dmdl --as owner.key channel list")]
    List,
    /// Shows how the channel that `--channel` names was founded, as this client believes it, and to its people the
    /// proposals that are open; or what one proposal changes.
    #[command(after_help = "Example:\n  dmdl --as owner.key --channel trial channel show")]
    Show {
        /// The proposal to show, whatever became of it.
        proposal: Option<TransactionId>,
    },
}

pub(super) fn run(command: &Command, globals: &Globals) -> Result<Report, Failure> {
    match command {
        Command::Create { file, out } => create(file, out.as_deref(), globals),
        Command::Approve { what } => match what.to_str().and_then(|id| id.parse::<TransactionId>().ok()) {
            Some(proposal) => proposals::approve(proposal, globals),
            None => approve(what, globals),
        },
        Command::Update { name, file } => proposals::update(name, file, globals),
        Command::Withdraw { proposal } => proposals::withdraw(*proposal, globals),
        Command::Found { charter } => found(charter, globals),
        Command::List => list(globals),
        Command::Show { proposal: Some(proposal) } => proposals::show(*proposal, globals),
        Command::Show { proposal: None } => show(globals),
    }
}

fn create(file: &Path, out: Option<&Path>, globals: &Globals) -> Result<Report, Failure> {
    let genesis = globals.pin()?.genesis;
    let described = ChannelFile::read(file, &genesis).map_err(|error| failure::text_file(&error, "bad_charter"))?;
    let out = out.map_or_else(|| PathBuf::from(format!("{}.charter", described.name)), Path::to_owned);
    let new = output::NewFile::create(&out)?;
    let ChannelFile { name, epoch_blocks, endorsements, custody_threshold, mdca, members, people } = described;
    let usual =
        ChannelSpec { name: Some(name), epoch_blocks, endorsements, custody_threshold, ..ChannelSpec::default() };
    let channel = ChannelConfig { mdca, ..network::channel(&usual, &members)? };
    let mut seed = [0; 32];
    os_rng().fill_bytes(&mut seed);
    let (network, time) = (genesis.id(), wall_clock().now());
    let mut charter = SignedCharter::new(Charter { version: 1, network, seed, time, members, people, channel });
    let missing = sign(&mut charter, &genesis, globals)?;
    let written = CharterFile::text(&charter).map_err(|error| Failure::new(Exit::Internal, "internal", error))?;
    new.whole(written.as_bytes())?;
    Ok(told(&charter, &missing, &out, globals.quiet))
}

fn approve(path: &Path, globals: &Globals) -> Result<Report, Failure> {
    let genesis = globals.pin()?.genesis;
    let mut charter = CharterFile::read(path).map_err(|error| failure::text_file(&error, "bad_charter"))?;
    let missing = sign(&mut charter, &genesis, globals)?;
    CharterFile::save(&charter, path).map_err(|error| storage(path, &error))?;
    Ok(told(&charter, &missing, path, globals.quiet))
}

/// Approves a charter as whoever acts, and names the organisations that have not approved it.
fn sign(charter: &mut SignedCharter, genesis: &Genesis, globals: &Globals) -> Result<Vec<OrgId>, Failure> {
    // Before a passphrase is asked for: nobody signs what breaks a rule.
    charter.missing(genesis).map_err(|error| refused(&error))?;
    charter.approve(&globals.identity()?.key);
    let (_, missing) = charter.missing(genesis).map_err(|error| refused(&error))?;
    Ok(missing)
}

fn found(path: &Path, globals: &Globals) -> Result<Report, Failure> {
    let genesis = globals.pin()?.genesis;
    let charter = CharterFile::read(path).map_err(|error| failure::text_file(&error, "bad_charter"))?;
    charter.verify(&genesis).map_err(|error| refused(&error))?;
    let desk = globals.desk()?;
    desk.run(desk.gateway.found(&charter)).map_err(|error| failure::gateway(&error))?;
    let name = &charter.charter.channel.name;
    learn(&desk.home, &genesis, name, &charter).map_err(|error| failure::unproved(&error))?;
    let id = charter.charter.id();
    let shown = if globals.quiet { id.to_string() } else { format!("channel {name} is founded, {id}") };
    Ok(Report { text: shown, json: json!({ "channel": id, "name": name, "founded": true }), exit: Exit::Ok })
}

fn list(globals: &Globals) -> Result<Report, Failure> {
    let told = if globals.names_identity() {
        let desk = globals.desk()?;
        desk.run(desk.gateway.channels())
    } else {
        let visit = globals.visit_first()?;
        visit.run(visit.gateway.channels())
    };
    let told = told.map_err(|error| failure::gateway(&error))?;
    let items = told.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let rows = items.iter().map(|item| vec![text::clean(item.get("name")), text::clean(item.get("id"))]);
    let shown = text::table(&["CHANNEL", "ID"], rows);
    Ok(Report { text: shown, json: json!({ "items": items }), exit: Exit::Ok })
}

fn show(globals: &Globals) -> Result<Report, Failure> {
    // Once: a passphrase is not asked for twice.
    let actor = if globals.names_identity() { Some(globals.identity()?) } else { None };
    let founding = globals.founding_shown(actor.as_ref())?;
    let members: Vec<Value> = founding
        .members
        .iter()
        .map(|member| json!({ "node": member.node, "org": member.org, "roles": text::roles(member.roles, false) }))
        .collect();
    let rows = founding.members.iter().map(|member| {
        let roles = text::roles(member.roles, false).join(",");
        vec![member.node.to_string(), member.org.to_string(), roles]
    });
    let table = text::table(&["NODE", "ORGANISATION", "ROLES"], rows);
    let (domain, channel) = (founding.domain, &founding.channel);
    let mut json = json!({
        "network": domain.network, "channel": domain.channel, "name": channel.name,
        "epoch_blocks": channel.epoch_blocks, "endorsements": channel.endorsements,
        "threshold": channel.custody_threshold, "policy_engine": channel.policy_engine,
    });
    let mut shown = format!("{}\n\n{table}", text::fields(&json));
    // Strangers are not told of proposals.
    let (mut open, mut prunes_blocks) = (Value::Null, Value::Null);
    if let Some(actor) = actor {
        let session = globals.connect_as(actor)?;
        let (table, page) = proposals::open(&session)?;
        prunes_blocks = proposals::prunes_blocks(&session)?.into();
        let blocks = if prunes_blocks == true { "Nodes let old blocks go." } else { "Nodes keep all blocks." };
        shown.push_str(&format!("\n\n{blocks}\n\n{table}"));
        open = page;
    }
    if let Some(fields) = json.as_object_mut() {
        fields.insert("members".to_owned(), members.into());
        fields.insert("mdca".to_owned(), json!(channel.mdca));
        fields.insert("proposals".to_owned(), open);
        fields.insert("prunes_blocks".to_owned(), prunes_blocks);
    }
    Ok(Report { text: shown, json, exit: Exit::Ok })
}

/// What is told of a charter on its way.
fn told(charter: &SignedCharter, missing: &[OrgId], file: &Path, quiet: bool) -> Report {
    let (id, channel) = (charter.charter.id(), &charter.charter.channel);
    let orgs = charter.charter.orgs();
    let file_shown = text::path(file);
    let next = if missing.is_empty() {
        format!("Every organisation has approved it. Found the channel:\n\n  dmdl channel found {file_shown}")
    } else {
        let missing = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("An admin of each of these must approve it yet: {missing}\n\n  dmdl channel approve {file_shown}")
    };
    let list = orgs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let shown = if quiet { id.to_string() } else { format!("channel {} of {list}, {id}\n{next}", channel.name) };
    let json = json!({
        "channel": id, "name": channel.name, "organisations": orgs, "missing": missing, "file": file.to_string_lossy(),
    });
    Report { text: shown, json, exit: Exit::Ok }
}

fn refused(error: &CharterError) -> Failure {
    let (exit, code) = match error {
        CharterError::NotAdmin(_) => (Exit::Denied, "role"),
        CharterError::Unapproved(_) => (Exit::Denied, "unapproved"),
        CharterError::OtherNetwork(_) => (Exit::Configuration, "genesis_mismatch"),
        CharterError::Signature(_) | CharterError::Unsorted => (Exit::Integrity, "bad_charter"),
        _ => (Exit::Configuration, "bad_charter"),
    };
    Failure::new(exit, code, error)
}
