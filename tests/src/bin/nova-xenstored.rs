//! The embedded Xenstore daemon as a program of its own.
#![deny(unsafe_code)]

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use nova_agent_tests::xenstored::{Flavour, Server};

/// A Xenstore daemon in memory, for tests: DIR/socket for dom0, DIR/guest.N for domain N.
///
/// It prints "ready" once every socket can be connected to, and runs until it is killed.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the sockets are created; a short path
    dir: PathBuf,
    /// The daemon to behave like
    #[arg(long, value_enum, default_value_t = FlavourName::C)]
    flavour: FlavourName,
    /// Create an unprivileged domain of that number, with the tree that xapi builds; may be repeated
    #[arg(long = "guest", value_name = "N")]
    guests: Vec<u32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FlavourName {
    /// xenstored
    C,
    /// oxenstored
    O,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let flavour = match arguments.flavour {
        FlavourName::C => Flavour::C,
        FlavourName::O => Flavour::Oxen,
    };
    fs::create_dir_all(&arguments.dir)?;
    let server = Server::start(arguments.dir, flavour)?;
    for domid in arguments.guests {
        server.add_guest(domid)?;
    }
    writeln!(io::stdout(), "ready")?;
    server.wait()?;
    Ok(())
}
