//! Whatever happens, a started plugin has a valid token, and a stopped one has none.

use envelope::payload::token::IssueRequest;
use envelope::{PluginId, StartId};

use super::*;
use crate::authority::testing::{self, Office, START};
use crate::handler::issue::issue;
use crate::handler::revoke::revoke;

async fn started(office: &Office, id: &str) -> Issued {
    let asked = IssueRequest {
        plugin_id: PluginId::parse(id).expect("an id"),
        start_id: StartId::new(),
        scope: vec!["plugin:read".to_owned()],
        digest: "sha256:0".to_owned(),
    };
    let plugin = asked.plugin_id.clone();
    issue(&office.authority, asked, testing::origin()).await.expect("issues");
    current(office, &plugin).await
}

async fn current(office: &Office, plugin: &PluginId) -> Issued {
    let mut connection = office.authority.connection().await.expect("connects");
    tokens::of_plugin(&mut connection, plugin).await.expect("reads").expect("has a token")
}

/// Whether the token is accepted now.
async fn accepted(office: &Office, issued: &Issued) -> bool {
    let token = office.authority.lock().await.sign(issued).expect("signs").expect("has the key");
    let now = office.authority.now().as_seconds();
    office.authority.verifier().introspect(token.as_str(), now).is_ok()
}

#[tokio::test]
async fn a_token_is_refreshed_when_it_is_due_and_not_before() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let first = started(&office, "focuser").await;
    let next = pass(&office.authority).await.expect("passes");
    assert_eq!(next, Some(first.refresh_at));
    assert_eq!(current(&office, &first.terms.plugin_id).await, first);
    office.clock.advance(631);
    assert!(pass(&office.authority).await.expect("passes") > next);
    let second = current(&office, &first.terms.plugin_id).await;
    assert_eq!((second.issued_at, &second.terms), (START + 631, &first.terms));
    assert_ne!(second.jti, first.jti);
    assert!(accepted(&office, &first).await && accepted(&office, &second).await);
}

#[tokio::test]
async fn whatever_the_clock_does_every_started_plugin_has_a_valid_token_after_one_pass() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let plugin = started(&office, "focuser").await.terms.plugin_id;
    for at in [0, START + 31_536_000, START + 31_532_400, START, START - 10, 3_000_000_000] {
        office.clock.set(at);
        pass(&office.authority).await.expect("passes");
        let issued = current(&office, &plugin).await;
        assert!(accepted(&office, &issued).await, "{at}: {issued:?}");
        assert_eq!(issued.due(office.authority.now()), None, "{at}");
    }
}

#[tokio::test]
async fn a_start_that_is_over_gets_no_token_any_more() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let first = started(&office, "focuser").await;
    let Issued { terms, .. } = first.clone();
    revoke(&office.authority, &terms.plugin_id, terms.start_id, testing::origin()).await.expect("revokes");
    assert!(!accepted(&office, &first).await);
    office.clock.advance(5_000);
    pass(&office.authority).await.expect("passes");
    let mut connection = office.authority.connection().await.expect("connects");
    assert_eq!(tokens::count(&mut connection).await.expect("counts"), 0);
}

#[tokio::test]
async fn a_revocation_is_dropped_when_it_is_past_and_the_clock_is_trusted() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let first = started(&office, "focuser").await;
    let terms = first.terms.clone();
    revoke(&office.authority, &terms.plugin_id, terms.start_id, testing::origin()).await.expect("revokes");
    let listed = async || {
        let mut connection = office.authority.connection().await.expect("connects");
        revocations::list(&mut connection).await.expect("reads").sids.len()
    };
    // A clock that jumps ahead and back does not bring the token back.
    office.clock.advance(31_536_000);
    pass(&office.authority).await.expect("passes");
    assert_eq!(listed().await, 1);
    office.clock.set(START);
    assert!(!accepted(&office, &first).await);
    office.clock.advance(900 + 2 * token::LEEWAY_SECONDS);
    office.authority.lock().await.trust_the_clock();
    pass(&office.authority).await.expect("passes");
    assert_eq!(listed().await, 1, "not past yet");
    office.clock.advance(1);
    pass(&office.authority).await.expect("passes");
    assert_eq!(listed().await, 0);
}

#[tokio::test]
async fn after_a_restart_valid_tokens_are_the_same_and_expired_ones_are_issued_again() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let first = started(&office, "focuser").await;
    let token = office.authority.lock().await.sign(&first).expect("signs");
    let after = testing::office(&folder).await;
    assert_eq!(current(&after, &first.terms.plugin_id).await, first);
    assert_eq!(after.authority.lock().await.sign(&first).expect("signs"), token);
    after.clock.advance(2_000);
    restore(&after.authority).await.expect("publishes");
    let renewed = current(&after, &first.terms.plugin_id).await;
    assert_eq!((renewed.issued_at, renewed.terms), (START + 2_000, first.terms));
}

#[tokio::test]
async fn a_token_whose_key_is_gone_is_issued_again() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let first = started(&office, "focuser").await;
    let mut tx = office.authority.begin().await.expect("begins");
    sqlx::query("DELETE FROM keys").execute(&mut *tx).await.expect("deletes");
    tx.commit().await.expect("commits");
    let after = testing::office(&folder).await;
    let renewed = current(&after, &first.terms.plugin_id).await;
    assert_ne!(renewed.kid, first.kid);
    assert!(accepted(&after, &renewed).await);
}

#[tokio::test]
async fn a_damaged_row_does_not_hold_up_the_others() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let (good, bad) = (started(&office, "focuser").await, started(&office, "dome").await);
    let mut tx = office.authority.begin().await.expect("begins");
    sqlx::query("UPDATE tokens SET start_id = 'x' WHERE start_id = ?")
        .bind(bad.terms.start_id.to_string())
        .execute(&mut *tx)
        .await
        .expect("updates");
    tx.commit().await.expect("commits");
    office.clock.advance(700);
    pass(&office.authority).await.expect("passes");
    assert_eq!(current(&office, &good.terms.plugin_id).await.issued_at, START + 700);
    let again = started(&office, "dome").await;
    assert!(accepted(&office, &again).await);
}

#[tokio::test]
async fn a_clock_that_is_set_ends_the_wait_and_is_not_trusted_for_a_while() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    office.authority.lock().await.trust_the_clock();
    let mut watch = Watch::new(office.authority.clock());
    let waiting = wait(&office.authority, &mut watch, None);
    let set = async { office.clock.advance(-3600) };
    tokio::join!(waiting, set);
    assert!(office.authority.lock().await.doubt_left() > Duration::from_secs(900));
}

#[tokio::test]
async fn a_clock_that_is_set_is_noticed_before_anything_is_dropped_whatever_wakes_the_loop() {
    const YEAR: i64 = 31_536_000;
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let terms = started(&office, "focuser").await.terms;
    revoke(&office.authority, &terms.plugin_id, terms.start_id, testing::origin()).await.expect("revokes");
    office.authority.lock().await.trust_the_clock();
    let instance = envelope::InstanceId::parse("one").expect("an id");
    let health = HealthBoard::new(envelope::Coordinator::Security, instance);
    let shutdown = Shutdown::new();
    let works = run(&office.authority, &health, shutdown.clone());
    let steps = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            office.clock.advance(YEAR);
            office.authority.changed();
        }
        tokio::time::sleep(PACE + Duration::from_millis(300)).await;
        shutdown.cancel();
    };
    tokio::join!(works, steps);
    let mut connection = office.authority.connection().await.expect("connects");
    let listed = crate::revocations::list(&mut connection).await.expect("reads");
    assert_eq!(listed.sids.len(), 1, "{listed:?}");
}

/// As if the next key had been published and the active one had signed for `age`.
async fn aged(office: &Office, age: u64) {
    let mut state = office.authority.lock().await;
    state.keys.pretend_announced(Duration::from_secs(120));
    state.keys.pretend_age(Duration::from_secs(age));
}

async fn names(office: &Office) -> envelope::payload::token::Rotated {
    office.authority.lock().await.keys.names()
}

const MONTH: u64 = 30 * 86_400;

#[tokio::test]
async fn keys_move_on_when_the_active_one_has_signed_for_its_lifetime_and_no_token_is_refused() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let first = started(&office, "focuser").await;
    let before = names(&office).await;
    aged(&office, MONTH - 10).await;
    let next = pass(&office.authority).await.expect("passes");
    assert_eq!(names(&office).await, before);
    assert!(next.is_some_and(|at| at.since(office.authority.now()) <= Duration::from_secs(10)), "{next:?}");
    aged(&office, MONTH).await;
    pass(&office.authority).await.expect("passes");
    let after = names(&office).await;
    assert_eq!((&after.active, &after.retiring), (&before.next, &vec![before.active]));
    // The token stays until it is due, and is then signed with the other key.
    assert_eq!(current(&office, &first.terms.plugin_id).await, first);
    assert!(accepted(&office, &first).await);
    office.clock.advance(631);
    pass(&office.authority).await.expect("passes");
    let second = current(&office, &first.terms.plugin_id).await;
    assert_eq!(second.kid, after.active);
    assert!(accepted(&office, &first).await && accepted(&office, &second).await);
    // The key is dropped when its last token has expired, leeway included, and not a second before.
    office.authority.lock().await.trust_the_clock();
    office.clock.set(START + 900 + 2 * token::LEEWAY_SECONDS);
    pass(&office.authority).await.expect("passes");
    assert_eq!(names(&office).await, after);
    office.clock.advance(1);
    pass(&office.authority).await.expect("passes");
    assert_eq!(names(&office).await.retiring, [""; 0]);
    assert!(accepted(&office, &second).await);
}

#[tokio::test]
async fn a_rotation_that_is_due_waits_until_the_next_key_is_known() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let before = names(&office).await;
    office.authority.lock().await.keys.pretend_age(Duration::from_secs(2 * MONTH));
    let next = pass(&office.authority).await.expect("passes");
    assert_eq!(names(&office).await, before);
    assert!(next.is_some_and(|at| at.since(office.authority.now()) <= Duration::from_secs(60)), "{next:?}");
    office.authority.lock().await.keys.pretend_announced(Duration::from_secs(119));
    pass(&office.authority).await.expect("passes");
    assert_eq!(names(&office).await, before);
    aged(&office, 2 * MONTH).await;
    for _ in 0..3 {
        pass(&office.authority).await.expect("passes");
    }
    assert_eq!(names(&office).await.retiring, [before.active], "once, and not again at once");
}

#[tokio::test]
async fn a_clock_that_jumps_rotates_nothing_and_drops_no_key() {
    let folder = testing::folder();
    let office = testing::office(&folder).await;
    let first = started(&office, "focuser").await;
    aged(&office, MONTH).await;
    pass(&office.authority).await.expect("passes");
    aged(&office, 86_400).await;
    let before = names(&office).await;
    assert_eq!(before.retiring.len(), 1);
    for at in [0, START, START + 31_536_000, START, START - 3_600, START + 31_536_000 * 50, START] {
        office.clock.set(at);
        office.authority.lock().await.clock_stepped(office.authority.lifetime());
        for _ in 0..3 {
            pass(&office.authority).await.expect("passes");
        }
        assert_eq!(names(&office).await, before, "{at}");
    }
    // Where the clock went and came back, the first token is what it was.
    assert!(accepted(&office, &first).await);
}
