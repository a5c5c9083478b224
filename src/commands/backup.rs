//! `dmdl backup` and `dmdl restore`: what a node keeps and may never be taken back, in a file.

use super::{
    Report,
    output::{self, storage, unreadable},
    progress::Bar,
    session::Globals,
    text,
};
use crate::{
    exit::{Exit, Failure},
    local::wall_clock,
    node::{self, BackUpError, Contained, NodeConfig, RestoreError},
};
use clap::Args as ClapArgs;
use dmdl_audit_ledger::store::StoreError;
use dmdl_types::{backup::BackupError, id::NodeId};
use serde_json::{Value, json};
use std::{
    fs::{DirBuilder, File},
    io::{self, BufReader, BufWriter},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

#[derive(Debug, ClapArgs)]
pub(super) struct Backup {
    /// The node's file. The node may run meanwhile.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The new file; nothing is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Restore {
    /// The node's file, with the node's keys where it says.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The backup.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Only look whether it could be restored; the node may run meanwhile.
    #[arg(long)]
    check: bool,
}

pub(super) fn back_up(args: &Backup, globals: &Globals) -> Result<Report, Failure> {
    let Backup { config, out } = args;
    let node = super::node::read(config)?.node;
    let mut file = BufWriter::new(output::NewFile::create(out)?);
    let bar = Bar::new(globals, out, None);
    let made = wall_clock().now();
    let mut bytes = 0;
    let written = node::back_up(&node, made, &mut file, |now| {
        bytes = now;
        bar.at("writing", now, None);
    });
    let written =
        written.and_then(|contained| Ok((contained, file.into_inner().map_err(io::IntoInnerError::into_error)?)));
    bar.end();
    let (contained, file) = written.map_err(|error| not_backed_up(out, &error))?;
    file.finish()?;
    let text = format!("{}: {} bytes{}", text::path(out), bytes, lines(&contained));
    let json = json!({
        "file": out.to_string_lossy(), "bytes": bytes, "network": node.genesis.id(), "node": id(&node),
        "time": text::time(made.get()), "channels": contained.iter().map(shown).collect::<Vec<_>>(),
    });
    Ok(Report { text, json, exit: Exit::Ok })
}

pub(super) fn restore(args: &Restore, globals: &Globals) -> Result<Report, Failure> {
    let Restore { config, from, check } = args;
    let node = super::node::read(config)?.node;
    let (file, len) = open(from)?;
    let bar = Bar::new(globals, from, Some(len));
    let told = |bytes| bar.at(if *check { "checking" } else { "restoring" }, bytes, Some(len));
    let restored = if *check {
        let scratch = tempfile::tempdir().map_err(|error| storage(&std::env::temp_dir(), &error))?;
        node::check_backup(&node, file, scratch.path(), told)
    } else {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&node.dir);
        made.map_err(|error| storage(&node.dir, &error))?;
        let _lock = output::lock(&node.dir)?;
        node::restore(&node, file, told)
    };
    bar.end();
    let restored = restored.map_err(|error| not_restored(from, &error))?;
    let (made, contained) = (text::time(restored.made.get()), &restored.channels);
    let text = if *check {
        format!("{}: a whole backup of this node, of {made}{}", text::path(from), lines(contained))
    } else {
        format!(
            "{}: restored from a backup of {made}{}\nStart the node: it has everything since from the others, answers once \
             it has caught up, and votes again when that is safe. It has no shares.",
            text::path(&node.dir),
            lines(contained)
        )
    };
    let json = json!({
        "file": from.to_string_lossy(), "network": node.genesis.id(), "node": id(&node), "time": made,
        "restored": (!check).then(|| node.dir.to_string_lossy()),
        "channels": contained.iter().map(shown).collect::<Vec<_>>(),
    });
    Ok(Report { text, json, exit: Exit::Ok })
}

/// Opens a backup, and says how long it is.
pub(super) fn open(path: &Path) -> Result<(BufReader<File>, u64), Failure> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        let detail = format!("`{}` is not a regular file", path.display());
        return Err(Failure::new(Exit::Usage, "not_a_file", detail));
    }
    Ok((BufReader::new(file), metadata.len()))
}

fn id(node: &NodeConfig) -> NodeId {
    NodeId::of_key(node.key.public())
}

fn lines(contained: &[Contained]) -> String {
    let line = |channel: &Contained| match channel.ledger {
        Some(ledger) => format!(
            "\n{}: {} events, up to block {} of {}",
            channel.name,
            ledger.events,
            ledger.height,
            text::time(ledger.time.get())
        ),
        None => format!("\n{}: no events: no block is certified to begin from yet", channel.name),
    };
    contained.iter().map(line).collect()
}

fn shown(Contained { name, channel, ledger }: &Contained) -> Value {
    json!({
        "name": name, "id": channel, "height": ledger.map(|ledger| ledger.height),
        "time": ledger.map(|ledger| text::time(ledger.time.get())), "events": ledger.map(|ledger| ledger.events),
    })
}

fn not_backed_up(out: &Path, error: &BackUpError) -> Failure {
    let (exit, code) = match error {
        BackUpError::Nothing(_) => (Exit::NotFound, "nothing_here"),
        BackUpError::Write(error) => return output::unwritten(out, error),
        BackUpError::Charter(_) => (Exit::Integrity, "damaged"),
        BackUpError::Store(error) => return store(error),
        _ => (Exit::Storage, "storage"),
    };
    Failure::new(exit, code, error)
}

/// A backup that is not taken.
pub(super) fn not_restored(from: &Path, error: &RestoreError) -> Failure {
    let (exit, code) = match error {
        RestoreError::Backup(BackupError::NotABackup) => (Exit::Configuration, "not_a_backup"),
        RestoreError::Backup(BackupError::Version) => (Exit::Configuration, "backup_version"),
        RestoreError::Backup(BackupError::OtherNetwork(_)) => (Exit::Configuration, "other_network"),
        RestoreError::Backup(BackupError::OtherNode(_)) => (Exit::Configuration, "other_node"),
        RestoreError::NotEmpty { .. } => (Exit::Usage, "exists"),
        RestoreError::Store(error) => return store(error),
        RestoreError::Folder(_) => (Exit::Storage, "storage"),
        RestoreError::Read(error) => return unreadable(from, error),
        error => return damaged(error),
    };
    Failure::new(exit, code, error)
}

/// A backup that is not what it was.
pub(super) fn damaged(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Integrity, "backup_damaged", error)
}

fn store(error: &StoreError) -> Failure {
    let code = if matches!(error, StoreError::Version { .. }) { "store_version" } else { "storage" };
    Failure::new(Exit::Storage, code, error)
}
