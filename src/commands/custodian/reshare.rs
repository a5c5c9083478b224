//! `dmdl custodian reshare`: has custodians hand the keys of records on.

use super::super::{
    Report, failure,
    record::applied,
    session::{Globals, Session},
    text,
};
use crate::{
    client::{AskGatewayError, Gateway as _},
    exit::{Exit, Failure},
};
use clap::Args as ClapArgs;
use dmdl_types::{
    custody_proof::{Kept, VerifiedCustody},
    genesis::faults,
    id::{NodeId, RecordId, RecordVersion, ShareEpoch, TransactionId},
    invocation::{Access, Invocation, Reshare},
};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Records that are handed on at a time.
const AT_A_TIME: usize = 32;
/// How often the ledger is asked whether an epoch has begun.
const LOOK_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The records.
    #[arg(value_name = "RECORD", required_unless_present = "all", conflicts_with = "all")]
    records: Vec<RecordId>,
    /// All records of whoever acts.
    #[arg(long)]
    all: bool,
    /// Exactly these custodians from now on; may be repeated.
    #[arg(long, value_name = "ID", conflicts_with_all = ["add", "remove", "replace"])]
    custodian: Vec<NodeId>,
    /// One custodian more; may be repeated.
    #[arg(long, value_name = "ID")]
    add: Vec<NodeId>,
    /// A custodian less; may be repeated.
    #[arg(long, value_name = "ID")]
    remove: Vec<NodeId>,
    /// One custodian in the place of another; may be repeated.
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    replace: Vec<(NodeId, NodeId)>,
    /// How many shares open them from now on; as many as before otherwise.
    #[arg(long, value_name = "K")]
    threshold: Option<u8>,
    /// New shares for the same custodians: what anybody has learned of the old ones is worth nothing then.
    #[arg(long)]
    refresh: bool,
    /// Do not wait until the new custodians have their shares.
    #[arg(long)]
    no_wait: bool,
}

fn pair(text: &str) -> Result<(NodeId, NodeId), String> {
    let (old, new) = text.split_once('=').ok_or("give OLD=NEW")?;
    let id = |text: &str| text.parse::<NodeId>().map_err(|error| error.to_string());
    Ok((id(old)?, id(new)?))
}

/// What became of one record.
struct Handed {
    record: RecordId,
    version: RecordVersion,
    state: State,
    epoch: ShareEpoch,
    custodians: Vec<NodeId>,
    threshold: usize,
    transaction: Option<TransactionId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its custodians are those already.
    Unchanged,
    /// The new ones do not have their shares yet.
    Pending,
    /// The new share epoch has begun.
    Done,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "UNCHANGED",
            Self::Pending => "PENDING",
            Self::Done => "DONE",
        }
    }
}

impl Handed {
    fn json(&self) -> Value {
        json!({
            "record": self.record, "version": self.version, "state": self.state.name(), "epoch": self.epoch,
            "custodians": self.custodians, "threshold": self.threshold, "transaction": self.transaction,
        })
    }
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<Report, Failure> {
    let session = globals.connect()?;
    let records = if args.all { session.run(own_records(&session))? } else { args.records.clone() };
    let began = Instant::now();
    let handed = session.run(async {
        let work = stream::iter(&records).map(|record| all_versions(args, &session, *record));
        let mut work = work.buffer_unordered(AT_A_TIME);
        let (mut done, mut all) = (0_usize, Vec::with_capacity(records.len()));
        while let Some(result) = work.next().await {
            done += 1;
            if !globals.quiet && !globals.json && records.len() > 1 && done.is_multiple_of(100) {
                text::warn(&format!("{done} of {} records after {} s", records.len(), began.elapsed().as_secs()));
            }
            all.extend(result);
        }
        all
    });
    report(handed)
}

/// One line a record, and the exit of the first that failed.
fn report(handed: Vec<Result<Handed, (RecordId, Failure)>>) -> Result<Report, Failure> {
    let (mut lines, mut items, mut exit) = (Vec::new(), Vec::new(), None);
    for result in handed {
        match result {
            Ok(handed) => {
                lines.push(vec![
                    handed.record.to_string(),
                    handed.state.name().to_owned(),
                    handed.epoch.to_string(),
                    format!("{} of {}", handed.threshold, handed.custodians.len()),
                ]);
                items.push(handed.json());
            }
            Err((record, failure)) => {
                lines.push(vec![record.to_string(), "FAILED".to_owned(), "-".to_owned(), failure.detail.clone()]);
                items.push(json!({ "record": record, "error": { "code": failure.code, "detail": failure.detail } }));
                exit.get_or_insert(failure.exit);
            }
        }
    }
    let text = text::table(&["RECORD", "STATE", "EPOCH", "SHARES"], lines);
    Ok(Report { text, json: json!({ "items": items }), exit: exit.unwrap_or(Exit::Ok) })
}

/// The records of whoever acts that are in custody.
async fn own_records(session: &Session) -> Result<Vec<RecordId>, Failure> {
    let nonsense = || failure::gateway(&AskGatewayError::Nonsense("a list of records makes no sense".to_owned()));
    let (mut records, mut cursor) = (Vec::new(), None);
    loop {
        let mut query = vec![("limit", "500".to_owned()), ("owner", session.client.id().to_string())];
        query.extend(cursor.clone().map(|cursor| ("cursor", cursor)));
        let route = format!("records?{}", text::query(&query));
        let page = session.client.gateway().get(&route).await.map_err(|error| failure::gateway(&error))?;
        for item in page.get("items").and_then(Value::as_array).ok_or_else(nonsense)? {
            let id = item.get("record").and_then(Value::as_str).and_then(|id| id.parse().ok());
            if item.get("state").and_then(Value::as_str) == Some("ACTIVE") {
                records.push(id.ok_or_else(nonsense)?);
            }
        }
        let next = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if next.is_none() || next == cursor {
            return Ok(records);
        }
        cursor = next;
    }
}

/// Hands the versions of a record on, each of which has a key of its own.
async fn all_versions(args: &Args, session: &Session, record: RecordId) -> Vec<Result<Handed, (RecordId, Failure)>> {
    let versions = match versions(session, record).await {
        Ok(versions) => versions,
        Err(failure) => return vec![Err((record, failure))],
    };
    let mut handed = Vec::with_capacity(versions.len());
    for version in versions {
        match hand_on(args, session, record, version).await {
            Ok(done) => handed.extend(done.map(Ok)),
            Err(failure) => handed.push(Err((record, failure))),
        }
    }
    if handed.is_empty() {
        let detail = format!("no version of record {record} is in custody");
        handed.push(Err((record, Failure::new(Exit::Unavailable, "record_pending", detail))));
    }
    handed
}

/// Hands one version on; none if its custodians have not acknowledged it.
async fn hand_on(
    args: &Args,
    session: &Session,
    record: RecordId,
    version: RecordVersion,
) -> Result<Option<Handed>, Failure> {
    let custody = custody(session, record, version).await?;
    if !custody.is_active() {
        return Ok(None);
    }
    let (kept, before) = (custody.kept(), custody.kept().epoch);
    let custodians = target(args, kept);
    let threshold = args.threshold.map_or(kept.commitments.len(), usize::from);
    let told = |state, epoch, transaction| {
        let custodians = custodians.clone();
        Handed { record, version, state, epoch, custodians, threshold, transaction }
    };
    if custodians == kept.custodians && threshold == kept.commitments.len() && !args.refresh {
        return Ok(Some(told(State::Unchanged, before, None)));
    }
    let small = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    let plan = Reshare {
        record,
        version,
        custodians: custodians.clone(),
        threshold: small(threshold),
        min_acks: small(acknowledgements(threshold, custodians.len())),
    };
    let call = Invocation::Access(Access::Reshare(Box::new(plan)));
    let done = session.client.call(call).await.map_err(|error| failure::call(&error))?;
    applied(&done)?;
    let begun = Instant::now();
    while !args.no_wait && begun.elapsed() < session.patience {
        let now = self::custody(session, record, version).await?;
        if now.kept().epoch > before {
            return Ok(Some(told(State::Done, now.kept().epoch, Some(done.transaction))));
        }
        session.client.gateway().pause(LOOK_EVERY).await;
    }
    Ok(Some(told(State::Pending, before, Some(done.transaction))))
}

/// How many of the next custodians must have their shares before the others' are worth nothing: as many as there are without
/// those who may fail, and never fewer than the ledger asks for.
fn acknowledgements(threshold: usize, custodians: usize) -> usize {
    (2 * threshold).saturating_sub(1).max(custodians.saturating_sub(faults(custodians)))
}

/// Who keeps the key next.
fn target(args: &Args, kept: &Kept) -> Vec<NodeId> {
    if !args.custodian.is_empty() {
        return args.custodian.clone();
    }
    let mut custodians = kept.custodians.clone();
    for (old, new) in &args.replace {
        custodians.iter_mut().filter(|node| *node == old).for_each(|node| *node = *new);
    }
    custodians.retain(|node| !args.remove.contains(node));
    for node in &args.add {
        if !custodians.contains(node) {
            custodians.push(*node);
        }
    }
    custodians
}

/// The versions of a record.
async fn versions(session: &Session, record: RecordId) -> Result<Vec<RecordVersion>, Failure> {
    let shown = session.client.gateway().get(&format!("records/{record}")).await;
    let shown = shown.map_err(|error| failure::gateway(&error))?;
    let last = shown.get("last_version").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    Ok((1..=last.unwrap_or(0)).map(RecordVersion::new).collect())
}

async fn custody(session: &Session, record: RecordId, version: RecordVersion) -> Result<VerifiedCustody, Failure> {
    let custody = session.client.custody(record, version, Duration::ZERO).await;
    custody.map_err(|error| failure::call(&error))?.ok_or_else(|| {
        Failure::new(Exit::NotFound, "unknown_record", format!("there is no version {version} of record {record}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(byte: u8) -> NodeId {
        NodeId::new([byte; 32])
    }

    fn kept() -> Kept {
        let custodians = (1..=4).map(node).collect();
        Kept { epoch: ShareEpoch::new(0), commitments: vec![[1; 32]; 2], custodians, min_acks: 3 }
    }

    fn args() -> Args {
        Args {
            records: Vec::new(),
            all: false,
            custodian: Vec::new(),
            add: Vec::new(),
            remove: Vec::new(),
            replace: Vec::new(),
            threshold: None,
            refresh: false,
            no_wait: false,
        }
    }

    #[test]
    fn custodians_are_replaced_in_their_place_and_added_at_the_end_once() {
        let to = |args: Args| target(&args, &kept());
        assert_eq!(to(args()), kept().custodians);
        let replaced = Args { replace: vec![(node(2), node(7))], ..args() };
        assert_eq!(to(replaced), [1, 7, 3, 4].map(node));
        let changed = Args { remove: vec![node(1)], add: vec![node(5), node(4)], ..args() };
        assert_eq!(to(changed), [2, 3, 4, 5].map(node));
        let exactly = Args { custodian: vec![node(9), node(8)], ..args() };
        assert_eq!(to(exactly), [9, 8].map(node));
    }

    #[test]
    fn all_but_those_who_may_fail_have_their_shares_before_an_epoch_begins() {
        for (threshold, custodians, acks) in [(2, 3, 3), (2, 4, 3), (3, 7, 5), (2, 7, 5), (3, 5, 5), (6, 16, 11)] {
            assert_eq!(acknowledgements(threshold, custodians), acks, "{threshold} of {custodians}");
        }
    }

    #[test]
    fn a_pair_is_two_ids() {
        let (old, new) = (node(1).to_string(), node(2).to_string());
        assert_eq!(pair(&format!("{old}={new}")), Ok((node(1), node(2))));
        assert!(pair(&old).is_err() && pair(&format!("{old}=x")).is_err());
    }
}
