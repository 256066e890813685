//! The console: pages that show people what is in the store, and what it does at this moment.
//!
//! It only shows: no request changes anything. A browser gets one page and its files, which are in the program (`files`), and
//! the page asks for what it shows as JSON: the streams (`summary`), one of them with its shards (`stream`) and its readers
//! (`readers`), records (`records`), and news of all that as server-sent events (`events`). Every answer has the fields that
//! keep it from other web pages (`answer`); which requests are looked at is decided where it is for the API:
//! [`Admission`](crate::http::Admission).
//!
//! This floor knows the store as an embedder does, and connections as `http` shows them. The floor above has its paths beside
//! the API's, or at an address of their own.
//!
//! A client costs no more than one of the API: only so many requests look at the store at once, each reads and shows only so
//! much, replies hold memory for replies, and only so many clients listen to events, which are made once for all of them.

mod answer;
mod events;
mod files;
mod parameters;
mod readers;
mod records;
mod routes;
mod source;
mod stream;
mod summary;

pub(crate) use routes::Console;
pub(crate) use source::Pushes;
