//! The six functions that the source paper measures, as calls of the contract `medical`.

use super::{
    super::{failure, record::applied},
    driver::Worker,
    insist::insist,
    stage::{PATIENCE, Person},
};
use crate::exit::{Exit, Failure};
use dmdl_types::{
    id::{NoteCommitment, RecordId},
    invocation::{Invocation, Medical, Metadata},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A function of the contract, by the name that the paper gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    InitialMedical,
    TransferMedical,
    Delete,
    ReadMedical,
    GetHistory,
    QueryByOwner,
}

/// What changes the ledger.
pub(super) const INVOKE: [Function; 3] = [Function::InitialMedical, Function::TransferMedical, Function::Delete];
/// What only reads.
pub(super) const QUERY: [Function; 3] = [Function::ReadMedical, Function::GetHistory, Function::QueryByOwner];

impl Function {
    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::InitialMedical => "initialMedical",
            Self::TransferMedical => "transferMedical",
            Self::Delete => "delete",
            Self::ReadMedical => "readMedical",
            Self::GetHistory => "getHistory",
            Self::QueryByOwner => "queryByOwner",
        }
    }

    /// Whether it changes the ledger.
    pub(super) fn changes(self) -> bool {
        INVOKE.contains(&self)
    }
}

/// An owner who calls functions in turn, on records that all owners of a run have in common.
pub(super) struct Clerk {
    me: Arc<Person>,
    other: Arc<Person>,
    shelf: Arc<Mutex<Shelf>>,
    turns: Vec<Function>,
    next: usize,
}

/// Records, each with its owner.
#[derive(Default)]
struct Shelf {
    held: VecDeque<Item>,
    given: VecDeque<Item>,
}

type Item = (Arc<Person>, RecordId);

impl Clerk {
    /// One for each of at least two owners, who call these functions in turn.
    pub(super) fn all(owners: &[Arc<Person>], turns: &[Function]) -> Vec<Self> {
        let shelf = Arc::default();
        let clerk = |(me, other): (&Arc<Person>, &Arc<Person>)| Self {
            me: Arc::clone(me),
            other: Arc::clone(other),
            shelf: Arc::clone(&shelf),
            turns: turns.to_vec(),
            next: 0,
        };
        owners.iter().zip(owners.iter().cycle().skip(1)).map(clerk).collect()
    }

    /// Enters so many records, for functions that need some.
    pub(super) async fn stock(&self, count: usize) -> Result<(), Failure> {
        for _ in 0..count {
            insist(PATIENCE, async || self.call(Function::InitialMedical).await).await?;
        }
        Ok(())
    }

    async fn call(&self, function: Function) -> Result<(), Failure> {
        match function {
            Function::InitialMedical => {
                let metadata = Metadata { media_type: "application/dicom".to_owned(), subject: None, listed: true };
                // Where it comes from does not matter here, and its commitment looks like any other.
                let source = NoteCommitment::new(*self.me.id().as_bytes());
                let record = invoke(&self.me, Medical::Initial { metadata, source, storage: None }).await?;
                self.shelf().held.push_back((Arc::clone(&self.me), record));
            }
            Function::TransferMedical => {
                let (owner, record) = self.shelf().held.pop_front().ok_or_else(no_record)?;
                let heir = if Arc::ptr_eq(&owner, &self.me) { &self.other } else { &self.me };
                invoke(&owner, Medical::Transfer { record, to: heir.id() }).await?;
                self.shelf().given.push_back((Arc::clone(heir), record));
            }
            Function::Delete => {
                let (owner, record) = self.shelf().oldest().ok_or_else(no_record)?;
                invoke(&owner, Medical::Delete { record }).await?;
            }
            Function::ReadMedical | Function::GetHistory => {
                let record = self.shelf().in_turn().ok_or_else(no_record)?;
                ask(&self.me, function, &json!({ "record": record })).await?;
            }
            Function::QueryByOwner => ask(&self.me, function, &json!({ "owner": self.me.id() })).await?,
        }
        Ok(())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A list is whole after each change, whatever became of another worker.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// Takes a record that has gone through most.
    fn oldest(&mut self) -> Option<Item> {
        self.given.pop_front().or_else(|| self.held.pop_front())
    }

    /// Another record each time.
    fn in_turn(&mut self) -> Option<RecordId> {
        let record = self.held.front().map(|(_, record)| *record)?;
        self.held.rotate_left(1);
        Some(record)
    }
}

impl Worker for Clerk {
    async fn step(&mut self) -> Result<(), Failure> {
        let Some(function) = self.turns.get(self.next).copied() else { return Ok(()) };
        let called = self.call(function).await;
        // What follows from a call that failed would fail too: the round begins anew.
        self.next = if called.is_ok() && self.next + 1 < self.turns.len() { self.next + 1 } else { 0 };
        called
    }
}

fn no_record() -> Failure {
    Failure::new(Exit::Unavailable, "no_record", "there is no record that this could be done to")
}

/// A call, its outcome believed by its receipt alone.
async fn invoke(person: &Person, call: Medical) -> Result<RecordId, Failure> {
    let done = person.call(Invocation::Medical(call)).await.map_err(|error| failure::call(&error))?;
    applied(&done)?;
    done.event.record.ok_or_else(no_record)
}

/// What is looked at of an answer; the rest of it is read, and not kept.
#[derive(Deserialize)]
struct Answer {
    items: Option<Vec<IgnoredAny>>,
}

/// A question, as a request of the person.
async fn ask(person: &Person, function: Function, args: &Value) -> Result<(), Failure> {
    let question = json!({ "contract": "medical", "function": function.name(), "args": args });
    let answer: Answer = person.gateway().query(&question).await.map_err(|error| failure::gateway(&error))?;
    // An empty answer would be cheap, and none of what is asked here is empty.
    let empty = || Failure::new(Exit::Unavailable, "empty_answer", "the gateway knows of nothing that was asked for");
    if answer.items.is_some_and(|items| items.is_empty()) { Err(empty()) } else { Ok(()) }
}
