//! Appending MessagePack to a `Vec`, which cannot fail. Always the shortest form, as the Python
//! program writes it.

use rmp::encode;

/// The one promise behind every call here: writing to a `Vec` never errs.
fn sure<T, E>(result: Result<T, E>) {
    debug_assert!(result.is_ok(), "writing to a Vec cannot fail");
}

pub(crate) fn map(out: &mut Vec<u8>, pairs: u32) {
    sure(encode::write_map_len(out, pairs));
}

pub(crate) fn array(out: &mut Vec<u8>, items: u32) {
    sure(encode::write_array_len(out, items));
}

pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    sure(encode::write_str(out, text));
}

pub(crate) fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    sure(encode::write_bin(out, bytes));
}

pub(crate) fn unsigned(out: &mut Vec<u8>, number: u64) {
    sure(encode::write_uint(out, number));
}

pub(crate) fn float(out: &mut Vec<u8>, number: f64) {
    sure(encode::write_f64(out, number));
}

pub(crate) fn boolean(out: &mut Vec<u8>, flag: bool) {
    sure(encode::write_bool(out, flag));
}

pub(crate) fn nil(out: &mut Vec<u8>) {
    sure(encode::write_nil(out));
}
