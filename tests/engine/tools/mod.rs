//! Inspecting a store that may be damaged, and repairing it.

mod dump;
mod inspected_store;
#[cfg(feature = "sim")]
mod interrupted;
#[cfg(feature = "server")]
mod program;
mod repair;
mod verify;
