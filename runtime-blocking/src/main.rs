//! nova-agent with blocking threads.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use nova_agent_system::cli;

fn main() -> ExitCode {
    cli::launch(nova_agent_blocking::run)
}
