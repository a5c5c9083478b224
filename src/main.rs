//! The program `dmdl`.

use dmdl::exit::Exit;
use dmdl_types::planted;
use std::process::ExitCode;

fn main() -> ExitCode {
    if planted::POSSIBLE {
        eprintln!("dmdl: built with bugs to plant, for tests alone; it does nothing else");
        return ExitCode::from(Exit::Internal as u8);
    }
    dmdl::commands::main()
}
