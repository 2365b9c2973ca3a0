//! A broker that does not take what the coordinator tells.

use envelope::Operation;
use envelope::payload::event::EventKind;
use envelope::payload::health::HealthStatus;

use super::stage::{PATIENCE, Stage};

#[tokio::test]
async fn what_the_broker_does_not_take_is_told_in_health_until_it_takes_it() {
    let denied = "pattern readwrite #\npattern deny bigskies/coordinator/plugin/event/#\n";
    let stage = Stage::with_rules(denied).await;
    let _life = stage.start(&[]);
    let mut listener = stage.listener().await;
    let mut ann = stage.operator("ann").await;
    ann.send_bytes(Operation::Stop, "{").await;
    ann.refusal().await;
    let refused = "refused the publish to bigskies/coordinator/plugin/event/refused: not authorized";
    let health = stage.health(|health| format!("{health:?}").contains(refused)).await;
    assert_eq!(health.status, HealthStatus::Unhealthy, "{health:?}");

    stage.set_rules("pattern readwrite #");
    let event = listener.next(EventKind::Refused, PATIENCE).await.expect("it is told in the end");
    assert!(event.cause.contains("ann asked for stop"), "{event:?}");
    stage.health(|health| !format!("{health:?}").contains(refused)).await;
}
