//! One client of the generator: its connection, its session, and the one thing it does over and over.

use std::net::SocketAddr;
use std::time::Instant;

use super::check::{self, Expect, Length};
use crate::mcp::Era;
use crate::mcp::request::{Composer, Endpoint, Prepared};
use crate::mcp::results::{BIG, Listed, Results, Tool, answer_length, exposed, measured, objects, text};
use crate::wire::client::{Client, ExchangeError, Sources};

/// What a client does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Job {
    /// A call with a small answer.
    Small,
    /// A call with an argument of 64 KB, one string.
    ArgumentText,
    /// A call with an argument of 64 KB of small objects.
    ArgumentObjects,
    /// A call answered with one 64 KB string.
    ResultText,
    /// A call answered with 64 KB of small objects.
    ResultObjects,
    /// A call answered with a stream of one event.
    Event,
    /// `tools/list`.
    List,
    /// A small call on a connection of its own.
    Connect,
    /// `initialize`, `notifications/initialized`, a small call, DELETE; counts as one. Legacy only.
    Session,
}

/// Where a load goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// Path of the MCP endpoint.
    pub path: String,
    /// What `tools/list` gives there.
    pub listed: Listed,
    /// Tools are called by the names that a gateway over so many members shows; 0: by their own.
    pub members: usize,
}

impl Target {
    /// What a request to this target says in its head.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { authority: self.address.to_string(), path: self.path.clone() }
    }

    /// What the client of this number calls a tool: each member has as many clients as the others.
    pub fn name(&self, tool: Tool, client: usize) -> String {
        match self.members {
            0 => tool.name().to_owned(),
            members => exposed(client % members, tool.name()),
        }
    }
}

/// Why a job was not done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No answer.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// Not the right answer.
    #[error("{0}")]
    Wrong(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

/// A client and its job.
pub struct Worker {
    /// Its connection.
    pub client: Client,
    composer: Composer,
    job: Job,
    prepared: Prepared,
    expect: Expect,
    /// What the small tool is called.
    small: String,
}

impl Worker {
    /// Connects, opens a session where the era has one, and prepares the job's request; `number` tells clients apart.
    pub async fn open(target: &Target, era: Era, job: Job, number: usize) -> Result<Self, Trouble> {
        let mut client = Client::new(target.address);
        let outside = Composer::new(target.endpoint(), era);
        let composer = match era {
            Era::Legacy if job != Job::Session => initialize(&mut client, &outside, 0).await?,
            _ => outside,
        };
        let (prepared, expect) = request(job, &composer, era, target, number);
        if client.opened == 0 {
            client.connect(None).await?;
        }
        let small = target.name(Tool::Small, number);
        Ok(Self { client, composer, job, prepared, expect, small })
    }

    /// Does the job once and checks what came back. Returns when the first byte of the (last) body came.
    pub async fn once(&mut self, id: u64, sources: &Sources) -> Result<Instant, Trouble> {
        match self.job {
            Job::Connect => {
                self.client.connect(Some(sources)).await?;
                let first = self.client.exchange(self.prepared.stamp(id)).await?;
                check::answer(&self.client, id, &self.expect)?;
                self.client.disconnect();
                Ok(first)
            }
            Job::Session => self.session(id).await,
            _ => {
                let first = self.client.exchange(self.prepared.stamp(id)).await?;
                check::answer(&self.client, id, &self.expect)?;
                Ok(first)
            }
        }
    }

    /// Ends the session, if there is one; whether that worked does not matter any more.
    pub async fn close(&mut self) {
        let _ = self.client.exchange(self.composer.delete().stamp(0)).await;
        self.client.disconnect();
    }

    async fn session(&mut self, id: u64) -> Result<Instant, Trouble> {
        let inside = initialize(&mut self.client, &self.composer, id).await?;
        let mut call = inside.call(&self.small, "{}");
        let first = self.client.exchange(call.stamp(id)).await?;
        check::answer(&self.client, id, &self.expect)?;
        self.client.exchange(inside.delete().stamp(id)).await?;
        check::status(&self.client, &[200, 202, 204])?;
        Ok(first)
    }
}

/// `initialize` and `notifications/initialized`; returns the composer of the session.
pub async fn initialize(client: &mut Client, outside: &Composer, id: u64) -> Result<Composer, Trouble> {
    client.exchange(outside.initialize().stamp(crate::mcp::request::id(id))).await?;
    check::status(client, &[200])?;
    let session = client.head().and_then(|head| head.session.clone());
    let inside = outside.within(&session.ok_or_else(|| "initialize gave no session id".to_owned())?);
    client.exchange(inside.initialized().stamp(id)).await?;
    check::status(client, &[202])?;
    Ok(inside)
}

/// A gateway may render one server's list anew, with other blanks and members; a merged list is wanted to the byte, since
/// its cost is compared with that of passing the same bytes.
fn list_length(target: &Target, results: &Results) -> Length {
    match target.listed {
        Listed::Own(_) => Length::AtLeast(results.list.len() * 9 / 10),
        Listed::Merged { .. } => Length::Exactly(answer_length(&results.list)),
    }
}

/// The request of a job and what its answer must be.
fn request(job: Job, composer: &Composer, era: Era, target: &Target, number: usize) -> (Prepared, Expect) {
    let results = Results::new(era, target.listed);
    let call = |tool, arguments: &str| composer.call(&target.name(tool, number), arguments);
    let exactly = |result: &str| Length::Exactly(answer_length(result));
    let expect = |length| Expect { sse: false, length, contains: None };
    let measure = |arguments: &str| {
        // The backend counts the arguments and the two brackets that close the message behind them.
        let said = measured(arguments.len() + 2);
        let length = exactly(&results.measured(arguments.len()));
        let expect = Expect { sse: false, length, contains: Some(said.into_bytes()) };
        (call(Tool::Measure, arguments), expect)
    };
    match job {
        Job::Small | Job::Connect | Job::Session => {
            (call(Tool::Small, r#"{"limit":3}"#), expect(exactly(&results.small)))
        }
        Job::ArgumentText => measure(&format!(r#"{{"payload":"{}"}}"#, text(BIG))),
        Job::ArgumentObjects => measure(&format!(r#"{{"payload":{}}}"#, objects(BIG))),
        Job::ResultText => (call(Tool::Text, "{}"), expect(exactly(&results.text))),
        Job::ResultObjects => (call(Tool::Objects, "{}"), expect(exactly(&results.objects))),
        Job::Event => {
            let expect = Expect { sse: true, ..expect(exactly(&results.small)) };
            (call(Tool::Event, "{}"), expect)
        }
        Job::List => (composer.list(), expect(list_length(target, &results))),
    }
}
