//! nova-agent on one thread, with a mio poller.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    nova_agent_system::launch(nova_agent_mio::run)
}
