//! The key file is this service's alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Says in the log when others may read the key file: the encryption is worth as much as that is secret.
pub(crate) fn check_key_file(path: &Path) {
    if let Ok(metadata) = fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(
            file = %path.display(),
            mode = format!("{:o}", metadata.permissions().mode() & 0o7777),
            "others may read the key file; take their rights away with `chmod 400`"
        );
    }
}
