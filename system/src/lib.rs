//! Carries the effects of nova-agent's core out on a Unix guest, and does what every runtime of the agent needs beside
//! waiting: configuration, command line, logging, signals, the service manager, the way to Xenstore.
//!
//! [`System`] is the counterpart of the core's [`Effect`](nova_agent_core::effect::Effect)s. It works on a [`Root`]: the
//! machine itself or, in a sandbox, a directory that stands for it.
#![forbid(unsafe_code)]

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
mod password;
mod pending;
mod preview;
mod probe;
mod programs;
mod retry;
mod root;
mod sandbox;
mod service;
mod settings;
mod signals;
mod system;
mod transport;
mod utc;

pub use self::driver::{Demand, Driver};
pub use self::launch::{Launch, launch};
pub use self::pending::{Interest, PendingEffect, Source, Started};
pub use self::preview::{HostFileError, read_host_file};
pub use self::programs::PATH;
pub use self::root::{EFFECTS_FILE, Root, STAND_INS};
pub use self::service::{EXPECT_STOP, InstanceLock, LockError, ServiceManager};
pub use self::settings::{CONFIG_FILE, Command, CommandLine, Instead, Settings, SettingsError};
pub use self::signals::Signals;
pub use self::system::System;
pub use self::transport::{OpenError, StoreAddress, Transport};
