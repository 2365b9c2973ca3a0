//! Times, sizes and widths as people read them.

use std::time::Duration;

use envelope::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A duration in its largest unit that makes sense: `45 s`, `3 min`, `5 h`, `12 d`.
pub(crate) fn lasting(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The same of milliseconds, with a decimal as long as that says something: `1.8 s`.
pub(crate) fn lasting_exactly(milliseconds: u64) -> String {
    match milliseconds {
        0..120_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => lasting(Duration::from_millis(milliseconds)),
    }
}

/// When `time` is, seen from `now`: `3 min ago`, `in 45 s`, `now`.
pub(crate) fn ago(time: Timestamp, now: Timestamp) -> String {
    let (past, future) = (now.since(time), time.since(now));
    if past.as_secs() == 0 && future.as_secs() == 0 {
        "now".to_owned()
    } else if future.is_zero() {
        format!("{} ago", lasting(past))
    } else {
        format!("in {}", lasting(future))
    }
}

/// An amount of data: `17.3 MB` (powers of 1000, as image registries count).
pub(crate) fn bytes(count: u64) -> String {
    let (divisor, unit) = match count {
        0..1000 => return format!("{count} B"),
        1000..1_000_000 => (1000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {unit}", count / divisor, count % divisor * 10 / divisor)
}

/// `text` in at most `width` columns, with `…` where something is left out.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut short = String::new();
    for c in text.chars() {
        let Some(rest) = left.checked_sub(c.width().unwrap_or(0)) else { break };
        left = rest;
        short.push(c);
    }
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_one_unit() {
        for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")] {
            assert_eq!(lasting(Duration::from_secs(seconds)), text);
        }
        assert!(lasting(Duration::MAX).ends_with(" d"));
    }

    #[test]
    fn short_times_have_a_decimal() {
        for (milliseconds, text) in [(0, "0.0 s"), (1_840, "1.8 s"), (119_999, "119.9 s"), (120_000, "2 min")]
        {
            assert_eq!(lasting_exactly(milliseconds), text);
        }
        assert!(lasting_exactly(u64::MAX).ends_with(" d"));
    }

    #[test]
    fn times_are_told_from_now() {
        let now = Timestamp::from_seconds(1000);
        assert_eq!(ago(Timestamp::from_seconds(700), now), "5 min ago");
        assert_eq!(ago(Timestamp::from_seconds(1045), now), "in 45 s");
        assert_eq!(ago(Timestamp::from_millis(1_000_400), now), "now");
    }

    #[test]
    fn sizes_have_one_decimal() {
        for (count, text) in
            [(999, "999 B"), (1000, "1.0 kB"), (17_350_000, "17.3 MB"), (2_000_000_000, "2.0 GB")]
        {
            assert_eq!(bytes(count), text);
        }
        assert!(bytes(u64::MAX).ends_with(" GB"));
    }

    #[test]
    fn long_text_ends_in_an_ellipsis_and_keeps_to_its_columns() {
        assert_eq!(shorten("hello world", 11), "hello world");
        assert_eq!(shorten("hello world", 7), "hello…");
        assert_eq!(shorten("望遠鏡", 4), "望…");
        assert_eq!(shorten("ab", 0), "…");
    }
}
