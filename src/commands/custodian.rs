//! `dmdl custodian`: who keeps the shares.

mod reshare;

use super::{Report, session::Globals, text};
use crate::exit::{Exit, Failure};
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists the custodians of the channel, by the ids that `record register --custodian` takes.
    ///
    /// Nobody is asked: these are the custodians of the last epoch that this client has verified.
    #[command(after_help = "Example:\n  dmdl custodian list --network network.toml")]
    List,
    /// Has the custodians of records hand their keys on, without anybody rebuilding one: to others, to more or fewer, for
    /// another threshold, or as new shares to the same ones.
    ///
    /// Decryptions go on meanwhile. Old shares are destroyed once enough of the new custodians have theirs. Whoever is
    /// stopped goes on where they were by saying the same again.
    #[command(after_help = "Examples:
  dmdl custodian reshare RECORD --replace OLD=NEW
  dmdl custodian reshare --all --remove ID --add ID
  dmdl custodian reshare --all --refresh")]
    Reshare(reshare::Args),
}

pub(super) fn run(command: &Command, globals: &Globals) -> Result<Report, Failure> {
    match command {
        Command::List => list(globals),
        Command::Reshare(args) => reshare::run(args, globals),
    }
}

fn list(globals: &Globals) -> Result<Report, Failure> {
    let config = globals.recalled()?.known();
    let rows = config.custodians().map(|member| vec![member.node.to_string(), member.org.to_string()]);
    let threshold = config.channel.custody_threshold;
    let text = format!(
        "{}\n{threshold} shares open a record, unless its owner asked for more",
        text::table(&["CUSTODIAN", "ORGANISATION"], rows)
    );
    let items: Vec<Value> =
        config.custodians().map(|member| json!({ "custodian": member.node, "org": member.org })).collect();
    Ok(Report { text, json: json!({ "items": items, "threshold": threshold }), exit: Exit::Ok })
}
