//! Tells what is being done and how long it took: a spinner on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// The steps of one command.
pub(crate) struct Progress {
    started: Instant,
    terminal: bool,
}

impl Progress {
    /// Starts counting.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), terminal: std::io::stderr().is_terminal() }
    }

    /// Runs one step and prints its name with the time it took.
    pub(crate) fn step<T>(&self, name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.timed(name, false, run)
    }

    /// Like `step`, for work of minutes: without a terminal its start is told too.
    pub(crate) fn long_step<T>(&self, name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        self.timed(name, true, run)
    }

    /// One line that is no step.
    pub(crate) fn say(&self, text: &str) {
        eprintln!("  {text}");
    }

    /// Time since the command started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn timed<T>(&self, name: &str, long: bool, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let begun = Instant::now();
        let spinner = self.terminal.then(|| spinner(name));
        if spinner.is_none() && long {
            eprintln!("  ..      {name}");
        }
        let result = run();
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        let mark = if result.is_ok() { "ok" } else { "FAILED" };
        eprintln!("  {mark:<7} {name}  ({})", seconds(begun.elapsed()));
        result
    }
}

/// A duration as people read it: `0.4 s`, `2 min 05 s`.
pub(crate) fn seconds(time: Duration) -> String {
    if time.as_secs() < 60 {
        return format!("{:.1} s", time.as_secs_f64());
    }
    format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
}

fn spinner(name: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(name.to_owned());
    if let Ok(style) = ProgressStyle::with_template("  {spinner}       {msg}  {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_told_apart_from_seconds() {
        assert_eq!(seconds(Duration::from_millis(430)), "0.4 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
