//! What a request costs the host, compared with a floor: an echo client that does the fewest store operations an agent
//! can do (read, write, remove), in a process of its own as every agent is. The floor and every runtime take turns, request
//! by request, so that a busy machine slows all of them; between two turns there is a pause, or what one does behind its
//! answer would slow the next.
//!
//! Run it with `make bench`, which builds the agents first. `NOVA_AGENT` names another binary to measure, alone.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program whose output is its result"
)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nova_agent_tests::agent::Runtime;
use nova_agent_tests::client::Client;
use nova_agent_tests::stores::StoreKind;

use self::support::{Agent, BenchHost, Result};

const REQUESTS: usize = 1000;
/// Between two turns: many times of what an agent does behind its answer.
const PAUSE: Duration = Duration::from_millis(1);
/// Makes this program the echo client of a socket.
const ECHO_FLAG: &str = "--echo";
/// The domain of the echo client; the agents' follow.
const ECHO: u32 = 6;

fn main() -> Result<()> {
    if let Some(socket) = std::env::args()
        .skip_while(|argument| argument != ECHO_FLAG)
        .nth(1)
    {
        return echo(Path::new(&socket));
    }
    println!(
        "{:<16}{:<22}{:>10}{:>10}{:>8}{:>8}{:>10}{:>10}",
        "store", "agent", "echo p50", "p50", "ratio", "limit", "echo p99", "p99"
    );
    for kind in StoreKind::ALL {
        measure(kind)?;
    }
    Ok(())
}

fn measure(kind: StoreKind) -> Result<()> {
    let mut store = kind.start()?;
    let echo_socket = store.guest_socket(ECHO)?;
    let mut agents = Vec::new();
    for (name, binary, limit) in subjects()? {
        let domain = ECHO + 1 + u32::try_from(agents.len())?;
        let socket = store.guest_socket(domain)?;
        let sandbox = tempfile::tempdir()?;
        let agent = Agent::start(&binary, &socket, sandbox.path(), "off", Stdio::inherit())?;
        let host = BenchHost::new(&store.dom0_socket(), domain)?;
        agents.push((name, limit, host, Vec::new(), agent, sandbox));
    }
    let mut echo = Command::new(std::env::current_exe()?)
        .arg(ECHO_FLAG)
        .arg(&echo_socket)
        .stdout(Stdio::piped())
        .spawn()?;
    let output = echo.stdout.take().ok_or("the echo client has no output")?;
    let _echo = Agent(echo);
    // It only listens: what is written before its watch is set, it would never see.
    BufReader::new(output).read_line(&mut String::new())?;

    let mut echo_host = BenchHost::new(&store.dom0_socket(), ECHO)?;
    let mut floor = Vec::new();
    // The first of each is the start of the other side.
    echo_host.request("first")?;
    for (_, _, host, ..) in &mut agents {
        host.request("first")?;
    }
    for nth in 0..REQUESTS {
        let id = format!("00000000-0000-4000-8000-{nth:012}");
        thread::sleep(PAUSE);
        floor.push(echo_host.request(&id)?);
        for (_, _, host, times, ..) in &mut agents {
            thread::sleep(PAUSE);
            times.push(host.request(&id)?);
        }
    }

    floor.sort_unstable();
    for (name, limit, _, mut times, ..) in agents {
        times.sort_unstable();
        println!(
            "{:<16}{name:<22}{:>7} us{:>7} us{:>8.2}{:>8}{:>7} us{:>7} us",
            format!("{kind:?}"),
            at(&floor, 50).as_micros(),
            at(&times, 50).as_micros(),
            at(&times, 50).as_secs_f64() / at(&floor, 50).as_secs_f64(),
            limit.map(|limit| format!("{limit:.1}")).unwrap_or_default(),
            at(&floor, 99).as_micros(),
            at(&times, 99).as_micros(),
        );
    }
    Ok(())
}

fn at(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() - 1) * percent / 100]
}

/// What is measured, by which name, and the most that its ratio shall be.
fn subjects() -> Result<Vec<(String, PathBuf, Option<f64>)>> {
    if let Some(named) = std::env::var_os("NOVA_AGENT") {
        let binary = PathBuf::from(named);
        return Ok(vec![(
            binary
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            binary,
            None,
        )]);
    }
    // The release builds beside this benchmark.
    let benchmark = std::env::current_exe()?;
    let target = benchmark
        .ancestors()
        .nth(2)
        .ok_or("the benchmark has no target directory")?;
    let of = |runtime: Runtime| {
        let limit = match runtime {
            Runtime::MIO => 1.1,
            Runtime::ASYNC => 1.3,
            _ => 1.2,
        };
        (
            runtime.package().to_owned(),
            target.join(runtime.package()),
            Some(limit),
        )
    };
    Ok(Runtime::ALL.map(of).into())
}

/// The floor.
fn echo(socket: &Path) -> Result<()> {
    let mut client = Client::connect(socket)?;
    client.watch("data/host", "request")?;
    writeln!(std::io::stdout(), "ready")?;
    loop {
        let path = client.event(Duration::from_secs(60))?.path;
        let Some(id) = path.as_str().strip_prefix("data/host/") else {
            continue;
        };
        // The event of the removal.
        let Ok(request) = client.read(path.as_str()) else {
            continue;
        };
        client.write(&format!("data/guest/{id}"), request)?;
        client.rm(path.as_str())?;
    }
}
