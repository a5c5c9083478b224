//! What processes use, over time: kept as rows of a file, and fitted with a line.

use crate::proc;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

/// What one node used at one time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    /// How often its process had been started before.
    life: u32,
    resident: u64,
    descriptors: u64,
}

/// All samples of a run.
pub(crate) struct Samples {
    file: File,
    begun: Instant,
    of: BTreeMap<usize, Vec<Sample>>,
    lives: BTreeMap<usize, (u32, u32)>,
}

/// What a node's samples show after its warm-up.
#[derive(Debug)]
pub(crate) struct Trend {
    pub(crate) lives: u32,
    pub(crate) samples: usize,
    pub(crate) resident: (u64, u64),
    /// MiB an hour.
    pub(crate) resident_slope: f64,
    pub(crate) descriptors: (u64, u64),
    /// Descriptors an hour.
    pub(crate) descriptors_slope: f64,
}

impl Samples {
    /// Begins a file of rows.
    pub(crate) fn begin(path: &Path) -> Self {
        let mut file = File::create(path).unwrap();
        writeln!(file, "seconds,node,life,resident_kib,descriptors").unwrap();
        Self { file, begun: Instant::now(), of: BTreeMap::new(), lives: BTreeMap::new() }
    }

    /// Looks at the processes of nodes; one that does not run, or has just ended, is passed over.
    pub(crate) fn take(&mut self, processes: &[Option<u32>]) {
        for (node, pid) in processes.iter().enumerate() {
            let Some(pid) = *pid else { continue };
            let (Some(resident), Some(descriptors)) = (proc::resident(pid), proc::descriptors(pid)) else { continue };
            let life = self.lives.entry(node).or_insert((pid, 0));
            if life.0 != pid {
                *life = (pid, life.1 + 1);
            }
            let sample = Sample { at: self.begun.elapsed(), life: life.1, resident, descriptors };
            writeln!(
                self.file,
                "{},{node},{},{},{descriptors}",
                sample.at.as_secs(),
                sample.life,
                sample.resident / 1024
            )
            .unwrap();
            self.of.entry(node).or_default().push(sample);
        }
    }

    /// What a node's samples show, without those of the warm-up.
    pub(crate) fn trend(&self, node: usize, warm_up: Duration) -> Option<Trend> {
        let samples: Vec<&Sample> = self.of.get(&node)?.iter().filter(|sample| sample.at >= warm_up).collect();
        let (first, last) = (samples.first()?, samples.last()?);
        let hours = |sample: &Sample| sample.at.as_secs_f64() / 3600.0;
        let line = |value: &dyn Fn(&Sample) -> f64| slope(samples.iter().map(|sample| (hours(sample), value(sample))));
        Some(Trend {
            lives: last.life + 1,
            samples: samples.len(),
            resident: (first.resident, last.resident),
            resident_slope: line(&|sample| sample.resident as f64 / (1024.0 * 1024.0)),
            descriptors: (first.descriptors, last.descriptors),
            descriptors_slope: line(&|sample| sample.descriptors as f64),
        })
    }
}

/// The slope of the line that fits points best, by least squares; 0 where there is none.
fn slope(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let points: Vec<(f64, f64)> = points.collect();
    let count = points.len() as f64;
    let mean = |part: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let along = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>();
    let spread = points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>();
    if spread > 0.0 { along / spread } else { 0.0 }
}

#[test]
fn the_slope_of_a_line_is_found_and_noise_around_it_does_not_matter() {
    let near = |value: f64, wanted: f64| (value - wanted).abs() < 1e-9;
    assert!(near(slope((0..10).map(|x| (f64::from(x), 3.0 * f64::from(x) + 7.0))), 3.0));
    let noisy = (0..8).map(|x| (f64::from(x / 2), f64::from(x / 2) + if x % 2 == 0 { 5.0 } else { -5.0 }));
    assert!(near(slope(noisy), 1.0));
    assert!(near(slope((0..4).map(|_| (1.0, 2.0))), 0.0));
    assert!(near(slope(std::iter::empty()), 0.0));
}

#[test]
fn the_samples_of_a_process_say_what_it_uses() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut samples = Samples::begin(file.path());
    for _ in 0..3 {
        samples.take(&[None, Some(std::process::id())]);
    }
    assert!(samples.trend(0, Duration::ZERO).is_none());
    let trend = samples.trend(1, Duration::ZERO).unwrap();
    assert_eq!((trend.lives, trend.samples), (1, 3));
    assert!(trend.resident.0 > 0 && trend.descriptors.0 > 0, "{trend:?}");
    assert_eq!(std::fs::read_to_string(file.path()).unwrap().lines().count(), 4);
}
