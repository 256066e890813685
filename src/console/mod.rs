//! The console: pages that show people the contents and the activity of a store.
//!
//! It only reads: no request changes anything. A browser gets one page and its files, which are part of the program
//! (`files`). The page asks for data as JSON: the streams (`summary`), a stream with its shards (`stream`) and its
//! readers (`readers`), records (`records`), and news of all these as server-sent events (`events`). Every answer has
//! the headers that keep it from other web pages (`answer`). As for the API, [`Admission`](crate::http::Admission)
//! decides which requests are admitted.
//!
//! This floor uses the store as an embedder does, and connections by the interface of `http`. The floor above serves it
//! beside the API, or at a separate address.
//!
//! A client costs no more than a client of the API. The number of requests that read the store at once is limited, and
//! so is how much each of them reads and shows. Replies hold memory for replies. The number of listeners to events is
//! limited, and each event is made once for all of them.

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
