//! Inputs of every operation, made from the server's declarations: valid ones, and ones with members that are wrong,
//! missing or of another type, and with bytes that are overwritten.
//!
//! ```text
//! byte 0   the operation
//! byte 1   the encoding: JSON if it is even, CBOR if it is odd
//! then     for each member what it is, see `input`; an input that is over stands for a valid request
//! ```

mod encoding;
mod input;
mod served;

use super::api::{byte_of, operation_of, operations};
use super::event_stream;
use super::program::Program;
use encoding::{Encoding, encode};
use input::made_input;
use served::{Reply, Served};

/// The refusals of valid requests on a server on which no resource has a policy.
const REFUSED: [(&str, &str); 1] = [("DeleteResourcePolicy", "ResourceNotFoundException")];

pub fn run(input: &[u8]) {
    let mut program = Program(input);
    let operation = operation_of(program.byte());
    let encoding = match program.byte() % 2 {
        0 => Encoding::Json,
        _ => Encoding::Cbor,
    };
    // For a valid request it is over.
    let is_valid = program.is_over();
    let reply = Served::with(|served| {
        let members = made_input(operation, &mut program, &served.known);
        let mut body = encode(&members, encoding);
        program.overwrite(&mut body);
        served.call(&operation.name, encoding.content_type(), &body)
    });
    check(&operation.name, &operation.declared, &reply);
    if is_valid {
        check_valid(&operation.name, &reply);
    }
}

/// Checks that an answer is a success, or an exception that the operation declares. Failures of the server are errors.
fn check(operation: &str, declared: &serde_json::Value, reply: &Reply) {
    /// Exceptions that any operation may give.
    const COMMON: [&str; 4] = [
        "ValidationException",
        "SerializationException",
        "AccessDeniedException",
        "KMSNotFoundException",
    ];
    match reply.status {
        200 if reply.is_event_stream() => event_stream::check(&reply.body),
        200 => {}
        400 => {
            let exception = reply.exception();
            let errors = declared["errors"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            assert!(
                COMMON.contains(&exception) || errors.iter().any(|error| error == exception),
                "{operation} has no {exception}"
            );
        }
        status => panic!(
            "{operation} is answered {status}: {}",
            String::from_utf8_lossy(&reply.body)
        ),
    }
}

fn check_valid(operation: &str, reply: &Reply) {
    let refused = REFUSED.iter().find(|(refused, _)| *refused == operation);
    let found = match reply.status {
        200 => None,
        _ => Some(reply.exception()),
    };
    assert_eq!(
        found,
        refused.map(|(_, exception)| *exception),
        "{operation}: {}",
        String::from_utf8_lossy(&reply.body)
    );
}

/// A valid request of every operation in both encodings, and some with more members.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for operation in operations() {
        let name = &operation.name;
        let byte = byte_of(name);
        seeds.push((format!("{name}-json"), vec![byte, 0]));
        seeds.push((format!("{name}-cbor"), vec![byte, 1]));
        let all_members: Vec<u8> = (0..96).map(|at| [1, 2, 8, 3][at % 4]).collect();
        seeds.push((format!("{name}-all"), [&[byte, 0][..], &all_members].concat()));
    }
    seeds
}
