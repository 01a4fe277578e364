//! The requests in flight, in a private table, against which every response is checked.

use sndif::Errno;
use sndif::v2::{HwParams, Operation, RING_SLOTS, Response};

use crate::Violation;

const PLACES: usize = RING_SLOTS as usize;
/// Low bits of an id, which are its place in the table. The bits above count up, so that an old id does not fit again
/// soon.
const PLACE_BITS: u32 = RING_SLOTS.trailing_zeros();

/// Number of a request; unique among those in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub(crate) u16);

/// A request that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The id that submitting it returned.
    pub id: RequestId,
    /// The request.
    pub operation: Operation,
    /// The value given at submission, for instance a time.
    pub tag: u64,
    /// Success or the backend's error number.
    pub result: Result<(), Errno>,
    /// The narrowed space of a successful HW_PARAM_QUERY, never wider than the question.
    pub params: Option<HwParams>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    id: u16,
    operation: Operation,
    tag: u64,
}

/// Requests that were put into the ring and not answered yet.
#[derive(Debug)]
pub(crate) struct Flight {
    places: [Option<Pending>; PLACES],
    /// Bit mask of the places that are taken.
    taken: u32,
    generation: u16,
}

impl Flight {
    pub(crate) const fn new() -> Self {
        Self { places: [None; PLACES], taken: 0, generation: 0 }
    }

    /// Finds a place for a request; `None` when all are taken.
    pub(crate) fn begin(&mut self, operation: Operation, tag: u64) -> Option<RequestId> {
        let place = u16::try_from(self.taken.trailing_ones()).ok()?;
        let entry = self.places.get_mut(usize::from(place))?;
        self.generation = self.generation.wrapping_add(1);
        let id = self.generation.wrapping_shl(PLACE_BITS) | place;
        *entry = Some(Pending { id, operation, tag });
        self.taken |= 1_u32.wrapping_shl(u32::from(place));
        Some(RequestId(id))
    }

    /// Removes a request that could not be put into the ring.
    pub(crate) fn abandon(&mut self, id: RequestId) {
        self.remove(id.0);
    }

    /// Checks a response and removes its request from the table.
    pub(crate) fn complete(&mut self, response: &Response) -> Result<Completion, Violation> {
        let unknown = Violation::UnknownId(response.id);
        let pending = self.pending(response.id).ok_or(unknown)?;
        let asked = pending.operation.opcode();
        if asked != response.opcode {
            return Err(Violation::WrongOperation { id: response.id, asked, answered: response.opcode });
        }
        self.remove(response.id);
        let params = match (pending.operation, response.params) {
            (Operation::QueryHwParams(asked), Some(answer)) => Some(answer.intersection(&asked)),
            _ => None,
        };
        Ok(Completion {
            id: RequestId(pending.id),
            operation: pending.operation,
            tag: pending.tag,
            result: response.result,
            params,
        })
    }

    fn place(id: u16) -> u16 {
        id & !u16::MAX.wrapping_shl(PLACE_BITS)
    }

    fn pending(&self, id: u16) -> Option<Pending> {
        self.places.get(usize::from(Self::place(id))).copied().flatten().filter(|pending| pending.id == id)
    }

    fn remove(&mut self, id: u16) {
        let place = Self::place(id);
        if let Some(entry) = self.places.get_mut(usize::from(place)) {
            *entry = None;
            self.taken &= !1_u32.wrapping_shl(u32::from(place));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn answer(id: RequestId, opcode: u8) -> Response {
        Response { id: id.0, opcode, result: Ok(()), params: None }
    }

    #[test]
    fn ids_in_flight_are_unique_and_the_table_is_bounded() {
        let mut flight = Flight::new();
        let ids: HashSet<_> = (0..RING_SLOTS).map(|_| flight.begin(Operation::Close, 0).unwrap()).collect();
        assert_eq!(ids.len(), 32);
        assert_eq!(flight.begin(Operation::Close, 0), None);
        for id in &ids {
            flight.complete(&answer(*id, 1)).unwrap();
        }
        for _ in 0..2000 {
            let id = flight.begin(Operation::Close, 0).unwrap();
            assert!(!ids.contains(&id) || flight.generation < 32 || flight.generation > 2040);
            flight.complete(&answer(id, 1)).unwrap();
        }
    }

    #[test]
    fn an_answer_is_wider_than_the_question_only_on_the_wire() {
        let asked = HwParams { rates_hz: sndif::v2::Interval::exactly(48_000), ..HwParams::ANY };
        let mut flight = Flight::new();
        let id = flight.begin(Operation::QueryHwParams(asked), 7).unwrap();
        let response = Response { params: Some(HwParams::ANY), ..answer(id, 9) };
        let completion = flight.complete(&response).unwrap();
        assert_eq!((completion.params, completion.tag), (Some(asked), 7));
    }
}
