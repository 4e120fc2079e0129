//! What a network stack has to do.

use alloc::string::String;
use alloc::vec::Vec;

use super::files::Files;
use super::guest::Guest;
use super::os::Os;
use super::restart::Activation;
use crate::network::NetworkConfig;

/// Writes the files of one network stack.
pub(super) trait Renderer {
    /// Puts the files for `config` into `files` and returns how they are brought into effect.
    ///
    /// It is called again and again until it asks the guest for nothing new, so it asks for everything it can early.
    ///
    /// # Errors
    /// The text for the host, if nothing can be done.
    fn render(
        &self,
        config: &NetworkConfig,
        os: &Os,
        guest: &Guest<'_>,
        files: &mut Files<'_, '_>,
        warnings: &mut Vec<String>,
    ) -> Result<Activation, String>;

    /// The configuration as the kernel will show it, where that is something else than what the host said.
    fn shown(&self, _: &NetworkConfig) -> Option<NetworkConfig> {
        None
    }
}
