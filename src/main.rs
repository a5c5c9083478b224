//! The program `dmdl`.

use dmdl::exit::Exit;
use dmdl_types::planted;
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// For RocksDB as well. Many threads hand what they allocate to each other, which costs the system's allocator a
/// twelfth of the processor time of a node (docs/performance.md).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    if planted::POSSIBLE {
        eprintln!("dmdl: built with bugs to plant, for tests alone; it does nothing else");
        return ExitCode::from(Exit::Internal as u8);
    }
    dmdl::commands::main()
}
