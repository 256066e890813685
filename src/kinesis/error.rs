//! The answer to a failed request, and the cause, which only the log gets.

use std::borrow::Cow;

use super::protocol::{Protocol, Writer};

/// A failed request: a status, the bare name of an exception, and a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) message: Option<Cow<'static, str>>,
    /// The internal cause. It may name files of the server, so it is logged and never sent.
    pub(super) cause: Option<String>,
}

/// The exceptions that the API model lists for operations.
pub(super) mod exception {
    pub(in crate::kinesis) const ACCESS_DENIED: &str = "AccessDeniedException";
    pub(in crate::kinesis) const DRY_RUN: &str = "DryRunOperationException";
    pub(in crate::kinesis) const EXPIRED_ITERATOR: &str = "ExpiredIteratorException";
    pub(in crate::kinesis) const EXPIRED_NEXT_TOKEN: &str = "ExpiredNextTokenException";
    pub(in crate::kinesis) const INTERNAL_FAILURE: &str = "InternalFailureException";
    pub(in crate::kinesis) const INVALID_ARGUMENT: &str = "InvalidArgumentException";
    pub(in crate::kinesis) const KMS_ACCESS_DENIED: &str = "KMSAccessDeniedException";
    pub(in crate::kinesis) const KMS_DISABLED: &str = "KMSDisabledException";
    pub(in crate::kinesis) const KMS_INVALID_STATE: &str = "KMSInvalidStateException";
    pub(in crate::kinesis) const KMS_NOT_FOUND: &str = "KMSNotFoundException";
    pub(in crate::kinesis) const KMS_OPT_IN_REQUIRED: &str = "KMSOptInRequired";
    pub(in crate::kinesis) const KMS_THROTTLING: &str = "KMSThrottlingException";
    pub(in crate::kinesis) const LIMIT_EXCEEDED: &str = "LimitExceededException";
    pub(in crate::kinesis) const RESOURCE_IN_USE: &str = "ResourceInUseException";
    pub(in crate::kinesis) const RESOURCE_NOT_FOUND: &str = "ResourceNotFoundException";
    pub(in crate::kinesis) const THROTTLING: &str = "ThrottlingException";
    pub(in crate::kinesis) const THROUGHPUT_EXCEEDED: &str = "ProvisionedThroughputExceededException";
    pub(in crate::kinesis) const VALIDATION: &str = "ValidationException";
}

/// AWS spells the message of SerializationException alone with a capital.
const SERIALIZATION: &str = "SerializationException";

impl ApiError {
    pub(super) fn new(status: u16, kind: &'static str, message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError {
            status,
            kind,
            message: Some(message.into()),
            cause: None,
        }
    }

    fn client(kind: &'static str, message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::new(400, kind, message)
    }

    /// An exception without a message.
    pub(super) fn bare(status: u16, kind: &'static str) -> ApiError {
        ApiError {
            status,
            kind,
            message: None,
            cause: None,
        }
    }

    pub(super) fn kms_not_found(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::KMS_NOT_FOUND, message)
    }

    /// The body does not have its encoding, or is not an object.
    pub(super) fn not_parsable() -> ApiError {
        ApiError::bare(400, SERIALIZATION)
    }

    /// A member has a wrong type.
    pub(super) fn serialization(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(SERIALIZATION, message)
    }

    pub(super) fn unknown_operation() -> ApiError {
        ApiError::bare(400, "UnknownOperationException")
    }

    pub(super) fn validation(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::VALIDATION, message)
    }

    pub(super) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::INVALID_ARGUMENT, message)
    }

    pub(super) fn access_denied(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::ACCESS_DENIED, message)
    }

    pub(super) fn not_found(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::RESOURCE_NOT_FOUND, message)
    }

    pub(super) fn in_use(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::RESOURCE_IN_USE, message)
    }

    pub(super) fn limit_exceeded(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::LIMIT_EXCEEDED, message)
    }

    pub(super) fn throttled(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::THROTTLING, message)
    }

    pub(super) fn throughput_exceeded(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::THROUGHPUT_EXCEEDED, message)
    }

    pub(super) fn expired_iterator(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::EXPIRED_ITERATOR, message)
    }

    pub(super) fn expired_next_token(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::client(exception::EXPIRED_NEXT_TOKEN, message)
    }

    pub(super) fn dry_run() -> ApiError {
        ApiError::client(
            exception::DRY_RUN,
            "The request would have succeeded, but the DryRun parameter is set.",
        )
    }

    /// A fault of the server. Every client repeats such a request.
    pub(super) fn internal(message: &'static str) -> ApiError {
        ApiError::new(500, exception::INTERNAL_FAILURE, message)
    }

    /// The same as a fault of the server, with the same message.
    pub(super) fn into_failure(self) -> ApiError {
        ApiError {
            status: 500,
            kind: exception::INTERNAL_FAILURE,
            ..self
        }
    }

    pub(super) fn caused_by(self, cause: impl Into<String>) -> ApiError {
        ApiError {
            cause: Some(cause.into()),
            ..self
        }
    }

    /// The server cannot take the request now, but may soon.
    pub(super) fn unavailable(message: impl Into<Cow<'static, str>>) -> ApiError {
        ApiError::new(503, "ServiceUnavailable", message)
    }

    pub(super) fn too_many_replies() -> ApiError {
        ApiError::unavailable("The server has too many replies that are not read.")
    }

    /// A text that is the same for all errors of one kind, for counting them.
    pub(super) fn reason(&self) -> &'static str {
        match self.message {
            Some(Cow::Borrowed(message)) => message,
            Some(Cow::Owned(_)) | None => self.kind,
        }
    }

    pub(super) fn is_serialization(&self) -> bool {
        self.kind == SERIALIZATION
    }

    pub(super) fn body(&self, protocol: Protocol) -> Vec<u8> {
        let mut writer = Writer::new(protocol);
        writer.structure(|error| {
            error.member("__type").string(self.kind);
            if let Some(message) = &self.message {
                error
                    .member(if self.kind == SERIALIZATION {
                        "Message"
                    } else {
                        "message"
                    })
                    .string(message);
            }
        });
        writer.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(error: &ApiError) -> String {
        String::from_utf8(error.body(Protocol::Json)).unwrap()
    }

    #[test]
    fn bodies_carry_the_bare_type_and_a_lower_case_message() {
        assert_eq!(
            json(&ApiError::not_found(
                "Stream a under account 000000000000 not found."
            )),
            r#"{"__type":"ResourceNotFoundException","message":"Stream a under account 000000000000 not found."}"#
        );
    }

    #[test]
    fn serialization_exceptions_have_a_capital_message_or_none() {
        assert_eq!(
            json(&ApiError::not_parsable()),
            r#"{"__type":"SerializationException"}"#
        );
        assert_eq!(
            json(&ApiError::serialization("Expected list or null")),
            r#"{"__type":"SerializationException","Message":"Expected list or null"}"#
        );
    }
}
