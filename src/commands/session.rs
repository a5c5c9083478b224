//! What most commands begin with: the pin, the identity, the gateway.

use super::{failure, text};
use crate::{
    client::{self, Client, HttpGateway, Shown, Trust},
    exit::{Exit, Failure},
    keyfile,
    local::{Identity, os_rng, random_secret},
    network_file::{Endpoint, NetworkFile, NetworkFileError},
};
use clap::Args;
use dmdl_types::{
    genesis::{Founding, Person},
    id::{ChannelName, NetworkId},
    sign::SigningKey,
};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use std::{
    fs::File,
    future::Future,
    io::{BufRead as _, BufReader, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};
use zeroize::Zeroizing;

/// What is said of a network that need not spread its trust.
const SINGLE_ORG_DEMO: &str = "a single_org_demo network: one organisation may run everything and open every record alone; for trying, not for patients";
/// What is said to somebody who has no pin.
const NO_PIN: &str = "nothing is believed without a pinned network: give its file with --network or DMDL_NETWORK";
/// Longest passphrase.
const PASSPHRASE_BYTES: u64 = 4096;

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(super) struct Globals {
    /// Print one JSON document on stdout, for errors too.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// The pinned network, as `dmdl up`, `dmdl demo` and `dmdl network generate` write it.
    #[arg(long, global = true, value_name = "FILE", env = "DMDL_NETWORK", help_heading = "Network")]
    pub(super) network: Option<PathBuf>,
    /// Ask this gateway instead of the first one of the network file.
    #[arg(long, global = true, value_name = "URL", env = "DMDL_GATEWAY", help_heading = "Network")]
    gateway: Option<String>,
    /// The key file of whoever acts.
    #[arg(long = "as", global = true, value_name = "KEYFILE", env = "DMDL_IDENTITY", help_heading = "Network")]
    identity: Option<PathBuf>,
    /// The channel.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "DMDL_CHANNEL",
        default_value = "main",
        help_heading = "Network"
    )]
    channel: String,
    /// How long to wait for the network.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400), help_heading = "Network")]
    timeout: u64,
    /// Read the key file's passphrase from this file descriptor.
    #[arg(long, global = true, value_name = "N", help_heading = "Network")]
    passphrase_fd: Option<u32>,
    /// Say nothing but the result.
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

/// A person at a gateway of the pinned network.
pub(super) type Remote = Client<HttpGateway, UnwrapErr<SysRng>>;

/// Where a gateway is, and the certificate that it must show.
pub(super) type Address = (String, Option<[u8; 32]>);

/// A look at the network by nobody in particular.
pub(super) struct Visit {
    pub(super) gateway: HttpGateway,
    pub(super) genesis: NetworkId,
    runtime: tokio::runtime::Runtime,
}

impl Visit {
    /// Runs what takes the network.
    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

fn open_gateway(address: &Address, founding: &Founding, key: &SigningKey) -> Result<HttpGateway, Failure> {
    HttpGateway::new(&address.0, address.1, founding, key)
        .map_err(|error| Failure::new(Exit::Configuration, "bad_gateway", error))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Unavailable, "unavailable", error))
}

/// A person at a gateway, for what is of no channel.
pub(super) struct Desk {
    pub(super) gateway: HttpGateway,
    /// Where clients keep their state.
    pub(super) home: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Desk {
    /// Runs what takes the network.
    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// A command's connection to the network.
pub(super) struct Session {
    pub(super) client: Remote,
    pub(super) person: Person,
    pub(super) patience: Duration,
    /// Where this client keeps what must outlive it.
    pub(super) home: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Globals {
    /// The same on another channel.
    pub(super) fn on(&self, channel: &ChannelName) -> Self {
        Self { channel: channel.to_string(), ..self.clone() }
    }

    /// Connects as whoever `--as` names: reads the pin and the key file, and sends nothing yet.
    pub(super) fn connect(&self) -> Result<Session, Failure> {
        self.connect_as(self.identity()?)
    }

    /// Connects to ask only what anybody may, which is of the network's first channel.
    pub(super) fn visit_first(&self) -> Result<Visit, Failure> {
        let pin = self.pin_of_gateway()?;
        // A key that nobody knows: what is signed with it is as good as unsigned.
        let stranger = SigningKey::from_seed(random_secret());
        let endpoint = self.endpoint(&pin)?;
        let gateway = open_gateway(&endpoint, &pin.genesis.founding(), &stranger)?.unsigned();
        Ok(Visit { gateway, genesis: pin.genesis.id(), runtime: runtime()? })
    }

    /// Connects as whoever `--as` names, to ask what is of no channel.
    pub(super) fn desk(&self) -> Result<Desk, Failure> {
        let pin = self.pin_of_gateway()?;
        self.desk_of(&pin, &self.identity()?.key)
    }

    fn desk_of(&self, pin: &NetworkFile, key: &SigningKey) -> Result<Desk, Failure> {
        let gateway = open_gateway(&self.endpoint(pin)?, &pin.genesis.founding(), key)?;
        Ok(Desk { gateway: gateway.persistently(self.patience()), home: home()?, runtime: runtime()? })
    }

    /// What the channel began with: as the pinned genesis says, or a charter that is verified from it. One that is not
    /// known here yet is asked for, as whoever `--as` names.
    pub(super) fn founding(&self) -> Result<Founding, Failure> {
        let pin = self.pin()?;
        match self.known(&pin)? {
            Some(founding) => Ok(founding),
            None => self.learn(&pin, &self.insider()?.key),
        }
    }

    /// What this client has verified of the channel up to now, without asking anybody.
    pub(super) fn recalled(&self) -> Result<Trust, Failure> {
        Trust::recalling(self.founding()?, &home()?).map_err(|error| failure::unproved(&error))
    }

    /// What the channel began with, but a charter is asked for in any case, as this person: it must be the one that is known.
    pub(super) fn founding_shown(&self, insider: Option<&Identity>) -> Result<Founding, Failure> {
        let pin = self.pin_of_gateway()?;
        if self.is_first_of(&pin) {
            return Ok(pin.genesis.founding());
        }
        self.learn(&pin, &insider.ok_or_else(|| self.unknown_channel())?.key)
    }

    /// Whoever acts, on a channel that only its own people know of.
    pub(super) fn insider(&self) -> Result<Identity, Failure> {
        if self.names_identity() { self.identity() } else { Err(self.unknown_channel()) }
    }

    /// Whether it is the network's first channel that is meant.
    pub(super) fn is_first_channel(&self) -> Result<bool, Failure> {
        Ok(self.is_first_of(&self.pin_of_gateway()?))
    }

    fn is_first_of(&self, pin: &NetworkFile) -> bool {
        pin.genesis.channel.name.as_str() == self.channel
    }

    /// What is known here of the channel.
    fn known(&self, pin: &NetworkFile) -> Result<Option<Founding>, Failure> {
        if self.is_first_of(pin) {
            return Ok(Some(pin.genesis.founding()));
        }
        let known = client::known(&home()?, &pin.genesis, &self.channel_name()?);
        known.map_err(|error| failure::unproved(&error))
    }

    /// Asks a gateway for the channel's charter, and verifies it.
    fn learn(&self, pin: &NetworkFile, key: &SigningKey) -> Result<Founding, Failure> {
        let name = self.channel_name()?;
        let Desk { gateway, home, runtime } = self.desk_of(pin, key)?;
        let shown = runtime.block_on(gateway.on(&name).charter()).map_err(|error| failure::gateway(&error))?;
        client::learn(&home, &pin.genesis, &name, &shown).map_err(|error| failure::unproved(&error))
    }

    fn channel_name(&self) -> Result<ChannelName, Failure> {
        self.channel.parse().map_err(|_| self.unknown_channel())
    }

    fn unknown_channel(&self) -> Failure {
        let name = short_echo(&self.channel);
        let detail = format!("the pinned network has no channel `{name}`, or none that you may know of");
        Failure::new(Exit::NotFound, "unknown_channel", detail)
    }

    /// What the channel is called.
    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// Whether a network is named at all.
    pub(super) const fn names_network(&self) -> bool {
        self.network.is_some() || self.gateway.is_some()
    }

    /// Whether it is said who acts.
    pub(super) const fn names_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// The pinned network, if its first channel is the one that is meant.
    pub(super) fn checked_pin(&self) -> Result<NetworkFile, Failure> {
        let pin = self.pin_of_gateway()?;
        if self.is_first_of(&pin) { Ok(pin) } else { Err(self.unknown_channel()) }
    }

    /// Connects as somebody.
    pub(super) fn connect_as(&self, identity: Identity) -> Result<Session, Failure> {
        let pin = self.pin_of_gateway()?;
        let home = home()?;
        let endpoint = self.endpoint(&pin)?;
        let founding = match self.known(&pin)? {
            Some(founding) => founding,
            None => self.learn(&pin, &identity.key)?,
        };
        let gateway = open_gateway(&endpoint, &founding, &identity.key)?.persistently(self.patience());
        let trust = Trust::remembering(founding, &home).map_err(|error| failure::unproved(&error))?;
        let runtime = runtime()?;
        let home = home.join(pin.genesis.id().to_string());
        let client = Client::new(trust, identity.key, gateway, os_rng(), self.patience());
        Ok(Session { client, person: identity.person, patience: self.patience(), home, runtime })
    }

    /// How long to wait for the network.
    pub(super) const fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The pinned network.
    pub(super) fn pin(&self) -> Result<NetworkFile, Failure> {
        let path = self.network.as_deref().ok_or_else(|| Failure::new(Exit::Configuration, "no_pin", NO_PIN))?;
        let pin = NetworkFile::read(path).map_err(|error| {
            let code = match error {
                NetworkFileError::GenesisMismatch { .. } => "genesis_mismatch",
                _ => "bad_network_file",
            };
            Failure::new(Exit::Configuration, code, error)
        })?;
        if pin.genesis.single_org_demo && !self.quiet {
            // Once, however often the file is read.
            static WARNED: Once = Once::new();
            WARNED.call_once(|| text::warn(SINGLE_ORG_DEMO));
        }
        Ok(pin)
    }

    /// The pinned network of the gateway that is asked. Somebody without a pin is told which network the gateway
    /// is of, as it says, to compare that with what they heard elsewhere.
    fn pin_of_gateway(&self) -> Result<NetworkFile, Failure> {
        let (None, Some(url)) = (&self.network, &self.gateway) else { return self.pin() };
        let shown = match runtime()?.block_on(client::look(url, self.patience())) {
            Ok(Shown { network, certificate_sha256: None }) => {
                format!("the gateway says that it is of network {network}")
            }
            Ok(Shown { network, certificate_sha256: Some(digest) }) => format!(
                "the gateway says that it is of network {network}, and shows a certificate with SHA-256 {}",
                hex::encode(digest)
            ),
            Err(error) => failure::gateway(&error).detail,
        };
        Err(Failure::new(Exit::Configuration, "no_pin", format!("{NO_PIN}; {shown}")))
    }

    /// Whoever acts.
    pub(super) fn identity(&self) -> Result<Identity, Failure> {
        let path = self.identity.as_deref().ok_or_else(|| {
            Failure::new(Exit::Configuration, "no_identity", "say who acts: give a key file with --as or DMDL_IDENTITY")
        })?;
        self.unlock(path)
    }

    /// Reads a key file, asking for its passphrase where it has one.
    pub(super) fn unlock(&self, path: &Path) -> Result<Identity, Failure> {
        let locked = keyfile::read(path).map_err(|error| failure::key_file(&error))?;
        let passphrase = if locked.is_wrapped() { Some(self.passphrase("Passphrase: ")?) } else { None };
        let passphrase = passphrase.as_deref().map(String::as_bytes);
        locked.unlock(passphrase).map_err(|error| failure::key_file(&error))
    }

    /// The passphrase of whoever acts.
    pub(super) fn passphrase(&self, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        self.passphrase_from(self.passphrase_fd, prompt)
    }

    /// A passphrase, from a file descriptor or the terminal; never from an argument.
    pub(super) fn passphrase_from(&self, fd: Option<u32>, prompt: &str) -> Result<Zeroizing<String>, Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Configuration, "passphrase", format!("the passphrase cannot be read: {error}"))
        };
        if let Some(number) = fd {
            let file = File::open(format!("/dev/fd/{number}")).map_err(failed)?;
            let mut line = Zeroizing::new(String::with_capacity(256));
            BufReader::new(file.take(PASSPHRASE_BYTES)).read_line(&mut line).map_err(failed)?;
            let end = line.trim_end_matches(['\r', '\n']).len();
            line.truncate(end);
            return Ok(line);
        }
        if !std::io::stdin().is_terminal() {
            let hint = "the key file has a passphrase: give it with --passphrase-fd or --crypt4gh-passphrase-fd, or at a terminal";
            return Err(Failure::new(Exit::Configuration, "passphrase", hint));
        }
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(failed)
    }

    /// A passphrase for a new key file; typed twice at a terminal, because nobody can recover it.
    pub(super) fn new_passphrase(&self) -> Result<Zeroizing<String>, Failure> {
        let first = self.passphrase("New passphrase: ")?;
        if self.passphrase_fd.is_none() && *first != *self.passphrase("The same again: ")? {
            return Err(Failure::new(Exit::Usage, "passphrase", "the two passphrases differ"));
        }
        Ok(first)
    }

    /// Where its gateway is.
    pub(super) fn endpoint(&self, pin: &NetworkFile) -> Result<Address, Failure> {
        self.endpoints(pin)?.into_iter().next().ok_or_else(no_gateway)
    }

    /// Where its gateways are: the one that is named, or all of the network file.
    pub(super) fn endpoints(&self, pin: &NetworkFile) -> Result<Vec<Address>, Failure> {
        if let Some(url) = &self.gateway {
            let same = |endpoint: &&Endpoint| endpoint.url.trim_end_matches('/') == url.trim_end_matches('/');
            return Ok(vec![pin.gateways.iter().find(same).map_or_else(|| (url.clone(), None), Endpoint::address)]);
        }
        if pin.gateways.is_empty() {
            Err(no_gateway())
        } else {
            Ok(pin.gateways.iter().map(Endpoint::address).collect())
        }
    }
}

impl Session {
    /// Runs what takes the network.
    pub(super) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

fn no_gateway() -> Failure {
    let hint = "the network file names no gateway: give one with --gateway or DMDL_GATEWAY";
    Failure::new(Exit::Configuration, "no_gateway", hint)
}

/// Where clients keep their state.
fn home() -> Result<PathBuf, Failure> {
    if let Some(home) = std::env::var_os("DMDL_HOME").filter(|home| !home.is_empty()) {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).ok_or_else(|| {
        Failure::new(
            Exit::Configuration,
            "no_home",
            "neither DMDL_HOME nor HOME says where to keep this client's state",
        )
    })?;
    Ok(Path::new(&home).join(".local/share/dmdl"))
}

/// What somebody typed, short and clean enough to show again.
pub(super) fn short_echo(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect()
}
