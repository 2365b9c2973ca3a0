//! Memory and processor time of the framework's processes, as the kernel tells them.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::stack::Stack;
use crate::stack::command::Run;

/// How often it is looked.
const EACH: Duration = Duration::from_secs(5);
/// The kernel counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;

/// The services that are measured.
pub const SERVICES: [&str; 4] =
    ["plugin-coordinator", "message-coordinator", "security-coordinator", "mqtt-broker"];

/// A look at one process.
#[derive(Debug, Clone, Copy)]
struct Sample {
    minutes: f64,
    kib: f64,
    cpu_seconds: f64,
}

/// What became of one process.
#[derive(Debug, Clone)]
pub struct Usage {
    /// Which service it is.
    pub service: &'static str,
    /// Resident memory at the beginning and at the end, and the most, in KiB.
    pub kib: (f64, f64, f64),
    /// By how much it grows, by least squares, in KiB a minute.
    pub slope: f64,
    /// The share of one processor.
    pub cpu: f64,
}

/// Looks at the processes until it is asked what became of them.
pub struct Meter {
    processes: Vec<(&'static str, u32)>,
    samples: Arc<Mutex<Vec<Vec<Sample>>>>,
    task: JoinHandle<()>,
}

impl Meter {
    /// Begins to look.
    ///
    /// # Errors
    /// A service does not run.
    pub async fn begin(stack: &Stack) -> Result<Self> {
        let mut processes = Vec::new();
        for service in SERVICES {
            let container = stack.container(service);
            let pid = Run::docker(["inspect", "--format", "{{.State.Pid}}", &container]).line().await?;
            processes
                .push((service, pid.parse().with_context(|| format!("{service} has the process {pid:?}"))?));
        }
        let samples = Arc::new(Mutex::new(vec![Vec::new(); processes.len()]));
        let (noted, looked, begin) = (samples.clone(), processes.clone(), Instant::now());
        let task = tokio::spawn(async move {
            let mut ticks = interval(EACH);
            loop {
                ticks.tick().await;
                let minutes = begin.elapsed().as_secs_f64() / 60.0;
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                for (samples, (service, pid)) in noted.iter_mut().zip(&looked) {
                    match sample(*pid, minutes) {
                        Ok(sample) => samples.push(sample),
                        Err(error) => eprintln!("load: {service} cannot be measured: {error:#}"),
                    }
                }
            }
        });
        Ok(Self { processes, samples, task })
    }

    /// What became of them.
    ///
    /// # Errors
    /// One ended meanwhile, or there were too few looks.
    pub fn end(self) -> Result<Vec<Usage>> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.processes.iter().zip(samples.iter());
        all.map(|((service, pid), samples)| {
            sample(*pid, 0.0).with_context(|| format!("{service} has ended while it was measured"))?;
            usage(service, samples).with_context(|| format!("{service} was looked at less than twice"))
        })
        .collect()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn processes(stack: &Stack) -> Result<Vec<(&'static str, u32)>> {
    let mut processes = Vec::new();
    for service in SERVICES {
        let container = stack.container(service);
        let pid = Run::docker(["inspect", "--format", "{{.State.Pid}}", &container]).line().await?;
        processes.push((service, pid.parse().with_context(|| format!("{service} has the process {pid:?}"))?));
    }
    Ok(processes)
}

/// How much of a processor's time each service has taken since it was started, in seconds.
///
/// # Errors
/// A service does not run.
pub async fn spent(stack: &Stack) -> Result<[f64; SERVICES.len()]> {
    let mut spent = [0.0; SERVICES.len()];
    for (spent, (_, pid)) in spent.iter_mut().zip(processes(stack).await?) {
        *spent = sample(pid, 0.0)?.cpu_seconds;
    }
    Ok(spent)
}

fn sample(pid: u32, minutes: f64) -> Result<Sample> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program stands in parentheses and may have anything in it; utime and stime are the 14th and
    // 15th of all.
    let (_, rest) = stat.rsplit_once(')').context("its stat is odd")?;
    let ticks: f64 =
        rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Ok(Sample {
        minutes,
        kib: resident.context("it has no memory")?.trim().parse()?,
        cpu_seconds: ticks / TICKS,
    })
}

fn usage(service: &'static str, samples: &[Sample]) -> Option<Usage> {
    let (first, last) = (samples.first()?, samples.last()?);
    let minutes = last.minutes - first.minutes;
    (minutes > 0.0).then(|| Usage {
        service,
        kib: (first.kib, last.kib, samples.iter().map(|sample| sample.kib).fold(0.0, f64::max)),
        slope: slope(samples),
        cpu: (last.cpu_seconds - first.cpu_seconds) / (minutes * 60.0),
    })
}

/// By least squares.
#[expect(clippy::cast_precision_loss, reason = "there are some hundred samples")]
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (minutes, kib) = (mean(|s| s.minutes), mean(|s| s.kib));
    let together: f64 = samples.iter().map(|s| (s.minutes - minutes) * (s.kib - kib)).sum();
    let squares: f64 = samples.iter().map(|s| (s.minutes - minutes).powi(2)).sum();
    together / squares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(kib: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..12)
            .map(f64::from)
            .map(|minutes| Sample { minutes, kib: kib(minutes), cpu_seconds: 0.0 })
            .collect()
    }

    #[test]
    fn growth_is_seen_through_noise_and_noise_is_no_growth() {
        let noise = |minutes: f64| if minutes % 2.0 == 0.0 { 50.0 } else { -50.0 };
        assert!((slope(&samples(|minutes| 9000.0 + 100.0 * minutes + noise(minutes))) - 100.0).abs() < 10.0);
        assert!(slope(&samples(|minutes| 9000.0 + noise(minutes))).abs() < 10.0);
    }

    #[test]
    fn this_process_is_measured() {
        let own = sample(std::process::id(), 1.0).expect("it runs");
        assert!(own.kib > 100.0);
    }
}
