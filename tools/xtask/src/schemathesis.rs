//! Schemathesis, which asks the HTTP API what its own document allows (G14): from PyPI, into an environment outside of
//! the repository that later runs find again.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Where the tests look for the program.
pub const VARIABLE: &str = "RINGFENCE_SCHEMATHESIS";
const VERSION: &str = "4.32.5";

/// The program: the one that the environment names, or one of our own.
///
/// # Errors
/// Why there is none, and what to do.
pub fn installed() -> Result<String, String> {
    if let Ok(given) = std::env::var(VARIABLE) {
        return Ok(given);
    }
    let home = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let place = home.unwrap_or_else(std::env::temp_dir).join(format!("ringfence/schemathesis-{VERSION}"));
    let program = place.join("bin/schemathesis");
    if !program.exists() {
        let text = place.display().to_string();
        run("python3", &["-m", "venv", &text], "apt-get install python3-venv")?;
        let (pip, wanted) = (place.join("bin/pip"), format!("schemathesis=={VERSION}"));
        let args = ["install", "--quiet", "--disable-pip-version-check", &wanted];
        run(&pip.display().to_string(), &args, "is PyPI within reach?")?;
    }
    Ok(program.display().to_string())
}

fn run(program: &str, args: &[&str], advice: &str) -> Result<(), String> {
    println!("==> schemathesis: {program} {}", args.join(" "));
    let ran = Command::new(program).args(args).stdin(Stdio::null()).status();
    if ran.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(format!("schemathesis {VERSION} could not be installed ({program} failed): {advice}"))
}
