//! `paravon cert`: what `scripts/generate-cert.sh` does, without OpenSSL.

use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use paravon_transport::issue::{Authority, Subject};
use paravon_transport::{Existing, TlsError};

use crate::Failure;
use crate::args::{CertCommand, IssueArgs};

pub(crate) fn run(command: &CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::Ca { ca_dir, force } => {
            let made = Authority::make(SystemTime::now())
                .and_then(|authority| authority.write(ca_dir, existing(*force)))
                .map_err(unusable)?;
            report(&made.certificate, &made.key);
            Ok(())
        }
        CertCommand::Server { dir, name, names, addresses, issue } => {
            let dns: Vec<String> = listed(names).map(str::to_owned).collect();
            let addresses = listed(addresses).map(address).collect::<Result<Vec<_>, _>>()?;
            sign(dir, Subject::Server { name, dns: &dns, addresses: &addresses }, issue)
        }
        CertCommand::Client { dir, name, issue } => sign(dir, Subject::Client { name }, issue),
        CertCommand::Admin { dir, name, issue } => sign(dir, Subject::Admin { name }, issue),
    }
}

/// The items of a list separated by commas.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn address(text: &str) -> Result<IpAddr, Failure> {
    let not_one =
        |_| Failure::Usage(format!("'{text}' is no IP address; give names before addresses"));
    text.parse().map_err(not_one)
}

fn unusable(error: TlsError) -> Failure {
    Failure::Usage(error.to_string())
}

fn sign(dir: &Path, subject: Subject<'_>, issue: &IssueArgs) -> Result<(), Failure> {
    let made = Authority::read(&issue.ca_dir)
        .and_then(|authority| authority.issue(subject, SystemTime::now()))
        .and_then(|issued| issued.write(dir, existing(issue.force)))
        .map_err(unusable)?;
    report(&made.certificate, &made.key);
    Ok(())
}

fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Keep }
}

fn report(certificate: &Path, key: &Path) {
    eprintln!("wrote {} and {}", certificate.display(), key.display());
}
