//! Hostile and unlucky worlds by the thousand: `make simulate SEEDS=10000`, or one of them with all that happens in it:
//! `make simulate SEED=123`.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for the terminal"
)]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nova_agent_sim::world::simulation::{Choices, Failure, run, run_many, show};

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
    /// Write what the agent did in each world to this file: a line with the seed, a digest of all outputs of the machine,
    /// and one of the same without words.
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    digests: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        let run = run(Choices::of_seed(seed), true);
        println!(
            "{}{} events, digest {:016x}",
            run.story, run.events, run.digests.outputs
        );
        let Some(violation) = run.violation else {
            return ExitCode::SUCCESS;
        };
        print!(
            "\n{}",
            show(&Failure {
                seed,
                lists: run.lists,
                violation
            })
        );
        return ExitCode::FAILURE;
    }
    match run_many(arguments.first, arguments.seeds) {
        Ok(figures) => {
            if let Some(file) = arguments.digests {
                let mut text = String::new();
                for (seed, digests) in &figures.digests {
                    let _ = writeln!(
                        text,
                        "{seed} {:016x} {:016x}",
                        digests.outputs, digests.shape
                    );
                }
                if let Err(error) = std::fs::write(&file, text) {
                    eprintln!("{}: {error}", file.display());
                    return ExitCode::FAILURE;
                }
            }
            print!("{figures}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            print!("{}", show(&failure));
            ExitCode::FAILURE
        }
    }
}
