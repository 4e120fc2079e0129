//! From the start of the process to the machine's loop, the same for every runtime.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use nova_agent_core::Machine;
use nova_agent_core::agent::{Config, Report, Severity};

use crate::clock::Clock;
use crate::logging::{self, LogTarget};
use crate::preview::{self, Source};
use crate::service::{InstanceLock, ServiceManager};
use crate::settings::{Command, CommandLine, Settings, UNUSABLE};
use crate::signals::Signals;
use crate::system::System;
use crate::transport::StoreAddress;

/// Everything that a runtime drives.
#[derive(Debug)]
pub struct Launch {
    /// The agent.
    pub machine: Machine,
    /// Carries its effects out.
    pub system: System,
    /// Where Xenstore is.
    pub xenstore: StoreAddress,
    /// Whom [`report`] tells.
    pub service: ServiceManager,
    /// Tells when to leave.
    pub signals: Signals,
    /// The machine's time.
    pub clock: Clock,
    /// Keeps a second agent from starting; to be held until the end.
    pub instance: InstanceLock,
}

/// The `main` of a runtime: reads command line and configuration, sets the log up and runs, or shows a plan.
///
/// Exit codes: 0 after SIGTERM or SIGINT, or when the plan has been shown; 1 if the agent cannot run here, or there is no
/// plan; 2 for a bad command line or configuration.
pub fn launch(run: impl FnOnce(Launch) -> io::Result<()>) -> ExitCode {
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

/// Writes what the machine reports to the log, and tells the service manager what concerns it.
pub fn report(report: &Report, service: &ServiceManager) {
    match report.severity() {
        Severity::Debug => tracing::debug!("{report}"),
        Severity::Info => tracing::info!("{report}"),
        Severity::Warning => tracing::warn!("{report}"),
    }
    match report {
        Report::Alive => service.watchdog(),
        Report::Connected | Report::Disconnected { .. } => service.status(&report.to_string()),
        Report::Ready => {
            service.status("ready");
            service.ready();
        }
        Report::Stopping => service.stopping(),
        Report::Answered { .. }
        | Report::Notice { .. }
        | Report::Started { .. }
        | Report::StoreRefused { .. }
        | Report::Withdrawn { .. } => {}
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

fn serve(settings: &Settings, run: impl FnOnce(Launch) -> io::Result<()>) -> ExitCode {
    // What is wrong with the log file has been said on standard error.
    if logging::init(settings.log_level, &settings.log_target).is_err() {
        return ExitCode::FAILURE;
    }
    match prepare(settings).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(settings: &Settings) -> io::Result<Launch> {
    let root = settings.root().map_err(io::Error::other)?;
    let instance = InstanceLock::acquire(&root).map_err(io::Error::other)?;
    let service = ServiceManager::detect();
    let signals = Signals::new()?;
    let config = Config {
        inject_files: settings.inject_files,
        allow_empty_password: settings.allow_empty_password,
        rescan: settings.rescan,
        reset_network_at_start: settings.reset_network,
        alive: service.watchdog_interval(),
        ..Config::default()
    };
    tracing::info!(version = config.version, xenstore = %settings.xenstore, "nova-agent starts");
    Ok(Launch {
        machine: Machine::new(config),
        system: System::new(root),
        xenstore: settings.xenstore.clone(),
        service,
        signals,
        clock: Clock::start(),
        instance,
    })
}
