//! `dmdl up`: a network of several organisations on this machine that lasts.

use super::{
    Report,
    ends::Ends,
    fault,
    output::{self, say, storage},
};
use crate::{
    exit::{Exit, Failure},
    gateway,
    keyfile::{self, KeyFileError},
    local::{Identity, LocalError, LocalNetwork, Shape, os_rng},
    network_file::{CertificateDigest, Endpoint, NetworkFile},
};
use clap::Args as ClapArgs;
use dmdl_types::genesis::Role;
use serde_json::json;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long the nodes may take to make a block.
const PATIENCE: Duration = Duration::from_secs(60);
/// The organisations, in the order in which they join.
const ORGS: [&str; 16] = [
    "city-hospital",
    "university-clinic",
    "research-institute",
    "health-registry",
    "childrens-hospital",
    "cancer-centre",
    "heart-clinic",
    "north-hospital",
    "south-hospital",
    "east-hospital",
    "west-hospital",
    "eye-clinic",
    "trauma-centre",
    "biobank",
    "imaging-centre",
    "rehab-clinic",
];
/// The people, each with the position of their organisation.
const PEOPLE: [(&str, usize, Role); 5] = [
    ("owner", 0, Role::Owner),
    ("researcher", 2, Role::Researcher),
    ("committee", 0, Role::Committee),
    ("officer", 3, Role::Officer),
    ("admin", 0, Role::Admin),
];

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The folder of everything the network keeps.
    #[arg(long, value_name = "DIR", default_value = "dmdl-network")]
    dir: PathBuf,
    /// How many organisations, one node each: 4, 7, 10, 13 or 16. Four if the network is new.
    #[arg(long, value_name = "N", value_parser = orgs)]
    orgs: Option<usize>,
    /// How many shares open a record, of a new network; one more than may fail if not given.
    #[arg(long, value_name = "K")]
    threshold: Option<u8>,
    /// Where the gateway listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Serve plain HTTP; only on a loopback address.
    #[arg(long)]
    plain_http: bool,
}

/// How many organisations somebody wants: as many as agree although some of them lie.
pub(super) fn orgs(text: &str) -> Result<usize, String> {
    let allowed = |n: &usize| (4..=ORGS.len()).contains(n) && n % 3 == 1;
    text.parse().ok().filter(allowed).ok_or_else(|| "must be 4, 7, 10, 13 or 16".to_owned())
}

/// Where things lie in the folder.
struct Layout<'a>(&'a Path);

impl Layout<'_> {
    fn pin(&self) -> PathBuf {
        self.0.join("network.toml")
    }

    fn identity(&self, name: &str) -> PathBuf {
        self.0.join("identities").join(format!("{name}.key"))
    }

    fn nodes(&self) -> PathBuf {
        self.0.join("nodes")
    }

    fn tls(&self) -> PathBuf {
        self.0.join("tls")
    }

    fn uploads(&self) -> PathBuf {
        self.0.join("uploads")
    }
}

pub(super) fn run(args: &Args, quiet: bool, as_json: bool) -> Result<Report, Failure> {
    let begun = Instant::now();
    if !args.dir.join("network.toml").exists() {
        create(args)?;
    }
    let dir = args.dir.canonicalize().map_err(|error| storage(&args.dir, &error))?;
    let layout = Layout(&dir);
    let _lock = output::lock(&dir)?;
    let pin = NetworkFile::read(&layout.pin())
        .map_err(|error| Failure::new(Exit::Configuration, "bad_network_file", error))?;
    let genesis = pin.genesis;
    for (asked, kept, what) in [
        (args.orgs, genesis.members.len(), "organisations"),
        (args.threshold.map(usize::from), usize::from(genesis.channel.custody_threshold), "shares that open a record"),
    ] {
        if asked.is_some_and(|asked| asked != kept) {
            let detail =
                format!("the network in `{}` has {kept} {what}; use another folder for another", dir.display());
            return Err(Failure::new(Exit::Configuration, "other_network", detail));
        }
    }

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Unavailable, "unavailable", error))?;
    // Before anybody is told that it is up, and asks it to stop.
    let mut ends = Ends::catch(&runtime)?;
    let config = gateway::Config {
        listen: args.listen,
        tls: (!args.plain_http).then(|| layout.tls()),
        uploads: layout.uploads(),
        ..gateway::Config::default()
    };
    // Before the nodes: an address that is taken is told at once.
    let unheard = |error: gateway::ServeError| Failure::new(Exit::Configuration, "listen", error);
    let bound = runtime.block_on(gateway::Bound::new(config)).map_err(unheard)?;
    let mut network = LocalNetwork::open(&layout.nodes(), genesis.clone()).map_err(|error| failed(&error))?;
    network.tell_faults(fault::end_process(as_json));
    network.start_all().map_err(|error| failed(&error))?;
    if !network.wait_ready_unless(PATIENCE, || ends.came()).map_err(|error| failed(&error))? {
        return Ok(Report { text: String::new(), json: json!({ "stopped": true }), exit: Exit::Ok });
    }
    // The first organisation's, whose owner and admin are among the people.
    let home = network.seats().position(|(org, ..)| org.as_str() == ORGS[0]).unwrap_or_default();
    let host = network.node(home).ok_or_else(|| failed(&LocalError::NotReady(PATIENCE)))?.host().clone();
    let server = runtime.block_on(async { bound.serve(host) }).map_err(unheard)?;

    let scheme = if args.plain_http { "http" } else { "https" };
    let url = format!("{scheme}://{}", server.address());
    let endpoint =
        Endpoint { url: url.clone(), certificate_sha256: server.certificate_sha256().map(CertificateDigest) };
    let pin = NetworkFile::of(genesis.clone()).with_gateway(endpoint);
    pin.save(&layout.pin()).map_err(|error| storage(&layout.pin(), &error))?;
    let ready_ms = begun.elapsed().as_millis();
    if as_json {
        say(&json!({
            "network": genesis.id(), "gateway": url, "dir": dir.to_string_lossy(), "ready_ms": u64::try_from(ready_ms).unwrap_or(u64::MAX),
            "organisations": genesis.members.len(), "threshold": genesis.channel.custody_threshold,
            "network_file": layout.pin().to_string_lossy(), "identities": dir.join("identities").to_string_lossy(),
        })
        .to_string());
    } else if quiet {
        say(&url);
    } else {
        let orgs = genesis.members.len();
        say(&format!("Network {} of {orgs} organisations is up after {ready_ms} ms.", genesis.id()));
        say(&quick_start(&layout, &url));
    }

    let halted = runtime.block_on(ends.any_unless(|| network.stopped().map(ToString::to_string)));
    if !quiet && !as_json {
        say("Stopping.");
    }
    runtime.block_on(server.stop());
    for position in 0..genesis.members.len() {
        network.stop(position);
    }
    match halted {
        None => Ok(Report { text: String::new(), json: json!({ "stopped": true }), exit: Exit::Ok }),
        Some(org) => {
            let detail = format!("the node of `{org}` has stopped; its log says why. Start again to resume");
            Err(Failure::new(Exit::Storage, "node_stopped", detail))
        }
    }
}

/// Makes a network where there is none.
fn create(args: &Args) -> Result<(), Failure> {
    let dir = &args.dir;
    if !output::is_free(dir)? {
        let detail = format!("`{}` is not empty and holds no network: choose another folder", dir.display());
        return Err(Failure::new(Exit::Configuration, "not_a_network", detail));
    }
    output::new_folder(dir, |made| fill(args, made))
}

fn fill(args: &Args, dir: &Path) -> Result<(), Failure> {
    let layout = Layout(dir);
    let orgs = ORGS.get(..args.orgs.unwrap_or(4)).unwrap_or(&ORGS);
    fs::create_dir(dir.join("identities")).map_err(|error| storage(dir, &error))?;
    let mut people = Vec::new();
    for (name, org, role) in PEOPLE {
        let org = orgs.get(org).copied().unwrap_or_default();
        let identity =
            Identity::new(org, name, role).map_err(|error| Failure::new(Exit::Internal, "internal", error))?;
        keyfile::write(&layout.identity(name), &identity, None, &mut os_rng()).map_err(|error| key(&error))?;
        people.push(identity);
    }
    // An admin of each further organisation: it takes part in no channel that its own admin has not approved.
    for org in orgs.iter().skip(1) {
        let name = format!("admin-{org}");
        let identity =
            Identity::new(org, &name, Role::Admin).map_err(|error| Failure::new(Exit::Internal, "internal", error))?;
        keyfile::write(&layout.identity(&name), &identity, None, &mut os_rng()).map_err(|error| key(&error))?;
        people.push(identity);
    }
    let people: Vec<&Identity> = people.iter().collect();
    let shape = Shape { threshold: args.threshold, ..Shape::default() };
    let network = LocalNetwork::create(&layout.nodes(), orgs, &people, shape).map_err(|error| failed(&error))?;
    network.genesis().check().map_err(|error| Failure::new(Exit::Usage, "bad_network", error))?;
    let pin = NetworkFile::of(network.genesis().clone());
    pin.save(&layout.pin()).map_err(|error| storage(&layout.pin(), &error))
}

fn quick_start(layout: &Layout<'_>, url: &str) -> String {
    let (pin, key) = (layout.pin(), |name| layout.identity(name));
    format!(
        "
  gateway     {url}
  pin         {pin}
  identities  {owner} and others beside it, without passphrases: for trying, not for patients

Try it in another shell:

  export DMDL_NETWORK='{pin}'
  echo 'HbA1c 48 mmol/mol' > record.txt
  RECORD=$(dmdl --as '{owner}' record register record.txt --policy research-auto)
  dmdl --as '{researcher}' access request $RECORD --purpose HMB --reason 'hypertension study'
  dmdl --as '{researcher}' access open $RECORD --out opened.txt
  dmdl --as '{officer}' audit export --out trail.bundle && dmdl audit verify trail.bundle

Ctrl-C stops it; the same command resumes it.",
        pin = pin.display(),
        owner = key("owner").display(),
        researcher = key("researcher").display(),
        officer = key("officer").display(),
    )
}

fn key(error: &KeyFileError) -> Failure {
    super::failure::key_file(error)
}

fn failed(error: &LocalError) -> Failure {
    let (exit, code) = match error {
        LocalError::Key(error) => return key(error),
        LocalError::OtherNetwork(_) => (Exit::Configuration, "other_network"),
        LocalError::Folder { .. } => (Exit::Storage, "storage"),
        LocalError::Full(_) => (Exit::Storage, "storage_full"),
        LocalError::Start { .. } => (Exit::Storage, "node_start"),
        _ => (Exit::Unavailable, "unavailable"),
    };
    Failure::new(exit, code, error)
}
