//! The Kinesis API over HTTP: answers requests of Amazon Kinesis' clients from a [`Store`].
//!
//! This floor knows JSON and CBOR, the shapes of Kinesis' operations, AWS' checks and AWS' messages. Connections, and
//! the memory of requests and replies, belong to the floor below, `http`. It is one user of the engine among others:
//! everything it does to a stream goes through [`Store`] and [`Stream`](crate::Stream), and an embedder could do the
//! same.
//!
//! It must not know files, segments or the manifest, and has no state that would have to survive it: shard iterators
//! and paging tokens carry what they need.
//!
//! A request takes one path: `front` does everything that concerns HTTP itself, identifies the sender
//! (`authentication`) and names the operation. `dispatch` finds the operation and takes memory for its reply. The
//! operation does the rest (`operation`): a `Request` becomes a `Call` once its body has passed the checks of the
//! operation's declaration (`shape`, `convert`, `validate`), and its function makes a `Reply`.
//!
//! An operation is one row of the table in `operations` and one place in a file there: its declaration, written with
//! typed keys (`key`), and its function, which reads and writes members with the same keys.
//!
//! ```
//! use anabranch::Store;
//! use anabranch::kinesis::{Server, ServerOptions};
//!
//! # let directory = tempfile::tempdir()?;
//! # let data_dir = directory.path().join("data");
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let store = Store::open(data_dir)?;
//! let server = Server::bind(store.clone(), ServerOptions::new("127.0.0.1:0")).await?;
//! println!("listening on {}", server.local_addr());
//! # let ctrl_c = async {};
//! server.run_until(ctrl_c).await;
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arn;
mod authentication;
mod authorization;
mod canonical;
mod convert;
mod credentials;
mod date;
mod declared;
mod dispatch;
mod emulation;
mod error;
mod failures;
mod faults;
mod front;
mod key;
mod operation;
mod operations;
mod options;
mod policy;
mod protocol;
mod request_id;
mod scope;
mod server;
mod service;
mod shape;
mod signature;
mod subject;
mod subscriptions;
mod token;
mod validate;

pub use credentials::{Credentials, CredentialsError};
pub use declared::declared_api;
pub use emulation::{Limits, LimitsError};
pub use faults::{Fault, FaultError};
pub use options::ServerOptions;
pub use server::{BindError, Server};

pub use crate::http::{Listener, SelfSigned, ServerGauges, TcpListener, TlsError, TlsIdentity};

#[cfg(doc)]
use crate::Store;
