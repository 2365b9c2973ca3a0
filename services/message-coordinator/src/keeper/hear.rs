//! Specs as they are published: written down first, then seen to.

use std::collections::BTreeMap;

use envelope::PluginId;
use envelope::payload::spec::{AclOutcome, AclStatus, Presence, Spec};

use super::{Keeper, PassError, Scope};
use crate::inbox::Heard;
use crate::report::Cause;
use crate::specs::Known;

/// Above so many changed specs one pass over everything costs less than one for each.
const MANY: usize = 8;

impl Keeper {
    /// Takes what was published on the specs' topics out of `all`. What is left there was not written down.
    pub(crate) async fn hear(&self, all: &mut Vec<Heard>) -> Result<(), PassError> {
        let mut admin = self.admin.lock().await;
        let mut causes = BTreeMap::new();
        while let Some(heard) = all.last() {
            match heard {
                Heard::Spec { spec, cause, kept } => {
                    if *kept && self.is_ghost(spec).await? {
                        self.hear_ghost(spec, cause);
                    } else if self.hear_spec(spec, cause).await? {
                        causes.insert(spec.plugin_id.clone(), cause.clone());
                    }
                }
                Heard::Cleared(id) => self.hear_cleared(id).await?,
            }
            all.pop();
        }
        if self.ready.borrow().is_none() {
            // With the connection comes a pass over everything.
            return Ok(());
        }
        if causes.len() > MANY {
            let cause = Cause::new(format!("the plugin coordinator published {} specs", causes.len()));
            return self.pass(&mut admin, Scope::Everything, &cause, &causes).await;
        }
        for (id, cause) in &causes {
            self.pass(&mut admin, Scope::Only { id, fresh: false }, cause, &BTreeMap::new()).await?;
        }
        Ok(())
    }

    /// Writes a spec down. Returns whether something is to become of it.
    async fn hear_spec(&self, spec: &Spec, cause: &Cause) -> Result<bool, PassError> {
        let id = spec.plugin_id.clone();
        let known = self.state().specs.get(&id).cloned();
        if let Some(known) = known {
            if known.spec.uid == spec.uid && known.spec.generation > spec.generation {
                let (heard, newest) = (spec.generation, known.spec.generation);
                let message = format!(
                    "A spec of the plugin {id} in generation {heard} is not taken: generation {newest} of the same \
                     installation is known, and generations only grow."
                );
                self.report.refused(&id, message, cause);
                return Ok(false);
            }
            if known.spec == *spec {
                if let Some(status) = &known.status {
                    self.report.acknowledge(status);
                }
                return Ok(known.status.is_none());
            }
        }
        self.specs.put(spec).await?;
        self.state().specs.insert(id, Known { spec: spec.clone(), status: None });
        Ok(true)
    }

    /// Whether a spec that the broker had kept is of an installation that is gone: the broker went back in time. When
    /// the plugin coordinator says it now, it means it: its registry was put back.
    async fn is_ghost(&self, spec: &Spec) -> Result<bool, PassError> {
        let is_right = self.state().specs.get(&spec.plugin_id).is_some_and(|known| {
            known.spec.uid == spec.uid
                && (known.spec.presence, spec.presence) != (Presence::Absent, Presence::Present)
        });
        Ok(!is_right && self.specs.is_gone(spec.uid).await?)
    }

    /// It is not taken. Unless the plugin is installed anew it is told once more that it is absent, upon which the
    /// plugin coordinator clears the topic, or says again what should be.
    fn hear_ghost(&self, spec: &Spec, cause: &Cause) {
        let Spec { plugin_id: id, uid, generation, presence, .. } = spec;
        if *presence == Presence::Present {
            let message = format!(
                "A spec of the plugin {id} in generation {generation} is not taken: its installation {uid} was \
                 removed. The broker had kept an old message."
            );
            self.report.refused(id, message, cause);
        }
        if self.state().specs.get(id).is_none_or(|known| known.spec.uid == *uid) {
            self.report.acknowledge(&AclStatus {
                plugin_id: id.clone(),
                uid: *uid,
                generation: *generation,
                outcome: AclOutcome::Absent,
                at: envelope::Timestamp::now(),
            });
        }
    }

    /// Only what said `absent`, and was acknowledged, is forgotten: that a topic is empty says nothing.
    async fn hear_cleared(&self, id: &PluginId) -> Result<(), PassError> {
        let gone = match self.state().specs.get(id) {
            None => {
                // An acknowledgement that an earlier life of this coordinator left.
                self.report.forget(id);
                return Ok(());
            }
            Some(known) => known.status.as_ref().is_some_and(|s| s.outcome == AclOutcome::Absent),
        };
        if !gone {
            tracing::warn!(
                plugin_id = id.as_str(),
                "a spec was cleared that did not say absent; it still holds"
            );
            return Ok(());
        }
        self.specs.remove(id).await?;
        self.state().specs.remove(id);
        self.report.forget(id);
        Ok(())
    }
}
