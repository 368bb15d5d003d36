//! native_db: typed records with secondary keys over redb, every commit durable.

use std::path::Path;
use std::sync::LazyLock;

use native_db::{Builder, Database, Models, ToKey, native_db};
use native_model::{Model, native_model};
use serde::{Deserialize, Serialize};
use shelfmark::NewDataSet;
use uuid::Uuid;

use crate::{CACHE_BYTES, Result};

/// A set as a user would declare it, with the catalog's indexes as secondary keys.
#[derive(Serialize, Deserialize)]
#[native_model(id = 1, version = 1)]
#[native_db(
    primary_key(by_id -> Vec<u8>),
    secondary_key(by_asset -> Vec<u8>),
    secondary_key(by_name -> Vec<u8>),
    secondary_key(by_technical_name -> Vec<u8>),
    secondary_key(by_modified -> Vec<u8>),
    secondary_key(by_secure_qri -> String)
)]
pub struct StoredSet {
    id: [u8; 16],
    asset: [u8; 16],
    name: Option<String>,
    technical_name: String,
    qri: String,
    secure_qri: String,
    set_type: Option<String>,
    description: Option<String>,
    tags: Vec<String>,
    owner: String,
    created_by: String,
    modified_by: String,
    modified: i64,
    version: u64,
}

impl StoredSet {
    /// As it is created.
    pub fn new(id: Uuid, modified: i64, new: &NewDataSet) -> Result<Self> {
        Ok(Self {
            id: id.into_bytes(),
            asset: new.asset.ok_or("a set needs an asset")?.uuid().into_bytes(),
            name: new.name.clone(),
            technical_name: new.technical_name.clone(),
            qri: new.qri.clone(),
            secure_qri: new.secure_qri.clone(),
            set_type: new.set_type.clone(),
            description: new.description.clone(),
            tags: new.tags.clone(),
            owner: "ann".to_owned(),
            created_by: "ann".to_owned(),
            modified_by: "ann".to_owned(),
            modified,
            version: 0,
        })
    }

    /// Its asset's id.
    pub fn asset(&self) -> &[u8] {
        &self.asset
    }

    fn under_asset(&self, middle: &[u8]) -> Vec<u8> {
        [&self.asset, middle, &self.id].concat()
    }

    /// Its id.
    pub fn by_id(&self) -> Vec<u8> {
        self.id.to_vec()
    }

    fn by_asset(&self) -> Vec<u8> {
        self.under_asset(&[])
    }

    fn by_name(&self) -> Vec<u8> {
        self.under_asset(self.name.as_deref().unwrap_or_default().to_lowercase().as_bytes())
    }

    fn by_technical_name(&self) -> Vec<u8> {
        self.under_asset(self.technical_name.to_lowercase().as_bytes())
    }

    fn by_modified(&self) -> Vec<u8> {
        self.under_asset(&self.modified.to_be_bytes())
    }

    fn by_secure_qri(&self) -> String {
        self.secure_qri.clone()
    }
}

static MODELS: LazyLock<std::result::Result<Models, String>> = LazyLock::new(|| {
    let mut models = Models::new();
    models.define::<StoredSet>().map_err(|error| error.to_string())?;
    Ok(models)
});

/// A file of native_db.
pub struct Native {
    database: Database<'static>,
}

impl Native {
    /// A new file.
    pub fn create(path: &Path) -> Result<Self> {
        let models = MODELS.as_ref().map_err(Clone::clone)?;
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        Ok(Self {
            database: builder.create(models, path)?,
        })
    }

    /// Creates these sets in one durable transaction.
    pub fn create_sets<'s>(&self, sets: impl IntoIterator<Item = (Uuid, i64, &'s NewDataSet)>) -> Result<()> {
        let transaction = self.database.rw_transaction()?;
        for (id, modified, new) in sets {
            let stored = StoredSet::new(id, modified, new)?;
            transaction.insert(stored)?;
        }
        Ok(transaction.commit()?)
    }

    /// How many sets there are.
    pub fn sets(&self) -> Result<u64> {
        Ok(self.database.r_transaction()?.len().primary::<StoredSet>()?)
    }
}
