//! Hostile and unlucky worlds by the thousand: `make simulate SEEDS=10000`, or one of them with all that happens in it:
//! `make simulate SEED=123`.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::process::ExitCode;

use clap::Parser;
use nova_agent_tests::world::simulation::{Choices, Failure, run, run_many, show};

/// Simulates worlds in which things go wrong.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many worlds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The seed of the first one.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Only this one, with its story.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        let run = run(Choices::of_seed(seed), true);
        println!("{}{} events, digest {:016x}", run.story, run.events, run.digest);
        let Some(violation) = run.violation else { return ExitCode::SUCCESS };
        print!("\n{}", show(&Failure { seed, lists: run.lists, violation }));
        return ExitCode::FAILURE;
    }
    match run_many(arguments.first, arguments.seeds) {
        Ok(figures) => {
            print!("{figures}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            print!("{}", show(&failure));
            ExitCode::FAILURE
        }
    }
}
