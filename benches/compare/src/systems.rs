//! The systems that create single sets durably.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use shelfmark::{
    AssetId, Catalog, DataSet, Environment, Options, Read as _, Session, SetSelection, Write as _,
};
use shelfmark_benches::data;

use crate::Result;
use crate::measure::{Storm, storm};
use crate::peers::bare::{Bare, counters_of};
use crate::peers::fjall::Fjall;
use crate::peers::sqlite::{self, Sqlite};
use crate::rows::{Row, Template};

const STORES: u64 = 10;
/// Assets of the measurements that spread sets over several.
pub const ASSETS: u64 = 100;

/// Something that creates sets.
pub trait System {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// `each` creates in each of `threads` threads.
    fn create(&self, threads: usize, each: usize, first: u64) -> Result<Storm>;
    /// How many sets there are.
    fn sets(&self) -> Result<u64>;
}

/// Creates the stores and assets, and gives the assets.
pub fn assets(session: &Session) -> Result<Vec<AssetId>> {
    let stores = session.create_all((0..STORES).map(data::store))?;
    Ok(session.create_all((0..ASSETS).map(|n| data::asset(stores[(n % STORES) as usize], n)))?)
}

/// A catalog, whose threads share commits or, `alone`, do not.
pub struct Shelf {
    /// The catalog itself.
    pub catalog: Catalog,
    session: Session,
    assets: Vec<AssetId>,
    alone: bool,
    name: &'static str,
}

impl Shelf {
    /// A new one, with `base` sets.
    pub fn new(path: &Path, base: u64, options: &Options, name: &'static str, alone: bool) -> Result<Self> {
        let catalog = options.create(path)?;
        let session = catalog.session("acme", "ann")?;
        let assets = assets(&session)?;
        session.create_batched(
            (0..base).map(|n| data::set(assets[(n % ASSETS) as usize], n, 0)),
            Default::default(),
        )?;
        Ok(Self {
            catalog,
            session,
            assets,
            alone,
            name,
        })
    }
}

impl System for Shelf {
    fn name(&self) -> &'static str {
        self.name
    }

    fn create(&self, threads: usize, each: usize, first: u64) -> Result<Storm> {
        storm(
            threads,
            each,
            first,
            || Ok(()),
            |(), n| {
                let new = data::set(self.assets[(n % ASSETS) as usize], n, 0);
                let set = if self.alone {
                    self.session
                        .transact(|transaction| transaction.create(new.clone()))?
                } else {
                    self.session.create(new)?
                };
                if set.version != 0 || set.data_asset_info.name.is_none() {
                    return Err("a created set is not as it should be".into());
                }
                Ok(())
            },
        )
    }

    fn sets(&self) -> Result<u64> {
        Ok(self.session.count::<DataSet>(SetSelection::All)?)
    }
}

/// Time and ids as the catalog takes them.
pub fn stamp(environment: &Environment) -> (uuid::Uuid, shelfmark::Timestamp) {
    let now = environment.clock.now();
    (environment.ids.next_id(now), now)
}

/// The stores, the assets and `base` sets.
pub fn fill_sqlite(sqlite: &mut Sqlite, base: u64) -> Result<Vec<AssetId>> {
    let environment = Environment::default();
    let transaction = sqlite.begin()?;
    let mut stores = Vec::new();
    for n in 0..STORES {
        stores.push(sqlite::create_store(
            &transaction,
            stamp(&environment),
            &data::store(n),
        )?);
    }
    let mut assets = Vec::new();
    for n in 0..ASSETS {
        let new = data::asset(stores[(n % STORES) as usize], n);
        assets.push(sqlite::create_asset(&transaction, stamp(&environment), &new)?);
    }
    for n in 0..base {
        sqlite::create_set(
            &transaction,
            stamp(&environment),
            &data::set(assets[(n % ASSETS) as usize], n, 0),
        )?;
    }
    transaction.commit()?;
    Ok(assets)
}

/// One connection that all threads take turns at.
pub struct SharedSqlite {
    sqlite: Mutex<Sqlite>,
    assets: Vec<AssetId>,
    environment: Environment,
}

impl SharedSqlite {
    /// A new one, with `base` sets.
    pub fn new(path: &Path, base: u64) -> Result<Self> {
        let mut sqlite = Sqlite::open(path)?;
        let assets = fill_sqlite(&mut sqlite, base)?;
        Ok(Self {
            sqlite: Mutex::new(sqlite),
            assets,
            environment: Environment::default(),
        })
    }
}

impl System for SharedSqlite {
    fn name(&self) -> &'static str {
        "SQLite, shared connection"
    }

    fn create(&self, threads: usize, each: usize, first: u64) -> Result<Storm> {
        storm(
            threads,
            each,
            first,
            || Ok(()),
            |(), n| {
                let new = data::set(self.assets[(n % ASSETS) as usize], n, 0);
                let sqlite = self.sqlite.lock().unwrap_or_else(PoisonError::into_inner);
                sqlite::create_set(&sqlite.connection, stamp(&self.environment), &new)
            },
        )
    }

    fn sets(&self) -> Result<u64> {
        sqlite::sets(
            &self
                .sqlite
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .connection,
        )
    }
}

/// A connection for each thread.
pub struct SeveralSqlites {
    path: std::path::PathBuf,
    assets: Vec<AssetId>,
    environment: Environment,
}

impl SeveralSqlites {
    /// A new one, with `base` sets.
    pub fn new(path: &Path, base: u64) -> Result<Self> {
        let assets = fill_sqlite(&mut Sqlite::open(path)?, base)?;
        Ok(Self {
            path: path.to_owned(),
            assets,
            environment: Environment::default(),
        })
    }
}

impl System for SeveralSqlites {
    fn name(&self) -> &'static str {
        "SQLite, connection a thread"
    }

    fn create(&self, threads: usize, each: usize, first: u64) -> Result<Storm> {
        storm(
            threads,
            each,
            first,
            || Sqlite::open(&self.path),
            |sqlite, n| {
                let new = data::set(self.assets[(n % ASSETS) as usize], n, 0);
                sqlite::create_set(&sqlite.connection, stamp(&self.environment), &new)
            },
        )
    }

    fn sets(&self) -> Result<u64> {
        sqlite::sets(&Sqlite::open(&self.path)?.connection)
    }
}

/// redb alone, with the rows of sets made before.
pub struct BareCreates {
    bare: Bare,
    rows: Mutex<std::vec::IntoIter<Vec<Row>>>,
}

impl BareCreates {
    /// A new one, with `base` sets.
    pub fn new(path: &Path, base: u64, further: usize) -> Result<Self> {
        let template = Template::new()?;
        let assets = assets(template.session())?;
        template.create_sets(&assets, 0..base, 0)?;
        let bare = Bare::create(path)?;
        bare.load(&template.all()?)?;
        let rows = template.create_sets(&assets, base..base + further as u64, 0)?;
        Ok(Self {
            bare,
            rows: Mutex::new(rows.into_iter()),
        })
    }
}

impl System for BareCreates {
    fn name(&self) -> &'static str {
        "bare redb"
    }

    fn create(&self, threads: usize, each: usize, first: u64) -> Result<Storm> {
        storm(
            threads,
            each,
            first,
            || Ok(()),
            |(), _| {
                let rows = self
                    .rows
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .next()
                    .ok_or("no rows left")?;
                self.bare.create_set(&rows, &counters_of(&rows))
            },
        )
    }

    fn sets(&self) -> Result<u64> {
        self.bare.sets()
    }
}

/// fjall, with the rows of sets made before.
pub struct FjallCreates {
    fjall: Fjall,
    rows: Mutex<std::vec::IntoIter<Vec<Row>>>,
}

impl FjallCreates {
    /// A new one, with `base` sets.
    pub fn new(path: &Path, base: u64, further: usize) -> Result<Self> {
        let template = Template::new()?;
        let assets = assets(template.session())?;
        let fjall = Fjall::create(path)?;
        fjall.create_sets(&template.create_sets(&assets, 0..base, 0)?)?;
        let rows = template.create_sets(&assets, base..base + further as u64, 0)?;
        Ok(Self {
            fjall,
            rows: Mutex::new(rows.into_iter()),
        })
    }
}

impl System for FjallCreates {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn create(&self, threads: usize, each: usize, first: u64) -> Result<Storm> {
        storm(
            threads,
            each,
            first,
            || Ok(()),
            |(), _| {
                let rows = self
                    .rows
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .next()
                    .ok_or("no rows left")?;
                self.fjall.create_sets(&[rows])
            },
        )
    }

    fn sets(&self) -> Result<u64> {
        self.fjall.sets()
    }
}
