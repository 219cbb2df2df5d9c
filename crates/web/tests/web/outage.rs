//! The blob store goes away and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use tandem_store::{BlobError, BlobStore, ObjectInfo, ReplStore};

use crate::support::{Server, blobs, ok};

#[derive(Debug)]
struct Breakable {
    inner: Arc<dyn BlobStore>,
    broken: AtomicBool,
}

impl Breakable {
    fn check(&self) -> Result<(), BlobError> {
        if self.broken.load(Ordering::SeqCst) {
            let (action, detail) = ("work".to_owned(), "unplugged".to_owned());
            return Err(BlobError::Unavailable { action, detail });
        }
        Ok(())
    }
}

#[async_trait]
impl BlobStore for Breakable {
    async fn put(&self, key: &str, object: Bytes) -> Result<(), BlobError> {
        self.check()?;
        self.inner.put(key, object).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        self.check()?;
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, BlobError> {
        self.check()?;
        self.inner.list(prefix).await
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        self.check()?;
        self.inner.list_folders(prefix).await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.check()?;
        self.inner.delete(key).await
    }
}

#[tokio::test]
async fn a_change_during_an_outage_is_recorded_after_it() {
    let store = Arc::new(Breakable { inner: blobs().await, broken: AtomicBool::new(false) });
    let server = Server::with_blobs(store.clone()).await;
    let repl = server.create().await;
    store.broken.store(true, Ordering::SeqCst);
    let path = format!("/api/v1/repls/{repl}");
    let renamed = server.owner(Method::PATCH, &path).json(&json!({ "name": "During" }));
    assert_eq!(ok(renamed).await["name"], "During", "the database has it");
    let ready = || server.request(Method::GET, "/readyz");
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // What was reached a moment ago is believed for a moment.
    while ready().send().await.unwrap().status() != 503 {
        assert!(std::time::Instant::now() < limit, "never unready");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let health = server.request(Method::GET, "/healthz").send().await.unwrap();
    assert_eq!(health.status(), 200);

    store.broken.store(false, Ordering::SeqCst);
    assert_eq!(ready().send().await.unwrap().status(), 200);
    let records = ReplStore::new(store.clone(), repl);
    while records.load_meta().await.unwrap().unwrap().name != "During" {
        assert!(std::time::Instant::now() < limit, "never recorded");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
