//! The host's side on the command line: commands an agent over a store's socket, as Nova does.
#![deny(unsafe_code)]

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use nova_agent_core::secret::Secret;
use nova_agent_tests::host::{self, Domain, Host, KeyDigest, RoundTrip, Server, Timeouts, Waiting};

/// The environment variable with the password to set.
const PASSWORD_VARIABLE: &str = "NOVA_HOST_PASSWORD";

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Where standard error is gone, the exit code has to do.
            let _ = writeln!(io::stderr(), "nova-host: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Sends commands to nova-agent as the host does, and shows the replies. Exits with 0 if Nova would call all of them a
/// success.
#[derive(Parser)]
#[command(name = "nova-host", version)]
struct Arguments {
    /// The store's socket, as a path or as unix:PATH
    #[arg(long, value_name = "SOCKET", value_parser = socket)]
    xenstore: PathBuf,

    /// The domain of the agent; without it, agent and host share the home of whoever uses the socket
    #[arg(long, value_name = "N")]
    domid: Option<u32>,

    /// How long to wait for a response, and for the first one of a boot [default: as Nova, 30, 60 for reset-network,
    /// 300 for the first one of a boot]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,

    /// How to learn of a response: by looking every half second as Nova does, or at once by a watch
    #[arg(long, value_enum, default_value_t = Poll::Watch)]
    poll: Poll,

    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum Poll {
    Nova,
    Watch,
}

#[derive(Subcommand)]
enum Command {
    /// Ask for the agent's version
    Version,
    /// Ask for the commands that the agent knows
    Features,
    /// Ask whether the agent is ready
    Ready,
    /// Exchange keys and set root's password, read from $NOVA_HOST_PASSWORD or standard input
    Password {
        /// The digest of the key derivation [default: that of the installed openssl]
        #[arg(long, value_enum)]
        md: Option<Md>,
    },
    /// Inject a file; its content is read from standard input
    InjectFile {
        /// Where the file goes
        path: String,
    },
    /// Configure the network from vm-data
    ResetNetwork,
    /// Set the hostname
    SetHostname {
        /// The new name
        name: String,
    },
    /// Send any command
    Request {
        /// The command
        name: String,
        /// Its argument
        #[arg(default_value = "")]
        value: String,
        /// The argument is JSON, not text
        #[arg(long)]
        json: bool,
    },
    /// Write the data of a server with two networks to the store
    Provision,
    /// Configure that server as at its first boot: version, key of the owner, password, network
    ///
    /// The password is that of $NOVA_HOST_PASSWORD, or a random one that nobody learns.
    Boot,
}

#[derive(Clone, Copy, ValueEnum)]
enum Md {
    Md5,
    Sha1,
    Sha256,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Host(#[from] host::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("argument is not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

fn run(arguments: Arguments) -> Result<bool, Error> {
    let Arguments {
        xenstore,
        domid,
        timeout,
        poll,
        command,
    } = arguments;
    let mut host = Host::connect(xenstore, domid.map_or(Domain::Own, Domain::Number))?;
    host.set_waiting(match poll {
        Poll::Nova => Waiting::Poll,
        Poll::Watch => Waiting::Watch,
    });
    if let Some(timeout) = timeout {
        host.set_timeouts(Timeouts {
            response: timeout,
            reset_network: timeout,
            version: timeout,
        });
    }
    if !matches!(command, Command::Provision) {
        writeln!(io::stdout(), "{}", RoundTrip::HEADING)?;
        // A reader that went away does not keep the host from its work.
        host.observe(|round_trip| _ = writeln!(io::stdout(), "{round_trip}"));
    }

    match command {
        Command::Version => host.version().map(drop)?,
        Command::Features => host.features().map(drop)?,
        Command::Ready => host.ready().map(drop)?,
        Command::Password { md } => {
            host.set_key_digest(md.map_or(KeyDigest::Default, KeyDigest::from));
            let password = match password_of_environment() {
                Some(password) => password,
                None => without_newline(read_input()?),
            };
            host.set_password(&password).map(drop)?;
        }
        Command::InjectFile { path } => host
            .inject_file(&path, Secret::new(read_input()?).expose())
            .map(drop)?,
        Command::ResetNetwork => host.reset_network().map(drop)?,
        Command::SetHostname { name } => host.set_hostname(&name).map(drop)?,
        Command::Request { name, value, json } => {
            let value = if json {
                serde_json::from_str(&value)?
            } else {
                value.into()
            };
            host.request(&name, &value).map(drop)?;
        }
        Command::Provision => host.provision(&Server::two_networks())?,
        Command::Boot => return boot(&mut host),
    }
    Ok(true)
}

fn boot(host: &mut Host) -> Result<bool, Error> {
    let password = match password_of_environment() {
        Some(password) => password,
        None => host::random_password()?,
    };
    let boot = host.boot(&Server {
        admin_password: Some(password),
        ..Server::two_networks()
    })?;
    if boot.version.is_none() {
        writeln!(io::stderr(), "nova-host: no agent")?;
    }
    for fault in &boot.faults {
        writeln!(io::stderr(), "nova-host: {}: {}", fault.task, fault.error)?;
    }
    Ok(boot.is_complete())
}

impl From<Md> for KeyDigest {
    fn from(md: Md) -> Self {
        match md {
            Md::Md5 => Self::Md5,
            Md::Sha1 => Self::Sha1,
            Md::Sha256 => Self::Sha256,
        }
    }
}

fn password_of_environment() -> Option<Secret> {
    std::env::var(PASSWORD_VARIABLE).ok().map(Secret::from)
}

fn read_input() -> io::Result<Vec<u8>> {
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    Ok(input)
}

fn without_newline(mut line: Vec<u8>) -> Secret {
    line.pop_if(|last| *last == b'\n');
    Secret::new(line)
}

fn socket(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:").unwrap_or(text) {
        "" => Err("the path is empty".into()),
        path => Ok(path.into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
