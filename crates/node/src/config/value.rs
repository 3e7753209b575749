//! From the text of one value to its checked type.
//!
//! **Never:** knows where the text came from: a YAML scalar and an environment variable read alike.

use std::ops::RangeInclusive;
use std::time::Duration;

use paravon_model::{NodeId, Size};
use paravon_ring::Shift;

use super::address::{Address, Host};
use super::error::Expected;
use super::settings::{Durability, Engine};

type Parsed<T> = Result<T, Expected>;

/// The units of a size, longest name first so that no name hides a longer one.
const UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

pub(super) fn node_id(text: &str) -> Parsed<NodeId> {
    NodeId::new(text).map_err(Expected::NodeId)
}

pub(super) fn size_class(text: &str) -> Parsed<Size> {
    Size::from_name(text).ok_or(Expected::OneOf(&["XS", "S", "M", "L", "XL", "XXL"]))
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    text.parse().map_err(|_| Expected::OneOf(&["true", "false"]))
}

pub(super) fn engine(text: &str) -> Parsed<Engine> {
    match text {
        "disk" => Ok(Engine::Disk),
        "memory" => Ok(Engine::Memory),
        _ => Err(Expected::OneOf(&["disk", "memory"])),
    }
}

pub(super) fn durability(text: &str) -> Parsed<Durability> {
    match text {
        "always" => Ok(Durability::Always),
        "interval" => Ok(Durability::Interval),
        _ => Err(Expected::OneOf(&["always", "interval"])),
    }
}

pub(super) fn host(text: &str) -> Parsed<Host> {
    Host::parse(text).ok_or(Expected::Host)
}

pub(super) fn address(text: &str) -> Parsed<Address> {
    Address::parse(text).ok_or(Expected::Address)
}

pub(super) fn address_or_off(text: &str) -> Parsed<Option<Address>> {
    match text {
        "off" | "false" => Ok(None),
        _ => Address::parse(text).map(Some).ok_or(Expected::AddressOrOff),
    }
}

pub(super) fn common_name(text: &str) -> Parsed<String> {
    if text.trim().is_empty() { Err(Expected::CommonName) } else { Ok(text.to_owned()) }
}

pub(super) fn shift(text: &str) -> Parsed<Shift> {
    let expected = Expected::Whole { least: Shift::MIN.into(), most: Shift::MAX.into() };
    text.parse().ok().and_then(Shift::new).ok_or(expected)
}

/// A whole number in `range`.
pub(super) fn whole<T>(text: &str, range: RangeInclusive<T>) -> Parsed<T>
where
    T: std::str::FromStr + PartialOrd + Copy + Into<u64>,
{
    let expected = Expected::Whole { least: (*range.start()).into(), most: (*range.end()).into() };
    text.parse().ok().filter(|number| range.contains(number)).ok_or(expected)
}

/// A number of bytes in `range`: `256MiB`, `1 GB`, `4194304`.
pub(super) fn bytes(text: &str, range: RangeInclusive<u64>) -> Parsed<u64> {
    let expected = Expected::Bytes { least: *range.start(), most: *range.end() };
    let lower = text.to_ascii_lowercase();
    let unit = UNITS.iter().find_map(|&(name, unit)| Some((lower.strip_suffix(name)?, unit)));
    let (number, unit) = unit.unwrap_or((&lower, 1));
    let number = number.trim_end().parse::<u64>().ok();
    let product = number.and_then(|number| number.checked_mul(unit));
    product.filter(|bytes| range.contains(bytes)).ok_or(expected)
}

/// A number of bytes that must fit in memory.
pub(super) fn buffer(text: &str, range: RangeInclusive<usize>) -> Parsed<usize> {
    let wide = *range.start() as u64..=*range.end() as u64;
    let expected = Expected::Bytes { least: *wide.start(), most: *wide.end() };
    bytes(text, wide)?.try_into().map_err(|_| expected)
}

/// A time span in `range`: `5s`, `500ms`, or a number of seconds such as `2` and `0.5`.
pub(super) fn time(text: &str, range: RangeInclusive<Duration>) -> Parsed<Duration> {
    let expected = Expected::Time { least: *range.start(), most: *range.end() };
    let span = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    span.filter(|span| range.contains(span)).ok_or(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_humans_write_it_or_as_seconds() {
        let any = Duration::ZERO..=Duration::MAX;
        for (text, milliseconds) in
            [("5s", 5000), ("500ms", 500), ("1m 30s", 90_000), ("2", 2000), ("0.25", 250)]
        {
            assert_eq!(time(text, any.clone()), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "-1", "nan", "inf", "5 parsecs", "1e300"] {
            assert!(time(text, any.clone()).is_err(), "{text}");
        }
        assert!(time("2s", Duration::ZERO..=Duration::from_secs(1)).is_err());
    }

    #[test]
    fn a_size_reads_in_bytes_or_in_units_of_either_kind() {
        for (text, expected) in [
            ("4194304", 4 << 20),
            ("256MiB", 256 << 20),
            ("1 GiB", 1 << 30),
            ("1kb", 1000),
            ("7B", 7),
            ("0", 0),
        ] {
            assert_eq!(bytes(text, 0..=u64::MAX), Ok(expected), "{text}");
        }
        for text in ["", "MiB", "1.5MiB", "-1", "99999999TiB", "1 M", "4 potatoes"] {
            assert!(bytes(text, 0..=u64::MAX).is_err(), "{text}");
        }
        assert!(bytes("9MiB", 1..=8 << 20).is_err());
    }

    #[test]
    fn a_number_outside_its_range_says_the_range() {
        let error = whole::<u8>("9", 1..=7).unwrap_err();
        assert_eq!(error.to_string(), "a whole number from 1 to 7");
        assert!(whole::<u8>("300", 1..=7).is_err());
        assert!(whole::<u8>("1.0", 1..=7).is_err());
        assert_eq!(whole::<u8>("7", 1..=7), Ok(7));
    }
}
