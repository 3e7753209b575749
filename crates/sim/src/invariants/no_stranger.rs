//! `NO_STRANGER`: nobody is spoken to whose certificate is not that of the node that it says it is, and
//! a replica does nothing for anybody but members.

use super::Invariant;
use crate::fact::Fact;
use crate::view::View;

/// Judges admissions.
#[derive(Debug, Default)]
pub(crate) struct NoStranger;

impl Invariant for NoStranger {
    const NAME: &'static str = "NO_STRANGER";

    fn observe(&mut self, fact: &Fact, _view: &View) -> Result<(), String> {
        match *fact {
            Fact::HelloAdmitted { by, of, impostor: true } => {
                Err(format!("node {by} admitted somebody who claims to be node {of}"))
            }
            Fact::Admitted { node, stranger: true, .. } => {
                Err(format!("node {node} served somebody who is no member"))
            }
            _ => Ok(()),
        }
    }
}
