//! What the agent costs a guest: size, memory, threads, wake-ups and start of the static binaries of all runtimes, as a
//! table for `docs/benchmarks.md`.
//!
//! Run it with `make footprint`, which builds the binaries and names their directory in `NOVA_AGENT_DIR`.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program whose output is its result"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nova_agent_tests::agent::Runtime;
use nova_agent_tests::stores::{RunningStore, StoreKind};
use tempfile::TempDir;

use self::support::{Agent, BenchHost, Result};

/// Starts of each runtime.
const STARTS: usize = 21;
/// Requests before the memory is looked at.
const REQUESTS: usize = 1000;
/// Until what the requests left behind is done: threads that wait for more work, and events of the last removal.
const REST: Duration = Duration::from_secs(10);
/// Idleness.
const WINDOW: Duration = Duration::from_secs(60);
/// The number of the first agent's domain.
const FIRST: u32 = 7;

const MIB: f64 = 1024.0 * 1024.0;

fn main() -> Result<()> {
    let directory = PathBuf::from(
        std::env::var_os("NOVA_AGENT_DIR").ok_or("NOVA_AGENT_DIR is not set: make footprint")?,
    );
    let mut store = StoreKind::EmbeddedC.start()?;
    let mut subjects = Vec::new();
    for (runtime, domain) in Runtime::ALL.into_iter().zip(FIRST..) {
        subjects.push(Subject::new(runtime, domain, &directory, &mut store)?);
    }
    // In turns, so that a busy machine slows all of them.
    for nth in 0..STARTS {
        for subject in &mut subjects {
            subject.start(nth)?;
        }
    }
    let mut agents = Vec::new();
    for subject in &mut subjects {
        agents.push(subject.work()?);
    }
    thread::sleep(REST);
    let before = agents
        .iter()
        .map(|agent| switches(agent.0.id()))
        .collect::<Result<Vec<u64>>>()?;
    for (subject, agent) in subjects.iter_mut().zip(&agents) {
        subject.look(agent.0.id())?;
    }
    thread::sleep(WINDOW);
    for ((subject, agent), before) in subjects.iter_mut().zip(&agents).zip(before) {
        subject.wake_ups = switches(agent.0.id())? - before;
    }
    print(&subjects);
    let over: Vec<&str> = subjects
        .iter()
        .filter(|subject| subject.is_over())
        .map(|subject| subject.runtime.package())
        .collect();
    if over.is_empty() {
        Ok(())
    } else {
        Err(format!("over a limit: {}", over.join(", ")).into())
    }
}

/// A runtime and what was measured of it.
struct Subject {
    runtime: Runtime,
    binary: PathBuf,
    size: u64,
    socket: PathBuf,
    host: BenchHost,
    sandbox: TempDir,
    answered: Vec<Duration>,
    ready: Vec<Duration>,
    resident: u64,
    own: u64,
    threads: u64,
    wake_ups: u64,
}

impl Subject {
    fn new(
        runtime: Runtime,
        domain: u32,
        directory: &Path,
        store: &mut RunningStore,
    ) -> Result<Self> {
        let binary = directory.join(runtime.package());
        let size = fs::metadata(&binary)
            .map_err(|error| format!("{}: {error}", binary.display()))?
            .len();
        Ok(Self {
            runtime,
            binary,
            size,
            socket: store.guest_socket(domain)?,
            host: BenchHost::new(&store.dom0_socket(), domain)?,
            sandbox: tempfile::tempdir()?,
            answered: Vec::new(),
            ready: Vec::new(),
            resident: 0,
            own: 0,
            threads: 0,
            wake_ups: 0,
        })
    }

    /// Starts an agent for which a request waits.
    fn start(&mut self, nth: usize) -> Result<()> {
        let id = format!("00000000-0000-4000-9000-{nth:012}");
        self.host.ask(&id)?;
        let began = Instant::now();
        let mut agent = Agent::start(
            &self.binary,
            &self.socket,
            self.sandbox.path(),
            "info",
            Stdio::piped(),
        )?;
        self.host.wait_for(&id)?;
        self.answered.push(began.elapsed());
        // It comes after the answer.
        let log = BufReader::new(agent.0.stderr.take().ok_or("the log is no pipe")?);
        log.lines()
            .find(|line| line.as_ref().map_or(true, |line| line.ends_with(" ready")))
            .ok_or("never ready")??;
        self.ready.push(began.elapsed());
        self.host.forget(&id)
    }

    /// Starts an agent and sends it requests.
    fn work(&mut self) -> Result<Agent> {
        let agent = Agent::start(
            &self.binary,
            &self.socket,
            self.sandbox.path(),
            "info",
            Stdio::null(),
        )?;
        for nth in 0..REQUESTS {
            self.host
                .request(&format!("00000000-0000-4000-8000-{nth:012}"))?;
        }
        Ok(agent)
    }

    fn look(&mut self, process: u32) -> Result<()> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        self.resident = number(&status, "VmRSS:")? * 1024;
        self.own = number(&status, "RssAnon:")? * 1024;
        self.threads = number(&status, "Threads:")?;
        Ok(())
    }

    /// Whether a limit is missed that does not depend on how busy the machine is.
    fn is_over(&self) -> bool {
        let (size, resident, _) = self.limits();
        self.size as f64 > size || self.resident as f64 > resident || self.wake_ups > 0
    }

    /// Returns the limits: size in bytes, resident bytes, time to the first answer.
    fn limits(&self) -> (f64, f64, Duration) {
        match self.runtime {
            Runtime::ASYNC => (3.0 * MIB, 3.0 * MIB, Duration::from_millis(15)),
            _ => (3.0 * MIB, 2.5 * MIB, Duration::from_millis(10)),
        }
    }
}

fn print(subjects: &[Subject]) {
    let row = |name: &str, cell: &dyn Fn(&Subject) -> String| {
        let cells: Vec<String> = subjects.iter().map(cell).collect();
        println!("| {name} | {} |", cells.join(" | "));
    };
    row("static binary of", &|subject| {
        format!("`{}`", subject.runtime.package())
    });
    println!("| --- |{}", " --- |".repeat(subjects.len()));
    row("stripped, bytes", &|subject| {
        let (limit, ..) = subject.limits();
        held(
            format!("{} ({:.2} MiB)", subject.size, mib(subject.size)),
            subject.size as f64,
            limit,
            &in_mib(limit),
        )
    });
    row("resident after 1,000 requests", &|subject| {
        let (_, limit, _) = subject.limits();
        held(
            format!("{:.2} MiB", mib(subject.resident)),
            subject.resident as f64,
            limit,
            &in_mib(limit),
        )
    });
    row("of it its own memory", &|subject| {
        format!("{:.2} MiB", mib(subject.own))
    });
    row("threads", &|subject| subject.threads.to_string());
    row("wake-ups in 60 s of idleness", &|subject| {
        held(
            subject.wake_ups.to_string(),
            subject.wake_ups as f64,
            0.0,
            "0",
        )
    });
    row("exec to first request answered", &|subject| {
        let (_, _, limit) = subject.limits();
        let took = median(&subject.answered);
        held(
            ms(took),
            took.as_secs_f64(),
            limit.as_secs_f64(),
            &format!("{} ms", limit.as_millis()),
        )
    });
    row("exec to ready", &|subject| ms(median(&subject.ready)));
}

/// A value beside its limit.
fn held(shown: String, value: f64, limit: f64, limit_shown: &str) -> String {
    if value <= limit {
        format!("{shown}, limit {limit_shown}")
    } else {
        format!("**{shown}**, over {limit_shown}")
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

fn in_mib(limit: f64) -> String {
    format!("{} MiB", limit / MIB)
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

/// How often any thread of a process gave up or lost the processor.
fn switches(process: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        sum += number(&status, "voluntary_ctxt_switches:")?
            + number(&status, "nonvoluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

/// A line of `/proc/PID/status`.
fn number(status: &str, key: &str) -> Result<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .ok_or_else(|| format!("no {key}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}
