//! Announces the server's address: on standard output, and in the file of `--url-file`.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anabranch::disk::FileVersion;
use tracing::warn;

use super::Failure;

/// The facts about a server that takes requests.
#[derive(Debug)]
pub(super) struct Announcement<'a> {
    pub(super) url: String,
    /// The address of health and metrics, if they are not beside the API.
    pub(super) admin_url: Option<String>,
    /// Whether the console is there too.
    pub(super) has_console: bool,
    pub(super) region: &'a str,
    /// The place of the streams, for people.
    pub(super) place: String,
    pub(super) is_read_only: bool,
    /// The server that has the store, if it is another one; empty if that is not ready yet.
    pub(super) passes_on_to: Option<&'a str>,
    /// The delays and limits of AWS that are emulated, for people.
    pub(super) emulated: Option<&'a str>,
    pub(super) needs_key: bool,
    /// The certificate that clients have to trust.
    pub(super) self_signed: Option<&'a Path>,
}

/// The reader of an [`Announcement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    People,
    /// A program that started the server, and reads one line: the URL.
    Program,
    /// A program that reads JSON.
    Machine,
}

impl Announcement<'_> {
    pub(super) fn write(&self, out: &mut impl Write, audience: Audience) -> io::Result<()> {
        match audience {
            Audience::People => self.write_greeting(out)?,
            Audience::Program => writeln!(out, "{}", self.url)?,
            Audience::Machine => {
                let mut object =
                    serde_json::json!({ "url": self.url, "region": self.region, "streams": self.place });
                if let Some(owner) = self.passes_on_to {
                    object["passes_on_to"] = owner.into();
                }
                if let Some(admin) = &self.admin_url {
                    object["admin_url"] = admin.as_str().into();
                }
                writeln!(out, "{object}")?;
            }
        }
        out.flush()
    }

    fn write_greeting(&self, out: &mut impl Write) -> io::Result<()> {
        let url = &self.url;
        writeln!(
            out,
            "anabranch {} serves Kinesis at {url}",
            env!("CARGO_PKG_VERSION")
        )?;
        let but = if self.is_read_only {
            ", and are only read"
        } else {
            ""
        };
        writeln!(out, "The streams are in {}{but}", self.place)?;
        match self.passes_on_to {
            Some("") => writeln!(
                out,
                "Another server takes them over, and calls are passed on to it"
            )?,
            Some(owner) => writeln!(out, "Calls are passed on to {owner}, which has them open")?,
            None => {}
        }
        if let Some(emulated) = self.emulated {
            writeln!(out, "It emulates AWS: {emulated}")?;
        }
        if let Some(admin) = &self.admin_url {
            let pages = match self.has_console {
                true => "The console, health and metrics",
                false => "Health and metrics",
            };
            writeln!(out, "{pages} are at {admin}")?;
        }
        writeln!(out)?;
        writeln!(out, "From Python:")?;
        writeln!(out, "    import boto3")?;
        // A client that needs a key of the file finds it where its user has put it.
        let key = match self.needs_key {
            true => "",
            false => ", aws_access_key_id=\"any\", aws_secret_access_key=\"any\"",
        };
        let trust = match self.self_signed {
            Some(certificate) => format!(", verify=\"{}\"", certificate.display()),
            None => String::new(),
        };
        writeln!(
            out,
            "    kinesis = boto3.client(\"kinesis\", endpoint_url=\"{url}\", region_name=\"{}\"{key}{trust})",
            self.region
        )?;
        writeln!(out)?;
        writeln!(out, "Stop with Ctrl-C.")
    }
}

/// The URL at which clients on this machine reach a server that listens on `address`.
pub(super) fn url(address: SocketAddr, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{}", reachable(address))
}

/// An address to connect to, even if the server listens on all of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A file that has the URL of the server as long as it takes new requests.
#[derive(Debug)]
pub(super) struct UrlFile {
    path: PathBuf,
    /// The version of the file that this server has written.
    written: Option<FileVersion>,
}

impl UrlFile {
    /// Refuses a path with anything but the URL of a server. Changes nothing.
    pub(super) fn at(path: &Path) -> Result<UrlFile, Failure> {
        match read_start(path) {
            Ok(text) if is_url_line(&text) => {}
            Ok(_) => {
                return Err(Failure::Usage(format!(
                    "--url-file {}: the file has something else than the URL of a server; name another",
                    path.display()
                )));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refused("read", path, &error)),
        }
        Ok(UrlFile {
            path: path.to_owned(),
            written: None,
        })
    }

    /// Removes the file of an earlier server, now that this one has the store. A program that waits for the file must
    /// not find a server that has ended.
    pub(super) fn remove_earlier(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(refused("remove", &self.path, &error)),
            _ => Ok(()),
        }
    }

    /// Writes the file as a whole: a program that finds it finds the complete URL.
    pub(super) fn write(&mut self, url: &str) -> Result<(), Failure> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}", fastrand::u64(..)));
        let aside = self.path.with_file_name(name);
        let written = (|| {
            // It must be a new file, and no link to another one.
            let mut file = fs::File::options().write(true).create_new(true).open(&aside)?;
            writeln!(file, "{url}")?;
            fs::rename(&aside, &self.path)?;
            Ok(FileVersion::of_file(&file))
        })();
        self.written = written.map_err(|error: io::Error| {
            let _ = fs::remove_file(&aside);
            refused("write", &self.path, &error)
        })?;
        Ok(())
    }

    /// Removes the file, unless another server has replaced it.
    pub(super) fn remove(&mut self) {
        let Some(written) = self.written.take() else {
            return;
        };
        if FileVersion::of(&self.path) == Some(written)
            && let Err(error) = fs::remove_file(&self.path)
        {
            warn!(%error, path = %self.path.display(), "the file of the URL stays");
        }
    }
}

impl Drop for UrlFile {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Longer than any URL.
const LONGEST_URL_LINE: u64 = 4096;

/// The beginning of the file. Only a short text can be a server's.
fn read_start(path: &Path) -> io::Result<String> {
    use io::Read;
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(LONGEST_URL_LINE)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A script may have made an empty file before.
fn is_url_line(text: &str) -> bool {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let is_url = line.starts_with("http://") || line.starts_with("https://");
    text.is_empty() || (is_url && !line.contains(char::is_whitespace))
}

fn refused(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("--url-file: cannot {doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcement() -> Announcement<'static> {
        Announcement {
            url: url("0.0.0.0:4567".parse().unwrap(), false),
            admin_url: None,
            has_console: true,
            region: "eu-west-1",
            place: "/data".to_owned(),
            is_read_only: false,
            passes_on_to: None,
            emulated: None,
            needs_key: false,
            self_signed: None,
        }
    }

    fn said(audience: Audience) -> String {
        let mut out = Vec::new();
        announcement().write(&mut out, audience).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_greeting_has_the_two_lines_that_a_boto3_user_types() {
        let text = said(Audience::People);
        assert!(text.contains("\n    import boto3\n"), "{text}");
        assert!(
            text.contains(
                "\n    kinesis = boto3.client(\"kinesis\", endpoint_url=\"http://127.0.0.1:4567\", \
                 region_name=\"eu-west-1\", aws_access_key_id=\"any\", aws_secret_access_key=\"any\")\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn the_greeting_says_which_pages_have_an_address_of_their_own() {
        let greeting = |has_console| {
            let mut out = Vec::new();
            let announcement = Announcement {
                admin_url: Some("http://127.0.0.1:9999".to_owned()),
                has_console,
                ..announcement()
            };
            announcement.write(&mut out, Audience::People).unwrap();
            String::from_utf8(out).unwrap()
        };
        let with = greeting(true);
        assert!(
            with.contains("\nThe console, health and metrics are at http://127.0.0.1:9999\n"),
            "{with}"
        );
        let without = greeting(false);
        assert!(
            without.contains("\nHealth and metrics are at http://127.0.0.1:9999\n"),
            "{without}"
        );
    }

    #[test]
    fn programs_read_one_line() {
        assert_eq!(said(Audience::Program), "http://127.0.0.1:4567\n");
        let json = said(Audience::Machine);
        assert_eq!(json.lines().count(), 1);
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object["url"], "http://127.0.0.1:4567");
        assert_eq!(object["streams"], "/data");
    }

    #[test]
    fn a_url_file_replaces_that_of_another_server_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("url");
        for before in [
            None,
            Some(""),
            Some("http://127.0.0.1:1\n"),
            Some("https://[::1]:2"),
        ] {
            if let Some(before) = before {
                fs::write(&path, before).unwrap();
            }
            let mut file = UrlFile::at(&path).unwrap();
            assert_eq!(path.exists(), before.is_some());
            file.remove_earlier().unwrap();
            assert!(!path.exists(), "{before:?}");
            file.write("http://127.0.0.1:3").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "http://127.0.0.1:3\n");
            drop(file);
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        }
        for other in ["precious", "http://a b", "http://a\nhttp://b\n"] {
            fs::write(&path, other).unwrap();
            assert!(UrlFile::at(&path).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), other);
        }
        assert!(UrlFile::at(directory.path()).is_err());
        let nowhere = directory.path().join("no/such");
        assert!(UrlFile::at(&nowhere).unwrap().write("http://a").is_err());
    }

    #[test]
    fn a_url_file_that_another_server_took_over_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("url");
        let mut first = UrlFile::at(&path).unwrap();
        first.write("http://127.0.0.1:3").unwrap();
        let mut second = UrlFile::at(&path).unwrap();
        // It may have the port of the first one.
        second.write("http://127.0.0.1:3").unwrap();
        drop(first);
        assert_eq!(fs::read_to_string(&path).unwrap(), "http://127.0.0.1:3\n");
    }
}
