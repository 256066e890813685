//! The place of a server among those that share a store: what it says of itself, and whether it still has the store.

use base64_simd::STANDARD as BASE64;
use tokio::sync::watch;

use super::answer::{Answer, CallAddress, Stage};
use crate::error::Error;

/// One attempt to have the store, from before it is opened until it is closed or lost.
#[derive(Debug)]
pub(crate) struct Seat {
    address: CallAddress,
    state: watch::Sender<State>,
}

#[derive(Clone, Debug)]
struct State {
    stage: Stage,
    /// Why the opener can do nothing more.
    lost: Option<Error>,
}

impl Seat {
    /// `url` is where the server takes calls, `certificate` what it shows there if it speaks TLS, and `token` a text that
    /// no other seat has.
    pub(crate) fn new(url: &str, certificate: Option<&[u8]>, token: String) -> Seat {
        Seat {
            address: CallAddress {
                url: url.to_owned(),
                certificate: certificate.map(|certificate| BASE64.encode_to_string(certificate)),
                token,
            },
            state: watch::Sender::new(State {
                stage: Stage::Opening,
                lost: None,
            }),
        }
    }

    pub(crate) fn address(&self) -> &CallAddress {
        &self.address
    }

    /// Once the store is open.
    pub(crate) fn term(&self) -> Option<u64> {
        match self.state.borrow().stage {
            Stage::Opening => None,
            Stage::Open { term } | Stage::Leaving { term } => Some(term),
        }
    }

    /// The server begins no further calls. Gives the term that it has.
    pub(crate) fn leave(&self) -> Option<u64> {
        let term = self.term()?;
        self.state
            .send_modify(|state| state.stage = Stage::Leaving { term });
        Some(term)
    }

    /// Ready when the store is lost: another opener has it, or it is not known what was written of it.
    pub(crate) async fn is_lost(&self) -> Error {
        let mut state = self.state.subscribe();
        let lost = state.wait_for(|state| state.lost.is_some()).await;
        // The sender is this one.
        lost.ok()
            .and_then(|state| state.lost.clone())
            .unwrap_or(Error::Closed)
    }

    pub(super) fn note_open(&self, term: u64) {
        self.state.send_modify(|state| state.stage = Stage::Open { term });
    }

    pub(super) fn note_lost(&self, error: Error) {
        self.state.send_modify(|state| {
            state.lost.get_or_insert(error);
        });
    }

    pub(super) fn answer(&self) -> Answer {
        Answer {
            stage: self.state.borrow().stage.clone(),
            address: Some(self.address.clone()),
        }
    }
}
