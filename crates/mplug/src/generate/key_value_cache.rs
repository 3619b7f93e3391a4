//! The decoder's past: keys and values of every token so far, per layer and row. Rows are beams; when beams die or
//! fork, rows are gathered from their parents.

/// Keys and values of one layer.
pub struct LayerCache {
    /// `(rows, capacity, width)`; of each row, the first `len` tokens are filled.
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Where rows are gathered, then swapped in: a step allocates nothing.
    spare: Vec<f32>,
    len: usize,
    capacity: usize,
    width: usize,
}

impl LayerCache {
    /// Tokens that each row holds, the newest included.
    pub fn tokens(&self) -> usize {
        self.len
    }

    /// Writes the key and the value of the newest token of `row`.
    pub fn append(&mut self, row: usize, key: &[f32], value: &[f32]) {
        let start = (row * self.capacity + self.len - 1) * self.width;
        self.keys[start..start + self.width].copy_from_slice(key);
        self.values[start..start + self.width].copy_from_slice(value);
    }

    /// Keys and values of `row`, `(len, width)` each, the newest token last.
    pub fn row(&self, row: usize) -> (&[f32], &[f32]) {
        let range = row * self.capacity * self.width..(row * self.capacity + self.len) * self.width;
        (&self.keys[range.clone()], &self.values[range])
    }

    fn select_rows(&mut self, parents: &[usize]) {
        let (stride, filled) = (self.capacity * self.width, self.len * self.width);
        for table in [&mut self.keys, &mut self.values] {
            self.spare.resize(parents.len() * stride, 0.0);
            for (row, &parent) in self.spare.chunks_exact_mut(stride).zip(parents) {
                row[..filled].copy_from_slice(&table[parent * stride..parent * stride + filled]);
            }
            std::mem::swap(table, &mut self.spare);
        }
    }
}

/// Keys and values of all layers.
pub struct KeyValueCache {
    layers: Vec<LayerCache>,
    rows: usize,
    len: usize,
    capacity: usize,
}

impl KeyValueCache {
    /// An empty cache of `rows` rows that hold up to `capacity` tokens of `width` values in each of `layers` layers.
    pub fn new(layers: usize, rows: usize, capacity: usize, width: usize) -> Self {
        let empty = || vec![0.0; rows * capacity * width];
        let layers = (0..layers)
            .map(|_| LayerCache {
                keys: empty(),
                values: empty(),
                spare: Vec::new(),
                len: 0,
                capacity,
                width,
            })
            .collect();
        Self { layers, rows, len: 0, capacity }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Tokens that each row holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no token was appended yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes room for one more token a row, which every layer then appends.
    ///
    /// # Panics
    /// If the cache is full.
    pub fn begin_step(&mut self) {
        assert!(self.len < self.capacity, "the cache holds {} tokens already", self.capacity);
        self.len += 1;
        for layer in &mut self.layers {
            layer.len = self.len;
        }
    }

    /// The cache of one layer.
    pub fn layer(&mut self, index: usize) -> &mut LayerCache {
        &mut self.layers[index]
    }

    /// Row `i` becomes what row `parents[i]` was.
    pub fn select_rows(&mut self, parents: &[usize]) {
        use rayon::prelude::*;
        let unchanged =
            parents.len() == self.rows && parents.iter().enumerate().all(|(i, &parent)| i == parent);
        if !unchanged {
            self.layers.par_iter_mut().for_each(|layer| layer.select_rows(parents));
            self.rows = parents.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_their_parents() {
        let mut cache = KeyValueCache::new(1, 2, 3, 1);
        for token in 0..2 {
            cache.begin_step();
            for row in 0..2 {
                let value = (10 * row + token) as f32;
                cache.layer(0).append(row, &[value], &[-value]);
            }
        }
        cache.select_rows(&[1, 1, 0]);
        assert_eq!(cache.rows(), 3);
        assert_eq!(cache.layer(0).row(0), (&[10.0, 11.0][..], &[-10.0, -11.0][..]));
        assert_eq!(cache.layer(0).row(2).0, [0.0, 1.0]);
        cache.begin_step();
        cache.layer(0).append(2, &[5.0], &[5.0]);
        assert_eq!(cache.layer(0).row(2).0, [0.0, 1.0, 5.0]);
    }
}
