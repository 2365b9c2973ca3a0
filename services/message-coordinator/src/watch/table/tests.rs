use super::*;

struct Stage {
    table: Table,
    now: Instant,
    at: Timestamp,
}

impl Stage {
    fn new() -> Self {
        Self { table: Table::default(), now: Instant::now(), at: Timestamp::from_seconds(1_790_000_000) }
    }

    fn take(&mut self, line: Line) -> Vec<Change> {
        self.at = self.at.after(Duration::from_secs(1));
        self.table.take(line, self.at, self.now)
    }

    fn connect(&mut self, client_id: &str, login: &str, address: &str) -> Vec<Change> {
        self.take(Line::Opened { address: address.into() });
        let login = Some(login.to_owned());
        self.take(Line::Connected { client_id: client_id.into(), login, address: address.into() })
    }

    fn taken(&mut self, client_id: &str) -> Vec<Change> {
        self.take(Line::TakenOver { client_id: client_id.into(), address: None })
    }

    fn listed(&self) -> Vec<String> {
        self.table.list().sessions.into_iter().map(|s| s.client_id).collect()
    }
}

/// The loser's login and the taker's.
fn logins(change: &Change) -> [Option<String>; 2] {
    let login = |seen: &Option<Seen>| seen.as_ref().and_then(|s| s.login.clone());
    match change {
        Change::TakenOver { loser, taker, .. } => [login(loser), login(taker)],
        other => [Some(format!("no take-over: {other:?}")), None],
    }
}

#[test]
fn a_take_over_tells_both_logins_when_both_were_seen() {
    let mut stage = Stage::new();
    stage.connect("x", "plugin.a", "10.0.0.1:1");
    stage.take(Line::Opened { address: "10.0.0.2:1".into() });
    let changes = stage.taken("x");
    assert!(matches!(changes.as_slice(), [Change::Ended { .. }]), "{changes:?}");
    stage.take(Line::Dropping { client_id: "somebody".into() });
    let login = Some("plugin.b".to_owned());
    let changes = stage.take(Line::Connected { client_id: "x".into(), login, address: "10.0.0.2:1".into() });
    assert_eq!(logins(&changes[0]), [Some("plugin.a".to_owned()), Some("plugin.b".to_owned())]);
    assert!(matches!(changes.as_slice(), [_, Change::Connected { .. }]), "{changes:?}");
    assert_eq!(stage.listed(), ["x"]);
}

#[test]
fn a_plugin_has_as_many_connections_as_are_allowed_and_is_told_of_with_one_more() {
    let crowded = |changes: &[Change]| {
        changes.iter().find_map(|change| match change {
            Change::Crowded { login, connections } => Some((login.clone(), *connections)),
            _ => None,
        })
    };
    let mut stage = Stage::new();
    for n in 0..=MOST_OF_ONE {
        for login in ["operator.ann", "coordinator.plugin"] {
            let changes = stage.connect(&format!("{login}{n}"), login, "10.0.0.1:1");
            assert_eq!(crowded(&changes), None, "{login} is no plugin");
        }
        let changes = stage.connect(&format!("a{n}"), "plugin.a", &format!("10.0.0.2:{n}"));
        let expected = (n == MOST_OF_ONE).then(|| ("plugin.a".to_owned(), MOST_OF_ONE + 1));
        assert_eq!(crowded(&changes), expected, "{n}");
    }
    // What ended counts no more, and who comes again under the same id is one.
    stage.take(Line::Ended { client_id: Some("a0".into()), address: None });
    stage.take(Line::Ended { client_id: Some("a1".into()), address: None });
    assert_eq!(crowded(&stage.connect("a2", "plugin.a", "10.0.0.2:99")), None);
    // An id that is cut hides whose it is, and not from where it comes.
    let hidden = |stage: &mut Stage, n: usize| {
        let line = Line::Hidden { beginning: "x".repeat(99), address: format!("10.0.0.2:{}", 1000 + n) };
        crowded(&stage.take(line))
    };
    assert_eq!(hidden(&mut stage, 0), None);
    assert_eq!(hidden(&mut stage, 1), Some(("plugin.a".to_owned(), MOST_OF_ONE + 1)));
    stage.at = stage.at.after(COUNTED);
    assert_eq!(hidden(&mut stage, 2), None, "those before may have ended");
}

#[test]
fn a_taker_that_did_not_come_next_is_nobody() {
    let mut stage = Stage::new();
    stage.connect("x", "plugin.a", "10.0.0.1:1");
    stage.taken("x");
    let changes = stage.connect("y", "plugin.b", "10.0.0.2:1");
    assert!(matches!(changes.as_slice(), [Change::Connected { .. }]), "told before: {changes:?}");
    let changes = stage.connect("x", "plugin.b", "10.0.0.2:2");
    assert!(matches!(changes.as_slice(), [Change::Connected { .. }]), "it took nothing: {changes:?}");
}

#[test]
fn who_was_connected_before_we_listened_is_unknown() {
    let mut stage = Stage::new();
    stage.taken("x");
    let login = Some("plugin.b".to_owned());
    let changes = stage.take(Line::Connected { client_id: "x".into(), login, address: "10.0.0.2:1".into() });
    assert_eq!(logins(&changes[0]), [None, Some("plugin.b".to_owned())]);
    stage.taken("y");
    assert_eq!(stage.table.overdue(stage.now), None);
    let late = stage.table.overdue(stage.now + PAIRED).expect("nobody came");
    assert_eq!(logins(&late), [None, None]);
    assert_eq!(stage.take(Line::Ended { client_id: Some("z".into()), address: None }), []);
}

#[test]
fn a_gap_forgets_what_was_seen_before() {
    let mut stage = Stage::new();
    stage.table.reset(None);
    stage.connect("x", "plugin.a", "10.0.0.1:1");
    stage.table.listening(stage.at);
    assert_eq!((stage.listed().len(), stage.table.list().listening_since), (1, Some(stage.at)));
    stage.table.reset(None);
    assert_eq!((stage.listed().len(), stage.table.list().listening_since), (0, None));
}

#[test]
fn a_failed_login_ends_nobodys_connection_and_tells_its_host_where_there_is_but_one() {
    let mut stage = Stage::new();
    stage.connect("x", "plugin.a", "10.0.0.1:1");
    let refused = |stage: &mut Stage| {
        let changes = stage.take(Line::Refused { client_id: Some("x".into()), address: None });
        match changes.as_slice() {
            [Change::Refused { host, .. }] => host.clone(),
            other => Some(format!("no refusal: {other:?}")),
        }
    };
    assert_eq!(refused(&mut stage), None, "its connection was opened before we listened");
    stage.take(Line::Opened { address: "10.0.0.9:1".into() });
    stage.take(Line::Opened { address: "10.0.0.9:2".into() });
    assert_eq!(refused(&mut stage).as_deref(), Some("10.0.0.9"));
    stage.take(Line::Opened { address: "10.0.0.8:1".into() });
    assert_eq!(refused(&mut stage), None, "it may be either");
    assert_eq!(stage.listed(), ["x"]);
}

#[test]
fn where_the_broker_tells_addresses_only_that_connection_ends() {
    let mut stage = Stage::new();
    stage.connect("x", "plugin.a", "10.0.0.1:1");
    let address = Some("10.0.0.9:9".to_owned());
    let changes = stage.take(Line::Refused { client_id: Some("x".into()), address: address.clone() });
    assert!(matches!(changes.as_slice(), [Change::Refused { host: Some(h), .. }] if h == "10.0.0.9"));
    assert_eq!(stage.take(Line::Ended { client_id: Some("x".into()), address }), []);
    let address = Some("10.0.0.1:1".to_owned());
    let changes = stage.take(Line::Refused { client_id: Some("x".into()), address });
    assert!(matches!(changes.as_slice(), [Change::Ended { .. }]), "{changes:?}");
    assert_eq!(stage.listed(), Vec::<String>::new());
}

#[test]
fn nobody_can_push_others_out_or_hide_behind_a_long_id() {
    let mut stage = Stage::new();
    stage.connect("honest", "plugin.a", "10.0.0.1:1");
    for n in 0..MOST + 50 {
        let login = Some("plugin.evil".to_owned());
        let address = format!("10.0.0.2:{}", n % 60_000);
        stage.take(Line::Connected { client_id: format!("z{n:05}"), login, address });
    }
    assert_eq!(stage.table.sessions.len(), MOST);
    assert!(stage.table.sessions.contains_key(&ClientId::new("honest")));
    assert!(!stage.table.sessions.contains_key(&ClientId::new("z00000")), "its own oldest is gone");
    stage.take(Line::Hidden { beginning: "L".repeat(900), address: "10.0.0.3:1".into() });
    let list = stage.table.list();
    assert_eq!((list.sessions.len(), list.left_out as usize), (LISTED, MOST + 1 - LISTED));
    let long = list.sessions.iter().find(|s| s.client_id.starts_with("LLL")).expect("it is listed");
    assert_eq!((long.address.as_deref(), long.login.as_ref()), (Some("10.0.0.3:1"), None));
    assert!(serde_json::to_vec(&list).expect("it encodes").len() < 700_000, "it fits into a message");
}
