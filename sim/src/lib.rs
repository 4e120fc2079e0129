//! A simulated world around the agent's machine: an embedded Xenstore daemon, hosts, a guest in memory, and a clock that
//! jumps. Nothing here uses the operating system, so that a run repeats itself to the byte.
//!
//! [`world`] runs one story with faults at chosen places; [`world::simulation`] runs any number of hostile and unlucky
//! worlds. Fuzz targets drive the same simulation.
#![deny(unsafe_code)]

pub mod host;
pub mod world;
pub mod xenstored;
