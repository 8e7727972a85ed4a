//! Finding a process, and handing it a request.

use super::greeting::{self, Aim, Arriving, Greeting, Process, Refused, Welcome};
use super::places::PLACES_MAX;
use super::{Cluster, Line, at, identity, keep_alive};
use crate::seats::Seat;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How many notices may be on their way to other nodes at a time: two to each of as many as there can be. They have a room of
/// their own, since nobody waits for them and clients can send any number.
const NOTICES_MAX: usize = 2 * PLACES_MAX;
/// How many ends of sessions are told again at a time.
const INSISTING_MAX: usize = 128;

/// Whose room a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// That of what somebody waits for, of which there may be as many as is configured.
    Exchange,
    /// That of streams of news, which are held for long: as many again.
    News,
    /// That of what nobody waits for.
    Notice,
}

/// A process that takes the request that follows.
#[derive(Debug)]
pub struct Reached {
    /// The connection, on which the request of HTTP/1.1 follows.
    pub stream: Line,
    /// Who it is.
    pub process: Process,
    /// Counts as one of those that are under way for as long as it is held.
    pub seat: Seat,
}

/// Why a request could not be handed over.
#[derive(Debug)]
pub enum Unreached {
    /// No other node is that process.
    Unknown,
    /// The node that is cannot be spoken to.
    Broken(SocketAddr, io::Error),
    /// It does not take the request.
    Refused(Refused),
    /// As many are under way as may be.
    Full,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreached::Unknown => f.write_str("no node that can be reached is that process"),
            Unreached::Broken(place, error) => write!(f, "the node at {place}: {error}"),
            Unreached::Refused(why) => write!(f, "the node does not take it: {why}"),
            Unreached::Full => f.write_str("too many requests to other nodes are under way"),
        }
    }
}

impl Cluster {
    /// Hands a request to the process that it is for. Nothing of the request itself has been sent when this returns.
    ///
    /// # Errors
    /// [`Unreached`], after a few times the time that a node may take at the latest, and mostly at once.
    pub async fn reach(self: &Arc<Self>, arriving: &Arriving, errand: Errand) -> Result<Reached, Unreached> {
        let seat = self.seat(errand)?;
        let mut why = Unreached::Unknown;
        // What is remembered may have changed, which shows only now: then all are asked again.
        for _ in 0..2 {
            let Some(place) = self.find(arriving.aim).await else { return Err(why) };
            match self.hand_over(place, arriving).await {
                Ok((stream, process)) => return Ok(Reached { stream, process, seat }),
                Err(Unreached::Refused(Refused::NotMine | Refused::Myself)) => {}
                Err(refused @ Unreached::Refused(_)) => return Err(refused),
                Err(broken) => why = broken,
            }
        }
        Err(why)
    }

    /// Hands a request to whoever is at an address.
    ///
    /// # Errors
    /// [`Unreached`].
    pub async fn reach_at(&self, place: SocketAddr, arriving: &Arriving, errand: Errand) -> Result<Reached, Unreached> {
        let seat = self.seat(errand)?;
        let (stream, process) = self.hand_over(place, arriving).await?;
        Ok(Reached { stream, process, seat })
    }

    fn seat(&self, errand: Errand) -> Result<Seat, Unreached> {
        let seat = match errand {
            Errand::Exchange => self.outgoing.take(self.settings.load().exchanges),
            Errand::News => self.holding.take(self.settings.load().exchanges),
            Errand::Notice => self.noticing.take(NOTICES_MAX),
        };
        seat.ok_or(Unreached::Full)
    }

    /// Whether another process is known to be meant. Nobody is asked.
    pub fn knows(&self, aim: Aim) -> bool {
        self.directory
            .find(aim)
            .and_then(|place| self.directory.at(&place))
            .is_some_and(|found| found.boot != self.is.boot)
    }

    /// Leave to tell other nodes something again, for as long as it is held; there is not much of it.
    pub fn insist(&self) -> Option<Seat> {
        self.insisting.take(INSISTING_MAX)
    }

    /// Where the others are: one address of each that is known, and all at which nobody is known. Among them may be this
    /// process itself, if it has not found itself yet.
    pub fn others(&self) -> Vec<SocketAddr> {
        let mut seen = vec![self.is.boot];
        let mut places = self.places.all().to_vec();
        places.retain(|place| match self.directory.at(place) {
            Some(is) if seen.contains(&is.boot) => false,
            Some(is) => {
                seen.push(is.boot);
                true
            }
            None => true,
        });
        places
    }

    /// Whether anybody has ever been found at an address. A name may have one that nobody listens at.
    pub fn was_taken(&self, place: SocketAddr) -> bool {
        self.directory.was_taken(&place)
    }

    async fn hand_over(&self, place: SocketAddr, arriving: &Arriving) -> Result<(Line, Process), Unreached> {
        match self.knock(place, Some(arriving)).await {
            Ok((stream, Welcome { is, refused: None })) => Ok((stream, is)),
            Ok((_, Welcome { refused: Some(why), .. })) => Err(Unreached::Refused(why)),
            Err(error) => {
                self.places.doubt();
                Err(Unreached::Broken(place, error))
            }
        }
    }

    /// Where a process is: as remembered, or as all say who are asked now.
    pub(super) async fn find(self: &Arc<Self>, aim: Aim) -> Option<SocketAddr> {
        if let Some(place) = self.directory.find(aim) {
            return Some(place);
        }
        // One that waits for others to have asked does not wait for long.
        let found = timeout(self.patience() * 3, self.ask_all(Some(aim))).await.ok().flatten();
        if found.is_none() {
            // It may be at an address that its name has only now.
            self.places.doubt();
        }
        found
    }

    /// Finds out who is where, so that it is known when it is needed.
    pub(super) async fn look_around(self: &Arc<Self>) {
        if !self.is_alone() {
            self.ask_all(None).await;
        }
    }

    /// Asks all who they are, until one is found that is meant.
    async fn ask_all(self: &Arc<Self>, aim: Option<Aim>) -> Option<SocketAddr> {
        let found = || aim.and_then(|aim| self.directory.find(aim));
        let Some(turn) = self.directory.turn().await else { return found() };
        if let Some(place) = found() {
            return Some(place);
        }
        let places = self.places.all();
        self.directory.keep(&places);
        let mut asking = JoinSet::new();
        for place in places.iter().copied() {
            let cluster = Arc::clone(self);
            asking.spawn(async move {
                // What comes of it is remembered by what asks.
                let _ = cluster.knock(place, None).await;
            });
        }
        while asking.join_next().await.is_some() {
            if let Some(place) = found() {
                return Some(place);
            }
        }
        turn.ended();
        None
    }

    /// Connects to a node and says what is wanted. Who it is, is remembered; whoever does not answer is forgotten.
    async fn knock(&self, place: SocketAddr, exchange: Option<&Arriving>) -> io::Result<(Line, Welcome)> {
        let knocked = timeout(self.patience(), self.greet(place, exchange)).await;
        let knocked = knocked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match &knocked {
            Ok((_, welcome)) => self.directory.note(place, welcome.is),
            Err(error) => {
                tracing::debug!(node = at(place), %error, "another node could not be spoken to");
                self.directory.forget(&place);
            }
        }
        knocked
    }

    async fn greet(&self, place: SocketAddr, exchange: Option<&Arriving>) -> io::Result<(Line, Welcome)> {
        let stream = TcpStream::connect(place).await?;
        let settings = self.settings.load_full();
        keep_alive(&stream, &settings)?;
        let identity = self.identity()?;
        let connector = TlsConnector::from(Arc::clone(&identity.client));
        let stream = connector.connect(identity::nobody(), stream).await?;
        let mut stream = Line::new(stream, &identity, &self.keys, settings.write_time, self.lines_out.count())?;
        greeting::send(&mut stream, &Greeting { from: self.is.boot, exchange: exchange.cloned() }).await?;
        let welcome = greeting::receive(&mut stream).await?;
        let welcome: Welcome = greeting::read(&welcome)?;
        Ok((stream, welcome))
    }

    fn patience(&self) -> Duration {
        self.settings.load().connect_time
    }
}
