//! `dmdl completions`: what a shell needs to complete our commands.

use super::{Cli, Report};
use crate::exit::Exit;
use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

pub(super) fn run(shell: Shell) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dmdl", &mut script);
    let text = String::from_utf8_lossy(&script).trim_end().to_owned();
    let json = json!({ "shell": shell.to_string(), "script": text });
    Report { text, json, exit: Exit::Ok }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_arguments_of_a_command_have_one_name() {
        Cli::command().debug_assert();
    }
}
