//! The network that is measured, and the people who act on it.

use super::{
    super::{ends::Ends, failure, record::applied, session::Address},
    machine,
};
use crate::{
    client::{CallError, Client, HttpGateway, Trust},
    exit::{Exit, Failure},
    gateway,
    local::{Identity, LocalError, LocalNetwork, Shape, os_rng},
    node::Final,
};
use dmdl_types::{
    genesis::{Genesis, Role},
    invocation::{Invocation, Membership},
    sign::PublicKey,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use serde_json::Value;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The organisations of a network of our own: as few as agree although one of them lies.
const ORGS: [&str; 4] = ["org-1", "org-2", "org-3", "org-4"];
/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Calls on their way at a time while a run is prepared.
const AT_ONCE: usize = 32;

/// A person at the gateway that is measured.
pub(super) type Person = Client<HttpGateway, UnwrapErr<SysRng>>;

/// The network that is measured.
pub(super) struct Stage {
    genesis: Genesis,
    url: String,
    certificate_sha256: Option<[u8; 32]>,
    admin: Identity,
    /// Whom a running network may know of by now.
    enrolled: Vec<PublicKey>,
    own: Option<Own>,
}

/// A network of our own, gone with this value.
struct Own {
    // Dropped in this order: nobody writes into the folder when it is removed.
    server: gateway::Server,
    network: LocalNetwork,
    folder: TempDir,
}

impl Stage {
    /// A network that runs already, on which this admin enrols whoever is needed.
    pub(super) fn running(genesis: Genesis, at: Address, admin: Identity) -> Self {
        let (url, certificate_sha256) = at;
        Self { genesis, url, certificate_sha256, admin, enrolled: Vec::new(), own: None }
    }

    /// A new network of four organisations in this process, with every role each, and a gateway: in a
    /// temporary folder.
    pub(super) fn temporary(runtime: &Runtime, ends: &mut Ends) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("dmdl-bench-").tempdir();
        let folder = folder.map_err(|error| Failure::new(Exit::Storage, "storage", error))?;
        let [home, ..] = ORGS;
        let admin = Identity::new(home, "admin", Role::Admin).map_err(internal)?;
        let nodes = folder.path().join("nodes");
        let network = LocalNetwork::create(&nodes, &ORGS, &[&admin], Shape::default());
        let mut network = network.map_err(|error| not_up(&error))?;
        network.start_all().map_err(|error| not_up(&error))?;
        match network.wait_ready_unless(PATIENCE, || ends.came()) {
            Ok(true) => {}
            Ok(false) => return Err(interrupted()),
            Err(error) => return Err(not_up(&error)),
        }
        let host = network.node(0).ok_or_else(|| not_up(&LocalError::NotReady(PATIENCE)))?.host().clone();
        let config = gateway::Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: Some(folder.path().join("tls")),
            uploads: folder.path().join("uploads"),
            ..gateway::Config::default()
        };
        let server = runtime.block_on(gateway::Server::start(config, host));
        let server = server.map_err(|error| Failure::new(Exit::Configuration, "listen", error))?;
        Ok(Self {
            genesis: network.genesis().clone(),
            url: format!("https://{}", server.address()),
            certificate_sha256: server.certificate_sha256(),
            admin,
            enrolled: Vec::new(),
            own: Some(Own { server, network, folder }),
        })
    }

    /// The folder of the nodes of a network of our own.
    pub(super) fn nodes(&self) -> Option<PathBuf> {
        self.own.as_ref().map(|own| own.folder.path().join("nodes"))
    }

    /// How many nodes there are.
    pub(super) const fn nodes_count(&self) -> usize {
        self.genesis.members.len()
    }

    /// What the network is, in a few words.
    pub(super) fn line(&self) -> String {
        let orgs = self.nodes_count();
        match &self.own {
            Some(own) => {
                let on = machine::file_system(own.folder.path());
                format!("{orgs} organisations in this process, on {on}; one gateway, over TLS")
            }
            None => format!("{orgs} organisations, at the gateway {}", self.url),
        }
    }

    /// Whether the network is in this process.
    pub(super) const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// How many events the ledger has.
    pub(super) async fn events(&self) -> Result<u64, Failure> {
        let status = self.client(&self.admin)?.gateway().get("status").await.map_err(|e| failure::gateway(&e))?;
        let size = status.get("log_size").and_then(Value::as_u64);
        size.ok_or_else(|| {
            Failure::new(Exit::Integrity, "gateway_answer", "the gateway's status has no size of the log")
        })
    }

    /// Enrols this many new people with a role, each of whom has a quota of their own.
    pub(super) async fn enrol(&mut self, role: Role, count: usize) -> Result<Vec<Arc<Person>>, Failure> {
        let org = self.admin.person.org.as_str();
        let identity = |number| Identity::new(org, &format!("bench-{number}"), role).map_err(internal);
        let identities = (0..count).map(identity).collect::<Result<Vec<Identity>, Failure>>()?;
        // Before they are enrolled: whatever interrupts this, they are revoked.
        self.enrolled.extend(identities.iter().map(|identity| identity.person.key));
        let admin = self.client(&self.admin)?;
        let one = |identity| self.enrol_one(&admin, identity);
        stream::iter(identities.iter().map(one)).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn enrol_one(&self, admin: &Person, identity: &Identity) -> Result<Arc<Person>, Failure> {
        let call = Invocation::Membership(Membership::Enrol { person: identity.person.clone() });
        proved(admin.call(call).await)?;
        self.client(identity).map(Arc::new)
    }

    /// Revokes whom it has enrolled on a network that lives on, or takes down one of our own.
    pub(super) fn close(self, runtime: &Runtime) -> Result<(), Failure> {
        let Some(own) = self.own else { return runtime.block_on(self.revoke()) };
        let Own { server, mut network, folder } = own;
        runtime.block_on(server.stop());
        (0..ORGS.len()).for_each(|position| network.stop(position));
        let path = folder.path().display().to_string();
        let left = |error| Failure::new(Exit::Storage, "storage", format!("`{path}` could not be removed: {error}"));
        folder.close().map_err(left)
    }

    /// Revokes everybody, and then says what went wrong first.
    async fn revoke(&self) -> Result<(), Failure> {
        let admin = &self.client(&self.admin)?;
        let revoke = |key: &PublicKey| {
            let call = Invocation::Membership(Membership::Revoke { key: *key });
            async move { proved(admin.call(call).await).map(drop) }
        };
        let revoked: Vec<Result<(), Failure>> =
            stream::iter(self.enrolled.iter().map(revoke)).buffer_unordered(AT_ONCE).collect().await;
        // Who was not enrolled yet when it was interrupted need not be revoked.
        let failed = revoked.into_iter().filter_map(Result::err).find(|failure| failure.code != "unknown_person");
        failed.map_or(Ok(()), Err)
    }

    fn client(&self, identity: &Identity) -> Result<Person, Failure> {
        let gateway = HttpGateway::new(&self.url, self.certificate_sha256, &self.genesis.founding(), &identity.key)
            .map_err(|error| Failure::new(Exit::Configuration, "bad_gateway", error))?;
        Ok(Client::new(Trust::new(self.genesis.founding()), identity.key(), gateway, os_rng(), PATIENCE))
    }
}

/// What a call came to that must succeed.
pub(super) fn proved(done: Result<Final, CallError>) -> Result<Final, Failure> {
    let done = done.map_err(|error| failure::call(&error))?;
    applied(&done)?;
    Ok(done)
}

/// Somebody has ended it before its time.
pub(super) fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted", "interrupted; nothing was measured")
}

fn internal(error: impl ToString) -> Failure {
    Failure::new(Exit::Internal, "internal", error)
}

fn not_up(error: &LocalError) -> Failure {
    Failure::new(Exit::Unavailable, "network", error)
}
