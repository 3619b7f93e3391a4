//! A tokeniser compatible with Stanford's PTBTokenizer 3.4.1 as the reference evaluator calls it.
