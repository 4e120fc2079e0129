//! A store, a domain in it, a sandbox, an agent and a host.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{AgentProcess, Device, Order, Runtime, Saboteur, Sandbox, Seen, Witness};
use crate::child::bound_to_thread;
use crate::host::{self, Domain, Host, Rejection};
use crate::json_oracle::Verdict;
use crate::proxy::Proxy;
use crate::real::{Daemon, GuestOptions, RealGuest, RealStore};
use crate::stores::StoreKind;
use crate::xenstored::Server;

/// The number of the domain that the agent runs in.
pub const DOMID: u32 = 7;

/// The most bytes of a response's message.
const MESSAGE_MAX: usize = 1000;

/// Puts a directory of programs where the agent looks first, and nothing where it has its lock and the machine its users.
const OWN_PROGRAMS: &str = r#"mount --bind "$0" /usr/local/sbin && mount -t tmpfs tmpfs /run &&
    mount -t tmpfs tmpfs /etc && exec "$@""#;

/// Puts a program over the shells, this one included.
const HIDDEN_SHELLS: &str = r#"for shell in /bin/sh /bin/bash; do mount --bind "$0" "$(readlink -f $shell)" || exit 1; done
    exec "$@""#;

/// How long a response may take that nobody waits for otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that a test of the agent needs, on one store. The agent runs once [`Rig::start_agent`] was called.
///
/// The agent is an unprivileged domain; on a real store it has the device of a Linux kernel in front of it.
#[derive(Debug)]
pub struct Rig {
    // Dropped in this order: what uses something before what it uses.
    agent: Option<AgentProcess>,
    host: Host,
    witness: Witness,
    /// Between the agent and what follows, if there is one.
    device: Option<Device>,
    /// Between agent and store, if there is one.
    proxy: Option<Proxy>,
    store: Store,
    sandbox: Sandbox,
    kind: StoreKind,
    domain: Domain,
    runtime: Runtime,
    log_level: String,
    /// What the agent is run by.
    launcher: Vec<OsString>,
    /// Whether the agent has no sandbox but the stand-ins.
    has_own_programs: bool,
    arguments: Vec<OsString>,
}

#[derive(Debug)]
enum Store {
    Embedded {
        /// `None` while there is none.
        server: Option<Server>,
        dir: TempDir,
    },
    /// The guest, if there is one, goes before its daemon.
    Real {
        guest: Option<RealGuest>,
        store: RealStore,
    },
}

/// A response, taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The return code.
    pub code: String,
    /// The message.
    pub message: String,
}

impl Answer {
    /// An answer to compare with.
    #[must_use]
    pub fn new(code: &str, message: &str) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }

    /// Takes a response apart.
    #[must_use]
    pub fn parse(response: &[u8]) -> Self {
        let shown = response.escape_ascii();
        let value: Value =
            serde_json::from_slice(response).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let text = |key: &str| {
            value[key]
                .as_str()
                .unwrap_or_else(|| panic!("no {key} in {shown}"))
                .to_owned()
        };
        Self {
            code: text("returncode"),
            message: text("message"),
        }
    }
}

impl Rig {
    /// A rig without an agent.
    #[must_use]
    pub fn new(runtime: Runtime, kind: StoreKind) -> Self {
        Self::with(runtime, kind, GuestOptions::default())
    }

    /// A rig without an agent, whose domain has another kernel or device if the store is real.
    #[must_use]
    pub fn with(runtime: Runtime, kind: StoreKind, options: GuestOptions) -> Self {
        Self::on(
            runtime,
            kind,
            Store::start(kind, Some(options)),
            Domain::Number(DOMID),
        )
    }

    /// A rig whose agent is in dom0, a client of the daemon's own socket as the host is.
    #[must_use]
    pub fn in_dom0(runtime: Runtime, kind: StoreKind) -> Self {
        Self::on(runtime, kind, Store::start(kind, None), Domain::Own)
    }

    fn on(runtime: Runtime, kind: StoreKind, store: Store, domain: Domain) -> Self {
        let host = Host::connect(store.dom0_socket(), domain).unwrap();
        let witness = Witness::start(&store.dom0_socket());
        let sandbox = Sandbox::new();
        let log_level = String::from("info");
        Self {
            agent: None,
            host,
            witness,
            device: None,
            proxy: None,
            store,
            sandbox,
            kind,
            domain,
            runtime,
            log_level,
            launcher: Vec::new(),
            has_own_programs: false,
            arguments: Vec::new(),
        }
    }

    /// Sets how much the next agent logs.
    pub fn set_log_level(&mut self, level: &str) {
        self.log_level = level.into();
    }

    /// Adds an argument for the next agents.
    pub fn add_argument(&mut self, argument: impl Into<OsString>) {
        self.arguments.push(argument.into());
    }

    /// Puts a proxy between the store and the next agents.
    pub fn insert_proxy(&mut self) {
        self.proxy = Some(Proxy::start(&self.agent_socket()));
    }

    /// The proxy that was inserted.
    #[must_use]
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the test has inserted a proxy")
    }

    /// Puts a device between the store and the next agents, which takes every message as a kernel does.
    pub fn insert_device(&mut self) {
        self.device = Some(Device::start(&self.agent_socket()));
    }

    /// The device that was inserted.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.device
            .as_ref()
            .expect("the test has inserted a device")
    }

    /// Has the next agents run as on a kernel before Linux 5.1, which has no `pidfd_open`.
    pub fn use_old_kernel(&mut self) {
        self.launcher = vec![
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("xenstored/old-kernel")
                .into(),
        ];
    }

    /// Has the next agents told to leave in the instant in which they have installed a handler for SIGTERM.
    pub fn signal_at_start(&mut self) {
        self.launcher = vec![
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("xenstored/early-signal")
                .into(),
        ];
    }

    /// Has the next agents run by another program.
    pub fn run_by(&mut self, argv: &[&str]) {
        self.launcher = argv.iter().map(OsString::from).collect();
    }

    /// Has the next agents run where each shell of the machine is a program of the test.
    pub fn hide_shells(&mut self, program: &str) {
        self.run_by(&[
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            HIDDEN_SHELLS,
            program,
        ]);
    }

    /// Has the next agents run where the kernel would leave the dump of a process that crashes, whatever its size.
    pub fn allow_core_dumps(&mut self, directory: &Path) {
        self.launcher = core_dumps_allowed(directory)
            .into_iter()
            .map(OsString::from)
            .collect();
    }

    /// Has the next agents start with SIGCHLD ignored, as whoever starts a service may leave it.
    pub fn ignore_children(&mut self) {
        self.launcher = vec!["env".into(), "--ignore-signal=CHLD".into()];
    }

    /// Has the next agents run without a sandbox, but in a mount namespace in which the stand-ins come before all programs
    /// of the machine: what a sandbox does by itself, like setting passwords, they do. Everything else would be real.
    pub fn use_own_programs(&mut self) {
        self.has_own_programs = true;
    }

    /// Starts an agent and waits until the requests that are there are answered. One that runs is killed before.
    pub fn start_agent(&mut self) -> &mut AgentProcess {
        self.launch_agent();
        let agent = self.agent();
        agent.wait_until_ready();
        agent
    }

    /// Starts an agent and does not wait.
    pub fn launch_agent(&mut self) -> &mut AgentProcess {
        self.agent = None;
        let agent = self.second_agent();
        self.agent.insert(agent)
    }

    /// Starts an agent with a saboteur, and does not wait. `with_looks` as in [`Saboteur`].
    #[must_use]
    pub fn launch_sabotaged(&mut self, with_looks: bool, order: Order) -> Saboteur {
        let (mut saboteur, launcher) = Saboteur::new(self.sandbox.root(), with_looks);
        self.launcher = launcher;
        self.launch_agent();
        saboteur.meet(order);
        self.launcher.clear();
        saboteur
    }

    /// Ends the agent, and gives the domain another guest's files.
    pub fn replace_sandbox(&mut self, sandbox: Sandbox) {
        self.agent = None;
        self.sandbox = sandbox;
    }

    /// Starts one more agent for the same guest.
    #[must_use]
    pub fn second_agent(&self) -> AgentProcess {
        let (mut argv, xenstore): (Vec<OsString>, String) = match &self.device {
            Some(device) => (
                device.door().into_iter().map(OsString::from).collect(),
                device.path().display().to_string(),
            ),
            None => (
                Vec::new(),
                format!("unix:{}", self.agent_socket().display()),
            ),
        };
        argv.extend(self.launcher.clone());
        if self.has_own_programs {
            argv.extend(
                [
                    "unshare",
                    "--mount",
                    "--propagation",
                    "private",
                    "sh",
                    "-c",
                    OWN_PROGRAMS,
                ]
                .map(OsString::from),
            );
            argv.push(self.sandbox.path("/stand-ins").into());
        }
        argv.push(self.runtime.binary().into());
        let sandbox = if self.has_own_programs {
            None
        } else {
            Some(&self.sandbox)
        };
        AgentProcess::start(&argv, &xenstore, sandbox, &self.log_level, &self.arguments)
    }

    /// Runs the agent's binary to its end, on this store and guest.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let xenstore = format!("unix:{}", self.agent_socket().display());
        let mut command = bound_to_thread(self.runtime.binary());
        command
            .args(arguments)
            .args(["--xenstore", &xenstore])
            .arg("--sandbox")
            .arg(self.sandbox.root());
        command.output().expect("the agent's binary can be run")
    }

    /// The agent that was started last.
    pub fn agent(&mut self) -> &mut AgentProcess {
        self.agent.as_mut().expect("the test has started an agent")
    }

    /// The host.
    pub const fn host(&mut self) -> &mut Host {
        &mut self.host
    }

    /// The guest's file system.
    #[must_use]
    pub const fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Who reads along.
    #[must_use]
    pub const fn witness(&self) -> &Witness {
        &self.witness
    }

    /// Which store it is.
    #[must_use]
    pub const fn kind(&self) -> StoreKind {
        self.kind
    }

    /// The socket whose clients are dom0.
    #[must_use]
    pub fn dom0_socket(&self) -> PathBuf {
        self.store.dom0_socket()
    }

    /// Sends any bytes as a request and takes the response apart.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        Answer::parse(&self.host.send_raw(request).unwrap())
    }

    /// Writes a request under a name that the test gives, and does not wait.
    pub fn post_as(&mut self, id: &str, request: impl AsRef<[u8]>) {
        let path = self.host.path(&format!("data/host/{id}"));
        self.host.client().write(&path, request).unwrap();
    }

    /// Waits for the response to a request that was posted under a name.
    #[must_use]
    pub fn answer_to(&self, id: &str) -> Answer {
        Answer::parse(&self.witness.wait_for(id, PATIENCE).unwrap())
    }

    /// The names below `data/host` or `data/guest` of the domain.
    pub fn list(&mut self, node: &str) -> Vec<String> {
        let path = self.host.path(node);
        let listed = match self.kind {
            // This daemon has no listing in parts, but no limit for clients in dom0 either.
            StoreKind::EmbeddedOxen | StoreKind::RealOxen => self.host.client().list(&path),
            StoreKind::EmbeddedC | StoreKind::RealC => self.host.client().list_in_parts(&path),
        };
        match listed {
            Err(error) if error.to_string() == "ENOENT" => Vec::new(),
            listed => listed.unwrap(),
        }
    }

    /// Waits until a condition holds that nobody tells of.
    pub fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&mut Self) -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(std::time::Instant::now() < deadline, "in vain: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Saves the domain and restores it under another number; the host follows.
    pub fn restore(&mut self) {
        match &self.store {
            Store::Embedded { server, .. } => {
                server
                    .as_ref()
                    .expect("a running store")
                    .restore_guest(DOMID, DOMID + 1)
                    .unwrap();
            }
            Store::Real { guest, .. } => guest
                .as_ref()
                .expect("an agent in a domain")
                .restore()
                .unwrap(),
        }
        self.domain = Domain::Number(DOMID + 1);
        self.host.set_domain(self.domain).unwrap();
    }

    /// Closes every connection of an embedded store, as a daemon does that is started anew and keeps its tree.
    pub fn close_connections(&mut self) {
        let Store::Embedded { server, .. } = &self.store else {
            panic!("not an embedded store")
        };
        server
            .as_ref()
            .expect("a running store")
            .close_connections()
            .unwrap();
        self.connect_again();
    }

    /// Kills a real daemon and starts it again; the agent has to be in dom0.
    pub fn restart_daemon(&mut self) {
        let Store::Real { store, .. } = &mut self.store else {
            panic!("not a real store")
        };
        store.restart().unwrap();
        self.connect_again();
    }

    /// Ends an embedded store, calls `between`, and starts another one on the same paths, with a new and empty domain.
    pub fn replace_store(&mut self, between: impl FnOnce(&mut Self)) {
        let Store::Embedded { server, .. } = &mut self.store else {
            panic!("not an embedded store")
        };
        *server = None;
        between(self);
        let flavour = self.kind.flavour();
        let Store::Embedded { server, dir } = &mut self.store else {
            panic!("not an embedded store")
        };
        server
            .insert(Server::start(dir.path(), flavour).unwrap())
            .add_guest(DOMID)
            .unwrap();
        self.connect_again();
    }

    fn agent_socket(&self) -> PathBuf {
        match (&self.proxy, self.domain) {
            (Some(proxy), _) => proxy.socket(),
            (None, Domain::Number(_)) => self.store.agent_socket(),
            (None, Domain::Own) => self.store.dom0_socket(),
        }
    }

    fn connect_again(&mut self) {
        self.host = Host::connect(self.store.dom0_socket(), self.domain).unwrap();
    }

    /// Ends the test: the real `xenstore-read` and Python read every response that there was, and must read it as it is.
    /// Returns what was seen of each.
    pub fn finish(self) -> std::collections::BTreeMap<String, Seen> {
        let Self {
            agent,
            witness,
            store,
            ..
        } = self;
        let seen = witness.finish();
        let mut responses: Vec<&Vec<u8>> = seen.values().flat_map(|seen| &seen.contents).collect();
        responses.sort();
        responses.dedup();
        let verdicts = Verdict::real_all(&store.dom0_socket(), &responses).unwrap();
        for (response, verdict) in responses.into_iter().zip(verdicts) {
            let shown = response.escape_ascii();
            assert_eq!(
                verdict.printed.as_bytes(),
                response,
                "xenstore-read changes {shown}"
            );
            let Some(Value::Object(object)) = verdict.json else {
                panic!("no object for Python: {shown}")
            };
            let keys: Vec<&String> = object.keys().collect();
            assert_eq!(keys, ["message", "returncode"], "{shown}");
            assert!(object.values().all(Value::is_string), "{shown}");
            assert!(
                object["message"]
                    .as_str()
                    .is_some_and(|message| message.len() <= MESSAGE_MAX),
                "{shown}"
            );
        }
        drop(agent);
        seen
    }
}

impl Store {
    /// With the domain of the agent, unless that is in dom0.
    fn start(kind: StoreKind, options: Option<GuestOptions>) -> Self {
        let daemon = match kind {
            StoreKind::EmbeddedC | StoreKind::EmbeddedOxen => {
                // Not below $TMPDIR, which may be too long for a socket.
                let dir = tempfile::Builder::new()
                    .prefix("xs")
                    .tempdir_in("/tmp")
                    .unwrap();
                let server = Server::start(dir.path(), kind.flavour()).unwrap();
                server.add_guest(DOMID).unwrap();
                return Self::Embedded {
                    server: Some(server),
                    dir,
                };
            }
            StoreKind::RealC => Daemon::C,
            StoreKind::RealOxen => Daemon::Oxen,
        };
        let store = RealStore::start(daemon).unwrap();
        let guest = options.map(|options| store.guest(DOMID, options).unwrap());
        Self::Real { guest, store }
    }

    fn dom0_socket(&self) -> PathBuf {
        match self {
            Self::Embedded { dir, .. } => dir.path().join("socket"),
            Self::Real { store, .. } => store.dom0_socket(),
        }
    }

    fn agent_socket(&self) -> PathBuf {
        match self {
            Self::Embedded { dir, .. } => dir.path().join(format!("guest.{DOMID}")),
            Self::Real { guest, .. } => guest
                .as_ref()
                .expect("an agent in a domain")
                .socket()
                .into(),
        }
    }
}

/// What runs a program with its arguments so that its core dump goes to a directory.
///
/// Where dumps go is the machine's decision (`/proc/sys/kernel/core_pattern`), but for most it is the working directory or a
/// program.
#[must_use]
pub fn core_dumps_allowed(directory: &Path) -> Vec<String> {
    const SCRIPT: &str = r#"ulimit -c unlimited; cd "$0"; exec "$@""#;

    ["sh", "-c", SCRIPT, &directory.display().to_string()]
        .map(String::from)
        .into()
}

/// The code and message of a command that the agent refused.
#[track_caller]
pub fn refusal<T: std::fmt::Debug>(result: Result<T, host::Error>) -> Answer {
    match result {
        Err(host::Error::Rejected(Rejection::Refused {
            returncode,
            message,
            ..
        })) => Answer {
            code: returncode,
            message,
        },
        other => panic!("not refused: {other:?}"),
    }
}
