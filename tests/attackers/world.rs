//! A real network, its real gateway, and the attacker's gateway before it, which is the only one that the
//! network file of its victims names.

use super::{
    mitm::{Mitm, Trick},
    secrets::Secrets,
};
use crate::common::{PATIENCE, TestNetwork, granted, research_policy, start::register_among_all, terms};
use commonware_utils::TestRng;
use dmdl::{
    client::{Client, Draft, HttpGateway, Registered, Trust},
    gateway::{Config, RealNode, Server},
    keyfile,
    local::{Identity, os_rng},
    network_file::{CertificateDigest, Endpoint, NetworkFile},
    node::{Final, GatewayError},
};
use dmdl_types::{
    access::DuoCode,
    checkpoint::CosigningKey,
    context::DataContext,
    custody::DealingKey,
    genesis::Genesis,
    id::{GrantId, NodeId, TransactionId},
    invocation::Metadata,
    receipt::Receipt,
    secret::Secret32,
    sign::{PublicKey, SigningKey},
};
use dmdl_vault::share::{self, Dealt, Threshold};
use serde_json::Value;
use std::{
    io::Cursor,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Somebody at the attacker's gateway, whose secrets follow from a number.
pub(crate) type Victim = Client<HttpGateway, TestRng>;

/// The network, with both gateways.
pub(crate) struct World {
    pub(crate) evil: Mitm,
    honest: Option<Server>,
    pub(crate) network: Arc<TestNetwork>,
    dir: TempDir,
    names: AtomicUsize,
}

/// Numbers that no secrets have followed from yet: two dealings alike would be one record.
static SEEDS: AtomicU64 = AtomicU64::new(1);

/// A record with all that is secret about it.
pub(crate) struct Known {
    /// What its dealing follows from.
    pub(crate) seed: u64,
    pub(crate) registered: Registered,
    pub(crate) plaintext: Vec<u8>,
    pub(crate) secrets: Secrets,
}

impl World {
    pub(crate) fn start() -> Self {
        let (network, dir) = (TestNetwork::shared(), tempfile::tempdir().unwrap());
        let (honest, evil) = network.run(async {
            let here = SocketAddr::from(([127, 0, 0, 1], 0));
            let listener = TcpListener::bind(here).await.unwrap();
            // It answers for the name that clients know the attacker by.
            let names = vec![listener.local_addr().unwrap().to_string()];
            let config = Config { listen: here, names, uploads: dir.path().join("uploads"), ..Config::default() };
            let honest = Server::start(config, network.node(0).host().clone()).await.unwrap();
            let evil = Mitm::start(listener, honest.address());
            (honest, evil)
        });
        let world = Self { evil, honest: Some(honest), network, dir, names: AtomicUsize::new(0) };
        let pin = Some(CertificateDigest(world.evil.certificate_sha256));
        let endpoint = Endpoint { url: world.url(), certificate_sha256: pin };
        let file = NetworkFile::of(world.genesis().clone()).with_gateway(endpoint);
        std::fs::write(world.path("network.toml"), file.to_text().unwrap()).unwrap();
        for (name, identity) in [("owner", &world.network.owner), ("researcher", &world.network.researcher)] {
            keyfile::write(&world.path(&format!("{name}.key")), identity, None, &mut os_rng()).unwrap();
        }
        world
    }

    fn url(&self) -> String {
        format!("https://{}", self.evil.address)
    }

    pub(crate) fn genesis(&self) -> &Genesis {
        self.network.nodes.genesis()
    }

    pub(crate) fn node(&self) -> RealNode {
        self.network.node(0).node().clone()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path where nothing is.
    pub(crate) fn new_path(&self) -> PathBuf {
        self.path(&format!("out-{}", self.names.fetch_add(1, Ordering::Relaxed)))
    }

    /// A new file with these bytes.
    pub(crate) fn file(&self, bytes: &[u8]) -> String {
        let path = self.new_path();
        std::fs::write(&path, bytes).unwrap();
        text(&path)
    }

    /// Runs the program as somebody at the attacker's gateway, with what this person remembers.
    pub(crate) fn dmdl(&self, who: &str, args: &[String]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dmdl"));
        for setting in ["DMDL_LOG", "DMDL_GATEWAY", "DMDL_CHANNEL"] {
            command.env_remove(setting);
        }
        command
            .env("DMDL_NETWORK", self.path("network.toml"))
            .env("DMDL_IDENTITY", self.path(&format!("{who}.key")))
            .env("DMDL_HOME", self.path(&format!("home-{who}")))
            .args(args)
            .arg("--json")
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Runs the program, and gives its exit code and what it said.
    pub(crate) fn run(&self, who: &str, args: &[String]) -> (i32, Value) {
        let output = self.dmdl(who, args);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("panicked"), "{args:?}: {said}");
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}"));
        (output.status.code().expect("it ends by itself"), json)
    }

    /// Somebody at the attacker's gateway, in this process.
    pub(crate) fn victim(&self, identity: &Identity, seed: u64) -> Victim {
        let pin = Some(self.evil.certificate_sha256);
        let gateway = HttpGateway::new(&self.url(), pin, &self.genesis().founding(), &identity.key).unwrap();
        Client::new(Trust::new(self.genesis().founding()), identity.key(), gateway, TestRng::new(seed), PATIENCE)
    }

    /// Registers a record at the attacker's gateway, while that behaves, as the owner; every node has a share.
    pub(crate) fn register(&self, plaintext: Vec<u8>) -> Known {
        let mut seed = 0;
        let register = async || {
            seed = self::seed();
            let owner = self.victim(&self.network.owner, seed);
            let draft = Draft::new(metadata(), Some(research_policy()));
            owner.register(&plaintext[..], Cursor::new(Vec::new()), draft, &|_| ()).await
        };
        let registered = self.network.run(register_among_all(&self.network.nodes, register));
        let owner = self.victim(&self.network.owner, 0);
        let active = self.network.run(owner.wait_active(registered.record, registered.version, PATIENCE));
        assert!(active.unwrap(), "all have acknowledged");
        let data = self.data(&registered);
        let mut secrets = secrets_of(&dealt(seed, registered.custodians.len()), &data);
        secrets.add_plaintext("the plaintext", &plaintext);
        Known { seed, registered, plaintext, secrets }
    }

    pub(crate) fn data(&self, registered: &Registered) -> DataContext {
        let domain = self.genesis().domain();
        let (record, version) = (registered.record, registered.version);
        DataContext { network: domain.network, channel: domain.channel, record, version }
    }

    /// A grant to the researcher that nobody has used.
    pub(crate) fn grant(&self, known: &Known) -> GrantId {
        self.network.run(async {
            let researcher = self.network.at(0, &self.network.researcher);
            granted(&researcher, known.registered.record, 10).await
        })
    }

    /// A request that the policy allows at once.
    pub(crate) fn allowed_request(&self, known: &Known) -> Final {
        self.network.run(async {
            let researcher = self.network.at(0, &self.network.researcher);
            researcher.request(known.registered.record, terms(DuoCode::Hmb, 1), "a study").await.unwrap()
        })
    }

    pub(crate) fn receipt(&self, done: &Final) -> Receipt {
        self.network.run(self.node().receipt(done, PATIENCE)).unwrap()
    }

    /// A share that a custodian released, as it travels.
    pub(crate) fn released(&self, custodian: NodeId, decryption: TransactionId) -> Vec<u8> {
        let node = self.node();
        self.network.run(until_answered(async || node.release(custodian, decryption).await)).unwrap()
    }

    /// A dealing key of a custodian, for one dealer.
    pub(crate) fn dealing_key(&self, custodian: NodeId, dealer: PublicKey) -> DealingKey {
        let node = self.node();
        self.network.run(until_answered(async || node.dealing_keys(custodian, dealer, 1).await)).unwrap()[0]
    }

    /// The secrets of a node: of its signatures and of its cosignatures.
    pub(crate) fn stolen(&self, position: usize) -> (SigningKey, CosigningKey) {
        let secret = |name: &str| keyfile::read_secret(&self.network.folder(position).join(name)).unwrap();
        (SigningKey::from_seed(secret("node.key")), CosigningKey::from_seed(secret("cosigning.key")))
    }

    /// Plays tricks while something is done, and gives what came of it and everything that the attacker saw.
    pub(crate) fn under<T>(&self, tricks: Vec<Trick>, act: impl FnOnce() -> T) -> (T, Vec<u8>) {
        self.evil.seen();
        self.evil.play(tricks);
        let done = act();
        let (played, seen) = (self.evil.played(), self.evil.seen());
        self.evil.play(Vec::new());
        assert!(played > 0, "the attacker had something to forge");
        (done, seen)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(honest) = self.honest.take() {
            self.network.run(honest.stop());
        }
    }
}

/// Asks a custodian again while it is late, or behind the ledger.
pub(crate) async fn until_answered<T>(ask: impl AsyncFn() -> Result<T, GatewayError>) -> Result<T, GatewayError> {
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        let later = match &answer {
            Err(GatewayError::Ask { .. }) => true,
            Err(GatewayError::NodeRefused { refused, .. }) => {
                ["behind", "not_final", "stale_view"].contains(&refused.code.as_str())
            }
            _ => false,
        };
        if !later || begun.elapsed() > PATIENCE {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A number that no secrets have followed from yet.
pub(crate) fn seed() -> u64 {
    SEEDS.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn metadata() -> Metadata {
    Metadata { media_type: "application/octet-stream".to_owned(), subject: None, listed: true }
}

/// What a dealer with this seed deals first.
pub(crate) fn dealt(seed: u64, custodians: usize) -> Dealt {
    let threshold = Threshold::new(2, u8::try_from(custodians).unwrap()).unwrap();
    share::deal(&mut TestRng::new(seed), threshold).unwrap()
}

/// The data key and the shares of a dealing.
pub(crate) fn secrets_of(dealt: &Dealt, data: &DataContext) -> Secrets {
    let mut secrets = Secrets::default();
    dealt.data_key(data).expose(|key| secrets.add("the data key", key));
    for share in dealt.shares() {
        // Behind its position a share is two numbers of 32 bytes.
        share.expose(|bytes| {
            secrets.add(format!("share {}", bytes[0]), &bytes[1..33]);
            secrets.add(format!("the blinding of share {}", bytes[0]), &bytes[33..]);
        });
    }
    secrets
}

/// A key of nobody.
pub(crate) fn stranger(number: u8) -> SigningKey {
    SigningKey::from_seed(Secret32::new([number; 32]))
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Words of a command line.
pub(crate) fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
