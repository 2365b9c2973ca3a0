//! Which configurations a plugin is given: those that fit its manifest's schema.

use std::time::Duration;

use envelope::{ErrorBody, ErrorCode};
use manifest::Manifest;
use serde_json::{Value, json};

/// How long a check may take. What it may cost is bounded before it begins, so this is never reached on a machine
/// that is well.
const PATIENCE: Duration = Duration::from_secs(20);

/// Judges a configuration by a manifest's `config_schema`, beside the work of others.
///
/// # Errors
/// `config_invalid`, with every fault in `details.faults`.
pub(crate) async fn check(manifest: &Manifest, config: Option<&Value>) -> Result<(), ErrorBody> {
    if config.is_none() && manifest.config_schema.is_none() {
        return Ok(());
    }
    let id = manifest.id.clone();
    let (judge, judged) = (manifest.clone(), config.cloned());
    let task = chassis::contained_blocking(move || judge.check_config(judged.as_ref()));
    let invalid = |why: String| ErrorBody::new(ErrorCode::ConfigInvalid, why);
    let faults = match tokio::time::timeout(PATIENCE, task).await {
        Ok(Ok(Ok(()))) => return Ok(()),
        Ok(Ok(Err(faults))) => faults,
        Ok(Err(_)) | Err(_) => {
            return Err(invalid(format!(
                "The configuration of {id} could not be checked in time. Give a smaller one, or ask the plugin's \
                 author for a simpler config_schema."
            )));
        }
    };
    let first = faults.first().map(|fault| {
        let place = if fault.pointer.is_empty() { "the whole" } else { &fault.pointer };
        format!(" The first: {place}: {}.", fault.reason)
    });
    let given = if config.is_some() { "does not fit" } else { "is missing; an empty one does not fit" };
    Err(invalid(format!(
        "The configuration of {id} {given} the config_schema in its manifest: {} fault(s), all in details.faults.{} \
         Correct \"config\" in the request.",
        faults.len(),
        first.unwrap_or_default()
    ))
    .with_details(json!({"faults": faults})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_fault_is_in_the_answer_and_no_value_is() {
        let schema = json!({"properties": {"password": {"minLength": 20}, "port": {"type": "integer"}}, "required": ["port"]});
        let document =
            json!({"id": "focuser", "name": "Focuser", "version": "1.0.0", "config_schema": schema});
        let manifest: Manifest = serde_json::from_value(document).expect("no faults");
        let config = json!({"password": "hunter2", "port": "x"});
        let error = check(&manifest, Some(&config)).await.expect_err("it does not fit");
        assert_eq!(error.code, ErrorCode::ConfigInvalid);
        assert_eq!(error.details["faults"].as_array().map(Vec::len), Some(2));
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        let error = check(&manifest, None).await.expect_err("port is required");
        assert!(error.message.contains("is missing"), "{error:?}");
        assert_eq!(check(&manifest, Some(&json!({"port": 1}))).await, Ok(()));
    }
}
