//! The items of an array, read by place.
//!
//! A later version adds items at the end only, so more items than are known are passed over. Fewer are
//! an error that names the first one missing.

use crate::reader::{DecodeError, Problem, Reader};

/// An array of which some items are still to be read.
pub(crate) struct Items<'r, 'a> {
    reader: &'r mut Reader<'a>,
    left: usize,
}

impl<'r, 'a> Items<'r, 'a> {
    /// Reads the head of an array.
    pub(crate) fn of(reader: &'r mut Reader<'a>) -> Result<Self, DecodeError> {
        let left = reader.array()?;
        Ok(Self { reader, left })
    }

    /// The reader, at the next item, which errors call `field`.
    pub(crate) fn at(&mut self, field: &'static str) -> Result<&mut Reader<'a>, DecodeError> {
        let reader = self.reader.at(field);
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return reader.error(Problem::Missing),
        }
        Ok(reader)
    }

    /// Passes over the items that this version does not know.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        for _ in 0..self.left {
            self.reader.at("message").skip()?;
        }
        Ok(())
    }
}
