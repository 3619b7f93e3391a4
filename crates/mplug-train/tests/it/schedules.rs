//! The learning rates of `PyTorch`'s schedules after `ModelScope`'s warm-ups (`reference/make_schedule_fixtures.py`).

use mplug_testing::golden::fixture;
use mplug_train::config::ScheduleSection;
use mplug_train::run_length::RunLength;
use mplug_train::schedule::learning_rate;
use serde_json::Value;

/// Share of the peak within which rates must be.
const TOLERANCE: f64 = 1e-7;

/// Steps of an epoch in these tests.
const EPOCH: u64 = 3;

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn rates_are_those_of_torch_after_the_originals_warm_ups() {
    let text = std::fs::read_to_string(fixture("schedules/schedules.json")).expect("a fixture");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("json");
    let length = RunLength { steps: 75, epoch_steps: Some(EPOCH), ..RunLength::default() };
    let mut compared = 0;
    for case in &cases {
        let recipe = case["recipe"].as_str().expect("a recipe");
        let read = |by: &str| -> ScheduleSection {
            toml::from_str(&format!("by = \"{by}\"\n{recipe}"))
                .unwrap_or_else(|error| panic!("{recipe}: {error}"))
        };
        let (by_step, by_epoch) = (read("step"), read("epoch"));
        let peak = number(&case["peak"]);
        for (time, right) in (0..).zip(case["rates"].as_array().expect("rates")) {
            let right = number(right);
            let found = learning_rate(&by_step, peak, time, &length);
            assert!((found - right).abs() <= TOLERANCE * peak, "{recipe}at {time}: {found} against {right}");
            for step in time * EPOCH..(time + 1) * EPOCH {
                let of_epoch = learning_rate(&by_epoch, peak, step, &length);
                assert!((of_epoch - found).abs() < 1e-15, "{recipe}by epoch at {step}: {of_epoch}");
            }
            compared += 1;
        }
    }
    assert!(compared > 3000, "only {compared} rates compared");
}
