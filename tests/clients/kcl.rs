//! The Kinesis Client Library and the AWS SDK for Java, both from the wheel `kclpy-ext`, as in `docs/kcl.md`.

use std::fs;
use std::path::{Path, PathBuf};

use anabranch_harness::ports::free_address;

use crate::access::{certificate, credentials, truststore_recipe, with_tls};
use crate::install::{Python, jdk_version, source_directory};
use crate::pages::block;
use crate::{Bench, skipped};

#[test]
fn the_kcl_reads_each_record_in_order_over_resharding_and_failover() {
    failover(Bench::new(&[]));
}

pub(super) fn failover(bench: Bench) {
    let Some(programs) = programs() else { return };
    let bench = with_tls(bench);
    for name in ["dynamodb.py", "kcl.properties"] {
        bench.write(name, &recipe(name));
    }
    let server = bench.start();
    let mut script = bench.command("sh", &programs);
    script
        .env("AWS_CA_BUNDLE", certificate(&bench))
        .current_dir(bench.directory.path())
        .arg("-c")
        .arg(format!("{} && exec python \"$@\"", truststore_recipe(&bench)))
        .arg("sh")
        .arg(source_directory().join("kcl/failover.py"))
        .arg(format!("https://{}", server.address()))
        .arg(bench.directory.path());
    bench.run(script, &server);
    server.stop("TERM");
}

/// As the page has it, which is polling, and with `FANOUT` in its place. Both without TLS, where the KCL uses HTTP/2 by
/// prior knowledge. They run at the same time, since the workers mostly wait.
#[test]
fn the_recipe_for_the_kcl_works_as_it_is_written() {
    let Some(programs) = programs() else { return };
    assert_eq!(recipe("server"), "anabranch serve --create-stream clicks:4\n");
    let bench = Bench::new(&["--create-stream", "clicks:4"]);
    let server = bench.start();
    let dynamodb_port = free_address().port().to_string();
    let recipe = |name: &str| {
        recipe(name)
            .replace("127.0.0.1:4567", &server.address().to_string())
            .replace("8000", &dynamodb_port)
    };
    for name in [
        "dynamodb.py",
        "processor.py",
        "kcl.properties",
        "dynamodb",
        "worker",
        "records",
    ] {
        bench.write(name, &recipe(name));
    }
    let environment = programs.parent().expect("programs are in an environment");
    std::os::unix::fs::symlink(environment, bench.directory.path().join("kcl"))
        .expect("link the environment");
    let story = "
        touch clicks.txt pushed.txt
        sed s/clicks.txt/pushed.txt/ processor.py >pushed.py
        sed -e s/POLLING/FANOUT/ -e s/clicks-reader/clicks-pushed/ -e s/processor.py/pushed.py/ \
            kcl.properties >pushed.properties
        trap 'kill $(jobs -p)' EXIT
        # The last command of each takes the place of its shell, so that it can be killed.
        bash -c \"$(sed '$ s/^/exec /' dynamodb)\" &
        bash -c \"$(sed '$ s/^/exec /' worker)\" &
        bash -c \"$(sed '$ s/^/exec /; s/kcl.properties/pushed.properties/' worker)\" &
        bash -e records
        for _ in $(seq 1200); do
            sleep 0.1
            [ \"$(jobs -r | wc -l)\" = 3 ]
            [ \"$(sort -u clicks.txt | wc -l) $(sort -u pushed.txt | wc -l)\" != '20 20' ] || exit 0
        done
        exit 1";
    let mut script = bench.command("bash", &programs);
    script
        .current_dir(bench.directory.path())
        .args(["-e", "-c", story]);
    bench.run(script, &server);
    for name in ["clicks.txt", "pushed.txt"] {
        let clicks = fs::read_to_string(bench.directory.path().join(name)).expect("read what was processed");
        for number in 0..20 {
            let click = format!("user-{number} click {number}");
            assert!(
                clicks.lines().any(|line| line == click),
                "{click} is not in {name}:\n{clicks}"
            );
        }
    }
    server.stop("TERM");
}

#[test]
fn the_java_sdk_does_every_operation_and_ten_thousand_puts_on_a_connection() {
    operations_with_the_java_sdk(&Bench::new(&[]), 10_000);
}

pub(super) fn operations_with_the_java_sdk(bench: &Bench, puts: u32) {
    let Some(programs) = programs() else { return };
    // The log has each frame.
    let server = bench.start_with(&["--log", "info,h2=debug"]);
    let mut script = bench.command("java", &programs);
    script
        .args(java_sdk(&programs))
        .args([server.url(), puts.to_string()]);
    bench.run(script, &server);
    let log = server.log();
    let sent: Vec<_> = log.lines().filter(|line| line.contains("send frame=")).collect();
    let is_reply = |line: &&str| line.contains("Headers {");
    assert!(sent.iter().copied().filter(is_reply).count() > puts as usize);
    assert_eq!(sent.iter().find(|line| line.contains("Reset {")), None);
    // The answer to the end of the client's connection.
    let last_reply = sent.iter().rposition(is_reply);
    let first_farewell = sent.iter().position(|line| line.contains("GoAway {"));
    assert!(first_farewell.is_none_or(|farewell| Some(farewell) > last_reply));
    server.stop("TERM");
}

#[test]
fn the_java_sdk_does_every_operation_over_tls_with_signatures_that_are_verified() {
    let Some(programs) = programs() else { return };
    let bench = Bench::new(&["--tls-self-signed"]);
    let server = bench.start_with(&["--credentials", &credentials(&bench)]);
    let mut script = bench.command("sh", &programs);
    script
        .env("AWS_ACCESS_KEY_ID", "AKIDALICE")
        .env("AWS_SECRET_ACCESS_KEY", "secret/of+alice")
        .current_dir(bench.directory.path())
        .arg("-c")
        .arg(format!("{} && exec java \"$@\"", truststore_recipe(&bench)))
        .arg("sh")
        .arg("-Djavax.net.ssl.trustStore=truststore.p12")
        .arg("-Djavax.net.ssl.trustStorePassword=changeit")
        .args(java_sdk(&programs))
        .args([format!("https://{}", server.address()).as_str(), "1000"]);
    bench.run(script, &server);
    server.stop("TERM");
}

/// The programs of the environment with the KCL, unless no Java can run them.
pub(super) fn programs() -> Option<PathBuf> {
    const OLDEST: u32 = 17;
    if jdk_version().is_none_or(|version| version < OLDEST) {
        skipped("the KCL and the AWS SDK for Java: there is no JDK, or an older one than 17");
        return None;
    }
    Some(Python::find().environment("requirements-kcl.txt"))
}

/// The arguments of `java` for the program that uses the AWS SDK.
fn java_sdk(programs: &Path) -> Vec<String> {
    let jars = jars(programs);
    vec![
        // It runs for seconds, so a better compiler does not pay.
        "-XX:TieredStopAtLevel=1".into(),
        "-cp".into(),
        format!("{}/*", jars.display()),
        source_directory().join("Sdk.java").display().to_string(),
    ]
}

/// The directory of the AWS SDK's jars.
pub fn jars(programs: &Path) -> PathBuf {
    let libraries = programs.with_file_name("lib");
    let python = fs::read_dir(libraries).expect("list the environment's libraries");
    let python = python.flatten().next().expect("the environment has libraries");
    python.path().join("site-packages/amazon_kclpy/jars")
}

/// The block of code of this name in `docs/kcl.md`.
fn recipe(name: &str) -> String {
    block("kcl.md", name)
}
