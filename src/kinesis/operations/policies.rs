//! Policies of resources. None of these operations is offered yet.

use super::shapes;
use super::stream_reference::STREAM_ID;
use crate::kinesis::error::exception;
use crate::kinesis::key::{TEXT, members, required};
use crate::kinesis::operation::{Class, Operation, Resource};

pub(super) const PUT_RESOURCE_POLICY: Operation = Operation {
    name: "PutResourcePolicy",
    class: Class::Control,
    resource: Resource::Any,
    input: members![
        required("ResourceARN", shapes::RESOURCE_ARN),
        STREAM_ID,
        required("Policy", TEXT),
    ],
    output: members![],
    errors: &[
        exception::VALIDATION,
        exception::ACCESS_DENIED,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_IN_USE,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};

pub(super) const GET_RESOURCE_POLICY: Operation = Operation {
    name: "GetResourcePolicy",
    class: Class::Control,
    resource: Resource::Any,
    input: members![required("ResourceARN", shapes::RESOURCE_ARN), STREAM_ID,],
    output: members![required("Policy", TEXT),],
    errors: &[
        exception::VALIDATION,
        exception::ACCESS_DENIED,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_IN_USE,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};

pub(super) const DELETE_RESOURCE_POLICY: Operation = Operation {
    name: "DeleteResourcePolicy",
    class: Class::Control,
    resource: Resource::Any,
    input: members![required("ResourceARN", shapes::RESOURCE_ARN), STREAM_ID,],
    output: members![],
    errors: &[
        exception::VALIDATION,
        exception::ACCESS_DENIED,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_IN_USE,
        exception::INTERNAL_FAILURE,
    ],
    run: None,
};
