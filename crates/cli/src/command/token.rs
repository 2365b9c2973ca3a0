//! `token show`: what a plugin's token says, never the token itself. `token revoke`: makes tokens invalid.

use envelope::payload::token::{
    Claims, IntrospectRequest, IntrospectResponse, RevokeTokenRequest, TokensRevoked,
};
use envelope::{Operation, PluginId, Timestamp};

use super::Context;
use crate::args::RevokeToken;
use crate::failure::Failure;
use crate::render::{Fields, Ink, ago, clean, indented, ink};

pub(super) async fn show(plugin_id: PluginId, context: &Context) -> Result<(), Failure> {
    let request = IntrospectRequest { plugin_id: Some(plugin_id.clone()), token: None };
    let data = context.ask(Operation::Introspect, &request, "asking the security coordinator").await?;
    context.show(data, |answer| render(&plugin_id, answer, Timestamp::now()))
}

pub(super) async fn revoke(args: RevokeToken, context: &Context) -> Result<(), Failure> {
    let request = RevokeTokenRequest { plugin_id: args.plugin, jti: args.jti };
    let data = context.ask(Operation::RevokeToken, &request, "asking the security coordinator").await?;
    context.show(data, render_revoked)
}

fn render_revoked(revoked: &TokensRevoked) -> String {
    let id = &revoked.plugin_id;
    let (what, next) = match &revoked.jti {
        Some(jti) => (format!("token {} of {id}", clean(jti)), format!("{id} gets another token at once")),
        None => (
            format!("every token of {id}"),
            format!("{id} has no token until it is started again: bigskies plugin restart {id}"),
        ),
    };
    let mut fields = Fields::default();
    fields.maybe("Start", revoked.sid.map(|sid| sid.to_string())).add("Next", next);
    format!("{what} is {}\n{}", ink(Ink::Bad, "revoked"), indented(&fields.render(), "  "))
}

fn render(id: &PluginId, answer: &IntrospectResponse, now: Timestamp) -> String {
    let Some(claims) = answer.claims.as_ref().filter(|_| answer.active) else {
        let reason = answer.reason.as_deref().map_or("no reason was given".to_owned(), clean);
        return format!("{id} has {} token: {reason}", ink(Ink::Bad, "no valid"));
    };
    format!("{id} has a {} token\n{}", ink(Ink::Good, "valid"), indented(&fields(claims, now).render(), "  "))
}

fn fields(claims: &Claims, now: Timestamp) -> Fields {
    let when = |seconds: i64| {
        let time = Timestamp::from_seconds(seconds);
        format!("{}  {}", ago(time, now), ink(Ink::Faint, &format!("({time})")))
    };
    let scope: Vec<String> = claims.scope.split_whitespace().map(clean).collect();
    let mut fields = Fields::default();
    fields
        .add("Speaks for", clean(&claims.sub))
        .add("Scope", if scope.is_empty() { "nothing".to_owned() } else { scope.join("\n") })
        .add("Issued", when(claims.iat))
        .add("Expires", when(claims.exp));
    if claims.nbf != claims.iat {
        fields.add("Not before", when(claims.nbf));
    }
    fields
        .add("Issuer", clean(&claims.iss))
        .add("Audience", clean(&claims.aud))
        .add("Start", claims.sid.to_string())
        .add("Token id", clean(&claims.jti))
        .add("Manifest", clean(&claims.manifest_digest));
    fields
}

#[cfg(test)]
mod tests {
    use envelope::payload::token::ISSUER;

    use super::*;
    use crate::render::finish;

    fn id() -> PluginId {
        PluginId::parse("focuser").expect("an id")
    }

    #[test]
    fn claims_are_decoded_and_times_are_relative() {
        let now = 1_768_521_600;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: "plugin:focuser".to_owned(),
            aud: "bigskies".to_owned(),
            client_id: "focuser".to_owned(),
            sid: "01890000-0000-7000-8000-000000000000".parse().expect("a uuid"),
            jti: "j-1".to_owned(),
            iat: now - 300,
            nbf: now - 300,
            exp: now + 600,
            scope: "plugin:read system:read".to_owned(),
            manifest_digest: "sha256:ab".to_owned(),
        };
        let answer = IntrospectResponse { active: true, claims: Some(claims), reason: None };
        let expected = "\
focuser has a valid token
  Speaks for   plugin:focuser
  Scope        plugin:read
               system:read
  Issued       5 min ago  (2026-01-15T23:55:00.000Z)
  Expires      in 10 min  (2026-01-16T00:10:00.000Z)
  Issuer       bigskies/coordinator/security
  Audience     bigskies
  Start        01890000-0000-7000-8000-000000000000
  Token id     j-1
  Manifest     sha256:ab";
        assert_eq!(finish(&render(&id(), &answer, Timestamp::from_seconds(now)), false), expected);
    }

    #[test]
    fn a_token_that_is_not_valid_is_told_with_the_reason() {
        let reason = Some("the plugin does not run".to_owned());
        let answer = IntrospectResponse { active: false, claims: None, reason };
        let text = finish(&render(&id(), &answer, Timestamp::now()), false);
        assert_eq!(text, "focuser has no valid token: the plugin does not run");
    }

    #[test]
    fn what_was_revoked_is_told_with_what_follows() {
        let revoked =
            |jti: Option<&str>| TokensRevoked { plugin_id: id(), sid: None, jti: jti.map(str::to_owned) };
        let expected = "\
token j-1 of focuser is revoked
  Next   focuser gets another token at once";
        assert_eq!(finish(&render_revoked(&revoked(Some("j-1"))), false), expected);
        let expected = "\
every token of focuser is revoked
  Next   focuser has no token until it is started again: bigskies plugin restart focuser";
        assert_eq!(finish(&render_revoked(&revoked(None)), false), expected);
    }
}
