//! What hosts ask, and what a response to it may be.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nova_agent_core::Instant;
use serde_json::json;

/// Stands in everything that nobody may see. Its middle is found in base64 at every alignment.
pub(super) const MARK: &str = "S3cr3tS3cr3t";

/// What a host may ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// `version`.
    Version,
    /// `features`.
    Features,
    /// `ready`.
    Ready,
    /// `keyinit`.
    KeyInit,
    /// `keyinit` with a number that is no key.
    BadKey,
    /// `password` under the keys of an exchange.
    Password,
    /// `password` that nobody can decrypt.
    WrongPassword,
    /// `injectfile`.
    InjectFile,
    /// `file_inject`.
    FileInject,
    /// A file for a place that no file can have, or that is not base64.
    BadInject,
    /// `resetnetwork`.
    ResetNetwork,
    /// `sethostname`.
    SetHostname,
    /// `sethostname` with a name that no server can have.
    BadHostname,
    /// `kmsactivate`, which is for another system.
    KmsActivate,
    /// `agentupdate`, which this agent does not have.
    AgentUpdate,
    /// A command that nobody has.
    Unknown,
    /// No JSON.
    Malformed,
    /// JSON that is no request.
    NotARequest,
    /// A node without content.
    Empty,
    /// A node that gets its content a moment later.
    FilledLater,
    /// As much as a node holds.
    Oversize,
    /// A request with nodes below it.
    Nested,
    /// A node whose name is too long for a request.
    LongName,
}

impl Command {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Version,
        Self::FileInject,
        Self::KeyInit,
        Self::Password,
        Self::ResetNetwork,
        Self::SetHostname,
        Self::InjectFile,
        // Once more, as passwords need them.
        Self::KeyInit,
        Self::KeyInit,
        Self::Features,
        Self::Ready,
        Self::BadKey,
        Self::WrongPassword,
        Self::BadInject,
        Self::BadHostname,
        Self::KmsActivate,
        Self::AgentUpdate,
        Self::Unknown,
        Self::Malformed,
        Self::NotARequest,
        Self::Empty,
        Self::FilledLater,
        Self::Oversize,
        Self::Nested,
        Self::LongName,
    ];

    /// Its name for a reader of the story.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

/// A request that a host wrote.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: String,
    pub(super) command: Command,
    pub(super) meaning: Meaning,
    /// Whether the host took it back, or the store lost it.
    pub(super) is_gone: bool,
    /// Every response that was written to it.
    pub(super) responses: Vec<Vec<u8>>,
    pub(super) posted: Instant,
}

/// What has to become of a request.
#[derive(Debug)]
pub(super) enum Meaning {
    /// The answer depends on nothing else.
    Fixed,
    /// A password, by the number of its exchange.
    Password { password: String, exchange: usize },
    /// A file.
    File { path: String, content: String },
    /// A key exchange of the host with this private number.
    Keys { private: u128 },
    /// A name for the server.
    Hostname { name: String },
    /// Nothing: it cannot be answered.
    Never,
}

/// A key exchange that the agent has answered.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) secret: String,
    /// Which of the agents it was with.
    pub(super) life: usize,
    /// How many exchanges that agent had begun before.
    pub(super) nth: usize,
    /// When the host asked for it: its time does not begin before.
    pub(super) asked: Instant,
    /// Whether a password was sent under it.
    pub(super) is_used: bool,
}

impl Request {
    /// Whether a response of that code and message can be one to this request. What depends on the state of the world is
    /// judged elsewhere.
    pub(super) fn fits(&self, code: &str, message: &str, injects: bool) -> bool {
        let starts = |wanted: &str| message.starts_with(wanted);
        // A store that takes no long answer gets a short one.
        if message == "Response too large" && code != "0" {
            return true;
        }
        let is_version = code == "0" && message == env!("CARGO_PKG_VERSION");
        let is_empty = code == "500" && message == "Request is malformed: it is empty";
        match self.command {
            Command::Version | Command::Nested => is_version,
            Command::FilledLater => is_version || is_empty,
            Command::Empty => is_empty,
            Command::LongName => false,
            Command::Features => {
                code == "0" && message.split(',').any(|name| name == "resetnetwork")
            }
            Command::Ready => code == "0" && message.is_empty(),
            Command::KeyInit => {
                let is_key =
                    !message.is_empty() && message.bytes().all(|byte| byte.is_ascii_digit());
                code == "D0" && is_key || code == "1" && starts("The guest cannot be read: ")
            }
            Command::BadKey => code == "500" && message == "Invalid public key",
            Command::Password => {
                code == "0" && message.is_empty()
                    || code == "500" && starts("Failed to change password for root: ")
                    || code == "500"
                        && [
                            "Invalid password data received",
                            "Password without key exchange",
                        ]
                        .contains(&message)
            }
            Command::WrongPassword => {
                code == "500"
                    && [
                        "Invalid password data received",
                        "Password without key exchange",
                    ]
                    .contains(&message)
            }
            Command::InjectFile | Command::FileInject | Command::BadInject if !injects => {
                code == "404" && starts("No such agent command")
            }
            Command::InjectFile | Command::FileInject => {
                code == "0" && message.is_empty()
                    || code == "500" && starts("File injection failed: ")
            }
            Command::BadInject => code == "500" && !message.is_empty(),
            Command::ResetNetwork | Command::SetHostname => {
                code == "0" && message.is_empty() || code == "1" && !message.is_empty()
            }
            Command::BadHostname => code == "1" && !message.is_empty(),
            Command::KmsActivate => {
                code == "404" && message == "No such agent command 'kmsactivate'"
            }
            Command::AgentUpdate => {
                code == "404" && message == "No such agent command 'agentupdate'"
            }
            Command::Unknown => code == "404" && starts("No such agent command '"),
            Command::Malformed => code == "500" && starts("Request is malformed: "),
            Command::NotARequest => code == "500" && starts("Request is "),
            Command::Oversize => code == "404" || code == "500",
        }
    }
}

/// The content of a request.
pub(super) fn content(name: &str, value: &str) -> String {
    json!({"name": name, "value": value}).to_string()
}

/// An injection in the form of `file_inject`.
pub(super) fn file_inject(path: &str, file: &str) -> String {
    let value = json!({"b64_path": STANDARD.encode(path), "b64_file": STANDARD.encode(file)});
    json!({"name": "file_inject", "value": value}).to_string()
}

/// An injection in the form of `injectfile`.
pub(super) fn inject_file(path: &str, file: &str) -> String {
    content("injectfile", &STANDARD.encode(format!("{path},{file}")))
}

/// Requests that are none.
pub(super) const MALFORMED: [&[u8]; 5] = [
    b"{\"name\": ",
    b"\xff\xfe",
    b"{\"name\": \"version\"} more",
    b"[[[[[[",
    b"{\"name\": \"version\", \"value\": 1e}",
];

/// JSON that is no request.
pub(super) const NOT_A_REQUEST: [&[u8]; 4] = [b"[]", b"{}", br#"{"name": 5}"#, b"null"];

/// Names that no server can have.
pub(super) const BAD_HOSTNAMES: [&str; 4] = ["", "a b", "-x", "../../etc/shadow\n127.0.0.1"];
