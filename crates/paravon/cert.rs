//! `paravon cert`: what `scripts/generate-cert.sh` does, without OpenSSL.

use std::path::Path;
use std::time::SystemTime;

use paravon_transport::issue::{Authority, Subject};
use paravon_transport::{Existing, TlsError};

use crate::Failure;
use crate::args::{CertCommand, IssueArgs};

pub(crate) fn run(command: &CertCommand) -> Result<(), Failure> {
    make(command).map_err(|error| Failure::Usage(error.to_string()))
}

fn make(command: &CertCommand) -> Result<(), TlsError> {
    match command {
        CertCommand::Ca { ca_dir, force } => {
            let made = Authority::make(SystemTime::now())?.write(ca_dir, existing(*force))?;
            report(&made.certificate, &made.key);
            Ok(())
        }
        CertCommand::Server { dir, name, names, ip, issue } => {
            let dns: Vec<String> = names.iter().filter(|name| !name.is_empty()).cloned().collect();
            sign(dir, Subject::Server { name, dns: &dns, addresses: ip }, issue)
        }
        CertCommand::Client { dir, name, issue } => sign(dir, Subject::Client { name }, issue),
        CertCommand::Admin { dir, name, issue } => sign(dir, Subject::Admin { name }, issue),
    }
}

fn sign(dir: &Path, subject: Subject<'_>, issue: &IssueArgs) -> Result<(), TlsError> {
    let authority = Authority::read(&issue.ca_dir)?;
    let made = authority.issue(subject, SystemTime::now())?.write(dir, existing(issue.force))?;
    report(&made.certificate, &made.key);
    Ok(())
}

fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

fn report(certificate: &Path, key: &Path) {
    eprintln!("wrote {} and {}", certificate.display(), key.display());
}
