//! A node with a long chain is up as fast as one with a short one, and has its blocks again from others.
//!
//! `make start` makes a chain of 100,000 blocks, which takes a while, and keeps it in `DMDL_START_DIR` if that names a
//! folder; the suite makes a short one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "cli/harness.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod harness;

#[path = "overload/load.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod load;
#[path = "overload/mint.rs"]
mod mint;
#[path = "overload/wire.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod wire;

use dmdl::{keyfile, local::LocalNetwork, network_file::NetworkFile};
use dmdl_types::id::Height;
use harness::{dmdl, first_line, str};
use load::Load;
use mint::Mint;
use serde_json::Value;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// Blocks of the chain, when nobody asks for more.
const SLICE_BLOCKS: u64 = 200;
/// Transactions on their way at a time while it is made: about one a block.
const AT_A_TIME: usize = 6;
/// How long blocks are made between two looks.
const BETWEEN: Duration = Duration::from_secs(2);
/// What nobody waits for, on any machine; the promise is five seconds.
const START_MOST: Duration = Duration::from_secs(60);
/// Blocks a second that come back at least, on any machine, once a node has found others.
const REFILLED_LEAST: u64 = 20;

/// A network in one process, in a folder that may be there already.
struct Folder(PathBuf);

impl Folder {
    fn pin(&self) -> NetworkFile {
        NetworkFile::read(&self.0.join("network.toml")).unwrap()
    }

    /// Starts the whole network, and says how long that took, and where its gateway is.
    fn up(&self) -> (Child, Duration, SocketAddr) {
        let begun = Instant::now();
        let mut process = dmdl()
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--dir", str(&self.0)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = first_line(process.stdout.take().unwrap());
        let url = said["gateway"].as_str().unwrap_or_else(|| panic!("{said}"));
        (process, begun.elapsed(), url.trim_start_matches("https://").parse().unwrap())
    }

    /// Has people hand in transactions until the chain has so many blocks.
    fn grow(&self, runtime: &Runtime, blocks: u64) {
        let (process, _, gateway) = self.up();
        let owner = || keyfile::read(&self.0.join("identities/owner.key")).unwrap().unlock(None).unwrap();
        let domain = self.pin().genesis.founding().domain;
        loop {
            let height = height(&self.0);
            if height >= blocks {
                break;
            }
            let load = Load {
                mint: Arc::new(Mint::new(domain, vec![owner()], height)),
                gateways: vec![gateway],
                connections: AT_A_TIME,
                rate: None,
                lasts: BETWEEN,
            };
            let tally = runtime.block_on(load.run());
            assert!(tally.of(200) > 0, "nothing is done: {:?} {:?}", tally.statuses, tally.odd);
        }
        harness::stop(process);
    }

    /// Starts one node of the network, until it has its channels.
    fn start_one(&self) -> (Duration, u64) {
        let mut network = LocalNetwork::open(&self.0.join("nodes"), self.pin().genesis).unwrap();
        let begun = Instant::now();
        network.start(0).unwrap();
        let took = begun.elapsed();
        (took, executed(&network, 0).get())
    }

    /// Has one node find its blocks damaged when the network starts, as a node notes itself when it reads what was not
    /// written; says how long it is behind until it has them again from others.
    fn refill(&self, blocks: u64) -> Duration {
        let mut network = LocalNetwork::open(&self.0.join("nodes"), self.pin().genesis).unwrap();
        let (position, (org, ..)) = network.seats().enumerate().last().expect("a network has nodes");
        let channels = self.0.join("nodes").join(org.as_str()).join("channels");
        let channel = fs::read_dir(channels).unwrap().next().expect("one channel").unwrap();
        fs::write(channel.path().join("archive.damaged"), "").unwrap();
        network.start_all().unwrap();
        let begun = Instant::now();
        let most = START_MOST + Duration::from_secs(blocks / REFILLED_LEAST);
        // Only with all of its blocks it executes new ones.
        let goal = executed(&network, 0).next();
        while executed(&network, position) < goal {
            let height = executed(&network, position);
            assert!(begun.elapsed() < most, "it is behind after {most:?}, at {height} of {goal}");
            thread::sleep(Duration::from_millis(50));
        }
        begun.elapsed()
    }
}

/// What a node of a network that runs has executed.
fn executed(network: &LocalNetwork, position: usize) -> Height {
    network.node(position).expect("it runs").node().channel().tip().height
}

/// How high the chain is, as the gateway of a network that runs says.
fn height(folder: &Path) -> u64 {
    let said = dmdl()
        .args(["status", "--json", "--network", str(&folder.join("network.toml"))])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    said["channels"][0]["height"].as_u64().unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn a_node_with_a_long_chain_is_up_as_fast_as_one_with_a_short_one_and_has_its_blocks_again_from_others() {
    let asked = std::env::var("DMDL_START_BLOCKS").ok().map(|blocks| blocks.parse().expect("a number"));
    let blocks = asked.unwrap_or(SLICE_BLOCKS);
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("DMDL_START_DIR").map_or_else(|| temporary.path().join("network"), PathBuf::from);
    fs::create_dir_all(folder.parent().expect("a folder is in another one")).unwrap();
    let folder = Folder(folder);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();

    let (process, first, _) = folder.up();
    harness::stop(process);
    folder.grow(&runtime, blocks);
    let (process, again, _) = folder.up();
    harness::stop(process);
    let (one, height) = folder.start_one();
    eprintln!("four nodes with a new chain, up   {} ms", first.as_millis());
    eprintln!("four nodes with {height} blocks, up {} ms", again.as_millis());
    eprintln!("one node with {height} blocks       {} ms", one.as_millis());
    assert!(height >= blocks, "it has its chain when it is up: {height}");
    assert!(one < START_MOST && again < START_MOST, "{one:?} {again:?}");

    let behind = folder.refill(height);
    let each_second = u128::from(height) * 1000 / behind.as_millis().max(1);
    eprintln!("one node without its blocks          {} ms behind: {each_second} a second", behind.as_millis());
}
