//! `ringfence limits`: what limits what, and how an operator changes it.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::http_cmd::{To, get, post, tell};

/// Arguments of `ringfence limits`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  ringfence limits\n  ringfence limits set strategy:demo max_open_orders 5\n  ringfence limits set global price_collar \"250 bps\"\n  ringfence limits set symbol:BTCUSDT max_order_qty none"
)]
pub struct LimitsArgs {
    #[command(subcommand)]
    command: Option<LimitsCommand>,
    #[command(flatten)]
    to: To,
}

#[derive(Subcommand)]
enum LimitsCommand {
    /// Set a limit from the next decision on; it is journalled and stays until it is set again or the file is applied.
    Set(SetArgs),
}

#[derive(Args)]
struct SetArgs {
    /// What for: global, account:ID, symbol:NAME or strategy:NAME.
    scope: String,
    /// Which limit, as in a configuration file.
    limit: String,
    /// Its value with its unit, e.g. "250 bps"; `none` takes the limit back.
    value: String,
    #[command(flatten)]
    to: To,
}

pub fn run(args: &LimitsArgs) -> anyhow::Result<()> {
    match &args.command {
        Some(LimitsCommand::Set(set)) => {
            let (scope, of) =
                set.scope.split_once(':').map_or((set.scope.as_str(), None), |(s, of)| (s, Some(of)));
            let body = json!({"scope": scope, "of": of, "limit": set.limit, "value": set.value});
            let answer = post(&set.to, "/api/limits", &body)?;
            tell(&set.to, &answer, |a| format!("version {} is in force", a["config_version"]))
        }
        None => tell(&args.to, &get(&args.to, "/api/limits")?, table),
    }
}

fn table(answer: &Value) -> String {
    let mut text = format!("version {}", answer["config_version"]);
    for item in answer["items"].as_array().into_iter().flatten() {
        let of = match (&item["name"], &item["scope"]) {
            (Value::String(name), _) => format!(":{name}"),
            (_, Value::String(scope)) if scope == "account" => format!(":{}", item["scope_id"]),
            _ => String::new(),
        };
        let scope = format!("{}{of}", item["scope"].as_str().unwrap_or("?"));
        let observed =
            item.get("observed").map_or_else(String::new, |observed| format!("  (now {observed})"));
        let limit = item["limit"].as_str().unwrap_or("?");
        let _ = write!(text, "\n{scope:24} {limit:24} {}{observed}", item["value"]);
    }
    text
}
