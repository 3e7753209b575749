//! The admin messages of the peer port.
//!
//! Reading status needs any certificate of the cluster's authority; what changes something needs an
//! administrator (`NO_STRANGER`).

use paravon_protocol::{AdminReply, AdminRequest, Code, Refusal};
use paravon_transport::Identity;

use crate::shared::Shared;

/// Whether `identity` may ask for this; then the request.
///
/// # Errors
/// The refusal to send back.
pub(crate) fn permit(
    shared: &Shared,
    identity: &Identity,
    request: AdminRequest,
) -> Result<AdminRequest, Refusal> {
    let admins = &shared.config.security.admins;
    if request.needs_administrator() && !identity.is_administrator(admins) {
        let message = format!(
            "{identity} is no administrator; use a certificate with organizational unit 'admin', \
             or list its common name in security.admins"
        );
        return Err(Refusal::new(Code::Forbidden, message));
    }
    Ok(request)
}

/// Reads certificates anew.
///
/// # Errors
/// The refusal to send back.
pub(crate) fn reload(shared: &Shared, identity: &Identity) -> Result<AdminReply, Refusal> {
    match shared.reload() {
        Ok(not_after) => {
            tracing::info!(by = %identity, "certificates reloaded");
            let certificate_ends = humantime::format_rfc3339_seconds(not_after).to_string();
            Ok(AdminReply::Reloaded { certificate_ends })
        }
        Err(error) => {
            tracing::warn!(by = %identity, %error, "certificates not reloaded, the old ones stay");
            let message =
                format!("the new certificates cannot be used, the old ones stay: {error}");
            Err(Refusal::new(Code::BadRequest, message))
        }
    }
}
