//! `ringfence inspect`: everything a run left or is just writing, of a gate that lives or one that is dead.

use std::path::PathBuf;

use clap::Args;
use ringfence_ipc::counters::Counter;
use serde_json::{Value, json};

use super::journal::{Story, archive, hot};
use super::sample::Sample;
use super::site::Site;
use super::text;

/// Arguments of `ringfence inspect`.
#[derive(Args)]
#[command(
    after_help = "Reads files only: it neither attaches to the gate nor slows it. The journal is read from its beginning.\n\nExamples:\n  ringfence inspect\n  ringfence inspect /dev/shm/ringfence-1000-0123456789abcdef\n  ringfence inspect DATA_DIR --last 3 --json"
)]
pub struct InspectArgs {
    /// Data directory or run directory of the run (default: the latest).
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Records to show from the journal's end.
    #[arg(long, default_value_t = 10, value_name = "N")]
    last: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let site = Site::find(args.dir.as_deref())?;
    let sample = Sample::take(&site.counters());
    let pid = sample.as_ref().ok().map(|sample| sample.get(Counter::GatePid));
    let life = site.life(pid);
    // Without an archive the hot ring alone is read: an empty directory's worth of segments before it.
    let archive_dir = site.archive().unwrap_or_else(|| site.run_dir.join("no-archive"));
    let story = Story::read(&site.hot(), &archive_dir, args.last).json();
    let found = json!({
        "gate": life.word(),
        "data_dir": site.data_dir.as_ref().map(|dir| dir.display().to_string()),
        "run_dir": site.run_dir.display().to_string(),
        "counters": match &sample {
            Ok(sample) => sample.json(None),
            Err(error) => json!({"error": error.to_string()}),
        },
        "hot_ring": hot(&site.hot()),
        "archive": archive(&archive_dir),
        "journal": story,
    });
    if args.json {
        println!("{found}");
        return Ok(());
    }
    match &sample {
        Ok(sample) => print!("{}", text::picture(&site, life, sample, None)),
        Err(_) => println!("gate {} · no counters in {}", life.word(), site.run_dir.display()),
    }
    print!("{}", rest(&found));
    Ok(())
}

/// What the journal and its files say, as lines.
fn rest(found: &Value) -> String {
    let (hot, archive, journal) = (&found["hot_ring"], &found["archive"], &found["journal"]);
    let mut text = String::new();
    match hot {
        Value::Null => text += "hot ring   none\n",
        hot => {
            let flags =
                ["closed", "disk_low", "archiver_failed"].into_iter().filter(|flag| hot[*flag] == true);
            text += &format!(
                "hot ring   {} to {} of {} slots, archived below {}, on disk below {} {}\n",
                hot["start"],
                hot["end"],
                hot["capacity_slots"],
                hot["archived"],
                hot["durable"],
                flags.collect::<Vec<_>>().join(" ")
            );
        }
    }
    text += &format!("archive    {} segments, {} bytes\n", archive["segments"], archive["bytes"]);
    text += &format!("journal    {} records: {}\n", journal["records"], journal["by_kind"]);
    if let Some(error) = journal["error"].as_str() {
        text += &format!("           CANNOT BE READ FURTHER: {error}\n");
    }
    for (title, key) in [("strategies", "strategies"), ("symbols", "symbols")] {
        let names = journal[key].as_array().into_iter().flatten();
        let names: Vec<String> =
            names.map(|v| format!("{} {}", v["id"], v["name"].as_str().unwrap_or("?"))).collect();
        text += &format!("{title:<10} {}\n", names.join(", "));
    }
    text += &format!("limits     {}\nmodes set  {}\nlast records\n", journal["limits"], journal["modes_set"]);
    for record in journal["last_records"].as_array().into_iter().flatten() {
        text += &format!("  {record}\n");
    }
    text
}
