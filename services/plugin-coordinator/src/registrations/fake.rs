//! A plugin registry in memory, for tests and for simulation: the same contract as the one in SQLite, and the
//! answers that that one leaves in the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use envelope::{Answer, OperationId, PluginId, Timestamp};

use super::{
    Answered, ENDED_KEPT, Everything, Name, Operated, Outcome, Registrations, TableError, without_request,
};
use crate::clock;
use crate::operation::Running;
use crate::record::Record;

/// The registry in memory; clones are handles to the same one.
#[derive(Clone, Default)]
pub(crate) struct FakeRegistrations {
    tables: Arc<Mutex<Tables>>,
}

/// Everything that there is.
#[derive(Default, Clone)]
pub(crate) struct Tables {
    pub(crate) plugins: BTreeMap<PluginId, Arc<Record>>,
    pub(crate) names: BTreeMap<Name, PluginId>,
    /// In the order in which they began.
    pub(crate) operations: Vec<Arc<Operated>>,
    /// By request.
    pub(crate) answers: BTreeMap<String, Arc<Answer>>,
}

impl Operated {
    /// Who asked for its end stands beside it.
    fn advance(&mut self, operation: &Running) {
        let cancelled_by = self.operation.cancelled_by.take();
        self.operation = Running { cancelled_by, ..operation.clone() };
    }
}

impl Tables {
    fn save(&mut self, record: &Record) -> Result<(), TableError> {
        let there = self.plugins.get(&record.id).map_or(0, |known| known.revision);
        if there != record.revision {
            return Err(TableError::Changed(record.id.clone()));
        }
        let saved = Record { revision: record.revision + 1, ..record.clone() };
        self.plugins.insert(record.id.clone(), Arc::new(saved));
        Ok(())
    }

    fn running(&mut self, id: &OperationId) -> Option<&mut Operated> {
        let found = self.operations.iter_mut().find(|o| o.operation.id == *id && o.ended_at.is_none());
        found.map(Arc::make_mut)
    }

    fn end(&mut self, operation: &Running, answer: &Answer) {
        self.end_at(operation, answer, clock::now());
    }

    fn end_at(&mut self, operation: &Running, answer: &Answer, at: Timestamp) {
        if let Some(known) = self.running(&operation.id) {
            known.operation = without_request(operation);
            known.ended_at = Some(at);
            known.outcome = Some(Outcome::from(answer));
        }
        let ended = self.operations.iter().filter(|o| o.ended_at.is_some()).count();
        if ended > ENDED_KEPT as usize
            && let Some(oldest) = self.operations.iter().position(|o| o.ended_at.is_some())
        {
            self.operations.remove(oldest);
        }
        self.settle(&operation.request_id, answer);
    }

    /// A request that has its answer keeps it.
    fn settle(&mut self, request: &str, answer: &Answer) {
        self.answers.entry(request.to_owned()).or_insert_with(|| Arc::new(answer.clone()));
    }
}

impl FakeRegistrations {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All or nothing, as a transaction.
    fn write<T>(&self, change: impl FnOnce(&mut Tables) -> Result<T, TableError>) -> Result<T, TableError> {
        let mut tables = self.lock();
        let mut changed = tables.clone();
        let done = change(&mut changed)?;
        *tables = changed;
        Ok(done)
    }

    /// Answers a request outside of an operation, as the router does when a handler has answered at once.
    pub(crate) fn settle(&self, request: &str, answer: &Answer) {
        self.lock().settle(request, answer);
    }

    /// The answer of a request, if it has one.
    pub(crate) fn answer(&self, request: &str) -> Option<Answer> {
        self.lock().answers.get(request).map(|answer| (**answer).clone())
    }

    /// Takes the answer of a request away, as a store that loses what was written to it.
    pub(crate) fn lose_answer(&self, request: &str) {
        self.lock().answers.remove(request);
    }

    /// Looks at everything that there is.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.lock())
    }
}

#[async_trait]
impl Registrations for FakeRegistrations {
    async fn plugin(&self, id: &PluginId) -> Result<Option<Record>, TableError> {
        Ok(self.lock().plugins.get(id).map(|record| (**record).clone()))
    }

    async fn plugins(&self) -> Result<Vec<Record>, TableError> {
        Ok(self.lock().plugins.values().map(|record| (**record).clone()).collect())
    }

    async fn running(&self, id: &PluginId) -> Result<Option<Running>, TableError> {
        let tables = self.lock();
        let running = tables.operations.iter().find(|o| o.operation.plugin_id == *id && o.ended_at.is_none());
        Ok(running.map(|o| o.operation.clone()))
    }

    async fn both(&self, id: &PluginId) -> Result<(Option<Record>, Option<Running>), TableError> {
        let tables = self.lock();
        let running = tables.operations.iter().find(|o| o.operation.plugin_id == *id && o.ended_at.is_none());
        let record = tables.plugins.get(id).map(|record| (**record).clone());
        Ok((record, running.map(|o| o.operation.clone())))
    }

    async fn all_running(&self) -> Result<Vec<Running>, TableError> {
        let tables = self.lock();
        let running = tables.operations.iter().filter(|o| o.ended_at.is_none());
        Ok(running.map(|o| o.operation.clone()).collect())
    }

    async fn everything(&self) -> Result<Everything, TableError> {
        let tables = self.lock();
        let plugins = tables.plugins.values().map(|record| (**record).clone()).collect();
        let running = tables.operations.iter().filter(|o| o.ended_at.is_none());
        let running = running.map(|o| o.operation.clone()).collect();
        Ok(Everything { plugins, running, unreadable: 0 })
    }

    async fn ids(&self) -> Result<BTreeSet<String>, TableError> {
        let tables = self.lock();
        let running = tables.operations.iter().filter(|o| o.ended_at.is_none());
        let running = running.map(|o| &o.operation.plugin_id);
        Ok(tables.plugins.keys().chain(running).map(ToString::to_string).collect())
    }

    async fn owner(&self, name: &Name) -> Result<Option<String>, TableError> {
        Ok(self.lock().names.get(name).map(ToString::to_string))
    }

    async fn begin(
        &self,
        operation: &Running,
        record: Option<&Record>,
        instead: Option<(&Running, Answer)>,
    ) -> Result<(), TableError> {
        self.write(|tables| {
            if let Some((other, answer)) = &instead {
                tables.end(other, answer);
            }
            let collides = |o: &Arc<Operated>| {
                o.operation.id == operation.id
                    || o.operation.request_id == operation.request_id
                    || (o.ended_at.is_none() && o.operation.plugin_id == operation.plugin_id)
            };
            if tables.operations.iter().any(collides) {
                return Err(unique());
            }
            let begun = Operated { operation: operation.clone(), ended_at: None, outcome: None };
            tables.operations.push(Arc::new(begun));
            record.map_or(Ok(()), |record| tables.save(record))
        })
    }

    async fn advance(
        &self,
        mut record: Option<&mut Record>,
        operation: Option<&Running>,
    ) -> Result<(), TableError> {
        self.write(|tables| {
            if let Some(record) = &record {
                tables.save(record)?;
            }
            if let Some(operation) = operation
                && let Some(known) = tables.running(&operation.id)
            {
                known.advance(operation);
            }
            Ok(())
        })?;
        if let Some(record) = &mut record {
            record.revision += 1;
        }
        Ok(())
    }

    async fn register(
        &self,
        record: &Record,
        names: &[Name],
        operation: &Running,
        answer: &Answer,
    ) -> Result<Option<Name>, TableError> {
        self.write(|tables| {
            let other = |name: &&Name| tables.names.get(*name).is_some_and(|owner| *owner != record.id);
            if let Some(taken) = names.iter().find(other) {
                return Ok(Some(taken.clone()));
            }
            for name in names {
                tables.names.insert(name.clone(), record.id.clone());
            }
            tables.save(record)?;
            tables.end(operation, answer);
            Ok(None)
        })
    }

    async fn claim(
        &self,
        record: &mut Record,
        names: &[Name],
        operation: Option<&Running>,
    ) -> Result<Option<Name>, TableError> {
        let taken = self.write(|tables| {
            let other = |name: &&Name| tables.names.get(*name).is_some_and(|owner| *owner != record.id);
            if let Some(taken) = names.iter().find(other) {
                return Ok(Some(taken.clone()));
            }
            tables.names.retain(|_, owner| *owner != record.id);
            for name in names {
                tables.names.insert(name.clone(), record.id.clone());
            }
            tables.save(record)?;
            if let Some(operation) = operation
                && let Some(known) = tables.running(&operation.id)
            {
                known.advance(operation);
            }
            Ok(None)
        })?;
        if taken.is_none() {
            record.revision += 1;
        }
        Ok(taken)
    }

    async fn cancel(&self, id: &OperationId, by: &str, asked: &Answered) -> Result<bool, TableError> {
        self.write(|tables| {
            let Some(known) = tables.running(id) else { return Ok(false) };
            known.operation.cancelled_by = Some(by.to_owned());
            tables.settle(&asked.request_id, &asked.answer);
            Ok(true)
        })
    }

    async fn give_up(
        &self,
        record: &Record,
        operation: &Running,
        (answer, at): (&Answer, Timestamp),
        asked: &Answered,
    ) -> Result<(), TableError> {
        self.write(|tables| {
            tables.save(record)?;
            tables.end_at(operation, answer, at);
            tables.settle(&asked.request_id, &asked.answer);
            Ok(())
        })
    }

    async fn finish(
        &self,
        record: Option<&Record>,
        operation: &Running,
        answer: &Answer,
    ) -> Result<(), TableError> {
        self.write(|tables| {
            if let Some(record) = record {
                tables.save(record)?;
            }
            tables.end(operation, answer);
            Ok(())
        })
    }

    async fn forget(&self, record: &Record, ended: Option<(&Running, &Answer)>) -> Result<(), TableError> {
        self.write(|tables| {
            if tables.plugins.get(&record.id).is_none_or(|known| known.revision != record.revision) {
                return Err(TableError::Changed(record.id.clone()));
            }
            tables.plugins.remove(&record.id);
            tables.names.retain(|_, owner| *owner != record.id);
            if let Some((operation, answer)) = ended {
                tables.end(operation, answer);
            }
            Ok(())
        })
    }

    async fn operation(&self, id: &OperationId) -> Result<Option<Operated>, TableError> {
        Ok(self.lock().operations.iter().find(|o| o.operation.id == *id).map(|o| (**o).clone()))
    }

    async fn operations(&self, on: Option<&PluginId>, limit: u32) -> Result<Vec<Operated>, TableError> {
        let tables = self.lock();
        let of = tables.operations.iter().rev().filter(|o| on.is_none_or(|id| o.operation.plugin_id == *id));
        Ok(of.take(limit as usize).map(|o| (**o).clone()).collect())
    }
}

/// What a database says when a row would be there twice.
fn unique() -> TableError {
    TableError::Database(store::Error::Protocol("a row of this key is there already".to_owned()))
}
