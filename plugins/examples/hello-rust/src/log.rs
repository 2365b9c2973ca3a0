//! Log lines: one JSON object each, on standard output, where Docker collects them.

use std::io::Write;
use std::sync::LazyLock;

use serde_json::{Value, json};

/// `LOG_LEVEL=debug` shows what is otherwise left out.
static DEBUG: LazyLock<bool> =
    LazyLock::new(|| std::env::var("LOG_LEVEL").is_ok_and(|level| level == "debug"));

/// Of interest while looking for a fault.
pub fn debug(message: &str, fields: Value) {
    if *DEBUG {
        write("debug", message, fields);
    }
}

/// Of interest to whoever reads the log later.
pub fn info(message: &str, fields: Value) {
    write("info", message, fields);
}

/// Something is missing, and the plugin goes on.
pub fn warn(message: &str, fields: Value) {
    write("warn", message, fields);
}

/// The plugin cannot go on.
pub fn error(message: &str, fields: Value) {
    write("error", message, fields);
}

fn write(level: &str, message: &str, fields: Value) {
    let line = line(&jiff::Timestamp::now().to_string(), level, message, fields);
    // Nothing can be done, or said, about a log that cannot be written.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn line(timestamp: &str, level: &str, message: &str, fields: Value) -> Value {
    let mut line = json!({"timestamp": timestamp, "level": level, "message": message});
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        for (name, value) in fields {
            line.entry(name).or_insert(value);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object_and_fields_cannot_overwrite_it() {
        let line = line("now", "info", "hello\n", json!({"level": "error", "topic": "a/b"}));
        assert_eq!(line, json!({"timestamp": "now", "level": "info", "message": "hello\n", "topic": "a/b"}));
        assert_eq!(line.to_string().lines().count(), 1);
    }
}
