//! The command line as typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// A node of Paravon, a leaderless, replicated key-value store.
#[derive(Parser)]
#[command(name = "paravon", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// How to run a node.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// The node's configuration
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "PARANODECONFIG",
        default_value = "paranode.yaml"
    )]
    pub(crate) config: PathBuf,
    /// The least severe messages to log
    #[arg(short, long, value_enum, default_value_t = LogLevel::Info)]
    pub(crate) log_level: LogLevel,
    /// The form of log lines, which go to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Found a cluster although seeds are silent; only where none of them can be up again
    #[arg(long)]
    pub(crate) found: bool,
    /// Stop when standard input ends: for a parent process whose end must be the node's
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a throwaway local cluster with nothing to prepare
    Dev(DevArgs),
    /// Validate a configuration, and the certificates it names, without starting
    CheckConfig {
        /// The configuration
        file: PathBuf,
    },
    /// Let the survivors of a cluster go on that has lost most of those who decide, for good
    Rescue(RescueArgs),
    /// Make certificates
    #[command(subcommand)]
    Cert(CertCommand),
}

/// Which node is to rescue its cluster, and what is left of it.
#[derive(clap::Args)]
pub(crate) struct RescueArgs {
    /// The configuration of a survivor, which must be stopped
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "PARANODECONFIG",
        default_value = "paranode.yaml"
    )]
    pub(crate) config: PathBuf,
    /// Another member that survives; may be given several times. All that are not named are given up
    #[arg(long = "survivor", value_name = "NODE")]
    pub(crate) survivors: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Where and how to run a throwaway cluster.
#[derive(clap::Args)]
pub(crate) struct DevArgs {
    /// How many nodes, 1 to 9 [default: as many as DIR has, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) nodes: Option<u16>,
    /// Where certificates, configurations and data are kept
    #[arg(long, default_value = "paravon-dev")]
    pub(crate) dir: PathBuf,
    /// The client port of the first node; the others follow, peer ports are 4000 above [default: that of
    /// DIR, else 2000]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=61_527))]
    pub(crate) base_port: Option<u16>,
    /// Remove what an earlier run left in DIR first
    #[arg(long)]
    pub(crate) clean: bool,
}

#[derive(Subcommand)]
pub(crate) enum CertCommand {
    /// Make a certificate authority: ca.crt and ca.key
    Ca {
        /// Where to write them
        #[arg(long, default_value = "ca")]
        ca_dir: PathBuf,
        /// Replace what is there
        #[arg(long)]
        force: bool,
    },
    /// Make a node's certificate: server.crt and server.key
    Server {
        /// Where to write them
        dir: PathBuf,
        /// The node's id
        name: String,
        /// Further DNS names by which it can be reached, separated by commas; may be empty
        #[arg(default_value = "")]
        names: String,
        /// IP addresses by which it can be reached, separated by commas; may be empty
        #[arg(default_value = "")]
        addresses: String,
        #[command(flatten)]
        issue: IssueArgs,
    },
    /// Make a client's certificate: client.crt and client.key
    Client {
        /// Where to write them
        dir: PathBuf,
        /// The client's name
        name: String,
        #[command(flatten)]
        issue: IssueArgs,
    },
    /// Make an administrator's certificate: client.crt and client.key
    Admin {
        /// Where to write them
        dir: PathBuf,
        /// The administrator's name
        name: String,
        #[command(flatten)]
        issue: IssueArgs,
    },
}

/// What all commands that sign have in common.
#[derive(clap::Args)]
pub(crate) struct IssueArgs {
    /// Where the authority's ca.crt and ca.key lie
    #[arg(long, default_value = "ca")]
    pub(crate) ca_dir: PathBuf,
    /// Replace what is there
    #[arg(long)]
    pub(crate) force: bool,
}
