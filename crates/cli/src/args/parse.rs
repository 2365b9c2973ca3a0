//! Values of options and arguments, checked as they are typed.

use std::time::Duration;

use envelope::Timestamp;

/// A time such as `90`, `90s`, `10m`, `1h`; bare numbers are seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "is no time; write it like 30s, 10m or 1h, up to 24h".to_owned();
    let (number, unit) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(unit) {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}

/// Levels below `control/`, none of them empty or a wildcard.
pub(super) fn control_command(text: &str) -> Result<String, String> {
    let good = |level: &str| {
        !level.is_empty() && !level.contains(['+', '#']) && !level.chars().any(char::is_control)
    };
    if text.len() <= 256 && text.split('/').all(good) {
        Ok(text.to_owned())
    } else {
        Err("is no control command; write one or more names joined by /, without + and #".to_owned())
    }
}

/// A time in the past: `45m`, `2h` or `7d` before now, or a time as in RFC 3339.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    let wrong = || {
        "is no time; write how long ago, like 45m, 2h or 7d, or when, like 2026-01-16T21:00:00Z".to_owned()
    };
    let unit: i64 = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 86_400,
        _ => return text.parse().map_err(|_| wrong()),
    };
    // The unit is one byte of ASCII, so the text can be cut before it.
    let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let ago = i64::from(number).saturating_mul(unit).saturating_mul(1000);
    Ok(Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(ago)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        for (text, seconds) in [("90", 90), ("30s", 30), ("10m", 600), ("24h", 86_400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "0", "-1", "1d", "25h", "99999999999999999999", "18446744073709551615h", "1é"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_control_command_cannot_leave_its_levels_or_become_a_filter() {
        assert!(control_command("filter/select").is_ok());
        for text in ["", "/", "a//b", "a/", "#", "a/+", "a\n", &"x".repeat(300)] {
            assert!(control_command(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_time_in_the_past_is_so_long_ago_or_a_moment() {
        let now = Timestamp::now();
        for (text, seconds) in [("90s", 90), ("45m", 2700), ("2h", 7200), ("7d", 604_800)] {
            let ago = now.since(since(text).expect("a time")).as_secs();
            assert!(ago.abs_diff(seconds) <= 1, "{text}: {ago}");
        }
        assert_eq!(
            since("2026-01-16T01:00:00+01:00").map(|t| t.to_string()),
            Ok("2026-01-16T00:00:00.000Z".to_owned())
        );
        assert!(since("4294967295d").is_ok());
        for text in ["", "h", "-2h", "2", "2w", "yesterday", "2026-01-16", "99999999999h", "é"] {
            assert!(since(text).is_err(), "{text}");
        }
    }
}
