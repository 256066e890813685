//! The server's declarations, compared with botocore's model of the API.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::{Value, json};

use crate::install::Python;

/// Declarations that differ from the model, and why.
const DIFFERENCES: [(&str, &str, &str); 1] = [
    // The greatest count that AWS has ever allowed. A greater one would only fail later, for lack of room.
    ("CreateStream.input.ShardCount.max", "100000", "absent"),
];

#[test]
fn every_operation_is_declared_as_in_botocores_model() {
    let model = model();
    let mut in_model = BTreeMap::new();
    let operations = model["operations"].as_object().expect("operations");
    assert_eq!(operations.len(), 57);
    for (name, operation) in operations {
        for direction in ["input", "output"] {
            let members = match operation.get(direction) {
                Some(reference) => expanded(&model["shapes"], reference),
                None => json!({ "type": "structure", "members": {} }),
            };
            flatten(&format!("{name}.{direction}"), &members, &mut in_model);
        }
        let errors = operation["errors"].as_array().expect("errors").iter();
        let errors = errors.map(|error| error["shape"].clone()).collect();
        in_model.insert(format!("{name}.errors"), sorted(&errors));
        let context = &operation["staticContextParams"];
        in_model.insert(format!("{name}.class"), text(&context["OperationType"]["value"]));
    }

    let declared: Value = serde_json::from_str(&anabranch::kinesis::declared_api()).expect("it is JSON");
    let mut in_table = BTreeMap::new();
    for (name, operation) in declared.as_object().expect("operations") {
        for direction in ["input", "output"] {
            flatten(
                &format!("{name}.{direction}"),
                &operation[direction],
                &mut in_table,
            );
        }
        in_table.insert(format!("{name}.errors"), sorted(&operation["errors"]));
        in_table.insert(format!("{name}.class"), text(&operation["class"]));
    }

    let paths: BTreeSet<&String> = in_model.keys().chain(in_table.keys()).collect();
    let at = |facts: &BTreeMap<String, String>, path: &str| {
        facts.get(path).map_or("absent".to_owned(), Clone::clone)
    };
    let differences: Vec<_> = paths
        .into_iter()
        .map(|path| (path.as_str(), at(&in_table, path), at(&in_model, path)))
        .filter(|(_, declared, modelled)| declared != modelled)
        .collect();
    let expected =
        DIFFERENCES.map(|(path, declared, modelled)| (path, declared.to_owned(), modelled.to_owned()));
    assert_eq!(differences, expected, "path, in the server's table, in the model");
    assert!(in_model.len() > 2000, "{} facts are compared", in_model.len());
}

#[test]
fn the_resource_of_an_operation_is_the_one_that_the_model_names() {
    let model = model();
    let declared: Value = serde_json::from_str(&anabranch::kinesis::declared_api()).expect("it is JSON");
    for (name, operation) in model["operations"].as_object().expect("operations") {
        let input = expanded(&model["shapes"], &operation["input"]);
        let has = |member: &str| input["members"].get(member).is_some();
        let resource = declared[name]["resource"].as_str().expect("a resource");
        let named = match resource {
            "any" => has("ResourceARN"),
            "queue" => has("QueueARN") || name == "CreateQueue" || name == "ListQueues",
            "channel" => has("ChannelARN") || name == "CreateChannel" || name == "ListChannels",
            "consumer" => has("ConsumerARN") || name.contains("Consumer"),
            "stream" => has("StreamName") || has("StreamARN") || name == "ListStreams",
            _ => [
                "StreamName",
                "StreamARN",
                "ConsumerARN",
                "QueueARN",
                "ChannelARN",
                "ResourceARN",
            ]
            .iter()
            .all(|member| !has(member)),
        };
        assert!(named, "{name} is about a {resource}");
    }
}

/// The file that botocore comes with.
fn model() -> Value {
    const SCRIPT: &str = "import json; from botocore.loaders import Loader; \
                          print(json.dumps(Loader().load_service_model('kinesis', 'service-2')))";
    let programs = Python::find().environment("requirements.txt");
    let output = Command::new(programs.join("python"))
        .args(["-c", SCRIPT])
        .output()
        .expect("run Python");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("the model is JSON")
}

/// A shape with the shapes it names in their places.
fn expanded(shapes: &Value, reference: &Value) -> Value {
    let mut shape = shapes[reference["shape"].as_str().expect("the name of a shape")].clone();
    if shape.get("eventstream").is_some() {
        shape["type"] = json!("events");
    }
    for inner in ["member", "key", "value"] {
        if let Some(reference) = shape.get(inner) {
            shape[inner] = expanded(shapes, &reference.clone());
        }
    }
    if let Some(members) = shape.get_mut("members").and_then(Value::as_object_mut) {
        for (_, member) in members {
            *member = expanded(shapes, member);
        }
    }
    shape
}

/// Adds the facts of a shape, one a line.
fn flatten(path: &str, shape: &Value, facts: &mut BTreeMap<String, String>) {
    let kind = shape["type"].as_str().expect("a type");
    facts.insert(format!("{path}.type"), kind.to_owned());
    let is_number = matches!(kind, "integer" | "long");
    for bound in ["min", "max"] {
        match shape.get(bound) {
            // No length is less.
            Some(least) if bound == "min" && !is_number && least == 0 => {}
            Some(value) => drop(facts.insert(format!("{path}.{bound}"), value.to_string())),
            None => {}
        }
    }
    if let Some(pattern) = shape.get("pattern").and_then(Value::as_str) {
        // The whole text is matched anyway, and messages repeat the pattern without these.
        let inner = pattern
            .strip_prefix("^(")
            .and_then(|rest| rest.strip_suffix(")$"));
        facts.insert(format!("{path}.pattern"), inner.unwrap_or(pattern).to_owned());
    }
    if let Some(values) = shape.get("enum") {
        facts.insert(format!("{path}.enum"), sorted(values));
    }
    for name in shape
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        facts.insert(format!("{path}.{}.required", text(name)), "true".to_owned());
    }
    for inner in ["member", "key", "value"] {
        if let Some(shape) = shape.get(inner) {
            flatten(&format!("{path}.{inner}"), shape, facts);
        }
    }
    for (name, member) in shape
        .get("members")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        flatten(&format!("{path}.{name}"), member, facts);
    }
}

fn sorted(texts: &Value) -> String {
    let mut texts: Vec<String> = texts.as_array().expect("a list").iter().map(text).collect();
    texts.sort_unstable();
    texts.join(" ")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
