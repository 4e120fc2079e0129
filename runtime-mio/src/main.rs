//! nova-agent on one thread, with a mio poller.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use nova_agent_system::cli;

fn main() -> ExitCode {
    cli::launch(nova_agent_mio::run)
}
