//! A question to an MCP endpoint, or to the operator of a gateway that is started for it: what `lockgate tools`,
//! `backends` and `servers` ask on behalf of a person.

mod client;

use crate::admin::Control as _;
use crate::bridge::{Limits, Patience, Server};
use crate::cli::{Endpoint, Failure, Query, Start, Target};
use crate::server::{self, StartError, Within};
use crate::stdio::{self, StdioError};
use crate::telemetry::logs::{self, LogFormat};
use client::{AskError, Client};
use serde_json::Value;
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// What is logged meanwhile: what went wrong is told as the answer.
const LEVEL: &str = "error";

/// How long backends may take to say what they speak and offer, before the operator is told what is known.
const SETTLE: Duration = Duration::from_secs(20);

/// Asks, and gives what is answered: the `result` of a call, or of a list with all its pages in one.
///
/// # Errors
/// Whatever keeps the answer from coming, a refusal of the endpoint included.
pub fn endpoint(endpoint: Endpoint, query: Query, patience: Duration) -> Result<Value, Failure> {
    let Endpoint { target, token } = endpoint;
    match target {
        Target::There(url) => {
            let server = stdio::endpoint(url, token.as_deref())?;
            let _logs = logs::init(LogFormat::Auto, LEVEL, || ())?;
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            Ok(runtime.block_on(answer(server, query, patience))?)
        }
        Target::Within(start, name) => within(*start, move |within| {
            let url = within.url(&name).ok_or_else(|| StdioError::NotOffered(name.to_string()))?;
            let server = stdio::endpoint(url, token.as_deref())?;
            Ok(async move {
                // What it offers is known to it only once its backends have said so.
                within.operator().settled(SETTLE).await;
                answer(server, query, patience).await.map_err(Failure::from)
            })
        }),
    }
}

/// What a gateway knows of its backends, once it has asked them.
///
/// # Errors
/// When it cannot be started.
pub fn backends(start: Start) -> Result<Value, Failure> {
    within(start, |within| {
        Ok(async move {
            within.operator().settled(SETTLE).await;
            Ok(serde_json::to_value(within.operator().backends())?)
        })
    })
}

/// What a gateway knows of its virtual servers, once it has asked the backends.
///
/// # Errors
/// When it cannot be started.
pub fn servers(start: Start) -> Result<Value, Failure> {
    within(start, |within| {
        Ok(async move {
            within.operator().settled(SETTLE).await;
            Ok(serde_json::to_value(within.operator().servers())?)
        })
    })
}

async fn answer(server: Server, query: Query, patience: Duration) -> Result<Value, AskError> {
    let mut client = Client::new(server, Limits::default(), Patience::default());
    let asked = async {
        client.open().await?;
        match query {
            Query::Tools => client.tools().await,
            Query::Call { name, arguments } => client.call(&name, arguments).await,
        }
    };
    let answer = timeout(patience, asked).await.unwrap_or(Err(AskError::Late));
    client.end().await;
    answer
}

/// Why a gateway within gave no answer.
enum Unstarted {
    Gateway(StartError),
    Client(Failure),
}

impl From<StartError> for Unstarted {
    fn from(error: StartError) -> Unstarted {
        Unstarted::Gateway(error)
    }
}

/// Starts a gateway for one question, and stops it.
fn within<F>(start: Start, ask: impl FnOnce(Within) -> Result<F, Failure>) -> Result<Value, Failure>
where
    F: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    let (said, answer) = mpsc::channel();
    let ran = server::run_for(start, |within| {
        let asking = ask(within).map_err(Unstarted::Client)?;
        Ok(async move {
            // Text goes between threads where errors of any kind may not.
            let _ = said.send(asking.await.map_err(|failure| failure.to_string()));
        })
    });
    match ran {
        Err(Unstarted::Gateway(error)) => Err(error.into()),
        Err(Unstarted::Client(failure)) => Err(failure),
        Ok(()) => answer.recv().map_err(|_| AskError::Silent)?.map_err(Failure::from),
    }
}

#[cfg(test)]
mod tests;
