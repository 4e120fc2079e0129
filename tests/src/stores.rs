//! Every store there is, for tests that say the same of all of them.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::real::{Daemon, Device, GuestOptions, RealGuest, RealStore, StartError};
use crate::xenstored::{Flavour, Server, ServerError};

/// A store that tests can be run on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreKind {
    /// The embedded store behaving like the C daemon.
    EmbeddedC,
    /// The embedded store behaving like `oxenstored`.
    EmbeddedOxen,
    /// The C daemon.
    RealC,
    /// `oxenstored`.
    RealOxen,
}

impl StoreKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::EmbeddedC,
        Self::EmbeddedOxen,
        Self::RealC,
        Self::RealOxen,
    ];

    /// Which daemon's behaviour to expect, where the two differ.
    #[must_use]
    pub const fn flavour(self) -> Flavour {
        match self {
            Self::EmbeddedC | Self::RealC => Flavour::C,
            Self::EmbeddedOxen | Self::RealOxen => Flavour::Oxen,
        }
    }

    /// Starts an empty store.
    ///
    /// # Errors
    /// [`StoreError`] if it does not start. A real daemon that is missing is an error like every other: a suite that
    /// leaves it out proves nothing.
    pub fn start(self) -> Result<RunningStore, StoreError> {
        let inner = match self {
            Self::EmbeddedC | Self::EmbeddedOxen => {
                // Not below $TMPDIR, which may be too long for a socket.
                let dir = tempfile::Builder::new()
                    .prefix("xs")
                    .tempdir_in("/tmp")
                    .map_err(ServerError::Io)?;
                Inner::Embedded {
                    server: Server::start(dir.path(), self.flavour())?,
                    dir,
                }
            }
            Self::RealC => Inner::Real {
                guests: Vec::new(),
                store: RealStore::start(Daemon::C)?,
            },
            Self::RealOxen => Inner::Real {
                guests: Vec::new(),
                store: RealStore::start(Daemon::Oxen)?,
            },
        };
        Ok(RunningStore { inner })
    }
}

/// A running store, which stops when this is dropped.
#[derive(Debug)]
pub struct RunningStore {
    inner: Inner,
}

/// The fields are dropped in their order: guests and servers before what they stand on.
#[derive(Debug)]
enum Inner {
    Embedded {
        server: Server,
        dir: TempDir,
    },
    Real {
        guests: Vec<RealGuest>,
        store: RealStore,
    },
}

impl RunningStore {
    /// Creates a domain with the tree that xapi builds for it. Returns the socket whose clients are that domain.
    ///
    /// It stands for the bare ring: the daemon's own limits and errors, no kernel in between. Use it for one client at a
    /// time.
    ///
    /// # Errors
    /// [`StoreError`] if the domain cannot be created.
    pub fn guest_socket(&mut self, domid: u32) -> Result<PathBuf, StoreError> {
        match &mut self.inner {
            Inner::Embedded { server, .. } => Ok(server.add_guest(domid)?),
            Inner::Real { guests, store } => {
                let guest = store.guest(
                    domid,
                    GuestOptions {
                        device: Device::Plain,
                        ..GuestOptions::default()
                    },
                )?;
                let socket = guest.socket().into();
                guests.push(guest);
                Ok(socket)
            }
        }
    }

    /// The socket whose clients are dom0.
    #[must_use]
    pub fn dom0_socket(&self) -> PathBuf {
        match &self.inner {
            Inner::Embedded { dir, .. } => dir.path().join("socket"),
            Inner::Real { store, .. } => store.dom0_socket(),
        }
    }
}

/// Why a store does not run.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The embedded store.
    #[error(transparent)]
    Embedded(#[from] ServerError),
    /// A real daemon.
    #[error(transparent)]
    Real(#[from] StartError),
}
