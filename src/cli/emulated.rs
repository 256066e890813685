//! `--emulate`: the limits and delays of AWS.

use std::str::FromStr;
use std::time::Duration;

use anabranch::kinesis::Limits;

/// One thing that `--emulate` names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Emulated {
    pub(super) delays: bool,
    pub(super) limits: Limits,
}

impl FromStr for Emulated {
    type Err = String;

    fn from_str(text: &str) -> Result<Emulated, String> {
        if text == "delays" {
            return Ok(Emulated {
                delays: true,
                limits: Limits::NONE,
            });
        }
        let limits = text.parse::<Limits>();
        let limits = limits.map_err(|error| format!("{error}; or delays"))?;
        Ok(Emulated {
            delays: text == "aws",
            limits,
        })
    }
}

/// The emulated limits and delays, in words. `None` without any.
pub(super) fn in_words(transition_delay: Duration, limits: Limits) -> Option<String> {
    let delays = (!transition_delay.is_zero()).then(|| format!("delays of {transition_delay:?}"));
    let limits = (limits != Limits::NONE).then(|| limits.to_string());
    let emulated: Vec<_> = delays.into_iter().chain(limits).collect();
    (!emulated.is_empty()).then(|| emulated.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emulated_has_words() {
        assert_eq!(in_words(Duration::ZERO, Limits::NONE), None);
        let said = |delay, limits| in_words(Duration::from_millis(delay), limits).unwrap();
        assert_eq!(said(300, Limits::NONE), "delays of 300ms");
        assert_eq!(said(0, Limits::AWS), "throughput, call-rates, changes");
        let throughput = "throughput".parse::<Emulated>().unwrap().limits;
        assert_eq!(said(10_000, throughput), "delays of 10s, throughput");
        assert!("aws".parse::<Emulated>().unwrap().delays);
    }
}
