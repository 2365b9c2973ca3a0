use envelope::{OperatorName, PluginId};

use super::*;

struct Stage {
    floods: Floods,
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        Self { floods: Floods::new(RequestSettings::default()), now: Instant::now() }
    }

    fn knock(&mut self, principal: &Principal) -> Admission {
        self.floods.knock(principal, "list", self.now)
    }

    /// Knocks so many times, each request being done at once. Returns how many were let in and how many answered.
    fn knocks(&mut self, principal: &Principal, times: usize) -> (usize, usize) {
        let (mut let_in, mut answered) = (0, 0);
        for _ in 0..times {
            match self.knock(principal) {
                Admission::In(_) => let_in += 1,
                Admission::Over(Some(_)) => answered += 1,
                Admission::Over(None) => {}
            }
        }
        (let_in, answered)
    }

    fn later(&mut self, millis: u64) -> Vec<Report> {
        self.now += Duration::from_millis(millis);
        self.floods.sweep(self.now, false)
    }
}

fn plugin(id: &str) -> Principal {
    Principal::Plugin(PluginId::parse(id).expect("an id"))
}

#[test]
fn a_burst_is_let_in_and_then_as_many_as_the_rate_allows() {
    let mut stage = Stage::new();
    let evil = plugin("evil");
    assert_eq!(stage.knocks(&evil, 1000), (50, 1));
    stage.later(1000);
    assert_eq!(stage.knocks(&evil, 1000), (10, 1));
    stage.later(3_600_000);
    assert_eq!(stage.knocks(&evil, 1000), (50, 1), "no more than a burst is saved up");
}

#[test]
fn one_principals_flood_is_not_anothers() {
    let mut stage = Stage::new();
    stage.knocks(&plugin("evil"), 1000);
    let ann = Principal::Operator(OperatorName::parse("ann").expect("a name"));
    for principal in [plugin("mount"), ann, Principal::Unnamed] {
        assert!(matches!(stage.knock(&principal), Admission::In(_)), "{principal}");
    }
}

#[test]
fn who_has_a_burst_of_requests_waiting_must_wait_for_them() {
    let mut stage = Stage::new();
    let evil = plugin("evil");
    let mut waiting = Vec::new();
    while let Admission::In(one) = stage.knock(&evil) {
        waiting.push(one);
        stage.later(1000);
    }
    assert_eq!(waiting.len(), 50, "one a second, and none is ever done");
    waiting.pop();
    assert!(matches!(stage.knock(&evil), Admission::In(_)));
}

#[test]
fn a_flood_is_an_event_once_a_minute_and_a_record_every_ten_seconds_and_nothing_is_lost() {
    let mut stage = Stage::new();
    let evil = plugin("evil");
    let (mut records, mut events) = (Vec::new(), Vec::new());
    for _ in 0..125 {
        stage.knocks(&evil, 110);
        for report in stage.later(1000) {
            records.extend((report.refused > 0).then_some(u64::from(report.refused)));
            events.extend(report.event);
        }
    }
    for report in stage.floods.sweep(stage.now, true) {
        records.push(report.refused.into());
        events.extend(report.event);
    }
    let refused = 125 * 110 - 50 - 124 * 10;
    assert_eq!((records.iter().sum::<u64>(), events.iter().sum::<u64>()), (refused, refused));
    assert_eq!((records.len(), events.len()), (14, 4), "{records:?} {events:?}");
}

#[test]
fn the_service_hears_of_a_flood_that_lasts_and_of_no_other() {
    let mut stage = Stage::new();
    let evil = plugin("evil");
    let mut heard = Vec::new();
    for second in 0..60 {
        // It pauses from second 5 to 8, and ends at second 40.
        if !(5..8).contains(&second) && second < 40 {
            stage.knocks(&evil, 100);
        }
        heard.extend(stage.later(1000).into_iter().filter(|r| r.sustained).map(|_| second));
    }
    assert_eq!(heard, [18, 28, 38]);
}

#[test]
fn who_keeps_quiet_is_forgotten_and_the_number_of_the_others_is_bounded() {
    let mut stage = Stage::new();
    for n in 0..2 * MOST {
        stage.knocks(&plugin(&format!("plugin-{n}")), 1);
        stage.now += Duration::from_millis(1);
    }
    assert_eq!(stage.floods.buckets.len(), MOST);
    stage.knocks(&plugin("evil"), 1000);
    stage.later(1000);
    assert_eq!(
        stage.floods.buckets.len(),
        1,
        "its event is remembered, so that there is not another at once"
    );
    stage.later(60_000);
    assert_eq!(stage.floods.buckets.len(), 0);
}
