//! What a network stack has to do.

use core::fmt::Debug;

use super::context::Context;
use super::error::Refusal;
use super::restart::Activation;
use crate::network::NetworkConfig;

/// A way to configure a network. `detect.rs` says when it is chosen.
#[derive(Debug)]
pub(super) struct Stack {
    /// Its name in messages.
    pub(super) name: &'static str,
    /// What writes its files; `None` if the agent only knows the stack by name.
    pub(super) renderer: Option<&'static dyn Renderer>,
}

impl Stack {
    pub(super) const fn new(name: &'static str, renderer: &'static dyn Renderer) -> Self {
        Self {
            name,
            renderer: Some(renderer),
        }
    }
}

/// Writes the files of one network stack.
///
/// A renderer asks the guest where it needs to know something: it looks at `cx.guest`, and what has
/// not been probed yet looks as if it were missing. Every such question is noted, the result is
/// thrown away, and the renderer is called again once the questions are answered. So it must not
/// keep state between calls, and it asks for everything that it can before it uses the first
/// answer: each further call is one more round of probes. `a() | b()`, `exists_any` and
/// `exists_all` ask both sides, `a() || b()` does not.
pub(super) trait Renderer: Debug + Sync {
    /// Writes the files for `cx.config` and returns how they are brought into effect.
    ///
    /// # Errors
    /// Refuses if nothing can be done.
    fn render(&self, cx: &mut Context<'_>) -> Result<Activation, Refusal>;

    /// The configuration as the kernel will show it, where that is something else than what the
    /// host said.
    fn shown(&self, _: &NetworkConfig) -> Option<NetworkConfig> {
        None
    }
}
