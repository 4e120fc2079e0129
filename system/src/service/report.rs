//! What the machine reports, for the log and the service manager.

use nova_agent_core::Severity;
use nova_agent_core::agent::Report;
use tracing::{Level, field};

use super::ServiceManager;
use crate::logging::REPORT;

/// Writes a report to the log, and notifies the service manager if it changes the service's state.
pub(crate) fn report(report: &Report, service: &ServiceManager) {
    log(report);
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

/// Logs a report. Its fields are for the journal; a line has them in its message.
fn log(report: &Report) {
    let (request, command, code, took) = match report {
        Report::Answered {
            request,
            command,
            code,
            took,
            ..
        } => (Some(request), Some(command), Some(code), Some(took)),
        Report::Notice { request, .. } | Report::Withdrawn { request } => {
            (Some(request), None, None, None)
        }
        Report::Started { request, command } => (Some(request), Some(command), None, None),
        Report::Alive
        | Report::Connected
        | Report::Disconnected { .. }
        | Report::Ready
        | Report::StoreRefused { .. }
        | Report::Stopping => (None, None, None, None),
    };
    let request = request.map(field::display);
    let command = command.map(field::display);
    let code = code.map(field::display);
    let duration_ms = took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
    macro_rules! event {
        ($level:expr) => {
            tracing::event!(
                target: REPORT,
                $level,
                request,
                command,
                code,
                duration_ms,
                "{report}"
            )
        };
    }
    match report.severity() {
        Severity::Debug => event!(Level::DEBUG),
        Severity::Info => event!(Level::INFO),
        Severity::Warning => event!(Level::WARN),
    }
}
