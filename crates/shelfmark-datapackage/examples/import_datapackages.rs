//! Imports data packages into a catalog file, then shows what the catalog does with them.
//!
//! ```sh
//! cargo run --release --example import_datapackages -- [--file CATALOG] [PATH]
//! ```
//!
//! PATH is a directory tree of `datapackage.json` files, a file with one document a line, or one descriptor; without it, the packages in
//! `examples/data`. The catalog is a new file, in a temporary directory unless `--file` names another place.

#![expect(clippy::print_stdout, reason = "it shows what it does")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use shelfmark::{
    AllStores, AssetSelection, Catalog, DataAsset, DataSet, DataStore, Expectation, Filter, Page, Patch,
    Projection, Query, Read, Session, SetSelection, StoreId, Write,
};
use shelfmark_datapackage::Importer;

type Outcome = Result<(), Box<dyn Error>>;

const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data");
const USAGE: &str = "usage: import_datapackages [--file CATALOG] [PATH]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    let (mut file, mut input) = (None, None);
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--file" && file.is_none() {
            file = Some(PathBuf::from(arguments.next().ok_or(USAGE)?));
        } else if input.is_none() && !argument.to_string_lossy().starts_with("--") {
            input = Some(PathBuf::from(argument));
        } else {
            return Err(USAGE.into());
        }
    }
    let input = input.unwrap_or_else(|| BUNDLED.into());

    let directory = tempfile::tempdir()?;
    let file = file.unwrap_or_else(|| directory.path().join("catalog.shelf"));
    let catalog = Catalog::create(&file)?;
    let session = catalog.session("example", "importer")?;
    println!("A new catalog in {}.", file.display());

    let started = Instant::now();
    let report = Importer::new(&session).import_path(&input)?;
    println!("\nImported {} in {:.0?}:\n", input.display(), started.elapsed());
    print!("{report}");
    if report.packages == 0 {
        println!("\nThere is nothing more to show.");
        return Ok(());
    }

    lists(&session)?;
    patch_and_conflict(&session)?;
    deletions(&session)?;
    care(&catalog)
}

fn lists(session: &Session) -> Outcome {
    println!("\n== Lists");
    let stores = session.list(&Query::<DataStore>::new().sort("name").limit(5))?;
    println!("\nData stores by name, {}:", extent(&stores));
    for store in &stores.items {
        let assets = session.count::<DataAsset>(store.id)?;
        println!("  {} ({assets} data assets)", short(store.name.as_deref()));
    }

    let query = Query::<DataSet>::new().sort("-name").limit(5);
    let first = session.list(&query)?;
    println!("\nData sets by name, descending, {}:", extent(&first));
    print_sets(&first.items);
    match first.next {
        Some(cursor) => {
            println!(
                "and the cursor {}... leads on to",
                short_cursor(&cursor.to_string())
            );
            print_sets(&session.list(&query.clone().cursor(cursor))?.items);
        }
        None => println!("and that is the last page."),
    }

    let projection = Projection::of(["name", "dataAssetInfo.dataStoreInfo.name"]);
    println!("\nThe same, with two fields projected:");
    for set in session.list_projected(&query.limit(2), &projection)?.items {
        println!("  {}", shorter(&serde_json::to_string(&set)?, 400));
    }

    if let Some(set) = first.items.first() {
        println!("\nFound by its secureQri, {:?}:", set.secure_qri);
        print_sets(&session.find_by_secure_qri(&set.secure_qri)?);
    }

    let tagged = session
        .stream(&Query::<DataAsset>::new())?
        .find_map(|asset| asset.map(|asset| asset.tags.into_iter().next()).transpose())
        .transpose()?;
    match tagged {
        Some(tag) => {
            let query = Query::<DataAsset>::new()
                .filter(Filter::new().tag(&tag))
                .sort("name")
                .limit(3);
            let page = session.list(&query)?;
            println!("\nData assets with the tag {tag:?}, {}:", extent(&page));
            for asset in &page.items {
                println!("  {}", short(asset.name.as_deref()));
            }
        }
        None => println!("\nNo package has a tag to filter by."),
    }
    Ok(())
}

fn patch_and_conflict(session: &Session) -> Outcome {
    println!("\n== Updates");
    let Some(before) = first_asset(session)? else {
        return Ok(());
    };
    let patch = Patch::from_json(
        br#"[
            {"op": "test", "path": "/version", "value": 0},
            {"op": "add", "path": "/tags/-", "value": "reviewed by hand"},
            {"op": "replace", "path": "/name", "value": "A better name"}
        ]"#,
    )?;
    let after = session.patch(before.id, before.version, &patch)?;
    println!("\nA JSON Patch of three operations:");
    for (when, asset) in [("before", &before), ("after", &after)] {
        let name = short(asset.name.as_deref());
        println!(
            "  {when}: version {}, name {name}, tags {:?}",
            asset.version, asset.tags
        );
    }

    println!("\nAnother one who still expects version {}:", before.version);
    let too_late = session.update(before.id, before.version, |asset| {
        asset.name = Some("Too late".into());
    });
    match too_late.as_ref().map_err(|error| (error, error.conflict())) {
        Err((error, Some(conflict))) => {
            println!("  {}: {error}", error.kind());
            println!("  expected {}, found {}", conflict.expected, conflict.found);
        }
        other => return Err(format!("a conflict was due, and there was {other:?}").into()),
    }
    Ok(())
}

fn deletions(session: &Session) -> Outcome {
    println!("\n== Deletions");
    let Some((store, name)) = fullest_store(session)? else {
        return Ok(());
    };
    println!("\nDeleting the data store {name} while it holds data assets:");
    match session.delete(store, Expectation::Any) {
        Err(error) if !error.not_empty().is_empty() => {
            println!("  {}: {error}", error.kind());
            for store in error.not_empty() {
                println!("  {} data assets in {}", store.assets, store.store);
            }
        }
        other => return Err(format!("a refusal was due, and there was {other:?}").into()),
    }

    println!("\nA dry run of deleting all data assets of the store:");
    let would = session.would_delete_selected::<DataAsset>(store)?;
    println!(
        "  would take {} data assets and {} data sets",
        would.assets, would.sets
    );
    println!("  and leaves {}", left(session)?);
    println!("\nThe same in earnest, then the store:");
    let cascade = session.delete_selected::<DataAsset>(store)?;
    println!(
        "  took {} data assets and {} data sets",
        cascade.assets, cascade.sets
    );
    let last = session.delete(store, Expectation::Any)?;
    println!("  took {} data store", last.stores);
    println!("  and leaves {}", left(session)?);
    Ok(())
}

fn care(catalog: &Catalog) -> Outcome {
    println!("\n== Care");
    let check = catalog.check()?;
    println!(
        "\nThe check read {} rows and found {} faults.",
        check.rows,
        check.findings.len()
    );
    for finding in &check.findings {
        println!("  {finding}");
    }
    let stats = catalog.stats()?;
    println!(
        "Tenants: {}, data stores: {}, data assets: {}, data sets: {}, commits: {}.",
        stats.tenants, stats.stores, stats.assets, stats.sets, stats.backend.commits
    );
    if let (Some(size), Some(stored)) = (stats.backend.size_bytes, stats.backend.stored_bytes) {
        println!("The file has {size} bytes, {stored} of them keys and values.");
    }
    if check.is_clean() {
        Ok(())
    } else {
        Err("the catalog has faults".into())
    }
}

fn first_asset(session: &Session) -> shelfmark::Result<Option<DataAsset>> {
    let page = session.list(&Query::<DataAsset>::new().limit(1))?;
    Ok(page.items.into_iter().next())
}

/// The data store with the most data assets.
fn fullest_store(session: &Session) -> shelfmark::Result<Option<(StoreId, String)>> {
    let mut fullest = None;
    for store in session.stream(&Query::<DataStore>::new())? {
        let store = store?;
        let assets = session.count::<DataAsset>(store.id)?;
        if fullest.as_ref().is_none_or(|(most, _, _)| assets > *most) {
            fullest = Some((assets, store.id, short(store.name.as_deref())));
        }
    }
    Ok(fullest.map(|(_, store, name)| (store, name)))
}

fn left(session: &Session) -> shelfmark::Result<String> {
    let stores = session.count::<DataStore>(AllStores)?;
    let assets = session.count::<DataAsset>(AssetSelection::All)?;
    let sets = session.count::<DataSet>(SetSelection::All)?;
    Ok(format!(
        "{stores} data stores, {assets} data assets, {sets} data sets"
    ))
}

fn extent<T>(page: &Page<T>) -> String {
    let pages = page.pages().unwrap_or_default();
    format!(
        "{} of {}, page 1 of {pages}",
        page.items.len(),
        page.total.unwrap_or_default()
    )
}

fn print_sets(sets: &[DataSet]) {
    for set in sets {
        let asset = short(set.data_asset_info.name.as_deref());
        println!("  {} (of {asset})", short(set.name.as_deref()));
    }
}

fn short(name: Option<&str>) -> String {
    shorter(name.unwrap_or("(no name)"), 60)
}

fn short_cursor(cursor: &str) -> &str {
    cursor.get(..16).unwrap_or(cursor)
}

/// The beginning of a text, on one line.
fn shorter(text: &str, characters: usize) -> String {
    let line = text.replace(['\r', '\n'], " ");
    match line.char_indices().nth(characters) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
