//! One suite for every blob store, and what only one of them can get wrong.
//!
//! Keys and secrets reach the S3 store the way they do in production, by the environment, so
//! the S3 tests run as children of this program with their own environment.

mod s3_server;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use s3_server::{ACCESS_KEY, S3Server, SECRET_KEY};
use tandem_store::blob::{self, LocalStore, MemoryStore, probe};
use tandem_store::{BlobError, BlobErrorKind, BlobStore, BlobStoreUrl};

async fn keys(store: &dyn BlobStore, prefix: &str) -> Vec<String> {
    store.list(prefix).await.unwrap().into_iter().map(|info| info.key).collect()
}

/// What every store does.
async fn conformance(store: Arc<dyn BlobStore>) {
    let store = &*store;
    assert!(keys(store, "").await.is_empty());
    assert!(store.list_folders("").await.unwrap().is_empty());
    assert_eq!(store.get("a/b").await.unwrap(), None);
    store.delete("a/b").await.unwrap();

    let text = Bytes::from_static(b"some bytes");
    store.put("a/b", text.clone()).await.unwrap();
    assert_eq!(store.get("a/b").await.unwrap(), Some(text.clone()));
    store.put("a/b", text.clone()).await.expect("the same again is no error");
    let other = store.put("a/b", Bytes::from_static(b"other")).await.unwrap_err();
    assert!(matches!(&other, BlobError::Conflict { key } if key == "a/b"), "{other}");
    assert_eq!(store.get("a/b").await.unwrap(), Some(text.clone()), "nothing is overwritten");

    store.put("a/empty", Bytes::new()).await.unwrap();
    assert_eq!(store.get("a/empty").await.unwrap(), Some(Bytes::new()));
    let large: Bytes = (0..6_000_000u32).map(|n| (n ^ (n >> 7)) as u8).collect::<Vec<_>>().into();
    store.put("a/deep/er/large", large.clone()).await.unwrap();
    assert_eq!(store.get("a/deep/er/large").await.unwrap(), Some(large.clone()));
    store.put("ab/c", text.clone()).await.unwrap();
    store.put("top", text.clone()).await.unwrap();

    assert_eq!(keys(store, "").await, ["a/b", "a/deep/er/large", "a/empty", "ab/c", "top"]);
    assert_eq!(keys(store, "a/").await, ["a/b", "a/deep/er/large", "a/empty"]);
    assert_eq!(keys(store, "a").await, ["a/b", "a/deep/er/large", "a/empty", "ab/c"]);
    assert_eq!(keys(store, "a/de").await, ["a/deep/er/large"]);
    assert_eq!(keys(store, "a/b").await, ["a/b"]);
    assert!(keys(store, "z").await.is_empty());
    assert_eq!(store.list_folders("").await.unwrap(), ["a", "ab"]);
    assert_eq!(store.list_folders("a/").await.unwrap(), ["deep"]);
    assert!(store.list_folders("a/deep/er/").await.unwrap().is_empty());
    assert!(store.list_folders("nothing/").await.unwrap().is_empty());
    let info = store.list("a/deep/").await.unwrap().remove(0);
    assert_eq!(info.size, large.len() as u64);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let age = (now.as_millis() as i64 - info.modified_ms as i64).abs();
    assert!(age < 120_000, "modified {age} ms from now");

    store.delete("a/deep/er/large").await.unwrap();
    store.delete("a/deep/er/large").await.unwrap();
    assert_eq!(store.get("a/deep/er/large").await.unwrap(), None);
    assert!(store.list_folders("a/").await.unwrap().is_empty());

    // Writers of one key: one wins, and what is there is one of theirs, whole.
    let racing = (0..8u8).map(|n| store.put("race", Bytes::from(vec![n; 100_000])));
    let results = futures_util::future::join_all(racing).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    let won = store.get("race").await.unwrap().unwrap();
    assert!(won.len() == 100_000 && won.iter().all(|byte| *byte == won[0]));

    // Deleting and storing beside each other: a folder that is emptied is not in the way.
    stream::iter(0..200)
        .map(|n| async move {
            let key = format!("busy/{}/x{n}", n % 2);
            store.put(&key, Bytes::from_static(b"x")).await?;
            store.delete(&key).await
        })
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .unwrap();

    for bad in [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/..",
        "../a",
        "a/../b",
        "a/./b",
        ".hidden/a",
        "a\0b",
        "a\\b",
        "a b",
        "ä",
        "a%2e%2e",
        "a:b",
        "a\nb",
    ] {
        let put = store.put(bad, Bytes::new()).await;
        assert!(matches!(put, Err(BlobError::InvalidKey { .. })), "{bad:?}: {put:?}");
        assert!(matches!(store.get(bad).await, Err(BlobError::InvalidKey { .. })), "{bad:?}");
        assert!(matches!(store.delete(bad).await, Err(BlobError::InvalidKey { .. })), "{bad:?}");
    }
    for bad in ["/", "..", "../", "a/../", "a//", ".unfinished/"] {
        assert!(matches!(store.list(bad).await, Err(BlobError::InvalidKey { .. })), "{bad:?}");
        assert!(store.list_folders(bad).await.is_err(), "{bad:?}");
    }
    assert!(store.list_folders("a").await.is_err());
    let long = "x".repeat(901);
    assert!(store.put(&long, Bytes::new()).await.is_err());

    let report = probe(store).await.unwrap();
    assert!(report.is_usable() && report.findings().is_empty(), "{report:?}");
    assert!(keys(store, "probe/").await.is_empty());
}

/// Listings longer than one answer.
async fn many(store: Arc<dyn BlobStore>, count: usize) {
    stream::iter(0..count)
        .map(|n| {
            let store = store.clone();
            async move { store.put(&format!("many/{n:05}/x"), Bytes::from(n.to_string())).await }
        })
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .unwrap();
    assert_eq!(store.list("many/").await.unwrap().len(), count);
    assert_eq!(store.list_folders("many/").await.unwrap().len(), count);
}

#[tokio::test]
async fn memory() {
    let store = Arc::new(MemoryStore::default());
    conformance(store.clone()).await;
    many(store, 1_200).await;
}

#[tokio::test]
async fn local_files() {
    let home = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::open(&home.path().join("blobs")).await.unwrap());
    conformance(store.clone()).await;
    let again = LocalStore::open(&home.path().join("blobs")).await.unwrap();
    assert_eq!(keys(&again, "").await, keys(&*store, "").await);
    assert_eq!(unfinished(home.path()), 0);
}

fn unfinished(home: &Path) -> usize {
    std::fs::read_dir(home.join("blobs/.unfinished")).unwrap().count()
}

#[tokio::test]
async fn a_local_store_that_is_gone_is_no_empty_store() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("blobs");
    let store = LocalStore::open(&root).await.unwrap();
    store.put("a/b", Bytes::from_static(b"x")).await.unwrap();
    std::fs::rename(&root, home.path().join("elsewhere")).unwrap();
    assert!(store.get("a/b").await.is_err());
    assert!(store.list("").await.is_err());
    assert!(store.list_folders("").await.is_err());
    assert!(store.put("a/c", Bytes::new()).await.is_err());
    assert!(!root.exists(), "nothing is made in its place");
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_removed() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("blobs");
    drop(LocalStore::open(&root).await.unwrap());
    std::fs::write(root.join(".unfinished/new"), "another process writes this").unwrap();
    let old = std::fs::File::create(root.join(".unfinished/old")).unwrap();
    old.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(7200)).unwrap();
    let store = LocalStore::open(&root).await.unwrap();
    assert_eq!(unfinished(home.path()), 1);
    assert!(root.join(".unfinished/new").exists());
    assert!(keys(&store, "").await.is_empty());
}

async fn make_bucket(server: &S3Server, bucket: &str) {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(server.endpoint())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .force_path_style(true)
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    client.create_bucket().bucket(bucket).send().await.expect("a bucket");
}

/// Runs one ignored test of this program with its own environment.
fn child(test: &str, server_url: &str, environment: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    let nowhere = "/nonexistent/aws";
    command.env("AWS_CONFIG_FILE", nowhere).env("AWS_SHARED_CREDENTIALS_FILE", nowhere);
    command.envs(environment.iter().copied()).env("TANDEM_TEST_S3_URL", server_url);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{test}:\n{text}\n{errors}");
}

async fn child_store() -> Arc<dyn BlobStore> {
    let url = std::env::var("TANDEM_TEST_S3_URL").expect("run by another test");
    blob::open(&url.parse::<BlobStoreUrl>().unwrap()).await.unwrap()
}

const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];

#[tokio::test]
async fn s3() {
    let server = S3Server::start();
    make_bucket(&server, "conformance").await;
    let url = server.url("conformance");
    child("s3_conformance", &url, &KEYS);

    child("s3_denied", &url, &[KEYS[0], ("AWS_SECRET_ACCESS_KEY", "wrong")]);
    child("s3_denied", &url, &[("AWS_ACCESS_KEY_ID", "nobody"), KEYS[1]]);
    child("s3_denied", &url, &[]);
    child("s3_missing_bucket", &server.url("no-such-bucket"), &KEYS);

    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("credentials");
    let profile = format!(
        "[tandem]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    );
    std::fs::write(&file, profile).unwrap();
    let file = file.to_str().unwrap();
    child("s3_usable", &url, &[("AWS_SHARED_CREDENTIALS_FILE", file), ("AWS_PROFILE", "tandem")]);
}

#[tokio::test]
async fn s3_out_of_reach() {
    let mut server = S3Server::start();
    make_bucket(&server, "reach").await;
    let url = server.url("reach");
    child("s3_usable", &url, &KEYS);
    server.kill();
    child("s3_unreachable", &url, &KEYS);
    server.restart();
    child("s3_usable", &url, &KEYS);
}

#[tokio::test]
#[ignore = "run by s3"]
async fn s3_conformance() {
    let store = child_store().await;
    conformance(store.clone()).await;
    many(store, 1_100).await;
}

#[tokio::test]
#[ignore = "run by s3 and s3_out_of_reach"]
async fn s3_usable() {
    let report = probe(&*child_store().await).await.unwrap();
    assert!(report.is_usable(), "{report:?}");
}

#[tokio::test]
#[ignore = "run by s3"]
async fn s3_denied() {
    let store = child_store().await;
    let error = probe(&*store).await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, BlobError::Denied { .. }), "{error:?}");
    assert_eq!(error.kind(), BlobErrorKind::Configuration);
    assert!(matches!(store.get("a").await, Err(BlobError::Denied { .. })));
    assert!(matches!(store.list("").await, Err(BlobError::Denied { .. })));
    assert!(matches!(store.list_folders("").await, Err(BlobError::Denied { .. })));
}

#[tokio::test]
#[ignore = "run by s3"]
async fn s3_missing_bucket() {
    let store = child_store().await;
    let error = probe(&*store).await.unwrap_err();
    println!("{error}");
    assert!(matches!(error, BlobError::Missing { .. }), "{error:?}");
    let got = store.get("a").await;
    assert!(matches!(got, Err(BlobError::Missing { .. })), "no object is not no bucket: {got:?}");
    assert!(matches!(store.list("").await, Err(BlobError::Missing { .. })));
}

#[tokio::test]
#[ignore = "run by s3_out_of_reach"]
async fn s3_unreachable() {
    let store = child_store().await;
    for error in [
        store.put("a", Bytes::from_static(b"x")).await.unwrap_err(),
        store.get("a").await.unwrap_err(),
        store.list("").await.unwrap_err(),
        store.delete("a").await.unwrap_err(),
    ] {
        println!("{error}");
        assert!(error.is_retryable(), "{error:?}");
    }
}
