//! What the figures were measured on.

use std::fs;

/// The machine, its load and the date, a line each.
pub fn describe() -> Vec<String> {
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name")?
                .split_once(':')
                .map(|(_, name)| name.trim().to_owned())
        })
        .unwrap_or_else(|| "unknown processor".to_owned());
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    vec![
        format!("date: {} (UTC)", today()),
        format!(
            "machine: {cores} cores of {processor}, {:.0} GB, {} {}",
            memory as f64 / 1e6,
            std::env::consts::OS,
            std::env::consts::ARCH
        ),
        format!("load before the run (1, 5, 15 minutes): {}", load()),
    ]
}

/// Load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    read("/proc/loadavg")
        .split(' ')
        .take(3)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The present time, to the minute.
fn today() -> String {
    let now = shelfmark::Environment::default().clock.now().to_string();
    now.get(..16).unwrap_or(&now).replace('T', " ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
