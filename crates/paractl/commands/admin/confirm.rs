//! Asks whether something is really meant.
//!
//! **Never:** takes silence for a yes: where nobody can be asked, nothing is done.

use std::io::{self, BufRead, IsTerminal, Write};

use paravon_client::NodeId;

use crate::error::Error;

/// Asks whether `node` is to be removed.
pub(super) fn removal(node: &NodeId) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::Unconfirmed { node: node.to_string() });
    }
    let terminal = |source| Error::Terminal { what: "cannot ask for confirmation", source };
    let mut stderr = io::stderr();
    write!(stderr, "What only {node} has is lost for good. Type its name to remove it: ")
        .and_then(|()| stderr.flush())
        .map_err(terminal)?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).map_err(terminal)?;
    if typed.trim() == node.as_str() {
        Ok(())
    } else {
        Err(Error::Declined { node: node.to_string() })
    }
}
