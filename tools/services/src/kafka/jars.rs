//! The broker's jars, brought by Maven once and kept outside of the repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache_dir;

/// Apache Kafka's version, as `pom.xml` has it.
pub const VERSION: &str = "4.1.1";
/// The oldest Java that this version runs on.
const JAVA: u32 = 17;
const POM: &str = include_str!("pom.xml");
const LOGGING: &str = include_str!("log4j2.properties");

/// The folder with the jars; brings them when they are not there yet.
///
/// # Errors
/// What is missing, and how to get it.
pub fn jars() -> Result<PathBuf, String> {
    java()?;
    let place = cache_dir().join(format!("kafka-{VERSION}"));
    if !place.join("lib").exists() {
        bring(&place)?;
    }
    Ok(place)
}

fn java() -> Result<(), String> {
    let advice = format!("apt-get install openjdk-{JAVA}-jre-headless");
    let said = Command::new("java").arg("-version").output();
    let said = said.map_err(|_| format!("java is not installed: {advice}"))?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    // openjdk version "17.0.15" 2025-04-15
    let major = said.split('"').nth(1).and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    if major.is_some_and(|major| major >= JAVA) {
        return Ok(());
    }
    Err(format!("Kafka {VERSION} needs Java {JAVA}: {advice}"))
}

/// Into a folder of this process, then renamed: two that bring the jars at once do not meet.
fn bring(place: &Path) -> Result<(), String> {
    let own = place.with_extension(format!("{}", std::process::id()));
    let cannot = |error: std::io::Error| format!("{}: {error}", own.display());
    std::fs::create_dir_all(&own).map_err(cannot)?;
    std::fs::write(own.join("pom.xml"), POM).map_err(cannot)?;
    std::fs::write(own.join("log4j2.properties"), LOGGING).map_err(cannot)?;
    let ran = Command::new("mvn")
        .args(["-q", "-B", "-f", "pom.xml", "dependency:copy-dependencies"])
        .args(["-DincludeScope=runtime", "-DoutputDirectory=lib"])
        .current_dir(&own)
        .stdin(Stdio::null())
        .output();
    let ran = ran.map_err(|_| "mvn is not installed: apt-get install maven".to_owned())?;
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stdout).chars().take(600).collect::<String>();
        let _ = std::fs::remove_dir_all(&own);
        return Err(format!("Maven cannot bring Kafka {VERSION}; is its repository within reach? {said}"));
    }
    match std::fs::rename(&own, place) {
        // Somebody else was faster: theirs is the same.
        Err(_) if place.join("lib").exists() => std::fs::remove_dir_all(&own).map_err(cannot),
        renamed => renamed.map_err(cannot),
    }
}
