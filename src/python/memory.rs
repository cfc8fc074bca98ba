//! The memory of the extension.

#![allow(unsafe_code)]

/// Batches are large, and handed back as fast as they are made: the system's allocator returns their pages to the kernel
/// each time, which costs a tenth of a scan.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives what is free back to the system. An examination leaves most of what it needed, and what judges next has an
/// allocator of its own: without this, both have it at a time (150 MiB of 600 where 2 million packets are checked).
pub(super) fn give_back() {
    // SAFETY: any thread may call it at any time; it touches only what nobody has allocated.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
