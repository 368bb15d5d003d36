//! Row 16: memory, each in a process of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use shelfmark::{Batched, DataSet, Options, Query};

use super::{Measured, Settings};
use crate::report::{Line, Target};
use crate::systems::{ASSETS, assets};
use crate::{CACHE_BYTES, Result, scratch};
use shelfmark_benches::data;

/// The command that this program gives its own child.
pub const COMMAND: &str = "memory";

/// What a process may need beside its cache.
const BESIDE_CACHE_MB: f64 = 64.0;

/// The child: creates sets, or streams over them, and says how much memory it had at most, in bytes.
pub fn work_alone(arguments: &[String]) -> Result<()> {
    let [what, path, sets] = arguments else {
        return Err("wants create or stream, a path, and how many sets".into());
    };
    let (path, sets) = (Path::new(path), sets.parse::<u64>()?);
    let options = Options::new().cache_bytes(CACHE_BYTES);
    if what == "create" {
        let session = options.create(path)?.session("acme", "ann")?;
        let assets = assets(&session)?;
        let new = (0..sets).map(|n| data::set(assets[(n % ASSETS) as usize], n, 0));
        session.create_batched(new, Batched::new())?;
    } else {
        let session = options.open(path)?.session("acme", "ann")?;
        let mut seen = 0;
        for set in session.stream(&Query::<DataSet>::new())? {
            set?;
            seen += 1;
        }
        if seen != sets {
            return Err(format!("{seen} sets of {sets}").into());
        }
    }
    println!("{}", peak_bytes());
    Ok(())
}

fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix(" kB")?
            .trim()
            .parse::<u64>()
            .ok()
    });
    peak.unwrap_or_default() * 1024
}

pub fn run(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let (_directory, path) = scratch()?;
    let file = path("catalog");
    for (what, name) in [("create", "bulk create in batched mode"), ("stream", "streaming")] {
        let output = Command::new(std::env::current_exe()?)
            .arg(COMMAND)
            .arg(what)
            .arg(&file)
            .arg(settings.sets.to_string())
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let peak = String::from_utf8_lossy(&output.stdout).trim().parse::<u64>()?;
        let beside = (peak as f64 - CACHE_BYTES as f64) / f64::from(1 << 20);
        measured.lines.push(Line {
            row: "16",
            name: format!(
                "{name} of {} sets: peak memory beside the cache, of {BESIDE_CACHE_MB} MB",
                settings.sets
            ),
            figure: beside / BESIDE_CACHE_MB,
            target: Target::AtMost(1.0),
            medians: format!(
                "peak {:.0} MB with a cache of {} MB",
                peak as f64 / f64::from(1 << 20),
                CACHE_BYTES >> 20
            ),
        });
    }
    Ok(())
}
