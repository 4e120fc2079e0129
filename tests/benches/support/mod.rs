//! What benchmarks of the agent's binary share.

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nova_agent_tests::client::Client;

pub(crate) const REQUEST: &str = r#"{"name": "version", "value": "agent"}"#;

/// How long an answer may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The host of one domain, which learns of responses by a watch.
pub(crate) struct BenchHost {
    client: Client,
    home: String,
}

impl BenchHost {
    pub(crate) fn new(socket: &Path, domain: u32) -> Result<Self> {
        let mut client = Client::connect(socket)?;
        let home = format!("/local/domain/{domain}/data");
        client.watch(&format!("{home}/guest"), "response")?;
        Ok(Self { client, home })
    }

    /// The time until the response has been read. The response is removed, so that neither side has to.
    pub(crate) fn request(&mut self, id: &str) -> Result<Duration> {
        let began = Instant::now();
        self.ask(id)?;
        self.wait_for(id)?;
        self.client.read(&self.response(id))?;
        let took = began.elapsed();
        self.forget(id)?;
        Ok(took)
    }

    pub(crate) fn ask(&mut self, id: &str) -> Result<()> {
        Ok(self
            .client
            .write(&format!("{}/host/{id}", self.home), REQUEST)?)
    }

    /// Until there is a response.
    pub(crate) fn wait_for(&mut self, id: &str) -> Result<()> {
        let response = self.response(id);
        while self.client.event(PATIENCE)?.path.as_str() != response {}
        Ok(())
    }

    pub(crate) fn forget(&mut self, id: &str) -> Result<()> {
        Ok(self.client.rm(&self.response(id))?)
    }

    fn response(&self, id: &str) -> String {
        format!("{}/guest/{id}", self.home)
    }
}

/// A running agent, killed when dropped.
pub(crate) struct Agent(pub(crate) Child);

impl Agent {
    pub(crate) fn start(
        binary: &Path,
        socket: &Path,
        sandbox: &Path,
        log_level: &str,
        log: Stdio,
    ) -> Result<Self> {
        let agent = Command::new(binary)
            .args(["run", "--log-level", log_level, "--xenstore"])
            .arg(format!("unix:{}", socket.display()))
            .arg("--sandbox")
            .arg(sandbox)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn();
        Ok(Self(agent.map_err(|error| {
            format!("{}: {error}; is it built?", binary.display())
        })?))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
