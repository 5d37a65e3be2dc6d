//! The one Ringfence binary: it starts itself as every process of the product.

mod audit_cmd;
mod audit_orders;
mod auth_cmd;
mod binance;
mod child;
mod config_cmd;
mod core_cmd;
mod dag;
mod demo;
mod doctor;
mod dump;
mod export;
mod http_cmd;
mod journal_cmd;
mod limits_cmd;
mod look;
mod operate_cmd;
mod place;
mod reconcile_cmd;
mod replay_cmd;
mod secret;
mod shell_cmd;
mod stop;
mod up;

use clap::{Parser, Subcommand};

/// A low-latency order gate and its control plane.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Start here:\n  ringfence up                 everything, on a simulated market\n  ringfence up --demo --replay market.gz --speed max --for 60s --json"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start gate, shell, paper venue and a market, and stop all of them with Ctrl-C.
    Up(up::UpArgs),
    /// Run the gate process (what `up` starts).
    Core(core_cmd::CoreArgs),
    /// Run the shell process: HTTP, streams, the page and the market source (what `up` starts).
    Shell(shell_cmd::ShellArgs),
    /// Run the sample strategy over shared memory.
    Demo(demo::DemoArgs),
    /// Watch a running gate: rates, latencies, rings, modes.
    Top(look::top::TopArgs),
    /// Show everything a run left, of a gate that lives or one that is dead.
    Inspect(look::inspect::InspectArgs),
    /// Say what this machine lacks, and what to do about it.
    Doctor(doctor::DoctorArgs),
    /// Place an order through a running shell.
    Order(http_cmd::OrderArgs),
    /// Cancel an order through a running shell.
    Cancel(http_cmd::CancelArgs),
    /// Cancel every open order.
    CancelAll(operate_cmd::CancelAllArgs),
    /// Pull the kill switch: nothing leaves any more but cancels, until it is re-armed.
    Kill(operate_cmd::KillArgs),
    /// Put StormGuard into HALT until it is re-armed.
    Halt(operate_cmd::HaltArgs),
    /// Take back a kill or a halt, and say why.
    Rearm(operate_cmd::RearmArgs),
    /// Show what passes, or set the mode.
    Mode(operate_cmd::ModeArgs),
    /// Check and show configurations, or tell a running gate to read its own again.
    #[command(subcommand)]
    Config(config_cmd::ConfigCommand),
    /// Show the limits in force, or set one.
    Limits(limits_cmd::LimitsArgs),
    /// Compare the gate's books with what its venue says it has; fails when they differ.
    Reconcile(reconcile_cmd::ReconcileArgs),
    /// Read the journal of a run.
    #[command(subcommand)]
    Journal(journal_cmd::JournalCommand),
    /// Prove the audit log of a run.
    #[command(subcommand)]
    Audit(audit_cmd::AuditCommand),
    /// Decide a journal again and compare: same decisions, same state hash.
    Replay(replay_cmd::ReplayArgs),
}

fn main() -> std::process::ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("RINGFENCE_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let outcome = match Cli::parse().command {
        Command::Doctor(args) => match doctor::run(&args) {
            Ok(true) => Ok(()),
            Ok(false) => return std::process::ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Command::Reconcile(args) => match reconcile_cmd::run(&args) {
            Ok(true) => Ok(()),
            Ok(false) => return std::process::ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Command::Top(args) => look::top::run(&args),
        Command::Inspect(args) => look::inspect::run(&args),
        Command::Up(args) => up::run(args),
        Command::Core(args) => core_cmd::run(&args),
        Command::Shell(args) => shell_cmd::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Order(args) => http_cmd::order(&args),
        Command::Cancel(args) => http_cmd::cancel(&args),
        Command::CancelAll(args) => operate_cmd::cancel_all(&args),
        Command::Kill(args) => operate_cmd::kill(&args),
        Command::Halt(args) => operate_cmd::halt(&args),
        Command::Rearm(args) => operate_cmd::rearm(&args),
        Command::Mode(args) => operate_cmd::mode(&args),
        Command::Config(command) => config_cmd::run(&command),
        Command::Limits(args) => limits_cmd::run(&args),
        Command::Journal(command) => journal_cmd::run(&command),
        Command::Audit(command) => audit_cmd::run(&command),
        Command::Replay(args) => replay_cmd::run(&args),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringfence: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
