//! How things are measured: systems in turn within one run, medians of the rounds, ratios round by round.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::Result;

/// What many threads did at once.
pub struct Storm {
    /// From the moment all were ready until the last was done.
    pub elapsed: Duration,
    /// How long each operation took, sorted.
    pub latencies: Vec<Duration>,
}

impl Storm {
    /// Operations a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that the fraction `of` of the operations stays within.
    pub fn quantile(&self, of: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * of).round() as usize;
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// Runs `operation` with numbers from `first` on, `each` times in each of `threads` threads at once. The clock runs from the first thread's
/// beginning to the last one's end, as they saw it: the thread that waits for them may be woken when they are done already.
pub fn storm<W>(
    threads: usize,
    each: usize,
    first: u64,
    worker: impl Fn() -> Result<W> + Sync,
    operation: impl Fn(&mut W, u64) -> Result<()> + Sync,
) -> Result<Storm> {
    let barrier = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (barrier, operation, worker) = (&barrier, &operation, &worker);
                scope.spawn(move || -> Result<(Instant, Instant, Vec<Duration>)> {
                    let worker = worker();
                    barrier.wait();
                    let mut worker = worker?;
                    let mut latencies = Vec::with_capacity(each);
                    let begun = Instant::now();
                    for turn in 0..each {
                        let begin = Instant::now();
                        operation(&mut worker, first + (thread * each + turn) as u64)?;
                        latencies.push(begin.elapsed());
                    }
                    Ok((begun, Instant::now(), latencies))
                })
            })
            .collect();
        barrier.wait();
        let mut span: Option<(Instant, Instant)> = None;
        let mut latencies = Vec::with_capacity(threads * each);
        for thread in running {
            let (begun, ended, own) = thread
                .join()
                .map_err(|_| "a thread of the measurement panicked")??;
            span = Some(span.map_or((begun, ended), |(first, last)| {
                (first.min(begun), last.max(ended))
            }));
            latencies.extend(own);
        }
        let elapsed = span.map_or(Duration::ZERO, |(first, last)| last - first);
        latencies.sort();
        Ok(Storm { elapsed, latencies })
    })
}

/// The middle of `values`; of an even number the mean of the two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

/// The median of `over` ÷ `under`, round by round.
pub fn ratio(over: &[f64], under: &[f64]) -> f64 {
    median(over.iter().zip(under).map(|(over, under)| over / under).collect())
}

/// Seconds that `work` takes, and what it gives.
pub fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let begin = Instant::now();
    let made = work()?;
    Ok((begin.elapsed().as_secs_f64(), made))
}

/// One system's part of a measurement: gives the seconds that it took.
pub type Turn<'a> = (&'static str, Box<dyn FnMut() -> Result<f64> + 'a>);

/// Seconds of each system, round by round.
#[derive(Default)]
pub struct Times(BTreeMap<&'static str, Vec<f64>>);

/// Lets each system have its turn in each of `rounds` rounds, another one first each time.
pub fn by_turns(rounds: usize, mut turns: Vec<Turn<'_>>) -> Result<Times> {
    let mut times = Times::default();
    for _ in 0..rounds {
        for (name, turn) in &mut turns {
            times.0.entry(name).or_default().push(turn()?);
        }
        turns.rotate_left(1);
    }
    Ok(times)
}

impl Times {
    /// The median seconds of a system.
    pub fn median(&self, name: &str) -> f64 {
        median(self.0.get(name).cloned().unwrap_or_default())
    }

    /// How many times as fast as `other` the system `name` is: the median over the rounds.
    pub fn speed(&self, name: &str, other: &str) -> f64 {
        match (self.0.get(other), self.0.get(name)) {
            (Some(other), Some(own)) => ratio(other, own),
            _ => f64::NAN,
        }
    }

    /// The systems, each with what `show` makes of its median.
    pub fn medians(&self, show: impl Fn(f64) -> String) -> String {
        let shown: Vec<String> = self
            .0
            .keys()
            .map(|name| format!("{name} {}", show(self.median(name))))
            .collect();
        shown.join(", ")
    }

    /// The systems with their median seconds.
    pub fn absolute(&self) -> BTreeMap<&'static str, f64> {
        self.0.keys().map(|&name| (name, self.median(name))).collect()
    }
}

/// The exponent `e` of `seconds ∝ size^e` that fits best.
pub fn growth(points: &[(f64, f64)]) -> f64 {
    let logs: Vec<(f64, f64)> = points
        .iter()
        .map(|(size, seconds)| (size.ln(), seconds.ln()))
        .collect();
    let count = logs.len() as f64;
    let (mean_x, mean_y) = (
        logs.iter().map(|p| p.0).sum::<f64>() / count,
        logs.iter().map(|p| p.1).sum::<f64>() / count,
    );
    let over: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let under: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    over / under
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(ratio(&[4.0, 9.0, 8.0], &[2.0, 3.0, 2.0]), 3.0);
        let square: Vec<(f64, f64)> = [10.0, 100.0, 1000.0].map(|x: f64| (x, 7.0 * x * x)).into();
        assert!((growth(&square) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn each_system_has_each_turn() {
        let order = std::cell::RefCell::new(String::new());
        let turn = |name: &'static str, seconds: f64| -> Turn<'_> {
            let order = &order;
            (
                name,
                Box::new(move || {
                    order.borrow_mut().push_str(name);
                    Ok(seconds)
                }),
            )
        };
        let times = by_turns(3, vec![turn("a", 1.0), turn("b", 4.0)]).unwrap();
        assert_eq!(*order.borrow(), "abbaab");
        assert_eq!(times.speed("a", "b"), 4.0);
        assert_eq!(times.medians(|seconds| seconds.to_string()), "a 1, b 4");
    }

    #[test]
    fn a_storm_runs_each_number_once() {
        let seen = std::sync::Mutex::new(Vec::new());
        let storm = storm(
            4,
            5,
            100,
            || Ok(()),
            |(), n| {
                seen.lock().unwrap().push(n);
                Ok(())
            },
        )
        .unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        assert_eq!(seen, (100..120).collect::<Vec<_>>());
        assert_eq!(storm.latencies.len(), 20);
    }
}
