//! The session of the machine alone.

use std::time::Duration;

use nova_agent_core::wire::Message;
use nova_agent_sim::world::{Sender, World};

use super::Stage;

/// Longer than the second after which an agent looks whether it is still waited for.
const SLOW: Duration = Duration::from_millis(1200);

/// More than all programs of a reset take that takes [`SLOW`] each, and less than responses are kept.
const ALL_PROGRAMS: Duration = Duration::from_secs(30);

impl Stage for World {
    fn start(&mut self) {
        self.run_for(Duration::ZERO);
    }

    fn write(&mut self, node: &str, content: &str) {
        Self::write(self, node, content.as_bytes());
    }

    fn remove(&mut self, node: &str) {
        Self::remove(self, node);
    }

    fn read(&mut self, node: &str) -> String {
        Self::read(self, node).expect("the node exists")
    }

    fn hold_ifup(&mut self) {
        self.guest().set_program_takes(SLOW);
    }

    fn release_ifup(&mut self) {
        self.run_for(ALL_PROGRAMS);
        self.guest().set_program_takes(Duration::ZERO);
    }

    fn restore(&mut self) {
        Self::restore(self);
    }

    fn terminate(&mut self) {
        Self::terminate(self);
        assert!(self.has_exited(), "nothing is in hand");
    }

    fn settle(&mut self, _steps: usize) -> Vec<(Sender, Message)> {
        self.run_for(Duration::ZERO);
        self.messages().to_vec()
    }
}
