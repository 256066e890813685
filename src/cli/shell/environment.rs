//! Variables of the environment, as AWS' clients know them.

/// A variable that says something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
