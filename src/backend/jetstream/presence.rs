//! Whether another opener has the store.
//!
//! The opener answers on a subject that is in no stream. One that has ended answers no more at once, and one that was
//! cut off or stopped does not in time: an opener that takes the store over then is safe from it, since it has said so
//! in the edits.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::{MissedTickBehavior, interval};

use super::answer::{Answer, News, Stage};
use super::cluster::NoAnswer;
use super::seat::Seat;
use super::shared::Shared;
use crate::error::{Error, Result};

/// An opener that is there answers within so long.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Where one was asked already and did not answer.
const SHORT_ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// Between two looks at whether this opener still has the store.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Refuses if another opener answers. `seat` is of a server that has asked before.
///
/// # Errors
/// [`Error::InUse`].
pub(super) fn check_is_free(shared: &Shared, seat: Option<&Seat>) -> Result<()> {
    let limit = match seat {
        Some(_) => SHORT_ANSWER_LIMIT,
        None => ANSWER_LIMIT,
    };
    let subject = shared.names.presence();
    let cluster = shared.cluster.clone();
    let asked = shared
        .cluster
        .run(async move { cluster.ask(subject, None, Bytes::new(), limit).await })?;
    match asked {
        Ok(_) => Err(taken(shared)),
        Err(NoAnswer::NoResponders | NoAnswer::Unknown(_)) => Ok(()),
    }
}

/// Answers from now on, until this opener has lost the store.
///
/// # Errors
/// [`Error::Cluster`] if the connection is gone.
pub(super) fn announce(shared: &Arc<Shared>, seat: Option<Arc<Seat>>) -> Result<()> {
    let (questions, news) = (shared.names.presence(), shared.names.news());
    let client = shared.cluster.client().clone();
    let subscribed = shared.cluster.run(async move {
        let questions = subscribe(&client, questions).await?;
        let news = subscribe(&client, news).await?;
        client.flush().await.map_err(|error| error.to_string())?;
        Ok::<_, String>((questions, news))
    })?;
    let (questions, news) = subscribed.map_err(|reason| Error::Cluster {
        operation: "take the store",
        reason,
    })?;
    let opener = Opener {
        client: shared.cluster.client().clone(),
        shared: Arc::downgrade(shared),
        seat,
    };
    shared.cluster.spawn(opener.answer(questions, news));
    Ok(())
}

pub(super) fn taken(shared: &Shared) -> Error {
    Error::InUse {
        store: shared.names.store(),
    }
}

async fn subscribe(client: &Client, subject: String) -> Result<Subscriber, String> {
    client.subscribe(subject).await.map_err(|error| error.to_string())
}

/// What answers for this opener.
struct Opener {
    client: Client,
    /// An opener that fails to open the store ends, and its connection with it.
    shared: Weak<Shared>,
    seat: Option<Arc<Seat>>,
}

impl Opener {
    async fn answer(self, mut questions: Subscriber, mut news: Subscriber) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let lost = loop {
            let heard = tokio::select! {
                question = questions.next() => match question {
                    Some(question) => Heard::Question(question),
                    None => return,
                },
                told = news.next() => match told {
                    Some(told) => Heard::News(told),
                    None => return,
                },
                _ = looks.tick() => Heard::Nothing,
            };
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            // Who was stopped meanwhile hears of its successor before it says that it is there.
            if let Heard::News(told) = &heard
                && self.is_of_successor(told)
            {
                let _ = shared.check_owner().await;
            }
            if let Err(error) = shared.check() {
                break error;
            }
            if let Heard::Question(Message {
                reply: Some(reply), ..
            }) = heard
            {
                // Who asks takes no answer for an answer too.
                let _ = self.client.publish(reply, self.said().into()).await;
            }
        };
        if let Some(seat) = &self.seat {
            seat.note_lost(lost);
        }
    }

    fn is_of_successor(&self, told: &Message) -> bool {
        let own = self.seat.as_ref().and_then(|seat| seat.term());
        match News::from_bytes(&told.payload) {
            Some(News::Opened { term }) => own.is_none_or(|own| term > own),
            _ => false,
        }
    }

    fn said(&self) -> Vec<u8> {
        let answer = match &self.seat {
            Some(seat) => seat.answer(),
            // A program with the library takes no calls of others.
            None => Answer {
                stage: Stage::Opening,
                address: None,
            },
        };
        answer.to_bytes()
    }
}

enum Heard {
    Question(Message),
    News(Message),
    Nothing,
}
