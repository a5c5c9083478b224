//! What a seed decides: the network's manners, what goes wrong and when, and where people work.
//!
//! Each seed has a random half of the kinds of faults: what only happens while something else does not
//! happen is found too.

use super::{clock, disk::Left, twist::Twist};
use commonware_p2p::simulated::Link;
use commonware_utils::{Probability, probability};
use dmdl_audit_ledger::store::Fault as DiskFault;
use dmdl_types::genesis::faults;
use rand_core::Rng;
use std::{fmt, time::Duration};

/// A link without faults, for the end.
pub(crate) const HEALED: Link =
    Link { latency: Duration::from_millis(10), jitter: Duration::from_millis(2), success_rate: probability!(1.0) };

/// How far a clock may be off: around the bounds that the rules name, and up to a day.
const OFF_MS: [u64; 10] = [50, 900, 1_900, 2_100, 4_000, 9_000, 15_000, 90_000, 3_600_000, 86_400_000];

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Slow,
    Lossy,
    Crash,
    Halves,
    Lone,
    OneWay,
    Flapping,
    Skewed,
    Jumping,
    Stopped,
}

const KINDS: [Kind; 10] = [
    Kind::Slow,
    Kind::Lossy,
    Kind::Crash,
    Kind::Halves,
    Kind::Lone,
    Kind::OneWay,
    Kind::Flapping,
    Kind::Skewed,
    Kind::Jumping,
    Kind::Stopped,
];

/// Something that goes wrong for a while.
#[derive(Clone, Debug)]
pub(crate) struct Episode<F> {
    /// After the beginning, or after the last one of its row was over.
    pub(crate) after: Duration,
    pub(crate) fault: F,
    pub(crate) lasts: Duration,
}

/// A node that goes down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    pub(crate) node: usize,
    /// What its store says from then on, and it stops by itself; without, it is killed.
    pub(crate) disk: Option<DiskFault>,
    pub(crate) left: Left,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, disk, left } = self;
        let why = match disk {
            None => "",
            Some(DiskFault::Full) => ", disk full",
            Some(_) => ", syncs fail",
        };
        write!(f, "node {node} down{why}{left}")
    }
}

/// Messages that do not arrive.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    name: &'static str,
    /// From whom, and to whom.
    pub(crate) links: Vec<(usize, usize)>,
    /// It comes and goes, and stays this long each time.
    pub(crate) flaps: Option<Duration>,
}

/// The choices of one seed.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The nodes of the genesis document.
    pub(crate) nodes: usize,
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    pub(crate) loss_percent: u64,
    pub(crate) epoch_blocks: u64,
    /// One after the other.
    pub(crate) crashes: Vec<Episode<Crash>>,
    /// One after the other.
    pub(crate) cuts: Vec<Episode<Cut>>,
    /// Nodes whose clocks are wrong, and how, one after the other; seldom more of them than may be faulty.
    pub(crate) clocks: Vec<(usize, Vec<Episode<clock::Fault>>)>,
    /// The node that each person turns to first.
    pub(crate) homes: [usize; 4],
    pub(crate) record_len_bytes: [usize; 2],
    pub(crate) twist: Twist,
}

impl Plan {
    /// The plan of a seed, for a network of so many nodes; `rng` is the seed's.
    pub(crate) fn draw(seed: u64, nodes: usize, rng: &mut impl Rng) -> Self {
        let mut draw = Draw(|bound| rng.next_u64() % bound);
        let kinds = draw.half();
        let has = |kind| kinds.contains(&kind);
        let pick = |draw: &mut Draw<_>, of: &[Kind]| {
            let of: Vec<Kind> = of.iter().copied().filter(|kind| has(*kind)).collect();
            (!of.is_empty()).then(|| of[draw.index(of.len())])
        };
        let crash = has(Kind::Crash);
        let crashes = draw.row(5_000, 100..14_000, |draw| crash.then(|| draw.index(nodes)));
        let cuts = draw.row(5_000, 500..15_000, |draw| {
            let kind = pick(draw, &[Kind::Halves, Kind::Lone, Kind::OneWay, Kind::Flapping])?;
            Some(draw.cut(nodes, kind))
        });
        let (first, second) = (draw.index(nodes), draw.index(4 * nodes));
        let mut clocks = Vec::new();
        for victim in [Some(first), Some(second).filter(|second| *second < nodes && *second != first)] {
            let Some(victim) = victim else { continue };
            // A clock that is off from the first moment on, or one that is set while everybody works.
            let skewed = draw.below(2) == 0 && has(Kind::Skewed);
            let mut row = draw.row(8_000, 1_000..20_000, |draw| {
                let kind = pick(draw, &[Kind::Skewed, Kind::Jumping, Kind::Stopped])?;
                Some(draw.clock(kind))
            });
            if let Some(first) = row.first_mut().filter(|_| skewed) {
                first.after = Duration::ZERO;
            }
            clocks.push((victim, row));
        }
        let (latency, jitter) = if has(Kind::Slow) { (120, 40) } else { (15, 4) };
        let mut disks = Draw(of_its_own(seed));
        let mut plan = Self {
            nodes,
            latency: Duration::from_millis(1 + draw.below(latency)),
            jitter: Duration::from_millis(draw.below(jitter)),
            loss_percent: draw.below(if has(Kind::Lossy) { 8 } else { 1 }),
            // Few enough that a run has many epochs.
            epoch_blocks: 12 + draw.below(17),
            crashes: disks.crashes(crashes),
            cuts,
            clocks,
            homes: std::array::from_fn(|_| draw.index(nodes)),
            record_len_bytes: std::array::from_fn(|_| draw.index(200_000)),
            twist: Twist::draw(nodes, &mut draw).or_rots(&mut disks),
        };
        if plan.twist.stands_alone() {
            plan.cuts.clear();
            // Whose clock is far off makes no blocks that others vote for in time: that is a second one.
            plan.clocks.clear();
            plan.spare_a_second();
        }
        plan
    }

    /// Beside one faulty node a second one may crash where two may be faulty, and none where one may.
    fn spare_a_second(&mut self) {
        if faults(self.nodes) < 2 {
            self.crashes.clear();
        }
        let (nodes, first) = (self.nodes, self.twist.node());
        for Episode { fault: crash, .. } in self.crashes.iter_mut().filter(|crash| Some(crash.fault.node) == first) {
            crash.node = (crash.node + 1) % nodes;
        }
    }

    /// A plan in which disks do what they did before they were drawn.
    pub(crate) fn with_plain_disks(mut self) -> Self {
        for Episode { fault: crash, .. } in &mut self.crashes {
            *crash = Crash { disk: None, left: Left::Nothing, ..*crash };
        }
        self.twist = self.twist.with_plain_disks();
        self
    }

    pub(crate) fn link(&self) -> Link {
        let success_rate = Probability::new(100 - self.loss_percent, 100).unwrap();
        Link { latency: self.latency, jitter: self.jitter, success_rate }
    }

    /// What is wrong with a node's clock before it does anything.
    pub(crate) fn clock_at_first(&self, position: usize) -> Option<clock::Fault> {
        let of_node = self.clocks.iter().find(|(node, _)| *node == position);
        let first = of_node.and_then(|(_, row)| row.first())?;
        first.after.is_zero().then_some(first.fault)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, latency, jitter, loss_percent, epoch_blocks, crashes, cuts, clocks, twist, .. } = self;
        write!(f, "{nodes} nodes; links {latency:?}+-{jitter:?}, {loss_percent} % lost; epochs of {epoch_blocks}")?;
        for Episode { after, fault, lasts } in crashes {
            write!(f, "; after {after:?} {fault} for {lasts:?}")?;
        }
        for Episode { after, fault: Cut { name, links, flaps }, lasts } in cuts {
            write!(f, "; after {after:?} {name}")?;
            links.iter().try_for_each(|(from, to)| write!(f, " {from}{to}"))?;
            flaps.iter().try_for_each(|flaps| write!(f, " each {flaps:?}"))?;
            write!(f, " for {lasts:?}")?;
        }
        for (node, row) in clocks {
            for Episode { after, fault, lasts } in row {
                write!(f, "; after {after:?} clock {node} {fault} for {lasts:?}")?;
            }
        }
        write!(f, "{twist}")
    }
}

/// A generator of a seed's own: what else the seed decides does not depend on how often this one is asked.
fn of_its_own(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |bound| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Draws from the seed.
pub(crate) struct Draw<D>(D);

impl<D: FnMut(u64) -> u64> Draw<D> {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0(bound)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(crate) fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }

    /// Half of the kinds of faults.
    fn half(&mut self) -> Vec<Kind> {
        let mut kinds = KINDS.to_vec();
        for _ in 0..KINDS.len() / 2 {
            kinds.remove(self.index(kinds.len()));
        }
        kinds
    }

    /// One to three episodes.
    fn row<F>(
        &mut self,
        pause_ms: u64,
        lasts_ms: std::ops::Range<u64>,
        mut fault: impl FnMut(&mut Self) -> Option<F>,
    ) -> Vec<Episode<F>> {
        let mut row = Vec::new();
        for _ in 0..=self.below(3) {
            let (after, lasts) = (self.millis(0..pause_ms), self.millis(lasts_ms.clone()));
            row.extend(fault(self).map(|fault| Episode { after, fault, lasts }));
        }
        row
    }

    /// What becomes of disks where nodes go down: half of the seeds have disks that keep some of what was not synced.
    fn crashes(&mut self, row: Vec<Episode<usize>>) -> Vec<Episode<Crash>> {
        let (keeps, fails) = (self.below(2) == 0, self.below(3) == 0);
        let crash = |Episode { after, fault: node, lasts }: Episode<usize>| {
            let disk = [DiskFault::Sync, DiskFault::Full][self.index(2)];
            let (disk, left) = (Some(disk).filter(|_| fails), Left::draw(self));
            let left = if keeps { left } else { Left::Nothing };
            Episode { after, fault: Crash { node, disk, left }, lasts }
        };
        row.into_iter().map(crash).collect()
    }

    fn cut(&mut self, nodes: usize, kind: Kind) -> Cut {
        let (a, other) = (self.index(nodes), 1 + self.index(nodes - 1));
        let b = (a + other) % nodes;
        let (halves, hears) = (self.below(2) == 0, self.below(2) == 0);
        // Of seven, the two and the one after them.
        let third = (0..nodes).map(|step| (b + step) % nodes).find(|node| ![a, b].contains(node));
        let on_one_side = |node| node == a || node == b || (nodes / 2 > 2 && Some(node) == third);
        let between = |side: &dyn Fn(usize) -> bool| {
            let all = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
            all.filter(|(from, to)| side(*from) != side(*to)).collect::<Vec<_>>()
        };
        let (name, links) = match kind {
            Kind::OneWay if hears => ("unheard", (0..nodes).filter(|to| *to != a).map(|to| (a, to)).collect()),
            Kind::OneWay => ("deaf", (0..nodes).filter(|from| *from != a).map(|from| (from, a)).collect()),
            Kind::Lone => ("alone", between(&|node| node == a)),
            Kind::Flapping if !halves => ("alone", between(&|node| node == a)),
            _ => ("halves", between(&on_one_side)),
        };
        let flaps = (kind == Kind::Flapping).then(|| self.millis(100..2_500));
        Cut { name, links, flaps }
    }

    fn clock(&mut self, kind: Kind) -> clock::Fault {
        let by = Duration::from_millis(OFF_MS[self.index(OFF_MS.len())]);
        match (kind, self.below(2)) {
            (Kind::Stopped, _) => clock::Fault::Stopped,
            (_, 0) => clock::Fault::Ahead(by),
            _ => clock::Fault::Behind(by),
        }
    }
}
