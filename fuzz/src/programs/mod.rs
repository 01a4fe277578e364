//! Programs of a hostile other side, in simulated time. Each operation is eight bytes, so that any operation can be
//! dropped without changing the meaning of the rest. After each, the invariants are checked.
//!
//! The first eight bytes describe the world.

mod backend;
mod bystander;
mod card;
mod frontend;
mod handshakes;
pub(crate) mod seeds;
mod served;

pub use backend::backend_program;
pub use frontend::frontend_program;

/// Bytes of an operation.
pub const OPERATION_BYTES: usize = 8;

/// An operation: its code, its stream, and its operands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) what: u8,
    pub(crate) who: u8,
    pub(crate) a: u8,
    pub(crate) b: u8,
    pub(crate) value: u32,
}

impl Step {
    fn of(bytes: &[u8; OPERATION_BYTES]) -> Self {
        let [what, who, a, b, ..] = *bytes;
        let value = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        Self { what, who, a, b, value }
    }

    pub(crate) const fn emit(self) -> [u8; OPERATION_BYTES] {
        let [w, x, y, z] = self.value.to_le_bytes();
        [self.what, self.who, self.a, self.b, w, x, y, z]
    }
}

/// The world's shape, and the operations. Remaining bytes at the end are ignored.
fn program(bytes: &[u8]) -> (Step, impl Iterator<Item = Step>) {
    let (steps, _) = bytes.as_chunks::<OPERATION_BYTES>();
    let shape = steps.first().map_or(Step::of(&[0; OPERATION_BYTES]), Step::of);
    (shape, steps.iter().skip(1).map(Step::of))
}

/// A ring index: with `near`, at most 40 from `present`, otherwise `value`.
fn index(present: u32, near: bool, value: u32) -> u32 {
    if near { present.wrapping_add(value % 80).wrapping_sub(40) } else { value }
}
