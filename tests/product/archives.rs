use std::io::{Cursor, Read, Write};

use anyhow::Result;
use reqwest::{Method, StatusCode};
use tandem_testkit::Api;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::python;

async fn import(api: &Api, repl: &str, archive: Vec<u8>) -> Result<StatusCode> {
    let answer = api
        .request(Method::POST, &format!("/api/v1/repls/{repl}/import"))
        .header("content-type", "application/zip")
        .body(archive)
        .send()
        .await?;
    Ok(answer.status())
}

async fn export(api: &Api, repl: &str) -> Result<ZipArchive<Cursor<Vec<u8>>>> {
    let path = format!("/api/v1/repls/{repl}/archive.zip");
    let answer = api.request(Method::GET, &path).send().await?.error_for_status()?;
    Ok(ZipArchive::new(Cursor::new(answer.bytes().await?.to_vec()))?)
}

fn archive(entries: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, SimpleFileOptions::default())?;
        writer.write_all(content)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_everything_and_can_be_imported() -> Result<()> {
    let (_server, api, repl) = python().await?;
    api.write(&repl, "folder/ünï.txt", "text").await?;
    api.write(&repl, "data.bin", vec![0u8, 1, 2, 255]).await?;
    let mut live = api.live(&repl).await?;
    live.join("main.py").await?;
    live.append("main.py", "# typed\n").await?;
    live.fsynced("main.py").await?;

    let mut exported = export(&api, &repl).await?;
    let mut content = String::new();
    exported.by_name("main.py")?.read_to_string(&mut content)?;
    assert!(content.ends_with("# typed\n"));
    let bytes = exported.into_inner().into_inner();

    let other = api.create("bash").await?.id.to_string();
    assert!(import(&api, &other, bytes).await?.is_success());
    assert_eq!(api.text(&other, "folder/ünï.txt").await?, "text");
    assert_eq!(api.read(&other, "data.bin").await?, [0, 1, 2, 255]);
    assert_eq!(api.text(&other, "main.py").await?, content);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_that_leaves_the_workspace_is_refused_whole() -> Result<()> {
    let (_server, api, repl) = python().await?;
    for name in ["../outside.txt", "/absolute.txt", "a/../../b.txt", "nul\0.txt", "back\\..\\..\\x"]
    {
        let bytes = archive(&[("fine.txt", b"fine"), (name, b"evil")])?;
        let status = import(&api, &repl, bytes).await?;
        // A backslash is an ordinary character of a name on Linux.
        if !name.contains('\\') {
            assert!(status.is_client_error(), "{name:?}: {status}");
            let fine = api.status_of(Method::GET, &Api::file_path(&repl, "fine.txt")).await?;
            assert_eq!(fine, 404, "nothing of the archive with {name:?} was taken");
        }
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("link", "/etc/passwd", SimpleFileOptions::default())?;
    writer.start_file("link/inside", SimpleFileOptions::default())?;
    let status = import(&api, &repl, writer.finish()?.into_inner()).await?;
    assert!(status.is_client_error(), "a file through a link: {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_bomb_is_refused_and_costs_little() -> Result<()> {
    let (server, api, repl) = python().await?;
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let zeros = vec![0u8; 1 << 20];
    for name in ["a", "b", "c"] {
        writer.start_file(name, options)?;
        for _ in 0..256 {
            writer.write_all(&zeros)?;
        }
    }
    let bomb = writer.finish()?.into_inner();
    assert!(bomb.len() < 2 << 20, "768 MiB in {} bytes", bomb.len());
    let before = resident(server.pid())?;
    assert!(import(&api, &repl, bomb).await?.is_client_error());
    let grown = resident(server.pid())?.saturating_sub(before);
    assert!(grown < 300 << 20, "the server grew by {grown} bytes");
    assert_eq!(api.status_of(Method::GET, &Api::file_path(&repl, "a")).await?, 404);

    assert!(import(&api, &repl, b"this is no zip".to_vec()).await?.is_client_error());
    let many: Vec<_> = (0..60_000).map(|number| format!("f{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert!(import(&api, &repl, archive(&many)?).await?.is_client_error());
    Ok(())
}

fn resident(pid: i32) -> Result<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}
