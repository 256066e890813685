//! The pages for people who run a server: its health, its numbers, and its version.
//!
//! There are three pages, [`Page`]: `/health`, `/metrics` in Prometheus' text format, and `/version`. The floor above
//! serves them beside its API, or an [`AdminAddress`] serves them at a separate address. This floor uses the store as
//! an embedder does, and connections by the interface of `http`. Of the API it knows only the names of its operations
//! and the counts of its calls ([`Calls`]).
//!
//! Requests for pages are not signed. As for the API, [`Admission`](crate::http::Admission) decides which hosts and web
//! pages may send requests. Facts for which a page needs the disk are looked up by one thread at a time and kept. A
//! page waits for them at most a moment, because these pages have to show that a disk hangs.

mod address;
mod calls;
mod exposition;
mod hanging;
mod health;
mod lags;
mod numbers;
mod pages;
mod series;

pub(crate) use address::AdminAddress;
pub(crate) use calls::Calls;
pub(crate) use hanging::tell_of_hanging_syncs;
pub(crate) use pages::{Admin, Page};
