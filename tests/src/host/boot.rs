//! What Nova says to the agent of a server that boots for the first time.

use std::time::Instant;

use super::{Error, Host, Server};

/// What came of a boot.
#[derive(Debug, Default)]
pub struct Boot {
    /// The agent's version; `None` if it did not answer in time, which ends the conversation before it began.
    pub version: Option<String>,
    /// What failed without failing the build.
    pub faults: Vec<Fault>,
}

impl Boot {
    /// Whether everything was done.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.version.is_some() && self.faults.is_empty()
    }
}

/// A failure that Nova records for the instance.
#[derive(Debug)]
pub struct Fault {
    /// What was to be done.
    pub task: &'static str,
    /// Why it was not.
    pub error: Error,
}

impl Host {
    /// Configures a server at its first boot: version, key of the owner, files, password, network.
    ///
    /// The order is Nova's since 2014. An update of the agent, which would come last, is not offered.
    ///
    /// # Errors
    /// Those that fail the build of a server; see [`Error::is_tolerated`].
    pub fn boot(&mut self, server: &Server) -> Result<Boot, Error> {
        let Some(version) = self.await_version()? else {
            return Ok(Boot::default());
        };
        let mut boot = Boot {
            version: Some(version),
            faults: Vec::new(),
        };

        if let Some(key) = &server.ssh_key {
            boot.note("ssh key", self.inject_ssh_key(key))?;
        }
        for file in &server.files {
            boot.note("file", self.inject_file(&file.path, file.content.expose()))?;
        }
        if let Some(password) = &server.admin_password {
            boot.note("password", self.set_password(password))?;
        }
        boot.note("network", self.reset_network())?;
        Ok(boot)
    }

    /// Asks for the version until there is an answer. The domain may still be far from running the agent.
    fn await_version(&mut self) -> Result<Option<String>, Error> {
        let start = Instant::now();
        loop {
            match self.version() {
                Ok(version) => return Ok(Some(version).filter(|version| !version.is_empty())),
                Err(error) if !error.is_tolerated() => return Err(error),
                Err(_) if start.elapsed() >= self.timeouts.version => return Ok(None),
                Err(_) => {}
            }
        }
    }

    /// Replaces root's authorized keys by the owner's.
    fn inject_ssh_key(&mut self, key: &str) -> Result<super::Reply, Error> {
        let content = format!(
            "\n# The following ssh key was injected by Nova\n{}\n",
            key.trim()
        );
        self.inject_file("/root/.ssh/authorized_keys", content.as_bytes())
    }
}

impl Boot {
    fn note<T>(&mut self, task: &'static str, result: Result<T, Error>) -> Result<(), Error> {
        match result {
            Ok(_) => {}
            Err(error) if error.is_tolerated() => self.faults.push(Fault { task, error }),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
