//! How bytes travel between processes that know each other: certificates, identities, connections.
//!
//! Row 2. **Architecture invariant:** nothing leaves or enters a process but over mutual TLS 1.3,
//! and who a peer is comes from its certificate alone.

#![forbid(unsafe_code)]

mod credentials;
mod frame_stream;
mod identity;
pub mod issue;
mod listener;
mod peer_verifier;
mod pem_file;
mod random;
#[cfg(test)]
mod testing;
mod tls;
mod tls_error;
mod trust;

pub use credentials::{Credentials, TlsFiles, TlsWarning};
pub use frame_stream::{FrameStream, SCRATCH_BYTES};
pub use identity::{Identity, IdentityError, Role};
pub use listener::listen;
pub use pem_file::Existing;
pub use random::random_bytes;
pub use tls_error::{Item, NamePurpose, TlsError};
