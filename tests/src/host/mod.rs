//! The host's side of the mailbox: what Nova and its plugin in dom0 do, to the letter.
//!
//! [`Host`] sends the commands, in the JSON that Nova writes and through the escaping that its tools do, and judges the
//! responses as Nova does. What a real host would not survive, it reports as an error; see [`Error::is_tolerated`].
//!
//! It knows nothing of the agent's code.

mod boot;
mod error;
mod mailbox;
mod openssl;
mod python;
mod random;
mod round_trip;
mod server;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nova_agent_core::secret::Secret;
pub use nova_agent_sim::host::{
    HostKey, InjectedFile, KeyExchange, Rejection, Reply, Server, Unreadable, Vif, judge,
};
use nova_agent_sim::host::{read_features, tools};
use serde::Serialize;

pub use self::boot::{Boot, Fault};
pub use self::error::Error;
use self::mailbox::Mailbox;
pub use self::mailbox::{Domain, RequestId, Waiting};
pub use self::openssl::{KeyDigest, encrypt};
pub use self::random::random_password;
pub use self::round_trip::RoundTrip;
use crate::client::Client;

/// How long the host waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// For a response (Nova's `agent_timeout`).
    pub response: Duration,
    /// For the response to `resetnetwork` (`agent_resetnetwork_timeout`).
    pub reset_network: Duration,
    /// For the first answer of a booting server, whatever the number of tries (`agent_version_timeout`).
    pub version: Duration,
}

impl Default for Timeouts {
    /// Nova's defaults.
    fn default() -> Self {
        Self {
            response: Duration::from_secs(30),
            reset_network: Duration::from_secs(60),
            version: Duration::from_secs(300),
        }
    }
}

/// A simulated host that commands the agent of one domain.
pub struct Host {
    mailbox: Mailbox,
    timeouts: Timeouts,
    key_digest: KeyDigest,
    observer: Option<Observer>,
}

impl Host {
    /// Connects to a store's socket.
    ///
    /// # Errors
    /// [`Error::Store`] if nothing listens there.
    pub fn connect(socket: impl AsRef<Path>, domain: Domain) -> Result<Self, Error> {
        Ok(Self::new(Client::connect(socket)?, domain))
    }

    /// A host on a connection that exists. It waits by [`Waiting::Watch`] and for Nova's [`Timeouts`].
    #[must_use]
    pub fn new(client: Client, domain: Domain) -> Self {
        Self {
            mailbox: Mailbox::new(client, domain, Waiting::default()),
            timeouts: Timeouts::default(),
            key_digest: KeyDigest::default(),
            observer: None,
        }
    }

    /// Goes on with a domain that took the place of the old one: after a reboot or a restore.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn set_domain(&mut self, domain: Domain) -> Result<(), Error> {
        self.mailbox.set_domain(domain)
    }

    /// Sets how the host learns of responses.
    pub const fn set_waiting(&mut self, waiting: Waiting) {
        self.mailbox.set_waiting(waiting);
    }

    /// Sets how long the host waits.
    pub const fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
    }

    /// Sets the digest that passwords are encrypted with.
    pub const fn set_key_digest(&mut self, digest: KeyDigest) {
        self.key_digest = digest;
    }

    /// Has every request that is answered or given up shown to `observer`, without what is secret in it.
    pub fn observe(&mut self, observer: impl FnMut(&RoundTrip) + Send + 'static) {
        self.observer = Some(Observer(Box::new(observer)));
    }

    /// Asks for the agent's version, once.
    ///
    /// # Errors
    /// [`Error`] has them all; so have the other commands.
    pub fn version(&mut self) -> Result<String, Error> {
        Ok(self.call("version", "agent", "agent")?.message)
    }

    /// Asks for the commands that the agent knows, and reads them as the plugin does.
    ///
    /// # Errors
    /// See [`Self::version`]; [`Error::NotImplemented`] if the plugin takes the answer for a refusal.
    pub fn features(&mut self) -> Result<Vec<String>, Error> {
        self.round_trip("features", "", "", |response| {
            match read_features(response) {
                Ok(Some(reply)) => {
                    // Without stripping blanks: `injectfile, file_inject` hides the second name.
                    let features = reply.message.split(',').map(String::from).collect();
                    Ok((reply, features))
                }
                Ok(None) => Err(Error::NotImplemented),
                Err(reason) => Err(Error::Features(reason)),
            }
        })
    }

    /// Asks whether the agent is ready.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub fn ready(&mut self) -> Result<Reply, Error> {
        self.call("ready", "", "")
    }

    /// Exchanges keys and sets root's password.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub fn set_password(&mut self, password: &Secret) -> Result<Reply, Error> {
        let exchange = self.exchange_keys()?;
        self.send_password(exchange, password)
    }

    /// The first half of a password change: exchanges keys.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub fn exchange_keys(&mut self) -> Result<KeyExchange, Error> {
        let key = openssl::generate_key()?;
        let public = key.public();
        let reply = self.call("keyinit", &public, &public)?;
        key.agree(&reply.message).map_err(|reason| {
            Error::Rejected(Rejection::Unreadable {
                command: "keyinit".into(),
                reason,
            })
        })
    }

    /// The second half of a password change: sends the password, encrypted under an exchange of before.
    ///
    /// # Errors
    /// See [`Self::version`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a secret serves for one password"
    )]
    pub fn send_password(
        &mut self,
        exchange: KeyExchange,
        password: &Secret,
    ) -> Result<Reply, Error> {
        let ciphertext = encrypt(&exchange, password, self.key_digest)?;
        self.call(
            "password",
            &ciphertext,
            &format!("{} characters", ciphertext.len()),
        )
    }

    /// Injects a file with the command that the agent's features call for, as the plugin does: they are asked for anew.
    ///
    /// # Errors
    /// See [`Self::version`]; [`Error::NotImplemented`] if the agent has neither command.
    pub fn inject_file(&mut self, path: &str, content: &[u8]) -> Result<Reply, Error> {
        let features = self.features()?;
        let has = |name| features.iter().any(|feature| feature == name);
        if has("file_inject") {
            self.file_inject(path, content)
        } else if has("injectfile") {
            self.injectfile(path, content)
        } else {
            Err(Error::NotImplemented)
        }
    }

    /// Injects a file with the newer command: path and content apart.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub fn file_inject(&mut self, path: &str, content: &[u8]) -> Result<Reply, Error> {
        #[derive(Serialize)]
        struct File {
            b64_path: String,
            b64_file: String,
        }

        let file = File {
            b64_path: STANDARD.encode(path),
            b64_file: STANDARD.encode(content),
        };
        self.call("file_inject", file, &shown_file(path, content))
    }

    /// Injects a file with the older command: path and content in one, with a comma between them.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub fn injectfile(&mut self, path: &str, content: &[u8]) -> Result<Reply, Error> {
        let joined = [path.as_bytes(), b",", content].concat();
        self.call(
            "injectfile",
            STANDARD.encode(joined),
            &shown_file(path, content),
        )
    }

    /// Has the agent configure the network from `vm-data`.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub fn reset_network(&mut self) -> Result<Reply, Error> {
        self.call("resetnetwork", "", "")
    }

    /// Sets the hostname.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub fn set_hostname(&mut self, name: &str) -> Result<Reply, Error> {
        self.call("sethostname", name, name)
    }

    /// Has the agent update itself.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub fn agent_update(&mut self, url: &str, md5: &str) -> Result<Reply, Error> {
        let argument = format!("{url},{md5}");
        self.call("agentupdate", &argument, &argument)
    }

    /// Has the agent register the system with its vendor. The key is not shown.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub fn kms_activate(
        &mut self,
        activation_key: &str,
        profile: &str,
        domains: &[&str],
    ) -> Result<Reply, Error> {
        #[derive(Serialize)]
        struct Activation<'a> {
            activation_key: &'a str,
            profile: &'a str,
            domains: &'a [&'a str],
        }

        self.call(
            "kmsactivate",
            Activation {
                activation_key,
                profile,
                domains,
            },
            profile,
        )
    }

    /// Sends any command. The argument is shown unless the command's is secret.
    ///
    /// # Errors
    /// See [`Self::version`].
    pub fn request(&mut self, command: &str, argument: &serde_json::Value) -> Result<Reply, Error> {
        let text = argument
            .as_str()
            .map_or_else(|| argument.to_string(), String::from);
        let shown = match command {
            "file_inject" | "injectfile" | "kmsactivate" | "password" => {
                format!("{} characters", text.len())
            }
            _ => text,
        };
        self.call(command, argument, &shown)
    }

    /// Sends any bytes as a request, untouched by the tools' escapes, and returns the response as it is in the store.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Timeout`], [`Error::Reboot`] and [`Error::Random`].
    pub fn send_raw(&mut self, request: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        let id = self.post(request)?;
        self.wait(&id)
    }

    /// Writes any bytes as a request and does not wait.
    ///
    /// # Errors
    /// [`Error::Store`] and [`Error::Random`].
    pub fn post(&mut self, request: impl AsRef<[u8]>) -> Result<RequestId, Error> {
        self.mailbox.post(request.as_ref())
    }

    /// Waits for the response to a request that was posted, as long as for any but `resetnetwork`.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Timeout`] and [`Error::Reboot`].
    pub fn wait(&mut self, id: &RequestId) -> Result<Vec<u8>, Error> {
        self.mailbox.wait(id, self.timeouts.response)
    }

    /// The store's path of a node of the domain.
    #[must_use]
    pub fn path(&self, node: &str) -> String {
        self.mailbox.domain.path(node)
    }

    /// The store's path of a request.
    #[must_use]
    pub fn request_path(&self, id: &RequestId) -> String {
        self.mailbox.request_path(id)
    }

    /// The store's path of a response.
    #[must_use]
    pub fn response_path(&self, id: &RequestId) -> String {
        self.mailbox.response_path(id)
    }

    /// The connection, for everything else that a host does in the store. Its events belong to the host.
    pub const fn client(&mut self) -> &mut Client {
        &mut self.mailbox.client
    }

    /// One command with a response that is read in the usual way.
    fn call(
        &mut self,
        command: &str,
        argument: impl Serialize,
        shown: &str,
    ) -> Result<Reply, Error> {
        self.round_trip(command, argument, shown, |response| {
            let reply = judge(command, response)?;
            Ok((reply.clone(), reply))
        })
    }

    /// One command; `read` gives the reply to show and what the caller wants of it.
    fn round_trip<T>(
        &mut self,
        command: &str,
        argument: impl Serialize,
        shown: &str,
        read: impl FnOnce(&[u8]) -> Result<(Reply, T), Error>,
    ) -> Result<T, Error> {
        #[derive(Serialize)]
        struct Request<'a, T> {
            name: &'a str,
            value: T,
        }

        let request = python::dumps(&Request {
            name: command,
            value: argument,
        })?;
        let timeout = if command == "resetnetwork" {
            self.timeouts.reset_network
        } else {
            self.timeouts.response
        };
        let start = Instant::now();
        let response = self
            .mailbox
            .post(&tools::stored_by_xenstore_write(&request))
            .and_then(|id| self.mailbox.wait(&id, timeout));
        let elapsed = start.elapsed();

        let (reply, result) = match response.and_then(|response| read(&response)) {
            Ok((reply, value)) => (Ok(reply), Ok(value)),
            Err(error) => (Err(error.to_string()), Err(error)),
        };
        if let Some(observer) = &mut self.observer {
            (observer.0)(&RoundTrip {
                command: command.into(),
                argument: shown.into(),
                reply,
                elapsed,
            });
        }
        result
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("mailbox", &self.mailbox)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

struct Observer(Box<dyn FnMut(&RoundTrip) + Send>);

fn shown_file(path: &str, content: &[u8]) -> String {
    format!("{path}, {} bytes", content.len())
}
