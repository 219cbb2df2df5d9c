use std::time::Duration;

use anyhow::Result;
use tandem_proto::lib0::{write_var_bytes, write_var_string, write_var_uint};
use tandem_proto::live::{DIR_PREFIX, LIVE, Refusal};
use tandem_testkit::{
    CollabEvent, CollabSocket, LIMIT, Replica, YMessage, YSocket, eventually, within,
};

use crate::python;

#[tokio::test(flavor = "multi_thread")]
async fn three_protocols_converge_on_one_document() -> Result<()> {
    let (_server, api, repl) = python().await?;
    api.write(&repl, "notes.txt", "start\n").await?;

    let mut ours = api.live(&repl).await?;
    ours.join("notes.txt").await?;
    let mut yws = YSocket::open(&api, &repl, "notes.txt").await?;
    yws.synced().await?;
    let address = format!("{repl}/notes.txt");
    let hocuspocus = Replica::default();
    let mut collab = CollabSocket::open(&api).await?;
    collab.join(&address, api.token(), &hocuspocus.state_vector()).await?;
    let CollabEvent::Step2(state) =
        collab.wait_for(&address, |event| matches!(event, CollabEvent::Step2(_))).await?
    else {
        unreachable!()
    };
    hocuspocus.apply(&state)?;
    assert_eq!(hocuspocus.text(), "start\n");

    ours.append("notes.txt", "from ours\n").await?;
    yws.append("from y-websocket\n").await?;
    collab.send_sync(&address, 2, &hocuspocus.append("from Hocuspocus\n")).await?;

    let everything = |text: &str| text.lines().count() == 4;
    let text = ours.wait_for_text("notes.txt", "all three edits", everything).await?;
    yws.wait_for("all three edits", everything).await?;
    while !everything(&hocuspocus.text()) {
        if let (_, CollabEvent::Update(update)) = collab.receive().await? {
            hocuspocus.apply(&update)?;
        }
    }
    assert_eq!(yws.replica.text(), text);
    assert_eq!(hocuspocus.text(), text);
    assert_eq!(api.text(&repl, "notes.txt").await?, text);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_edits_merge_on_return() -> Result<()> {
    let (_server, api, repl) = python().await?;
    api.write(&repl, "notes.txt", "a\n").await?;
    let mut away = api.live(&repl).await?;
    away.join("notes.txt").await?;
    let held = away.take("notes.txt")?;
    drop(away);
    held.replica.append("typed offline\n");

    let mut present = api.live(&repl).await?;
    present.join("notes.txt").await?;
    present.append("notes.txt", "typed meanwhile\n").await?;
    present.fsynced("notes.txt").await?;

    let mut back = api.live(&repl).await?;
    back.join_with("notes.txt", held).await?;
    back.fsynced("notes.txt").await?;
    for socket in [&mut back, &mut present] {
        socket
            .wait_for_text("notes.txt", "both edits", |text| {
                text.contains("typed offline\n") && text.contains("typed meanwhile\n")
            })
            .await?;
    }
    assert_eq!(back.text("notes.txt")?, present.text("notes.txt")?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hocuspocus_update_is_answered_exactly_once() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let address = format!("{repl}/main.py");
    let replica = Replica::default();
    let mut socket = CollabSocket::open(&api).await?;
    socket.join(&address, api.token(), &replica.state_vector()).await?;
    let CollabEvent::Step2(state) =
        socket.wait_for(&address, |event| matches!(event, CollabEvent::Step2(_))).await?
    else {
        unreachable!()
    };
    replica.apply(&state)?;

    let updates: Vec<_> = (0..20).map(|number| replica.append(&format!("# {number}\n"))).collect();
    for update in &updates {
        socket.send_sync(&address, 2, update).await?;
    }
    // A duplicate is answered too.
    socket.send_sync(&address, 2, &updates[7]).await?;
    let mut answers = 0;
    while answers < updates.len() + 1 {
        let event =
            socket.wait_for(&address, |event| matches!(event, CollabEvent::Status(_))).await?;
        assert_eq!(event, CollabEvent::Status(true));
        answers += 1;
    }
    // And nothing more: the next answer belongs to the next update.
    let extra = socket.socket().next_within(Duration::from_millis(300)).await?;
    assert!(extra.is_none(), "one answer too many: {extra:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hocuspocus_socket_holds_documents_and_sessions_apart() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let other = api.create("node").await?.id;
    let addresses =
        [format!("{repl}/main.py"), format!("{repl}/main.py\0second"), format!("{other}/main.js")];
    let mut socket = CollabSocket::open(&api).await?;
    for address in &addresses {
        socket.join(address, api.token(), &Replica::default().state_vector()).await?;
    }
    let mut texts = [const { None }; 3];
    while texts.iter().any(Option::is_none) {
        if let (address, CollabEvent::Step2(state)) = socket.receive().await? {
            let replica = Replica::default();
            replica.apply(&state)?;
            let index = addresses.iter().position(|known| *known == address);
            texts[index.expect("answers repeat the address as it was")] = Some(replica.text());
        }
    }
    let texts = texts.map(Option::unwrap_or_default);
    assert!(texts[0].contains("Hello from Python"));
    assert_eq!(texts[0], texts[1]);
    assert!(texts[2].contains("Node.js"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_document_says_so_and_why() -> Result<()> {
    let (_server, api, repl) = python().await?;
    api.write(&repl, "logo.png", vec![0x89, b'P', b'N', b'G', 0, 0xff]).await?;
    for (path, code) in [("missing.txt", 4404), ("logo.png", 4415)] {
        let mut socket = YSocket::open(&api, &repl, path).await?;
        assert_eq!(socket.socket().closed().await?.code, code, "{path} on y-websocket");

        let mut live = api.live(&repl).await?;
        let error = live.join(path).await.err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains(&code.to_string())), "{path} on tandem.v1");
        // The socket itself lives on.
        live.join("main.py").await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_keeps_identity_and_connections() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let mut ours = api.live(&repl).await?;
    let before = ours.join("main.py").await?.identity;
    let mut yws = YSocket::open(&api, &repl, "main.py").await?;
    yws.synced().await?;

    api.rename(&repl, "main.py", "renamed.py").await?;
    yws.append("# after the rename\n").await?;
    ours.wait_for_text("main.py", "the edit", |text| text.contains("# after the rename")).await?;
    assert!(api.text(&repl, "renamed.py").await?.contains("# after the rename"));

    let mut fresh = api.live(&repl).await?;
    let after = fresh.join("renamed.py").await?.identity;
    assert_eq!(before, after);
    let mut old_path = YSocket::open(&api, &repl, "main.py").await?;
    assert_eq!(old_path.socket().closed().await?.code, Refusal::NotFound as u16);
    Ok(())
}

fn awareness(client: u64, clock: u64, state: &str) -> Vec<u8> {
    let mut update = Vec::new();
    write_var_uint(&mut update, 1);
    write_var_uint(&mut update, client);
    write_var_uint(&mut update, clock);
    write_var_string(&mut update, state);
    let mut frame = vec![1];
    write_var_bytes(&mut frame, &update);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caret_goes_when_its_connection_breaks() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let mut watcher = YSocket::open(&api, &repl, "main.py").await?;
    watcher.synced().await?;
    let mut person = YSocket::open(&api, &repl, "main.py").await?;
    person.synced().await?;
    person.socket().send(awareness(4242, 1, r#"{"user":{"name":"Ada"}}"#)).await?;

    let caret = async |socket: &mut YSocket, wanted: &str| loop {
        if let YMessage::Awareness(bytes) = socket.receive().await?
            && String::from_utf8_lossy(&bytes).contains(wanted)
        {
            return anyhow::Ok(());
        }
    };
    // Echoed to its sender, whose stock client would else think that the server is gone.
    caret(&mut person, "Ada").await?;
    caret(&mut watcher, "Ada").await?;
    drop(person);
    within("the caret to go", Duration::from_secs(1), caret(&mut watcher, "null")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_people_are_documents_that_only_the_server_writes() -> Result<()> {
    let (_server, api, repl) = python().await?;
    let root = api.tree(&repl, "").await?.id;
    let folder = format!("{DIR_PREFIX}{root}");
    let mut socket = api.live(&repl).await?;
    socket.watch(&folder).await?;
    socket.watch(LIVE).await?;
    let has = |name: &'static str| {
        let folder = folder.clone();
        move |socket: &tandem_testkit::LiveSocket| {
            socket.map_values(&folder, "entries").is_ok_and(|entries| entries.contains_key(name))
        }
    };
    socket.wait_for("main.py in the folder", has("main.py")).await?;
    api.write(&repl, "new.txt", "").await?;
    socket.wait_for("new.txt in the folder", has("new.txt")).await?;
    api.remove(&repl, "new.txt").await?;
    socket.wait_for("new.txt is gone", |socket| !has("new.txt")(socket)).await?;

    socket
        .wait_for("one person", |socket| {
            socket.live_state().is_ok_and(|live| live.people.len() == 1)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn line_ends_and_byte_order_mark_belong_to_the_file() -> Result<()> {
    let (_server, api, repl) = python().await?;
    api.write(&repl, "dos.txt", "\u{feff}one\r\ntwo\r\n").await?;
    let mut socket = api.live(&repl).await?;
    assert_eq!(socket.join("dos.txt").await?.replica.text(), "one\ntwo\n");
    socket.append("dos.txt", "three\n").await?;
    socket.fsynced("dos.txt").await?;
    assert_eq!(api.text(&repl, "dos.txt").await?, "\u{feff}one\r\ntwo\r\nthree\r\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_on_an_open_text_merges_as_a_difference() -> Result<()> {
    let (_server, api, repl) = python().await?;
    api.write(&repl, "notes.txt", "one\ntwo\nthree\n").await?;
    let mut socket = api.live(&repl).await?;
    let identity = socket.join("notes.txt").await?.identity;
    api.write(&repl, "notes.txt", "one\n2\nthree\n").await?;
    socket.wait_for_text("notes.txt", "the PUT", |text| text == "one\n2\nthree\n").await?;
    assert_eq!(socket.document("notes.txt")?.identity, identity);
    eventually("the file is the document", LIMIT, || async {
        Ok((api.text(&repl, "notes.txt").await? == "one\n2\nthree\n").then_some(()))
    })
    .await
}
