//! The operations of the API, as the server declares them.

use std::sync::OnceLock;

use anabranch::kinesis::declared_api;
use serde_json::{Map, Value};

/// An operation with its declaration.
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) declared: Value,
}

/// All of them, in the order of their names.
pub(crate) fn operations() -> &'static [Operation] {
    static OPERATIONS: OnceLock<Vec<Operation>> = OnceLock::new();
    OPERATIONS.get_or_init(|| {
        let declared: Map<String, Value> = serde_json::from_str(&declared_api()).expect("it is JSON");
        let operations = declared.into_iter();
        let mut operations: Vec<_> = operations
            .map(|(name, declared)| Operation { name, declared })
            .collect();
        operations.sort_by(|one, other| one.name.cmp(&other.name));
        operations
    })
}

/// The operation that a byte stands for.
pub(crate) fn operation_of(byte: u8) -> &'static Operation {
    let operations = operations();
    &operations[usize::from(byte) % operations.len()]
}

/// The byte that stands for an operation.
pub(crate) fn byte_of(name: &str) -> u8 {
    let found = operations().iter().position(|operation| operation.name == name);
    let found = found.unwrap_or_else(|| panic!("there is no operation {name}"));
    u8::try_from(found).expect("there are fewer than 256")
}
