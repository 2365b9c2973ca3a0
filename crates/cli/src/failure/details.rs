//! The particulars of a refused request, as far as people need to see them.

use envelope::ErrorCode;
use serde_json::Value;

use super::Refusal;
use crate::render::{Ink, Table, clean, clean_lines, indented, ink};

/// Most entries of a list that are shown; `--json` has them all.
const MOST: usize = 50;

/// Faults, requested grants and the log tail, each on lines of their own, or nothing.
pub(super) fn render(details: &Value) -> String {
    let mut text = String::new();
    for (index, fault) in list(details, "faults").iter().take(MOST).enumerate() {
        text.push_str(&format!("\n{}", indented(&render_fault(index + 1, fault), "  ")));
    }
    push_rest(&mut text, list(details, "faults").len());
    let grants = list(details, "grants");
    if !grants.is_empty() {
        let mut table = Table::new(&["RISK", "WHAT IT ASKS FOR"]);
        for grant in grants.iter().take(MOST) {
            table.row(grant_cells(grant));
        }
        text.push_str(&format!("\n{}", indented(&table.render(None), "  ")));
    }
    push_rest(&mut text, grants.len());
    if let Some(tail) = details["log_tail"].as_str().filter(|tail| !tail.trim().is_empty()) {
        let title = ink(Ink::Faint, "the last lines that the plugin wrote:");
        text.push_str(&format!("\n  {title}\n{}", indented(&clean_lines(tail), "    | ")));
    }
    text
}

/// What to do next, where the sentence alone does not say it.
pub(super) fn advice(refusal: &Refusal) -> Vec<String> {
    let is = |code: ErrorCode| refusal.code == code.as_str();
    if is(ErrorCode::ApprovalRequired) {
        let digest = ["approve", "digest"].iter().find_map(|key| refusal.details[*key].as_str());
        digest
            .map(|digest| {
                format!("to approve exactly this, repeat the command with --approve {}", clean(digest))
            })
            .into_iter()
            .collect()
    } else if is(ErrorCode::UnknownPlugin) {
        vec!["`bigskies plugin list` shows the installed ones".to_owned()]
    } else if is(ErrorCode::Internal) {
        let coordinator = refusal.operation.coordinator();
        let id = &refusal.correlation_id;
        vec![format!("look for {id} in `docker compose logs {coordinator}-coordinator`")]
    } else {
        Vec::new()
    }
}

fn list<'a>(details: &'a Value, key: &str) -> &'a [Value] {
    details[key].as_array().map_or(&[], Vec::as_slice)
}

fn push_rest(text: &mut String, count: usize) {
    if count > MOST {
        text.push_str(&format!("\n  … and {} more: --json shows all", count - MOST));
    }
}

/// `{pointer, reason, fix}`, or whatever else a coordinator sends.
fn render_fault(number: usize, fault: &Value) -> String {
    let part = |key: &str| fault[key].as_str().map(clean).unwrap_or_default();
    let place = match fault["pointer"].as_str() {
        Some("") => "the manifest".to_owned(),
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

/// Risk and sentence of a requested grant.
fn grant_cells(grant: &Value) -> [String; 2] {
    let part = |keys: &[&str]| keys.iter().find_map(|key| grant[*key].as_str()).map(clean);
    let risk = part(&["risk"]).unwrap_or_else(|| match &grant["risk"] {
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    });
    let sentence = part(&["sentence", "message", "reason"]).unwrap_or_else(|| plain(grant));
    [risk, sentence]
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| clean(&value.to_string()), clean)
}
