//! Tests of the trainable network against the original's golden numbers and against the engine, and of its gradients.

mod engine;
mod fine_tuning;
mod golden;
mod gradients;
mod precision;
