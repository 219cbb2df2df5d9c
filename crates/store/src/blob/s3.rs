//! Objects in a bucket of any store that speaks S3.
//!
//! Correctness rests on unique keys only. Where the store honours conditional writes they catch
//! mistakes of ours; where it ignores them nothing changes.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{
    ProvideCredentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedCredentialsProvider,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::Builder as HttpBuilder;
use aws_smithy_http_client::tls;
use bytes::Bytes;

use super::{BlobError, BlobStore, ObjectInfo, key};

/// Which region to sign for when nobody says: what stores without regions expect.
const DEFAULT_REGION: &str = "us-east-1";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One try of a small request; large bodies get more.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
const ATTEMPTS: u32 = 4;
/// So many whole attempts may time out before the caller hears of it; whoever stores edits has
/// them in the log and tries again by itself.
const TIMED_OUT_ATTEMPTS: u32 = 2;
/// The slowest link that a large object may still pass.
const SLOWEST_BYTES_PER_SECOND: u64 = 256 * 1024;
/// What a store answers that does not know conditional writes.
const NOT_IMPLEMENTED: &str = "NotImplemented";
/// Tries to store an object that the store refuses for what happens beside it, see [`is_passing`].
const BESIDE_ATTEMPTS: u32 = 5;
const BESIDE_PAUSE: Duration = Duration::from_millis(20);
/// Tries of a download whose body breaks off; the client itself only repeats requests.
const BODY_ATTEMPTS: u32 = 3;

/// Where a bucket is. Keys and secrets come from the usual AWS variables and profile files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// The bucket's name.
    pub bucket: String,
    /// In front of all keys, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Address of a store that is not AWS.
    pub endpoint: Option<String>,
    /// From the variables and profile files when absent.
    pub region: Option<String>,
    /// The bucket is in the path and not in the host name.
    pub path_style: bool,
}

/// Why a download failed.
enum GetError {
    /// There was no answer; the client has tried often enough.
    Refused(BlobError),
    /// The answer broke off.
    Broken(BlobError),
}

/// A bucket.
#[derive(Debug)]
pub struct S3Store {
    client: Client,
    credentials: SharedCredentialsProvider,
    options: S3Options,
    /// The store answered that it does not know conditional writes.
    unconditional: AtomicBool,
}

impl S3Store {
    /// Prepares a client. Sends nothing; see [`super::probe`].
    pub async fn new(options: S3Options) -> Self {
        let plain = options.endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
        let http = if plain {
            // A machine beside its own store may have no certificates at all.
            HttpBuilder::new().build_http()
        } else {
            HttpBuilder::new()
                .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
                .build_https()
        };
        let region = region(&options).await;
        let provider = ProviderConfig::without_region()
            .with_region(Some(region.clone()))
            .with_http_client(http.clone());
        // The usual chain without the machine's metadata address: on a machine that has none,
        // asking it costs seconds, and its rights are rarely meant for this.
        let chain = CredentialsProviderChain::first_try(
            "environment",
            EnvironmentVariableCredentialsProvider::new(),
        )
        .or_else("profile", ProfileFileCredentialsProvider::builder().configure(&provider).build())
        .or_else(
            "web identity",
            WebIdentityTokenCredentialsProvider::builder().configure(&provider).build(),
        );
        let credentials = SharedCredentialsProvider::new(chain);
        let shared = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .credentials_provider(credentials.clone())
            .region(region)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(Duration::from_millis(100))
                    .with_max_backoff(Duration::from_secs(5)),
            )
            .timeout_config(timeouts(0))
            .load()
            .await;
        let mut config = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(options.path_style)
            // Our objects carry their own checksums, and many stores refuse the trailers.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &options.endpoint {
            config = config.endpoint_url(endpoint);
        }
        let client = Client::from_conf(config.build());
        Self { client, credentials, options, unconditional: AtomicBool::new(false) }
    }

    fn full(&self, key: &str) -> String {
        match self.options.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    fn short<'a>(&self, full: &'a str) -> Option<&'a str> {
        match self.options.prefix.as_str() {
            "" => Some(full),
            prefix => full.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    async fn send(&self, key: &str, object: Bytes, conditional: bool) -> Result<(), BlobError> {
        let config =
            aws_sdk_s3::config::Builder::new().timeout_config(timeouts(object.len() as u64));
        let mut attempt = 0;
        let sent = loop {
            let put = self
                .client
                .put_object()
                .bucket(&self.options.bucket)
                .key(self.full(key))
                .content_type("application/octet-stream")
                .set_if_none_match(conditional.then(|| "*".to_owned()))
                .body(ByteStream::from(object.clone()));
            let sent = put.customize().config_override(config.clone()).send().await;
            attempt += 1;
            match &sent {
                Err(error) if is_passing(error) && attempt < BESIDE_ATTEMPTS => {
                    tokio::time::sleep(BESIDE_PAUSE * attempt).await;
                }
                _ => break sent,
            }
        };
        match sent {
            Ok(_) => Ok(()),
            Err(error) if conditional && status(&error) == Some(412) => {
                Err(BlobError::Conflict { key: key.to_owned() })
            }
            Err(error) => Err(self.classify(format!("store {key}"), error).await),
        }
    }

    async fn classify<E>(&self, action: String, error: SdkError<E, HttpResponse>) -> BlobError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let detail = explain(&error);
        let code = error.code().unwrap_or_default().to_owned();
        match &error {
            SdkError::TimeoutError(_) => {
                BlobError::Unavailable { action, detail: "it did not answer in time".to_owned() }
            }
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
                // A request without keys is never sent, and looks like a failed one.
                match self.credentials.provide_credentials().await {
                    Ok(_) => BlobError::Unavailable { action, detail },
                    Err(missing) => BlobError::Denied {
                        action,
                        detail: format!(
                            "there are no keys for it; set AWS_ACCESS_KEY_ID and \
                             AWS_SECRET_ACCESS_KEY or a profile ({})",
                            causes(&missing)
                        ),
                    },
                }
            }
            SdkError::ResponseError(_) => BlobError::Unavailable { action, detail },
            _ => self.classify_answer(action, (status(&error), &code), detail),
        }
    }

    fn classify_answer(
        &self,
        action: String,
        (status, code): (Option<u16>, &str),
        detail: String,
    ) -> BlobError {
        let with = |words: &str| format!("{words} ({code})");
        match (code, status.unwrap_or_default()) {
            ("NoSuchBucket", _) => {
                BlobError::Missing { name: format!("bucket {}", self.options.bucket) }
            }
            ("InvalidAccessKeyId" | "XAdminUserNotFound", _) => {
                BlobError::Denied { action, detail: with("it does not know the access key") }
            }
            ("SignatureDoesNotMatch", _) => {
                BlobError::Denied { action, detail: with("the secret key is wrong") }
            }
            ("RequestTimeTooSkewed", _) => {
                BlobError::Denied { action, detail: with("this machine's clock is wrong") }
            }
            ("ExpiredToken", _) => {
                BlobError::Denied { action, detail: with("the session token has expired") }
            }
            ("AuthorizationHeaderMalformed" | "PermanentRedirect", _) | (_, 301 | 307) => {
                BlobError::Other {
                    action,
                    detail: with("the bucket is in another region; set region= in the address"),
                }
            }
            ("XMinioStorageFull" | "QuotaExceeded" | "XAmzQuotaExceeded", _) | (_, 507) => {
                BlobError::Full { action, detail }
            }
            (_, 401 | 403) => {
                let bucket = &self.options.bucket;
                BlobError::Denied { action, detail: with(&format!("no right to it in {bucket}")) }
            }
            ("SlowDown" | "ConditionalRequestConflict" | "OperationAborted", _)
            | (_, 408 | 409 | 425 | 429 | 500..) => BlobError::Unavailable { action, detail },
            _ => BlobError::Other { action, detail },
        }
    }

    async fn get_once(&self, key: &str) -> Result<Option<Bytes>, GetError> {
        let got =
            self.client.get_object().bucket(&self.options.bucket).key(self.full(key)).send().await;
        let output = match got {
            Ok(output) => output,
            // A missing bucket answers 404 as well and must not look like a missing object.
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => {
                return Err(GetError::Refused(self.classify(format!("read {key}"), error).await));
            }
        };
        let length = output.content_length().and_then(|length| u64::try_from(length).ok());
        let within = timeouts(length.unwrap_or_default()).operation_attempt_timeout();
        let body = output.body.collect();
        let collected = match within {
            Some(within) => tokio::time::timeout(within, body).await,
            None => Ok(body.await),
        };
        let detail = match collected {
            Ok(Ok(body)) => {
                let bytes = body.into_bytes();
                if length.is_none_or(|length| length == bytes.len() as u64) {
                    return Ok(Some(bytes));
                }
                "the answer was cut short".to_owned()
            }
            Ok(Err(error)) => causes(&error),
            Err(_) => "the answer took too long".to_owned(),
        };
        Err(GetError::Broken(BlobError::Unavailable { action: format!("read {key}"), detail }))
    }
}

#[async_trait]
impl BlobStore for S3Store {
    async fn put(&self, key: &str, object: Bytes) -> Result<(), BlobError> {
        key::check(key)?;
        if self.unconditional.load(Ordering::Relaxed) {
            return self.send(key, object, false).await;
        }
        match self.send(key, object.clone(), true).await {
            Err(BlobError::Conflict { key }) => match self.get(&key).await? {
                // An earlier try arrived and only its answer was lost.
                Some(held) if held == object => Ok(()),
                _ => Err(BlobError::Conflict { key }),
            },
            Err(BlobError::Unavailable { detail, .. }) if detail.contains(NOT_IMPLEMENTED) => {
                tracing::info!("the blob store has no conditional writes");
                self.unconditional.store(true, Ordering::Relaxed);
                self.send(key, object, false).await
            }
            other => other,
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        key::check(key)?;
        let mut attempt = 1;
        loop {
            match self.get_once(key).await {
                Ok(object) => return Ok(object),
                Err(GetError::Broken(_)) if attempt < BODY_ATTEMPTS => attempt += 1,
                Err(GetError::Broken(error) | GetError::Refused(error)) => return Err(error),
            }
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, BlobError> {
        key::check_prefix(prefix)?;
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.options.bucket)
            .prefix(self.full(prefix))
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    return Err(self
                        .classify(format!("list objects under \"{prefix}\""), error)
                        .await);
                }
            };
            for object in page.contents() {
                // Folder markers that other tools leave are no objects of ours.
                let key = object.key().and_then(|key| self.short(key));
                let Some(key) = key.filter(|key| key::check(key).is_ok()) else { continue };
                let modified = object.last_modified().and_then(|time| time.to_millis().ok());
                found.push(ObjectInfo {
                    key: key.to_owned(),
                    size: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
                    modified_ms: modified.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0),
                });
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        key::check_folder(prefix)?;
        let full = self.full(prefix);
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.options.bucket)
            .prefix(&full)
            .delimiter("/")
            .into_paginator()
            .send();
        let mut folders = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    return Err(self
                        .classify(format!("list objects under \"{prefix}\""), error)
                        .await);
                }
            };
            folders.extend(page.common_prefixes().iter().filter_map(|common| {
                let folder = common.prefix()?.strip_prefix(&full)?.strip_suffix('/')?;
                key::check(folder).is_ok().then(|| folder.to_owned())
            }));
        }
        folders.sort();
        folders.dedup();
        Ok(folders)
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        key::check(key)?;
        let deleted = self
            .client
            .delete_object()
            .bucket(&self.options.bucket)
            .key(self.full(key))
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(self.classify(format!("delete {key}"), error).await),
        }
    }
}

/// Whether an upload met another request: a conflict of conditional writes, or in stores that keep
/// objects as files a folder that is emptied by a deletion at this moment.
fn is_passing<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(
        error.code(),
        Some("ConditionalRequestConflict" | "OperationAborted" | "ExistingObjectIsDirectory")
    )
}

async fn region(options: &S3Options) -> Region {
    if let Some(region) = &options.region {
        return Region::new(region.clone());
    }
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new());
    chain.region().await.unwrap_or_else(|| Region::from_static(DEFAULT_REGION))
}

fn timeouts(bytes: u64) -> TimeoutConfig {
    let attempt = ATTEMPT_TIMEOUT + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt * TIMED_OUT_ATTEMPTS)
        .build()
}

/// What the store said, or else why it could not be asked.
fn explain<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match (error.code(), error.message(), status(error)) {
        (Some(code), Some(message), _) => format!("{message} ({code})"),
        (Some(code), None, _) => code.to_owned(),
        (None, _, Some(status)) => format!("it answered {status}: {}", causes(error)),
        (None, _, None) => causes(error),
    }
}

/// An error and what caused it, each said once.
fn causes(error: &dyn Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.iter().any(|earlier| earlier.contains(&text)) {
            said.push(text);
        }
        cause = error.source();
    }
    said.join(": ")
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}
