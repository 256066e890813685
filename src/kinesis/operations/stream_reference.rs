//! How an operation says which stream it means: by name, by ARN, or by both.

use crate::Stream;
use crate::kinesis::arn;
use crate::kinesis::dispatch::Call;
use crate::kinesis::error::ApiError;
use crate::kinesis::shape::{Member, Pattern, Shape, member};

/// The name of a stream or a shard.
pub(super) const NAME: Shape = Shape::STRING.pattern(Pattern::NAME).at_least(1).at_most(128);

pub(super) const STREAM_NAME: Member = member("StreamName", NAME);
pub(super) const STREAM_ARN: Member = member(
    "StreamARN",
    Shape::STRING
        .pattern(Pattern::STREAM_ARN)
        .at_least(1)
        .at_most(2048),
);
/// AWS reserves it. It is checked and ignored.
pub(super) const STREAM_ID: Member = member(
    "StreamId",
    Shape::STRING.pattern(Pattern::STREAM_ID).at_least(1).at_most(24),
);

impl Call<'_> {
    /// The name of the stream that the call is about.
    pub(super) fn stream_name(&self) -> Result<&str, ApiError> {
        named(self.input.string("StreamName"), self.input.string("StreamARN"))?
            .ok_or_else(|| ApiError::invalid_argument("Either StreamName or StreamARN should be provided."))
    }

    /// The stream that the call is about, in whatever state.
    pub(super) fn stream(&self) -> Result<Stream, ApiError> {
        let name = self.stream_name()?;
        self.context
            .service
            .store
            .stream(name)
            .map_err(|error| self.context.refusal(error))
    }
}

/// The stream that a name and an ARN mean together, both of them well-formed.
pub(super) fn named<'a>(name: Option<&'a str>, arn: Option<&'a str>) -> Result<Option<&'a str>, ApiError> {
    match (name, arn.and_then(arn::stream_name)) {
        (Some(name), Some(in_arn)) if name != in_arn => Err(ApiError::invalid_argument(format!(
            "StreamName {name} and StreamARN {} are not of the same stream.",
            arn.unwrap_or_default()
        ))),
        (name, in_arn) => Ok(name.or(in_arn)),
    }
}
