//! What those ask who run a server: whether it is well, its numbers, and its version.
//!
//! Three pages, [`Page`]: `/health`, `/metrics` in Prometheus' text format, and `/version`. The floor above offers them beside
//! its API, or an [`AdminAddress`] of their own does. This floor knows the store as an embedder does, connections as `http`
//! shows them, and of the API only the names of its operations and what became of their calls ([`Calls`]).
//!
//! No client has to sign for a page. Which hosts and web pages may ask is decided where it is for the API:
//! [`Admission`](crate::http::Admission). What a page needs of the disk is looked up by one thread at a time and kept, and no page
//! waits for it longer than a moment: these pages are what shows that a disk hangs.

mod address;
mod calls;
mod desk;
mod exposition;
#[cfg(feature = "nats")]
mod forwarding;
mod health;
mod lags;
mod numbers;
mod pages;
mod series;

pub(crate) use address::AdminAddress;
pub(crate) use calls::Calls;
pub(crate) use desk::{Desk, Shown};
#[cfg(feature = "nats")]
pub(crate) use forwarding::ForwardingPages;
pub(crate) use pages::{Admin, Page};
