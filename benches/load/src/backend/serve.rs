//! One HTTP/1.1 connection of the backend: read a request, answer it, and again until the peer leaves.

use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pushing::Pushing;
use super::respond::{Push, Reply, Responder};
use crate::wire::decoder::{Decoder, Progress};
use crate::wire::head::Side;

/// Serves one HTTP/1.1 connection; every error ends it, which is all that an error can mean here.
pub async fn connection(mut stream: TcpStream, responder: Rc<Responder>) {
    let mut decoder = Decoder::new(Side::Requests);
    let mut out = Vec::new();
    loop {
        match decoder.advance() {
            Ok(Progress::Done) => {}
            Ok(Progress::Head | Progress::Body) => {
                decoder.raw.reserve(decoder.wanted());
                match stream.read_buf(&mut decoder.raw).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => continue,
                }
            }
            Err(_) => return,
        }
        let Some(head) = decoder.head() else { return };
        let close = head.close;
        out.clear();
        let reply = responder.respond(head, decoder.body(), &mut out);
        decoder.next();
        if stream.write_all(&out).await.is_err() {
            return;
        }
        let goes_on = match reply {
            Reply::Whole => !close,
            Reply::Push(push) => pushed(&mut stream, &responder, push).await && !close,
            Reply::Hold => {
                peer_leaves(&mut stream).await;
                false
            }
        };
        if !goes_on {
            return;
        }
    }
}

/// Pushes all events and the answer. `false` when the peer left before.
async fn pushed(stream: &mut TcpStream, responder: &Responder, push: Push) -> bool {
    let mut pushing = Pushing::begin(push);
    let mut out = Vec::with_capacity(512);
    loop {
        out.clear();
        let more = tokio::select! {
            more = pushing.next(responder, &mut out) => more,
            () = peer_leaves(stream) => return false,
        };
        if stream.write_all(&out).await.is_err() {
            return false;
        }
        if !more {
            return true;
        }
    }
}

/// Waits until the peer closes; what it sends meanwhile is not expected and dropped.
async fn peer_leaves(stream: &mut TcpStream) {
    let mut scratch = [0; 256];
    while matches!(stream.read(&mut scratch).await, Ok(1..)) {}
}
