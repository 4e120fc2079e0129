//! One request and its response: two nodes below the domain's home.

use std::fmt;
use std::time::{Duration, Instant};

use nova_agent_core::wire::ErrorName;

use super::{Error, random};
use crate::client::{self, Client};

/// How long Nova sleeps between two looks at the response.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The node above all responses.
const RESPONSES: &str = "data/guest";

/// The token of the watch on the responses.
const TOKEN: &str = "responses";

/// Where a domain's nodes are for this client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Domain {
    /// Below `/local/domain/N`: the usual place for a client in dom0.
    Number(u32),
    /// Below the client's own home: agent and host share a domain, as on a daemon's socket.
    Own,
}

impl Domain {
    /// The path of a node of the domain.
    #[must_use]
    pub fn path(self, node: &str) -> String {
        match self {
            Self::Number(domid) => format!("/local/domain/{domid}/{node}"),
            Self::Own => String::from(node),
        }
    }
}

/// How the host learns of a response.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Waiting {
    /// As Nova does: it looks at once and then every half second, and gives up if the domain has no `name` any more.
    Poll,
    /// By a watch: for tests and measurements, which want to know how fast the agent is.
    #[default]
    Watch,
}

/// The name of a request's node and of its response's.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RequestId(String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) client: Client,
    pub(super) domain: Domain,
    waiting: Waiting,
    is_watching: bool,
}

impl Mailbox {
    pub(super) const fn new(client: Client, domain: Domain, waiting: Waiting) -> Self {
        Self {
            client,
            domain,
            waiting,
            is_watching: false,
        }
    }

    pub(super) fn set_domain(&mut self, domain: Domain) -> Result<(), Error> {
        if std::mem::take(&mut self.is_watching) {
            self.client.unwatch(&self.domain.path(RESPONSES), TOKEN)?;
        }
        self.domain = domain;
        Ok(())
    }

    pub(super) const fn set_waiting(&mut self, waiting: Waiting) {
        self.waiting = waiting;
    }

    /// Writes a request under a fresh id.
    pub(super) fn post(&mut self, request: &[u8]) -> Result<RequestId, Error> {
        if self.waiting == Waiting::Watch && !self.is_watching {
            self.client.watch(&self.domain.path(RESPONSES), TOKEN)?;
            self.is_watching = true;
        }
        let id = RequestId(random::uuid()?);
        self.client.write(&self.request_path(&id), request)?;
        Ok(id)
    }

    /// Waits for a response, and deletes the request if there is none in time. The response stays, as Nova leaves it.
    pub(super) fn wait(&mut self, id: &RequestId, timeout: Duration) -> Result<Vec<u8>, Error> {
        let response = match self.waiting {
            Waiting::Poll => self.poll(id, timeout),
            Waiting::Watch => self.watch(id, timeout),
        };
        if let Err(Error::Timeout(_) | Error::Reboot) = response {
            self.delete(id)?;
        }
        response
    }

    /// The response, if there is one.
    pub(super) fn response(&mut self, id: &RequestId) -> Result<Option<Vec<u8>>, Error> {
        let path = self.response_path(id);
        Ok(found(self.client.read(&path))?)
    }

    pub(super) fn request_path(&self, id: &RequestId) -> String {
        self.domain.path(&format!("data/host/{id}"))
    }

    pub(super) fn response_path(&self, id: &RequestId) -> String {
        self.domain.path(&format!("{RESPONSES}/{id}"))
    }

    fn poll(&mut self, id: &RequestId, timeout: Duration) -> Result<Vec<u8>, Error> {
        let start = Instant::now();
        while start.elapsed() < timeout {
            if let Some(response) = self.response(id)? {
                return Ok(response);
            }
            std::thread::sleep(POLL_INTERVAL);
            if !self.is_alive()? {
                return Err(Error::Reboot);
            }
        }
        Err(Error::Timeout(timeout))
    }

    fn watch(&mut self, id: &RequestId, timeout: Duration) -> Result<Vec<u8>, Error> {
        let start = Instant::now();
        loop {
            // Events are hints and may belong to another response, so that the node itself decides.
            if let Some(response) = self.response(id)? {
                return Ok(response);
            }
            match self.client.event(timeout.saturating_sub(start.elapsed())) {
                Ok(_) => {}
                Err(client::Error::TimedOut) => return Err(Error::Timeout(timeout)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the domain exists. The host's own does.
    fn is_alive(&mut self) -> Result<bool, Error> {
        match self.domain {
            Domain::Number(_) => Ok(found(self.client.read(&self.domain.path("name")))?.is_some()),
            Domain::Own => Ok(true),
        }
    }

    fn delete(&mut self, id: &RequestId) -> Result<(), Error> {
        let path = self.request_path(id);
        found(self.client.rm(&path))?;
        Ok(())
    }
}

/// Makes `None` of a node that does not exist.
pub(super) fn found<T>(result: Result<T, client::Error>) -> Result<Option<T>, client::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(client::Error::Store(ErrorName::Enoent)) => Ok(None),
        Err(error) => Err(error),
    }
}
