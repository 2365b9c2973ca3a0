//! Installing: find the image and its manifest, let the manifest in, get the image, register.

use std::time::{Duration, Instant};

use envelope::payload::event::Progress;
use envelope::payload::lifecycle::{Installed, ManifestSource};
use envelope::payload::state::Phase;
use envelope::{Answer, ErrorBody, ErrorCode, Generation, InstallUid};
use manifest::{Manifest, Parsed};
use serde_json::Value;

use super::{StepError, Subject, missing_subject};
use crate::admission::{self, MANIFEST_FILE, MANIFEST_LABEL};
use crate::context::Context;
use crate::engine::account::{self, Account};
use crate::engine::{EngineError, ImageRef};
use crate::housekeeping::{self, Needs};
use crate::operation::{Install, ResolvedImage, Running};
use crate::policy::{config, host};
use crate::record::{Desired, Granted, Record, Recorded, Release, Standing};
use crate::registry::{RegistryError, Resolved};

const MAX_ACCOUNT_FILE: u64 = 256 * 1024;

fn staging(operation: &mut Running) -> Result<&mut Install, StepError> {
    operation.work.staging_mut().ok_or_else(missing_subject)
}

/// Asks the registry for digest and label; lets the manifest in where it is known already, so that nothing
/// is pulled in vain.
pub(super) async fn resolve(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut operation = subject.operation.ok_or_else(missing_subject)?;
    let id = operation.plugin_id.clone();
    let request = staging(&mut operation)?.request.clone();
    let given = request.manifest.as_ref().map(|value| read_request(value, &id)).transpose()?;
    let declared = given.as_ref().and_then(|parsed| parsed.manifest.docker.image.clone());
    let source = request.source.clone().or(declared).ok_or_else(|| {
        StepError::fatal(ErrorBody::new(
            ErrorCode::BadRequest,
            format!(
                "Which image is {id}? Give \"source\": \"registry/name:tag\" in the request, or \
                 \"docker\": {{\"image\": …}} in the request's manifest."
            ),
        ))
    })?;
    let found = ctx.registry.resolve(&source).await?;
    let held = match &subject.record {
        Some(record) if operation.work.swap().is_none() => {
            return unchanged_or_other(ctx, &operation, record, &found.digest).await;
        }
        Some(record)
            if super::update::is_unchanged(record, &request, &found.digest)
                && has_image(ctx, &record.release.reference, &found).await? =>
        {
            return super::update::unchanged(ctx, &operation, record).await;
        }
        Some(record) => record.release.grants.clone(),
        None => Vec::new(),
    };
    let present_before = ctx.engine.image(&found.reference.to_string()).await?.is_some();
    let image = ResolvedImage {
        source,
        label: found.labels.get(MANIFEST_LABEL).cloned(),
        reference: found.reference.to_string(),
        digest: found.digest,
        bytes: Some(found.total_bytes),
        user: found.user,
        present_before,
    };
    let early = match (given, &image.label) {
        (Some(parsed), _) => Some((parsed, ManifestSource::Request)),
        (None, Some(label)) => {
            let parsed = admission::read(label.as_bytes(), &id, ManifestSource::Label);
            Some((parsed.map_err(StepError::fatal)?, ManifestSource::Label))
        }
        (None, None) => None,
    };
    if let Some((parsed, source)) = early {
        let root = numbers(&image.user).is_some_and(|account| account.owner.uid == 0);
        let admitted =
            let_in(ctx, &operation, &parsed, source, (&image, root), (&held, request.config.as_ref()))
                .await?;
        staging(&mut operation)?.admitted = Some(admitted);
    }
    staging(&mut operation)?.resolved = Some(image);
    ctx.registrations.advance(None, Some(&operation)).await?;
    Ok(())
}

fn read_request(value: &serde_json::Value, id: &envelope::PluginId) -> Result<Parsed, StepError> {
    let text = serde_json::to_vec(value).expect("a JSON value encodes");
    admission::read(&text, id, ManifestSource::Request).map_err(StepError::fatal)
}

/// Installed already: the same image is a success without a change, another one is an update.
async fn unchanged_or_other(
    ctx: &Context,
    operation: &Running,
    record: &Record,
    digest: &str,
) -> Result<(), StepError> {
    if record.release.digest != digest {
        return Err(StepError::fatal(ErrorBody::new(
            ErrorCode::AlreadyInstalled,
            format!(
                "{} is installed with another image ({}). Use update to change it, or remove it first.",
                record.id, record.release.digest
            ),
        )));
    }
    let answer = answer(record, false);
    ctx.end(None, operation, &answer).await?;
    Ok(())
}

/// Lets a manifest in: its names, its configuration, its ports, and what of it is approved. `held` is what the
/// plugin has been granted as it is.
async fn let_in(
    ctx: &Context,
    operation: &Running,
    parsed: &Parsed,
    source: ManifestSource,
    (image, is_root): (&ResolvedImage, bool),
    (held, config): (&[Granted], Option<&Value>),
) -> Result<crate::operation::Admitted, StepError> {
    let manifest = &parsed.manifest;
    for name in admission::names(manifest) {
        let owner = ctx.registrations.owner(&name).await?;
        if let Some(owner) = owner.filter(|owner| *owner != manifest.id.as_str()) {
            return Err(StepError::fatal(admission::taken(&manifest.id, &name, &owner)));
        }
    }
    let request = &operation.work.staging().ok_or_else(missing_subject)?.request;
    config::check(manifest, config).await.map_err(StepError::fatal)?;
    if !host::to_look_at(manifest).is_empty() {
        let root = ctx.engine.info().await?.data_root;
        let socket = ctx.settings.engine_socket_on_host.to_string_lossy();
        if let Some((path, what)) = host::shows_the_engine(manifest, &root, &socket) {
            return Err(StepError::fatal(host::never(manifest, &path, what)));
        }
    }
    let used = ctx.engine.used_ports().await?;
    let own = ctx.policy.container_name(&manifest.id);
    admission::check_ports(manifest, &used, &own).map_err(StepError::fatal)?;
    let asked = admission::asked(manifest, is_root);
    admission::admit(parsed, source, image, asked, held, request, operation).map_err(StepError::fatal)
}

/// Gets the image, telling how far it is.
pub(super) async fn pull(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let mut operation = subject.operation.ok_or_else(missing_subject)?;
    let image = staging(&mut operation)?.resolved.clone().ok_or_else(missing_subject)?;
    let reference: ImageRef = image.reference.parse().map_err(|e| {
        StepError::fatal(ErrorBody::new(ErrorCode::ImageRefused, format!("{}: {e}.", image.reference)))
    })?;
    let login = ctx.registry.login_for(reference.host()).await?;
    let mut told = Instant::now();
    let mut progress = |p: crate::engine::PullProgress| {
        if told.elapsed() < Duration::from_millis(500) {
            return;
        }
        told = Instant::now();
        let total = Some(p.bytes_total).filter(|t| *t > 0);
        let unit = Some("bytes".to_owned());
        ctx.reporter
            .progress(&operation, Progress { step: "pull".into(), done: Some(p.bytes_done), total, unit });
    };
    super::pull::within_bounds(ctx, &reference, login.as_ref(), image.bytes, &mut progress).await?;
    staging(&mut operation)?.pulled = true;
    ctx.registrations.advance(None, Some(&operation)).await?;
    Ok(())
}

/// Whether the image of what is installed is there. One that somebody removed is pulled again, if it is to come from
/// where it came from.
async fn has_image(ctx: &Context, image: &str, found: &Resolved) -> Result<bool, StepError> {
    if ctx.engine.image(image).await?.is_some() {
        return Ok(true);
    }
    if found.reference.to_string() != image {
        return Ok(false);
    }
    let login = ctx.registry.login_for(found.reference.host()).await?;
    super::pull::within_bounds(ctx, &found.reference, login.as_ref(), Some(found.total_bytes), &mut |_| {})
        .await?;
    Ok(true)
}

/// An image is gone again: somebody removed it, or a kill came between the undoing of a failure and its answer. It is
/// pulled again.
async fn pull_again(ctx: &Context, operation: &Running, image: &str) -> Result<StepError, StepError> {
    let mut operation = operation.clone();
    if let Some(staging) = operation.work.staging_mut() {
        staging.pulled = false;
    }
    ctx.registrations.advance(None, Some(&operation)).await?;
    Ok(StepError::passing(ErrorBody::new(
        ErrorCode::ImageRefused,
        format!("The engine does not have {image} any more although it was pulled."),
    )))
}

/// Compares the pulled image with what the registry told, and lets its manifest in. `before` is what the plugin is
/// now, of one that is installed.
pub(super) async fn examine(
    ctx: &Context,
    operation: &Running,
    before: Option<&Release>,
) -> Result<(Release, Manifest), StepError> {
    let id = operation.plugin_id.clone();
    let Install { request, resolved, admitted, .. } =
        operation.work.staging().ok_or_else(missing_subject)?.clone();
    let config = request.config.or_else(|| before.and_then(|release| release.config.clone()));
    let held = before.map(|release| release.grants.as_slice()).unwrap_or_default();
    let image = resolved.ok_or_else(missing_subject)?;
    let Some(pulled) = ctx.engine.image(&image.reference).await? else {
        return Err(pull_again(ctx, operation, &image.reference).await?);
    };
    if pulled.labels.get(MANIFEST_LABEL) != image.label.as_ref() {
        let message = format!(
            "The registry showed another {MANIFEST_LABEL} for {} than the pulled image has. The registry \
             cannot be trusted; nothing was installed.",
            image.source
        );
        return Err(StepError::fatal(ErrorBody::new(ErrorCode::ImageRefused, message)));
    }
    let file = read_file(ctx, operation, &image, MANIFEST_FILE, manifest::MAX_BYTES as u64).await?;
    let found = match (&admitted, &file, &image.label) {
        (_, Some(file), Some(label)) => {
            let from_label = admission::read(label.as_bytes(), &id, ManifestSource::Label);
            let from_file = admission::read(file, &id, ManifestSource::File);
            let (from_label, from_file) =
                (from_label.map_err(StepError::fatal)?, from_file.map_err(StepError::fatal)?);
            if from_label.manifest.digest() != from_file.manifest.digest() {
                let error = admission::disagree(
                    &id,
                    admission::origin(ManifestSource::Label),
                    admission::origin(ManifestSource::File),
                );
                return Err(StepError::fatal(error));
            }
            None
        }
        (Some(_), _, _) => None,
        (None, Some(file), None) => {
            Some(admission::read(file, &id, ManifestSource::File).map_err(StepError::fatal)?)
        }
        (None, None, _) => return Err(StepError::fatal(admission::missing(&id, &image.source))),
    };
    let account = account(ctx, operation, &image, &pulled.user).await?;
    let (parsed, source) = match (found, &admitted) {
        (Some(parsed), _) => (parsed, ManifestSource::File),
        (None, Some(admitted)) => {
            let text = serde_json::to_vec(&admitted.manifest).expect("a JSON value encodes");
            (admission::read(&text, &id, admitted.source).map_err(StepError::fatal)?, admitted.source)
        }
        (None, None) => return Err(missing_subject()),
    };
    let is_root = account.owner.uid == 0;
    let admitted =
        let_in(ctx, operation, &parsed, source, (&image, is_root), (held, config.as_ref())).await?;
    let release = Release {
        source: image.source,
        reference: image.reference,
        digest: image.digest,
        manifest: Recorded::new(admitted.manifest, parsed.manifest.clone()),
        manifest_source: source,
        warnings: admitted.warnings,
        grants: admitted.grants,
        uid: account.owner.uid,
        gid: account.owner.gid,
        groups: account.groups,
        config,
    };
    Ok((release, parsed.manifest))
}

/// Registers the plugin as its image and manifest say.
pub(super) async fn register(ctx: &Context, subject: Subject) -> Result<(), StepError> {
    let operation = subject.operation.ok_or_else(missing_subject)?;
    let id = operation.plugin_id.clone();
    let (release, manifest) = examine(ctx, &operation, None).await?;
    let now = crate::clock::now();
    let record = Record {
        id: id.clone(),
        uid: InstallUid::new(),
        generation: Generation::FIRST,
        release,
        next: None,
        previous: None,
        installed_at: now,
        desired: Desired::Stopped,
        standing: Standing {
            phase: Phase::Stopped,
            reason: None,
            since: now,
            cause: operation.cause(),
            correlation_id: operation.correlation_id.clone(),
        },
        start: None,
        owed: Vec::new(),
        last_exit: None,
        failures: 0,
        retry_at: None,
        halted: None,
        watchdog: Default::default(),
        restart: None,
        revision: 0,
    };
    let names = admission::names(&manifest);
    let answer = answer(&record, true);
    match ctx.registrations.register(&record, &names, &operation, &answer).await? {
        None => {
            ctx.reporter.grants(&id, &record.granted(), true, &(&operation).into());
            ctx.reporter.outcome(&operation, &answer);
            Ok(())
        }
        Some(name) => {
            let owner = ctx.registrations.owner(&name).await?.unwrap_or_default();
            Err(StepError::fatal(admission::taken(&id, &name, &owner)))
        }
    }
}

/// A file of the image that an operation has pulled; none when it has no such file.
async fn read_file(
    ctx: &Context,
    operation: &Running,
    image: &ResolvedImage,
    path: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, StepError> {
    match ctx.engine.read_file(&image.reference, path, limit).await {
        Err(EngineError::NotFound { .. }) => Err(pull_again(ctx, operation, &image.reference).await?),
        read => Ok(read?),
    }
}

/// The user of an image, when it is written in numbers.
fn numbers(user: &str) -> Option<Account> {
    let plain = user.chars().all(|c| c.is_ascii_digit() || c == ':');
    if plain { account::resolve(user, None, None).ok() } else { None }
}

async fn account(
    ctx: &Context,
    operation: &Running,
    image: &ResolvedImage,
    user: &str,
) -> Result<Account, StepError> {
    // Whose group is not said is in those that the image's files say, also by a number.
    if let Some(account) = numbers(user)
        && (account.owner.uid == 0 || user.contains(':'))
    {
        return Ok(account);
    }
    let passwd = read_file(ctx, operation, image, "/etc/passwd", MAX_ACCOUNT_FILE).await?;
    let group = read_file(ctx, operation, image, "/etc/group", MAX_ACCOUNT_FILE).await?;
    account::resolve(user, passwd.as_deref(), group.as_deref()).map_err(|e| {
        StepError::fatal(ErrorBody::new(ErrorCode::ImageRefused, format!("{}: {e}.", image.source)))
    })
}

fn answer(record: &Record, changed: bool) -> Answer {
    let manifest = record.manifest();
    let installed = Installed {
        plugin_id: record.id.clone(),
        name: manifest.name.clone(),
        version: manifest.version.to_string(),
        digest: record.release.digest.clone(),
        manifest_source: record.release.manifest_source,
        changed,
        warnings: record.release.warnings.clone(),
    };
    Answer::Success(serde_json::to_value(installed).expect("answers have string keys"))
}

/// Ends an installation, or an update that has touched nothing yet, that failed: an image that was pulled for it is removed again.
pub(super) async fn abort(ctx: &Context, subject: Subject, body: ErrorBody) -> Result<(), StepError> {
    let operation = subject.operation.ok_or_else(missing_subject)?;
    discard_image(ctx, &operation).await;
    let answer = Answer::Failure(body);
    ctx.end(None, &operation, &answer).await?;
    Ok(())
}

/// Removes the image that was pulled for an operation, unless it was there before or a plugin needs it. The failure
/// that is being answered matters more than an image that stays.
async fn discard_image(ctx: &Context, operation: &Running) {
    let pulled = operation.work.staging().and_then(|staging| staging.resolved.as_ref());
    let Some(image) = pulled.filter(|image| !image.present_before) else { return };
    let needs = match Needs::now(ctx, Some(&operation.plugin_id)).await {
        Ok(needs) => needs,
        Err(error) => return tracing::warn!(error = telemetry::chain(&error), "an image was left behind"),
    };
    if needs.contains(&image.reference) {
        return;
    }
    if let Err(error) = housekeeping::remove_image(ctx, &image.reference).await {
        tracing::warn!(error = telemetry::chain(&error), "an image was left behind");
    }
}

impl From<RegistryError> for StepError {
    fn from(error: RegistryError) -> Self {
        use RegistryError as E;
        let code = match &error {
            E::InvalidReference { .. } => ErrorCode::BadRequest,
            E::Unreachable { .. } | E::Timeout { .. } | E::NoClient { .. } => ErrorCode::RegistryUnreachable,
            E::NotFound { .. } => ErrorCode::ImageNotFound,
            E::LoginRequired { .. } | E::LoginRefused { .. } | E::LoginFile { .. } => {
                ErrorCode::RegistryLogin
            }
            E::Refused { .. } => ErrorCode::RegistryUnreachable,
            E::Broken { .. } | E::UnsupportedPlatform { .. } | E::TooLarge { .. } => ErrorCode::ImageRefused,
        };
        // Whoever installs is told at once, and decides whether to ask again.
        Self::fatal(ErrorBody::new(code, super::failure::sentence(&telemetry::chain(&error))))
    }
}
