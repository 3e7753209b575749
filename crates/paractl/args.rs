//! The command line as it is typed. The shell's lines are read by the same definitions.
//!
//! **Never:** reads a file or asks a server; what the words mean together with the configuration is said
//! in `context.rs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use paravon_client::{ChangeId, Consistency, InvalidNodeId, NodeId};

use crate::bench::BenchArgs;

/// Talks to a Paravon cluster: reads, writes, administers and measures it.
#[derive(Debug, Parser)]
#[command(name = "paractl", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const AFTER_HELP: &str = "Without a command, an interactive shell begins.\n\
    Exit codes: 0 done; 1 key absent; 2 wrong usage or configuration; 3 refused by the server; \
    4 unreachable, or outcome unknown.";

/// What every command takes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// The configuration [default: $PARACONF, else ~/.para/paraconf.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) paraconf: Option<PathBuf>,
    /// The context to use instead of the file's current-context
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The servers to ask instead of the context's; several with commas
    #[arg(long, global = true, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) server: Vec<String>,
    /// How results are printed [default: yaml]
    #[arg(short, long, global = true, value_name = "FORM")]
    pub(crate) output: Option<Form>,
    /// The namespace of keys [default: default]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// How many replicas must answer: one, quorum, all or a number [default: quorum]
    #[arg(long, global = true, value_name = "LEVEL", value_parser = consistency)]
    pub(crate) consistency: Option<Consistency>,
    /// How long a request may take, such as 500ms or 5s [default: the context's, or 5s; 40s for a join]
    #[arg(long, global = true, value_name = "TIME", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    #[default]
    Yaml,
    /// For scripts; stable.
    Json,
    /// For people, wide.
    Table,
    /// The value alone.
    Raw,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store a value: JSON is stored typed, anything else as a string
    Put(PutArgs),
    /// Print a key's value and version; exit code 1 where it is absent
    Get(KeyArgs),
    /// Delete a key
    Delete(KeyArgs),
    /// Look at a node and steer it, over its peer port
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Look at the configuration and choose a context
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Put load on servers and measure them
    Bench(BenchArgs),
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// `put`.
#[derive(Args, Debug)]
pub(crate) struct PutArgs {
    /// Where
    pub(crate) key: String,
    /// What; read as JSON if it can be, else as a string
    #[arg(required_unless_present = "file", allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// VALUE is a string, also if it could be read as JSON
    #[arg(long, conflicts_with_all = ["json", "file"])]
    pub(crate) string: bool,
    /// VALUE is JSON, and wrong if it cannot be read as that
    #[arg(long, conflicts_with = "file")]
    pub(crate) json: bool,
    /// Store the bytes of this file; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
    /// How long the value stays visible, such as 1h
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) ttl: Option<Duration>,
}

/// A command about one key.
#[derive(Args, Debug)]
pub(crate) struct KeyArgs {
    /// Which
    pub(crate) key: String,
}

/// `admin`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// What a node is and how it fares
    NodeStatus,
    /// The members of the cluster, as a node sees them; -o table has a row for each
    ClusterStatus(ClusterStatusArgs),
    /// Take a node that waits into the cluster of its seeds; needs an administrator's certificate
    ///
    /// It is asked of the node that waits: name its peer port with --server. Several, with commas, come in
    /// together, which is quicker than one after the other.
    Join(ChangeArgs),
    /// Put a node in the place of a member that is dead or lost its disk; needs an administrator's
    /// certificate
    ///
    /// It is asked of the node that comes in: name its peer port with --server. It may have the member's own
    /// name.
    Replace(NodeArgs),
    /// Let a member hand over what it stores, and leave; needs an administrator's certificate
    Drain(NodeArgs),
    /// Do without a member that is dead; needs an administrator's certificate
    ///
    /// What only that member had is lost. It asks for confirmation.
    Remove(RemoveArgs),
    /// Keep so many copies of each key from now on; needs an administrator's certificate
    SetReplication(CopiesArgs),
    /// Give up the change of the members that is under way; needs an administrator's certificate
    Cancel,
    /// How far a change of the members is
    Operation(OperationArgs),
    /// The partitions that a node stores: when each was last seen to agree with the other replicas, and
    /// what is damaged; -o table has a row for each
    Partitions(PartitionsArgs),
    /// Take the best that is left of what is damaged at a node; needs an administrator's certificate
    ///
    /// A damaged key heals by itself once every other replica has answered. This is for one that cannot,
    /// because another replica has it damaged too, or is gone for good. A newer write may be lost. Name the
    /// node's peer port with --server. It asks for confirmation.
    AcceptLoss(LossArgs),
    /// Make a node read its certificates anew; needs an administrator's certificate
    Reload,
}

/// `admin cluster-status`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ClusterStatusArgs {
    /// Wait until the node reaches every member and has nothing left to hand over, as between the restarts
    /// of two nodes
    #[arg(long)]
    pub(crate) wait: bool,
}

/// How a change of the members is made.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ChangeArgs {
    /// Say what would be moved, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until it is done, and show how far it is; of a join also for the node to start
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
}

/// A change that concerns a member.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeArgs {
    /// The member's node.id
    #[arg(value_parser = node_id)]
    pub(crate) node: NodeId,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// `admin remove`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `admin set-replication`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct CopiesArgs {
    /// So many, 1 to 7
    #[arg(value_parser = clap::value_parser!(u8).range(1..=7))]
    pub(crate) copies: u8,
    #[command(flatten)]
    pub(crate) change: ChangeArgs,
}

/// `admin operation`.
#[derive(Args, Clone, Debug)]
pub(crate) struct OperationArgs {
    /// What the change was called when it was asked for
    #[arg(value_parser = operation_id)]
    pub(crate) id: ChangeId,
    /// Wait until it is done, and show how far it is
    #[arg(long)]
    pub(crate) wait: bool,
}

/// `admin partitions`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct PartitionsArgs {
    /// Only those that are damaged, or were not seen to agree for so long
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "5m",
        value_parser = time
    )]
    pub(crate) behind: Option<Duration>,
}

/// `admin accept-loss`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LossArgs {
    /// The damaged key
    #[arg(required_unless_present = "partition")]
    pub(crate) key: Option<String>,
    /// All that is damaged in this partition, instead of a key
    #[arg(long, value_name = "NUMBER", conflicts_with = "key")]
    pub(crate) partition: Option<u32>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// `config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the name of the current context
    CurrentContext,
    /// List the contexts
    GetContexts,
    /// Make a context the current one
    UseContext {
        /// Which
        name: String,
    },
}

impl Global {
    /// These options, and where one is not given, that of `outer`.
    pub(crate) fn or(self, outer: &Self) -> Self {
        let outer = outer.clone();
        Self {
            paraconf: self.paraconf.or(outer.paraconf),
            context: self.context.or(outer.context),
            server: if self.server.is_empty() { outer.server } else { self.server },
            output: self.output.or(outer.output),
            namespace: self.namespace.or(outer.namespace),
            consistency: self.consistency.or(outer.consistency),
            timeout: self.timeout.or(outer.timeout),
        }
    }
}

fn consistency(text: &str) -> Result<Consistency, &'static str> {
    const EXPECTED: &str = "it must be one, quorum, all or a number of replicas from 1 to 255";
    match text {
        "one" => Ok(Consistency::One),
        "quorum" => Ok(Consistency::Quorum),
        "all" => Ok(Consistency::All),
        _ => match text.parse() {
            Ok(count @ 1..) => Consistency::from_count(count).ok_or(EXPECTED),
            _ => Err(EXPECTED),
        },
    }
}

fn node_id(text: &str) -> Result<NodeId, InvalidNodeId> {
    NodeId::new(text)
}

fn operation_id(text: &str) -> Result<ChangeId, &'static str> {
    ChangeId::from_text(text).ok_or("it must be 32 hexadecimal digits, as the change was answered")
}

/// A time span longer than nothing: `5s`, `500ms`, or a number of seconds such as `0.5`.
pub(crate) fn time(text: &str) -> Result<Duration, &'static str> {
    let span = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    let span = span.filter(|span| !span.is_zero());
    span.ok_or("it must be a time such as 5s, 500ms or 1h, or a number of seconds")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_may_follow_the_command() {
        let line =
            ["paractl", "get", "k", "-o", "json", "--consistency", "2", "--server", "a:1,b:2"];
        let global = Cli::try_parse_from(line).unwrap().global;
        assert_eq!(global.output, Some(Form::Json));
        assert_eq!(global.consistency, Some(Consistency::Count(2)));
        assert_eq!(global.server, ["a:1", "b:2"]);
    }

    #[test]
    fn a_value_may_begin_with_a_hyphen_and_a_file_replaces_it() {
        let line = ["paractl", "put", "k", "-5"];
        let Some(Command::Put(put)) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        assert_eq!(put.value.as_deref(), Some("-5"));
        for wrong in [
            &["paractl", "put", "k"][..],
            &["paractl", "put", "k", "v", "--file", "f"],
            &["paractl", "put", "k", "v", "--string", "--json"],
        ] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
        assert!(Cli::try_parse_from(["paractl", "put", "k", "--file", "-"]).is_ok());
    }

    #[test]
    fn a_loss_is_of_a_key_or_of_a_partition() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("paractl admin accept-loss k --yes").is_ok());
        assert!(parse("paractl admin accept-loss --partition 7").is_ok());
        for wrong in ["", " k --partition 7", " --partition k", " --partition -1"] {
            assert!(parse(&format!("paractl admin accept-loss{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_behind_may_be_given_a_time() {
        let behind = |line: &str| match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Some(Command::Admin { command: AdminCommand::Partitions(args) }) => args.behind,
            other => panic!("{other:?}"),
        };
        assert_eq!(behind("paractl admin partitions"), None);
        let five_minutes = Duration::from_secs(300);
        assert_eq!(behind("paractl admin partitions --behind"), Some(five_minutes));
        assert_eq!(behind("paractl admin partitions --behind=1h"), Some(12 * five_minutes));
    }

    #[test]
    fn levels_and_times_say_what_they_must_be() {
        for text in ["0", "256", "some", "-1", ""] {
            assert!(consistency(text).is_err(), "{text}");
        }
        assert_eq!(time("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(time("0.25"), Ok(Duration::from_millis(250)));
        for text in ["0", "0s", "-1", "nan", "soon", "1e300"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_shells_line_overrides_what_the_shell_was_started_with() {
        let parse = |line: &[&str]| Cli::try_parse_from(line).unwrap().global;
        let outer = parse(&["paractl", "-o", "json", "-n", "users"]);
        let merged = parse(&["paractl", "-o", "table"]).or(&outer);
        assert_eq!(merged.output, Some(Form::Table));
        assert_eq!(merged.namespace.as_deref(), Some("users"));
    }
}
