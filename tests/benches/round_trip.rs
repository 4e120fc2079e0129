//! What a request costs the host, compared with a floor: an echo client that does the fewest store operations an agent
//! can do (read, write, remove). Both are measured in turns in one run, so that a busy machine slows both.
//!
//! Run it with `make bench`, which builds the agent first. `NOVA_AGENT` names another binary to measure.

#![allow(clippy::indexing_slicing, clippy::print_stdout, reason = "a program whose output is its result")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nova_agent_tests::client::Client;
use nova_agent_tests::stores::StoreKind;

const REQUEST: &str = r#"{"name": "version", "value": "agent"}"#;
const ROUNDS: usize = 20;
const REQUESTS_A_ROUND: usize = 50;
/// What the echo client is told to end with.
const STOP: &str = "stop";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    println!("{:<16}{:>12}{:>12}{:>12}{:>12}{:>8}", "store", "echo p50", "agent p50", "echo p99", "agent p99", "ratio");
    for kind in StoreKind::ALL {
        measure(kind)?;
    }
    Ok(())
}

fn measure(kind: StoreKind) -> Result<()> {
    let mut store = kind.start()?;
    let echo_socket = store.guest_socket(6)?;
    let agent_socket = store.guest_socket(7)?;
    let sandbox = tempfile::tempdir()?;
    let mut agent = start_agent(&agent_socket, sandbox.path())?;
    let (ready, is_ready) = mpsc::channel();
    let echo = thread::spawn(move || echo(&echo_socket, &ready).map_err(|error| error.to_string()));
    // It only listens: what is written before its watch is set, it would never see.
    is_ready.recv()?;

    let mut echo_host = BenchHost::new(&store.dom0_socket(), 6)?;
    let mut agent_host = BenchHost::new(&store.dom0_socket(), 7)?;
    let (mut floor, mut cost) = (Vec::new(), Vec::new());
    // The first of each is the start of the other side.
    echo_host.request("first", REQUEST)?;
    agent_host.request("first", REQUEST)?;
    for round in 0..ROUNDS {
        for nth in 0..REQUESTS_A_ROUND {
            let id = format!("00000000-0000-4000-8000-{:012}", round * REQUESTS_A_ROUND + nth);
            floor.push(echo_host.request(&id, REQUEST)?);
            cost.push(agent_host.request(&id, REQUEST)?);
        }
    }
    echo_host.request(STOP, REQUEST)?;
    echo.join().map_err(|_| "the echo client panicked")??;
    agent.kill()?;
    agent.wait()?;

    floor.sort_unstable();
    cost.sort_unstable();
    let at = |times: &[Duration], percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{:<16}{:>9} us{:>9} us{:>9} us{:>9} us{:>8.2}",
        format!("{kind:?}"),
        at(&floor, 50).as_micros(),
        at(&cost, 50).as_micros(),
        at(&floor, 99).as_micros(),
        at(&cost, 99).as_micros(),
        at(&cost, 50).as_secs_f64() / at(&floor, 50).as_secs_f64(),
    );
    Ok(())
}

/// The host of one domain, which learns of responses by a watch.
struct BenchHost {
    client: Client,
    home: String,
}

impl BenchHost {
    fn new(socket: &Path, domain: u32) -> Result<Self> {
        let mut client = Client::connect(socket)?;
        let home = format!("/local/domain/{domain}/data");
        client.watch(&format!("{home}/guest"), "response")?;
        Ok(Self { client, home })
    }

    /// The time until the response has been read. The response is removed, so that neither side has to.
    fn request(&mut self, id: &str, content: &str) -> Result<Duration> {
        let began = Instant::now();
        self.client.write(&format!("{}/host/{id}", self.home), content)?;
        let response = format!("{}/guest/{id}", self.home);
        while self.client.event(Duration::from_secs(30))?.path.as_str() != response {}
        self.client.read(&response)?;
        let took = began.elapsed();
        self.client.rm(&response)?;
        Ok(took)
    }
}

/// The floor.
fn echo(socket: &Path, ready: &mpsc::Sender<()>) -> Result<()> {
    let mut client = Client::connect(socket)?;
    client.watch("data/host", "request")?;
    ready.send(())?;
    loop {
        let path = client.event(Duration::from_secs(60))?.path;
        let Some(id) = path.as_str().strip_prefix("data/host/").map(String::from) else { continue };
        // The event of the removal.
        let Ok(request) = client.read(path.as_str()) else { continue };
        client.write(&format!("data/guest/{id}"), request)?;
        client.rm(path.as_str())?;
        if id == STOP {
            return Ok(());
        }
    }
}

fn start_agent(socket: &Path, sandbox: &Path) -> Result<Child> {
    let address = format!("unix:{}", socket.display());
    let agent = Command::new(binary()?)
        .args(["run", "--log-level", "off", "--xenstore", &address, "--sandbox"])
        .arg(sandbox)
        .stdin(Stdio::null())
        .spawn()?;
    Ok(agent)
}

/// The release build beside this benchmark.
fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("NOVA_AGENT") {
        return Ok(named.into());
    }
    let benchmark = std::env::current_exe()?;
    let target = benchmark.ancestors().nth(2).ok_or("the benchmark has no target directory")?;
    let binary = target.join("nova-agent-blocking");
    if binary.exists() { Ok(binary) } else { Err(format!("{} is not built: make bench", binary.display()).into()) }
}
