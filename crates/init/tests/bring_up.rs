//! Secrets and a real broker, as `init` and the broker's image bring them up. Needs root, as `init` has it:
//! it gives files to other users.
#![expect(clippy::panic, reason = "a test fails by panicking, and says why")]

#[path = "bring_up/installation.rs"]
mod installation;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use installation::Installation;

#[test]
fn every_secret_is_made_once_for_the_one_user_that_needs_it() {
    let installation = Installation::new();
    installation.run_secrets();
    let first = look_at(&installation.volumes());
    let owners = [
        ("broker", 64100),
        ("message", 64101),
        ("security", 64102),
        ("plugin", 0),
        ("operator", 64103),
        ("authority", 0),
    ];
    for (service, uid) in owners {
        let folder = installation.volumes().join(format!("{service}-secrets"));
        let metadata = fs::metadata(&folder).expect("the service's folder");
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (uid, 0o700), "{service}");
        let files: Vec<_> = first.iter().filter(|(path, _)| path.starts_with(&folder)).collect();
        assert!(!files.is_empty(), "{service}");
        for (path, found) in files {
            assert_eq!((found.uid, found.mode), (uid, 0o400), "{}", path.display());
        }
    }
    installation.run_secrets();
    assert_eq!(look_at(&installation.volumes()), first);
}

#[test]
fn no_two_secrets_are_the_same() {
    let installation = Installation::new();
    installation.run_secrets();
    let secrets = look_at(&installation.volumes()).into_keys();
    let mut values: Vec<Vec<u8>> = secrets
        .filter(|path| {
            ["password", "key"].contains(&path.file_name().and_then(|n| n.to_str()).unwrap_or_default())
        })
        .map(|path| fs::read(path).expect("root reads everything"))
        .collect();
    let count = values.len();
    assert_eq!(count, 6, "four passwords and two keys");
    values.sort();
    values.dedup();
    assert_eq!(values.len(), count);
}

#[tokio::test]
async fn the_broker_lets_the_logins_of_the_seed_in_and_nobody_else() {
    let installation = Installation::new();
    installation.run_secrets();
    let broker = installation.start_broker().await;
    for (login, service) in Installation::LOGINS {
        let password = installation.password(service);
        assert_eq!(broker.try_login(login, &password).await, Ok(()), "{login}");
        assert!(broker.try_login(login, "wrong").await.is_err(), "{login}");
    }
    assert!(broker.try_anonymous().await.is_err());
}

#[tokio::test]
async fn other_machines_connect_by_tls_with_the_certificate_that_was_left_for_them() {
    let installation = Installation::new();
    installation.run_secrets();
    let broker = installation.start_broker().await;
    let (login, password) = ("operator.operator", installation.password("operator"));
    let authority = installation.authority_certificate();
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(broker.try_tls(host, &authority, login, &password).await, Ok(()), "{host}");
    }
    let other = Installation::new();
    other.run_secrets();
    let wrong = broker.try_tls("localhost", &other.authority_certificate(), login, &password).await;
    assert!(wrong.expect_err("another authority").contains("certificate"));
}

#[tokio::test]
async fn secrets_are_renewed_by_a_second_login_beside_the_first_and_nobody_is_locked_out_meanwhile() {
    let installation = Installation::new();
    installation.run_secrets();
    let broker = installation.start_broker().await;
    let files = ["message", "security", "plugin"]
        .map(|service| (service, installation.volumes().join(format!("{service}-secrets/password"))));
    let old = files
        .each_ref()
        .map(|(service, _)| (format!("coordinator.{service}"), installation.password(service)));
    let old_operator = installation.password("operator");
    let old_key = fs::read(installation.volumes().join("message-secrets/key")).expect("the key");
    assert!(installation.rotate("switch", &broker).expect_err("too early").contains("rotate prepare"));

    // Twice each, as after an interruption.
    for _ in 0..2 {
        installation.rotate("prepare", &broker).expect("prepares");
    }
    assert!(installation.rotate("finish", &broker).expect_err("too early").contains("rotate switch"));
    for _ in 0..2 {
        installation.rotate("switch", &broker).expect("switches");
    }
    let new = files.each_ref().map(|(service, path)| {
        let content = fs::read_to_string(path).expect("the login");
        let (name, password) = content.trim_end().split_once('\n').expect("two lines");
        assert_eq!(name, format!("coordinator.{service}.2"));
        (name.to_owned(), password.to_owned())
    });
    for (login, password) in old.iter().chain(&new) {
        assert_eq!(broker.try_login(login, password).await, Ok(()), "{login} between the stages");
    }
    let previous = fs::read(installation.volumes().join("message-secrets/key.previous")).expect("the key");
    assert_eq!(previous, old_key);

    for _ in 0..2 {
        installation.rotate("finish", &broker).expect("finishes");
    }
    for (login, password) in &old {
        assert!(broker.try_login(login, password).await.is_err(), "{login} afterwards");
    }
    assert!(broker.try_login("operator.operator", &old_operator).await.is_err());
    // A broker that lost everything knows the new ones too.
    drop(broker);
    fs::write(installation.identities(), "").expect("cut");
    let broker = installation.start_broker().await;
    for (login, password) in &new {
        assert_eq!(broker.try_login(login, password).await, Ok(()), "{login} afterwards");
    }
    let operator = installation.password("operator");
    assert_eq!(broker.try_login("operator.operator", &operator).await, Ok(()));
    assert!(!installation.volumes().join("message-secrets/key.previous").exists());

    // The next time the first names are used again.
    for stage in ["prepare", "switch", "finish"] {
        installation.rotate(stage, &broker).expect(stage);
    }
    assert_eq!(broker.try_login("coordinator.plugin", &installation.password("plugin")).await, Ok(()));
    assert!(broker.try_login("coordinator.plugin.2", &new[2].1).await.is_err());
}

#[tokio::test]
async fn a_killed_broker_whose_identities_were_cut_off_comes_back_with_the_seed() {
    let installation = Installation::new();
    installation.run_secrets();
    let password = installation.password("message");
    drop(installation.start_broker().await);
    let identities = installation.identities();
    let whole = fs::read(&identities).expect("the identities");
    for length in [0, 1, whole.len() / 2, whole.len() - 3] {
        fs::write(&identities, &whole[..length]).expect("cut");
        let broker = installation.start_broker().await;
        assert_eq!(broker.try_login("coordinator.message", &password).await, Ok(()), "cut to {length}");
        assert!(broker.try_anonymous().await.is_err(), "cut to {length}");
    }
}

#[tokio::test]
async fn a_password_that_was_lost_is_renewed_without_losing_what_else_is_in_the_identities() {
    let installation = Installation::new();
    installation.run_secrets();
    drop(installation.start_broker().await);
    let old = installation.password("message");
    installation.add_client("plugin.weather", "plugin's own");
    fs::remove_file(installation.volumes().join("message-secrets/password")).expect("lose it");
    installation.run_secrets();

    let broker = installation.start_broker().await;
    let new = installation.password("message");
    assert_ne!(new, old);
    assert_eq!(broker.try_login("coordinator.message", &new).await, Ok(()));
    assert!(broker.try_login("coordinator.message", &old).await.is_err());
    assert_eq!(broker.try_login("plugin.weather", "plugin's own").await, Ok(()));
}

/// What `ls` and a checksum would tell of a file.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    uid: u32,
    mode: u32,
    inode: u64,
    content: Vec<u8>,
}

fn look_at(folder: &Path) -> BTreeMap<PathBuf, Found> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let metadata = fs::metadata(&path).expect("metadata");
        if metadata.is_dir() {
            found.extend(look_at(&path));
        } else {
            let content = fs::read(&path).expect("root reads everything");
            let file =
                Found { uid: metadata.uid(), mode: metadata.mode() & 0o777, inode: metadata.ino(), content };
            found.insert(path, file);
        }
    }
    found
}
