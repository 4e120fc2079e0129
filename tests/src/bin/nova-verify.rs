//! Says whether the kernel shows what a file expects, with the agent's own eyes: `nova-verify EXPECTED.json`.
//!
//! It runs where a network stack was tried (`tests/oracles/check`), so that what the agent takes for success is compared
//! with what the kernel's own tools say. It prints `met`, or the first thing that is wrong.
#![deny(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program whose output is its result")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nova_agent_core::effect::{Effect, Outcome};
use nova_agent_core::plan::{Expectation, ExpectedInterface};
use nova_agent_system::runtime::{Root, System};
use serde::Deserialize;

/// Some stacks return before they are done, on a busy machine long before.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
struct Expected {
    interfaces: BTreeMap<String, State>,
}

#[derive(Deserialize)]
struct State {
    addresses: Vec<String>,
    routes: Vec<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args_os()
        .nth(1)
        .ok_or("usage: nova-verify EXPECTED.json")?;
    let expected: Expected = serde_json::from_slice(&fs::read(path)?)?;
    let interfaces = expected
        .interfaces
        .into_iter()
        .map(|(name, state)| state.expectation(name));
    let expectation = Expectation {
        interfaces: interfaces.collect::<Result<_, _>>()?,
    };

    let system = System::new(Root::guest()?);
    let start = Instant::now();
    loop {
        let Outcome::Probed(snapshot) = system.perform(Effect::Probe(Expectation::probes())) else {
            return Err("a probe was not answered".into());
        };
        if snapshot.routes.as_deref().unwrap_or_default().is_empty() {
            return Err("the kernel shows no routes".into());
        }
        match expectation.unmet(&snapshot) {
            Some(_) if start.elapsed() < PATIENCE => thread::sleep(PAUSE),
            unmet => {
                println!("{}", unmet.as_deref().unwrap_or("met"));
                return Ok(());
            }
        }
    }
}

impl State {
    fn expectation(self, name: String) -> Result<ExpectedInterface, Box<dyn Error>> {
        let network = |text: &str| -> Result<(IpAddr, u8), Box<dyn Error>> {
            let (address, prefix_len) = text.split_once('/').ok_or("no prefix length")?;
            Ok((address.parse()?, prefix_len.parse()?))
        };
        let route = |text: &String| -> Result<_, Box<dyn Error>> {
            let (destination, gateway) = match text.split_once(" via ") {
                Some((destination, gateway)) => (destination, Some(gateway.parse()?)),
                None => (text.as_str(), None),
            };
            let (address, prefix_len) = network(destination)?;
            Ok((address, prefix_len, gateway))
        };
        Ok(ExpectedInterface {
            name,
            addresses: self
                .addresses
                .iter()
                .map(|address| network(address))
                .collect::<Result<_, _>>()?,
            routes: self.routes.iter().map(route).collect::<Result<_, _>>()?,
            exclusive: true,
        })
    }
}
