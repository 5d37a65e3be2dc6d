//! One command of a run: announced, shown, timed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A command to run from the workspace's root.
pub struct Step {
    name: &'static str,
    program: String,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

/// The absolute path of the program `name` once cargo has built it.
pub fn built(profile: &str, name: &str) -> String {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let path = format!("{target}/{profile}/{name}");
    std::path::absolute(&path).map_or(path, |absolute| absolute.display().to_string())
}

impl Step {
    /// `program args..`, called `name` in the output.
    pub fn new(name: &'static str, program: &str, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { name, program: program.to_owned(), args, env: Vec::new() }
    }

    /// The cargo that started this program, with `args`.
    pub fn cargo(name: &'static str, args: &[&str]) -> Self {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        Self::new(name, &cargo, args)
    }

    /// Sets a variable of the command's environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: &[String]) -> Self {
        self.args.extend_from_slice(args);
        self
    }

    /// What it is called in the output.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it; its output goes where ours goes. True if it succeeded.
    pub fn run(&self) -> bool {
        let start = self.announce();
        let outcome = self.command().status();
        self.conclude(start, outcome.map(|status| status.success()))
    }

    /// Runs it and shows both its streams line by line on ours, handing each line to `see`. True if it succeeded.
    pub fn run_seen(&self, see: &mut dyn FnMut(&str)) -> bool {
        let start = self.announce();
        let outcome = self.watch(see);
        self.conclude(start, outcome)
    }

    fn watch(&self, see: &mut dyn FnMut(&str)) -> std::io::Result<bool> {
        // Both streams share one pipe: their lines stay in order, and none of them can fill up unread.
        let (reader, writer) = std::io::pipe()?;
        let mut child = {
            let mut command = self.command();
            command.stdout(writer.try_clone()?).stderr(writer);
            command.spawn()?
        };
        let mut lines = BufReader::new(reader);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            see(text.trim_end());
            line.clear();
        }
        Ok(child.wait()?.success())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .stdin(Stdio::null())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn announce(&self) -> Instant {
        let env: String = self.env.iter().map(|(name, value)| format!("{name}={value:?} ")).collect();
        println!("==> {}: {env}{} {}", self.name, self.program, self.args.join(" "));
        Instant::now()
    }

    fn conclude(&self, start: Instant, outcome: std::io::Result<bool>) -> bool {
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(true) => println!("==> {}: done in {seconds:.1} s", self.name),
            Ok(false) => println!("==> {}: FAILED after {seconds:.1} s", self.name),
            Err(ref error) => println!("==> {}: FAILED to run `{}`: {error}", self.name, self.program),
        }
        outcome.unwrap_or(false)
    }
}
