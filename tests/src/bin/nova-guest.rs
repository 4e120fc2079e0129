//! Whole guests in one file each: unpacks one for `nova-agent plan`, packs one to be sent to who can mend the agent.
#![deny(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use nova_agent_system::internal::read_host_file;
use nova_agent_tests::fixture::{Fixture, pack, path_of};

#[derive(Debug, Parser)]
#[command(about)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the guest's root to DIR/before and what the host says to DIR/network.json
    Unpack {
        /// The name of a guest of the repository, or a file
        guest: String,
        /// Is made if it is missing
        dir: PathBuf,
    },
    /// Print what the agent looks at below a root directory, without passwords and keys
    Pack {
        /// "/" for this machine, or what was unpacked
        dir: PathBuf,
        /// What the host says, as for `nova-agent plan`; made up if it is missing
        #[arg(long)]
        network: Option<PathBuf>,
    },
    /// Print a guest whole, with what it has of others
    Show {
        /// The name of a guest of the repository, or a file
        guest: String,
    },
}

fn main() -> Result<(), Box<dyn Error>> {
    match CommandLine::parse().command {
        Command::Unpack { guest, dir } => {
            fs::create_dir_all(&dir)?;
            Ok(find(&guest)?.unpack(&dir)?)
        }
        Command::Pack { dir, network } => {
            let (before, beside) = (dir.join("before"), dir.join("network.json"));
            let is_unpacked = before.is_dir() && beside.is_file();
            let network = network.or_else(|| is_unpacked.then_some(beside));
            let data = network.map(|path| read_host_file(&path)).transpose()?;
            let root = if is_unpacked { before } else { dir };
            print!("{}", pack(&root, data)?.write());
            Ok(())
        }
        Command::Show { guest } => {
            print!("{}", find(&guest)?.whole().write());
            Ok(())
        }
    }
}

fn find(guest: &str) -> Result<Fixture, String> {
    let file = Path::new(guest);
    Fixture::read(&if file.is_file() {
        file.into()
    } else {
        path_of(guest)
    })
}
