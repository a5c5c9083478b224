//! What goes wrong, and when: a plan that a seed decides, and somebody who carries it out.

use super::{dice::Dice, ground::Ground};
use std::{
    collections::BTreeSet,
    fmt,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

/// Four nodes.
pub(crate) const NODES: usize = 4;
/// How far a clock is off that is.
const DAY_S: i64 = 86_400;
/// What each sync of a slow disk takes longer.
const SYNC_US: u32 = 200_000;
/// How long a long pause lasts: longer than whatever others wait for. One in so many plans that may have one begins with it.
const LONG_PAUSE_MS: (u64, u64) = (20_000, 60_000);
const LONG_PAUSE_IN: usize = 4;
/// How fast a link comes and goes.
const FLAP: Duration = Duration::from_millis(700);

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A process is gone at once, and comes back.
    Kill,
    /// Two are: nothing becomes final.
    KillTwo,
    /// All are, at one moment.
    KillAll,
    /// A process is told to stop, and started again.
    Restart,
    /// A process stands still, and goes on as if no time had passed.
    Pause,
    /// A clock is a day off, this way or that.
    Skew,
    /// Syncs of a disk take long.
    Slow,
    /// A node is cut off from all others.
    Apart,
    /// Two are cut off from the other two.
    Halves,
    /// A node does not hear the others.
    Deaf,
    /// A node is not heard.
    Mute,
    /// A node is cut off again and again.
    Flap,
}

impl Kind {
    /// What only needs processes.
    const ANYWHERE: [Self; 6] = [Self::Kill, Self::KillTwo, Self::KillAll, Self::Restart, Self::Pause, Self::Skew];
    /// What needs hosts of their own.
    pub(crate) const LINKS: [Self; 5] = [Self::Apart, Self::Halves, Self::Deaf, Self::Mute, Self::Flap];

    /// Those that can be had on this ground.
    pub(crate) fn on(ground: &Ground) -> Vec<Self> {
        let mut kinds = Self::ANYWHERE.to_vec();
        if ground.has_hosts() {
            kinds.extend(Self::LINKS);
        }
        if ground.has_tracer() {
            kinds.push(Self::Slow);
        }
        kinds
    }

    /// How long one lasts, in milliseconds.
    const fn lasts_ms(self) -> (u64, u64) {
        match self {
            Self::Kill | Self::Restart => (200, 4_000),
            Self::KillTwo | Self::KillAll => (200, 2_000),
            Self::Pause => (1_000, 20_000),
            Self::Skew | Self::Slow | Self::Flap => (3_000, 8_000),
            Self::Apart | Self::Halves | Self::Deaf | Self::Mute => (2_000, 15_000),
        }
    }
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Whom it strikes, or whom first.
    pub(crate) node: usize,
    /// Another one, where it strikes two; and which way a clock is off.
    pub(crate) other: usize,
    pub(crate) lasts: Duration,
    /// How long all was well before.
    pub(crate) after: Duration,
}

impl Fault {
    /// One of a kind.
    pub(crate) fn draw(kind: Kind, dice: &mut Dice) -> Self {
        Self::draw_lasting(kind, kind.lasts_ms(), dice)
    }

    /// One of a kind that lasts between so long and so long.
    fn draw_lasting(kind: Kind, (least, most): (u64, u64), dice: &mut Dice) -> Self {
        let node = dice.below(NODES);
        let other = (node + 1 + dice.below(NODES - 1)) % NODES;
        let (lasts, after) = (dice.between(least, most), dice.between(500, 3_000));
        Self { kind, node, other, lasts: Duration::from_millis(lasts), after: Duration::from_millis(after) }
    }

    /// Who is on the side that can go on without the others, if there is one.
    pub(crate) fn majority(&self) -> Vec<usize> {
        let is_out = |node: &usize| *node == self.node;
        match self.kind {
            Kind::Halves | Kind::KillTwo | Kind::KillAll => Vec::new(),
            _ => (0..NODES).filter(|node| !is_out(node)).collect(),
        }
    }

    /// From whom to whom nothing comes through.
    pub(crate) fn cuts(&self) -> BTreeSet<(usize, usize)> {
        let group = match self.kind {
            Kind::Halves => vec![self.node, self.other],
            Kind::Apart | Kind::Flap | Kind::Deaf | Kind::Mute => vec![self.node],
            _ => return BTreeSet::new(),
        };
        let is_in = |node: usize| group.contains(&node);
        let pairs = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to)));
        pairs
            .filter(|(from, to)| match self.kind {
                Kind::Deaf => !is_in(*from) && is_in(*to),
                Kind::Mute => is_in(*from) && !is_in(*to),
                _ => is_in(*from) != is_in(*to),
            })
            .collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, node, other, lasts, .. } = self;
        match kind {
            Kind::KillAll => write!(f, "kill all"),
            Kind::KillTwo | Kind::Halves => write!(f, "{kind:?} {node} {other}"),
            _ => write!(f, "{kind:?} {node}"),
        }?;
        write!(f, " {:.1} s", lasts.as_secs_f64())
    }
}

/// Faults for so long, one after the other. A seed has a random half of the kinds, so that what one kind hides behind
/// another is found where that one is not. Now and then it begins with a long pause: after others there would be no time for it.
pub(crate) fn plan(seed: u64, lasts: Duration, kinds: &[Kind]) -> Vec<Fault> {
    let mut dice = Dice::new(seed, 1);
    let mut kinds = kinds.to_vec();
    for _ in 0..kinds.len() / 2 {
        kinds.remove(dice.below(kinds.len()));
    }
    let (mut plan, mut takes) = (Vec::new(), Duration::ZERO);
    let may_pause_long = lasts >= Duration::from_millis(LONG_PAUSE_MS.1) && kinds.contains(&Kind::Pause);
    let pauses_long = may_pause_long && dice.below(LONG_PAUSE_IN) == 0;
    let mut first = pauses_long.then(|| Fault::draw_lasting(Kind::Pause, LONG_PAUSE_MS, &mut dice));
    loop {
        let fault = first.take().unwrap_or_else(|| {
            let kind = *dice.pick(&kinds).expect("there is always a kind");
            Fault::draw(kind, &mut dice)
        });
        takes += fault.after + fault.lasts;
        if takes > lasts && !plan.is_empty() {
            return plan;
        }
        plan.push(fault);
    }
}

impl Ground {
    /// Lets a fault begin, and mends it after its time.
    pub(crate) fn strike(&mut self, fault: &Fault) {
        sleep(fault.after);
        let Fault { kind, node, other, lasts, .. } = *fault;
        match kind {
            Kind::Kill => self.without(&[node], lasts, true),
            Kind::KillTwo => self.without(&[node, other], lasts, true),
            Kind::KillAll => self.without(&[0, 1, 2, 3], lasts, true),
            Kind::Restart => self.without(&[node], lasts, false),
            Kind::Pause => {
                self.network.pause(node, true);
                sleep(lasts);
                self.network.pause(node, false);
            }
            Kind::Skew => {
                let ahead_s = if other > node { DAY_S } else { -DAY_S };
                self.network.clock(node).set(ahead_s);
                sleep(lasts);
                self.network.clock(node).set(0);
            }
            Kind::Slow => {
                let mut tracer = self.slow(node);
                sleep(lasts);
                tracer.kill().unwrap();
                tracer.wait().unwrap();
            }
            Kind::Flap => {
                let flaps = lasts.as_millis() / FLAP.as_millis();
                for cut in (0..flaps).map(|number| number % 2 == 0) {
                    self.cut_only(if cut { fault.cuts() } else { BTreeSet::new() });
                    sleep(FLAP);
                }
                self.cut_only(BTreeSet::new());
            }
            Kind::Apart | Kind::Halves | Kind::Deaf | Kind::Mute => {
                self.cut_only(fault.cuts());
                sleep(lasts);
                self.cut_only(BTreeSet::new());
            }
        }
    }

    /// Goes on for a time without these nodes, which are killed, or told to stop.
    fn without(&mut self, nodes: &[usize], lasts: Duration, kills: bool) {
        if kills {
            self.network.kill_at_once(nodes);
        } else {
            nodes.iter().for_each(|node| self.network.stop(*node));
        }
        sleep(lasts);
        for node in nodes {
            self.network.start(*node);
        }
    }

    /// Makes the syncs of a node slow, until the process that sees to it is gone.
    fn slow(&self, node: usize) -> Child {
        let inject = format!("inject=fsync,fdatasync:delay_exit={SYNC_US}");
        Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &inject, "-p"])
            .arg(self.network.process(node).as_raw_nonzero().to_string())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// All kinds.
fn all() -> Vec<Kind> {
    Kind::ANYWHERE.iter().chain(&Kind::LINKS).copied().chain([Kind::Slow]).collect()
}

/// Those that a plan has.
fn kinds(plan: &[Fault]) -> BTreeSet<Kind> {
    plan.iter().map(|fault| fault.kind).collect()
}

#[test]
fn a_seed_decides_the_plan_and_a_plan_has_some_of_the_kinds() {
    let all = all();
    let drawn = |seed| plan(seed, Duration::from_secs(60), &all);
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
    let seen: BTreeSet<Kind> = (0..100).flat_map(|seed| kinds(&drawn(seed))).collect();
    assert_eq!(seen.len(), all.len(), "every kind comes about: {seen:?}");
    assert!((0..100).any(|seed| kinds(&drawn(seed)).len() < 5), "some seeds go without most of them");
}

#[test]
fn half_of_the_kinds_are_left_to_a_seed_and_never_none() {
    // A plan that is so long has all that are left.
    let left = |of: &[Kind]| (0..20).map(|seed| kinds(&plan(seed, Duration::from_secs(7_200), of))).collect::<Vec<_>>();
    let all = all();
    for of in [&all[..], &all[1..], &all[..1]] {
        let half = of.len().div_ceil(2);
        assert!(left(of).iter().all(|kinds| kinds.len() == half), "{half} of {of:?}");
    }
    assert!(left(&all).iter().collect::<BTreeSet<_>>().len() > 10, "another half to most seeds");
}

#[test]
fn a_pause_is_long_now_and_then_and_only_in_a_plan_that_has_the_time() {
    let all = all();
    let is_long = |fault: &Fault| fault.kind == Kind::Pause && fault.lasts > Duration::from_secs(20);
    let with_long = |seconds| {
        let plans = (0..200).map(|seed| plan(seed, Duration::from_secs(seconds), &all));
        plans.filter(|plan| plan.iter().any(is_long)).collect::<Vec<_>>()
    };
    assert_eq!(with_long(59).len(), 0);
    let plans = with_long(60);
    assert!((10..50).contains(&plans.len()), "{} of 200", plans.len());
    assert!(plans.iter().all(|plan| plan[0].lasts <= Duration::from_secs(60)));
    assert!(plans.iter().any(|plan| plan.len() > 1), "others come after it");
}

#[test]
fn what_is_cut_is_what_a_fault_is_called() {
    let cuts = |kind, node, other| {
        let (lasts, after) = (Duration::ZERO, Duration::ZERO);
        Fault { kind, node, other, lasts, after }.cuts()
    };
    assert_eq!(cuts(Kind::Deaf, 1, 2), [(0, 1), (2, 1), (3, 1)].into());
    assert_eq!(cuts(Kind::Mute, 1, 2), [(1, 0), (1, 2), (1, 3)].into());
    assert_eq!(cuts(Kind::Apart, 1, 2), &cuts(Kind::Deaf, 1, 2) | &cuts(Kind::Mute, 1, 2));
    assert_eq!(cuts(Kind::Halves, 0, 3), [(0, 1), (0, 2), (3, 1), (3, 2), (1, 0), (2, 0), (1, 3), (2, 3)].into());
    assert_eq!(cuts(Kind::Pause, 0, 3), BTreeSet::new());
}
