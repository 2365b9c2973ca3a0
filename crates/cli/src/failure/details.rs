//! The particulars of a refused request, as far as people need to see them.

use envelope::{ErrorCode, Operation, OperatorRole};
use serde_json::Value;

use super::Refusal;
use crate::approval;
use crate::render::{Ink, clean, clean_lines, indented, ink};

/// Most faults that are shown; `--json` has them all.
const MOST: usize = 50;

/// Faults, requested grants and the log tail, each on lines of their own, or nothing.
pub(super) fn render(refusal: &Refusal) -> String {
    let is_rolled_back = refusal.code == ErrorCode::RolledBack.as_str();
    // What was tried failed in a way of its own.
    let details = if is_rolled_back { &refusal.details["failure"] } else { &refusal.details };
    let mut text = String::new();
    let whole =
        if refusal.code == ErrorCode::ConfigInvalid.as_str() { "the configuration" } else { "the manifest" };
    let faults = details["faults"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, fault) in faults.iter().take(MOST).enumerate() {
        text.push_str(&format!("\n{}", indented(&render_fault(index + 1, fault, whole), "  ")));
    }
    if faults.len() > MOST {
        text.push_str(&format!("\n  … and {} more: --json shows all", faults.len() - MOST));
    }
    let grants = approval::list(details);
    if !grants.is_empty() {
        text.push_str(&format!("\n{}", indented(&grants, "  ")));
    }
    if let Some(tail) = details["log_tail"].as_str().filter(|tail| !tail.trim().is_empty()) {
        let who = if is_rolled_back { "the new version" } else { "the plugin" };
        let title = ink(Ink::Faint, &format!("the last lines that {who} wrote:"));
        text.push_str(&format!("\n  {title}\n{}", indented(&clean_lines(tail), "    | ")));
    }
    text
}

/// What to do next, where the sentence alone does not say it.
pub(super) fn advice(refusal: &Refusal) -> Vec<String> {
    let Some(code) = ErrorCode::ALL.iter().find(|code| refusal.code == code.as_str()) else {
        return Vec::new();
    };
    let advice = match code {
        ErrorCode::ApprovalRequired | ErrorCode::ApprovalChanged => {
            let digest = approval::digest(&refusal.details).map(clean);
            match (&refusal.again, digest) {
                (Some(command), _) => format!("to approve exactly this: `{}`", clean(command)),
                (None, Some(digest)) => {
                    format!("to approve exactly this, repeat the command with --approve {digest}")
                }
                (None, None) => return Vec::new(),
            }
        }
        ErrorCode::RolledBack => {
            "nothing has to be put right: what ran before the update runs again, with its configuration and grants"
                .to_owned()
        }
        ErrorCode::NoSuchOperation => "`bigskies operations` shows those that run, with their ids".to_owned(),
        ErrorCode::Busy => match refusal.details["operation_id"].as_str().map(clean) {
            Some(id) => format!("wait for it (`bigskies operations`), or end it: `bigskies cancel {id}`"),
            None => return Vec::new(),
        },
        ErrorCode::AlreadyInstalled => {
            "`bigskies plugin update` replaces the image of a plugin that is installed".to_owned()
        }
        ErrorCode::UnknownPlugin => "`bigskies plugin list` shows the installed ones".to_owned(),
        ErrorCode::UnknownOperator => "`bigskies operator list` shows the accounts".to_owned(),
        ErrorCode::UnknownGrant => "`bigskies plugin grants` shows them as they are named".to_owned(),
        ErrorCode::NameTaken if refusal.operation == Operation::AddOperator => {
            "`bigskies operator set` changes an account that is there".to_owned()
        }
        ErrorCode::TooManyRequests => "wait a moment, then repeat the command".to_owned(),
        ErrorCode::Forbidden => {
            let allowed = OperatorRole::ALL.into_iter().filter(|role| refusal.operation.is_open_to(*role));
            roles(&allowed.collect::<Vec<_>>())
        }
        ErrorCode::Internal => {
            let (coordinator, id) = (refusal.coordinator, clean(&refusal.correlation_id));
            format!("look for {id} in `docker compose logs {coordinator}-coordinator`")
        }
        _ => return Vec::new(),
    };
    vec![advice]
}

/// Who may do it.
pub(super) fn roles(roles: &[OperatorRole]) -> String {
    let names: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
    match names.as_slice() {
        [] => "no operator may do this".to_owned(),
        [only] => format!("an account with the role {only} may: `bigskies operator list` shows them"),
        [most @ .., last] => format!(
            "accounts with the role {} or {last} may: `bigskies operator list` shows them",
            most.join(", ")
        ),
    }
}

/// `{pointer, reason, fix}`, of `whole` when the pointer is empty, or whatever else a coordinator sends.
fn render_fault(number: usize, fault: &Value, whole: &str) -> String {
    let part = |key: &str| fault[key].as_str().map(clean).unwrap_or_default();
    let place = match fault["pointer"].as_str() {
        Some("") => whole.to_owned(),
        Some(pointer) => clean(pointer),
        None => return format!("{number}. {}", plain(fault)),
    };
    let mut text = format!("{number}. {}  {}", ink(Ink::Strong, &place), part("reason"));
    let fix = part("fix");
    if !fix.is_empty() {
        text.push_str(&format!("\n{}fix: {fix}", " ".repeat(number.to_string().len() + 2)));
    }
    text
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| clean(&value.to_string()), clean)
}
