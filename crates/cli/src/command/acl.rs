//! `acl explain`: may a plugin do that, and by which rule?

use envelope::payload::login::{Access, ExplainRequest, Explanation};
use envelope::{Operation, PluginId};

use super::Context;
use crate::failure::Failure;
use crate::render::{Fields, Ink, clean, indented, ink};

pub(super) async fn explain(
    plugin_id: PluginId,
    access: Access,
    topic: String,
    context: &Context,
) -> Result<(), Failure> {
    let request = ExplainRequest { plugin_id, access, topic };
    let data = context.ask(Operation::Explain, &request, "asking the message coordinator").await?;
    context.show(data, render)
}

fn render(explanation: &Explanation) -> String {
    let (verdict, colour) = if explanation.allowed { ("may", Ink::Good) } else { ("may not", Ink::Bad) };
    let what = match explanation.access {
        Access::Publish => "publish to",
        Access::Subscribe => "subscribe to",
    };
    let mut fields = Fields::default();
    fields
        .maybe("Rule", explanation.rule.as_deref().map(clean))
        .maybe("Role", explanation.role.as_deref().map(clean))
        .add("Reason", clean(&explanation.reason));
    format!(
        "{} {} {what} {}\n{}",
        explanation.plugin_id,
        ink(colour, verdict),
        clean(&explanation.topic),
        indented(&fields.render(), "  ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::finish;

    #[test]
    fn the_verdict_comes_first_and_then_the_rule() {
        let explanation = Explanation {
            plugin_id: PluginId::parse("focuser").expect("an id"),
            access: Access::Publish,
            topic: "mount/control/slew".to_owned(),
            allowed: false,
            role: None,
            rule: None,
            reason: "no rule matches, and the default is to deny".to_owned(),
        };
        let expected = "\
focuser may not publish to mount/control/slew
  Reason   no rule matches, and the default is to deny";
        assert_eq!(finish(&render(&explanation), false), expected);
    }
}
