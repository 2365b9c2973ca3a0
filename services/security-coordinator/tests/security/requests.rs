//! What plugins ask about themselves.

use envelope::payload::token::{TokenMessage, TokenRefreshed};
use envelope::{ErrorCode, Operation, PluginId, StartId, topic};
use serde_json::json;
use testkit::Version;

use super::stage::Stage;

#[tokio::test]
async fn a_plugin_asks_for_its_token_and_gets_it_on_its_own_topic_alone() {
    let stage = Stage::new(900).await;
    let _running = stage.start();
    let focuser = PluginId::parse("focuser").expect("an id");
    let mut plugin = stage.plugin(&focuser, Version::V5).await;
    let refused = plugin.ask(Operation::Token, json!({})).await.expect_err("is not started");
    assert_eq!(refused.code, ErrorCode::InvalidPhase);
    assert!(refused.message.contains("when it is started"), "{}", refused.message);

    let mut coordinator = stage.plugin_coordinator().await;
    let start = StartId::new();
    let issued = coordinator.issue(&focuser, start).await.expect("issues");
    let topic = topic::coordinator::token(&focuser);
    for _ in 0..2 {
        let answer = plugin.ask(Operation::Token, json!({})).await.expect("answers");
        stage.assert_nothing_secret_in(&answer.to_string(), &[&issued]);
        let answer: TokenRefreshed = serde_json::from_value(answer).expect("decodes");
        // Asked at once after it was issued, it is the same one again.
        assert_eq!((answer.kid, answer.expires_at), (issued.kid.clone(), issued.expires_at));
    }
    // A message of another plugin's topic would not even arrive here.
    let mut again = stage.plugin(&focuser, Version::V3).await;
    let message = again.hear(&topic).await;
    let message: TokenMessage = serde_json::from_slice(&message.payload).expect("a token");
    assert_eq!(message, issued);

    let mut operator = stage.operator().await;
    let refused = operator.ask(Operation::Token, json!({})).await.expect_err("is no plugin");
    assert_eq!(refused.code, ErrorCode::Forbidden);
    coordinator.revoke(&focuser, start).await.expect("ends");
    let refused = plugin.ask(Operation::Token, json!({})).await.expect_err("is stopped");
    assert_eq!(refused.code, ErrorCode::InvalidPhase);
}
