//! Tests of addresses. The stores have their suite in `tests/blob_conformance.rs`.

use super::*;

#[test]
fn addresses_round_trip() {
    for text in [
        "file:///var/lib/tandem/blobs",
        "file:///with%25sign/%C3%A4",
        "s3://bucket",
        "s3://bucket/some/prefix?region=eu-west-1",
        "s3://my.bucket-1?endpoint=http://127.0.0.1:9000&region=us-east-1&path_style=true",
        "memory:",
    ] {
        let url: BlobStoreUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), text);
    }
    let encoded: BlobStoreUrl = "s3://b12?endpoint=https%3A%2F%2Fs3.example%3A1".parse().unwrap();
    let BlobStoreUrl::S3(options) = encoded else { panic!("{encoded:?}") };
    assert_eq!(options.endpoint.as_deref(), Some("https://s3.example:1"));
    assert_eq!((options.path_style, options.prefix.as_str()), (false, ""));
    let slashes: BlobStoreUrl = "s3://b12/a/b/".parse().unwrap();
    assert_eq!(slashes.to_string(), "s3://b12/a/b");
}

#[test]
fn bad_addresses_say_why() {
    use BlobStoreUrlError::*;
    for (text, wanted) in [
        ("", Scheme),
        ("/var/blobs", Scheme),
        ("http://x", Scheme),
        ("file://relative", Relative),
        ("file:///a%00b", Relative),
        ("s3://", Bucket(String::new())),
        ("s3://Upper", Bucket("Upper".to_owned())),
        ("s3://key:secret@bucket", Credentials),
        ("s3://bucket/../x", Prefix("../x".to_owned())),
        ("s3://bucket?zone=1", Option("zone".to_owned())),
        ("s3://bucket?endpoint=http://u:p@host", Credentials),
        ("s3://bucket?endpoint=host", Value { option: "endpoint", value: "host".to_owned() }),
        ("s3://bucket?region=a/b", Value { option: "region", value: "a/b".to_owned() }),
        ("s3://bucket?path_style=yes", Value { option: "path_style", value: "yes".to_owned() }),
    ] {
        assert_eq!(text.parse::<BlobStoreUrl>(), Err(wanted), "{text}");
    }
}
