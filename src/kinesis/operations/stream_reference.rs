//! Finding the stream of a call: by name, by ARN, or by both.

use super::shapes;
use crate::Stream;
use crate::kinesis::arn;
use crate::kinesis::error::ApiError;
use crate::kinesis::key::{Key, Text, optional};
use crate::kinesis::operation::{Call, Resource};

pub(super) const STREAM_NAME: Key<Option<Text>> = optional("StreamName", shapes::NAME);
pub(super) const STREAM_ARN: Key<Option<Text>> = optional("StreamARN", shapes::STREAM_ARN);
/// Reserved by AWS. It is checked and ignored.
pub(super) const STREAM_ID: Key<Option<Text>> = optional("StreamId", shapes::STREAM_ID);

impl Call<'_> {
    /// The name of the call's stream.
    pub(super) fn stream_name(&self) -> Result<&str, ApiError> {
        debug_assert_eq!(self.operation.resource, Resource::Stream);
        named(self.get(STREAM_NAME), self.get(STREAM_ARN))?
            .ok_or_else(|| ApiError::invalid_argument("Either StreamName or StreamARN should be provided."))
    }

    /// The call's stream, in any state.
    pub(super) fn stream(&self) -> Result<Stream, ApiError> {
        let name = self.stream_name()?;
        self.context
            .stream(name)
            .map_err(|error| self.context.refusal(error))
    }
}

/// The stream of a name and an ARN, both well-formed.
pub(super) fn named<'a>(name: Option<&'a str>, arn: Option<&'a str>) -> Result<Option<&'a str>, ApiError> {
    match (name, arn.and_then(arn::stream_name)) {
        (Some(name), Some(in_arn)) if name != in_arn => Err(ApiError::invalid_argument(format!(
            "StreamName {name} and StreamARN {} are not of the same stream.",
            arn.unwrap_or_default()
        ))),
        (name, in_arn) => Ok(name.or(in_arn)),
    }
}
