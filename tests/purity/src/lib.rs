//! Links the core with a panic handler and an allocator of its own, and with nothing else.
//!
//! If anything below the core pulled in std, there would be two panic handlers, and this library would not build.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use nova_agent_core::{Config, Instant, Machine, Output};

struct NoMemory;

// SAFETY: it never hands out memory.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Reaches every layer of the core, so that nothing is left out of the library.
#[unsafe(no_mangle)]
pub extern "C" fn drive() -> bool {
    let mut machine = Machine::new(Config::default());
    machine.handle_connected(Instant::default());
    matches!(machine.poll_output(), Output::Exit)
}
