use super::*;

fn no_environment(_: &str) -> Option<String> {
    None
}

/// A folder with a login file, and a folder deep inside it.
fn checkout(content: &str) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(root.path().join(".bigskies")).expect("a folder");
    fs::write(root.path().join(FILE), content).expect("a file");
    let deep = root.path().join("a/b");
    fs::create_dir_all(&deep).expect("a folder");
    (root, deep)
}

const CONTENT: &str = "# The operator's login\nMQTT_HOST=broker\nMQTT_PORT=2883\nMQTT_USERNAME=operator.ada\nMQTT_PASSWORD='p w'\n";

#[test]
fn the_login_file_is_found_from_a_folder_below() {
    let (_root, deep) = checkout(CONTENT);
    let login = Login::find(&Common::default(), no_environment, &deep).expect("a login");
    assert_eq!((login.host.as_str(), login.port), ("broker", 2883));
    assert_eq!((login.username.as_str(), login.operator.as_str()), ("operator.ada", "ada"));
    assert_eq!(login.password, Password::new("p w"));
    assert!(login.origin.ends_with(FILE), "{}", login.origin);
}

#[test]
fn the_environment_overrides_the_file_and_options_override_both() {
    let (root, deep) = checkout(CONTENT);
    let environment = |name: &str| match name {
        "MQTT_HOST" => Some("from-environment".to_owned()),
        "MQTT_PASSWORD" => Some("secret".to_owned()),
        "MQTT_PORT" => Some(String::new()),
        _ => None,
    };
    let login = Login::find(&Common::default(), environment, &deep).expect("a login");
    assert_eq!((login.host.as_str(), login.port), ("from-environment", 2883));
    assert_eq!(login.password, Password::new("secret"));
    assert!(login.origin.contains("MQTT_PASSWORD"), "{}", login.origin);

    let file = root.path().join("password");
    fs::write(&file, "other\n").expect("a file");
    let options = Common {
        host: Some("from-option".to_owned()),
        port: Some(1),
        username: Some("operator.eve".to_owned()),
        password_file: Some(file),
        ..Common::default()
    };
    let login = Login::find(&options, environment, &deep).expect("a login");
    assert_eq!((login.host.as_str(), login.port), ("from-option", 1));
    assert_eq!(login.operator.as_str(), "eve");
    assert_eq!(login.password, Password::new("other"));
}

#[test]
fn no_secret_is_shown_by_debug_output() {
    let (_root, deep) = checkout(CONTENT);
    let login = Login::find(&Common::default(), no_environment, &deep).expect("a login");
    assert!(!format!("{login:?}").contains("p w"));
}

#[test]
fn a_broken_file_is_not_in_the_way_of_a_complete_environment() {
    let (_root, deep) = checkout("!!");
    let environment = |name: &str| match name {
        "MQTT_USERNAME" => Some("operator.ada".to_owned()),
        name => Some(name.to_owned()).filter(|n| n != "MQTT_PORT" && n != "MQTT_TLS_CA"),
    };
    assert!(Login::find(&Common::default(), environment, &deep).is_ok());
    let error = Login::find(&Common::default(), no_environment, &deep).expect_err("broken");
    assert!(error.to_string().contains("line 1 of "), "{error}");
}

#[test]
fn what_is_missing_is_told_with_where_it_was_looked_for() {
    let empty = tempfile::tempdir().expect("a folder");
    let error = Login::find(&Common::default(), no_environment, empty.path()).expect_err("nothing");
    assert!(error.to_string().contains(FILE), "{error}");
    let (_root, deep) = checkout("MQTT_USERNAME=operator.ada\n");
    let error = Login::find(&Common::default(), no_environment, &deep).expect_err("no password");
    assert!(error.to_string().contains("no password"), "{error}");
}

#[test]
fn only_an_operators_login_is_taken() {
    for username in ["plugin.focuser", "operator.", "operator.a/b", "admin"] {
        let (_root, deep) = checkout(&format!("MQTT_USERNAME={username}\nMQTT_PASSWORD=x\n"));
        let error = Login::find(&Common::default(), no_environment, &deep).expect_err("not an operator");
        assert!(matches!(error, LoginError::NotAnOperator { .. }), "{error}");
    }
}

#[test]
fn a_port_that_is_none_is_told() {
    for port in ["0", "65536", "mqtt"] {
        let (_root, deep) =
            checkout(&format!("MQTT_USERNAME=operator.ada\nMQTT_PASSWORD=x\nMQTT_PORT={port}\n"));
        let error = Login::find(&Common::default(), no_environment, &deep).expect_err("no port");
        assert!(matches!(error, LoginError::Port { .. }), "{error}");
    }
}

#[test]
#[cfg(unix)]
fn a_file_that_others_can_read_is_noticed() {
    use std::os::unix::fs::PermissionsExt;
    let (root, deep) = checkout(CONTENT);
    let file = root.path().join(FILE);
    for (mode, exposed) in [(0o600, false), (0o644, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("mode");
        let login = Login::find(&Common::default(), no_environment, &deep).expect("a login");
        assert_eq!(login.exposed.is_some(), exposed, "{mode:o}");
    }
}

#[test]
fn values_are_read_as_a_shell_reads_them() {
    for (line, value) in [
        ("K=plain", "plain"),
        ("export K=plain", "plain"),
        ("K=", ""),
        ("K='a b # $x \\'", "a b # $x \\"),
        ("K=\"a \\\" \\\\ \\$ \\n\"", "a \" \\ $ \\n"),
        ("K=a\\ b", "a b"),
        ("K=a'b'\"c\"d", "abcd"),
        ("K=v # a comment", "v"),
        ("K=v#w", "v#w"),
        ("K=a=b", "a=b"),
    ] {
        assert_eq!(parse_line(line), Ok(("K".to_owned(), value.to_owned())), "{line}");
    }
}

#[test]
fn what_a_shell_would_do_something_else_with_is_refused() {
    for (line, fault) in [
        ("K", LineFault::NotAnAssignment),
        ("=v", LineFault::NotAnAssignment),
        ("1K=v", LineFault::NotAnAssignment),
        ("K =v", LineFault::NotAnAssignment),
        ("K='v", LineFault::OpenQuote),
        ("K=\"v", LineFault::OpenQuote),
        ("K=v\\", LineFault::OpenQuote),
        ("K=$HOME", LineFault::Expansion),
        ("K=\"`id`\"", LineFault::Expansion),
        ("K=a b", LineFault::Unquoted),
        ("K=a;id", LineFault::Unquoted),
    ] {
        assert_eq!(parse_line(line), Err(fault), "{line}");
    }
}

#[test]
fn with_certificates_the_connection_is_encrypted_and_goes_to_the_port_for_that() {
    let (root, deep) = checkout("MQTT_USERNAME=operator.ada\nMQTT_PASSWORD=x\nMQTT_TLS_CA=ca.pem\n");
    fs::write(root.path().join(".bigskies/ca.pem"), "of the file").expect("a file");
    let login = Login::find(&Common::default(), no_environment, &deep).expect("a login");
    let trust = login.tls.expect("encrypted");
    assert_eq!((login.port, trust.pem.as_slice()), (ENCRYPTED, &b"of the file"[..]));
    assert_eq!(trust.path, root.path().join(".bigskies/ca.pem"));

    let (by_environment, by_option) = (root.path().join("environment.pem"), root.path().join("option.pem"));
    fs::write(&by_environment, "of the environment").expect("a file");
    fs::write(&by_option, "of the option").expect("a file");
    let environment = |name: &str| match name {
        "MQTT_TLS_CA" => Some(by_environment.display().to_string()),
        "MQTT_PORT" => Some("7883".to_owned()),
        _ => None,
    };
    let login = Login::find(&Common::default(), environment, &deep).expect("a login");
    assert_eq!((login.port, login.tls.map(|tls| tls.path)), (7883, Some(by_environment.clone())));
    let options = Common { tls_ca: Some(by_option.clone()), ..Common::default() };
    let login = Login::find(&options, environment, &deep).expect("a login");
    assert_eq!(login.tls.map(|tls| tls.path), Some(by_option));
}

#[test]
fn certificates_that_cannot_be_read_are_told_with_their_file() {
    let (_root, deep) = checkout("MQTT_USERNAME=operator.ada\nMQTT_PASSWORD=x\nMQTT_TLS_CA=none.pem\n");
    let error = Login::find(&Common::default(), no_environment, &deep).expect_err("no file");
    assert!(error.to_string().contains("the CA certificates"), "{error}");
    assert!(error.to_string().contains("none.pem"), "{error}");
}
