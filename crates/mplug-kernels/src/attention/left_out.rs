//! Keys that some rows do not see, as if they were not there: what a caption owes to a part of a picture is found by leaving
//! the part out.

use std::ops::Range;

/// Which keys the rows of a group do not see: row `r` has the mask `r / rows_per_mask`.
#[derive(Clone, Copy, Debug)]
pub struct LeftOut<'a> {
    /// Ranges of keys that are left out, ascending and disjoint; none is a mask too.
    pub masks: &'a [Vec<Range<usize>>],
    /// Rows that share a mask: the beams of a search, say.
    pub rows_per_mask: usize,
}

impl<'a> LeftOut<'a> {
    /// # Panics
    /// If the masks are not those of `rows` rows over `keys` keys, or one leaves no key.
    pub(super) fn check(self, rows: usize, keys: usize) {
        let (masks, each) = (self.masks.len(), self.rows_per_mask);
        assert_eq!(masks * each, rows, "cross-attention: {masks} masks of {each} rows each for {rows} rows");
        for (index, mask) in self.masks.iter().enumerate() {
            let mut end = 0;
            for range in mask {
                let is_next = end <= range.start && range.start <= range.end && range.end <= keys;
                assert!(
                    is_next,
                    "cross-attention: mask {index} has keys {range:?} after {end}, of {keys} keys"
                );
                end = range.end;
            }
            let left_out = mask.iter().map(ExactSizeIterator::len).sum::<usize>();
            assert!(left_out < keys, "cross-attention: mask {index} leaves none of {keys} keys");
        }
    }

    /// What row `row` of the group does not see.
    pub(super) fn of_row(self, row: usize) -> &'a [Range<usize>] {
        &self.masks[row / self.rows_per_mask]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(masks: &[Vec<Range<usize>>], rows_per_mask: usize, rows: usize, keys: usize) {
        LeftOut { masks, rows_per_mask }.check(rows, keys);
    }

    #[test]
    fn rows_share_masks() {
        let masks = [vec![0..1, 1..3, 5..6], Vec::new(), vec![3..3, 9..10]];
        check(&masks, 2, 6, 10);
        let left_out = LeftOut { masks: &masks, rows_per_mask: 2 };
        assert_eq!(left_out.of_row(1), [0..1, 1..3, 5..6]);
        assert!(left_out.of_row(2).is_empty());
        assert_eq!(left_out.of_row(5), [3..3, 9..10]);
    }

    #[test]
    #[should_panic(expected = "mask 1 leaves none of 4 keys")]
    fn a_row_must_see_a_key() {
        check(&[vec![0..1, 2..4], vec![0..1, 1..4]], 1, 2, 4);
    }

    #[test]
    #[should_panic(expected = "mask 0 has keys 2..4 after 3, of 9 keys")]
    fn ranges_must_not_overlap() {
        check(&[vec![0..3, 2..4]], 1, 1, 9);
    }

    #[test]
    #[should_panic(expected = "mask 0 has keys 8..10 after 1, of 9 keys")]
    fn ranges_must_be_of_keys() {
        check(&[vec![0..1, 8..10]], 1, 1, 9);
    }

    #[test]
    #[should_panic(expected = "2 masks of 2 rows each for 5 rows")]
    fn every_row_needs_a_mask() {
        check(&[Vec::new(), Vec::new()], 2, 5, 9);
    }
}
