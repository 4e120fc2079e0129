//! What the machine reports, for the log and the service manager.

use nova_agent_core::Severity;
use nova_agent_core::agent::Report;

use super::ServiceManager;

/// Writes a report to the log, and notifies the service manager if it changes the service's state.
pub(crate) fn report(report: &Report, service: &ServiceManager) {
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
