//! Two listings read as one, where what lies above hides what lies below.

use std::cmp::Ordering;

/// What is in either listing, in order: where both have a place, the one `above`. Both are ordered and
/// have each place once.
pub(crate) fn overlaid<P: Ord, S>(
    above: impl Iterator<Item = (P, S)>,
    below: impl Iterator<Item = (P, S)>,
) -> impl Iterator<Item = (P, S)> {
    let (mut above, mut below) = (above.peekable(), below.peekable());
    std::iter::from_fn(move || {
        let (Some((upper, _)), Some((lower, _))) = (above.peek(), below.peek()) else {
            return above.next().or_else(|| below.next());
        };
        match upper.cmp(lower) {
            Ordering::Less => above.next(),
            Ordering::Greater => below.next(),
            Ordering::Equal => {
                below.next();
                above.next()
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_above_hides_what_lies_below() {
        let both = |above: &[(u8, char)], below: &[(u8, char)]| {
            overlaid(above.iter().copied(), below.iter().copied()).collect::<Vec<_>>()
        };
        let above = [(1, 'a'), (3, 'a'), (5, 'a')];
        let below = [(0, 'b'), (3, 'b'), (4, 'b'), (5, 'b'), (6, 'b')];
        let merged = [(0, 'b'), (1, 'a'), (3, 'a'), (4, 'b'), (5, 'a'), (6, 'b')];
        assert_eq!(both(&above, &below), merged);
        assert_eq!(both(&above, &[]), above);
        assert_eq!(both(&[], &below), below);
    }
}
