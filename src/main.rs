//! The program `dmdl`.

fn main() -> std::process::ExitCode {
    dmdl::commands::main()
}
