//! Tests, as the test programs count them.

/// Ignored tests that are no gap: the step of its own that runs it, or the use that is not testing.
const NOT_SKIPPED: [&str; 2] = [
    // The step `no trace of a host cluster`.
    super::WHOLE_DEVHOST,
    // Writes the files that its neighbour compares.
    "golden::write_golden_files",
];

/// How many passed, failed and were skipped.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Test programs that began and have not told their result.
    open: u64,
}

impl Count {
    /// Takes a line of a test program, such as `test result: ok. 16 passed; 0 failed; …`.
    pub(crate) fn add(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            let number = |word: &str| {
                let part = rest.split(['.', ';']).find(|part| part.trim().ends_with(word))?;
                part.split_whitespace().find_map(|text| text.parse::<u64>().ok())
            };
            self.passed += number("passed").unwrap_or(0);
            self.failed += number("failed").unwrap_or(0);
            self.open = self.open.saturating_sub(1);
        } else if is_start(line) {
            self.open += 1;
        } else if let Some(name) = ignored(line)
            && !NOT_SKIPPED.contains(&name)
        {
            self.skipped += 1;
        }
    }

    /// At the end of all test programs: one without a result has crashed.
    pub(super) fn close(&mut self) {
        self.failed += std::mem::take(&mut self.open);
    }

    /// The closing line.
    pub(super) fn line(&self) -> String {
        let Self { passed, failed, skipped, .. } = self;
        let skipped = if *skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
        format!("{passed} passed, {failed} failed{skipped}")
    }
}

/// `running 12 tests`
fn is_start(line: &str) -> bool {
    let number = line.strip_prefix("running ").and_then(|rest| rest.split_once(" test"));
    number.is_some_and(|(number, rest)| number.parse::<u64>().is_ok() && matches!(rest, "" | "s"))
}

/// The test's name in `test name ... ignored`, with or without a reason.
fn ignored(line: &str) -> Option<&str> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    (outcome == "ignored" || outcome.starts_with("ignored,")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(lines: &[&str]) -> String {
        let mut count = Count::default();
        lines.iter().for_each(|line| count.add(line));
        count.close();
        count.line()
    }

    #[test]
    fn test_programs_are_counted_by_their_closing_lines() {
        let lines = [
            "running 16 tests",
            "test result: ok. 16 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.06s",
            "running 1 test",
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.06s",
            "running out of ideas",
        ];
        assert_eq!(counted(&lines), "19 passed, 1 failed");
    }

    #[test]
    fn a_test_program_without_a_result_has_failed() {
        let lines = ["running 4 tests", "test a ... ok", "running 2 tests", "test result: ok. 2 passed; 0 failed;"];
        assert_eq!(counted(&lines), "2 passed, 1 failed");
    }

    #[test]
    fn ignored_tests_are_skipped_except_the_one_that_a_step_runs() {
        let whole = format!("test {} ... ignored, takes minutes", super::super::WHOLE_DEVHOST);
        let lines = [
            "running 3 tests",
            whole.as_str(),
            "test slow ... ignored",
            "test golden::write_golden_files ... ignored, writes",
            "test ignored ... ok",
            "test result: ok. 1 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.06s",
        ];
        assert_eq!(counted(&lines), "1 passed, 0 failed, 1 skipped");
    }
}
