//! Drives nova-agent's core with blocking calls: the machine's thread waits in poll(2) for Xenstore, signals and a second
//! thread, which carries effects out one after the other.
#![forbid(unsafe_code)]

mod run;
mod worker;

pub use self::run::run;
