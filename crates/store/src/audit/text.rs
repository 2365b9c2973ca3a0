//! Text of strangers, made harmless; and results as they are written.

use envelope::ErrorCode;
use envelope::payload::audit::AuditResult;

/// At most `max` characters of `text`, without any that a terminal obeys or that change how text reads.
pub(super) fn clean(text: &str, max: usize) -> String {
    text.chars().filter(|c| !is_treacherous(*c)).take(max).collect()
}

/// Control characters, and those of Unicode that are not seen and turn or split the text around them.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

pub(super) fn of_result(result: AuditResult) -> &'static str {
    match result {
        AuditResult::Accepted => "accepted",
        AuditResult::Done => "done",
        AuditResult::Failed => "failed",
        AuditResult::Refused => "refused",
    }
}

pub(super) fn to_result(text: &str) -> Option<AuditResult> {
    use AuditResult::{Accepted, Done, Failed, Refused};
    [Accepted, Done, Failed, Refused].into_iter().find(|result| of_result(*result) == text)
}

pub(super) fn to_code(text: &str) -> Option<ErrorCode> {
    ErrorCode::ALL.iter().copied().find(|code| code.as_str() == text)
}
