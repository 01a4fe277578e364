// SPDX-License-Identifier: GPL-2.0-only OR MIT
//! The module's allocations on memory of user space, where an interpreter (`make miri`) detects every wrong access.

use std::cell::Cell;
use std::rc::Rc;

use driver::Boxed;

#[path = "../src/memory.rs"]
mod memory;

/// Memory functions of the C half; each allocation has its size in front.
mod ffi {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ffi::c_void;

    const HEADER: usize = 8;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes + HEADER, HEADER).unwrap()
    }

    pub(crate) unsafe fn vsnd_alloc(bytes: usize) -> *mut c_void {
        // SAFETY: the layout's size is not 0.
        let memory = unsafe { alloc_zeroed(layout(bytes)) };
        // SAFETY: there is room for the header, and for the memory behind it.
        unsafe { memory.cast::<usize>().write(bytes) };
        // SAFETY: the header lies within the allocation, in front of the memory that is handed out.
        unsafe { memory.add(HEADER) }.cast()
    }

    pub(crate) unsafe fn vsnd_free(memory: *mut c_void) {
        // SAFETY: the header lies in front of what was handed out.
        let memory = unsafe { memory.cast::<u8>().sub(HEADER) };
        // SAFETY: `vsnd_alloc` wrote the size into the header, which is aligned.
        let bytes = unsafe { memory.cast::<usize>().read() };
        // SAFETY: `vsnd_alloc` allocated the memory with this layout.
        unsafe { dealloc(memory, layout(bytes)) };
    }
}

use memory::{KArc, KBox, KVec};

/// A value that counts its drops.
struct Dropped(Rc<Cell<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn a_box_goes_to_c_and_back_and_is_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    let raw = KBox::new(|| Dropped(drops.clone())).unwrap().into_raw();
    assert_eq!(drops.get(), 0);
    // SAFETY: the pointer came from `into_raw`, and is taken back once.
    drop(unsafe { KBox::from_raw(raw) });
    assert_eq!(drops.get(), 1);
    // SAFETY: a null pointer is allowed; nothing is taken back.
    assert!(unsafe { KBox::<u64>::from_raw(std::ptr::null_mut()) }.is_none());
    let mut number = KBox::new(|| 1_u64).unwrap();
    *number += 1;
    let cell = number.into_cell();
    // SAFETY: nobody else has the cell.
    assert_eq!(unsafe { *cell.get() }, 2);
}

#[test]
fn a_counted_value_goes_with_its_last_reference() {
    let drops = Rc::new(Cell::new(0));
    let ours = KArc::new(|| (7_u8, Dropped(drops.clone()))).unwrap();
    let raw = ours.clone().into_raw();
    assert_eq!(ours.0, 7);
    drop(ours);
    assert_eq!(drops.get(), 0);
    // SAFETY: the pointer came from `into_raw`, and is taken back once.
    let back = unsafe { KArc::from_raw(raw) }.unwrap();
    assert_eq!(back.0, 7);
    drop(back);
    assert_eq!(drops.get(), 1);
    // SAFETY: a null pointer is allowed; nothing is taken back.
    assert!(unsafe { KArc::<u64>::from_raw(std::ptr::null()) }.is_none());
}

#[test]
fn a_list_takes_what_it_has_room_for_and_drops_it() {
    let drops = Rc::new(Cell::new(0));
    let mut list = KVec::with_capacity(2).unwrap();
    assert!(list.push(Dropped(drops.clone())).is_ok() && list.push(Dropped(drops.clone())).is_ok());
    assert!(list.push(Dropped(drops.clone())).is_err());
    assert_eq!((list.len(), drops.get()), (2, 1), "what has no room is dropped at once");
    drop(list);
    assert_eq!(drops.get(), 3);
    assert!(KVec::<u64>::with_capacity(0).unwrap().is_empty());
    assert!(KVec::<u64>::with_capacity(usize::MAX).is_err());
}
