//! The crate from outside: the reference evaluator's own scores and strings.

mod ptb;
