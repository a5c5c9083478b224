//! What is asked of the load generator, and whether that fits together.

use super::{
    super::{session::Globals, up},
    own::Shape,
    stage::Cast,
};
use crate::exit::{Exit, Failure};
use clap::{Args as ClapArgs, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Organisations of a network of our own, unless it is said how many: as few as agree although one of them lies.
const ORGS: usize = 4;

#[derive(Debug, ClapArgs)]
pub(in crate::commands) struct Args {
    /// What is done again and again.
    #[arg(long, value_enum, default_value_t = Workload::Invoke)]
    pub(super) workload: Workload,
    /// How long a run lasts: 10 seconds, and each of the many runs of `paper` 5, if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// How many a second are begun, whatever becomes of those before; as many as the clients can, if not given.
    #[arg(long, value_name = "TPS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: Option<u32>,
    /// How many clients, each a person of their own with connections of their own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=2048))]
    clients: Option<u16>,
    /// Measure so many times, and give the median and how far the runs lie apart.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    repeat: u8,
    /// Find out what the network can do, and measure how long it takes at 10, 25, 50, 70, 85, 95 and 110 % of that.
    #[arg(long, conflicts_with = "rate")]
    pub(super) sweep: bool,
    /// Draw latency against throughput into this file, as an SVG image; nothing is replaced.
    #[arg(long, value_name = "FILE", requires = "sweep")]
    pub(super) plot: Option<PathBuf>,
    /// Sign every request; one signature opens a session of a connection otherwise. Gateways take 200,000 such
    /// signatures in five minutes, and 10,000 of one person.
    #[arg(long)]
    pub(super) sign_each: bool,
    /// Spread the clients over so many gateways; over all that there are, if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    gateways: Option<u8>,
    /// How many organisations: 4, 7, 10, 13 or 16. Four, if not given.
    #[arg(long, value_name = "N", value_parser = up::orgs, help_heading = OWN)]
    orgs: Option<usize>,
    /// Two processes an organisation: one that orders, and one that does everything else.
    #[arg(long, conflicts_with = "in_process", help_heading = OWN)]
    apart: bool,
    /// All nodes in the process of the clients, instead of in processes of their own.
    #[arg(long, help_heading = OWN)]
    in_process: bool,
    /// Channels of all organisations, which are loaded at the same time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16), help_heading = OWN)]
    channels: u8,
}

const OWN: &str = "The temporary network";

/// What is done again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// Transactions: `initialMedical`, `transferMedical` and `delete` in turn, each proved by its receipt.
    Invoke,
    /// Questions: `readMedical`, `getHistory` and `queryByOwner` in turn.
    Query,
    /// Audited decryptions, from the request to the plaintext at the requester.
    Decrypt,
    /// The source paper's Table 3: each of the six functions at 4, 8, 16 and 50 a second.
    Paper,
}

impl Workload {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Query => "query",
            Self::Decrypt => "decrypt",
            Self::Paper => "paper",
        }
    }

    const fn seconds(self) -> u64 {
        if matches!(self, Self::Paper) { 5 } else { 10 }
    }

    /// Clients, unless it is said how many.
    const fn clients(self) -> u16 {
        match self {
            Self::Invoke => 128,
            Self::Query => 32,
            Self::Decrypt => 16,
            Self::Paper => 64,
        }
    }
}

impl Args {
    /// Refuses what does not fit together, beyond what the command line can tell.
    pub(super) fn check(&self, globals: &Globals) -> Result<(), Failure> {
        let conflict = |detail: &str| Err(Failure::new(Exit::Usage, "conflict", detail));
        if self.workload == Workload::Paper && (self.rate.is_some() || self.sweep || self.channels > 1) {
            return conflict("the workload `paper` has the paper's rates: leave out --rate, --sweep and --channels");
        }
        let of_own = self.orgs.is_some() || self.apart || self.in_process || self.channels > 1;
        if globals.names_network() && of_own {
            return conflict("--orgs, --apart, --in-process and --channels are for a temporary network");
        }
        if !globals.names_network() && globals.names_identity() {
            return conflict("--as acts on the network that --network names; a temporary one has people of its own");
        }
        if self.gateways.is_some_and(|gateways| !globals.names_network() && usize::from(gateways) > self.orgs()) {
            return conflict("each organisation has one gateway at most: give fewer --gateways, or more --orgs");
        }
        if self.clients() < usize::from(self.channels) {
            return conflict("each channel has one client at least: give fewer --channels, or more --clients");
        }
        Ok(())
    }

    /// Whether the ledger grows by what is done.
    pub(super) const fn changes(&self) -> bool {
        matches!(self.workload, Workload::Invoke | Workload::Decrypt)
    }

    /// How long a run lasts.
    pub(super) fn lasts(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(self.workload.seconds()))
    }

    /// How often each run is made.
    pub(super) fn times(&self) -> usize {
        self.repeat.into()
    }

    /// How many clients there are.
    pub(super) fn clients(&self) -> usize {
        self.clients.unwrap_or(self.workload.clients()).into()
    }

    /// How many there are of each channel.
    pub(super) fn clients_of(&self, channels: usize) -> impl Iterator<Item = usize> + use<> {
        let (all, channels) = (self.clients(), channels.max(1));
        (0..channels).map(move |channel| all / channels + usize::from(channel < all % channels))
    }

    /// How many gateways are wanted.
    pub(super) fn gateways(&self) -> Option<usize> {
        self.gateways.map(usize::from)
    }

    fn orgs(&self) -> usize {
        self.orgs.unwrap_or(ORGS)
    }

    /// A network of our own.
    pub(super) fn shape(&self) -> Shape {
        Shape {
            orgs: self.orgs(),
            apart: self.apart,
            in_process: self.in_process,
            channels: self.channels.into(),
            gateways: self.gateways().unwrap_or(self.orgs()),
        }
    }

    /// Who acts on each of its channels.
    pub(super) fn cast(&self) -> Cast {
        let clients = self.clients_of(self.channels.into()).max().unwrap_or_default();
        match self.workload {
            Workload::Decrypt => Cast { owners: 1, researchers: clients },
            // A record is given to another owner: one alone has nobody to give it to.
            Workload::Invoke | Workload::Paper | Workload::Query => Cast { owners: clients.max(2), researchers: 0 },
        }
    }
}
