//! Tests of the trainable network against the original's golden numbers, and of its gradients.

mod common;
mod golden;
mod gradients;
