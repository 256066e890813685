//! What a request says behind the question mark.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use hyper::Uri;

use super::answer::Problem;
use crate::http::query;

/// The parameters of a request, each once.
#[derive(Debug)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Those of a request that knows these names.
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Parameters, Problem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in query::pairs(uri.query().unwrap_or_default()) {
            let (name, value) = (text(name), text(value));
            if !known.contains(&name.as_str()) {
                return Err(Problem::bad_request(format!("{name:?} is no parameter of this")));
            }
            if parameters.insert(name.clone(), value).is_some() {
                return Err(Problem::bad_request(format!("{name} is there twice")));
            }
        }
        Ok(Parameters(parameters))
    }

    /// The value of a parameter, unless it is missing or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// The same, also if it is empty.
    pub(super) fn get_or_empty(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a parameter as what it stands for.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.get(name).map(|text| parsed(name, text)).transpose()
    }
}

/// What a text of a parameter stands for.
pub(super) fn parsed<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("{name}: {error}")))
}

/// As forms send it: a plus is a blank.
fn text(raw: &str) -> String {
    match raw.contains('+') {
        true => query::decoded(&raw.replace('+', " ")).into_owned(),
        false => query::decoded(raw).into_owned(),
    }
}
