//! What a seed decides: the network's manners, what goes wrong and when, and where people work.
//!
//! Each seed has a random half of the kinds of faults: what only happens while something else does not
//! happen is found too.

use super::{clock, cluster::NODES, twist::Twist};
use commonware_p2p::simulated::Link;
use commonware_utils::{Probability, probability};
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
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    pub(crate) loss_percent: u64,
    pub(crate) epoch_blocks: u64,
    /// Nodes that lose everything they have not synced, one after the other.
    pub(crate) crashes: Vec<Episode<usize>>,
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
    pub(crate) fn draw(rng: &mut impl Rng) -> Self {
        let mut draw = Draw(|bound| rng.next_u64() % bound);
        let kinds = draw.half();
        let has = |kind| kinds.contains(&kind);
        let pick = |draw: &mut Draw<_>, of: &[Kind]| {
            let of: Vec<Kind> = of.iter().copied().filter(|kind| has(*kind)).collect();
            (!of.is_empty()).then(|| of[draw.index(of.len())])
        };
        let crash = has(Kind::Crash);
        let crashes = draw.row(5_000, 100..14_000, |draw| crash.then(|| draw.index(NODES)));
        let cuts = draw.row(5_000, 500..15_000, |draw| {
            let kind = pick(draw, &[Kind::Halves, Kind::Lone, Kind::OneWay, Kind::Flapping])?;
            Some(draw.cut(kind))
        });
        let (first, second) = (draw.index(NODES), draw.index(4 * NODES));
        let mut clocks = Vec::new();
        for victim in [Some(first), Some(second).filter(|second| *second < NODES && *second != first)] {
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
        let mut plan = Self {
            latency: Duration::from_millis(1 + draw.below(if has(Kind::Slow) { 120 } else { 15 })),
            jitter: Duration::from_millis(draw.below(if has(Kind::Slow) { 40 } else { 4 })),
            loss_percent: draw.below(if has(Kind::Lossy) { 8 } else { 1 }),
            // Few enough that a run has many epochs.
            epoch_blocks: 12 + draw.below(17),
            crashes,
            cuts,
            clocks,
            homes: std::array::from_fn(|_| draw.index(NODES)),
            record_len_bytes: std::array::from_fn(|_| draw.index(200_000)),
            twist: Twist::draw(&mut draw),
        };
        if plan.twist.stands_alone() {
            plan.crashes.clear();
            plan.cuts.clear();
            // Whose clock is far off makes no blocks that others vote for in time: that is a second one.
            plan.clocks.clear();
        }
        plan
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
        let Self { latency, jitter, loss_percent, epoch_blocks, crashes, cuts, clocks, twist, .. } = self;
        write!(f, "links {latency:?}+-{jitter:?}, {loss_percent} % lost; epochs of {epoch_blocks}")?;
        for Episode { after, fault, lasts } in crashes {
            write!(f, "; after {after:?} node {fault} down for {lasts:?}")?;
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

    fn cut(&mut self, kind: Kind) -> Cut {
        let (a, other) = (self.index(NODES), 1 + self.index(NODES - 1));
        let b = (a + other) % NODES;
        let (halves, hears) = (self.below(2) == 0, self.below(2) == 0);
        let on_one_side = |node| node == a || node == b;
        let between = |side: &dyn Fn(usize) -> bool| {
            let all = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
            all.filter(|(from, to)| side(*from) != side(*to)).collect::<Vec<_>>()
        };
        let (name, links) = match kind {
            Kind::OneWay if hears => ("unheard", (0..NODES).filter(|to| *to != a).map(|to| (a, to)).collect()),
            Kind::OneWay => ("deaf", (0..NODES).filter(|from| *from != a).map(|from| (from, a)).collect()),
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
