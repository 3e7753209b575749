//! TLS as every connection uses it: version 1.3, certificates at both ends, post-quantum key
//! exchange.
//!
//! **Never:** another version, a connection without a verified certificate, early data (0-RTT can
//! be replayed), a provider that some dependency chose, or a session store that outlives its
//! configuration: with a shared store a revoked client would get back in by resuming its session.

use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ServerSessionMemoryCache;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion, version};

use crate::credentials::Credentials;
use crate::peer_verifier::PeerVerifier;
use crate::tls_error::TlsError;

/// The only versions that are spoken.
const VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// Sessions that a server remembers for resumption.
const SESSIONS: usize = 1024;

/// The cryptography of every configuration, passed explicitly.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
    let kx_groups = vec![X25519MLKEM768, X25519, SECP256R1];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

impl Credentials {
    /// How this process accepts connections: whoever connects must present a certificate of our
    /// authorities that is not revoked.
    ///
    /// # Errors
    /// Only [`TlsError::Setup`], which would be our bug.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let setup = |source| TlsError::Setup { source };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(setup)?
            .with_client_cert_verifier(self.client_verifier.clone())
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(setup)?;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        Ok(Arc::new(config))
    }

    /// How this process connects: to a server whose certificate is of our authorities, is not
    /// revoked and carries the name or address that was dialled.
    ///
    /// # Errors
    /// Only [`TlsError::Setup`], which would be our bug.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let setup = |source| TlsError::Setup { source };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(setup)?
            .with_webpki_verifier(self.server_verifier()?)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(setup)?;
        config.enable_early_data = false;
        Ok(Arc::new(config))
    }

    /// How a node connects to a node: to a server whose certificate is of our authorities and is not
    /// revoked, whatever host it names. The caller must hold the common name against whom it expects.
    ///
    /// # Errors
    /// Only [`TlsError::Setup`], which would be our bug.
    pub fn peer_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let setup = |source| TlsError::Setup { source };
        let verifier = Arc::new(PeerVerifier::new(self.server_verifier()?));
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .map_err(setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(setup)?;
        config.enable_early_data = false;
        // Several nodes may share a host, and a session is remembered by host: each handshake is whole.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn server_verifier(&self) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
        WebPkiServerVerifier::builder_with_provider(self.roots.clone(), provider())
            .with_crls(self.revoked.iter().cloned())
            .build()
            .map_err(|error| TlsError::Setup { source: rustls::Error::General(error.to_string()) })
    }
}

#[cfg(test)]
mod tests;
