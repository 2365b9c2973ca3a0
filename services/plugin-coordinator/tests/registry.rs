//! What is found out about images, with real registries on loopback and with hostile ones.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/push.rs"]
mod push;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use hostile::Hostile;
use plugin_coordinator::registry::fake::FakeRegistry;
use plugin_coordinator::registry::{OciRegistry, Registry, RegistryError, RegistrySettings};
use push::{Entry, PushedImage, push};
use serde_json::json;

fn image(labels: serde_json::Value) -> PushedImage {
    PushedImage {
        config: json!({"Labels": labels, "User": "1000:1000"}),
        with_shell: false,
        entries: vec![Entry::File("/plugin.json", b"{}".to_vec())],
    }
}

fn settings() -> RegistrySettings {
    RegistrySettings { timeout: Duration::from_secs(10), ..Default::default() }
}

async fn refused(registry: &OciRegistry, source: &str) -> RegistryError {
    match registry.resolve(source).await {
        Err(error) => error,
        Ok(found) => panic!("{source} was found: {found:?}"),
    }
}

/// A file of logins.
fn logins(folder: &tempfile::TempDir, host: &str, password: &str) -> std::path::PathBuf {
    let path = folder.path().join("config.json");
    let file = json!({"auths": {host: {"username": "user", "password": password}}});
    std::fs::write(&path, file.to_string()).expect("a file");
    path
}

#[tokio::test]
async fn an_image_is_found_out_about_without_a_layer() {
    let registry = testkit::Registry::open().await;
    let source = format!("{}/a/b:1.2", registry.address());
    let digest =
        push(&source, &image(json!({"org.bigskies.plugin.manifest": "{\"id\": \"x\"}"})), None).await;
    let resolver = OciRegistry::new(settings());
    let found = resolver.resolve(&source).await.expect("it is there");
    assert_eq!(found.digest, digest);
    assert_eq!(found.reference.to_string(), format!("{}/a/b@{digest}", registry.address()));
    assert_eq!(found.labels.get("org.bigskies.plugin.manifest").map(String::as_str), Some("{\"id\": \"x\"}"));
    assert_eq!((found.user.as_str(), found.layers), ("1000:1000", 1));
    assert!(found.total_bytes > 1000);
    let asked = registry.log();
    let blobs = asked.lines().filter(|line| line.starts_with("127.0.0.1 - -") && line.contains("/blobs/"));
    assert_eq!(
        blobs.filter(|line| line.contains("bigskies/")).count(),
        1,
        "only the configuration is read\n{asked}"
    );
    let again = resolver.resolve(&format!("{}/a/b@{digest}", registry.address())).await.expect("by digest");
    assert_eq!(again, found);
}

#[tokio::test]
async fn a_tag_that_moves_is_another_image() {
    let registry = testkit::Registry::open().await;
    let source = format!("{}/a:1", registry.address());
    let resolver = OciRegistry::new(settings());
    push(&source, &image(json!({"n": "1"})), None).await;
    let first = resolver.resolve(&source).await.expect("it is there");
    push(&source, &image(json!({"n": "2"})), None).await;
    let second = resolver.resolve(&source).await.expect("it is there");
    assert_ne!(first.digest, second.digest);
    assert_eq!(resolver.resolve(&first.reference.to_string()).await.expect("still there"), first);
}

#[tokio::test]
async fn an_image_that_is_not_there_is_told_by_its_name() {
    let registry = testkit::Registry::open().await;
    push(&format!("{}/a:1", registry.address()), &image(json!({})), None).await;
    let resolver = OciRegistry::new(settings());
    let digest = format!("sha256:{:064x}", 1);
    for rest in ["a:2", "b:1", "b", &format!("a@{digest}")] {
        let error = refused(&resolver, &format!("{}/{rest}", registry.address())).await;
        assert!(matches!(error, RegistryError::NotFound { .. }), "{rest}: {error:?}");
        assert!(error.to_string().contains(rest) && !error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn a_private_registry_wants_the_right_login() {
    let registry = testkit::Registry::with_login("user", "~~~???>>>").await;
    let source = format!("{}/a:1", registry.address());
    push(&source, &image(json!({"n": "1"})), Some(("user", "~~~???>>>"))).await;
    let error = refused(&OciRegistry::new(settings()), &source).await;
    assert!(
        matches!(&error, RegistryError::LoginRequired { host } if *host == registry.address()),
        "{error:?}"
    );

    let folder = tempfile::tempdir().expect("a folder");
    let path = logins(&folder, &registry.address(), "wrong-hunter2");
    let resolver = OciRegistry::new(RegistrySettings { logins: Some(path), ..settings() });
    let error = refused(&resolver, &source).await;
    assert!(matches!(error, RegistryError::LoginRefused { .. }), "{error:?}");
    assert!(!format!("{error} {error:?} {resolver:?}").contains("hunter2"), "a password is told");

    // The file is read again, by the same resolver.
    logins(&folder, &registry.address(), "~~~???>>>");
    resolver.resolve(&source).await.expect("the login opens it");
    let login = resolver.login_for(&registry.address()).await.expect("a file").expect("a login");
    assert_eq!((login.username.as_str(), login.password.as_str()), ("user", "~~~???>>>"));
    assert!(!format!("{login:?}").contains("~~~"), "a password is told");
    assert_eq!(resolver.login_for("elsewhere.example").await.expect("a file"), None);
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unreachable() {
    let port = testkit::free_port();
    let error = refused(&OciRegistry::new(settings()), &format!("127.0.0.1:{port}/a:1")).await;
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    assert!(error.is_retryable() && error.source().is_some());
    let error = refused(&OciRegistry::new(settings()), "registry.invalid/a:1").await;
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_name_leads_elsewhere_for_us_and_stays_for_the_engine() {
    let registry = testkit::Registry::open().await;
    let digest = push(&format!("{}/a:1", registry.address()), &image(json!({})), None).await;
    let aliases = BTreeMap::from([("127.0.0.9:5000".to_owned(), registry.address())]);
    let resolver = OciRegistry::new(RegistrySettings { aliases, ..settings() });
    let found = resolver.resolve("127.0.0.9:5000/a:1").await.expect("it is there");
    assert_eq!(found.reference.to_string(), format!("127.0.0.9:5000/a@{digest}"));
}

#[tokio::test]
async fn only_loopback_and_listed_registries_are_spoken_to_without_tls() {
    let registry = testkit::Registry::open().await;
    push(&format!("{}/a:1", registry.address()), &image(json!({})), None).await;
    let aliases = BTreeMap::from([("plain.example".to_owned(), registry.address())]);
    let secure = OciRegistry::new(RegistrySettings { aliases: aliases.clone(), ..settings() });
    let error = refused(&secure, "plain.example/a:1").await;
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    let insecure = BTreeSet::from(["plain.example".to_owned()]);
    let plain = OciRegistry::new(RegistrySettings { aliases, insecure, ..settings() });
    plain.resolve("plain.example/a:1").await.expect("it is listed");
}

#[tokio::test]
async fn an_image_for_other_machines_or_of_too_many_bytes_is_refused() {
    let registry = testkit::Registry::open().await;
    let source = format!("{}/a:1", registry.address());
    push(&source, &image(json!({})), None).await;
    let other = OciRegistry::new(RegistrySettings { architecture: Some("s390x".into()), ..settings() });
    let error = refused(&other, &source).await;
    assert!(matches!(error, RegistryError::UnsupportedPlatform { .. }), "{error:?}");
    assert!(
        error.to_string().contains("s390x") && error.to_string().contains(push::architecture()),
        "{error}"
    );
    let small = OciRegistry::new(RegistrySettings { max_image_bytes: Some(1000), ..settings() });
    let error = refused(&small, &source).await;
    assert!(matches!(error, RegistryError::TooLarge { limit: 1000, .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_no_image_is_not_asked_for() {
    let resolver = OciRegistry::new(settings());
    for source in ["", "A", "../x", "http://127.0.0.1/a", "127.0.0.1:0/a", "a b"] {
        let error = refused(&resolver, source).await;
        assert!(matches!(error, RegistryError::InvalidReference { .. }), "{source}: {error:?}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_and_a_silent_registry_given_up() {
    let endless = Hostile::start(|_| hostile::Answer::Endless).await;
    let error = refused(&OciRegistry::new(settings()), &format!("{}/a:1", endless.address)).await;
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error:?}");
    assert!(endless.written() < 16 << 20, "{} bytes were read", endless.written());

    let silent = Hostile::start(|_| hostile::Answer::Silence).await;
    let short = RegistrySettings { timeout: Duration::from_millis(300), ..settings() };
    let error = refused(&OciRegistry::new(short), &format!("{}/a:1", silent.address)).await;
    assert!(matches!(error, RegistryError::Timeout { .. }), "{error:?}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn an_answer_that_is_not_what_its_digest_says_is_refused() {
    let manifest = r#"{"schemaVersion": 2, "config": {"digest": "sha256:DIGEST", "size": 2}, "layers": []}"#
        .replace("DIGEST", &"0".repeat(64));
    let liar = Hostile::start(move |path| {
        let body = if path.contains("/manifests/") { manifest.clone() } else { "{}".to_owned() };
        hostile::Answer::Text("200 OK", vec![], body)
    })
    .await;
    let resolver = OciRegistry::new(settings());
    let error = refused(&resolver, &format!("{}/a:1", liar.address)).await;
    assert!(
        matches!(&error, RegistryError::Broken { what, .. } if what.contains("configuration")),
        "{error:?}"
    );
    let error = refused(&resolver, &format!("{}/a@sha256:{}", liar.address, "1".repeat(64))).await;
    assert!(matches!(&error, RegistryError::Broken { what, .. } if what.contains("digest")), "{error:?}");
}

#[tokio::test]
async fn a_registry_cannot_send_us_in_circles_or_for_tokens_anywhere() {
    let resolver = OciRegistry::new(settings());
    let circle = Hostile::start(|path| {
        hostile::Answer::Text("307 Temporary Redirect", vec![("Location", path.to_owned())], String::new())
    })
    .await;
    let error = refused(&resolver, &format!("{}/a:1", circle.address)).await;
    assert!(matches!(error, RegistryError::Broken { .. }), "{error:?}");
    for realm in ["file:///etc/passwd", "ftp://x.example/", "http://user:pw@x.example/", "nonsense"] {
        let header = format!("Bearer realm=\"{realm}\"");
        let sends = Hostile::start(move |_| {
            hostile::Answer::Text(
                "401 Unauthorized",
                vec![("WWW-Authenticate", header.clone())],
                String::new(),
            )
        })
        .await;
        let error = refused(&resolver, &format!("{}/a:1", sends.address)).await;
        assert!(matches!(error, RegistryError::Broken { .. }), "{realm}: {error:?}");
    }
}

#[tokio::test]
async fn a_token_is_fetched_where_the_registry_says_and_sent_along() {
    let body = r#"{"architecture": "ARCH", "os": "linux", "config": {"Labels": {"n": "1"}}}"#
        .replace("ARCH", push::architecture());
    let digest = hostile::sha256(body.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion": 2, "config": {{"digest": "{digest}"}}, "layers": [{{"digest": "x", "size": 7}}]}}"#
    );
    let server = Hostile::start_with_headers(move |path, headers, address| {
        if path.starts_with("/token?") {
            let asked = path.contains("scope=repository%3Aa%3Apull") && path.contains("service=s");
            let token = if asked { "good" } else { "bad" };
            return hostile::Answer::Text("200 OK", vec![], format!(r#"{{"access_token": "{token}"}}"#));
        }
        if !headers.to_ascii_lowercase().contains("authorization: bearer good") {
            let header = format!("Bearer realm=\"http://{address}/token\",service=\"s\"");
            return hostile::Answer::Text(
                "401 Unauthorized",
                vec![("WWW-Authenticate", header)],
                String::new(),
            );
        }
        let body = if path.contains("/manifests/") { manifest.clone() } else { body.clone() };
        hostile::Answer::Text("200 OK", vec![], body)
    })
    .await;
    let found =
        OciRegistry::new(settings()).resolve(&format!("{}/a:1", server.address)).await.expect("it is let in");
    assert_eq!((found.total_bytes, found.labels.len()), (7, 1));
}

#[tokio::test]
async fn the_words_of_a_registry_are_shown_without_control_characters() {
    let words = "{\"errors\": [{\"code\": \"TOOMANYREQUESTS\", \"message\": \"slow\\u001b[2J down\"}]}";
    let busy =
        Hostile::start(move |_| hostile::Answer::Text("429 Too Many Requests", vec![], words.to_owned()))
            .await;
    let error = refused(&OciRegistry::new(settings()), &format!("{}/a:1", busy.address)).await;
    assert!(matches!(error, RegistryError::Refused { status: 429, .. }), "{error:?}");
    assert!(error.is_retryable());
    assert!(error.to_string().contains("TOOMANYREQUESTS slow\\u{1b}[2J down"), "{error}");
}

#[tokio::test]
async fn the_fake_answers_fails_and_remembers() {
    let real = testkit::Registry::open().await;
    let source = format!("{}/a:1", real.address());
    push(&source, &image(json!({})), None).await;
    let found = OciRegistry::new(settings()).resolve(&source).await.expect("it is there");
    let fake = FakeRegistry::new();
    fake.publish("x/a:1", found.clone());
    fake.fail_next(RegistryError::LoginRequired { host: "x".into() });
    assert!(matches!(fake.resolve("x/a:1").await, Err(RegistryError::LoginRequired { .. })));
    assert_eq!(fake.resolve("x/a:1").await.expect("it is there"), found);
    assert!(matches!(fake.resolve("x/a:2").await, Err(RegistryError::NotFound { .. })));
    assert_eq!(fake.asked(), ["x/a:1", "x/a:1", "x/a:2"]);
}

/// A registry that is not on loopback as far as it is trusted, although it answers there.
fn public(registry: &Hostile) -> OciRegistry {
    let aliases = BTreeMap::from([("plain.example".to_owned(), registry.address.to_string())]);
    let insecure = BTreeSet::from(["plain.example".to_owned()]);
    OciRegistry::new(RegistrySettings { aliases, insecure, ..settings() })
}

#[tokio::test]
async fn a_registry_cannot_send_us_to_this_machine_its_link_or_a_clouds_metadata() {
    let victim = Hostile::start(|_| hostile::Answer::Text("200 OK", vec![], "{}".to_owned())).await;
    let port = victim.address.port();
    for to in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://2130706433:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[fd00:ec2::254]/".to_owned(),
        "http://[fe80::1]/".to_owned(),
    ] {
        let location = to.clone();
        let redirects = Hostile::start(move |_| {
            hostile::Answer::Text("302 Found", vec![("Location", location.clone())], String::new())
        })
        .await;
        let error = refused(&public(&redirects), "plain.example/a:1").await;
        assert!(
            matches!(&error, RegistryError::Broken { what, .. } if what.contains("redirect")),
            "{to}: {error:?}"
        );
        let header = format!("Bearer realm=\"{to}\"");
        let sends = Hostile::start(move |_| {
            hostile::Answer::Text(
                "401 Unauthorized",
                vec![("WWW-Authenticate", header.clone())],
                String::new(),
            )
        })
        .await;
        let error = refused(&public(&sends), "plain.example/a:1").await;
        assert!(
            matches!(&error, RegistryError::Broken { what, .. } if what.contains("tokens")),
            "{to}: {error:?}"
        );
    }
    assert_eq!(victim.asked(), 0, "it was asked all the same");
}

#[tokio::test]
async fn a_registry_on_this_machine_cannot_send_us_to_its_link_either() {
    for to in ["http://169.254.169.254/latest/", "http://[fe80::1]/", "http://0.0.0.0/"] {
        let redirects = Hostile::start(move |_| {
            hostile::Answer::Text("302 Found", vec![("Location", to.to_owned())], String::new())
        })
        .await;
        let error = refused(&OciRegistry::new(settings()), &format!("{}/a:1", redirects.address)).await;
        assert!(matches!(error, RegistryError::Broken { .. }), "{to}: {error:?}");
    }
    let error = refused(&OciRegistry::new(settings()), "169.254.169.254/a:1").await;
    assert!(matches!(error, RegistryError::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn a_name_that_an_operator_wrote_down_leads_where_it_leads() {
    let aliases = BTreeMap::from([("registry.example".to_owned(), "localhost".to_owned())]);
    let configured = OciRegistry::new(RegistrySettings { aliases, ..settings() });
    let error = refused(&configured, "registry.example/a:1").await;
    assert!(matches!(error, RegistryError::Unreachable { .. }), "nothing answers there with TLS: {error:?}");
}

#[tokio::test]
async fn documents_that_are_bombs_are_refused_at_once() {
    let digest = "0".repeat(64);
    let layer = |size: &str| format!(r#"{{"digest": "sha256:{digest}", "size": {size}}}"#);
    let manifest = |layers: Vec<String>| {
        let layers = layers.join(",");
        format!(r#"{{"schemaVersion": 2, "config": {{"digest": "sha256:{digest}"}}, "layers": [{layers}]}}"#)
    };
    let entry = format!(
        r#"{{"digest": "sha256:{digest}", "size": 1, "platform": {{"os": "linux", "architecture": "{}"}}}}"#,
        push::architecture()
    );
    let list = format!(r#"{{"schemaVersion": 2, "manifests": [{entry}]}}"#);
    let bombs = [
        ("a list in itself", list),
        (
            "a long list",
            format!(r#"{{"schemaVersion": 2, "manifests": [{}]}}"#, vec![entry; 20_000].join(",")),
        ),
        ("layers without number", manifest(vec![layer("1"); 5_000])),
        ("layers of all bytes there are", manifest(vec![layer("18446744073709551615"); 3])),
        ("layers of less than nothing", manifest(vec![layer("-1")])),
        ("layers over the bound", manifest(vec![layer("3000000000"), layer("3000000000")])),
        ("depth", "[".repeat(100_000)),
    ];
    let bounded = RegistrySettings { max_image_bytes: Some(4 << 30), ..settings() };
    let resolver = OciRegistry::new(bounded);
    for (what, body) in bombs {
        let server = Hostile::start(move |_| hostile::Answer::Text("200 OK", vec![], body.clone())).await;
        let error = refused(&resolver, &format!("{}/a:1", server.address)).await;
        let refused = matches!(error, RegistryError::Broken { .. } | RegistryError::TooLarge { .. });
        assert!(refused && !error.is_retryable(), "{what}: {error:?}");
        assert!(server.asked() <= 2, "{what}");
    }
}
