//! The whole cluster in the deterministic simulator: real nodes, real engine, real people; only the
//! network, the disks and the clock are simulated.
//!
//! A seed decides everything. `make sim SEED=42` replays one and prints its hash. Without a seed,
//! fifty are run; `DMDL_SIM_BASE` says from which on, and `DMDL_SIM_COUNT` runs more. `DMDL_SIM_KIND` passes over
//! seeds of other classes than this one, and `DMDL_SIM_NODES=7` has seven nodes. A run has two
//! phases: what its plan says goes wrong, and then nothing does, and everybody must come to one state.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "each seed leaves a line")]

mod sim {
    pub(crate) mod checks;
    pub(crate) mod clock;
    pub(crate) mod cluster;
    pub(crate) mod conduct;
    pub(crate) mod disk;
    pub(crate) mod liar;
    pub(crate) mod log;
    pub(crate) mod membership;
    pub(crate) mod on_disk;
    pub(crate) mod people;
    pub(crate) mod plan;
    pub(crate) mod pruned;
    pub(crate) mod recovery;
    pub(crate) mod seat;
    pub(crate) mod story;
    pub(crate) mod trouble;
    pub(crate) mod twist;
    pub(crate) mod wire;
}

use commonware_runtime::{Clock as _, Runner as _, Supervisor as _, deterministic};
use dmdl::node::GatewayError;
use dmdl_audit_ledger::channel::note_votes_lost;
use dmdl_types::{
    event::Action,
    genesis::Role,
    governance::{Change, Governance},
};
use futures::future::{Either, join_all, select};
use rand_core::Rng as _;
use sim::{
    checks::Checker,
    cluster::{Cluster, NODES, NODES_MAX},
    membership::signed,
    people::{Person, Told},
    plan::{Episode, Plan},
    pruned,
    seat::secret,
    story::{Pair, settle},
    trouble::{Admins, trouble},
    twist::Twist,
};
use std::{
    cell::Cell,
    fmt,
    io::{self, Write as _},
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    time::{Duration, Instant, SystemTime},
};
use tracing_subscriber::EnvFilter;

/// When simulated time begins.
const BEGIN: Duration = Duration::from_secs(1_800_000_000);
/// Seeds under which the network once stood still: a clock that had been far ahead was set back; a block that one node
/// had not been shown could not be had from the others; a transaction waited whose endorser had left; two clocks were far
/// ahead (twice).
const FAILED_ONCE: [u64; 5] = [100_578_058, 148_660_783, 148_660_795, 3_208, 5_457];
/// A run that takes longer than this hangs.
const HANGS_AFTER: Duration = Duration::from_secs(3_600);

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    seed: u64,
    plan: String,
    height: u64,
    events: usize,
    releases: usize,
    /// How many nodes have begun with a snapshot.
    joined: usize,
    /// Everything that all nodes agree on, at that height.
    state: [u8; 32],
    /// Every step that any task took.
    hash: String,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, plan, height, events, releases, joined, state, hash } = self;
        let state: String = state.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        write!(f, "seed {seed}: height {height}, {events} events, {releases} releases, {joined} joined, ")?;
        write!(f, "hash {state}-{hash} ({plan})")
    }
}

/// What to run: a seed's plan for a network of so many nodes, changed.
#[derive(Clone, Copy)]
struct Case {
    seed: u64,
    nodes: usize,
    change: fn(Plan) -> Plan,
}

impl Case {
    const fn of(seed: u64, nodes: usize) -> Self {
        Self { seed, nodes, change: |plan| plan }
    }

    /// Its plan, and nothing else.
    fn plan(self) -> Plan {
        let runner = deterministic::Runner::new(config(self.seed));
        let drawn = runner.start(|mut runtime| async move { Plan::draw(self.seed, self.nodes, &mut runtime) });
        (self.change)(drawn)
    }

    /// Runs it; a violated invariant panics.
    fn run(self) -> Ran {
        let Self { seed, nodes, change } = self;
        // Elsewhere a panic of a part of a node is one of the run.
        let config = config(seed).with_catch_panics(matches!(self.plan().twist, Twist::Rots(_)));
        deterministic::Runner::new(config).start(|mut runtime| async move {
            let plan = change(Plan::draw(seed, nodes, &mut runtime));
            let roles = [Role::Owner, Role::Owner, Role::Researcher, Role::Researcher];
            let first_admin = roles.len();
            let seeds: Vec<[u8; 32]> = (0..=first_admin + nodes).map(|_| secret(&runtime)).collect();
            let admins = iter::repeat_n(Role::Admin, nodes);
            let people: Vec<_> = seeds.iter().copied().zip(roles.into_iter().chain(admins)).collect();
            let records = plan.record_len_bytes.map(|len| {
                let mut plaintext = vec![0; len];
                runtime.fill_bytes(&mut plaintext);
                plaintext
            });
            let cluster = Cluster::start(runtime.child("cluster"), &plan, &people).await;
            let culprit = plan.twist.culprit().map(|position| cluster.seats[position].id());
            let (checker, told, calm) = (Checker::new(culprit), Told::default(), Cell::new(false));
            // An admin turns to the node of its own organisation first.
            let home = |at: usize| plan.homes.get(at).copied().unwrap_or(at % nodes);
            let person = |at: usize| Person { cluster: &cluster, told: &told, seed: seeds[at], home: home(at) };
            let newcomer = first_admin + nodes;
            let founders = (first_admin..newcomer).map(person).collect();
            let admins = Admins { founders, newcomer: person(newcomer) };
            let [first, second] = records;
            let pairs = [
                Pair { owner: person(0), researcher: person(2), plaintext: first },
                Pair { owner: person(1), researcher: person(3), plaintext: second },
            ];
            let story = async {
                let acts = join_all(pairs.iter().map(|pair| pair.act(&calm)));
                futures::join!(acts, trouble(&cluster, &checker, &plan, &admins, &calm));
                settle(&cluster, &checker, &told, &pairs).await
            };
            let watchers = join_all((0..cluster.seats.len()).map(|node| checker.watch(&cluster, node)));
            let (height, state) = match select(pin!(story), pin!(watchers)).await {
                Either::Left((end, _)) => end,
                Either::Right(_) => unreachable!("watchers watch for ever"),
            };
            checker.with_log(|log| Ran {
                seed,
                plan: plan.to_string(),
                height,
                events: log.events.len(),
                releases: log.events.iter().filter(|event| event.action == Action::Release).count(),
                joined: cluster.joined(),
                state,
                hash: runtime.auditor().state(),
            })
        })
    }

    /// Runs it, and says how to see it again if it fails.
    fn run_and_tell(self) -> std::thread::Result<Ran> {
        let ran = catch_unwind(AssertUnwindSafe(|| self.run()));
        match &ran {
            Ok(ran) => println!("{ran}"),
            Err(_) => {
                let Self { seed, nodes, .. } = self;
                let nodes = if nodes == NODES { String::new() } else { format!(" NODES={nodes}") };
                println!("seed {seed} failed ({}); see it again with:\n  make sim SEED={seed}{nodes}", self.plan());
            }
        }
        ran
    }

    /// Whether it is run twice: then it must come to the same.
    const fn is_run_twice(self) -> bool {
        self.seed.is_multiple_of(100)
    }
}

/// A number from the environment; something else there is an error, not a default.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// How many nodes a network has.
fn nodes() -> usize {
    let nodes = number("DMDL_SIM_NODES").map_or(NODES, |nodes| usize::try_from(nodes).expect("a small number"));
    assert!((NODES..=NODES_MAX).contains(&nodes), "from {NODES} to {NODES_MAX} nodes");
    nodes
}

#[test]
fn every_seed_holds_every_invariant() {
    let (base, count) = (number("DMDL_SIM_BASE").unwrap_or(0), number("DMDL_SIM_COUNT").unwrap_or(50));
    let kind = std::env::var("DMDL_SIM_KIND").ok();
    assert!(kind.as_deref().is_none_or(|kind| Twist::KINDS.contains(&kind)), "one of {:?}", Twist::KINDS);
    // A seed that is seen again may be listened to: DMDL_LOG=debug.
    if let Ok(filter) = EnvFilter::try_from_env("DMDL_LOG") {
        let _ = tracing_subscriber::fmt().with_ansi(false).without_time().with_env_filter(filter).try_init();
    }
    let nodes = nodes();
    let is_of_kind = |case: &Case| kind.as_deref().is_none_or(|kind| case.plan().twist.kind() == kind);
    let cases: Vec<Case> = match number("DMDL_SIM_SEED") {
        Some(seed) => vec![Case::of(seed, nodes)],
        None => (base..)
            .map(|seed| Case::of(seed, nodes))
            .filter(is_of_kind)
            .take(usize::try_from(count).expect("a small number"))
            .collect(),
    };
    let (begun, mut failed, mut twice) = (Instant::now(), Vec::new(), 0);
    for case in &cases {
        let ran = case.run_and_tell();
        let holds = match ran {
            Ok(ran) if case.is_run_twice() => {
                twice += 1;
                case.run_and_tell().is_ok_and(|again| again == ran)
            }
            ran => ran.is_ok(),
        };
        if !holds {
            failed.push(case.seed);
        }
    }
    let (count, failures) = (cases.len(), failed.len());
    let pace = count as f64 / (begun.elapsed().as_secs_f64() / 60.0);
    let (first, last) = (base, cases.last().map_or(base, |case| case.seed));
    let kind = kind.map_or_else(String::new, |kind| format!("{kind} "));
    // Not captured: which seeds were run is worth a line, whatever came of them.
    writeln!(
        io::stderr(),
        "{count} {kind}seeds of {nodes} nodes from {first} to {last}: {failures} violations, {twice} run twice, \
         {pace:.0} seeds a minute"
    )
    .unwrap();
    assert!(failed.is_empty(), "an invariant does not hold; see it again with `make sim SEED=...`: {failed:?}");
}

#[test]
fn seeds_that_failed_once_hold() {
    // From before disks were drawn.
    let case = |seed: u64| Case { change: Plan::with_plain_disks, ..Case::of(seed, NODES) };
    let failed: Vec<u64> = FAILED_ONCE.into_iter().filter(|seed| case(*seed).run_and_tell().is_err()).collect();
    assert!(failed.is_empty(), "they fail again: {failed:?}");
}

#[test]
fn who_lost_everything_late_joins_by_a_snapshot_and_takes_part_again() {
    let late = |plan: Plan| {
        let wiped = Episode { after: Duration::from_secs(40), fault: 1, lasts: Duration::from_secs(1) };
        Plan { crashes: vec![], cuts: vec![], clocks: vec![], loss_percent: 0, twist: Twist::Wiped(wiped), ..plan }
    };
    for seed in [1, 2] {
        let ran = Case { change: late, ..Case::of(seed, NODES) }.run();
        assert_eq!(ran.joined, 1, "{ran}");
    }
}

#[test]
fn who_is_restored_from_a_backup_of_long_ago_takes_part_again_and_contradicts_nothing() {
    let restored = |plan: Plan| {
        let lost = Episode { after: Duration::from_secs(20), fault: 2, lasts: Duration::from_secs(1) };
        Plan { crashes: vec![], cuts: vec![], clocks: vec![], loss_percent: 0, twist: Twist::Restored(lost), ..plan }
    };
    let base = number("DMDL_SIM_BASE").unwrap_or(0);
    let count = number("DMDL_RESTORES").unwrap_or(2);
    for seed in base..base + count {
        println!("{}", Case { change: restored, ..Case::of(seed, NODES) }.run());
    }
    writeln!(io::stderr(), "{count} restores of old backups from seed {base} on: 0 violations").unwrap();
}

/// How the simulator runs a seed.
fn config(seed: u64) -> deterministic::Config {
    deterministic::Config::new()
        .with_seed(seed)
        .with_start_time(SystemTime::UNIX_EPOCH + BEGIN)
        .with_timeout(Some(HANGS_AFTER))
}

/// A network on which nothing goes wrong.
fn calm(runtime: &mut deterministic::Context) -> Plan {
    let drawn = Plan::draw(0, NODES, runtime);
    let plan = Plan { crashes: vec![], cuts: vec![], clocks: vec![], twist: Twist::None, ..drawn };
    Plan { latency: Duration::from_millis(10), jitter: Duration::ZERO, loss_percent: 0, ..plan }
}

#[test]
fn what_nobody_waits_for_comes_to_all_nodes_all_the_same() {
    deterministic::Runner::new(config(5)).start(|mut runtime| async move {
        let plan = calm(&mut runtime);
        let seeds: [[u8; 32]; NODES] = std::array::from_fn(|_| secret(&runtime));
        let people: Vec<_> = seeds.into_iter().map(|seed| (seed, Role::Admin)).collect();
        let cluster = Cluster::start(runtime.child("cluster"), &plan, &people).await;
        let told = Told::default();
        for (home, seed) in seeds.into_iter().enumerate() {
            let admin = Person { cluster: &cluster, told: &told, seed, home };
            let transaction = signed(&admin, Governance::Propose { changes: vec![Change::PruneBlocks] }).await;
            let id = transaction.body.id();
            let node = |position: usize| cluster.seats[position].up.get().expect("it runs");
            let handed_in = node(home).submit(transaction, Duration::ZERO).await;
            assert!(matches!(handed_in, Err(GatewayError::NotFinal(_))), "{handed_in:?}");
            // Whoever took it in may be gone a moment later.
            runtime.sleep(Duration::from_millis(100)).await;
            for other in (0..NODES).filter(|other| *other != home).map(node) {
                let channel = other.channel();
                let has_it = channel.waiting_transactions() > 0 || channel.event_of(id).unwrap().is_some();
                assert!(has_it, "node {home} keeps it to itself");
            }
            runtime.sleep(Duration::from_secs(5)).await;
        }
    });
}

#[test]
fn who_has_lost_some_of_its_votes_follows_beside_those_that_are_left_and_votes_again() {
    deterministic::Runner::new(config(7)).start(|mut runtime| async move {
        let plan = calm(&mut runtime);
        let cluster = Cluster::start(runtime.child("cluster"), &plan, &[(secret(&runtime), Role::Admin)]).await;
        let channel = |position: usize| cluster.seats[position].up.get().expect("it runs").channel().clone();
        let (loses, other) = (2, 0);
        while channel(loses).tip().height.get() < 5 {
            runtime.sleep(Duration::from_millis(100)).await;
        }
        cluster.crash(loses).await;
        note_votes_lost(&cluster.seats[loses].store()).unwrap();
        for restarts in [false, true] {
            if restarts {
                cluster.crash(loses).await;
            }
            cluster.boot(loses).await;
            assert!(channel(loses).follows());
            let goal = channel(other).tip().height.next().next();
            while channel(loses).tip().height < goal {
                runtime.sleep(Duration::from_millis(100)).await;
            }
        }
        while channel(loses).follows() {
            runtime.sleep(Duration::from_millis(500)).await;
        }
    });
}

#[test]
fn a_channel_that_lets_blocks_go_needs_none_of_them() {
    deterministic::Runner::new(config(7)).start(|mut runtime| async move {
        let plan = Plan { epoch_blocks: pruned::EPOCH_BLOCKS, ..calm(&mut runtime) };
        let seeds: [[u8; 32]; 2 + NODES] = std::array::from_fn(|_| secret(&runtime));
        let roles = [Role::Owner, Role::Researcher].into_iter().chain([Role::Admin; NODES]);
        let people: Vec<_> = seeds.into_iter().zip(roles).collect();
        let cluster = Cluster::start(runtime.child("cluster"), &plan, &people).await;
        let told = Told::default();
        let person = |at: usize| Person { cluster: &cluster, told: &told, seed: seeds[at], home: at % NODES };
        let pair = Pair { owner: person(0), researcher: person(1), plaintext: vec![7; 1000] };
        let admins: Vec<_> = (2..2 + NODES).map(person).collect();
        pruned::lets_blocks_go(&cluster, &pair, &admins).await;
    });
}

#[test]
fn a_seed_replays_to_the_same_hash() {
    let seed = number("DMDL_SIM_SEED").unwrap_or(42);
    // A choice that is not the seed's may fall the same way once, not six times.
    let run = || Case::of(seed, nodes()).run_and_tell().expect("the seed holds");
    let first = run();
    for _ in 0..5 {
        assert_eq!(run(), first);
    }
}
