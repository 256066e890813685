//! Pure values: no I/O, no locks.
