//! A pull that takes no more than its image was said to have, and no more than the disk can give.
//!
//! The engine checks what it was sent only at the end of a layer, and a layer of a few megabytes can unpack to
//! terabytes: so what arrives and what is free are watched while it goes on, and a pull that is cancelled leaves
//! nothing behind.

use std::time::Duration;

use envelope::{ErrorBody, ErrorCode};
use tokio::sync::Notify;

use super::StepError;
use crate::context::Context;
use crate::engine::{ImageRef, PullProgress, RegistryLogin};

/// How often the free room is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What may arrive of an image of that many bytes: the engine may choose a manifest for a closer kind of the same
/// processor, whose layers are a little larger.
const fn allowance(declared: u64) -> u64 {
    declared.saturating_add(declared / 8).saturating_add(1 << 20)
}

/// What an image takes on the disk while it is pulled, of which its registry tells so many bytes: the layers as they
/// came, and unpacked, for which twice as much is taken. Programs and libraries seldom unpack to more; what does is
/// caught while it is unpacked.
const fn unpacked(declared: u64) -> u64 {
    declared.saturating_mul(3)
}

/// Pulls an image, as long as it keeps to what its registry said (when that is known) and to what is left of the
/// disk.
///
/// # Errors
/// `image_refused`, `disk_full`, or what the engine says.
pub(super) async fn within_bounds(
    ctx: &Context,
    image: &ImageRef,
    login: Option<&RegistryLogin>,
    declared: Option<u64>,
    progress: &mut (dyn FnMut(PullProgress) + Send),
) -> Result<(), StepError> {
    // Whatever is removing images is done: what is found now stays, for the operation is recorded.
    drop(ctx.images.still().await);
    let is_there = ctx.engine.image(&image.to_string()).await?.is_some();
    if !is_there {
        room(ctx, image, unpacked(declared.unwrap_or_default())).await?;
        ctx.images.pulls(image).await?;
    }
    let most = declared.map_or(u64::MAX, allowance);
    let over = Notify::new();
    let mut watched = |now: PullProgress| {
        if now.bytes_done > most {
            over.notify_one();
        }
        progress(now);
    };
    let pull = ctx.engine.pull(image, login, &mut watched);
    tokio::pin!(pull);
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            biased;
            done = &mut pull => return Ok(done?),
            () = over.notified() => return Err(more_than_said(image, declared.unwrap_or_default())),
            _ = looks.tick(), if !is_there => room(ctx, image, 0).await?,
        }
    }
}

/// Makes sure that so many bytes can be taken without touching the reserve. Where the room cannot be seen there
/// is none to keep.
async fn room(ctx: &Context, image: &ImageRef, bytes: u64) -> Result<(), StepError> {
    let reserve = ctx.settings.disk_reserve_bytes;
    let free = match ctx.engine.info().await {
        Ok(info) => info.storage_free_bytes,
        // The pull will say so itself, if the engine is away.
        Err(_) => None,
    };
    match free {
        Some(free) if free < reserve.saturating_add(bytes) => {
            let megabytes = |bytes: u64| bytes / 1_000_000;
            let needed = match bytes {
                0 => String::new(),
                bytes => format!("it takes about {} MB to pull and unpack, ", megabytes(bytes)),
            };
            let message = format!(
                "There is no room for {image}: {needed}{} MB are free where the engine keeps its images, and {} MB \
                 have to stay free. Nothing of it was kept. Free some space (docker image prune), or lower \
                 plugin.disk_reserve_bytes.",
                megabytes(free),
                megabytes(reserve)
            );
            Err(StepError::fatal(ErrorBody::new(ErrorCode::DiskFull, message)))
        }
        _ => Ok(()),
    }
}

fn more_than_said(image: &ImageRef, declared: u64) -> StepError {
    let message = format!(
        "The registry {} sends more of {image} than the {declared} bytes that the image's manifest tells. The pull \
         was cancelled and nothing of it was kept; do not trust this registry.",
        image.host()
    );
    StepError::fatal(ErrorBody::new(ErrorCode::ImageRefused, message))
}
