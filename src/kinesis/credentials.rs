//! The keys that requests may be signed with, from a file of AWS credentials.
//!
//! ```text
//! [alice]
//! aws_access_key_id     = AKIDEXAMPLE
//! aws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY
//! aws_session_token     = ...            only if her requests have to carry one
//! aws_account_id        = 111122223333   the server's own account unless it is given
//! ```
//!
//! A profile without a key is left out, since the file may be one that clients use too.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;

use super::arn::is_account_id;
use crate::disk::{PrivateFileError, read_private};

/// The keys that requests may be signed with, and their owners.
///
/// Clones share the keys: after a [replacement](Credentials::replace), a running server uses the new keys.
///
/// ```
/// use anabranch::kinesis::{Credentials, ServerOptions};
///
/// let file = "[alice]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI\n";
/// let options = ServerOptions::new("127.0.0.1:0").credentials(Credentials::parse(file)?);
/// # Ok::<(), anabranch::kinesis::CredentialsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Credentials {
    /// By their ids.
    keys: Arc<RwLock<HashMap<String, Arc<Key>>>>,
}

/// The keys of credentials, for a server with its own account.
#[derive(Debug)]
pub(super) struct Keys {
    credentials: Credentials,
    own_account_id: String,
}

/// A profile with a key: verifies a request that is signed with it, and identifies its sender.
pub(super) struct Key {
    user: String,
    id: String,
    pub(super) secret: String,
    pub(super) session_token: Option<String>,
    account_id: Option<String>,
}

/// The owner of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The name of the profile.
    pub(super) user: String,
    pub(super) account_id: String,
}

/// Why there are no credentials to serve with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// A line is neither a profile's name in brackets, nor a name and a value, nor a comment.
    #[error("line {line}: expected [profile], name = value, or a comment that begins with #")]
    Line {
        /// The number of the line, from 1.
        line: usize,
    },
    /// There is a value before the first profile.
    #[error("line {line}: a value before the first [profile]")]
    OutsideOfProfile {
        /// The number of the line, from 1.
        line: usize,
    },
    /// Two profiles have the same name.
    #[error("line {line}: there are two profiles [{profile}]; rename one of them, or put them together")]
    ProfileTwice {
        /// The number of the line, from 1.
        line: usize,
        /// The name of both.
        profile: String,
    },
    /// A profile has a value twice.
    #[error("line {line}: profile [{profile}] has {name} twice")]
    ValueTwice {
        /// The number of the line, from 1.
        line: usize,
        /// The name of the profile.
        profile: String,
        /// The name of the value.
        name: &'static str,
    },
    /// A profile has a part of a key only.
    #[error("profile [{profile}] lacks {name}")]
    Incomplete {
        /// The name of the profile.
        profile: String,
        /// The part that is missing or empty.
        name: &'static str,
    },
    /// The account id is not twelve digits.
    #[error(
        "profile [{profile}] has the account id {account_id:?}; expected twelve digits, as in 000000000000"
    )]
    AccountId {
        /// The name of the profile.
        profile: String,
        /// The value that was given.
        account_id: String,
    },
    /// Two profiles have the same access key id, so the signer would be ambiguous.
    #[error(
        "profiles [{first}] and [{second}] have the same aws_access_key_id; every profile needs one of its own"
    )]
    KeyTwice {
        /// The name of the first profile.
        first: String,
        /// The name of the second one.
        second: String,
    },
    /// There is no key, so no request could be signed.
    #[error(
        "there is no profile with aws_access_key_id and aws_secret_access_key, so no request could ever be signed"
    )]
    Empty,
}

const KEY_ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const SESSION_TOKEN: &str = "aws_session_token";
const ACCOUNT_ID: &str = "aws_account_id";

impl Credentials {
    /// Reads a credentials file. Other users must not be able to read it.
    ///
    /// # Errors
    /// If the file cannot be read, or other users can read it; otherwise as for [`parse`](Credentials::parse).
    pub fn read(path: &Path) -> Result<Credentials, CredentialsError> {
        Credentials::parse(&read_private(path)?)
    }

    /// Reads the text of a credentials file.
    ///
    /// # Errors
    /// If the text has another form, has no key, or has one twice.
    pub fn parse(text: &str) -> Result<Credentials, CredentialsError> {
        let mut keys: HashMap<String, Arc<Key>> = HashMap::new();
        for profile in profiles(text)? {
            let Some(key) = profile.key()? else {
                continue;
            };
            if let Some(other) = keys.get(&key.id) {
                return Err(CredentialsError::KeyTwice {
                    first: other.user.clone(),
                    second: key.user,
                });
            }
            keys.insert(key.id.clone(), Arc::new(key));
        }
        match keys.is_empty() {
            true => Err(CredentialsError::Empty),
            false => Ok(Credentials {
                keys: Arc::new(RwLock::new(keys)),
            }),
        }
    }

    /// How many keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Has the keys of others from now on, and no other. A request that has been verified goes on.
    ///
    /// ```
    /// use anabranch::kinesis::Credentials;
    ///
    /// let key = "[alice]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI\n";
    /// let credentials = Credentials::parse(key)?;
    /// let of_the_server = credentials.clone();
    /// let another = "[bob]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = je7MtGbClwBF\n";
    /// credentials.replace(&Credentials::parse(&[key, another].concat())?);
    /// assert_eq!(of_the_server.key_count(), 2);
    /// # Ok::<(), anabranch::kinesis::CredentialsError>(())
    /// ```
    pub fn replace(&self, others: &Credentials) {
        let others = others.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = others;
    }

    fn key(&self, id: &str) -> Option<Arc<Key>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.get(id).cloned()
    }
}

impl Keys {
    /// The keys of a server with this account.
    pub(super) fn new(credentials: &Credentials, own_account_id: &str) -> Keys {
        Keys {
            credentials: credentials.clone(),
            own_account_id: own_account_id.to_owned(),
        }
    }

    /// The key of this id at present.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Key>> {
        self.credentials.key(id)
    }

    /// The owner of this key.
    pub(super) fn identity(&self, key: &Key) -> Identity {
        let account_id = key.account_id.as_ref().unwrap_or(&self.own_account_id);
        Identity {
            user: key.user.clone(),
            account_id: account_id.clone(),
        }
    }
}

impl Identity {
    /// The ARN by which policies name it.
    pub(super) fn arn(&self) -> String {
        format!("arn:aws:iam::{}:user/{}", self.account_id, self.user)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets must not get into a log.
        formatter
            .debug_struct("Key")
            .field("user", &self.user)
            .field("account_id", &self.account_id)
            .finish_non_exhaustive()
    }
}

/// The values of one section.
#[derive(Default)]
struct Profile<'a> {
    name: &'a str,
    key_id: Option<&'a str>,
    secret: Option<&'a str>,
    session_token: Option<&'a str>,
    account_id: Option<&'a str>,
}

impl<'a> Profile<'a> {
    /// Where the value of this name is kept, if it is a known one.
    fn value(&mut self, name: &str) -> Option<(&'static str, &mut Option<&'a str>)> {
        let known = |known: &'static str| name.eq_ignore_ascii_case(known).then_some(known);
        if let Some(name) = known(KEY_ID) {
            Some((name, &mut self.key_id))
        } else if let Some(name) = known(SECRET) {
            Some((name, &mut self.secret))
        } else if let Some(name) = known(SESSION_TOKEN) {
            Some((name, &mut self.session_token))
        } else {
            known(ACCOUNT_ID).map(|name| (name, &mut self.account_id))
        }
    }

    /// Its key. `None` if it has neither of a key's two parts.
    fn key(&self) -> Result<Option<Key>, CredentialsError> {
        let lacks = |name| CredentialsError::Incomplete {
            profile: self.name.to_owned(),
            name,
        };
        if self.key_id.is_none() && self.secret.is_none() {
            return Ok(None);
        }
        let part = |value: Option<&'a str>, name| value.filter(|value| !value.is_empty()).ok_or(lacks(name));
        let (key_id, secret) = (part(self.key_id, KEY_ID)?, part(self.secret, SECRET)?);
        if self.session_token == Some("") {
            return Err(lacks(SESSION_TOKEN));
        }
        if let Some(account_id) = self.account_id.filter(|id| !is_account_id(id)) {
            return Err(CredentialsError::AccountId {
                profile: self.name.to_owned(),
                account_id: account_id.to_owned(),
            });
        }
        Ok(Some(Key {
            user: self.name.to_owned(),
            id: key_id.to_owned(),
            secret: secret.to_owned(),
            session_token: self.session_token.map(str::to_owned),
            account_id: self.account_id.map(str::to_owned),
        }))
    }
}

/// The sections of the file, without values that concern only clients.
fn profiles(text: &str) -> Result<Vec<Profile<'_>>, CredentialsError> {
    let mut profiles: Vec<Profile<'_>> = Vec::new();
    let mut names = HashSet::new();
    // Indented lines below a name without a value, such as `s3 =`, are values of that name.
    let mut is_nested = false;
    for (number, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = number + 1;
        let content = raw.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = content.strip_prefix('[') {
            let name = section
                .split_once(']')
                .ok_or(CredentialsError::Line { line })?
                .0
                .trim();
            if !names.insert(name) {
                return Err(CredentialsError::ProfileTwice {
                    line,
                    profile: name.to_owned(),
                });
            }
            profiles.push(Profile {
                name,
                ..Profile::default()
            });
            is_nested = false;
            continue;
        }
        if is_nested && raw.starts_with([' ', '\t']) {
            continue;
        }
        let (name, value) = content.split_once('=').ok_or(CredentialsError::Line { line })?;
        let (name, value) = (name.trim(), value.trim());
        let profile = profiles
            .last_mut()
            .ok_or(CredentialsError::OutsideOfProfile { line })?;
        let of_profile = profile.name;
        is_nested = value.is_empty();
        if let Some((name, kept)) = profile.value(name)
            && kept.replace(value).is_some()
        {
            return Err(CredentialsError::ValueTwice {
                line,
                profile: of_profile.to_owned(),
                name,
            });
        }
    }
    Ok(profiles)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> String {
        Credentials::parse(text).expect_err("a refusal").to_string()
    }

    #[test]
    fn profiles_with_keys_are_taken_and_all_else_of_a_clients_file_is_left_out() {
        let text = "\u{feff}# of the team\r\n\
            [default]\r\n\
            aws_access_key_id = AKID1\r\n\
            aws_secret_access_key=a+b/c==\r\n\
            region = eu-west-1\r\n\
            s3 =\r\n\
            \x20   max_concurrent_requests = 20\r\n\
            \x20   aws_access_key_id = nested\r\n\
            output = json\r\n\
            ; another account's\r\n\
            [ other ] # with a remark\r\n\
            \x20 AWS_ACCESS_KEY_ID = AKID2\r\n\
            \x20 aws_secret_access_key = s # e\r\n\
            \x20 aws_session_token = t=1\r\n\
            \x20 aws_account_id = 111122223333\r\n\
            [without-a-key]\r\n\
            role_arn = arn:aws:iam::1:role/a\r\n";
        let credentials = Credentials::parse(text).unwrap();
        assert_eq!(credentials.key_count(), 2);
        let keys = Keys::new(&credentials, "000000000000");
        let key = keys.get("AKID1").unwrap();
        assert_eq!((key.secret.as_str(), &key.session_token), ("a+b/c==", &None));
        assert_eq!(
            keys.identity(&key).arn(),
            "arn:aws:iam::000000000000:user/default"
        );
        let key = keys.get("AKID2").unwrap();
        assert_eq!(
            (key.secret.as_str(), key.session_token.as_deref()),
            ("s # e", Some("t=1"))
        );
        assert_eq!(keys.identity(&key).arn(), "arn:aws:iam::111122223333:user/other");
        assert!(keys.get("nested").is_none() && keys.get("").is_none());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let id = "aws_access_key_id = AKID\n";
        let secret = "aws_secret_access_key = s\n";
        for (text, message) in [
            (
                "".to_owned(),
                "there is no profile with aws_access_key_id and aws_secret_access_key, so no request could ever be signed",
            ),
            (
                "[a]\nx\n".to_owned(),
                "line 2: expected [profile], name = value, or a comment that begins with #",
            ),
            (
                "[a\n".to_owned(),
                "line 1: expected [profile], name = value, or a comment that begins with #",
            ),
            (id.to_owned(), "line 1: a value before the first [profile]"),
            (
                "[a]\n[b]\n[a]\n".to_owned(),
                "line 3: there are two profiles [a]; rename one of them, or put them together",
            ),
            (
                format!("[a]\n{id}{id}"),
                "line 3: profile [a] has aws_access_key_id twice",
            ),
            (format!("[a]\n{id}"), "profile [a] lacks aws_secret_access_key"),
            (format!("[a]\n{secret}"), "profile [a] lacks aws_access_key_id"),
            (
                format!("[a]\n{id}aws_secret_access_key =\n"),
                "profile [a] lacks aws_secret_access_key",
            ),
            (
                format!("[a]\n{id}{secret}aws_session_token =\n"),
                "profile [a] lacks aws_session_token",
            ),
            (
                format!("[a]\n{id}{secret}aws_account_id = 12\n"),
                "profile [a] has the account id \"12\"; expected twelve digits, as in 000000000000",
            ),
            (
                format!("[a]\n{id}{secret}[b]\n{id}{secret}"),
                "profiles [a] and [b] have the same aws_access_key_id; every profile needs one of its own",
            ),
        ] {
            assert_eq!(refusal(&text), message, "{text}");
        }
    }

    #[test]
    fn keys_that_are_replaced_are_those_of_a_server_too() {
        let of = |name: &str| {
            let text = format!("[{name}]\naws_access_key_id = {name}\naws_secret_access_key = s");
            Credentials::parse(&text).unwrap()
        };
        let credentials = of("a");
        let keys = Keys::new(&credentials, "000000000000");
        let before = keys.get("a").unwrap();
        credentials.replace(&of("b"));
        assert!(keys.get("a").is_none());
        assert_eq!(
            keys.identity(&keys.get("b").unwrap()).arn(),
            "arn:aws:iam::000000000000:user/b"
        );
        // Of a request that was verified before.
        assert_eq!(keys.identity(&before).user, "a");
        credentials.replace(&credentials.clone());
        assert_eq!(credentials.key_count(), 1);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let text = "[a]\naws_access_key_id = i\naws_secret_access_key = hidden\naws_session_token = hidden";
        let credentials = Credentials::parse(text).unwrap();
        let shown = format!("{credentials:?} {:?}", Keys::new(&credentials, "000000000000"));
        assert!(!shown.contains("hidden"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("[a]".to_owned()),
                    Just("aws_access_key_id = 1".to_owned()),
                    Just(" aws_secret_access_key = 2".to_owned()),
                    Just("aws_session_token =".to_owned()),
                    Just("s3 =".to_owned()),
                    ".*",
                ],
                0..12,
            )
        ) {
            if let Ok(credentials) = Credentials::parse(&lines.join("\n")) {
                prop_assert!(credentials.key_count() > 0);
            }
        }
    }
}
