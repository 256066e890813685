//! The `anabranch` program.

mod cli;

use std::process::ExitCode;

/// Gives memory back some seconds after it is free, by a thread of its own, even if the program is idle.
/// `docs/performance.md` compares it with others. Programs that use the library keep their own allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main()
}
