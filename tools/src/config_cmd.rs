//! `ringfence config`: what a gate would run with, and from where.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ringfence_core::config::{ConfigSource, Loaded, reference};

use crate::http_cmd::{To, post, tell};
use crate::place;

/// Configuration commands.
#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration file, the environment and flags; the first mistake is named.
    #[command(after_help = "Example:\n  ringfence config check core.toml")]
    Check(Which),
    /// Print every effective value and where it comes from.
    #[command(
        after_help = "Examples:\n  ringfence config show core.toml\n  ringfence config show core.toml --set limits.price_collar=\"250 bps\" --json"
    )]
    Show(Which),
    /// Print every key: value, default, and when a change counts.
    Keys,
    /// Have a running gate read its file again: limits change, anything else needs a restart.
    #[command(after_help = "Example:\n  ringfence config reload")]
    Reload(To),
}

/// Which configuration.
#[derive(Args)]
pub struct Which {
    /// Configuration file (default: that of the latest run).
    file: Option<PathBuf>,
    #[command(flatten)]
    set: Set,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Values that win over the file and the environment.
#[derive(Args, Clone, Debug, Default)]
pub struct Set {
    /// A value that wins over file and environment; elements of lists by name: strategy.demo.limits.max_open_orders=5.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub pairs: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, e.g. limits.price_collar=\"250 bps\"")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// `file`, this process's environment, and `flags`.
pub fn source(file: &Path, flags: impl IntoIterator<Item = (String, String)>) -> ConfigSource {
    ConfigSource { flags: flags.into_iter().collect(), ..ConfigSource::new(file) }
}

pub fn run(command: &ConfigCommand) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(which) => {
            let (file, loaded) = which.load()?;
            if which.json {
                println!("{}", serde_json::json!({"ok": true, "file": file}));
            } else {
                println!("{}: ok, {} values", file.display(), loaded.effective().len());
            }
        }
        ConfigCommand::Show(which) => which.show()?,
        ConfigCommand::Keys => print!("{}", reference()),
        ConfigCommand::Reload(to) => {
            let answer = post(to, "/api/config/reload", &serde_json::json!({}))?;
            tell(to, &answer, |a| format!("version {} is in force", a["config_version"]))?;
        }
    }
    Ok(())
}

impl Which {
    fn load(&self) -> anyhow::Result<(PathBuf, Loaded)> {
        let file = match &self.file {
            Some(file) => file.clone(),
            None => place::data_dir(None)?.join("core.toml"),
        };
        let loaded = source(&file, self.set.pairs.clone()).load().context("the configuration cannot work")?;
        Ok((file, loaded))
    }

    fn show(&self) -> anyhow::Result<()> {
        let effective = self.load()?.1.effective();
        if self.json {
            let values = effective.iter().map(|(key, value, origin)| {
                (
                    key.clone(),
                    serde_json::json!({"value": value.trim_matches('"'), "from": origin.to_string()}),
                )
            });
            println!("{}", serde_json::Value::Object(values.collect()));
            return Ok(());
        }
        let width = effective.iter().map(|(key, value, _)| key.len() + value.len() + 3).max().unwrap_or(0);
        for (key, value, origin) in effective {
            println!("{:width$}  # {origin}", format!("{key} = {value}"));
        }
        Ok(())
    }
}
