//! The threads of a host: started, waited for, stopped.

use super::{Host, HostedNode, charters, ground, running::Running};
use crate::node::{NodeConfig, StartError, StartToken};
use commonware_runtime::{Runner as _, tokio as runtime};
use dmdl_audit_ledger::{channel::Standing, process::Steady};
use dmdl_types::id::NodeId;
use std::{path::Path, sync::Arc, thread, time::Instant};
use tokio::sync::oneshot;

/// Worker threads of one node's runtime.
const WORKERS: usize = 2;

/// A host that runs on threads of its own; dropped, it stops as a crash would.
pub struct Handle {
    host: Arc<Host>,
    standing: Standing,
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
        // With only one of the two, this node could vote again where it has voted before. The ledger is made before
        // the engine writes anything.
        let ledger = folder.join("ledger");
        if ground::has_journals(&config.dir.join("engine"), first) && !ledger.exists() {
            return Err(StartError::Incomplete(folder.display().to_string()));
        }
        let token = StartToken { network: config.genesis.id(), node: NodeId::of_key(config.key.public()) };
        // Before there is an engine that could speak.
        let standing = token.spend(&config.start_token, &config.dir, &ledger)?;
        let (ready, started) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runner = runtime::Runner::new(
                runtime::Config::new().with_worker_threads(WORKERS).with_storage_directory(config.dir.join("engine")),
            );
            runner.start(|context| async move {
                let context = Steady::new(context, Instant::now());
                match Running::start(context, config, standing).await {
                    Ok(running) => {
                        // Who asked for the node may have gone; then it stops at once.
                        let _ = ready.send(Ok(Arc::clone(running.host())));
                        running.run(stopped).await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        });
        let host = started.recv().map_err(|_| StartError::Ended)??;
        Ok(Self { host, standing, stop: Some(stop), thread: Some(thread) })
    }

    /// Whether it could vote when it started.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
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
