//! From the start of the process to the machine's loop, the same for every runtime.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use nova_agent_core::{CommandPolicy, Config, Machine};

use crate::driver::Driver;
use crate::logging::{self, LogTarget};
use crate::memory;
use crate::preview::{self, Source};
use crate::root::Root;
use crate::service::{InstanceLock, ServiceManager};
use crate::settings::{Command, CommandLine, Settings, UNUSABLE};
use crate::signals::Signals;
use crate::system::System;
use crate::transport::StoreAddress;

/// An agent that is about to start, for a runtime to drive.
#[derive(Debug)]
pub struct Launch {
    machine: Machine,
    root: Root,
    xenstore: StoreAddress,
    service: ServiceManager,
    instance: InstanceLock,
}

impl Launch {
    /// Prepares an agent.
    ///
    /// # Errors
    /// If the guest's file system cannot be opened, or another agent runs on it.
    pub fn new(settings: &Settings) -> io::Result<Self> {
        let root = settings.root().map_err(io::Error::other)?;
        let instance = InstanceLock::acquire(&root).map_err(io::Error::other)?;
        let service = ServiceManager::detect();
        let config = Config {
            commands: CommandPolicy {
                inject_files: settings.inject_files,
                allow_empty_password: settings.allow_empty_password,
                ..CommandPolicy::default()
            },
            rescan: settings.rescan,
            reset_network_at_start: settings.reset_network,
            alive: service.watchdog_interval(),
        };
        tracing::info!(version = config.commands.version, xenstore = %settings.xenstore, "nova-agent starts");
        let machine = Machine::new(config);
        Ok(Self {
            machine,
            root,
            xenstore: settings.xenstore.clone(),
            service,
            instance,
        })
    }

    /// The two halves: one decides, the other carries out, maybe elsewhere.
    #[must_use]
    pub fn split<A>(self) -> (Driver<A>, System) {
        let Self {
            machine,
            root,
            xenstore,
            service,
            instance,
        } = self;
        (
            Driver::new(machine, xenstore, service),
            System::with_instance(root, instance),
        )
    }
}

/// The `main` of a runtime: reads command line and configuration, sets the log up and runs, or shows a plan.
///
/// Exit codes: 0 after SIGTERM or SIGINT, or when the plan has been shown; 1 if the agent cannot run here, or there is no
/// plan; 2 for a bad command line or configuration.
pub fn launch(run: impl FnOnce(Launch, Signals) -> io::Result<()>) -> ExitCode {
    let command_line = match CommandLine::of_process() {
        Ok(command_line) => command_line,
        Err(instead) => return instead.say(),
    };
    let settings = match Settings::load(&command_line) {
        Ok(settings) => settings,
        Err(error) => {
            logging::complain(error);
            return ExitCode::from(UNUSABLE);
        }
    };
    match &command_line.command {
        Some(Command::Plan { network }) => plan(network.as_deref(), &command_line, &settings),
        Some(Command::Run) | None => serve(&settings, run),
    }
}

/// Shows a plan. The log goes to standard error, as its file would be changed.
fn plan(network: Option<&Path>, command_line: &CommandLine, settings: &Settings) -> ExitCode {
    if logging::init(settings.log_level, &LogTarget::Stderr).is_err() {
        return ExitCode::FAILURE;
    }
    match preview::print(&Source::choose(network, command_line, settings), settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::complain(error);
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: &Settings, run: impl FnOnce(Launch, Signals) -> io::Result<()>) -> ExitCode {
    // What is wrong with the log file has been said on standard error.
    if logging::init(settings.log_level, &settings.log_target).is_err() {
        return ExitCode::FAILURE;
    }
    memory::keep_private();
    // Before anything else: a signal that comes early is not to end an agent that has begun.
    let run = |signals| run(Launch::new(settings)?, signals);
    match Signals::new().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}
