//! A table of forgeries: what the attacker's gateway does, and what the program makes of it.

use super::{mitm::Trick, secrets::Secrets, world::World};
use crate::common::PATIENCE;
use serde_json::Value;
use std::time::Instant;

/// Where the path of the output stands in a command.
pub(crate) const OUT: &str = "OUT";

/// What a command ends with.
#[derive(Clone, Copy)]
pub(crate) struct End {
    pub(crate) exit: i32,
    pub(crate) code: &'static str,
}

/// The same for all forgeries that are no proof of anything.
pub(crate) const UNPROVED: End = End { exit: 5, code: "unproved" };

/// What a command ends with for lack of custodians.
const LACKS_CUSTODIANS: End = End { exit: 6, code: "custodians_unavailable" };

/// Forgeries of what one kind of command is told.
pub(crate) struct Table<'a> {
    title: &'static str,
    world: &'a World,
    secrets: Secrets,
    count: usize,
    wrong: Vec<String>,
}

/// Arguments with this file where something is written to.
pub(crate) fn args_to(args: &[String], out: &str) -> Vec<String> {
    args.iter().map(|arg| if arg == OUT { out.to_owned() } else { arg.clone() }).collect()
}

/// One command of somebody, and what it ends with where nothing is forged.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) who: &'static str,
    pub(crate) args: Vec<String>,
    pub(crate) honest: i32,
}

impl<'a> Table<'a> {
    pub(crate) fn new(title: &'static str, world: &'a World, secrets: &Secrets) -> Self {
        Self { title, world, secrets: secrets.clone(), count: 0, wrong: Vec::new() }
    }

    /// One forgery: the error that it ends with, and words of the explanation. Nothing may come to where the
    /// output should go, and nothing secret to the attacker; and the same command must succeed once nothing
    /// is forged.
    pub(crate) fn row(&mut self, name: &str, call: &Call, tricks: Vec<Trick>, end: End, says: &str) {
        self.count += 1;
        let (out, (exit, said)) = self.play(name, call, tricks, end.code == LACKS_CUSTODIANS.code);
        let (code, detail) = (&said["error"]["code"], said["error"]["detail"].as_str().unwrap_or_default());
        if exit != end.exit || code != end.code || !detail.contains(says) {
            self.wrong.push(format!(
                "{}: {name}\n    expected {} {} `…{says}…`\n    got      {exit} {code} `{detail}` {said}",
                self.title, end.exit, end.code
            ));
        }
        if let Some(out) = out.filter(|out| out.exists()) {
            self.wrong.push(format!("{}: {name}: there is something at `{}`", self.title, out.display()));
        }
        self.again(name, call);
    }

    /// One forgery that changes nothing: what the command ends with and says is what can be proved.
    pub(crate) fn holds(&mut self, name: &str, call: &Call, tricks: Vec<Trick>, exit: i32, holds: fn(&Value) -> bool) {
        self.count += 1;
        let (_, (got, said)) = self.play(name, call, tricks, false);
        if got != exit || !holds(&said) {
            self.wrong.push(format!("{}: {name}\n    got {got} {said}", self.title));
        }
        self.again(name, call);
    }

    fn play(
        &mut self,
        name: &str,
        call: &Call,
        tricks: Vec<Trick>,
        may_lack: bool,
    ) -> (Option<std::path::PathBuf>, (i32, Value)) {
        let (out, args) = self.with_path(&call.args);
        let (done, seen) = self.world.under(tricks, || self.run(call.who, &args, may_lack));
        self.search(name, &seen);
        (out, done)
    }

    /// Runs the program; once more while honest custodians are late, as on a busy machine, unless it may lack them.
    fn run(&self, who: &str, args: &[String], may_lack: bool) -> (i32, Value) {
        let begun = Instant::now();
        loop {
            let (exit, said) = self.world.run(who, args);
            let lacks = exit == LACKS_CUSTODIANS.exit && said["error"]["code"] == LACKS_CUSTODIANS.code;
            if may_lack || !lacks || begun.elapsed() > PATIENCE {
                return (exit, said);
            }
        }
    }

    /// The same command with nothing forged.
    fn again(&mut self, name: &str, call: &Call) {
        let (out, mut args) = self.with_path(&call.args);
        // Whoever is not lied to has all the time that it takes.
        if call.honest == 0
            && let Some(at) = args.iter().position(|arg| arg == "--timeout")
        {
            args.drain(at..at + 2);
        }
        let (exit, said) = self.run(call.who, &args, false);
        if exit != call.honest {
            self.wrong.push(format!("{}: {name}: it does not succeed afterwards: {exit} {said}", self.title));
        }
        if let Some(out) = out.filter(|_| call.honest == 0) {
            assert!(!std::fs::read(out).expect("it is written").is_empty());
        }
        self.search(name, &self.world.evil.seen());
    }

    fn search(&mut self, name: &str, seen: &[u8]) {
        if let Some(secret) = self.secrets.find(seen) {
            self.wrong.push(format!("{}: {name}: the attacker has seen {secret}", self.title));
        }
    }

    fn with_path(&self, args: &[String]) -> (Option<std::path::PathBuf>, Vec<String>) {
        let out = args.iter().any(|arg| arg == OUT).then(|| self.world.new_path());
        let args = match &out {
            Some(out) => args_to(args, &super::world::text(out)),
            None => args.to_vec(),
        };
        (out, args)
    }

    /// Leaves a line, and fails if anything was not as it should be.
    pub(crate) fn end(self) {
        println!("{:4}  {}", self.count, self.title);
        assert!(self.wrong.is_empty(), "{} of {}:\n{}", self.wrong.len(), self.count, self.wrong.join("\n"));
        assert!(self.count > 0);
    }
}
