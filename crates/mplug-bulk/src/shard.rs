//! A part of a run's inputs, for runs that share them out.

use std::ops::Range;
use std::str::FromStr;

/// Part `index` of `count` parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// Part `index`, from 0, of `count`; nothing if there is no such part.
    pub fn new(index: usize, count: usize) -> Option<Self> {
        (index < count).then_some(Self { index, count })
    }

    /// The part of `len` inputs: neighbours, so that the parts' outputs behind each other are the whole output.
    pub fn range(self, len: usize) -> Range<usize> {
        let end = |index: usize| (len as u128 * index as u128 / self.count as u128) as usize;
        end(self.index)..end(self.index + 1)
    }
}

/// Reads `I/N`, I from 0 to N - 1.
impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(index, count)| Self::new(index.trim().parse().ok()?, count.trim().parse().ok()?));
        parsed.ok_or_else(|| format!("expected I/N with I from 0 to N - 1, such as 0/3; found {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_neighbours_and_make_the_whole() {
        for len in [0, 1, 7, 10_050] {
            for count in [1, 3, 64] {
                let ranges: Vec<_> = (0..count).map(|index| Shard { index, count }.range(len)).collect();
                assert_eq!((ranges[0].start, ranges[count - 1].end), (0, len));
                assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
                let (least, most) = (len / count, len.div_ceil(count));
                assert!(ranges.iter().all(|range| (least..=most).contains(&range.len())));
            }
        }
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        assert!(["3/3", "-1/3", "1", "a/b", "0/0"].iter().all(|text| text.parse::<Shard>().is_err()));
    }
}
