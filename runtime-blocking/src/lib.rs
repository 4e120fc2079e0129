//! Drives nova-agent's core with blocking threads: one reads from Xenstore, one carries effects out, one waits for the
//! signal to leave, and the machine runs on the thread that calls [`run`]. All of them meet in one channel.
#![forbid(unsafe_code)]

mod connection;
mod driver;

pub use self::driver::run;
