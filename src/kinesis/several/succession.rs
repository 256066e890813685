//! Finds the owner, and takes over from it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::ownership::{Ownership, TakeOverError};
use super::roles::{Owned, Roles};
use crate::admin::{Calls, tell_of_hanging_syncs};
use crate::backend::jetstream::{Answer, CallAddress, News, NewsFeed, Owners, Seat, Stage};
use crate::forward::Peer;
use crate::http::Resources;
use crate::kinesis::options::ServerOptions;
use crate::kinesis::scope::Scope;
use crate::kinesis::service::{OfServer, Service};
use crate::{Delivery, Error, JetStream, Result, Store};

/// An owner that exists answers within this time.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(500);

/// The pause between two questions for calls that could not be passed on.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// An owner that was silent for this long, and was asked twice, counts as gone.
const SILENCE: Duration = Duration::from_secs(2);

/// An owner that stops waits this long for the other servers to pass no more calls on to it.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// Finds the owner, and takes its place when it is gone.
pub(super) struct Succession<O> {
    pub(super) ownership: Arc<O>,
    pub(super) at: JetStream,
    pub(super) owners: Owners,
    pub(super) news: NewsFeed,
    pub(super) roles: Arc<Roles>,
    pub(super) of_server: ServerParts,
    /// The latest known term of an opener.
    pub(super) highest_term: u64,
    pub(super) held: Option<Held>,
    /// The server that calls were passed on to last.
    pub(super) last: Option<(CallAddress, Arc<Peer>)>,
}

/// The parts of a service, for each time that this server becomes the owner.
#[derive(Debug)]
pub(super) struct ServerParts {
    pub(super) options: ServerOptions,
    pub(super) scope: Scope,
    pub(super) calls: Arc<Calls>,
    pub(super) http: Arc<Resources>,
    /// The address where this server takes calls, and its certificate.
    pub(super) url: String,
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) most_passed_on: Arc<Semaphore>,
}

/// The store, while this server is the owner.
#[derive(Debug)]
pub(super) struct Held {
    seat: Arc<Seat>,
    store: Store,
    delivery: Option<Arc<Delivery>>,
}

impl<O: Ownership> Succession<O> {
    /// Finds the owner, or becomes the owner.
    ///
    /// # Errors
    /// Why there is no owner and cannot be one; [`Error::InUse`] if the program that has the store takes no calls.
    pub(super) async fn begin(&mut self) -> Result<(), TakeOverError<O::Failure>> {
        loop {
            match self.owners.ask(self.highest_term, 2 * ANSWER_LIMIT).await {
                Some(Answer { address: None, .. }) => {
                    return Err(TakeOverError::Store(Error::InUse {
                        store: self.owners.store(),
                    }));
                }
                Some(answer) => {
                    self.note_answer(answer);
                    return Ok(());
                }
                None => match self.take_over().await {
                    // The owner exists after all, or another server was faster.
                    Err(TakeOverError::Store(Error::InUse { .. })) => {}
                    taken => return taken,
                },
            }
        }
    }

    /// Follows the changes of the owner. Never ends.
    pub(super) async fn run(&mut self) {
        loop {
            let is_free = match &self.held {
                Some(held) => {
                    let lost = held.seat.is_lost().await;
                    self.step_down(&lost).await
                }
                None => false,
            };
            self.follow(is_free).await;
        }
    }

    /// The number of open shards at that time, if this server has the store.
    pub(super) fn open_shards(&self) -> Option<Result<u64>> {
        self.held.as_ref().map(|held| held.store.open_shard_count())
    }

    /// The address that calls are passed on to.
    pub(super) fn owner_url(&self) -> Option<&str> {
        self.last.as_ref().map(|(address, _)| address.url.as_str())
    }

    /// Tells the other servers to pass no more calls on to this one, and ends subscriptions that another server serves.
    pub(super) async fn leave(&self) {
        if let (None, Some((_, peer))) = (&self.held, &self.last) {
            peer.end_streams();
        }
        let term = self.held.as_ref().and_then(|held| held.seat.leave());
        if let Some(term) = term {
            self.owners.tell(News::Leaving { term }).await;
            // A call that arrives while its connection is closed would be lost, and its client told that it may have
            // been carried out.
            let left = self.of_server.http.no_call_is_passed_on();
            if timeout(LEAVE_LIMIT, left).await.is_err() {
                warn!("another server still passes calls on to this one, which stops");
            }
        }
    }

    /// Closes the store if this server has it, and lets another one take its place.
    ///
    /// # Errors
    /// Those of closing it.
    pub(super) async fn end(mut self) -> Result<()> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        let term = held.seat.term();
        let grace = self.of_server.options.http.shutdown_grace;
        let closed = spawn_blocking(move || held.close(grace)).await;
        if let Some(term) = term {
            self.owners.tell(News::Gone { term }).await;
        }
        closed.unwrap_or(Err(Error::Closed))
    }

    /// Passes calls on to the owner, until this server becomes the owner. The store `is_free` if its owner is known to
    /// be gone.
    async fn follow(&mut self, mut is_free: bool) {
        let mut silence = Silence::default();
        loop {
            let asked = Instant::now();
            match self.owners.ask(self.highest_term, ANSWER_LIMIT).await {
                Some(answer) => {
                    (silence, is_free) = (Silence::default(), false);
                    self.note_answer(answer);
                }
                None => silence.note(asked),
            }
            if is_free || silence.is_long() {
                match self.take_over().await {
                    Ok(()) => return,
                    Err(TakeOverError::Store(Error::InUse { .. })) => {
                        debug!("another server has the store, or is about to");
                        silence = Silence::default();
                    }
                    Err(error) => warn!(%error, "the store cannot be taken over; it is tried again"),
                }
                is_free = false;
            }
            is_free |= self.wait().await;
        }
    }

    /// Waits until it is time to ask again. True if the owner has said that it is gone.
    async fn wait(&mut self) -> bool {
        sleep(SHORTEST_PAUSE).await;
        let news = tokio::select! {
            biased;
            news = self.news.next() => news,
            () = self.roles.passing.is_owner_wanted.notified() => return false,
            () = sleep(PAUSE) => return false,
        };
        match news {
            News::Opened { term } => {
                self.highest_term = self.highest_term.max(term);
                false
            }
            News::Leaving { term } => {
                if term >= self.highest_term {
                    self.leave_owner();
                }
                false
            }
            News::Gone { term } => {
                let is_of_owner = term >= self.highest_term;
                if is_of_owner {
                    self.give_up_last();
                }
                is_of_owner
            }
        }
    }

    fn note_answer(&mut self, answer: Answer) {
        match (answer.stage, answer.address) {
            (Stage::Open { term }, Some(address)) => {
                self.highest_term = self.highest_term.max(term);
                self.note_owner(address);
            }
            // It will have a successor.
            (Stage::Leaving { .. }, _) => self.leave_owner(),
            // It will take calls, or takes none.
            (Stage::Opening, _) | (_, None) => self.pass_on_to(None),
        }
    }

    /// Passes calls on to the server at this address.
    fn note_owner(&mut self, address: CallAddress) {
        if let Some((last, peer)) = &self.last
            && *last == address
        {
            let peer = Arc::clone(peer);
            self.pass_on_to(Some(peer));
            return;
        }
        let peer = Peer::new(
            &address.url,
            address.certificate.as_deref(),
            &address.token,
            Arc::clone(&self.of_server.most_passed_on),
        );
        self.give_up_last();
        match peer {
            Ok(peer) => {
                if self.held.is_none() {
                    info!(
                        owner = address.url,
                        "calls are passed on to the server that has the store"
                    );
                }
                let peer = Arc::new(peer);
                self.last = Some((address, Arc::clone(&peer)));
                self.pass_on_to(Some(peer));
            }
            Err(reason) => {
                warn!(
                    reason,
                    owner = address.url,
                    "no call can be passed on to the server that has the store"
                );
            }
        }
    }

    /// Passes no more calls on to the owner, which is about to stop and waits for that.
    fn leave_owner(&mut self) {
        self.pass_on_to(None);
        if let (None, Some((_, owner))) = (&self.held, &self.last) {
            owner.leave();
        }
    }

    /// From now on no answer of the last owner is waited for.
    fn give_up_last(&mut self) {
        self.pass_on_to(None);
        if let Some((_, last)) = self.last.take() {
            last.give_up();
        }
    }

    fn pass_on_to(&self, peer: Option<Arc<Peer>>) {
        let passing = &self.roles.passing;
        let url = peer.as_ref().and_then(|_| self.owner_url());
        passing.pages.note_owner(url.map(str::to_owned));
        passing.owner.send_if_modified(|owner| {
            let is_same = match (&*owner, &peer) {
                (Some(owner), Some(peer)) => Arc::ptr_eq(owner, peer),
                (None, None) => true,
                _ => false,
            };
            *owner = peer;
            !is_same
        });
    }

    /// Opens the store, if no other server has it or takes it at this moment.
    async fn take_over(&mut self) -> Result<(), TakeOverError<O::Failure>> {
        let ServerParts { url, certificate, .. } = &self.of_server;
        let token = new_token().map_err(TakeOverError::Store)?;
        let seat = Arc::new(Seat::new(url, certificate.as_deref(), token));
        let at = self.at.clone().seated(Arc::clone(&seat));
        let ownership = Arc::clone(&self.ownership);
        let opened = spawn_blocking(move || open(ownership.as_ref(), &at)).await;
        let (store, delivery) = opened.unwrap_or(Err(TakeOverError::Store(Error::Closed)))?;
        let term = seat.term().unwrap_or_default();
        self.highest_term = self.highest_term.max(term);
        self.roles.own(self.owned(&seat, &store, delivery.clone()));
        let told = store.clone();
        // It ends when the store is closed.
        tokio::spawn(async move { tell_of_hanging_syncs(&told).await });
        info!(term, "this server has the store");
        let address = seat.address().clone();
        self.held = Some(Held {
            seat,
            store,
            delivery,
        });
        // Calls that have waited for an owner go to this one as they would have gone to another.
        self.note_owner(address);
        self.owners.tell(News::Opened { term }).await;
        Ok(())
    }

    fn owned(&self, seat: &Seat, store: &Store, delivery: Option<Arc<Delivery>>) -> Owned {
        let parts = &self.of_server;
        let mut options = parts.options.clone();
        options.delivery = delivery;
        let of_server = OfServer {
            calls: Arc::clone(&parts.calls),
            http: Arc::clone(&parts.http),
            owner: Some(parts.url.clone()),
        };
        let admission = self.roles.passing.admission.clone();
        let service = Service::within(of_server, store.clone(), parts.scope, admission, &options);
        Owned {
            service: Arc::new(service),
            token: seat.address().token.as_str().into(),
        }
    }

    /// Gives up the store. True if no other server is known to have it.
    async fn step_down(&mut self, lost: &Error) -> bool {
        warn!(reason = %lost, "this server has the store no more, and passes calls on");
        self.roles.disown();
        self.give_up_last();
        let is_free = !matches!(lost, Error::Fenced { .. });
        let Some(held) = self.held.take() else {
            return is_free;
        };
        let term = held.seat.term();
        let grace = self.of_server.options.http.shutdown_grace;
        // Calls do not wait here for requests to the cluster that are still open.
        drop(spawn_blocking(move || held.close(grace)));
        if let Some(term) = term.filter(|_| is_free) {
            self.owners.tell(News::Gone { term }).await;
        }
        is_free
    }
}

impl Held {
    fn close(self, grace: Duration) -> Result<()> {
        if let Some(delivery) = &self.delivery {
            // The next owner repeats puts that have not ended by then.
            delivery.stop_within(grace);
        }
        self.store.close()
    }
}

impl<O> fmt::Debug for Succession<O> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debugged = formatter.debug_struct("Succession");
        debugged.field("at", &self.at).field("held", &self.held);
        debugged.finish_non_exhaustive()
    }
}

/// How long no owner has answered.
#[derive(Debug, Default)]
struct Silence {
    since: Option<Instant>,
    questions: u32,
}

impl Silence {
    fn note(&mut self, asked: Instant) {
        self.since.get_or_insert(asked);
        self.questions += 1;
    }

    fn is_long(&self) -> bool {
        self.questions >= 2 && self.since.is_some_and(|since| since.elapsed() >= SILENCE)
    }
}

type OpenStore = (Store, Option<Arc<Delivery>>);

fn open<O: Ownership>(ownership: &O, at: &JetStream) -> Result<OpenStore, TakeOverError<O::Failure>> {
    let store = ownership.open(at).map_err(TakeOverError::Store)?;
    match ownership.prepare(&store) {
        Ok(delivery) => Ok((store, delivery)),
        Err(failure) => {
            // The caller gets the failure.
            let _ = store.close();
            Err(TakeOverError::Prepare(failure))
        }
    }
}

/// 128 random bits in hexadecimal digits, which cannot be guessed.
fn new_token() -> Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Cluster {
        operation: "be told a token",
        reason: "the system has no random numbers".to_owned(),
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
