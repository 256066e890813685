//! The `anabranch` program.

mod cli;

use std::process::ExitCode;

/// Gives memory back some seconds after it is free, with a thread of its own, also when nothing else happens;
/// `docs/performance.md` compares it with others. Programs that use the library keep theirs.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main()
}
