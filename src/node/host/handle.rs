//! The threads of a host: started, waited for, stopped.

use super::{
    Host, HostedNode, charters, ground,
    repair::{self, Repair},
    running::Running,
};
use crate::node::{NodeConfig, OwnDisk, Space, StartError, StartToken};
use commonware_runtime::{Runner as _, tokio as runtime};
use dmdl_audit_ledger::{
    fault::{FaultKind, FaultSink, StorageFault},
    process::{Disk, Steady},
};
use dmdl_types::id::NodeId;
use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};

/// Worker threads of one node's runtime.
const WORKERS: usize = 2;

/// A connection on which nothing comes for so long is given up, and made anew: a peer says something every five seconds. What
/// a link has swallowed the system sends again later and later, at worst as long after the link is mended as it was down.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Where a node's faults are told: to whoever started it, and then to its own loop, which ends.
fn faults_of(config: &NodeConfig) -> (FaultSink, mpsc::Receiver<StorageFault>) {
    let (tell, told) = mpsc::channel(1);
    let (first, dir) = (config.faults.clone(), config.dir.clone());
    let sink = FaultSink::new(move |fault| {
        repair::note(&dir, fault);
        first.tell(fault);
        // One is enough to end it.
        let _ = tell.try_send(fault.clone());
    });
    (sink, told)
}

/// Speaks when a task of the engine panics: the runtime then lets go of everything, this first.
struct LastWord(FaultSink);

impl Drop for LastWord {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.tell(&StorageFault::of(FaultKind::Halted, "engine", "a task of the engine panicked"));
        }
    }
}

/// A host that runs on threads of its own; dropped, it stops as a crash would.
pub struct Handle {
    host: Arc<Host>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({:?})", self.host)
    }
}

impl Handle {
    /// Starts a node and waits until all of its channels are ready.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(config: NodeConfig) -> Result<Self, StartError> {
        let make = |path: &Path| std::fs::create_dir_all(path).map_err(|source| ground::folder_error(path, source));
        make(&config.dir)?;
        make(&config.vault)?;
        let first = config.genesis.channel_id();
        let folder = charters::make_folder(&config.dir, first);
        let folder = folder.map_err(|source| ground::folder_error(&config.dir, source))?;
        let repair = Repair::of(&config.dir, first);
        repair.put_ledger_aside().map_err(|source| ground::folder_error(&folder, source))?;
        // With only one of the two, this node could vote again where it has voted before. The ledger is made before
        // the engine writes anything.
        let ledger = folder.join("ledger");
        if ground::has_journals(&config.dir.join("engine"), first) && !ledger.exists() {
            return Err(StartError::Incomplete(folder.display().to_string()));
        }
        let token = StartToken { network: config.genesis.id(), node: NodeId::of_key(config.key.public()) };
        // Before there is an engine that could speak.
        let standing = token.spend(&config.start_token, &config.dir, &ledger, config.votes)?;
        let (faults, mut told) = faults_of(&config);
        let marks = config.dir.join("votes.marks");
        let disk = Disk::watch(&marks, faults.clone()).map_err(|source| ground::folder_error(&marks, source))?;
        let own = OwnDisk { space: Space::default(), faults };
        let (ready, started) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let settings = runtime::Config::new()
                .with_worker_threads(WORKERS)
                .with_read_write_timeout(SILENCE_MAX)
                .with_storage_directory(config.dir.join("engine"));
            runtime::Runner::new(settings).start(|context| async move {
                let _last_word = LastWord(own.faults.clone());
                let context = Steady::new(context, Instant::now(), disk);
                let running = tokio::select! {
                    biased;
                    Some(fault) = told.recv() => Err(StartError::Disk(fault)),
                    running = Running::start(context, config, standing, own) => running,
                };
                match running {
                    Ok(running) => {
                        // Who asked for the node may have gone; then it stops at once.
                        let _ = ready.send(Ok(Arc::clone(running.host())));
                        running.run(stopped, told).await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        });
        let host = started.recv().map_err(|_| StartError::Ended)??;
        Ok(Self { host, stop: Some(stop), thread: Some(thread) })
    }

    /// All of its channels.
    #[must_use]
    pub const fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The node on the network's first channel.
    #[must_use]
    pub fn node(&self) -> &HostedNode {
        self.host.first()
    }

    /// Whether the node has stopped by itself.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }

    /// Stops the node and waits until its folder is free.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic in the node was printed where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.halt();
    }
}
