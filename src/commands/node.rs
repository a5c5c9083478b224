//! `dmdl node`: one node of a network, in a process of its own.

use super::{
    Report,
    ends::{self, Ends},
    failure, fault,
    output::{self, say, storage},
    text,
};
use crate::{
    exit::{Exit, Failure},
    gateway::{self, ServeError, TlsError},
    keyfile::KeyFileError,
    node::{FirstStartError, Handle, StartError, Votes},
    node_file::{NodeFile, NodeFileError},
};
use clap::Args as ClapArgs;
use dmdl_types::genesis::Member;
use serde_json::json;
use std::{
    fs::DirBuilder,
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The node's file, as `dmdl network generate` and `dmdl network node` write it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What is to become of the votes in its data folder: `keep` those in a copy that is the newest and only one,
    /// `forget` those in one that is older than the node's last run. For one start.
    #[arg(long, value_name = "WHAT", value_parser = votes)]
    votes: Option<Votes>,
    /// The process that started it, and that it does not outlive.
    #[arg(long, value_name = "PID", hide = true, value_parser = clap::value_parser!(i32).range(1..))]
    parent: Option<i32>,
}

fn votes(what: &str) -> Result<Votes, &'static str> {
    match what {
        "keep" => Ok(Votes::Keep),
        "forget" => Ok(Votes::Forget),
        _ => Err("say `keep` or `forget`"),
    }
}

/// What a node's file says.
pub(super) fn read(config: &Path) -> Result<NodeFile, Failure> {
    NodeFile::read(config).map_err(|error| bad_config(&error))
}

pub(super) fn run(args: &Args, quiet: bool, as_json: bool) -> Result<Report, Failure> {
    args.parent.map_or(Ok(()), ends::end_with)?;
    let NodeFile { mut node, gateway } = read(&args.config)?;
    node.votes = args.votes.unwrap_or(node.votes);
    let (network, listen) = (node.genesis.id(), node.listen);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&node.dir);
    made.map_err(|error| storage(&node.dir, &error))?;
    let _lock = output::lock(&node.dir)?;

    let mut threads = tokio::runtime::Builder::new_multi_thread();
    // By their name it is told what a gateway costs, and what the node behind it.
    let runtime = threads.worker_threads(2).thread_name(gateway::THREADS).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, "unavailable", error))?;
    // Before anybody is told that it is up, and asks it to stop.
    let mut ends = Ends::catch(&runtime)?;
    // Before the node: an address that is taken is told at once.
    check_free(listen)?;
    let bound = gateway.map(|gateway| runtime.block_on(gateway::Bound::new(gateway))).transpose();
    let bound = bound.map_err(|error| unheard(&error))?;
    node.faults = fault::end_process(as_json);
    let handle = Handle::start(node).map_err(|error| not_started(&error))?;
    let server = bound.map(|bound| runtime.block_on(async { bound.serve(handle.host().clone()) })).transpose();
    let server = server.map_err(|error| unheard(&error))?;

    let url = server.as_ref().map(|server| {
        let scheme = if server.certificate_sha256().is_some() { "https" } else { "http" };
        format!("{scheme}://{}", server.address())
    });
    let id = handle.node().id();
    let member = handle.node().member().map_err(|error| Failure::new(Exit::Storage, "node_start", error))?;
    let roles = text::roles(member.as_ref().map(|member| member.roles).unwrap_or_default(), url.is_some());
    let votes = !handle.node().channel().follows();
    if as_json {
        say(&json!({
            "network": network, "node": id, "org": member.as_ref().map(|member| &member.org), "roles": roles,
            "listen": listen, "gateway": url, "member": member.is_some(), "votes": votes,
        })
        .to_string());
    } else if quiet {
        say(&id.to_string());
    } else {
        let people = url.map(|url| format!(", for people at {url}")).unwrap_or_default();
        let votes = if votes { "" } else { "; it has no votes of its own, and follows" };
        say(&match member {
            Some(Member { org, .. }) => {
                format!("Node {id} of {org} is up as {}, for nodes at {listen}{people}{votes}.", roles.join(", "))
            }
            None => format!(
                "Node {id} is up, for nodes at {listen}{people}{votes}. As far as it has the ledger it is no member: \
                 it waits until the others let it in."
            ),
        });
    }

    let halted = runtime.block_on(ends.any_unless(|| handle.has_stopped().then_some(())));
    if !quiet && !as_json {
        say("Stopping.");
    }
    if let Some(server) = server {
        runtime.block_on(server.stop());
    }
    handle.stop();
    match halted {
        None => Ok(Report { text: String::new(), json: json!({ "stopped": true }), exit: Exit::Ok }),
        Some(()) => {
            let detail = "the node has stopped; its log says why. Start it again once that is set right";
            Err(Failure::new(Exit::Storage, "node_stopped", detail))
        }
    }
}

/// The engine takes the address when it is under way already, where it could only panic.
fn check_free(listen: SocketAddr) -> Result<(), Failure> {
    TcpListener::bind(listen).map(drop).map_err(|source| unheard(&ServeError::Listen { address: listen, source }))
}

fn unheard(error: &ServeError) -> Failure {
    let (exit, code) = match error {
        ServeError::Listen { .. } => (Exit::Configuration, "listen"),
        ServeError::Uploads { .. } | ServeError::Tls(TlsError::File { .. }) => (Exit::Storage, "storage"),
        _ => (Exit::Configuration, "bad_config"),
    };
    Failure::new(exit, code, error)
}

/// Nothing that waiting would mend, whatever the error is of a command of people.
fn bad_config(error: &NodeFileError) -> Failure {
    match error {
        NodeFileError::Key(error) => secret(error),
        error => Failure::new(Exit::Configuration, "bad_config", error),
    }
}

fn secret(error: &KeyFileError) -> Failure {
    match error {
        KeyFileError::NotFound { .. } => Failure::new(Exit::Configuration, "bad_config", error),
        error => failure::key_file(error),
    }
}

fn not_started(error: &StartError) -> Failure {
    let (exit, code) = match error {
        StartError::FirstStart(FirstStartError::File(error)) => return secret(error),
        StartError::FirstStart(FirstStartError::Folder { .. }) => (Exit::Storage, "storage"),
        StartError::FirstStart(FirstStartError::Copied(_)) => (Exit::Configuration, "copied"),
        StartError::FirstStart(FirstStartError::NoCopy(_)) => (Exit::Usage, "usage"),
        StartError::FirstStart(_) => (Exit::Configuration, "bad_config"),
        _ => (Exit::Storage, "node_start"),
    };
    Failure::new(exit, code, error)
}
