//! `ringfence audit verify`.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use ringfence_shell::audit::{Bad, LogType, SeriesFinding, Verification, verify};
use serde_json::{Value, json};

use crate::audit_orders::{Audited, Compared};
use crate::place;

/// Audit commands.
#[derive(Subcommand)]
pub enum AuditCommand {
    /// Prove every chain of the audit log, current and archived; the first bad line is named. Exit code 1 then.
    #[command(
        after_help = "Examples:\n  ringfence audit verify\n  ringfence audit verify --data DIR --json\n  ringfence audit verify --orders        also compare it with the journal"
    )]
    Verify(VerifyArgs),
}

/// Arguments of `audit verify`.
#[derive(Args)]
pub struct VerifyArgs {
    /// Data directory of the run (default: the latest).
    #[arg(long)]
    data: Option<PathBuf>,
    /// Compare what is recorded of orders with the journal, and name each difference.
    #[arg(long)]
    orders: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(command: &AuditCommand) -> anyhow::Result<()> {
    match command {
        AuditCommand::Verify(args) => prove(args),
    }
}

fn prove(args: &VerifyArgs) -> anyhow::Result<()> {
    let data = place::data_dir(args.data.as_deref())?;
    let dir = data.join("audit");
    let look = |audited: &mut Audited| {
        verify(&dir, |log_type, line| {
            if args.orders && log_type == LogType::Order {
                audited.learn(line);
            }
        })
        .with_context(|| format!("cannot read {}: this run has no audit log", dir.display()))
    };
    let mut audited = Audited::default();
    let found = look(&mut audited)?;
    let mut compared = None;
    if args.orders && found.holds() {
        let begun = found.series.iter().all(|s| s.log_type != LogType::Order || s.first_file <= 1);
        let mut result = audited.compare(&data, begun)?;
        if found.live && result.differs() {
            // What was decided a moment ago is recorded in a moment.
            std::thread::sleep(std::time::Duration::from_secs(3));
            let mut later = Audited::default();
            look(&mut later)?;
            result.explain(&later);
        }
        compared = Some(result);
    }
    if args.json {
        println!("{}", told(&found, compared.as_ref()));
    } else {
        print(&found, compared.as_ref());
    }
    if !found.holds() {
        bail!("the audit log was changed or is incomplete: keep it as it is, and compare it with a copy");
    }
    if compared.is_some_and(|compared| compared.differs()) {
        bail!(
            "the audit log and the journal differ: `ringfence journal dump --from POSITION` shows the journal's side"
        );
    }
    Ok(())
}

fn bad_json(bad: Option<&Bad>) -> Value {
    bad.map_or(Value::Null, |bad| json!({"file": bad.file, "line": bad.line, "why": bad.why}))
}

fn told(found: &Verification, compared: Option<&Compared>) -> Value {
    let series = |s: &SeriesFinding| {
        json!({"log_type": s.log_type.name(), "files": s.files, "first_file": s.first_file, "records": s.records,
            "torn_bytes": s.torn_bytes, "bad": bad_json(s.bad.as_ref())})
    };
    json!({"ok": found.holds() && compared.is_none_or(|c| !c.differs()), "live": found.live,
        "bad": bad_json(found.bad.as_ref()), "series": found.series.iter().map(series).collect::<Vec<_>>(),
        "orders": compared.map(Compared::json)})
}

fn print(found: &Verification, compared: Option<&Compared>) {
    let print_bad = |name: &str, bad: &Bad| {
        let line = bad.line.map_or_else(String::new, |line| format!(", line {line}"));
        println!("{name:8} BROKEN  {}{line}: {}", bad.file, bad.why);
    };
    if let Some(bad) = &found.bad {
        print_bad("log", bad);
    }
    for s in &found.series {
        match &s.bad {
            Some(bad) => print_bad(s.log_type.name(), bad),
            None => println!("{:8} ok      {} records in {} files", s.log_type.name(), s.records, s.files),
        }
        if s.torn_bytes > 0 {
            println!(
                "{:8} note    {} bytes after it were cut off by a crash; the next start removes them",
                s.log_type.name(),
                s.torn_bytes
            );
        }
    }
    if let Some(compared) = compared {
        println!("{compared}");
    }
}
