//! Resizing a visual position table to another picture size, as the research code does before loading (`interpolate_pos_embed`):
//! bilinear, `align_corners = false`, no antialiasing; the class token's row is kept.

/// Resizes a table of `1 + from²` rows to `1 + to²` rows of `width` values.
///
/// # Panics
/// If `table` does not have `(1 + from²) · width` values.
pub fn resize_position_embedding(table: &[f32], from: usize, to: usize, width: usize) -> Vec<f32> {
    assert_eq!(table.len(), (1 + from * from) * width, "position table of another size");
    let (class, grid) = table.split_at(width);
    let taps: Vec<Tap> = (0..to).map(|i| Tap::new(i, from, to)).collect();
    let mut out = Vec::with_capacity((1 + to * to) * width);
    out.extend_from_slice(class);
    let cell = |y: usize, x: usize| &grid[(y * from + x) * width..][..width];
    for y in &taps {
        for x in &taps {
            let corners =
                [cell(y.low, x.low), cell(y.low, x.high), cell(y.high, x.low), cell(y.high, x.high)];
            out.extend((0..width).map(|c| {
                let top = corners[0][c] * (1.0 - x.share) + corners[1][c] * x.share;
                let bottom = corners[2][c] * (1.0 - x.share) + corners[3][c] * x.share;
                top * (1.0 - y.share) + bottom * y.share
            }));
        }
    }
    out
}

/// The two source positions of a target position, and the share of the second.
struct Tap {
    low: usize,
    high: usize,
    share: f32,
}

impl Tap {
    fn new(target: usize, from: usize, to: usize) -> Self {
        let position = ((target as f32 + 0.5) * (from as f32 / to as f32) - 0.5).max(0.0);
        let low = (position as usize).min(from - 1);
        Self { low, high: (low + 1).min(from - 1), share: position - low as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::resize_position_embedding;

    #[test]
    fn grows_and_shrinks_as_torch_interpolate_does() {
        // torch.nn.functional.interpolate([[0, 1], [2, 3]], mode="bilinear", align_corners=False)
        let table = [9.0, 0.0, 1.0, 2.0, 3.0];
        let three = resize_position_embedding(&table, 2, 3, 1);
        let expected = [9.0, 0.0, 0.5, 1.0, 1.0, 1.5, 2.0, 2.0, 2.5, 3.0];
        for (a, b) in three.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{three:?}");
        }
        assert_eq!(three.len(), expected.len());
        assert_eq!(resize_position_embedding(&table, 2, 1, 1), [9.0, 1.5]);
        assert_eq!(resize_position_embedding(&table, 2, 2, 1), table);
    }
}
