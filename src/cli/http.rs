//! One small HTTP/1.1 request to a gateway that runs, within a time and a size: no other client is needed for that, and
//! none is started.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};
use url::{Position, Url};

/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The most fields of an answer.
const FIELDS_MAX: usize = 64;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Problem {
    /// The URL is not one that can be asked.
    Usage(&'static str),
    /// Nobody listens there.
    Unreachable(String),
    /// It went wrong on the way.
    Failed(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Usage(message) => f.write_str(message),
            Problem::Unreachable(message) | Problem::Failed(message) => f.write_str(message),
        }
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Problem {
        match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Problem::late(),
            _ => Problem::Failed(error.to_string()),
        }
    }
}

impl Problem {
    fn late() -> Problem {
        Problem::Failed("no answer in time".to_owned())
    }
}

/// An answer whose head was read.
pub(super) struct Answer {
    /// Its status.
    pub(super) status: u16,
    length: Option<usize>,
    body: Vec<u8>,
    stream: TcpStream,
    deadline: Instant,
}

/// Asks a URL; `host` goes into the `Host` field in the place of the URL's own, and `fields` beside it.
///
/// # Errors
/// [`Problem`]; when the deadline has passed, too.
pub(super) fn get(
    url: &Url,
    host: Option<&str>,
    fields: &[(&str, &str)],
    deadline: Instant,
) -> Result<Answer, Problem> {
    if url.scheme() != "http" {
        return Err(Problem::Usage("the admin listener speaks plain http only"));
    }
    let (Some(name), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(Problem::Usage("the URL of a gateway has a host"));
    };
    let mut stream = connect(&name, port, deadline)?;
    let own = format!("{name}:{port}");
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let mut request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", host.unwrap_or(&own));
    for (name, value) in [("User-Agent", "lockgate")].iter().chain(fields) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request.as_bytes())?;
    let mut read = Vec::new();
    loop {
        if let Some(answer) = head(&read)? {
            let Head { status, length, end } = answer;
            return Ok(Answer { status, length, body: read.split_off(end), stream, deadline });
        }
        if read.len() >= HEAD_BYTES_MAX || !more(&mut stream, &mut read, deadline)? {
            return Err(no_http());
        }
    }
}

impl Answer {
    /// The whole body.
    ///
    /// # Errors
    /// [`Problem`], among others when it has more than `most` bytes or breaks off.
    pub(super) fn body(mut self, most: usize) -> Result<Vec<u8>, Problem> {
        while self.length.is_none_or(|length| self.body.len() < length) {
            if self.body.len() > most {
                break;
            }
            if !more(&mut self.stream, &mut self.body, self.deadline)? {
                if self.length.is_some() {
                    return Err(Problem::Failed("the answer breaks off".to_owned()));
                }
                break;
            }
        }
        if self.body.len() > most {
            return Err(Problem::Failed(format!("the answer has more than {most} bytes")));
        }
        Ok(self.body)
    }
}

struct Head {
    status: u16,
    length: Option<usize>,
    end: usize,
}

/// The head of an answer, once it is there as a whole.
fn head(read: &[u8]) -> Result<Option<Head>, Problem> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    let parsed = answer.parse(read).map_err(|_| no_http())?;
    let httparse::Status::Complete(end) = parsed else { return Ok(None) };
    let field = |name: &str| answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    if field("transfer-encoding").is_some() {
        return Err(Problem::Failed("the answer comes in pieces, which the admin listener never sends".to_owned()));
    }
    let length = match field("content-length") {
        None => None,
        Some(field) => {
            let length = std::str::from_utf8(field.value).ok().and_then(|length| length.parse().ok());
            Some(length.ok_or_else(no_http)?)
        }
    };
    Ok(Some(Head { status: answer.code.ok_or_else(no_http)?, length, end }))
}

fn no_http() -> Problem {
    Problem::Failed("what listens there does not speak HTTP".to_owned())
}

/// Reads on; false at the end.
fn more(stream: &mut TcpStream, read: &mut Vec<u8>, deadline: Instant) -> Result<bool, Problem> {
    let mut piece = [0; 4096];
    stream.set_read_timeout(Some(left(deadline)?))?;
    let length = stream.read(&mut piece)?;
    read.extend_from_slice(piece.get(..length).unwrap_or_default());
    Ok(length > 0)
}

/// Connects to the first address of a host that accepts.
fn connect(host: &url::Host<&str>, port: u16, deadline: Instant) -> Result<TcpStream, Problem> {
    let addresses = match host {
        url::Host::Domain(name) => (*name, port).to_socket_addrs()?.collect(),
        url::Host::Ipv4(ip) => vec![(*ip, port).into()],
        url::Host::Ipv6(ip) => vec![(*ip, port).into()],
    };
    let mut last = Problem::Unreachable(format!("{host} has no address"));
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Problem::Unreachable(format!("{address}: {error}")),
        }
    }
    Err(last)
}

/// The time that is left.
fn left(deadline: Instant) -> Result<Duration, Problem> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Problem::late()) } else { Ok(left) }
}
