//! What an opener says of itself to those who ask who has the store, and what it has all of them know.
//!
//! Both are JSON with the number of their format. A later one may add members; one that means something else gets
//! another number, and is then only known as an opener that is there.

use serde_json::{Value, json};

const FORMAT: u64 = 1;

/// Where an opener takes calls that other servers pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CallAddress {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub(crate) url: String,
    /// In base64: the certificate that it shows there, and no other one may.
    pub(crate) certificate: Option<String>,
    /// By this it knows a call that was passed on to it, and to no opener before it.
    pub(crate) token: String,
}

/// How far an opener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It takes the store over, and cannot do anything yet.
    Opening,
    /// It has the store. The later of two openers has the higher term.
    Open { term: u64 },
    /// It finishes what it has begun, and will be gone.
    Leaving { term: u64 },
}

/// The answer of an opener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) stage: Stage,
    /// `None` if it takes no calls of others: it is a program with the library, or of another version.
    pub(crate) address: Option<CallAddress>,
}

/// What changes, and is told to all servers at once. Nothing depends on it: who misses it asks, and learns the same a
/// little later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// An opener has the store from now on.
    Opened { term: u64 },
    /// An opener begins no further calls.
    Leaving { term: u64 },
    /// An opener has closed the store.
    Gone { term: u64 },
}

impl Answer {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (stage, term) = match self.stage {
            Stage::Opening => ("opening", None),
            Stage::Open { term } => ("open", Some(term)),
            Stage::Leaving { term } => ("leaving", Some(term)),
        };
        let mut answer = json!({ "format": FORMAT, "stage": stage, "term": term });
        if let Some(address) = &self.address {
            answer["url"] = address.url.as_str().into();
            answer["certificate"] = address.certificate.as_deref().into();
            answer["token"] = address.token.as_str().into();
        }
        answer.to_string().into_bytes()
    }

    /// What is of another format is an opener that has the store, and of which no more is known.
    pub(super) fn from_bytes(bytes: &[u8]) -> Answer {
        Answer::read(bytes).unwrap_or(Answer {
            stage: Stage::Open { term: u64::MAX },
            address: None,
        })
    }

    fn read(bytes: &[u8]) -> Option<Answer> {
        let answer = of_this_format(bytes)?;
        let term = answer["term"].as_u64();
        let stage = match answer["stage"].as_str()? {
            "opening" => Stage::Opening,
            "open" => Stage::Open { term: term? },
            "leaving" => Stage::Leaving { term: term? },
            _ => return None,
        };
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        let address = text("url").zip(text("token")).map(|(url, token)| CallAddress {
            url,
            certificate: text("certificate"),
            token,
        });
        Some(Answer { stage, address })
    }
}

impl News {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (event, term) = match self {
            News::Opened { term } => ("opened", term),
            News::Leaving { term } => ("leaving", term),
            News::Gone { term } => ("gone", term),
        };
        json!({ "format": FORMAT, "event": event, "term": term })
            .to_string()
            .into_bytes()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<News> {
        let news = of_this_format(bytes)?;
        let term = news["term"].as_u64()?;
        match news["event"].as_str()? {
            "opened" => Some(News::Opened { term }),
            "leaving" => Some(News::Leaving { term }),
            "gone" => Some(News::Gone { term }),
            _ => None,
        }
    }
}

fn of_this_format(bytes: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    (value["format"].as_u64() == Some(FORMAT)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_what_its_opener_said() {
        let address = CallAddress {
            url: "https://a:4567".to_owned(),
            certificate: Some("AAEC".to_owned()),
            token: "7f".to_owned(),
        };
        let plain = CallAddress {
            certificate: None,
            ..address.clone()
        };
        for stage in [
            Stage::Opening,
            Stage::Open { term: 7 },
            Stage::Leaving { term: u64::MAX },
        ] {
            for address in [None, Some(plain.clone()), Some(address.clone())] {
                let answer = Answer {
                    stage: stage.clone(),
                    address,
                };
                assert_eq!(Answer::from_bytes(&answer.to_bytes()), answer);
            }
        }
        for news in [
            News::Opened { term: 7 },
            News::Leaving { term: 8 },
            News::Gone { term: 9 },
        ] {
            assert_eq!(News::from_bytes(&news.to_bytes()), Some(news));
        }
    }

    /// An earlier version answered `here`.
    #[test]
    fn what_is_not_understood_is_an_opener_that_takes_no_calls() {
        for bytes in [
            &b"here"[..],
            b"",
            b"{}",
            br#"{"format":2,"stage":"open","term":1,"url":"http://a:1","token":"t"}"#,
            br#"{"format":1,"stage":"asleep","term":1}"#,
            br#"{"format":1,"stage":"open"}"#,
        ] {
            let answer = Answer::from_bytes(bytes);
            assert_eq!(answer.address, None);
            assert!(matches!(answer.stage, Stage::Open { .. }));
            assert_eq!(News::from_bytes(bytes), None);
        }
    }
}
