//! Values by step, a bounded number of them.

/// Most points that are kept; of more, every second is dropped.
const POINTS: usize = 4096;

/// Values by step, ascending.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    points: Vec<(u64, f64)>,
    /// One in this number of points is kept, less one.
    dropped: u64,
    /// Points seen since the last that was kept.
    since: u64,
    /// The newest point, if it is not among those that are kept.
    newest: Option<(u64, f64)>,
}

impl Curve {
    /// Adds a point; it takes the place of those of its step and of later ones.
    pub(super) fn push(&mut self, step: u64, value: f64) {
        if let Some(before) = step.checked_sub(1) {
            self.cut(before);
        } else {
            *self = Self::default();
        }
        if self.since < self.dropped {
            self.since += 1;
            self.newest = Some((step, value));
            return;
        }
        (self.since, self.newest) = (0, None);
        self.points.push((step, value));
        if self.points.len() > POINTS {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.dropped = 2 * self.dropped + 1;
        }
    }

    /// Drops the points after `step`.
    pub(super) fn cut(&mut self, step: u64) {
        self.newest = self.newest.filter(|(at, _)| *at <= step);
        let kept = self.points.partition_point(|(at, _)| *at <= step);
        self.points.truncate(kept);
    }

    /// The points, the newest among them.
    pub fn points(&self) -> Vec<(u64, f64)> {
        self.points.iter().copied().chain(self.newest).collect()
    }
}
