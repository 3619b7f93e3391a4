//! The decoder's past of one text: keys and values of its tokens, and which of them each row sees.
//!
//! Rows are beams, and beams share their ancestors. So a token's key and value are written once, as an entry that never moves,
//! and a row is the list of its entries: when beams die or fork, lists of numbers are copied, not keys and values.

/// Keys and values of one layer.
#[derive(Default)]
pub struct LayerCache {
    /// `(entries, width)`.
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl LayerCache {
    /// Appends an entry: the key and the value of a token.
    pub fn append(&mut self, key: &[f32], value: &[f32]) {
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value);
    }

    /// Keys and values of all entries, `(entries, width)` each.
    pub fn tables(&self) -> (&[f32], &[f32]) {
        (&self.keys, &self.values)
    }
}

/// Keys and values of a text's tokens in all layers, and the rows that see them.
pub struct KeyValueCache {
    layers: Vec<LayerCache>,
    /// Of each row the entries that it sees, oldest first.
    rows: Vec<Vec<u32>>,
    entries: u32,
}

impl KeyValueCache {
    /// An empty cache for `layers` layers, of one row without a past.
    pub fn new(layers: usize) -> Self {
        let layers = (0..layers).map(|_| LayerCache::default()).collect();
        Self { layers, rows: vec![Vec::new()], entries: 0 }
    }

    /// Back to one row without a past; the memory is kept.
    pub fn clear(&mut self) {
        for layer in &mut self.layers {
            layer.keys.clear();
            layer.values.clear();
        }
        self.rows = vec![Vec::new()];
        self.entries = 0;
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The entries that a row sees, oldest first: in a step, that of its own token last.
    pub fn row(&self, row: usize) -> &[u32] {
        &self.rows[row]
    }

    /// Bytes of the keys and values that are held.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| 4 * (layer.keys.capacity() + layer.values.capacity())).sum()
    }

    /// Adds a token to every row: an entry each, which every layer then appends in the order of the rows.
    pub fn begin_step(&mut self) {
        for row in &mut self.rows {
            row.push(self.entries);
            self.entries += 1;
        }
    }

    /// Adds `chains` times `len` tokens in one step: `chains · len` rows, of which each sees the past of the only row so far, then the
    /// rows before it in its chain, then its own token. A prefix is one chain; several are texts that are read side by side.
    ///
    /// # Panics
    /// If there are several rows.
    pub fn begin_chains(&mut self, chains: usize, len: usize) {
        assert_eq!(self.rows.len(), 1, "chains of tokens continue one row");
        let past = std::mem::take(&mut self.rows[0]);
        let first = self.entries;
        let row = |chain: usize, token: usize| {
            let start = first + (chain * len) as u32;
            past.iter().copied().chain(start..=start + token as u32).collect()
        };
        self.rows = (0..chains * len).map(|index| row(index / len, index % len)).collect();
        self.entries += (chains * len) as u32;
    }

    /// The cache of one layer, and the rows.
    pub fn layer(&mut self, index: usize) -> (&mut LayerCache, &[Vec<u32>]) {
        (&mut self.layers[index], &self.rows)
    }

    /// Row `i` becomes what row `parents[i]` was; a row may have several children or none.
    pub fn select_rows(&mut self, parents: &[usize]) {
        self.rows = parents.iter().map(|&parent| self.rows[parent].clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whatever is selected, a row sees the tokens of its ancestors, in their order.
    #[derive(Debug, Clone)]
    enum Step {
        Tokens,
        Chains(usize, usize),
        Select(Vec<usize>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Tokens),
            1 => (1usize..4, 1usize..4).prop_map(|(chains, len)| Step::Chains(chains, len)),
            2 => prop::collection::vec(0usize..100, 1..5).prop_map(Step::Select),
        ];
        prop::collection::vec(step, 1..20)
    }

    proptest! {
        #[test]
        fn rows_see_their_ancestors(steps in steps()) {
            let mut cache = KeyValueCache::new(1);
            let (mut expected, mut next) = (vec![Vec::new()], 0.0f32);
            for step in steps {
                match step {
                    Step::Tokens => cache.begin_step(),
                    Step::Chains(chains, len) if expected.len() == 1 => {
                        cache.begin_chains(chains, len);
                        expected = vec![expected[0].clone(); chains * len];
                        for (index, row) in expected.iter_mut().enumerate() {
                            row.extend((0..index % len).map(|token| next + (index / len * len + token) as f32));
                        }
                    }
                    Step::Chains(..) => continue,
                    Step::Select(parents) => {
                        let parents: Vec<usize> = parents.iter().map(|parent| parent % expected.len()).collect();
                        cache.select_rows(&parents);
                        expected = parents.iter().map(|&parent| expected[parent].clone()).collect();
                        continue;
                    }
                }
                for row in &mut expected {
                    row.push(next);
                    cache.layer(0).0.append(&[next], &[-next]);
                    next += 1.0;
                }
            }
            prop_assert_eq!(cache.rows(), expected.len());
            let (layer, rows) = cache.layer(0);
            let keys = layer.tables().0;
            let seen: Vec<Vec<f32>> =
                rows.iter().map(|row| row.iter().map(|&entry| keys[entry as usize]).collect()).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
