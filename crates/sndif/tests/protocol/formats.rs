//! Tests of formats: codes, names in both spellings, sets.

use proptest::prelude::*;
use sndif::{Format, FormatSet, FormatWidth};

use crate::values;

/// The float formats: name in sndif.h, which Linux reads; name in xl.cfg(5), which xl reads.
const FLOATS: [(Format, &str, &str); 4] = [
    (Format::F32Le, "float_le", "f32_le"),
    (Format::F32Be, "float_be", "f32_be"),
    (Format::F64Le, "float64_le", "f64_le"),
    (Format::F64Be, "float64_be", "f64_be"),
];

#[test]
fn float_formats_are_read_in_both_spellings_and_written_as_each_reader_wants() {
    for (format, header, xl) in FLOATS {
        assert_eq!(Format::from_name(header), Ok(format));
        assert_eq!(Format::from_name(xl), Ok(format));
        assert_eq!(format.name(), header);
        assert_eq!(format.xl_name(), xl);
    }
    for format in Format::all().filter(|format| FLOATS.iter().all(|float| float.0 != *format)) {
        assert_eq!(format.name(), format.xl_name());
    }
}

proptest! {
    #[test]
    fn a_code_is_a_format_or_above_24(code: u8) {
        match Format::from_code(code) {
            Ok(format) => prop_assert_eq!(format.code(), code),
            Err(_) => prop_assert!(code > 24),
        }
    }

    #[test]
    fn a_name_is_a_format_only_as_it_is_written(name in "[a-z0-9_]{0,26}|\\PC{0,30}") {
        if let Ok(format) = Format::from_name(&name) {
            prop_assert!(format.name() == name || format.xl_name() == name);
        }
    }

    #[test]
    fn a_frame_is_a_sample_per_channel(format in values::format(), channels: u8) {
        let frame = format.frame_bytes(channels);
        match format.width() {
            FormatWidth::Bytes(bytes) => prop_assert_eq!(frame, Some(u32::from(bytes) * u32::from(channels))),
            FormatWidth::Stream => prop_assert_eq!(frame, Some(u32::from(channels))),
            FormatWidth::Nibble => prop_assert_eq!(
                frame.map(|size| size * 2).unwrap_or(u32::from(channels)),
                u32::from(channels)
            ),
        }
    }

    #[test]
    fn a_set_is_its_formats(bits: u64, other: u64, format in values::format()) {
        let (set, other) = (FormatSet::from_bits(bits), FormatSet::from_bits(other));
        prop_assert_eq!(set.iter().collect::<FormatSet>(), set);
        prop_assert_eq!(set.contains(format), bits & (1 << format.code()) != 0);
        prop_assert!(set.with(format).contains(format));
        prop_assert_eq!(
            set.intersection(other).contains(format),
            set.contains(format) && other.contains(format)
        );
        prop_assert_eq!(set.is_empty(), set.iter().next().is_none());
        prop_assert_eq!(FormatSet::from_bits(set.bits()), set);
    }
}
