//! Asks whether something is really meant.
//!
//! **Never:** takes silence for a yes: where nobody can be asked, nothing is done.

use std::io::{self, BufRead, IsTerminal, Write};

use paravon_client::NodeId;

use crate::error::Error;

/// Asks whether `node` is to be removed.
pub(super) fn removal(node: &NodeId) -> Result<(), Error> {
    let node = node.as_str();
    let question = format!("What only {node} has is lost for good. Type its name to remove it: ");
    ask(&question, node, &format!("removing {node} loses what only it has"))
}

/// Asks whether what is damaged of `what`, a key or the number of a partition, is to be given up.
pub(super) fn loss(what: &str) -> Result<(), Error> {
    let shown = what.escape_debug();
    let question = format!(
        "The newest that was written to {shown} may be lost for good. Type {shown} to accept that: "
    );
    ask(&question, what, &format!("accepting the loss of {shown} may lose what was written last"))
}

/// Asks for `word`; `loses` says what it means to go on.
fn ask(question: &str, word: &str, loses: &str) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::Unconfirmed { loses: loses.to_owned() });
    }
    let terminal = |source| Error::Terminal { what: "cannot ask for confirmation", source };
    let mut stderr = io::stderr();
    write!(stderr, "{question}").and_then(|()| stderr.flush()).map_err(terminal)?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).map_err(terminal)?;
    if typed.trim() == word.trim() {
        Ok(())
    } else {
        Err(Error::Declined { word: word.escape_debug().to_string() })
    }
}
