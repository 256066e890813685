//! The `anabranch` program.

mod cli;

use std::process::ExitCode;

/// glibc's keeps what a burst of large requests took; `docs/performance.md` has figures. Programs that use the library
/// keep their own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
