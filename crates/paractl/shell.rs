//! The interactive shell: reads a line, does it, and goes on whatever came of it.
//!
//! A line is read by the same definitions as the command line, so the two cannot differ.
//!
//! **Never:** leaves because a command failed, or keeps a line that begins with a blank.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory, Parser};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Behavior, Config, Context, Editor, Helper};

use crate::args::{Cli, Global};
use crate::context::{File, home};
use crate::error::Error;
use crate::output::Output;
use crate::{commands, complain, note};

/// Most lines that are remembered.
const HISTORY_LINES: usize = 1000;

/// Reads and does lines until `exit` or the end of the input.
pub(crate) fn run(global: &Global) -> Result<(), Error> {
    // What is wrong with the configuration is said before the first prompt.
    File::load(global)?.choose(global)?;
    let mut editor = editor().map_err(unusable)?;
    let history = home().map(|home| home.join(".para/history"));
    if let Some(path) = &history {
        // The first time there is none.
        let _none_yet = editor.load_history(path);
    }
    loop {
        match editor.readline(&prompt(global)) {
            Ok(line) if matches!(line.trim(), "exit" | "quit") => break,
            Ok(line) => match execute(&line, global) {
                Ok(()) => {}
                Err(error) if error.is_broken_pipe() => return Err(error),
                Err(error) => complain(&error),
            },
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(unusable(error)),
        }
    }
    save(&mut editor, history);
    Ok(())
}

fn editor() -> Result<Editor<Words, FileHistory>, ReadlineError> {
    // With a terminal the prompt goes there, so that standard output holds data alone.
    let behavior = match io::stdin().is_terminal() {
        true => Behavior::PreferTerm,
        false => Behavior::Stdio,
    };
    let config = Config::builder()
        .behavior(behavior)
        .auto_add_history(true)
        .history_ignore_space(true)
        .history_ignore_dups(true)?
        .max_history_size(HISTORY_LINES)?
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Words(Cli::command())));
    Ok(editor)
}

fn save(editor: &mut Editor<Words, FileHistory>, path: Option<PathBuf>) {
    if !io::stdin().is_terminal() {
        return;
    }
    let Some(path) = path else { return };
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all).map_err(ReadlineError::Io);
    if let Err(error) = folder.and_then(|()| editor.save_history(&path)) {
        note(&format!("warning: the history cannot be kept in {}: {error}", path.display()));
    }
}

fn prompt(global: &Global) -> String {
    let file = File::load(global).ok();
    let name = file.as_ref().and_then(|file| file.choose(global).ok());
    format!("paractl({})# ", name.map_or("?", |(name, _)| name))
}

/// Does one line.
fn execute(line: &str, global: &Global) -> Result<(), Error> {
    let mut words = shlex::split(line).ok_or(Error::Quotes)?;
    if words.first().is_some_and(|word| word == "paractl") {
        words.remove(0);
    }
    if words.is_empty() {
        return Ok(());
    }
    let words = std::iter::once("paractl".to_owned()).chain(words);
    let cli = Cli::try_parse_from(words).map_err(Error::Usage)?;
    match cli.command {
        Some(command) => {
            let global = cli.global.or(global);
            commands::run(command, &global, &Output::of_shell(global.output))
        }
        None => {
            note("type a command such as `get KEY`; `help` lists them, `exit` leaves");
            Ok(())
        }
    }
}

fn unusable(error: ReadlineError) -> Error {
    let source = match error {
        ReadlineError::Io(source) => source,
        other => io::Error::other(other),
    };
    Error::Terminal { what: "cannot read from the terminal", source }
}

/// Completes commands, options and their values.
struct Words(Command);

impl Helper for Words {}
impl Highlighter for Words {}
impl Validator for Words {}
impl Hinter for Words {
    type Hint = String;
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..position];
        let start = before.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let pair = |word: String| Pair { display: word.clone(), replacement: word + " " };
        let words = candidates(&self.0, &before[..start], &before[start..]);
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

/// What `begun` may become after the words in `before`.
fn candidates(root: &Command, before: &str, begun: &str) -> Vec<String> {
    let mut command = root;
    let mut last = "";
    for word in before.split_whitespace() {
        command = command.find_subcommand(word).unwrap_or(command);
        last = word;
    }
    let options = || command.get_arguments().chain(root.get_arguments());
    let is_named = |option: &&Arg| {
        let long = option.get_long().is_some_and(|long| last.strip_prefix("--") == Some(long));
        long || option.get_short().is_some_and(|short| last == format!("-{short}"))
    };
    let values = |option: &Arg| -> Vec<String> {
        option.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect()
    };
    let mut words: Vec<String> = match options().find(is_named) {
        Some(option) if option.get_action().takes_values() => values(option),
        _ if begun.starts_with('-') => {
            options().filter_map(Arg::get_long).map(|long| format!("--{long}")).collect()
        }
        _ => {
            let commands = command.get_subcommands().map(|command| command.get_name().to_owned());
            commands.chain(command.get_positionals().flat_map(values)).collect()
        }
    };
    words.retain(|word| word.starts_with(begun));
    words.sort();
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(line: &str) -> Vec<String> {
        let start = line.rfind(' ').map_or(0, |blank| blank + 1);
        candidates(&Cli::command(), &line[..start], &line[start..])
    }

    #[test]
    fn commands_options_and_values_complete() {
        assert_eq!(complete("ge"), ["get"]);
        assert_eq!(complete("admin re"), ["reload", "remove", "replace"]);
        assert_eq!(complete("put k --t"), ["--timeout", "--ttl"]);
        assert_eq!(complete("get k -o j"), ["json"]);
        assert_eq!(complete("bench --op "), ["get", "mixed", "put"]);
        assert_eq!(complete("completions z"), ["zsh"]);
        assert!(complete("get k ").is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error_and_an_empty_one_is_nothing() {
        let global = Global::default();
        assert!(matches!(execute("put k 'open", &global), Err(Error::Quotes)));
        assert!(matches!(execute("nonsense", &global), Err(Error::Usage(_))));
        assert!(execute("   ", &global).is_ok());
    }
}
