//! The parameters behind the question mark of a request.

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
    /// The parameters of a request that accepts these names.
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

    /// The value of a parameter, parsed.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.get(name).map(|text| parsed(name, text)).transpose()
    }
}

/// Parses the text of a parameter.
pub(super) fn parsed<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("{name}: {error}")))
}

/// Decodes the form that browsers send: a plus is a space.
fn text(raw: &str) -> String {
    match raw.contains('+') {
        true => query::decoded(&raw.replace('+', " ")).into_owned(),
        false => query::decoded(raw).into_owned(),
    }
}
