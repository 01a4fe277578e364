//! Answers to HW_PARAM_QUERY about periods and buffers: for a stream that is fully described, within the minimum of the
//! host's device.

use host_audio::{Minimums, StreamSpec};
use sndif::Errno;
use sndif::v2::{HwParams, Interval, Response};

/// The only stream that an answer allows; `None` while more than one is possible.
fn only_stream(params: &HwParams) -> Option<StreamSpec> {
    let one = |interval: Interval| (interval.min == interval.max).then_some(interval.min);
    let mut formats = params.formats.iter();
    let (Some(format), None) = (formats.next(), formats.next()) else { return None };
    Some(StreamSpec {
        format,
        rate_hz: one(params.rates_hz)?,
        channels: u8::try_from(one(params.channels)?).ok()?,
        period_frames: 0,
        buffer_frames: 0,
    })
}

/// Narrows an answer to the device's minimum; `EINVAL` if nothing is left.
pub(crate) fn refine(response: Response, minimums: impl FnOnce(&StreamSpec) -> Minimums) -> Response {
    let Some(mut params) = response.params else { return response };
    let Some(stream) = only_stream(&params) else { return response };
    let Minimums { period_frames, buffer_frames } = minimums(&stream);
    params.period_frames = params.period_frames.intersection(Interval::new(period_frames, u32::MAX));
    params.buffer_frames = params.buffer_frames.intersection(Interval::new(buffer_frames, u32::MAX));
    if params.is_empty() {
        return Response { result: Err(Errno::EINVAL), params: None, ..response };
    }
    Response { params: Some(params), ..response }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sndif::{Format, FormatSet};

    const DMIX: Minimums = Minimums { period_frames: 1_024, buffer_frames: 2_048 };

    fn answer(rates_hz: Interval, period_frames: Interval) -> Response {
        let params = HwParams {
            formats: FormatSet::EMPTY.with(Format::S16Le),
            rates_hz,
            channels: Interval::exactly(2),
            buffer_frames: Interval::new(96, 65_536),
            period_frames,
        };
        Response { id: 1, opcode: 9, result: Ok(()), params: Some(params) }
    }

    #[test]
    fn the_devices_period_and_buffer_bound_a_stream_that_is_fully_described() {
        let asked = answer(Interval::exactly(48_000), Interval::new(48, 32_768));
        let refined = refine(asked, |stream| {
            assert_eq!((stream.format, stream.rate_hz, stream.channels), (Format::S16Le, 48_000, 2));
            DMIX
        });
        let params = refined.params.unwrap();
        assert_eq!(params.period_frames, Interval::new(1_024, 32_768));
        assert_eq!(params.buffer_frames, Interval::new(2_048, 65_536));
        assert_eq!(refine(asked, |_| Minimums::default()), asked);
    }

    #[test]
    fn a_stream_that_may_be_several_asks_no_device() {
        let asked = answer(Interval::new(8_000, 48_000), Interval::new(48, 32_768));
        assert_eq!(refine(asked, |_| panic!("the device was asked")), asked);
    }

    #[test]
    fn a_period_shorter_than_the_devices_is_refused() {
        let refined = refine(answer(Interval::exactly(48_000), Interval::exactly(480)), |_| DMIX);
        assert_eq!((refined.result, refined.params), (Err(Errno::EINVAL), None));
    }
}
