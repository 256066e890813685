//! The names of the files of the pool.

/// The meaning of a name in the pool's directory, if a pool made it.
pub(super) enum PoolName {
    Ready { number: u64, bytes: u64 },
    Preparing { number: u64 },
}

impl PoolName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let parsed = match name.strip_suffix(".ready") {
            Some(rest) => {
                let (number, bytes) = rest.split_once('-')?;
                Self::Ready {
                    number: number.parse().ok()?,
                    bytes: bytes.parse().ok()?,
                }
            }
            None => Self::Preparing {
                number: name.strip_suffix(".preparing")?.parse().ok()?,
            },
        };
        // A pool writes the numbers in this form only.
        (name == parsed.name()).then_some(parsed)
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Ready { number, bytes } => format!("{number}-{bytes}.ready"),
            Self::Preparing { number } => format!("{number}.preparing"),
        }
    }
}
