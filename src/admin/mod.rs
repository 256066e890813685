//! What those ask who run a server: whether it is well, its numbers, and its version.
//!
//! Three pages, [`Page`]: `/health`, `/metrics` in Prometheus' text format, and `/version`. The floor above offers them beside
//! its API, or an [`AdminAddress`] of their own does. This floor knows the store as an embedder does, connections as `http`
//! shows them, and of the API only the names of its operations and what became of their calls ([`Calls`]).
//!
//! No client has to sign for a page. Which hosts and web pages may ask is decided where it is for the API:
//! [`Admission`](crate::http::Admission). A page takes one thread that may wait, and only so many are made at a time, so a client
//! that asks too often waits for itself.

mod address;
mod calls;
mod exposition;
mod health;
mod numbers;
mod pages;

pub(crate) use address::AdminAddress;
pub(crate) use calls::Calls;
pub(crate) use pages::{Admin, Page};
