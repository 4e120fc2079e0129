//! Fuzz targets over the core, as functions from bytes to nothing that panic when a promise of the core is broken.
//!
//! They know nothing of libFuzzer: `fuzz_targets/` hands them to it, and `tests/replay.rs` feeds them with the inputs of the
//! repository on the stable toolchain. An input is never an error: where it ends too early, the rest is zeros; where it
//! makes no sense, nothing happens.

mod bytes;
mod decrypt;
mod host;
mod machine;
mod network_render;
mod request;
mod scene;
mod store_client;
mod wire_decode;
mod world;

pub use self::decrypt::decrypt;
pub use self::machine::machine;
pub use self::network_render::network_render;
pub use self::request::request;
pub use self::store_client::store_client;
pub use self::wire_decode::wire_decode;

/// A target: its name, by which its directories are called, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 6] = [
    ("decrypt", decrypt),
    ("machine", machine),
    ("network_render", network_render),
    ("request", request),
    ("store_client", store_client),
    ("wire_decode", wire_decode),
];
