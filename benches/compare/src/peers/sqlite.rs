//! SQLite as a careful user would set it up: write-ahead log, every commit durable, prepared statements, foreign keys, the same indexes.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior, params};
use shelfmark::{AssetId, NewDataAsset, NewDataSet, NewDataStore, StoreId, Timestamp};
use uuid::Uuid;

use crate::{CACHE_BYTES, Result};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS store(
  id BLOB PRIMARY KEY, name TEXT COLLATE NOCASE, technical_name TEXT NOT NULL COLLATE NOCASE, type TEXT NOT NULL, owner TEXT NOT NULL, created_by TEXT NOT NULL,
  modified_by TEXT NOT NULL, modified INTEGER NOT NULL, version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS asset(
  id BLOB PRIMARY KEY, store_id BLOB NOT NULL REFERENCES store(id) ON DELETE RESTRICT, name TEXT COLLATE NOCASE, technical_name TEXT NOT NULL COLLATE NOCASE,
  app_type TEXT NOT NULL, owner TEXT NOT NULL, created_by TEXT NOT NULL, modified_by TEXT NOT NULL, modified INTEGER NOT NULL,
  version INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS asset_by_name ON asset(store_id, name, id);
CREATE TABLE IF NOT EXISTS data_set(
  id BLOB PRIMARY KEY, asset_id BLOB NOT NULL REFERENCES asset(id) ON DELETE CASCADE, name TEXT COLLATE NOCASE, technical_name TEXT NOT NULL COLLATE NOCASE,
  qri TEXT NOT NULL, secure_qri TEXT NOT NULL, type TEXT, description TEXT COLLATE NOCASE, tags TEXT NOT NULL, properties TEXT, owner TEXT NOT NULL,
  created_by TEXT NOT NULL, modified_by TEXT NOT NULL, modified INTEGER NOT NULL, version INTEGER NOT NULL, schema TEXT);
CREATE INDEX IF NOT EXISTS set_by_name ON data_set(asset_id, name, id);
CREATE INDEX IF NOT EXISTS set_by_secure_qri ON data_set(secure_qri);
";
const FURTHER_INDEXES: &str = "
CREATE INDEX IF NOT EXISTS asset_by_technical_name ON asset(store_id, technical_name, id);
CREATE INDEX IF NOT EXISTS asset_by_modified ON asset(store_id, modified, id);
CREATE INDEX IF NOT EXISTS set_by_technical_name ON data_set(asset_id, technical_name, id);
CREATE INDEX IF NOT EXISTS set_by_modified ON data_set(asset_id, modified, id);
";

/// What SQLite is called where it has no more indexes than those by name and `secureQri`.
pub const TWO_INDEXES: &str = "SQLite, two indexes";

/// One connection.
pub struct Sqlite {
    /// For what only one measurement asks.
    pub connection: Connection,
}

impl Sqlite {
    /// Opens a file and makes the tables with the indexes that the catalog has.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = Self::open_with_two_indexes(path)?;
        opened.connection.execute_batch(FURTHER_INDEXES)?;
        Ok(opened)
    }

    /// As [`Sqlite::open`], indexed by name and `secureQri` alone.
    pub fn open_with_two_indexes(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "cache_size", -(CACHE_BYTES as i64 / 1024))?;
        // Else the bundled build prepares a statement anew whenever a value bound to it changes.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection })
    }

    /// Takes away the indexes that [`Sqlite::open_with_two_indexes`] does not make.
    pub fn leave_two_indexes(&self) -> Result<()> {
        Ok(self.connection.execute_batch(
            "DROP INDEX asset_by_technical_name; DROP INDEX asset_by_modified; DROP INDEX set_by_technical_name;
             DROP INDEX set_by_modified;",
        )?)
    }

    /// Begins a transaction that will write.
    pub fn begin(&mut self) -> Result<rusqlite::Transaction<'_>> {
        Ok(self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

/// Inserts a store.
pub fn create_store(
    connection: &Connection,
    (id, now): (Uuid, Timestamp),
    new: &NewDataStore,
) -> Result<StoreId> {
    let mut insert =
        connection.prepare_cached("INSERT INTO store VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?5, ?6, 0)")?;
    insert.execute(params![
        id.as_bytes(),
        new.name,
        new.technical_name,
        new.store_type,
        "ann",
        now.millis()
    ])?;
    Ok(StoreId::from_uuid(id))
}

/// Inserts an asset.
pub fn create_asset(
    connection: &Connection,
    (id, now): (Uuid, Timestamp),
    new: &NewDataAsset,
) -> Result<AssetId> {
    let store = new.store.ok_or("an asset needs a store")?.uuid();
    let mut insert =
        connection.prepare_cached("INSERT INTO asset VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6, ?7, 0)")?;
    insert.execute(params![
        id.as_bytes(),
        store.as_bytes(),
        new.name,
        new.technical_name,
        new.app_type,
        "ann",
        now.millis()
    ])?;
    Ok(AssetId::from_uuid(id))
}

/// Inserts a set; the foreign key checks its asset. In a transaction of its own where there is none.
pub fn create_set(connection: &Connection, (id, now): (Uuid, Timestamp), new: &NewDataSet) -> Result<()> {
    let asset = new.asset.ok_or("a set needs an asset")?.uuid();
    let tags = serde_json::to_string(&new.tags)?;
    let properties = new.properties.as_ref().map(serde_json::to_string).transpose()?;
    let schema = new.schema.as_ref().map(serde_json::to_string).transpose()?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO data_set VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?11, ?12, 0, ?13)",
    )?;
    insert.execute(params![
        id.as_bytes(),
        asset.as_bytes(),
        new.name,
        new.technical_name,
        new.qri,
        new.secure_qri,
        new.set_type,
        new.description,
        tags,
        properties,
        "ann",
        now.millis(),
        schema,
    ])?;
    Ok(())
}

/// How many sets there are.
pub fn sets(connection: &Connection) -> Result<u64> {
    Ok(connection.query_row("SELECT count(*) FROM data_set", [], |row| row.get::<_, i64>(0))? as u64)
}

/// A set as its users see it: every column, and what it shows of its parents.
#[derive(Debug)]
pub struct Body {
    /// Its id.
    pub id: Uuid,
    /// Texts in the order of the columns.
    pub texts: Vec<Option<String>>,
    /// Its tags.
    pub tags: Vec<String>,
    /// When it was changed last, in milliseconds.
    pub modified: i64,
    /// Its version.
    pub version: i64,
}

/// Every column, so that no statement is put together for a call.
macro_rules! bodies {
    ($condition:literal) => {
        concat!(
            "SELECT d.id, d.modified, d.version, d.tags, d.name, d.technical_name, d.qri, d.secure_qri, d.type, d.description, d.properties,
  d.owner, d.created_by, d.modified_by, d.schema, a.name, s.name, s.type
  FROM data_set d JOIN asset a ON a.id = d.asset_id JOIN store s ON s.id = a.store_id ",
            $condition
        )
    };
}

fn body(row: &rusqlite::Row<'_>) -> Result<Body> {
    let tags: String = row.get(3)?;
    Ok(Body {
        id: Uuid::from_bytes(row.get(0)?),
        texts: (4..18)
            .map(|column| row.get(column))
            .collect::<std::result::Result<_, _>>()?,
        tags: serde_json::from_str(&tags)?,
        modified: row.get(1)?,
        version: row.get(2)?,
    })
}

/// A set with what it shows of its parents.
pub fn get(connection: &Connection, id: Uuid) -> Result<Body> {
    let mut statement = connection.prepare_cached(bodies!("WHERE d.id = ?1"))?;
    let mut rows = statement.query(params![id.as_bytes()])?;
    body(rows.next()?.ok_or("a set is gone")?)
}

/// The first sets of an asset by name, with what they show of their parents.
pub fn page_of_bodies(connection: &Connection, asset: Uuid, limit: usize) -> Result<Vec<Body>> {
    let mut statement =
        connection.prepare_cached(bodies!("WHERE d.asset_id = ?1 ORDER BY d.name, d.id LIMIT ?2"))?;
    let mut rows = statement.query(params![asset.as_bytes(), limit as i64])?;
    let mut bodies = Vec::new();
    while let Some(row) = rows.next()? {
        bodies.push(body(row)?);
    }
    Ok(bodies)
}

/// Reads a set as JSON, patches it and writes it back, in a durable transaction.
pub fn patch(connection: &Connection, id: Uuid, patch: &json_patch::Patch, now: i64) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let Body {
        id: _,
        texts,
        tags,
        modified: before,
        version,
    } = get(&transaction, id)?;
    let [
        name,
        technical_name,
        qri,
        secure_qri,
        set_type,
        description,
        properties,
        ..,
        schema,
        _,
        _,
        _,
    ] = texts.as_slice()
    else {
        return Err("a set has too few columns".into());
    };
    let parse = |text: &Option<String>| {
        text.as_deref()
            .map(serde_json::from_str::<serde_json::Value>)
            .transpose()
    };
    let mut entity = serde_json::json!({
        "name": name, "technicalName": technical_name, "qri": qri, "secureQri": secure_qri, "type": set_type,
        "description": description, "tags": tags, "properties": parse(properties)?, "schema": parse(schema)?,
    });
    json_patch::patch(&mut entity, patch)?;
    let text = |name: &str| entity[name].as_str();
    let json = |name: &str| {
        Some(&entity[name])
            .filter(|value| !value.is_null())
            .map(ToString::to_string)
    };
    let changed = transaction
        .prepare_cached(
            "UPDATE data_set SET name = ?2, technical_name = ?3, qri = ?4, secure_qri = ?5, type = ?6, description = ?7, tags = ?8,
             properties = ?9, schema = ?10, version = version + 1, modified = ?11, modified_by = ?12 WHERE id = ?1 AND version = ?13",
        )?
        .execute(params![
            id.as_bytes(),
            text("name"),
            text("technicalName"),
            text("qri"),
            text("secureQri"),
            text("type"),
            text("description"),
            json("tags"),
            json("properties"),
            json("schema"),
            now.max(before),
            "ann",
            version,
        ])?;
    if changed != 1 {
        return Err("a set was not patched".into());
    }
    Ok(transaction.commit()?)
}
