//! How far an operation is, while it runs.

use std::time::{Duration, Instant};

use envelope::payload::event::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::render::{Ink, bytes, clean, ink, lasting, shorten};
use crate::screen::{Screen, Steps};

/// Columns for the name of a step.
const STEP: usize = 44;
/// Most finished steps that stay on the screen: an operation that goes back and forth must not fill it.
const MOST: usize = 40;

/// The steps of one operation on the screen.
#[derive(Debug)]
pub(crate) struct View<'a> {
    screen: &'a Screen,
    bar: ProgressBar,
    step: Option<(String, Instant)>,
    finished: usize,
    shown: bool,
}

impl<'a> View<'a> {
    /// Shows that the operation was asked for; `waiting` says what is waited for.
    pub(crate) fn new(screen: &'a Screen, waiting: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(style("{spinner} {msg}  {elapsed}"));
        bar.set_message(waiting.to_owned());
        Self { screen, bar, step: None, finished: 0, shown: false }
    }

    /// Puts it on the screen, where things may move. What is done in a blink needs none of this, so it is
    /// not done from the beginning.
    pub(crate) fn show(&mut self) {
        if !self.shown && self.screen.progress() == Steps::Moving {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(Duration::from_millis(120));
        }
        self.shown = true;
    }

    /// Shows what a progress event says.
    pub(crate) fn update(&mut self, progress: &Progress) {
        self.show();
        let step = shorten(&clean(&progress.step), STEP);
        if self.step.as_ref().is_none_or(|(current, _)| *current != step) {
            self.finish_step();
            if self.screen.progress() == Steps::Lines && self.finished < MOST {
                self.screen.tell(&ink(Ink::Faint, &format!("  {step}")));
                self.finished += 1;
            }
            self.step = Some((step.clone(), Instant::now()));
        }
        self.bar.set_prefix(amount(progress));
        match (progress.done, progress.total) {
            (Some(done), Some(total)) if total > 0 => {
                self.bar.set_style(style("{spinner} {msg}  {bar:24}  {prefix}"));
                self.bar.set_length(total);
                self.bar.set_position(done.min(total));
            }
            _ => self.bar.set_style(style("{spinner} {msg}  {prefix}")),
        }
        self.bar.set_message(step);
    }

    /// Lets `tell` write lines in between.
    pub(crate) fn aside(&self, tell: impl FnOnce()) {
        self.bar.suspend(tell);
    }

    /// Takes what moves off the screen; `done` says whether the last step ended well.
    pub(crate) fn finish(mut self, done: bool) {
        if done {
            self.finish_step();
        }
        self.bar.finish_and_clear();
    }

    fn finish_step(&mut self) {
        let Some((step, since)) = self.step.take() else { return };
        if self.screen.progress() == Steps::Moving && self.finished < MOST {
            let line = format!("✓ {step}  {}", took(since.elapsed()));
            self.bar.suspend(|| self.screen.tell(&ink(Ink::Faint, &line)));
            self.finished += 1;
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates of this file are valid")
        .tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "])
        .progress_chars("━╸─")
}

/// How far, in the unit that the coordinator counts in.
fn amount(progress: &Progress) -> String {
    let unit = progress.unit.as_deref();
    let show = |count: u64| match unit {
        Some("bytes") => bytes(count),
        Some("seconds") => lasting(Duration::from_secs(count)),
        Some(unit) => format!("{count} {}", clean(unit)),
        None => count.to_string(),
    };
    match (progress.done, progress.total) {
        (Some(done), Some(total)) => format!("{} of {}", show(done), show(total)),
        (Some(done), None) => show(done),
        _ => String::new(),
    }
}

fn took(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        lasting(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_in_the_unit_that_is_counted() {
        let progress = |done, total, unit: Option<&str>| Progress {
            step: String::new(),
            done,
            total,
            unit: unit.map(str::to_owned),
        };
        assert_eq!(amount(&progress(Some(1_500_000), Some(20_000_000), Some("bytes"))), "1.5 MB of 20.0 MB");
        assert_eq!(amount(&progress(Some(31), Some(90), Some("seconds"))), "31 s of 90 s");
        assert_eq!(amount(&progress(Some(3), None, Some("la\u{7}yers"))), "3 la\\x07yers");
        assert_eq!(amount(&progress(None, None, None)), "");
    }
}
