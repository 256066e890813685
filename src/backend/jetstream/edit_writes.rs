//! Appending to the catalog's subject.

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::envelope::{ENVELOPE_BYTES, Kind, seal};
use super::failure::Failure;
use super::shared::{PAUSE, Shared};
use crate::error::Error;

pub(super) const OPERATION: &str = "write an edit";

/// Why a message is not on the subject, as far as that is known.
#[derive(Debug)]
pub(super) enum Unwritten {
    Refused(Error),
    Unknown(Error),
}

/// Appends a message behind the last. What is not known to be done is tried for as long as the store is open.
pub(super) async fn put(shared: &Shared, kind: Kind, last: u64, content: &[u8]) -> Result<u64, Unwritten> {
    let subject = shared.names.edits();
    let author = shared.next_author();
    let mut message = vec![0; ENVELOPE_BYTES];
    message.extend_from_slice(content);
    seal(&mut message, &subject, kind, author, last);
    let message = Bytes::from(message);
    let stream = shared.names.catalog_stream();
    let mut is_sent = false;
    let mut refused_since = None;
    loop {
        let failure = match shared.api.append(&subject, last, message.clone()).await {
            Ok(sequence) => return Ok(sequence),
            Err(failure) => failure,
        };
        if let Failure::NoRoom | Failure::Refused(_) = failure
            && !is_sent
        {
            return Err(Unwritten::Refused(failure.into_error(OPERATION)));
        }
        is_sent |= !matches!(failure, Failure::WrongLastSequence | Failure::AppendInFlight);
        if shared.is_final(&failure) {
            return Err(Unwritten::Unknown(failure.into_error(OPERATION)));
        }
        if matches!(failure, Failure::WrongLastSequence) {
            refused_since.get_or_insert_with(Instant::now);
        }
        let newest = shared.api.last(&stream, &subject).await;
        match newest {
            Ok(Some(newest)) => match shared.author_of(&newest, &subject) {
                Some(newest_author) if newest_author == author => return Ok(newest.sequence),
                Some(newest_author) if newest.sequence > last && !shared.is_own(newest_author) => {
                    return Err(Unwritten::Unknown(shared.fence()));
                }
                // A message that this opener was told was not stored is there after all.
                Some(_) if newest.sequence > last => {
                    return Err(Unwritten::Unknown(failure.into_error(OPERATION)));
                }
                // An old leader may not know of the last message, or the message has yet to come.
                _ => shared.leave_wrong_leader(&stream, refused_since).await,
            },
            Ok(None) => shared.leave_wrong_leader(&stream, refused_since).await,
            Err(failure) if shared.is_final(&failure) => {
                return Err(Unwritten::Unknown(failure.into_error(OPERATION)));
            }
            Err(_) => {}
        }
        if !shared.cluster.may_wait() {
            return Err(Unwritten::Unknown(failure.into_error(OPERATION)));
        }
        sleep(PAUSE).await;
    }
}
