//! Emulation of AWS' limits of throughput, of calls and of changes, with their errors. All of it is off by default. It
//! is for testing programs that back off. The counts are lost when the server ends.

mod bucket;
mod call_rates;
mod changes;
mod throughput;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub(super) use call_rates::CallRates;
pub(super) use changes::Changes;
pub(super) use throughput::Throughput;

/// The limits of AWS that a [`Server`](super::Server) has. Each can be switched on alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The throughput of each shard: 1 MiB and 1,000 records a second are written, 2 MiB are read in 5 calls a second,
    /// and 2 MiB a second are pushed to each consumer.
    pub throughput: bool,
    /// How often operations can be called: 1 to 1,000 times a second, depending on the operation.
    pub call_rates: bool,
    /// How many streams can be CREATING at once (5), and how often a stream's shard count (10), its mode (2) and its
    /// encryption (25) can be changed within 24 hours.
    pub changes: bool,
}

/// A text that is not the name of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{given:?} is no limit of AWS; expected throughput, call-rates, changes, or aws for all of them")]
pub struct LimitsError {
    given: String,
}

impl Limits {
    /// None of them.
    pub const NONE: Limits = Limits {
        throughput: false,
        call_rates: false,
        changes: false,
    };

    /// All of them.
    pub const AWS: Limits = Limits {
        throughput: true,
        call_rates: true,
        changes: true,
    };

    /// The union of both.
    #[must_use]
    pub fn and(self, other: Limits) -> Limits {
        Limits {
            throughput: self.throughput || other.throughput,
            call_rates: self.call_rates || other.call_rates,
            changes: self.changes || other.changes,
        }
    }
}

impl fmt::Display for Limits {
    /// The names in the form that is parsed; `none` if there is none.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.throughput, "throughput"),
            (self.call_rates, "call-rates"),
            (self.changes, "changes"),
        ];
        let set = names.iter().filter(|(is_set, _)| *is_set);
        let set: Vec<_> = set.map(|(_, name)| *name).collect();
        match set.is_empty() {
            true => formatter.write_str("none"),
            false => formatter.write_str(&set.join(", ")),
        }
    }
}

impl FromStr for Limits {
    type Err = LimitsError;

    /// Names separated by commas: `throughput,call-rates`.
    fn from_str(text: &str) -> Result<Limits, LimitsError> {
        text.split(',').try_fold(Limits::NONE, |limits, name| {
            let mut one = Limits::NONE;
            match name.trim() {
                "aws" => one = Limits::AWS,
                "throughput" => one.throughput = true,
                "call-rates" => one.call_rates = true,
                "changes" => one.changes = true,
                given => {
                    return Err(LimitsError {
                        given: given.to_owned(),
                    });
                }
            }
            Ok(limits.and(one))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_names() {
        assert_eq!("aws".parse(), Ok(Limits::AWS));
        assert_eq!("throughput, call-rates,changes".parse(), Ok(Limits::AWS));
        let one: Limits = "changes".parse().unwrap();
        assert!(one.changes && !one.throughput && !one.call_rates);
        for limits in [one, Limits::AWS] {
            assert_eq!(limits.to_string().parse(), Ok(limits));
        }
        assert_eq!(Limits::NONE.to_string(), "none");
        for text in ["", "aws,", "AWS", "quotas"] {
            assert!(text.parse::<Limits>().is_err(), "{text}");
        }
    }
}
