//! Java servers as jars, brought by Maven once and kept outside of the repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache_dir;

/// The oldest Java that the servers run on.
const JAVA: u32 = 17;

/// A server that is published as jars.
pub struct Jars {
    /// Its name.
    pub name: &'static str,
    /// Its version, as the pom has it.
    pub version: &'static str,
    /// What Maven is to bring.
    pub pom: &'static str,
    /// Files to lie beside `lib`: name, content.
    pub files: &'static [(&'static str, &'static str)],
}

impl Jars {
    /// The folder with the jars in `lib`; brings them when they are not there yet.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub fn find(&self) -> Result<PathBuf, String> {
        self.java()?;
        let place = cache_dir().join(format!("{}-{}", self.name.to_lowercase(), self.version));
        if !place.join("lib").exists() {
            self.bring(&place)?;
        }
        Ok(place)
    }

    fn java(&self) -> Result<(), String> {
        let advice = format!("apt-get install openjdk-{JAVA}-jre-headless");
        let said = Command::new("java").arg("-version").output();
        let said = said.map_err(|_| format!("java is not installed: {advice}"))?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        // openjdk version "17.0.15" 2025-04-15
        let major = said.split('"').nth(1).and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        if major.is_some_and(|major| major >= JAVA) {
            return Ok(());
        }
        Err(format!("{} {} needs Java {JAVA}: {advice}", self.name, self.version))
    }

    /// Into a folder of this process, then renamed: two that bring the jars at once do not meet.
    fn bring(&self, place: &Path) -> Result<(), String> {
        // Versions have dots: what follows the last one is part of the name.
        let own = PathBuf::from(format!("{}.{}", place.display(), std::process::id()));
        let cannot = |error: std::io::Error| format!("{}: {error}", own.display());
        std::fs::create_dir_all(&own).map_err(cannot)?;
        std::fs::write(own.join("pom.xml"), self.pom).map_err(cannot)?;
        for (name, content) in self.files {
            std::fs::write(own.join(name), content).map_err(cannot)?;
        }
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
            return Err(format!(
                "Maven cannot bring {} {}; is its repository within reach? {said}",
                self.name, self.version
            ));
        }
        match std::fs::rename(&own, place) {
            // Somebody else was faster: theirs is the same.
            Err(_) if place.join("lib").exists() => std::fs::remove_dir_all(&own).map_err(cannot),
            renamed => renamed.map_err(cannot),
        }
    }
}
