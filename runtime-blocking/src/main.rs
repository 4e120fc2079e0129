//! nova-agent with blocking threads.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    nova_agent_system::launch(nova_agent_blocking::run)
}
