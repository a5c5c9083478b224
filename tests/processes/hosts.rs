//! A host of its own for each node of a network, and what goes between hosts let through or not.

use super::network::Place;
use crate::lan::{Lan, SWITCH, address};
use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    process::Command,
    sync::{Arc, Mutex},
};

const NODE_PORT: u16 = 7401;
const GATEWAY_PORT: u16 = 7400;

/// The hosts. People are at the switch between them, from where every host can be reached.
pub(crate) struct Hosts {
    lan: Lan,
    names: Vec<String>,
    /// What is cut: from whom, and to whom.
    cut: Mutex<BTreeSet<(usize, usize)>>,
}

fn number(position: usize) -> u8 {
    u8::try_from(position + 1).unwrap()
}

impl Hosts {
    /// So many hosts; none where this process may not make them, which was said then.
    pub(crate) fn new(count: usize) -> Option<Arc<Self>> {
        let mut lan = Lan::new()?;
        let names: Vec<String> = (0..count).map(|position| format!("host{position}")).collect();
        for (position, name) in names.iter().enumerate() {
            lan.add(name);
            lan.connect(name, "eth0", number(position));
        }
        Some(Arc::new(Self { lan, names, cut: Mutex::default() }))
    }

    /// Lets through everything but what goes from the first to the second of these.
    pub(crate) fn cut_only(&self, wanted: BTreeSet<(usize, usize)>) {
        let mut cut = self.cut.lock().unwrap();
        cut.difference(&wanted).for_each(|(from, to)| self.lan.mend(&self.names[*from], number(*to)));
        wanted.difference(&cut).for_each(|(from, to)| self.lan.cut(&self.names[*from], number(*to)));
        *cut = wanted;
    }

    /// Does something where people are: what is opened there stays there.
    pub(crate) fn at_switch<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.lan.inside(SWITCH, work)
    }
}

impl Place for Hosts {
    fn address(&self, position: usize) -> (Ipv4Addr, [u16; 2]) {
        (address(number(position)), [NODE_PORT, GATEWAY_PORT])
    }

    fn at_node(&self, position: usize, command: Command) -> Command {
        self.lan.on(&self.names[position], &command)
    }

    fn at_people(&self, command: Command) -> Command {
        self.lan.on(SWITCH, &command)
    }
}
