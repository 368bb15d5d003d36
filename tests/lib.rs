//! Nothing: the suites are in `suites/`.
