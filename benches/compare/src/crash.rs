//! Opening a large file after its writer was killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shelfmark::{AssetId, Batched, Catalog, DataAsset, Options, Query, Read as _, Write as _};

use crate::Result;
use shelfmark_benches::data;

/// The command that this program gives its own child.
pub const COMMAND: &str = "crash-writer";

const FIELDS: usize = 200;

/// Options as both processes use them.
fn options(quick: bool) -> Options {
    Options::new()
        .cache_bytes(crate::CACHE_BYTES)
        .quick_recovery(quick)
}

/// The child: fills the file up to a size, then creates sets one by one, and says after each how many there are.
pub fn write_until_killed(arguments: &[String]) -> Result<()> {
    let [path, quick, megabytes] = arguments else {
        return Err("wants a path, whether recovery is quick, and megabytes".into());
    };
    let (path, quick, megabytes) = (Path::new(path), quick == "quick", megabytes.parse::<u64>()?);
    let catalog = options(quick).open_or_create(path)?;
    let asset = asset_of(&catalog)?;
    let session = catalog.session("acme", "ann")?;
    let mut count: u64 = session.count::<shelfmark::DataSet>(asset)?;
    while std::fs::metadata(path)?.len() < megabytes << 20 {
        let sets = (count..count + 1_000).map(|n| data::set(asset, n, FIELDS));
        count += session.create_batched(sets, Batched::new())?.len() as u64;
    }
    loop {
        session.create(data::set(asset, count, FIELDS))?;
        count += 1;
        println!("{count}");
        std::io::stdout().flush()?;
    }
}

fn asset_of(catalog: &Catalog) -> Result<AssetId> {
    let session = catalog.session("acme", "ann")?;
    if let Some(asset) = session.list(&Query::<DataAsset>::new())?.items.first() {
        return Ok(asset.id);
    }
    let store = session.create(data::store(0))?;
    Ok(session.create(data::asset(store.id, 0))?.id)
}

/// What opening after a crash took.
pub struct Reopened {
    /// How long it took.
    pub took: Duration,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Lets a child write `path` up to `megabytes`, kills it in the middle of its commits, and opens the file. Fails where an acknowledged
/// write is gone.
pub fn kill_and_reopen(path: &Path, quick: bool, megabytes: u64) -> Result<Reopened> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(COMMAND)
        .arg(path)
        .arg(if quick { "quick" } else { "plain" })
        .arg(megabytes.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("the child has no output")?;
    let mut lines = BufReader::new(output).lines();
    let mut acknowledged = 0;
    for _ in 0..20 {
        acknowledged = lines.next().ok_or("the child ended by itself")??.parse::<u64>()?;
    }
    child.kill()?;
    // What it said before it died counts too.
    for line in lines.map_while(std::result::Result::ok) {
        acknowledged = line.parse::<u64>().unwrap_or(acknowledged).max(acknowledged);
    }
    child.wait()?;
    let bytes = std::fs::metadata(path)?.len();
    let begin = Instant::now();
    let catalog = options(quick).open(path)?;
    let took = begin.elapsed();
    let found = catalog
        .session("acme", "ann")?
        .count::<shelfmark::DataSet>(asset_of(&catalog)?)?;
    if found < acknowledged {
        return Err(format!("{acknowledged} creates were acknowledged, {found} are there").into());
    }
    Ok(Reopened { took, bytes })
}
