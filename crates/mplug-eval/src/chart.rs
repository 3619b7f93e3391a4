//! Curves over steps as they stand in a page: an SVG that fills whatever room it gets, and ticks and legend beside it as text, so
//! that they are readable at every width. Knows nothing of training.

mod ticks;

use std::fmt::Write as _;

use maud::{Markup, html};

pub use self::ticks::number;
use self::ticks::{Scale, tick_label, ticks};

/// Points of a curve at most; longer ones are thinned.
const POINTS: usize = 400;
/// Ticks of the two axes, about.
const ACROSS: usize = 5;
const UP: usize = 4;
/// Colours that [`STYLE`] has for curves.
const COLOURS: usize = 6;
/// A curve of positive values whose largest is this many times its smallest is drawn on a logarithmic axis.
const WIDE: f64 = 30.0;

/// A curve.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Values by step, ascending.
    pub points: Vec<(u64, f64)>,
    /// The number of its colour; curves of one thing share it.
    pub colour: usize,
    /// Whether its line is dashed, so that no curve is known by its colour alone.
    pub is_dashed: bool,
}

impl Series {
    /// A solid curve.
    pub fn new(name: impl Into<String>, points: Vec<(u64, f64)>, colour: usize) -> Self {
        let points = points.into_iter().filter(|(_, value)| value.is_finite()).collect();
        Self { name: name.into(), points, colour, is_dashed: false }
    }

    /// This curve with a dashed line.
    #[must_use]
    pub fn dashed(self) -> Self {
        Self { is_dashed: true, ..self }
    }

    /// At most [`POINTS`] of its points, evenly spread, the last one among them.
    fn thinned(&self) -> Vec<(u64, f64)> {
        let every = self.points.len().div_ceil(POINTS).max(1);
        let last = self.points.len().saturating_sub(1);
        let kept = self.points.iter().enumerate().filter(|(index, _)| (last - index).is_multiple_of(every));
        kept.map(|(_, point)| *point).collect()
    }
}

/// One plot of several curves over the same steps.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What is plotted.
    pub title: String,
    /// The curves; those without points are left out.
    pub series: Vec<Series>,
    /// Whether values that span much may stand on a logarithmic axis: losses and norms, but no shares or scores.
    pub may_be_logarithmic: bool,
}

impl Chart {
    /// The plot with title, ticks and legend; nothing where no curve has a point.
    pub fn render(&self) -> Markup {
        let series: Vec<&Series> = self.series.iter().filter(|series| !series.points.is_empty()).collect();
        let Some(frame) = Frame::around(&series, self.may_be_logarithmic) else { return html! {} };
        let spoken: Vec<String> = series.iter().map(|series| spoken(series)).collect();
        html! {
            figure.chart {
                figcaption {
                    b { (self.title) }
                    @if frame.scale == Scale::Logarithmic { " " small { "(logarithmic)" } }
                    @if let [one] = &series[..] { " " (one.points.last().map_or_else(String::new, |(_, value)| number(*value))) }
                    @else { ul.legend { @for one in &series { (legend(one)) } } }
                }
                div.plot tabindex="0" role="img" aria-label={ (self.title) ". " (spoken.join(" ")) }
                    data-range=(serde_json::json!([frame.steps.0, frame.steps.1])) data-curves=(data(&series)) {
                    div.up aria-hidden="true" {
                        @for value in ticks(frame.values.0, frame.values.1, UP, frame.scale) {
                            span style={ "bottom:" (percent(frame.up(value))) } { (tick_label(value)) }
                        }
                    }
                    div.area { (frame.drawing(&series)) }
                    div.across aria-hidden="true" {
                        @for step in frame.step_ticks() {
                            span style={ "left:" (percent(frame.across(step))) } { (grouped(step)) }
                        }
                    }
                    p.reading hidden {}
                }
            }
        }
    }
}

/// The room that curves take.
struct Frame {
    steps: (u64, u64),
    values: (f64, f64),
    scale: Scale,
}

impl Frame {
    fn around(series: &[&Series], may_be_logarithmic: bool) -> Option<Self> {
        let points = || series.iter().flat_map(|series| &series.points);
        let steps = (points().map(|point| point.0).min()?, points().map(|point| point.0).max()?);
        let (low, high) = points().fold((f64::MAX, f64::MIN), |(l, h), (_, v)| (l.min(*v), h.max(*v)));
        let spans_much = low > 0.0 && high / low > WIDE;
        let scale = if may_be_logarithmic && spans_much { Scale::Logarithmic } else { Scale::Linear };
        let room = if high > low { 0.05 * (high - low) } else { low.abs().max(1.0) * 0.1 };
        let values = match scale {
            Scale::Logarithmic => (low / 1.2, high * 1.2),
            // What cannot be negative is not shown as if it could.
            Scale::Linear => (if low >= 0.0 { (low - room).max(0.0) } else { low - room }, high + room),
        };
        Some(Self { steps, values, scale })
    }

    /// From 0 at the left to 1.
    fn across(&self, step: u64) -> f64 {
        (step - self.steps.0) as f64 / (self.steps.1 - self.steps.0).max(1) as f64
    }

    /// From 0 at the bottom to 1.
    fn up(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        match self.scale {
            Scale::Linear => (value - low) / (high - low),
            Scale::Logarithmic => (value / low).ln() / (high / low).ln(),
        }
    }

    fn step_ticks(&self) -> Vec<u64> {
        let (first, last) = self.steps;
        if first == last {
            return vec![first];
        }
        let found = ticks(first as f64, last as f64, ACROSS, Scale::Linear).into_iter();
        let mut steps: Vec<u64> = found.filter(|tick| tick.fract() == 0.0).map(|tick| tick as u64).collect();
        steps.dedup();
        steps
    }

    /// Grid and curves, in a hundred units each way.
    fn drawing(&self, series: &[&Series]) -> Markup {
        let height = |value: f64| 100.0 * (1.0 - self.up(value));
        html! {
            svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true" {
                @for value in ticks(self.values.0, self.values.1, UP, self.scale) {
                    path.grid d=(format!("M0 {0:.2}H100", height(value))) {}
                }
                @for one in series {
                    @let points = one.thinned();
                    path class={ "curve c" (one.colour % COLOURS) @if one.is_dashed { " dashed" } } d=(self.line(&points)) {}
                    // A line of no length with round ends is a dot, however the drawing is stretched.
                    @if one.is_dashed || points.len() < 2 {
                        path class={ "dots c" (one.colour % COLOURS) } d=(self.dots(&points)) {}
                    }
                }
            }
        }
    }

    fn line(&self, points: &[(u64, f64)]) -> String {
        let mut path = String::new();
        for (step, value) in points {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let (x, y) = (100.0 * self.across(*step), 100.0 * (1.0 - self.up(*value)));
            write!(path, "{letter}{x:.2} {y:.2}").expect("text grows");
        }
        path
    }

    fn dots(&self, points: &[(u64, f64)]) -> String {
        let dot = |(step, value): &(u64, f64)| {
            format!("M{:.2} {:.2}h0", 100.0 * self.across(*step), 100.0 * (1.0 - self.up(*value)))
        };
        points.iter().map(dot).collect()
    }
}

fn percent(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

/// A whole number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn legend(series: &Series) -> Markup {
    let last = series.points.last().map_or_else(String::new, |(_, value)| number(*value));
    html! {
        li {
            svg class="key" viewBox="0 0 24 8" aria-hidden="true" {
                path class={ "curve c" (series.colour % COLOURS) @if series.is_dashed { " dashed" } } d="M1 4H23" {}
            }
            span { (series.name) " " b { (last) } }
        }
    }
}

/// A curve in words, for those who hear the page.
fn spoken(series: &Series) -> String {
    let ((first, from), (last, to)) = (series.points[0], series.points[series.points.len() - 1]);
    format!("{}: {} at step {first}, {} at step {last}.", series.name, number(from), number(to))
}

/// The curves as the page's script reads them.
fn data(series: &[&Series]) -> String {
    let curve = |series: &&Series| {
        let points: Vec<(u64, f64)> = series.thinned();
        serde_json::json!({ "name": series.name, "points": points })
    };
    serde_json::Value::Array(series.iter().map(curve).collect()).to_string()
}

/// How plots look; needs the colours of [`crate::sheet::STYLE`].
pub const STYLE: &str = "
.charts { display: grid; gap: 1.6rem 2rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); }
.chart { margin: 0; min-width: 0; }
.chart figcaption { margin-bottom: .3rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0 1.1rem; margin: 0; padding: 0; font-size: .86rem; color: var(--soft-text); }
.legend li { display: flex; align-items: center; gap: .35rem; }
.legend b { color: var(--text); font-weight: 600; font-variant-numeric: tabular-nums; }
.key { width: 24px; height: 8px; flex: none; }
.plot { position: relative; height: 230px; margin-left: 3.4rem; padding-bottom: 1.5rem; }
.plot .area { position: absolute; inset: 0 0 1.5rem 0; border: solid var(--line); border-width: 0 0 1px 1px; }
.plot .area svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.plot .up { position: absolute; inset: 0 auto 1.5rem -3.4rem; width: 3.1rem; }
.plot .up span { position: absolute; right: 0; transform: translateY(50%); }
.plot .across { position: absolute; inset: auto 0 0 0; height: 1.3rem; }
.plot .across span { position: absolute; transform: translateX(-50%); }
.plot .up span, .plot .across span { font-size: .75rem; line-height: 1.3; color: var(--soft-text); white-space: nowrap; font-variant-numeric: tabular-nums; }
.plot .reading { position: absolute; top: 0; right: 0; margin: 0; padding: .15rem .5rem; background: var(--card); border: 1px solid var(--line); border-radius: 4px; font-size: .8rem; pointer-events: none; font-variant-numeric: tabular-nums; }
.plot .cursor { position: absolute; inset: 0 auto 0 0; width: 1px; background: var(--soft-text); pointer-events: none; }
path { fill: none; vector-effect: non-scaling-stroke; }
.grid { stroke: var(--line); stroke-width: 1; opacity: .6; }
.curve { stroke-width: 1.8; stroke-linejoin: round; } .dashed { stroke-dasharray: 6 4; }
.dots { stroke-width: 6; stroke-linecap: round; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); } .c3 { stroke: var(--c3); } .c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); }
@media (max-width: 480px) { .plot { height: 190px; } }
";

/// Shows the values under the pointer, or at the place that the arrow keys choose.
pub const SCRIPT: &str = "
for (const plot of document.querySelectorAll('.plot')) {
  const [first, last] = JSON.parse(plot.dataset.range), curves = JSON.parse(plot.dataset.curves);
  const steps = [...new Set(curves.flatMap(curve => curve.points.map(point => point[0])))].sort((a, b) => a - b);
  const reading = plot.querySelector('.reading'), area = plot.querySelector('.area');
  const cursor = area.appendChild(document.createElement('div'));
  let at = steps.length - 1;
  cursor.className = 'cursor'; cursor.hidden = true;
  const short = value => value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) ? value.toExponential(2) : String(+value.toPrecision(4));
  const show = index => {
    at = Math.max(0, Math.min(steps.length - 1, index));
    const step = steps[at];
    const near = curve => curve.points.reduce((a, b) => Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a);
    reading.textContent = 'step ' + step.toLocaleString('en') + ': ' + curves.map(curve => {
      const [where, value] = near(curve);
      return (curves.length > 1 ? curve.name + ' ' : '') + short(value) + (where === step ? '' : ' (at ' + where.toLocaleString('en') + ')');
    }).join(' · ');
    cursor.style.left = 100 * (step - first) / Math.max(1, last - first) + '%';
    reading.hidden = cursor.hidden = false;
  };
  const hide = () => { reading.hidden = cursor.hidden = true; };
  plot.addEventListener('pointermove', event => {
    const box = area.getBoundingClientRect(), wanted = first + (event.clientX - box.left) / box.width * (last - first);
    show(steps.reduce((best, step, index) => Math.abs(step - wanted) < Math.abs(steps[best] - wanted) ? index : best, 0));
  });
  plot.addEventListener('pointerleave', hide);
  plot.addEventListener('focus', () => show(at));
  plot.addEventListener('blur', hide);
  plot.addEventListener('keydown', event => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -steps.length, End: steps.length }[event.key];
    if (move) { event.preventDefault(); show(at + move); }
  });
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_share_one_plot_with_ticks_and_a_legend() {
        let training = Series::new("training", (1..=1000).map(|n| (n, 8.0 / n as f64)).collect(), 0);
        let held_out = Series::new("held out", vec![(0, 9.0), (500, f64::NAN), (1000, 0.1)], 1).dashed();
        let series = vec![training, held_out];
        let chart = Chart { title: "Loss <1>".to_owned(), series, may_be_logarithmic: true };
        let linear = Chart { may_be_logarithmic: false, ..chart.clone() }.render().into_string();
        assert!(!linear.contains("logarithmic") && linear.contains(">5</span>"), "{linear}");
        let html = chart.render().into_string();
        assert_eq!(html.matches("class=\"plot\"").count(), 1);
        assert!(html.contains("Loss &lt;1&gt;") && html.contains("logarithmic"), "{html}");
        assert!(html.contains("held out: 9 at step 0, 0.1 at step 1000."), "{html}");
        assert!(html.contains(">0.1</span>") && html.contains(">10</span>"), "{html}");
        assert!(html.contains(">1,000</span>") && html.contains("class=\"curve c1 dashed\""), "{html}");
        assert!(html.len() < 40_000, "{} bytes", html.len());
    }

    #[test]
    fn long_curves_keep_their_last_point_and_short_ones_are_dots() {
        let long = Series::new("a", (0..12_345).map(|n| (n, n as f64)).collect(), 0).thinned();
        assert!(long.len() <= POINTS + 1 && long.last() == Some(&(12_344, 12_344.0)), "{}", long.len());
        let one = |value| Series::new("a", vec![(3, value)], 0);
        let chart =
            |value| Chart { title: "a".to_owned(), series: vec![one(value)], may_be_logarithmic: true };
        let html = chart(0.0).render().into_string();
        assert!(html.contains("class=\"dots c0\"") && !html.contains("legend"), "{html}");
        assert!(!html.contains("NaN") && !html.contains("inf"), "{html}");
        assert_eq!(chart(f64::NAN).render().into_string(), "");
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
