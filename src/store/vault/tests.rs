#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8PathBuf;
use serde_json::json;
use understudy_sdk::Secret;

use super::*;
use crate::config::{EncryptionKey, KeySource, SharedSecret};

fn config(keys: &[(&str, &str)]) -> SecretsConfig {
    let key = |(id, text): &(&str, &str)| EncryptionKey {
        id: (*id).to_string(),
        source: KeySource::Text(Secret::new(text.repeat(8))),
    };
    SecretsConfig { keys: keys.iter().map(key).collect(), ..SecretsConfig::default() }
}

fn vault(keys: &[(&str, &str)]) -> Vault {
    Vault::of(&config(keys), &DatabaseConfig::SqliteMemory).unwrap()
}

fn secrets() -> Map<String, Value> {
    json!({"token": "hush", "backstageToken": "t"}).as_object().unwrap().clone()
}

#[test]
fn what_is_sealed_opens_for_its_task_and_its_key_only() {
    let first = vault(&[("one", "abcd")]);
    let sealed = first.seal("task-a", &secrets()).unwrap();
    assert!(!sealed.contains("hush") && sealed.contains(r#""key":"one""#), "{sealed}");
    assert!(serde_json::from_str::<Map<String, Value>>(&sealed).is_ok(), "Backstage parses the column: {sealed}");
    assert_ne!(sealed, first.seal("task-a", &secrets()).unwrap(), "each has a nonce of its own");
    assert_eq!(first.open("task-a", &sealed).unwrap(), secrets());
    assert_eq!(first.open("task-b", &sealed), Err(VaultError::Refused("one".into())));
    let rotated = vault(&[("two", "efgh"), ("one", "abcd")]);
    assert_eq!(rotated.open("task-a", &sealed).unwrap(), secrets());
    assert!(rotated.seal("task-a", &secrets()).unwrap().contains(r#""key":"two""#));
    assert_eq!(vault(&[("one", "ABCD")]).open("task-a", &sealed), Err(VaultError::Refused("one".into())));
    assert_eq!(vault(&[("two", "efgh")]).open("task-a", &sealed), Err(VaultError::UnknownKey("one".into())));
    assert_eq!(Vault::default().open("task-a", &sealed), Err(VaultError::UnknownKey("one".into())));
}

#[test]
fn whatever_is_changed_is_refused() {
    let vault = vault(&[("one", "abcd")]);
    let sealed = vault.seal("task", &secrets()).unwrap();
    let mut stored: Value = serde_json::from_str(&sealed).unwrap();
    let data = STANDARD.decode(stored[MEMBER]["data"].as_str().unwrap()).unwrap();
    for place in [0, NONCE_LEN, data.len() - 1] {
        let mut changed = data.clone();
        changed[place] ^= 1;
        stored[MEMBER]["data"] = json!(STANDARD.encode(changed));
        assert_eq!(vault.open("task", &stored.to_string()), Err(VaultError::Refused("one".into())));
    }
    for length in [0, 3, NONCE_LEN, NONCE_LEN + 5] {
        stored[MEMBER]["data"] = json!(STANDARD.encode(&data[..length]));
        assert_eq!(vault.open("task", &stored.to_string()), Err(VaultError::Refused("one".into())));
    }
    for broken in
        ["", "[]", "{", r#"{"understudy:sealed":1}"#, r#"{"understudy:sealed":{"v":2,"key":"one","data":""}}"#]
    {
        let error = vault.open("task", broken).unwrap_err();
        assert!(matches!(&error, VaultError::Malformed(_)), "{broken}: {error}");
    }
    stored[MEMBER]["data"] = json!("*");
    assert!(matches!(vault.open("task", &stored.to_string()), Err(VaultError::Malformed(_))));
}

#[test]
fn secrets_that_are_not_encrypted_are_read_as_they_are() {
    let plain = Vault::default().seal("task", &secrets()).unwrap();
    assert_eq!(plain, r#"{"token":"hush","backstageToken":"t"}"#);
    assert_eq!(vault(&[("one", "abcd")]).open("task", &plain).unwrap(), secrets());
    let off = SecretsConfig { encrypt: false, ..config(&[("one", "abcd")]) };
    let off = Vault::of(&off, &DatabaseConfig::SqliteMemory).unwrap();
    assert_eq!(off.seal("task", &secrets()).unwrap(), plain);
    let sealed = vault(&[("one", "abcd")]).seal("task", &secrets()).unwrap();
    assert_eq!(off.open("task", &sealed).unwrap(), secrets(), "keys decrypt also when nothing more is encrypted");
}

#[test]
fn a_key_file_beside_the_database_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let database = Utf8PathBuf::from_path_buf(dir.path().join("sub/db.sqlite")).unwrap();
    let path = format!("{database}.key");
    let file = DatabaseConfig::SqliteFile(database);
    let off = SecretsConfig { encrypt: false, ..SecretsConfig::default() };
    assert!(Vault::of(&off, &file).unwrap().keys.is_empty());
    assert!(!std::fs::exists(&path).unwrap());
    let first = Vault::of(&SecretsConfig::default(), &file).unwrap();
    let sealed = first.seal("task", &secrets()).unwrap();
    assert!(sealed.contains(r#""key":"file-"#), "{sealed}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = Vault::of(&SecretsConfig::default(), &file).unwrap();
    assert_eq!(again.open("task", &sealed).unwrap(), secrets());
    // Whoever configures keys later, or turns encryption off, still reads what is there.
    for config in [config(&[("one", "abcd")]), off] {
        assert_eq!(Vault::of(&config, &file).unwrap().open("task", &sealed).unwrap(), secrets());
    }
    std::fs::write(&path, "short\n").unwrap();
    let error = Vault::of(&SecretsConfig::default(), &file).unwrap_err().to_string();
    assert!(error.contains(&path) && error.contains("at least 32 characters"), "{error}");
}

#[test]
fn replicas_derive_a_key_from_a_shared_secret() {
    let shared = |texts: &[&str]| SecretsConfig {
        shared: texts.iter().map(|text| SharedSecret(text.as_bytes().to_vec().into())).collect(),
        ..SecretsConfig::default()
    };
    let file = |name: &str| DatabaseConfig::SqliteFile(std::env::temp_dir().join(name).try_into().unwrap());
    let off = |config: SecretsConfig| SecretsConfig { encrypt: false, ..config };
    // A SQLite file that is not made takes the place of PostgreSQL here: where keys come from is all that counts.
    let old = Vault::of(&off(shared(&["old"])), &file("none-1")).unwrap();
    let old = Vault { sealing: Some(0), ..old };
    let new = Vault::of(&off(shared(&["new", "old"])), &file("none-2")).unwrap();
    let sealed = old.seal("task", &secrets()).unwrap();
    assert!(sealed.contains(r#""key":"auth-"#) && !sealed.contains("old"), "{sealed}");
    assert_eq!(new.open("task", &sealed).unwrap(), secrets());
}

#[test]
fn a_missing_key_is_found_before_a_task_is_lost() {
    let sealed = |id: &str, vault: &Vault| (id.to_string(), vault.seal(id, &secrets()).unwrap());
    let (one, two) = (vault(&[("one", "abcd")]), vault(&[("two", "efgh")]));
    let tasks = [sealed("a", &one), sealed("b", &one), sealed("c", &two), sealed("d", &Vault::default())];
    assert_eq!(vault(&[("one", "abcd"), ("two", "efgh")]).check(&tasks), Ok(()));
    let error = two.check(&tasks).unwrap_err();
    assert!(error.starts_with("2 tasks that wait or run have secrets encrypted with the key 'one'"), "{error}");
    assert!(error.contains("scaffolder.secrets.encryption.keys"), "{error}");
    let error = vault(&[("one", "ABCD"), ("two", "efgh")]).check(&tasks).unwrap_err();
    assert!(error.contains("the key 'one', which is another one here"), "{error}");
    let lost = SecretsConfig { lost_keys: vec!["one".into()], ..config(&[("two", "efgh")]) };
    let lost = Vault::of(&lost, &DatabaseConfig::SqliteMemory).unwrap();
    assert_eq!(lost.check(&tasks), Ok(()));
    assert_eq!(lost.open("a", &tasks[0].1), Err(VaultError::LostKey("one".into())));
    // One row that was moved keeps nobody from starting.
    assert_eq!(one.check(&[sealed("a", &one), ("b".into(), tasks[0].1.clone())]), Ok(()));
}
