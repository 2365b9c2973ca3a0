//! One life of the coordinator in a simulation: what is in its memory, from its start until it is killed or the run
//! ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::{HealthBoard, Permit, Publisher, Reply, Request};
use envelope::payload::health::{Health, HealthStatus};
use envelope::{
    Answer, Coordinator, Envelope, InstanceId, MessageType, Operation, PluginId, Timestamp, topic,
};
use tokio::sync::mpsc;

use super::aside::Alone;
use super::points::Weather;
use super::ports::Ports;
use super::world::{Accepted, World, drama};
use super::{check, requests};
use crate::clock;
use crate::conduct::{Admission, Conduct};
use crate::context::{Acls, Context};
use crate::handler;
use crate::health::{HealthReports, Taken};
use crate::housekeeping;
use crate::policy::{PLUGIN_LABEL, ROLE_LABEL, Role};
use crate::registrations::TableError;
use crate::report::Reporter;
use crate::supervisor::Supervisor;

/// Longest time in which everything has come to its end once nothing more goes wrong: the longest pause after
/// failures, and what a start takes then.
const CALM: Duration = Duration::from_secs(10 * 60);
const LOOK: Duration = Duration::from_secs(5);

/// What a life is for.
pub(super) enum Purpose {
    /// So many requests, while anything can go wrong.
    Work { requests: usize, weather: Weather },
    /// Everything comes to its end.
    Rest,
}

/// Lives until the purpose is reached or the coordinator is killed. Answers how many requests were not made.
pub(super) fn live(world: &Arc<World>, purpose: Purpose) -> usize {
    Alone::new().block_on(async {
        // Any fixed time.
        let now = world.state().now.unwrap_or(Timestamp::from_seconds(1_800_000_000));
        let _clock = clock::simulated::Clock::starting_at(now);
        let life = Life::begin(world);
        let mut left = match purpose {
            Purpose::Work { requests, .. } => requests,
            Purpose::Rest => 0,
        };
        tokio::select! {
            biased;
            () = world.points.ended() => {}
            () = life.spend(purpose, &mut left) => {}
        }
        // Whatever starts it again takes a moment.
        let pause = world.points.chance(|c| c.up_to(Duration::from_secs(5)));
        world.state().now = Some(clock::now().after(pause));
        left
    })
}

struct Life {
    world: Arc<World>,
    ctx: Context,
    supervisor: Supervisor,
    turns: BTreeMap<PluginId, mpsc::UnboundedSender<Accepted>>,
}

impl Life {
    fn begin(world: &Arc<World>) -> Self {
        let ports = Arc::new(Ports::new(world));
        let settings = world.settings.clone();
        let ctx = Context {
            policy: world.policy.clone(),
            reporter: Reporter::new(Publisher::new(Coordinator::Plugin), settings.node.clone()),
            registrations: ports.clone(),
            engine: Arc::new(world.engine.gated(ports.clone())),
            registry: ports.clone(),
            peers: ports,
            health: HealthReports::default(),
            acls: Acls::default(),
            images: world.images(),
            conduct: Conduct::new(&settings),
            settings,
        };
        ctx.health.listening(true);
        ctx.conduct.link_changed(true);
        for (id, ack) in world.acks() {
            ctx.acls.set(id, Some(ack));
        }
        let supervisor = Supervisor::new(ctx.clone());
        let mut life = Self { world: world.clone(), ctx, supervisor, turns: BTreeMap::new() };
        life.work();
        let open: Vec<Accepted> = world.state().accepted.clone();
        for accepted in open.into_iter().filter(|accepted| world.answer(&accepted.id).is_none()) {
            life.queue(accepted);
        }
        life
    }

    /// Everything that goes on in the background.
    fn work(&mut self) {
        let (supervisor, ctx) = (self.supervisor.clone(), self.ctx.clone());
        let health = board();
        tokio::spawn(async move { supervisor.look_after_all(&health).await });
        let (supervisor, other) = (self.supervisor.clone(), ctx.clone());
        tokio::spawn(async move { other.conduct.run(&other, &supervisor).await });
        let other = ctx.clone();
        let health = board();
        tokio::spawn(async move { housekeeping::run(&other, &health).await });
        tokio::spawn(acknowledge(self.world.clone(), ctx.clone(), self.supervisor.clone()));
        tokio::spawn(report(self.world.clone(), ctx, self.supervisor.clone()));
        for id in self.world.plugins.clone() {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            self.turns.insert(id, sender);
            let (world, ctx, supervisor) = (self.world.clone(), self.ctx.clone(), self.supervisor.clone());
            tokio::spawn(async move {
                while let Some(accepted) = receiver.recv().await {
                    serve(&world, &ctx, &supervisor, accepted).await;
                }
            });
        }
    }

    /// Gives a request its turn: those that name one plugin are handled one after another. A cancellation names an
    /// operation, and waits for nobody.
    fn queue(&self, accepted: Accepted) {
        if accepted.operation == Operation::Cancel {
            let (world, ctx, supervisor) = (self.world.clone(), self.ctx.clone(), self.supervisor.clone());
            tokio::spawn(async move { serve(&world, &ctx, &supervisor, accepted).await });
            return;
        }
        if let Some(turn) = self.turns.get(&accepted.plugin) {
            // Its task lives as long as this.
            let _ = turn.send(accepted);
        }
    }

    async fn spend(&self, purpose: Purpose, left: &mut usize) {
        let (points, weather) = (
            &self.world.points,
            match purpose {
                Purpose::Work { weather, .. } => weather,
                Purpose::Rest => return self.rest().await,
            },
        );
        points.set_weather(weather);
        while *left > 0 {
            let pause = points.chance(|c| match c.below(3) {
                0 => Duration::ZERO,
                1 => c.up_to(Duration::from_secs(3)),
                _ => c.up_to(Duration::from_secs(40)),
            });
            tokio::time::sleep(pause).await;
            if weather.failures > 0 && points.chance(|c| c.below(3)) == 0 {
                let happened = points.chance(|chance| drama(&self.world, chance));
                self.world.state().seen.containers_changed();
                points.tell(|| happened);
            }
            *left -= 1;
            let number = self.world.state().accepted.len();
            let request = points.chance(|chance| requests::asked(&self.world, chance, number));
            self.accept(request).await;
        }
        tokio::time::sleep(points.chance(|c| c.up_to(Duration::from_secs(60)))).await;
    }

    /// A request comes. What cannot be recorded is not acknowledged, and comes again or not.
    async fn accept(&self, request: Accepted) {
        let record = async {
            self.world.state().accepted.push(request.clone());
            Ok::<_, ()>(())
        };
        let points = &self.world.points;
        points.tell(|| format!("{} of {}: {}", request.operation, request.principal, request.payload));
        let accepted = points.call("journal.accept", &request.id, |_| (), record, || {}).await;
        // One that was recorded all the same is found at the next start.
        match accepted {
            Ok(()) => self.queue(request),
            Err(()) => self.world.state().must_restart = true,
        }
    }

    /// Waits until everything has come to its end.
    async fn rest(&self) {
        self.world.becomes_calm();
        let until = clock::now().after(CALM);
        loop {
            tokio::time::sleep(LOOK).await;
            match check::in_the_end(&self.world) {
                Ok(()) => return,
                Err(why) if clock::now() >= until => {
                    let minutes = CALM.as_secs() / 60;
                    let records =
                        self.world.registrations.look(|tables| format!("{:?}", tables.plugins.values()));
                    let what = format!("not settled after {minutes} calm minutes: {why}\n{records}");
                    return self.world.points.breaks(what);
                }
                Err(_) => {}
            }
        }
    }
}

fn board() -> HealthBoard {
    HealthBoard::new(Coordinator::Plugin, InstanceId::parse("simulated").expect("an id"))
}

/// Handles a request as the router does, and records its answer where it has one at once.
async fn serve(world: &Arc<World>, ctx: &Context, supervisor: &Supervisor, accepted: Accepted) {
    let permit = Permit::for_test(accepted.principal, accepted.operation);
    let request = Request {
        id: accepted.id.clone(),
        correlation_id: format!("correlation of {}", accepted.id),
        traceparent: None,
        payload: accepted.payload,
    };
    world.store_works();
    let answer = match handler::handle(ctx, supervisor, &permit, &request).await {
        Ok(Reply::Later) => return,
        Ok(Reply::Now(data)) => Answer::Success(data),
        Err(error) => Answer::Failure(error),
    };
    world.is_about_to_answer(&accepted.id, &answer);
    let settle = async {
        world.registrations.settle(&accepted.id, &answer);
        Ok::<_, TableError>(())
    };
    let fails = |_| TableError::Database(store::Error::PoolTimedOut);
    if world.points.call("journal.answer", &accepted.id, fails, settle, || world.check()).await.is_err() {
        world.state().must_restart = true;
    }
}

/// The message coordinator's acknowledgements arrive.
async fn acknowledge(world: Arc<World>, ctx: Context, supervisor: Supervisor) {
    loop {
        let pause = world.points.chance(|c| c.up_to(Duration::from_secs(2)));
        tokio::time::sleep(pause + Duration::from_millis(100)).await;
        for (id, ack) in world.message_coordinator() {
            world.points.tell(|| format!("the rights of {id}: {ack:?}"));
            ctx.acls.set(id.clone(), ack);
            supervisor.wake_known(&id);
        }
    }
}

/// Plugins that run say that they are well.
async fn report(world: Arc<World>, ctx: Context, supervisor: Supervisor) {
    loop {
        let pause = world.points.chance(|c| c.up_to(Duration::from_secs(5)));
        tokio::time::sleep(pause + Duration::from_millis(500)).await;
        for container in world.engine.all() {
            let id = container.label(PLUGIN_LABEL).and_then(|id| PluginId::parse(id).ok());
            let Some(id) = id.filter(|id| !world.is_silent(id)) else { continue };
            if !container.state.is_running() || container.label(ROLE_LABEL) == Some(Role::Forwarder.as_str())
            {
                continue;
            }
            let health = Health {
                component: id.to_string(),
                status: HealthStatus::Healthy,
                message: String::new(),
                details: Default::default(),
            };
            let message = Envelope::new(MessageType::Status, format!("plugin:{id}"), health).encode();
            let topic = topic::plugin::health(&id);
            if matches!(ctx.conduct.knock(&id, &topic), Admission::Over(_)) {
                continue;
            }
            if let Taken::Report(id, true) = ctx.health.take(&topic, &message) {
                supervisor.wake_known(&id);
            }
        }
    }
}
