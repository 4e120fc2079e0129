//! nova-agent as an async-std task.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    nova_agent_system::launch(|launch, signals| async_std::task::block_on(nova_agent_async::run(launch, signals)))
}
