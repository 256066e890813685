//! Signatures and TLS with common clients.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::install::{Python, jdk_version, node_modules, source_directory};
use crate::{Bench, skipped};

const CREDENTIALS: &str = "\
[alice]
aws_access_key_id = AKIDALICE
aws_secret_access_key = secret/of+alice

[bob]
aws_access_key_id = AKIDBOB
aws_secret_access_key = secret/of+bob
aws_session_token = token+of/bob=
aws_account_id = 111122223333
";

/// A file with the keys, which only its owner may read.
pub fn credentials(bench: &Bench) -> String {
    let path = bench.write("credentials", CREDENTIALS);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("change a mode");
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// With a certificate of its own, which is kept in a directory on this machine also where the store is on a cluster.
pub fn with_tls(bench: Bench) -> Bench {
    let kept = bench.directory.path().join("data");
    let kept = kept.to_str().expect("a path in UTF-8").to_owned();
    bench.with(&["--tls-self-signed", "--tls-dir", &kept])
}

/// The certificate of the bench's server.
pub fn certificate(bench: &Bench) -> PathBuf {
    bench.directory.path().join("data/tls-certificate.pem")
}

#[test]
fn boto_signs_with_a_key_of_the_file_and_trusts_the_certificate() {
    let programs = Python::find().environment("requirements.txt");
    for with_tls in [false, true] {
        let bench = Bench::new(&[]);
        let credentials = credentials(&bench);
        let mut arguments = vec!["--credentials", &credentials];
        arguments.extend(with_tls.then_some("--tls-self-signed"));
        let server = bench.start_with(&arguments);
        let mut script = bench.command("python", &programs);
        script.arg(source_directory().join("access_boto.py"));
        if with_tls {
            script
                .arg(format!("https://{}", server.address()))
                .arg(certificate(&bench));
        } else {
            script.arg(server.url());
        }
        bench.run(script, &server);
        server.stop("TERM");
    }
}

#[test]
fn the_javascript_sdk_signs_over_http2_with_tls() {
    let modules = match node_modules() {
        Ok(modules) => modules,
        Err(reason) => return skipped(&format!("the AWS SDK for JavaScript: {reason}")),
    };
    let bench = Bench::new(&[]);
    let credentials = credentials(&bench);
    let server = bench.start_with(&["--credentials", &credentials, "--tls-self-signed"]);
    let mut script = bench.command("node", &modules);
    script
        .env("NODE_PATH", &modules)
        .env("NODE_EXTRA_CA_CERTS", certificate(&bench))
        .arg(source_directory().join("node/access.cjs"))
        .arg(format!("https://{}", server.address()));
    bench.run(script, &server);
    server.stop("TERM");
}

#[test]
fn the_package_kinesis_of_npm_streams_over_tls() {
    let modules = match node_modules() {
        Ok(modules) => modules,
        Err(reason) => return skipped(&format!("the package kinesis of npm: {reason}")),
    };
    let bench = Bench::new(&[]);
    let credentials = credentials(&bench);
    let server = bench.start_with(&["--credentials", &credentials, "--tls-self-signed"]);
    let mut script = bench.command("node", &modules);
    script
        .env("NODE_PATH", &modules)
        .arg(source_directory().join("node/kinesis.cjs"))
        .arg(server.address().port().to_string());
    bench.run(script, &server);
    server.stop("TERM");
}

#[test]
fn java_trusts_a_truststore_that_is_made_as_the_documentation_says() {
    const OLDEST: u32 = 11;
    if jdk_version().is_none_or(|version| version < OLDEST) {
        return skipped("Java: there is no JDK, or an older one than 11");
    }
    let bench = Bench::new(&[]);
    let server = bench.start_with(&["--tls-self-signed"]);
    let recipe = truststore_recipe(&bench);
    let mut script = bench.command("sh", Path::new("/usr/bin"));
    script
        .current_dir(bench.directory.path())
        .arg("-c")
        .arg(format!(
            "{recipe} && java -Djavax.net.ssl.trustStore=truststore.p12 -Djavax.net.ssl.trustStorePassword=changeit \
             \"$0\" \"$1\""
        ))
        .arg(source_directory().join("Truststore.java"))
        .arg(format!("https://{}", server.address()));
    bench.run(script, &server);
    server.stop("TERM");
}

/// The command of the documentation that makes `truststore.p12`, with the certificate of the bench's server in it.
pub fn truststore_recipe(bench: &Bench) -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(repository.join("docs/security.md")).expect("read the page");
    let recipe = page
        .lines()
        .find(|line| line.trim_start().starts_with("keytool "));
    let recipe = recipe.expect("the page has the recipe").trim();
    recipe.replace("DIR/", &format!("{}/data/", bench.directory.path().display()))
}
