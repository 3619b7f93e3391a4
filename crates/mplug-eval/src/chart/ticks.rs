//! Where an axis has ticks, and how numbers are written at them.

/// How an axis goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Logarithmic,
}

/// About `count` round numbers from `low` to `high`.
pub(super) fn ticks(low: f64, high: f64, count: usize, scale: Scale) -> Vec<f64> {
    match scale {
        Scale::Linear => linear(low, high, count),
        Scale::Logarithmic => logarithmic(low, high, count),
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear(low: f64, high: f64, count: usize) -> Vec<f64> {
    let rough = (high - low) / count as f64;
    if !rough.is_finite() || rough <= 0.0 {
        return vec![low];
    }
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    // The product of a whole number and 0.1 is not always the nearest number to the decimal: division by a whole number is.
    let at = |n: i64| if step < 1.0 { n as f64 / (1.0 / step).round() } else { n as f64 * step };
    (first..=last.min(first + 20)).map(at).collect()
}

/// Powers of ten; between them 2 and 5 times those where there are few.
fn logarithmic(low: f64, high: f64, count: usize) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let decades = (high / low).log10();
    let factors: &[f64] = if decades < count as f64 / 2.0 {
        &[1.0, 2.0, 5.0]
    } else if decades < count as f64 {
        &[1.0, 3.0]
    } else {
        &[1.0]
    };
    let every = ((decades / count as f64).ceil() as usize).max(1);
    let powers = (first..=last).step_by(every);
    let all = powers.flat_map(|power| {
        factors.iter().map(move |factor| {
            if power < 0 { factor / 10.0_f64.powi(-power) } else { factor * 10.0_f64.powi(power) }
        })
    });
    all.filter(|value| (low..=high).contains(value)).collect()
}

/// A number for people: four digits that count.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let size = value.abs();
    if !(1e-3..1e6).contains(&size) {
        let text = format!("{value:.2e}");
        return text.replace(".00e", "e");
    }
    let decimals = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
    trimmed(&format!("{value:.decimals$}"))
}

/// A number at a tick, which is round.
pub(super) fn tick_label(value: f64) -> String {
    let size = value.abs();
    if value != 0.0 && !(1e-3..1e6).contains(&size) {
        format!("{value:e}")
    } else {
        trimmed(&format!("{value:.6}"))
    }
}

/// Without the zeros that end its decimals.
fn trimmed(text: &str) -> String {
    if !text.contains('.') {
        return text.to_owned();
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(linear(0.0, 1.0, 4), [0.0, 0.5, 1.0]);
        assert_eq!(linear(0.02, 0.31, 4), [0.1, 0.2, 0.3]);
        assert_eq!(linear(-3.0, 11.0, 4), [0.0, 5.0, 10.0]);
        assert_eq!(linear(5.0, 5.0, 4), [5.0]);
        assert_eq!(logarithmic(0.05, 12.0, 4), [0.1, 0.3, 1.0, 3.0, 10.0]);
        assert_eq!(logarithmic(1e-9, 1.0, 4), [1e-9, 1e-6, 1e-3, 1.0]);
        assert_eq!(logarithmic(2.0, 60.0, 4), [2.0, 5.0, 10.0, 20.0, 50.0]);
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 12.3456, 0.012_345_6, 123_456.7, 5e-5, -2.0, 2_000_000.0].map(number);
        assert_eq!(shown, ["0", "12.35", "0.01235", "123457", "5e-5", "-2", "2e6"]);
        assert_eq!([0.1, 2e-5, 1000.0, 0.0].map(tick_label), ["0.1", "2e-5", "1000", "0"]);
        assert_eq!([f64::NAN, f64::INFINITY].map(number), ["NaN", "inf"]);
    }
}
