//! The scope of a call: the streams of one account in one region.

use std::fmt;

use super::arn::{self, ACCOUNT_ID_BYTES, MOST_REGION_BYTES, is_account_id, is_region};

/// An account and a region. The same name in two of them is two streams.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Scope {
    account_id: [u8; ACCOUNT_ID_BYTES],
    region: [u8; MOST_REGION_BYTES],
    region_len: usize,
}

impl Scope {
    /// `None` if that is not an account id and the name of a region.
    pub(super) fn new(account_id: &str, region: &str) -> Option<Scope> {
        if !is_account_id(account_id) {
            return None;
        }
        let scope = Scope {
            account_id: account_id.as_bytes().try_into().ok()?,
            region: [0; MOST_REGION_BYTES],
            region_len: 0,
        };
        scope.in_region(region)
    }

    /// The same account in another region; `None` if that is not a region's name.
    pub(super) fn in_region(mut self, region: &str) -> Option<Scope> {
        if !is_region(region) {
            return None;
        }
        self.region_len = region.len();
        self.region
            .get_mut(..region.len())?
            .copy_from_slice(region.as_bytes());
        Some(self)
    }

    /// The same region of another account; `None` if that is not an account's id.
    pub(super) fn of_account(self, account_id: &str) -> Option<Scope> {
        Scope::new(account_id, self.region())
    }

    /// The scope of a resource by its ARN. If the ARN has no valid region, this one's is used: clients that derive the
    /// region from a host name sign for `localhost`, and ask their users for an ARN with it.
    pub(super) fn of_arn(self, arn: &str) -> Scope {
        let Some((region, account_id)) = arn::region_and_account(arn) else {
            return self;
        };
        let region = if is_region(region) { region } else { self.region() };
        Scope::new(account_id, region).unwrap_or(self)
    }

    pub(super) fn account_id(&self) -> &str {
        std::str::from_utf8(&self.account_id).unwrap_or_default()
    }

    pub(super) fn region(&self) -> &str {
        let region = self.region.get(..self.region_len).unwrap_or_default();
        std::str::from_utf8(region).unwrap_or_default()
    }

    /// The store's namespace for the streams of this account in this region.
    pub(super) fn namespace(&self) -> String {
        format!("{}/{}", self.account_id(), self.region())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.namespace())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_an_account_and_a_region() {
        let scope = Scope::new("123456789012", "eu-west-1").unwrap();
        assert_eq!(
            (scope.account_id(), scope.region()),
            ("123456789012", "eu-west-1")
        );
        assert_eq!(scope.namespace(), "123456789012/eu-west-1");
        assert_eq!(
            scope.in_region("us-gov-east-1").unwrap().namespace(),
            "123456789012/us-gov-east-1"
        );
        for (account_id, region) in [
            ("12345678901", "eu-west-1"),
            ("1234567890123", "eu-west-1"),
            ("12345678901x", "eu-west-1"),
            ("123456789012", "localhost"),
            ("123456789012", ""),
        ] {
            assert_eq!(Scope::new(account_id, region), None);
        }
        let longest = format!("eu-{}-1", "w".repeat(MOST_REGION_BYTES - 5));
        assert_eq!(scope.in_region(&longest).unwrap().region(), longest);
        assert_eq!(scope.in_region(&format!("{longest}1")), None);
    }

    #[test]
    fn an_arn_says_the_scope_of_what_it_names() {
        let scope = Scope::new("123456789012", "eu-west-1").unwrap();
        for (arn, namespace) in [
            (
                "arn:aws:kinesis:us-east-1:000000000000:stream/a",
                "000000000000/us-east-1",
            ),
            (
                "arn:aws-cn:kinesis:cn-north-1:000000000000:stream/a",
                "000000000000/cn-north-1",
            ),
            (
                "arn:aws:kinesis:us-east-1:000000000000:stream/a/consumer/b:1",
                "000000000000/us-east-1",
            ),
            (
                "arn:aws:kinesis:localhost:000000000000:stream/a",
                "000000000000/eu-west-1",
            ),
            ("arn:aws:kinesis::000000000000:stream/a", "000000000000/eu-west-1"),
            ("arn:aws:kinesis:us-east-1:x:stream/a", "123456789012/eu-west-1"),
            ("a", "123456789012/eu-west-1"),
        ] {
            assert_eq!(scope.of_arn(arn).namespace(), namespace, "{arn}");
        }
    }
}
