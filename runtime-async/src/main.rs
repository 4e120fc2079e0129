//! nova-agent as an async-std task.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use async_global_executor::GlobalExecutorConfig;
use nova_agent_system::cli;
use nova_agent_system::runtime::{Launch, Signals};

fn main() -> ExitCode {
    cli::launch(run)
}

fn run(launch: Launch, signals: Signals) -> io::Result<()> {
    // async-std would start a thread for every processor, for a single task that nearly always sleeps. Its own variable for
    // the number still wins.
    let config = GlobalExecutorConfig::default()
        .with_env_var("ASYNC_STD_THREAD_COUNT")
        .with_min_threads(1);
    async_global_executor::init_with_config(config);
    async_std::task::block_on(nova_agent_async::run(launch, signals))
}
