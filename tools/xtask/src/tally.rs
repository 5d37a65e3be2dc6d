//! Adds up what the test runners say about themselves.

/// A test that cannot run here prints a line that begins with this, and why.
pub const SKIP_MARK: &str = "SKIPPED:";

/// Tests so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ran and held, as the runners count.
    passed: u64,
    /// Ran and did not hold, or did not finish.
    pub failed: u64,
    /// Did not run.
    skipped: u64,
    /// Of those that a runner counted as passed: gave up early and said so.
    gave_up: u64,
    /// What did not run, and why; shown at the end.
    unrun: Vec<String>,
    /// What failed; shown at the end.
    broken: Vec<String>,
}

impl Tally {
    /// Reads one line of a runner's output.
    pub fn see(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.see_cargo(rest);
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.broken.push(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("Ran ") {
            self.passed += first_number(rest);
        } else if line == "OK" || line.starts_with("OK (") || line.starts_with("FAILED (") {
            self.see_unittest(line);
        } else if let Some(at) = line.find(SKIP_MARK) {
            self.see_skip(&line[at..]);
        }
    }

    /// Tests that came to an end, whichever.
    pub fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    /// Something that could not even start counts as one failure.
    pub fn fail(&mut self, what: &str) {
        self.failed += 1;
        self.broken.push(what.to_owned());
    }

    /// Something that cannot run on this machine.
    pub fn skip(&mut self, what: &str) {
        self.skipped += 1;
        self.unrun.push(format!("{SKIP_MARK} {what}"));
    }

    /// The last lines of a run: what failed, what did not run and why, and the sum.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for name in &self.broken {
            text.push_str(&format!("FAILED: {name}\n"));
        }
        for line in &self.unrun {
            text.push_str(&format!("{line}\n"));
        }
        let passed = self.passed.saturating_sub(self.gave_up);
        text + &format!("{passed} passed, {} failed, {} skipped", self.failed, self.skipped + self.gave_up)
    }

    /// `ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
    fn see_cargo(&mut self, rest: &str) {
        for part in rest.split([';', '.']) {
            let count = first_number(part);
            match part.trim().split(' ').nth(1) {
                Some("passed") => self.passed += count,
                Some("failed") => self.failed += count,
                Some("ignored") if count > 0 => {
                    self.skipped += count;
                    self.unrun.push(format!("{SKIP_MARK} {count} tests marked #[ignore]"));
                }
                _ => {}
            }
        }
    }

    /// `FAILED (failures=1, errors=2, skipped=3)`, after `Ran N tests in ..` which counted all N as passed.
    fn see_unittest(&mut self, line: &str) {
        let parts = line.split_once('(').map_or("", |(_, parts)| parts.trim_end_matches(')'));
        for (name, count) in parts.split(", ").filter_map(|part| part.split_once('=')) {
            let count = first_number(count);
            self.passed = self.passed.saturating_sub(count);
            match name {
                "skipped" => self.skipped += count,
                "expected failures" => self.passed += count,
                _ => self.failed += count,
            }
        }
    }

    /// The runner counts a test that gave up early as passed; we do not.
    fn see_skip(&mut self, line: &str) {
        self.gave_up += 1;
        if !self.unrun.iter().any(|known| known == line) {
            self.unrun.push(line.to_owned());
        }
    }
}

fn first_number(text: &str) -> u64 {
    text.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.see(line));
        tally
    }

    fn counts(tally: &Tally) -> (u64, u64, u64) {
        (tally.passed, tally.failed, tally.skipped)
    }

    #[test]
    fn cargo_results_add_up() {
        let t = tally(&[
            "running 14 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 12 passed; 1 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.10s",
        ]);
        assert_eq!(counts(&t), (15, 1, 1));
        assert_eq!(t.broken, ["a::c"]);
        assert!(t.summary().ends_with("\n15 passed, 1 failed, 1 skipped"));
    }

    #[test]
    fn unittest_results_add_up() {
        assert_eq!(counts(&tally(&["Ran 34 tests in 0.011s", "", "OK"])), (34, 0, 0));
        assert_eq!(counts(&tally(&["Ran 5 tests in 1s", "OK (skipped=2)"])), (3, 0, 2));
        assert_eq!(
            counts(&tally(&["Ran 5 tests in 1s", "FAILED (failures=1, errors=1, skipped=1)"])),
            (2, 2, 1)
        );
    }

    #[test]
    fn tests_that_gave_up_are_skipped_and_their_reason_said_once() {
        let t = tally(&[
            "SKIPPED: ../shared/data is not there",
            "test book::recorded ... SKIPPED: ../shared/data is not there",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.10s",
        ]);
        assert_eq!(t.summary(), "SKIPPED: ../shared/data is not there\n1 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn what_never_started_counts_as_failed() {
        let mut t = Tally::default();
        t.fail("loom: did not build");
        assert_eq!(t.summary(), "FAILED: loom: did not build\n0 passed, 1 failed, 0 skipped");
    }
}
