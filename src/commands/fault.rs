//! What a process of a node does when its disk fails: it says what failed and what to do, and is gone.

use super::fail;
use crate::exit::{Exit, Failure};
use dmdl_audit_ledger::fault::{FaultKind, FaultSink, StorageFault};
use std::{
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Ends the process at the first fault, on the thread that met it: nothing else of the node says another word.
pub(super) fn end_process(as_json: bool) -> FaultSink {
    let is_told = AtomicBool::new(false);
    FaultSink::new(move |fault| {
        if is_told.swap(true, Ordering::Relaxed) {
            // Whoever meets the same disk a moment later has nothing to add: one line says what failed.
            loop {
                thread::park();
            }
        }
        let failure = failure(fault);
        if as_json {
            // The document goes to whoever started it, and this to the log.
            tracing::error!("{}", failure.detail);
        }
        let _ = fail(&failure, as_json);
        process::exit(failure.exit as i32)
    })
}

fn failure(fault: &StorageFault) -> Failure {
    let (code, remedy) = match fault.kind {
        FaultKind::Full => ("storage_full", "make room on the disk, then start it again"),
        FaultKind::Failed => ("storage_failed", "see that the disk is well (`dmesg`, `smartctl`), then start it again"),
        FaultKind::Damaged => (
            "storage_damaged",
            "start it again: what can be had from others is put aside and fetched anew; if that does not help, see \
             docs/operations.md, \"When a disk fails\"",
        ),
        FaultKind::Halted => ("node_stopped", "see its log, and that the disk is well, then start it again"),
    };
    Failure::new(Exit::Storage, code, format!("{fault}; the node has stopped at once, and votes no more: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_ends_with_74_and_says_where_and_what_to_do() {
        for (kind, code) in [
            (FaultKind::Full, "storage_full"),
            (FaultKind::Failed, "storage_failed"),
            (FaultKind::Damaged, "storage_damaged"),
            (FaultKind::Halted, "node_stopped"),
        ] {
            let failure = failure(&StorageFault::of(kind, "engine/a-file", "no such luck"));
            assert_eq!((failure.exit, failure.code.as_ref()), (Exit::Storage, code));
            assert!(failure.detail.contains("`engine/a-file`: no such luck"), "{}", failure.detail);
            assert!(failure.detail.contains("start it again"), "{}", failure.detail);
        }
    }
}
