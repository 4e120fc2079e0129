//! Carries the effects of nova-agent's core out on a Unix guest, and does everything that a runtime of the agent needs
//! except waiting: configuration, command line, logging, signals, the service manager, the connection to Xenstore.
//!
//! # Writing a runtime
//!
//! A runtime is the loop that waits. [`runtime`] has what it is built of:
//!
//! - [`Launch`](runtime::Launch) is an agent that is ready to start. Its two halves are a [`Driver`](runtime::Driver),
//!   which demands what to do next, and a [`System`](runtime::System), which carries effects out.
//! - [`Signals`](runtime::Signals) is a descriptor that becomes readable when the agent must end.
//! - An effect that is not finished at once is a [`PendingEffect`](runtime::PendingEffect), with descriptors and a deadline
//!   to wait for. A runtime that may block calls [`System::perform`](runtime::System::perform) instead.
//!
//! The documentation of the core calls whoever calls its `Machine` a *driver*. Here that is three parts: `Driver` has the
//! machine, its connection and its clock, `System` carries effects out, and the runtime waits.
//!
//! This is a complete runtime, `examples/minimal.rs`. It is correct, but it answers nothing while it carries out an effect:
//!
//! ```no_run
#![doc = include_str!("../examples/minimal.rs")]
//! ```
//!
//! # Embedding the agent
//!
//! A program with its own command line makes a [`Launch`](runtime::Launch) of [`Settings`](runtime::Settings). The `main`
//! of a runtime calls [`cli::launch`], which reads command line and configuration and starts the log before it.
//!
//! # Trying the agent in a sandbox
//!
//! A [`System`](runtime::System) works on a [`Root`](runtime::Root): the file system of the machine or, in a sandbox, a
//! directory that stands for it. [`sandbox`] has the names of the files with which a sandbox replaces programs and shows
//! what was not done.
#![forbid(unsafe_code)]

mod change_log;
mod clock;
mod connection;
mod driver;
mod entropy;
mod file_error;
mod files;
mod hostname;
mod launch;
pub mod logging;
mod memory;
mod message_log;
mod password;
mod pending;
mod preview;
mod probe;
mod programs;
mod retry;
mod root;
pub mod sandbox;
mod service;
mod settings;
mod signals;
mod system;
mod transport;
mod utc;

/// What a runtime is built of.
pub mod runtime {
    pub use crate::driver::{Demand, Driver, More};
    pub use crate::launch::Launch;
    pub use crate::pending::{Interest, PendingEffect, Source, Started};
    pub use crate::root::Root;
    pub use crate::settings::Settings;
    pub use crate::signals::Signals;
    pub use crate::system::System;
    pub use crate::transport::StoreAddress;
}

/// The command line and the configuration file, for the `main` of a runtime.
pub mod cli {
    pub use crate::launch::launch;
    pub use crate::service::EXPECT_STOP;
    pub use crate::settings::{CONFIG_FILE, Command, CommandLine, Instead, SettingsError};
}

/// What only the tests of this workspace use.
#[doc(hidden)]
pub mod internal {
    pub use crate::preview::{HostFileError, read_host_file, without_secrets};
}
