//! What the soak plays on: the framework, throw-away plugins, and two that nobody touches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use envelope::PluginId;
use tokio::sync::{Mutex, Notify, RwLock};

use super::answers::Answers;
use super::book::Book;
use super::model::Model;
use crate::stack::Stack;
use crate::stack::bystander::Bystander;
use crate::stack::images::Script;
use crate::stack::ledger::Ledger;
use crate::stack::requester::Asked;

/// Plugins that are operated on.
const SUBJECTS: usize = 8;
/// So many of them share a pair of images, so that an image goes with the last that has it.
const SHARE: usize = 2;
/// Plugins that nobody touches.
const BYSTANDERS: [&str; 2] = ["soak-bystander", "soak-other-bystander"];
/// Requests that can be repeated to see that the same answer comes.
const KEPT: usize = 100;

/// The two images of a plugin.
#[derive(Debug, Clone)]
pub(super) struct Images {
    pub(super) first: String,
    pub(super) second: String,
}

/// A plugin that is operated on.
pub(super) struct Subject {
    pub(super) id: PluginId,
    pub(super) images: Images,
    /// What it should be; locked while somebody asks about it. None when that is not known any more.
    pub(super) model: Mutex<Option<Model>>,
}

/// What the soak plays on.
pub(super) struct Field {
    pub(super) stack: Stack,
    pub(super) book: Arc<Book>,
    pub(super) subjects: Vec<Subject>,
    pub(super) bystanders: Vec<Bystander>,
    pub(super) ledger: Ledger,
    pub(super) answers: Answers,
    /// Written by who takes the engine away; read by who asks it.
    pub(super) engine: RwLock<()>,
    /// How often the engine was killed.
    pub(super) engine_kills: AtomicUsize,
    /// Read by who asks for operations; written by who wants quiet.
    pub(super) going: RwLock<()>,
    /// The last requests that were answered.
    pub(super) asked: std::sync::Mutex<Vec<Asked>>,
    ends: AtomicBool,
    ending: Notify,
}

impl Field {
    /// Makes a framework ready.
    ///
    /// # Errors
    /// Something could not be built or started.
    pub(super) async fn prepare(stack: Stack) -> Result<Self> {
        let (mut subjects, mut images) = (Vec::new(), None);
        for number in 0..SUBJECTS {
            if number % SHARE == 0 {
                let script = |part: &str| Script::throw_away(&format!("soak-{}-{part}", number / SHARE));
                let (first, second) =
                    (script("first").push(&stack).await?, script("second").push(&stack).await?);
                images = Some(Images { first, second });
            }
            let images = images.clone().context("the first plugin has images of its own")?;
            let id = PluginId::parse(&format!("soak-{number}")).context("an id")?;
            subjects.push(Subject { id, images, model: Mutex::new(Some(Model::absent())) });
        }
        let mut bystanders = Vec::new();
        for name in BYSTANDERS {
            bystanders.push(Bystander::start(&stack, name).await?);
        }
        let book = Arc::new(Book::new());
        let (ledger, answers) = (Ledger::open(&stack)?, Answers::listen(&stack, Arc::clone(&book)).await?);
        Ok(Self {
            stack,
            book,
            subjects,
            bystanders,
            ledger,
            answers,
            engine: RwLock::default(),
            engine_kills: AtomicUsize::default(),
            going: RwLock::default(),
            asked: std::sync::Mutex::default(),
            ends: AtomicBool::default(),
            ending: Notify::new(),
        })
    }

    /// Ends everything that goes on, each where it can.
    pub(super) fn end(&self) {
        self.ends.store(true, Ordering::Relaxed);
        self.ending.notify_waiters();
    }

    /// Whether it is to end.
    pub(super) fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// Waits for so long, or until it is to end.
    pub(super) async fn pause(&self, time: Duration) {
        let ending = self.ending.notified();
        if !self.ends() {
            // Which of the two it was is asked by who cares.
            drop(tokio::time::timeout(time, ending).await);
        }
    }

    /// Keeps a request that was answered, to be repeated.
    pub(super) fn keep(&self, asked: Asked) {
        let mut kept = self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(asked);
    }
}
