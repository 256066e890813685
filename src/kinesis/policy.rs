//! Decides by the policy of a resource: documents in the language of AWS IAM.
//!
//! `Effect`, `Principal`, `Action` and `Resource` of a statement count, and their forms with `Not`. A `Condition` is
//! not evaluated: a statement that has one always denies, and never allows.

use serde_json::Value;

/// The question to a policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) account_id: &'a str,
    /// `arn:aws:iam::123456789012:user/alice`
    pub(super) principal_arn: &'a str,
    /// `kinesis:PutRecord`
    pub(super) action: &'a str,
    pub(super) resource_arn: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// A statement allows it, and none denies it.
    Allowed,
    /// A statement denies it.
    Denied,
    /// No statement applies to it.
    Silent,
}

/// The decision of a policy. A statement that cannot be understood allows nothing, and denies everything if its effect
/// is to deny.
pub(super) fn decide(policy: &Value, question: &Question<'_>) -> Decision {
    let mut decision = Decision::Silent;
    for statement in items(policy.get("Statement")) {
        let has_condition = statement.get("Condition").is_some();
        match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") if !has_condition && is_about(statement, question) == Some(true) => {
                decision = Decision::Allowed;
            }
            Some("Deny") if is_about(statement, question) != Some(false) => return Decision::Denied,
            _ => {}
        }
    }
    decision
}

/// The index of the first statement that neither allows nor denies. It would have no effect, which its author did not
/// intend.
pub(super) fn first_without_effect(policy: &Value) -> Option<usize> {
    let mut statements = items(policy.get("Statement")).iter();
    statements.position(|statement| {
        let effect = statement.get("Effect").and_then(Value::as_str);
        !matches!(effect, Some("Allow" | "Deny"))
    })
}

/// Whether a statement applies to the question. `None` if that is not known.
fn is_about(statement: &Value, question: &Question<'_>) -> Option<bool> {
    let principal = either(statement, "Principal", "NotPrincipal", |value| {
        names_principal(value, question)
    })??;
    let action = either(statement, "Action", "NotAction", |value| {
        any_fits(value, |pattern| {
            fits(
                &pattern.to_ascii_lowercase(),
                &question.action.to_ascii_lowercase(),
            )
        })
    })??;
    // A policy applies to its resource, even if it does not name it.
    let resource = either(statement, "Resource", "NotResource", |value| {
        any_fits(value, |pattern| fits(pattern, question.resource_arn))
    })
    .unwrap_or(Some(true))?;
    Some(principal && action && resource)
}

/// The result for a member, or the opposite of the result for its opposite. `None` if neither is there.
fn either(
    statement: &Value,
    member: &str,
    opposite: &str,
    says: impl Fn(&Value) -> Option<bool>,
) -> Option<Option<bool>> {
    match (statement.get(member), statement.get(opposite)) {
        (Some(value), None) => Some(says(value)),
        (None, Some(value)) => Some(says(value).map(|said| !said)),
        (Some(_), Some(_)) => Some(None),
        (None, None) => None,
    }
}

/// `"*"`, or `{"AWS": …}` with accounts, users, or lists of them. Principals of other kinds do not exist here.
fn names_principal(value: &Value, question: &Question<'_>) -> Option<bool> {
    match value {
        Value::String(text) => (text == "*").then_some(true),
        Value::Object(kinds) => match kinds.get("AWS") {
            Some(named) => names_one_of(named, question),
            None => Some(false),
        },
        _ => None,
    }
}

/// `None` if none of the texts names the principal, and one of them is not understood: that one might.
fn names_one_of(named: &Value, question: &Question<'_>) -> Option<bool> {
    let mut is_clear = true;
    for name in items(Some(named)) {
        match name.as_str().and_then(|name| is_principal(name, question)) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => is_clear = false,
        }
    }
    is_clear.then_some(false)
}

/// `None` for a text that names no account, user or role that is known here: a pattern, or a misspelling.
fn is_principal(name: &str, question: &Question<'_>) -> Option<bool> {
    let is_account_id = |text: &str| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if name == "*" || name == question.principal_arn {
        return Some(true);
    }
    if is_account_id(name) {
        return Some(name == question.account_id);
    }
    let mut parts = name.splitn(6, ':');
    let mut part = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, resource) =
        (part(), part(), part(), part(), part(), part());
    let is_arn = arn == "arn" && partition.starts_with("aws") && region.is_empty() && is_account_id(account);
    if !is_arn || name.contains(['*', '?', '$']) {
        return None;
    }
    match (service, resource.split('/').next()) {
        // Partitions are separate: our number in another partition is another account.
        ("iam", Some("root")) if resource == "root" => {
            Some(account == question.account_id && partition == "aws")
        }
        ("iam", Some("user" | "role")) | ("sts", Some("assumed-role" | "federated-user")) => Some(false),
        _ => None,
    }
}

/// Whether one of the texts fits. `None` if there is a value that is not a text, or a variable, which is not replaced
/// here.
fn any_fits(value: &Value, fits: impl Fn(&str) -> bool) -> Option<bool> {
    let texts: Option<Vec<&str>> = items(Some(value)).iter().map(Value::as_str).collect();
    let texts = texts.filter(|texts| !texts.iter().any(|text| text.contains("${")))?;
    Some(texts.into_iter().any(fits))
}

/// The items of a list; another value is the only item.
fn items(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::Array(items)) => items,
        Some(value) => std::slice::from_ref(value),
        None => &[],
    }
}

/// Whether a text fits a pattern, in which `*` stands for any characters and `?` for one.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut of_text) = (0, 0);
    // The place to go on from if the text after the last star does not fit here: the star then stands for one byte
    // more.
    let mut retry = None;
    while of_text < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, of_text));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[of_text] => {
                at += 1;
                of_text += 1;
            }
            _ => match retry {
                Some((after_star, tried)) => {
                    (at, of_text) = (after_star, tried + 1);
                    retry = Some((after_star, tried + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    // Values are written where they are passed.
    #![allow(clippy::needless_pass_by_value)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ASKED: Question<'_> = Question {
        account_id: "111122223333",
        principal_arn: "arn:aws:iam::111122223333:user/alice",
        action: "kinesis:PutRecord",
        resource_arn: "arn:aws:kinesis:eu-west-1:000000000000:stream/clicks",
    };

    fn decision(statements: Value) -> Decision {
        decide(
            &json!({ "Version": "2012-10-17", "Statement": statements }),
            &ASKED,
        )
    }

    fn statement(effect: &str, principal: Value, action: Value, resource: Value) -> Value {
        json!({ "Effect": effect, "Principal": principal, "Action": action, "Resource": resource })
    }

    fn allowed(principal: Value, action: Value, resource: Value) -> bool {
        let decisions = ["Allow", "Deny"].map(|effect| {
            decision(statement(
                effect,
                principal.clone(),
                action.clone(),
                resource.clone(),
            ))
        });
        assert!(
            matches!(
                decisions,
                [Decision::Allowed, Decision::Denied] | [Decision::Silent, Decision::Silent]
            ),
            "{decisions:?}"
        );
        decisions[0] == Decision::Allowed
    }

    #[test]
    fn a_variable_allows_nothing_and_is_denied() {
        for (effect, decided) in [("Allow", Decision::Silent), ("Deny", Decision::Denied)] {
            let resource = json!(["arn:aws:kinesis:*:*:stream/${aws:username}", "*"]);
            assert_eq!(
                decision(statement(effect, json!("*"), json!("kinesis:*"), resource)),
                decided
            );
        }
    }

    #[test]
    fn a_statement_without_an_effect_is_found() {
        let allow = statement("Allow", json!("*"), json!("*"), json!("*"));
        let found = |statements| first_without_effect(&json!({ "Statement": statements }));
        assert_eq!(first_without_effect(&json!({})), None);
        assert_eq!(found(json!([allow])), None);
        assert_eq!(found(allow.clone()), None);
        for wrong in [
            json!({}),
            json!("Allow"),
            statement("allow", json!("*"), json!("*"), json!("*")),
        ] {
            assert_eq!(found(json!([allow, wrong])), Some(1));
        }
    }

    #[test]
    fn a_statement_names_accounts_and_users() {
        let named = |principal| allowed(principal, json!("kinesis:PutRecord"), json!("*"));
        for principal in [
            json!("*"),
            json!({ "AWS": "*" }),
            json!({ "AWS": "111122223333" }),
            json!({ "AWS": "arn:aws:iam::111122223333:root" }),
            json!({ "AWS": "arn:aws:iam::111122223333:user/alice" }),
            json!({ "AWS": ["000000000000", "111122223333"] }),
        ] {
            assert!(named(principal.clone()), "{principal}");
        }
        for principal in [
            json!({ "AWS": "000000000000" }),
            json!({ "AWS": "arn:aws:iam::111122223333:user/bob" }),
            json!({ "AWS": "arn:aws:iam::111122223333:role/alice" }),
            json!({ "AWS": "arn:aws-cn:iam::000000000000:root" }),
            json!({ "AWS": [] }),
            json!({ "Service": "firehose.amazonaws.com" }),
        ] {
            assert!(!named(principal.clone()), "{principal}");
        }
    }

    /// A principal that is not understood may be the caller: it allows nothing, and is denied.
    #[test]
    fn a_principal_that_is_not_understood_allows_nothing_and_is_denied() {
        for principal in [
            "arn:aws:iam::111122223333:user/*",
            "arn:aws:iam::1*:root",
            "arn:aws:iam::111122223333:group/all",
            "alice",
            "",
        ] {
            for (effect, decided) in [("Allow", Decision::Silent), ("Deny", Decision::Denied)] {
                let principal = json!({ "AWS": [principal, "000000000000"] });
                let statement = statement(effect, principal.clone(), json!("*"), json!("*"));
                assert_eq!(decision(statement), decided, "{effect} {principal}");
            }
        }
    }

    #[test]
    fn a_statement_names_actions_and_resources_with_wildcards() {
        let anyone = || json!("*");
        for action in [
            "*",
            "kinesis:*",
            "kinesis:Put*",
            "KINESIS:putrecord",
            "kinesis:?utRecor?",
        ] {
            assert!(allowed(anyone(), json!(action), json!("*")), "{action}");
        }
        for action in [
            "",
            "PutRecord",
            "kinesis:PutRecords",
            "kinesis:Put",
            "kinesis:Get*",
            "dynamodb:*",
        ] {
            assert!(!allowed(anyone(), json!(action), json!("*")), "{action}");
        }
        assert!(allowed(
            anyone(),
            json!(["kinesis:Get*", "kinesis:Put*"]),
            json!("*")
        ));
        for resource in [
            "arn:aws:kinesis:*:*:stream/c*s",
            "*:stream/clicks",
            ASKED.resource_arn,
        ] {
            assert!(
                allowed(anyone(), json!("*"), json!(["x", resource])),
                "{resource}"
            );
        }
        for resource in ["arn:aws:kinesis:*:*:stream/Clicks", "*:stream/click", "clicks"] {
            assert!(!allowed(anyone(), json!("*"), json!(resource)), "{resource}");
        }
    }

    #[test]
    fn the_opposites_are_understood_and_a_resource_need_not_be_named() {
        let decision = |statement| decision(json!([statement]));
        let (all, put) = (json!("*"), json!("kinesis:PutRecord"));
        assert_eq!(
            decision(json!({ "Effect": "Allow", "Principal": all, "Action": put })),
            Decision::Allowed
        );
        assert_eq!(
            decision(json!({ "Effect": "Allow", "Principal": all, "NotAction": put })),
            Decision::Silent
        );
        assert_eq!(
            decision(json!({ "Effect": "Allow", "Principal": all, "NotAction": "kinesis:GetRecords" })),
            Decision::Allowed
        );
        assert_eq!(
            decision(json!({ "Effect": "Deny", "NotPrincipal": { "AWS": "000000000000" }, "Action": "*" })),
            Decision::Denied
        );
        assert_eq!(
            decision(json!({ "Effect": "Deny", "NotPrincipal": { "AWS": "111122223333" }, "Action": "*" })),
            Decision::Silent
        );
        assert_eq!(
            decision(
                json!({ "Effect": "Allow", "Principal": all, "Action": put, "NotResource": "*:stream/clicks" })
            ),
            Decision::Silent
        );
    }

    #[test]
    fn a_denial_wins_wherever_it_stands() {
        let all = || json!("*");
        let allow = statement("Allow", all(), all(), all());
        let deny = statement(
            "Deny",
            json!({ "AWS": "111122223333" }),
            json!("kinesis:Put*"),
            all(),
        );
        assert_eq!(decision(json!([allow, deny])), Decision::Denied);
        assert_eq!(decision(json!([deny, allow])), Decision::Denied);
        assert_eq!(decision(json!([])), Decision::Silent);
        assert_eq!(decide(&json!({}), &ASKED), Decision::Silent);
        assert_eq!(decide(&json!({ "Statement": allow }), &ASKED), Decision::Allowed);
    }

    #[test]
    fn what_is_not_understood_never_allows_and_denies_where_it_can() {
        for unclear in [
            json!({ "Principal": "*", "Action": "*", "Condition": { "Bool": { "aws:SecureTransport": "true" } } }),
            json!({ "Principal": "*" }),
            json!({ "Action": "*" }),
            json!({ "Principal": "*", "Action": 1 }),
            json!({ "Principal": 1, "Action": "*" }),
            json!({ "Principal": "*", "Action": "*", "Resource": [{}] }),
            json!({ "Principal": "*", "Action": "*", "NotAction": "*" }),
        ] {
            let with = |effect: &str| {
                let mut statement = unclear.clone();
                statement["Effect"] = json!(effect);
                decision(statement)
            };
            assert_eq!(with("Allow"), Decision::Silent, "{unclear}");
            assert_eq!(with("Deny"), Decision::Denied, "{unclear}");
            assert_eq!(with("Perhaps"), Decision::Silent, "{unclear}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_as_an_obvious_one_does(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn obviously(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern, text) {
                    ([], []) => true,
                    ([b'*', rest @ ..], _) => {
                        obviously(rest, text) || (!text.is_empty() && obviously(pattern, &text[1..]))
                    }
                    ([b'?', rest @ ..], [_, after @ ..]) => obviously(rest, after),
                    ([byte, rest @ ..], [first, after @ ..]) => byte == first && obviously(rest, after),
                    _ => false,
                }
            }
            prop_assert_eq!(fits(&pattern, &text), obviously(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
