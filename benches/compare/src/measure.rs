//! How things are measured: systems in turn within one run, medians of the rounds, ratios round by round.

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

/// Runs `operation` with numbers from `first` on, `each` times in each of `threads` threads at once.
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
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let worker = worker();
                    barrier.wait();
                    let mut worker = worker?;
                    let mut latencies = Vec::with_capacity(each);
                    for turn in 0..each {
                        let begin = Instant::now();
                        operation(&mut worker, first + (thread * each + turn) as u64)?;
                        latencies.push(begin.elapsed());
                    }
                    Ok(latencies)
                })
            })
            .collect();
        barrier.wait();
        let begin = Instant::now();
        let mut latencies = Vec::with_capacity(threads * each);
        for thread in running {
            latencies.extend(
                thread
                    .join()
                    .map_err(|_| "a thread of the measurement panicked")??,
            );
        }
        let elapsed = begin.elapsed();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(ratio(&[4.0, 9.0, 8.0], &[2.0, 3.0, 2.0]), 3.0);
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
