//! One suite, run on a real SQLite file and on a real PostgreSQL server.

mod postgres;

use tandem_proto::internal::{
    LeaseRequest, MoveHead, NodeHeartbeat, ReleaseLease, RenewLeases, ReplLoad,
};
use tandem_proto::{BootId, Epoch, LinkId, MemberId, NodeId, ReplId, Role};

use super::*;
use crate::session::made_up;
use crate::token::Token;

fn repl_id(n: u8) -> ReplId {
    ReplId::from_random([n; 10])
}

fn member_id(n: u8) -> MemberId {
    MemberId::from_random([n; 10])
}

fn node_id(n: u8) -> NodeId {
    NodeId::from_random([n; 10])
}

async fn add_repl(metadata: &Metadata, n: u8) -> ReplId {
    let owner = member_id(100);
    metadata.add_member(&made_up(owner), 1).await.unwrap();
    let id = repl_id(n);
    let repl = NewRepl {
        id,
        name: format!("Repl {n}"),
        template: "python".to_owned(),
        language: "python".to_owned(),
        owner,
        created_ms: 1_000 + u64::from(n),
    };
    metadata.add_repl(&repl).await.unwrap();
    metadata.mark_ready(id).await.unwrap();
    id
}

async fn add_link(metadata: &Metadata, repl: ReplId, role: Role, n: u8) -> (LinkRow, Token) {
    let id = LinkId::from_random([n; 10]);
    let member = crate::link::member_of(id);
    let link = LinkRow { id, repl, role, member, created_ms: u64::from(n) };
    let token = Token::generate().unwrap();
    assert!(
        metadata.add_link(&link, &token.hash().to_text(), &made_up(link.member)).await.unwrap()
    );
    (link, token)
}

fn wants(repl: ReplId, node: u8, seen: u64) -> LeaseRequest {
    LeaseRequest { repl, node: node_id(node), seen_epoch: Epoch(seen) }
}

async fn granted(metadata: &Metadata, request: LeaseRequest) -> Option<u64> {
    match metadata.take_lease(&request).await.unwrap() {
        LeaseAnswer::Granted(lease) => {
            assert!(lease.lasts_ms > 20_000 && lease.lasts_ms <= 30_000, "{}", lease.lasts_ms);
            Some(lease.epoch.0)
        }
        LeaseAnswer::Held | LeaseAnswer::NoRepl => None,
    }
}

/// As if this many milliseconds had passed for the leases.
async fn let_time_pass(metadata: &Metadata, ms: i64) {
    sqlx::query(
        "UPDATE repls SET lease_until_ms = lease_until_ms - $1 WHERE lease_node IS NOT NULL",
    )
    .bind(ms)
    .execute(&metadata.pool)
    .await
    .unwrap();
}

async fn a_repl_is_seen_from_ready_to_purged(metadata: Metadata) {
    let unready = NewRepl {
        id: repl_id(9),
        name: "x".to_owned(),
        template: "c".to_owned(),
        language: "c".to_owned(),
        owner: member_id(1),
        created_ms: 5,
    };
    metadata.add_repl(&unready).await.unwrap();
    assert!(metadata.add_repl(&unready).await.is_err(), "an id is used once");
    assert_eq!(metadata.repl(unready.id).await.unwrap(), None);
    assert_eq!(metadata.all_repls(Which::Present).await.unwrap(), []);

    let (first, second) = (add_repl(&metadata, 1).await, add_repl(&metadata, 2).await);
    let names = |list: Vec<ReplRow>| list.into_iter().map(|repl| repl.name).collect::<Vec<_>>();
    assert_eq!(names(metadata.all_repls(Which::Present).await.unwrap()), ["Repl 2", "Repl 1"]);
    let odd = "Ünïcode 'quoted\" \\ ; DROP TABLE repls";
    assert!(metadata.rename_repl(first, odd, 9_000).await.unwrap());
    assert_eq!(names(metadata.all_repls(Which::Present).await.unwrap()), [odd, "Repl 2"]);

    assert!(metadata.delete_repl(first, 10_000).await.unwrap());
    assert!(!metadata.delete_repl(first, 10_001).await.unwrap());
    assert!(!metadata.rename_repl(first, "no", 1).await.unwrap());
    assert_eq!(metadata.repl(first).await.unwrap().unwrap().deleted_ms, Some(10_000));
    assert_eq!(names(metadata.all_repls(Which::Present).await.unwrap()), ["Repl 2"]);
    assert_eq!(names(metadata.all_repls(Which::Deleted).await.unwrap()), [odd]);
    assert!(metadata.restore_repl(first).await.unwrap());
    assert!(!metadata.restore_repl(first).await.unwrap());

    assert!(metadata.delete_repl(second, 10_000).await.unwrap());
    assert_eq!(metadata.repls_to_purge(10_000, 5).await.unwrap(), []);
    let mut purge = metadata.repls_to_purge(10_001, 6).await.unwrap();
    purge.sort();
    assert_eq!(purge, [second, unready.id]);
    metadata.purge_repl(second).await.unwrap();
    assert_eq!(metadata.repl(second).await.unwrap(), None);
    assert_eq!(metadata.role(second, member_id(100)).await.unwrap(), None);
}

async fn a_lease_has_one_holder_and_rising_epochs(metadata: Metadata) {
    let repl = add_repl(&metadata, 1).await;
    assert_eq!(granted(&metadata, wants(repl, 1, 0)).await, Some(1));
    assert_eq!(granted(&metadata, wants(repl, 2, 0)).await, None);
    assert_eq!(granted(&metadata, wants(repl, 1, 0)).await, Some(2), "the same node at once");
    assert_eq!(granted(&metadata, wants(repl, 1, 41)).await, Some(42), "above what is stored");
    assert_eq!(granted(&metadata, wants(repl, 1, 7)).await, Some(43));
    assert_eq!(metadata.repl(repl).await.unwrap().unwrap().node, Some(node_id(1)));

    let_time_pass(&metadata, 25_000).await;
    assert_eq!(granted(&metadata, wants(repl, 2, 0)).await, None);
    let renew = |epoch| RenewLeases { node: node_id(1), leases: vec![(repl, Epoch(epoch))] };
    let renewed = metadata.renew_leases(&renew(43)).await.unwrap();
    assert_eq!((renewed.held, renewed.lost), (vec![repl], vec![]));
    let_time_pass(&metadata, 25_000).await;
    assert_eq!(granted(&metadata, wants(repl, 2, 0)).await, None, "renewed");
    let_time_pass(&metadata, 10_000).await;
    let renewed = metadata.renew_leases(&renew(43)).await.unwrap();
    assert_eq!(renewed.held, [repl], "run out, but nobody took it");
    let_time_pass(&metadata, 35_000).await;
    assert_eq!(granted(&metadata, wants(repl, 2, 0)).await, Some(44));
    let renewed = metadata.renew_leases(&renew(43)).await.unwrap();
    assert_eq!((renewed.held, renewed.lost), (vec![], vec![repl]));

    let release = |node, epoch| ReleaseLease { repl, node: node_id(node), epoch: Epoch(epoch) };
    metadata.release_lease(&release(1, 43)).await.unwrap();
    assert_eq!(granted(&metadata, wants(repl, 1, 0)).await, None, "not theirs to release");
    metadata.release_lease(&release(2, 44)).await.unwrap();
    assert_eq!(granted(&metadata, wants(repl, 1, 0)).await, Some(45));

    let unknown = metadata.take_lease(&wants(repl_id(77), 1, 0)).await.unwrap();
    assert!(matches!(unknown, LeaseAnswer::NoRepl));
    metadata.delete_repl(repl, 1).await.unwrap();
    let deleted = metadata.take_lease(&wants(repl, 1, 0)).await.unwrap();
    assert!(matches!(deleted, LeaseAnswer::NoRepl));
    let renewed = metadata.renew_leases(&renew(45)).await.unwrap();
    assert_eq!(renewed.lost, [repl]);
}

async fn of_many_who_want_a_lease_one_gets_it(metadata: Metadata) {
    let repl = add_repl(&metadata, 1).await;
    for round in 1..=5u64 {
        let mut race = tokio::task::JoinSet::new();
        for node in 1..=8 {
            let metadata = metadata.clone();
            race.spawn(async move { granted(&metadata, wants(repl, node, 0)).await });
        }
        let won: Vec<u64> = race.join_all().await.into_iter().flatten().collect();
        assert_eq!(won, [round]);
        let_time_pass(&metadata, 60_000).await;
    }
}

async fn a_head_moves_only_from_where_it_is(metadata: Metadata) {
    let repl = add_repl(&metadata, 1).await;
    granted(&metadata, wants(repl, 1, 0)).await.unwrap();
    let step = |epoch, from: Option<&str>, to: &str| MoveHead {
        repl,
        epoch: Epoch(epoch),
        from: from.map(str::to_owned),
        to: to.to_owned(),
    };
    let steps = [
        (step(1, None, "a"), HeadMove::Moved),
        (step(1, None, "a"), HeadMove::Moved),
        (step(1, Some("a"), "b"), HeadMove::Moved),
        (step(1, Some("a"), "c"), HeadMove::Refused),
        (step(1, None, "c"), HeadMove::Refused),
        (step(0, Some("b"), "c"), HeadMove::Refused),
        (step(2, Some("b"), "c"), HeadMove::Refused),
        (step(1, Some("a"), "b"), HeadMove::Moved),
        (step(1, Some("b"), "c"), HeadMove::Moved),
    ];
    for (index, (step, want)) in steps.iter().enumerate() {
        assert_eq!(metadata.move_head(step).await.unwrap(), *want, "step {index}");
    }
    let LeaseAnswer::Granted(lease) = metadata.take_lease(&wants(repl, 1, 0)).await.unwrap() else {
        panic!("no lease")
    };
    assert_eq!(lease.head.as_deref(), Some("c"));
    assert_eq!(metadata.move_head(&step(1, Some("c"), "d")).await.unwrap(), HeadMove::Refused);
    // A head that this database lost is taken from the holder.
    let other = add_repl(&metadata, 2).await;
    granted(&metadata, wants(other, 1, 6)).await.unwrap();
    let found = MoveHead { repl: other, ..step(7, Some("found in the blob store"), "next") };
    assert_eq!(metadata.move_head(&found).await.unwrap(), HeadMove::Moved);
}

async fn links_add_rights_and_take_them_back(metadata: Metadata) {
    let (repl, other) = (add_repl(&metadata, 1).await, add_repl(&metadata, 2).await);
    let (viewer, token) = add_link(&metadata, repl, Role::Viewer, 1).await;
    let (editor, _) = add_link(&metadata, repl, Role::Editor, 2).await;
    let guest = member_id(7);
    metadata.add_member(&made_up(guest), 1).await.unwrap();
    assert_eq!(metadata.link_by_token(token.hash()).await.unwrap(), Some(viewer.clone()));
    let wrong = Token::generate().unwrap();
    assert_eq!(metadata.link_by_token(wrong.hash()).await.unwrap(), None);
    assert_eq!(metadata.links(repl).await.unwrap(), [viewer.clone(), editor.clone()]);
    assert_eq!(metadata.links(other).await.unwrap(), []);

    assert_eq!(metadata.role(repl, guest).await.unwrap(), None);
    for link in [&editor, &viewer, &viewer] {
        assert!(metadata.join_by_link(guest, link.id).await.unwrap());
    }
    assert_eq!(metadata.role(repl, guest).await.unwrap(), Some(Role::Editor), "never lowered");
    let mine = metadata.repls_of(guest, Which::Present).await.unwrap();
    assert_eq!(
        mine.iter().map(|(r, role)| (r.id, *role)).collect::<Vec<_>>(),
        [(repl, Role::Editor)]
    );
    assert_eq!(metadata.role(repl, viewer.member).await.unwrap(), Some(Role::Viewer));
    assert_eq!(metadata.role(other, viewer.member).await.unwrap(), None);

    let mut who = metadata.members_by_link(repl, editor.id).await.unwrap();
    who.sort();
    let mut want = vec![guest, editor.member];
    want.sort();
    assert_eq!(who, want);
    assert!(!metadata.remove_link(other, editor.id).await.unwrap(), "another repl's link");
    assert!(metadata.remove_link(repl, editor.id).await.unwrap());
    assert!(!metadata.remove_link(repl, editor.id).await.unwrap());
    assert_eq!(metadata.role(repl, guest).await.unwrap(), Some(Role::Viewer));
    assert!(metadata.remove_link(repl, viewer.id).await.unwrap());
    assert_eq!(metadata.role(repl, guest).await.unwrap(), None);
    assert_eq!(metadata.link_by_token(token.hash()).await.unwrap(), None);
    assert!(!metadata.join_by_link(guest, viewer.id).await.unwrap());
    assert_eq!(metadata.role(repl, member_id(100)).await.unwrap(), Some(Role::Owner));
}

async fn sessions_end(metadata: Metadata) {
    let guest = made_up(member_id(3));
    metadata.add_member(&guest, 1).await.unwrap();
    metadata.add_member(&MemberRow { name: "other".to_owned(), ..guest.clone() }, 2).await.unwrap();
    let (first, second) = (Token::generate().unwrap(), Token::generate().unwrap());
    for (token, expires_ms) in [(&first, 100), (&second, 200)] {
        let lifetime = SessionLifetime { created_ms: 1, expires_ms };
        metadata.add_session(token.hash(), guest.id, lifetime).await.unwrap();
    }
    assert_eq!(metadata.session_member(first.hash(), 99).await.unwrap(), Some(guest.clone()));
    assert_eq!(metadata.session_member(first.hash(), 100).await.unwrap(), None);
    assert_eq!(metadata.remove_expired_sessions(100).await.unwrap(), 1);
    assert_eq!(metadata.session_member(first.hash(), 1).await.unwrap(), None);
    metadata.remove_session(second.hash()).await.unwrap();
    assert_eq!(metadata.session_member(second.hash(), 1).await.unwrap(), None);
    let renamed = MemberRow { name: "Ada".to_owned(), named: true, ..guest.clone() };
    metadata.update_member(&renamed).await.unwrap();
    assert_eq!(metadata.member(guest.id).await.unwrap(), Some(renamed));
}

async fn nodes_are_remembered_while_they_speak(metadata: Metadata) {
    let repl = add_repl(&metadata, 1).await;
    let load = ReplLoad { repl, online: 3, running: true, updated_ms: 77_000 };
    let beat =
        |repls| NodeHeartbeat { node: node_id(1), boot: BootId(1), address: String::new(), repls };
    metadata.heartbeat(&beat(vec![load.clone()])).await.unwrap();
    let nodes = metadata.nodes().await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0].loads[0].online, 3);
    assert_eq!(metadata.repl(repl).await.unwrap().unwrap().updated_ms, 77_000);
    let late = ReplLoad { updated_ms: 5, ..load };
    metadata.heartbeat(&beat(vec![late])).await.unwrap();
    assert_eq!(metadata.repl(repl).await.unwrap().unwrap().updated_ms, 77_000, "never back");
    sqlx::query("UPDATE nodes SET seen_ms = seen_ms - 30000")
        .execute(&metadata.pool)
        .await
        .unwrap();
    assert!(metadata.nodes().await.unwrap().is_empty());
}

async fn what_is_recorded_makes_the_same_rows(metadata: Metadata) {
    let repl = add_repl(&metadata, 1).await;
    let (viewer, token) = add_link(&metadata, repl, Role::Viewer, 1).await;
    let guest = MemberRow { name: "Ada".to_owned(), named: true, ..made_up(member_id(7)) };
    metadata.add_member(&guest, 1).await.unwrap();
    metadata.join_by_link(guest.id, viewer.id).await.unwrap();
    assert_eq!(metadata.unrecorded().await.unwrap(), [repl]);
    let (seq, recorded) = metadata.to_record(repl).await.unwrap().unwrap();
    metadata.mark_recorded(repl, seq).await.unwrap();
    assert_eq!(metadata.unrecorded().await.unwrap(), []);
    metadata.update_member(&guest).await.unwrap();
    assert_eq!(metadata.unrecorded().await.unwrap(), [repl], "a person's name is recorded too");
    assert_eq!(recorded.members.len(), 2, "links are not listed as people");

    assert!(!metadata.adopt(&recorded, |link| made_up(link.member)).await.unwrap());
    metadata.purge_repl(repl).await.unwrap();
    assert_eq!(metadata.known_repls().await.unwrap(), []);
    assert!(metadata.adopt(&recorded, |link| made_up(link.member)).await.unwrap());
    assert_eq!(metadata.known_repls().await.unwrap(), [repl]);
    let row = metadata.repl(repl).await.unwrap().unwrap();
    assert_eq!((row.name.as_str(), row.owner), ("Repl 1", member_id(100)));
    assert_eq!(metadata.commonest_owner().await.unwrap(), Some(member_id(100)));
    assert_eq!(metadata.role(repl, guest.id).await.unwrap(), Some(Role::Viewer));
    assert_eq!(metadata.role(repl, member_id(100)).await.unwrap(), Some(Role::Owner));
    assert_eq!(metadata.link_by_token(token.hash()).await.unwrap(), Some(viewer.clone()));
    // The record does not say by which link the guest came; any of that role ends it.
    assert!(metadata.members_by_link(repl, viewer.id).await.unwrap().contains(&guest.id));
    assert!(metadata.remove_link(repl, viewer.id).await.unwrap());
    assert_eq!(metadata.role(repl, guest.id).await.unwrap(), None);
}

async fn settings_are_the_same_for_all(metadata: Metadata) {
    assert_eq!(metadata.setting("owner").await.unwrap(), None);
    assert_eq!(metadata.setting_or("owner", "first").await.unwrap(), "first");
    assert_eq!(metadata.setting_or("owner", "second").await.unwrap(), "first");
    metadata.ping().await.unwrap();
    // The database's clock and ours are the same machine's here.
    let apart = metadata.now_ms().await.unwrap().abs_diff(wall_ms());
    assert!(apart < 3_000, "{apart} ms apart");
}

/// Runs every scenario, each on a database of its own.
macro_rules! suite {
    ($url:expr) => {
        suite!($url;
            a_repl_is_seen_from_ready_to_purged,
            a_lease_has_one_holder_and_rising_epochs,
            of_many_who_want_a_lease_one_gets_it,
            a_head_moves_only_from_where_it_is,
            links_add_rights_and_take_them_back,
            sessions_end,
            nodes_are_remembered_while_they_speak,
            what_is_recorded_makes_the_same_rows,
            settings_are_the_same_for_all,
        )
    };
    ($url:expr; $($scenario:ident),* $(,)?) => {
        $(
            let url: String = $url;
            eprintln!("{}", stringify!($scenario));
            let metadata = Metadata::open(&url).await.unwrap();
            $scenario(metadata.clone()).await;
            metadata.close().await;
            // Its tables are up to date already.
            let again = Metadata::open(&url).await.unwrap();
            again.close().await;
        )*
    };
}

#[tokio::test]
async fn sqlite_passes_the_suite() {
    let directory = tempfile::tempdir().unwrap();
    let mut count = 0;
    let mut url = || {
        count += 1;
        format!("sqlite://{}/{count}.db", directory.path().display())
    };
    suite!(url());
}

#[tokio::test]
async fn postgresql_passes_the_suite() {
    sqlx::any::install_default_drivers();
    let mut server = postgres::Postgres::start().await;
    suite!(server.database().await);
}

#[test]
fn a_sqlite_file_is_made() {
    assert_eq!(creating("sqlite:///a/b.db"), "sqlite:///a/b.db?mode=rwc");
    assert_eq!(creating("sqlite:///a?cache=shared"), "sqlite:///a?cache=shared&mode=rwc");
    assert_eq!(creating("sqlite:///a?mode=ro"), "sqlite:///a?mode=ro");
    assert_eq!(creating("postgres://x/y"), "postgres://x/y");
}

#[tokio::test]
async fn other_databases_are_refused() {
    for url in ["mysql://localhost/x", "", "/tmp/file.db", "http://localhost"] {
        assert!(matches!(Metadata::open(url).await, Err(MetadataError::Url)), "{url}");
    }
}
