//! Faults for tests: calls that are throttled, fail, are slow, or lose their answer.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::error::{ApiError, exception};

/// A fault of some calls, for testing how a client reacts: `OPERATION:KIND:AMOUNT`.
///
/// - OPERATION is the name of an operation, or `*` for all of them.
/// - KIND is `throttle`, `fail`, `error=NAME`, `slow=TIME` or `lose`. A call that is throttled or fails has no effect.
///   NAME is an exception that the operation has in the API, for example `KMSThrottlingException` of PutRecord; the
///   fault does not apply to operations without it. With `lose` the call has its effect, and then its connection ends,
///   or in HTTP/2 its stream. PutRecords is throttled record by record.
/// - AMOUNT is a share of the calls, `25%` or `0.5%`, or a number of calls from the first on: `3`.
///
/// ```
/// use anabranch::kinesis::Fault;
///
/// let fault: Fault = "PutRecords:throttle:25%".parse()?;
/// assert_eq!(fault.to_string(), "PutRecords:throttle:25%");
/// assert!("PutRecords:throttle".parse::<Fault>().is_err());
/// # Ok::<(), anabranch::kinesis::FaultError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `None` for all.
    operation: Option<String>,
    kind: Kind,
    amount: Amount,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Throttle,
    Fail,
    /// The exception of this name.
    Error(String),
    Slow(Duration),
    Lose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Amount {
    /// In millionths.
    Share(u32),
    First(u64),
}

/// A text is not a fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{given:?} is no fault: {reason}; expected OPERATION:KIND:AMOUNT, as in PutRecords:throttle:25% or *:slow=200ms:3"
)]
pub struct FaultError {
    given: String,
    reason: &'static str,
}

const WHOLE: u32 = 1_000_000;

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Fault, FaultError> {
        let wrong = |reason| FaultError {
            given: text.to_owned(),
            reason,
        };
        let mut parts = text.split(':');
        let (Some(operation), Some(kind), Some(amount), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("it does not have three parts"));
        };
        let operation = match operation {
            "*" => None,
            "" => return Err(wrong("it names no operation")),
            name => Some(name.to_owned()),
        };
        let kind = match kind.split_once('=') {
            None if kind == "throttle" => Kind::Throttle,
            None if kind == "fail" => Kind::Fail,
            None if kind == "lose" => Kind::Lose,
            Some(("error", name)) if !name.is_empty() => Kind::Error(name.to_owned()),
            Some(("slow", time)) => {
                Kind::Slow(time_of(time).ok_or_else(|| wrong("the time is none, as in 200ms or 2s"))?)
            }
            _ => {
                return Err(wrong(
                    "the kind is not throttle, fail, error=NAME, slow=TIME or lose",
                ));
            }
        };
        let amount = Amount::of(amount)
            .ok_or_else(|| wrong("the amount is no share up to 100%, and no number of calls"))?;
        Ok(Fault {
            operation,
            kind,
            amount,
        })
    }
}

fn time_of(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let number: u32 = digits.parse().ok()?;
    match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number.into())),
        "s" => Some(Duration::from_secs(number.into())),
        _ => None,
    }
}

impl Amount {
    fn of(text: &str) -> Option<Amount> {
        let Some(percent) = text.strip_suffix('%') else {
            return text.parse().ok().map(Amount::First);
        };
        let percent: f64 = percent
            .parse()
            .ok()
            .filter(|percent| (0.0..=100.0).contains(percent))?;
        // It is within 0 and a million.
        Some(Amount::Share((percent * f64::from(WHOLE / 100)).round() as u32))
    }
}

impl Fault {
    /// The exception that it gives, if it names one.
    pub(super) fn exception(&self) -> Option<&str> {
        match &self.kind {
            Kind::Error(name) => Some(name),
            _ => None,
        }
    }

    /// Its operation, unless it applies to all.
    pub(super) fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.operation.as_deref().unwrap_or("*"))?;
        match &self.kind {
            Kind::Throttle => f.write_str("throttle")?,
            Kind::Fail => f.write_str("fail")?,
            Kind::Error(name) => write!(f, "error={name}")?,
            Kind::Slow(time) => write!(f, "slow={}ms", time.as_millis())?,
            Kind::Lose => f.write_str("lose")?,
        }
        match self.amount {
            Amount::Share(share) => write!(f, ":{}%", f64::from(share) / f64::from(WHOLE / 100)),
            Amount::First(calls) => write!(f, ":{calls}"),
        }
    }
}

/// The faults of a server. The seed and the order of the calls decide which calls they affect.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<Rule>,
    seed: u64,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    /// Its place among the rules.
    place: u64,
    /// How many calls, or records, it could have affected.
    calls: AtomicU64,
}

/// The effects of faults on a call.
#[derive(Debug, Default)]
pub(super) struct Injected {
    pub(super) delay: Duration,
    /// The answer that replaces the call.
    pub(super) refusal: Option<ApiError>,
    pub(super) loses_answer: bool,
}

impl Faults {
    pub(super) fn new(faults: &[Fault], seed: u64) -> Faults {
        let rules = faults.iter().zip(0..).map(|(fault, place)| Rule {
            fault: fault.clone(),
            place,
            calls: AtomicU64::new(0),
        });
        Faults {
            rules: rules.collect(),
            seed,
        }
    }

    /// The effects on the next call of an operation with this name and these exceptions.
    pub(super) fn inject(&self, operation: &str, exceptions: &[&'static str]) -> Injected {
        let mut injected = Injected::default();
        for rule in self.rules_of(operation) {
            let declared = rule
                .fault
                .exception()
                .map(|name| exceptions.iter().find(|known| **known == name));
            match &rule.fault.kind {
                Kind::Error(_) if declared.flatten().is_none() => {}
                // Record by record, in the operation itself.
                Kind::Throttle if operation == PUT_RECORDS => {}
                _ if !self.strikes(rule) => {}
                Kind::Throttle => injected.refusal = Some(throttled(exceptions)),
                Kind::Error(_) => injected.refusal = declared.flatten().map(|name| named(name)),
                Kind::Fail => {
                    injected.refusal = Some(ApiError::internal("The server was told to let this call fail."));
                }
                Kind::Slow(time) => injected.delay = injected.delay.saturating_add(*time),
                Kind::Lose => injected.loses_answer = true,
            }
        }
        injected
    }

    /// Whether the next record of a PutRecords is throttled.
    pub(super) fn throttles_record(&self) -> bool {
        let throttling = self
            .rules_of(PUT_RECORDS)
            .filter(|rule| rule.fault.kind == Kind::Throttle);
        // Each of them counts the record.
        let struck: usize = throttling.map(|rule| usize::from(self.strikes(rule))).sum();
        struck > 0
    }

    pub(super) fn throttle_records(&self) -> bool {
        self.rules_of(PUT_RECORDS)
            .any(|rule| rule.fault.kind == Kind::Throttle)
    }

    fn rules_of(&self, operation: &str) -> impl Iterator<Item = &Rule> {
        let rules = self.rules.iter();
        rules.filter(move |rule| {
            rule.fault
                .operation
                .as_deref()
                .is_none_or(|name| name == operation)
        })
    }

    fn strikes(&self, rule: &Rule) -> bool {
        let call = rule.calls.fetch_add(1, Ordering::Relaxed);
        match rule.fault.amount {
            Amount::First(calls) => call < calls,
            Amount::Share(share) => {
                // A new generator for each call, so that calls of other operations change nothing; and one for each
                // rule, so that two rules are independent.
                let of_rule = mixed(self.seed) ^ rule.place;
                let mut random = fastrand::Rng::with_seed(mixed(of_rule) ^ call);
                random.u32(..WHOLE) < share
            }
        }
    }
}

/// Spreads numbers that are near each other.
fn mixed(number: u64) -> u64 {
    fastrand::Rng::with_seed(number).u64(..)
}

const PUT_RECORDS: &str = "PutRecords";

fn named(exception: &'static str) -> ApiError {
    match exception {
        exception::INTERNAL_FAILURE => ApiError::internal("The server was told to let this call fail."),
        other => ApiError::new(400, other, "The server was told to answer this call so."),
    }
}

/// AWS' answer to too many calls, among these exceptions.
fn throttled(exceptions: &[&'static str]) -> ApiError {
    const MESSAGE: &str = "Rate exceeded: the server was told to throttle this call.";
    let kinds = [
        exception::THROUGHPUT_EXCEEDED,
        exception::THROTTLING,
        exception::LIMIT_EXCEEDED,
    ];
    let declared = kinds.into_iter().find(|kind| exceptions.contains(kind));
    ApiError::new(400, declared.unwrap_or(exception::LIMIT_EXCEEDED), MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(texts: &[&str], seed: u64) -> Faults {
        let faults: Vec<Fault> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Faults::new(&faults, seed)
    }

    fn struck(faults: &Faults, name: &str, calls: usize) -> Vec<usize> {
        let is_struck = |_: &usize| faults.inject(name, &[]).refusal.is_some();
        (0..calls).filter(is_struck).collect()
    }

    #[test]
    fn faults_are_written_as_they_are_shown() {
        for text in [
            "PutRecords:throttle:25%",
            "*:fail:3",
            "GetRecords:slow=200ms:0.5%",
            "PutRecord:lose:100%",
            "PutRecord:error=KMSThrottlingException:2",
        ] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
        assert_eq!(
            "*:slow=2s:1".parse::<Fault>().unwrap().to_string(),
            "*:slow=2000ms:1"
        );
        for text in [
            "",
            "PutRecord",
            "PutRecord:fail",
            "PutRecord:fail:1:2",
            ":fail:1",
            "PutRecord:slow:1",
            "PutRecord:slow=1:1",
            "PutRecord:slow=-1s:1",
            "PutRecord:fail:101%",
            "PutRecord:fail:-1",
            "PutRecord:fail:NaN%",
            "PutRecord:fail:x",
            "PutRecord:break:1",
        ] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_calls_are_struck_and_no_more() {
        let faults = faults(&["PutRecord:fail:2"], 0);
        assert!(struck(&faults, "GetRecords", 5).is_empty());
        assert_eq!(struck(&faults, "PutRecord", 5), [0, 1]);
    }

    #[test]
    fn a_share_of_the_calls_is_struck_the_same_with_the_same_seed() {
        let first = struck(&faults(&["*:throttle:25%"], 7), "PutRecord", 4000);
        assert!((900..1100).contains(&first.len()), "{}", first.len());
        assert_eq!(struck(&faults(&["*:throttle:25%"], 7), "PutRecord", 4000), first);
        assert_ne!(struck(&faults(&["*:throttle:25%"], 8), "PutRecord", 4000), first);
        assert_eq!(struck(&faults(&["*:fail:100%"], 7), "PutRecord", 3), [0, 1, 2]);
        assert!(struck(&faults(&["*:fail:0%"], 7), "PutRecord", 100).is_empty());
    }

    #[test]
    fn put_records_is_throttled_by_the_record() {
        let faults = faults(&["PutRecords:throttle:3"], 0);
        assert!(struck(&faults, "PutRecords", 2).is_empty());
        assert!(faults.throttle_records());
        assert_eq!((0..9).filter(|_| faults.throttles_record()).count(), 3);
    }

    #[test]
    fn two_shares_strike_independently() {
        for seed in 0..4 {
            let faults = faults(&["PutRecord:fail:30%", "PutRecord:lose:20%"], seed);
            let mut counts = [0; 4];
            for _ in 0..10_000 {
                let injected = faults.inject("PutRecord", &[]);
                counts[usize::from(injected.refusal.is_some()) + 2 * usize::from(injected.loses_answer)] += 1;
            }
            // None, one, the other, both.
            for (count, share) in counts.into_iter().zip([56, 24, 14, 6]) {
                assert!((share * 80..share * 120).contains(&count), "{counts:?}");
            }
        }
    }
}
