//! Every keyspace, with the layout of its keys and values. Each key that belongs to a tenant begins with the tenant's number,
//! so that nothing of another tenant lies within any range built here.

use crate::backend::{KeyRange, successor};
use crate::ids::EntityKind;
use crate::sortkey::{FOLDED_BYTES, MISSING, Scalar};
use crate::time::Timestamp;
use uuid::Uuid;

/// Declares `Keyspace`, its list and its table names from one table.
macro_rules! keyspaces {
    ($($(#[doc = $doc:literal])+ $space:ident => $name:literal,)+) => {
        /// One ordered map of bytes to bytes. In the layouts, `T` is the tenant's number (u32), `S`, `A`, `D` are ids of a store,
        /// an asset and a set (16 bytes each), `P` the id of a parent, `E` of any entity; integers are big-endian. Every value that is not empty is
        /// an envelope: format byte, xxh3 checksum (32 bits) over keyspace, key and body, body.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Keyspace {
            $($(#[doc = $doc])+ $space,)+
        }

        impl Keyspace {
            /// Every keyspace, in the order of their declaration.
            pub const ALL: &'static [Keyspace] = &[$(Keyspace::$space,)+];

            /// The stable name, also the name of the table in a file.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Keyspace::$space => $name,)+
                }
            }
        }
    };
}

keyspaces! {
    /// name → what the file is: format, Unicode version, options, cursor key, feed id, the next tenant's number
    Meta => "meta",
    /// name of a tenant → its number, u32
    Tenant => "tenant",
    /// T S → record of the store
    Store => "store",
    /// T A → record of the asset, with its store
    Asset => "asset",
    /// T D → head of the set: everything but its schemas, with its asset and store
    Set => "set",
    /// T D → schema and additionalSchemas; no row where the set has neither
    SetSchema => "set_schema",
    /// T name S → what the key does not tell of the name as written
    StoreByName => "store_by_name",
    /// T technicalName S → empty
    StoreByTechnicalName => "store_by_technical_name",
    /// T lastModifiedTime S → empty
    StoreByModified => "store_by_modified",
    /// T S A → empty (creation order)
    AssetByStore => "asset_by_store",
    /// T S name A → what the key does not tell of the name as written
    AssetByName => "asset_by_name",
    /// T S technicalName A → empty
    AssetByTechnicalName => "asset_by_technical_name",
    /// T S lastModifiedTime A → empty
    AssetByModified => "asset_by_modified",
    /// T A D → empty (creation order)
    SetByAsset => "set_by_asset",
    /// T A name D → what the key does not tell of the name as written
    SetByName => "set_by_name",
    /// T A technicalName D → empty
    SetByTechnicalName => "set_by_technical_name",
    /// T A lastModifiedTime D → empty
    SetByModified => "set_by_modified",
    /// T xxh3-128(secureQri) D → empty; each match is verified against its record
    SetBySecureQri => "set_by_secure_qri",
    /// prefix of another keyspace's keys, then that keyspace's position (u8) → how many keys there begin with the prefix, u64
    /// (backends that keep counters)
    Counter => "counter",
    /// T sequence (u64) → one record of what happened (with a change feed)
    Change => "change",
    /// T BLAKE3-128(actor and idempotency key) → actor, key, fingerprint of the request, its answer, when all expire
    Request => "request",
    /// T expiry (48 bits of milliseconds) BLAKE3-128 → empty: the rows of `request` by expiry
    RequestByExpiry => "request_by_expiry",
    /// T time of the deletion (48 bits of milliseconds) E → empty: what was dropped and may be restored, oldest first
    Dropped => "dropped",
    /// T E of the root, E of the root or of what went with it, part (u8) → when, by whom and with how much it was dropped (part 0, of the root), head (part 1),
    /// schemas (part 2)
    DroppedRow => "dropped_row",
}

impl Keyspace {
    /// The position in [`Keyspace::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether its keys begin with a tenant's number.
    pub const fn belongs_to_tenants(self) -> bool {
        !matches!(self, Keyspace::Meta | Keyspace::Tenant)
    }

    /// Whether a repair may rebuild it from the entities.
    pub const fn is_derived(self) -> bool {
        !matches!(
            self,
            Keyspace::Meta
                | Keyspace::Tenant
                | Keyspace::Store
                | Keyspace::Asset
                | Keyspace::Set
                | Keyspace::SetSchema
        ) && !self.remembers()
    }

    /// Whether its rows are entries of an index: derived, many and short, with a value only where a name is not what its key says.
    pub const fn is_index(self) -> bool {
        self.is_derived() && !matches!(self, Keyspace::Counter)
    }

    /// Whether it tells of the past: the change feed, answers to requests, what was dropped. Only these may name an entity that is no more.
    pub const fn remembers(self) -> bool {
        matches!(
            self,
            Keyspace::Change
                | Keyspace::Request
                | Keyspace::RequestByExpiry
                | Keyspace::Dropped
                | Keyspace::DroppedRow
        )
    }
}

/// An order in which the children of one parent are indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum IndexOrder {
    /// By id.
    Creation,
    /// By folded name, then id.
    Name,
    /// By folded technical name, then id.
    TechnicalName,
    /// By last modified time, then id.
    Modified,
}

impl IndexOrder {
    pub(crate) const ALL: [IndexOrder; 4] = [
        IndexOrder::Creation,
        IndexOrder::Name,
        IndexOrder::TechnicalName,
        IndexOrder::Modified,
    ];

    /// The keyspace that holds this order. Stores in creation order are the `store` keyspace itself.
    pub(crate) const fn keyspace(self, kind: EntityKind) -> Keyspace {
        match (kind, self) {
            (EntityKind::Store, IndexOrder::Creation) => Keyspace::Store,
            (EntityKind::Store, IndexOrder::Name) => Keyspace::StoreByName,
            (EntityKind::Store, IndexOrder::TechnicalName) => Keyspace::StoreByTechnicalName,
            (EntityKind::Store, IndexOrder::Modified) => Keyspace::StoreByModified,
            (EntityKind::Asset, IndexOrder::Creation) => Keyspace::AssetByStore,
            (EntityKind::Asset, IndexOrder::Name) => Keyspace::AssetByName,
            (EntityKind::Asset, IndexOrder::TechnicalName) => Keyspace::AssetByTechnicalName,
            (EntityKind::Asset, IndexOrder::Modified) => Keyspace::AssetByModified,
            (EntityKind::Set, IndexOrder::Creation) => Keyspace::SetByAsset,
            (EntityKind::Set, IndexOrder::Name) => Keyspace::SetByName,
            (EntityKind::Set, IndexOrder::TechnicalName) => Keyspace::SetByTechnicalName,
            (EntityKind::Set, IndexOrder::Modified) => Keyspace::SetByModified,
        }
    }
}

/// The keyspace of the entities themselves.
pub(crate) const fn entities(kind: EntityKind) -> Keyspace {
    match kind {
        EntityKind::Store => Keyspace::Store,
        EntityKind::Asset => Keyspace::Asset,
        EntityKind::Set => Keyspace::Set,
    }
}

/// The number that stands for a tenant in every key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantNumber(pub(crate) u32);

/// What the entities of one list hang from: the tenant for stores, a store for assets, an asset for sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Parent {
    pub(crate) tenant: TenantNumber,
    /// `None` for stores.
    pub(crate) id: Option<Uuid>,
}

/// Keys and ranges; nothing else builds one.
pub(crate) mod keys {
    use super::*;

    /// Bytes of an id in a key.
    pub(crate) const ID: usize = 16;
    /// Bytes of a tenant's number in a key.
    pub(crate) const TENANT: usize = 4;
    /// Bytes of a time in a key: milliseconds in 48 bits, as in a version 7 UUID.
    pub(crate) const TIME: usize = 6;
    /// Bytes of a sequence number in a key.
    pub(crate) const SEQUENCE: usize = 8;

    /// The longest key: an index entry whose text is all escapes, and its end.
    pub(crate) const MAX_KEY: usize = TENANT + ID + 2 * FOLDED_BYTES + 1 + ID;

    pub(crate) const META_FORMAT: &[u8] = b"format";
    pub(crate) const META_UNICODE: &[u8] = b"unicode";
    pub(crate) const META_OPTIONS: &[u8] = b"options";
    pub(crate) const META_CURSOR_KEY: &[u8] = b"cursor_key";
    pub(crate) const META_NEXT_TENANT: &[u8] = b"next_tenant";
    pub(crate) const META_FEED_ID: &[u8] = b"feed_id";

    /// T E: the key of an entity in its keyspace.
    pub(crate) fn entity(tenant: TenantNumber, id: Uuid) -> [u8; TENANT + ID] {
        let mut key = [0; TENANT + ID];
        key[..TENANT].copy_from_slice(&tenant.0.to_be_bytes());
        key[TENANT..].copy_from_slice(id.as_bytes());
        key
    }

    /// T or T P: what every index key of this parent's children begins with.
    pub(crate) fn parent(parent: Parent) -> Vec<u8> {
        let mut key = Vec::with_capacity(TENANT + ID + 64);
        append_parent(&mut key, parent);
        key
    }

    fn append_parent(key: &mut Vec<u8>, parent: Parent) {
        key.extend_from_slice(&parent.tenant.0.to_be_bytes());
        if let Some(id) = parent.id {
            key.extend_from_slice(id.as_bytes());
        }
    }

    /// Makes `key` T [P] E.
    pub(crate) fn by_creation(key: &mut Vec<u8>, of: Parent, id: Uuid) {
        key.clear();
        append_parent(key, of);
        key.extend_from_slice(id.as_bytes());
    }

    /// Makes `key` T [P] text E.
    pub(crate) fn by_text(key: &mut Vec<u8>, of: Parent, text: Option<&str>, id: Uuid) {
        key.clear();
        append_parent(key, of);
        Scalar::text(text).append_to(key, false);
        key.extend_from_slice(id.as_bytes());
    }

    /// Makes `key` T [P] time E.
    pub(crate) fn by_time(key: &mut Vec<u8>, of: Parent, time: Timestamp, id: Uuid) {
        key.clear();
        append_parent(key, of);
        key.extend_from_slice(&time_bytes(time));
        key.extend_from_slice(id.as_bytes());
    }

    /// 48 bits of milliseconds; a catalog's own times lie within 1970 and 9999.
    pub(crate) fn time_bytes(time: Timestamp) -> [u8; TIME] {
        let wide = time.millis().max(0).to_be_bytes();
        [wide[2], wide[3], wide[4], wide[5], wide[6], wide[7]]
    }

    /// T hash: what the entries of one `secureQri` begin with.
    pub(crate) fn secure_qri(tenant: TenantNumber, secure_qri: &str) -> [u8; TENANT + ID] {
        entity(
            tenant,
            Uuid::from_u128(xxhash_rust::xxh3::xxh3_128(secure_qri.as_bytes())),
        )
    }

    /// T hash D
    pub(crate) fn by_secure_qri(tenant: TenantNumber, text: &str, id: Uuid) -> [u8; TENANT + 2 * ID] {
        let mut key = [0; TENANT + 2 * ID];
        key[..TENANT + ID].copy_from_slice(&secure_qri(tenant, text));
        key[TENANT + ID..].copy_from_slice(id.as_bytes());
        key
    }

    fn finish(mut key: Vec<u8>, id: Uuid) -> Vec<u8> {
        key.extend_from_slice(id.as_bytes());
        key
    }

    /// T sequence
    pub(crate) fn change(tenant: TenantNumber, sequence: u64) -> [u8; TENANT + SEQUENCE] {
        let mut key = [0; TENANT + SEQUENCE];
        key[..TENANT].copy_from_slice(&tenant.0.to_be_bytes());
        key[TENANT..].copy_from_slice(&sequence.to_be_bytes());
        key
    }

    /// T hash: what an actor asked with an idempotency key. A hash that nobody can make collide: another's key never stands in the way.
    pub(crate) fn request(tenant: TenantNumber, actor: &str, idempotency_key: &str) -> [u8; TENANT + ID] {
        let mut hasher = blake3::Hasher::new();
        // The actor's length keeps the two apart.
        hasher.update(&(actor.len() as u64).to_be_bytes());
        hasher.update(actor.as_bytes());
        hasher.update(idempotency_key.as_bytes());
        let mut key = [0; TENANT + ID];
        key[..TENANT].copy_from_slice(&tenant.0.to_be_bytes());
        key[TENANT..].copy_from_slice(&hasher.finalize().as_bytes()[..ID]);
        key
    }

    /// T expiry hash, of the row of `request` with this key.
    pub(crate) fn request_by_expiry(request: &[u8; TENANT + ID], expiry: Timestamp) -> Vec<u8> {
        let (tenant, hash) = request.split_at(TENANT);
        [tenant, &time_bytes(expiry), hash].concat()
    }

    /// The key in `request` that an entry of `request_by_expiry` stands for; `None` where it has a wrong form.
    pub(crate) fn request_of(by_expiry: &[u8]) -> Option<[u8; TENANT + ID]> {
        let (tenant, rest) = by_expiry.split_at_checked(TENANT)?;
        let (_, hash) = rest.split_at_checked(TIME)?;
        [tenant, hash].concat().try_into().ok()
    }

    /// T time: what the keys of everything dropped at this moment begin with.
    pub(crate) fn dropped_at(tenant: TenantNumber, time: Timestamp) -> [u8; TENANT + TIME] {
        let mut key = [0; TENANT + TIME];
        key[..TENANT].copy_from_slice(&tenant.0.to_be_bytes());
        key[TENANT..].copy_from_slice(&time_bytes(time));
        key
    }

    /// T time E
    pub(crate) fn dropped(tenant: TenantNumber, time: Timestamp, id: Uuid) -> Vec<u8> {
        finish(dropped_at(tenant, time).to_vec(), id)
    }

    /// The time and the id in the key of something dropped.
    pub(crate) fn of_dropped(key: &[u8]) -> Option<(Timestamp, Uuid)> {
        let (time, id) = key.get(TENANT..)?.split_first_chunk::<TIME>()?;
        let mut wide = [0; 8];
        wide[8 - TIME..].copy_from_slice(time);
        let time = Timestamp::from_millis_lossy(i64::from_be_bytes(wide));
        Some((time, Uuid::from_slice(id).ok()?))
    }

    /// T root E part
    pub(crate) fn dropped_row(tenant: TenantNumber, root: Uuid, id: Uuid, part: u8) -> Vec<u8> {
        let mut key = finish(entity(tenant, root).to_vec(), id);
        key.push(part);
        key
    }

    /// The root, the id and the part in the key of a dropped row.
    pub(crate) fn of_dropped_row(key: &[u8]) -> Option<(Uuid, Uuid, u8)> {
        let (root, rest) = key.get(TENANT..)?.split_first_chunk::<ID>()?;
        match rest.split_first_chunk::<ID>()? {
            (id, &[part]) => Some((Uuid::from_bytes(*root), Uuid::from_bytes(*id), part)),
            _ => None,
        }
    }

    /// The sequence number in the key of a change.
    pub(crate) fn sequence_of(key: &[u8]) -> Option<u64> {
        let bytes = key.get(TENANT..)?;
        bytes.try_into().map(u64::from_be_bytes).ok()
    }

    /// The id that an entity's key or an index key ends with; `None` where the key is too short for one.
    pub(crate) fn id_at_end(key: &[u8]) -> Option<Uuid> {
        let start = key.len().checked_sub(ID).filter(|&start| start >= TENANT)?;
        Uuid::from_slice(&key[start..]).ok()
    }

    /// The tenant's number that a key begins with.
    pub(crate) fn tenant_of(key: &[u8]) -> Option<TenantNumber> {
        key.first_chunk::<TENANT>()
            .map(|bytes| TenantNumber(u32::from_be_bytes(*bytes)))
    }

    /// The parent's id in the key of an index entry of assets or sets.
    pub(crate) fn parent_of(key: &[u8]) -> Option<Uuid> {
        key.get(TENANT..TENANT + ID)
            .and_then(|bytes| Uuid::from_slice(bytes).ok())
    }

    /// The counter of the keys in `space` that begin with `prefix`.
    pub(crate) fn counter(space: Keyspace, prefix: &[u8]) -> Vec<u8> {
        let mut key = Vec::with_capacity(prefix.len() + 1);
        key.extend_from_slice(prefix);
        key.push(space.index() as u8);
        key
    }
}

/// Ranges, each through a named constructor.
pub(crate) mod bounds {
    use super::*;

    /// Everything of one tenant in any keyspace that belongs to tenants.
    pub(crate) fn tenant(tenant: TenantNumber) -> KeyRange {
        KeyRange::prefix(&tenant.0.to_be_bytes())
    }

    /// The rows of entities from `first` to `last`, both included.
    pub(crate) fn entities_between(tenant: TenantNumber, first: Uuid, last: Uuid) -> KeyRange {
        let end = KeyRange::prefix(&keys::entity(tenant, last)).end;
        KeyRange::new(keys::entity(tenant, first).to_vec(), end)
    }

    /// The index entries of one parent's children, in any order's keyspace.
    pub(crate) fn children(parent: Parent) -> KeyRange {
        // Of thousands of parents the copies would tell.
        let start = keys::parent(parent);
        let end = successor(&start);
        KeyRange::new(start, end)
    }

    /// The children of one parent whose folded text begins with `prefix`. One without a text does not, even where the prefix is empty.
    pub(crate) fn children_by_text_prefix(parent: Parent, prefix: &[u8]) -> KeyRange {
        let mut key = keys::parent(parent);
        if prefix.is_empty() {
            // Every text begins with nothing; a missing one does not.
            let mut missing = key.clone();
            missing.push(MISSING);
            return KeyRange::new(key, Some(missing));
        }
        key.extend_from_slice(prefix);
        KeyRange::prefix(&key)
    }

    /// The children of one parent modified at `since` or later.
    pub(crate) fn children_modified_since(parent: Parent, since: Timestamp) -> KeyRange {
        let prefix = keys::parent(parent);
        let mut start = prefix.clone();
        start.extend_from_slice(&keys::time_bytes(since));
        KeyRange::new(start, KeyRange::prefix(&prefix).end)
    }

    /// The changes from this sequence number on, up to but without `end`.
    pub(crate) fn changes(tenant: TenantNumber, start: u64, end: u64) -> KeyRange {
        KeyRange::new(
            keys::change(tenant, start).to_vec(),
            Some(keys::change(tenant, end).to_vec()),
        )
    }

    /// The entries of what expired at `now` or before.
    pub(crate) fn requests_expired(of: TenantNumber, now: Timestamp) -> KeyRange {
        let KeyRange { start, .. } = tenant(of);
        let after = Timestamp::from_millis_lossy(now.millis().saturating_add(1));
        let end = [&start[..], &keys::time_bytes(after)].concat();
        KeyRange::new(start, Some(end))
    }

    /// What was dropped at `time` or before.
    pub(crate) fn dropped_until(tenant: TenantNumber, time: Timestamp) -> KeyRange {
        let start = self::tenant(tenant).start;
        let end = KeyRange::prefix(&keys::dropped_at(tenant, time)).end;
        // Nothing is dropped before 1970.
        let end = if time.millis() < 0 {
            Some(start.clone())
        } else {
            end
        };
        KeyRange::new(start, end)
    }

    /// What was dropped after `time`; before `position`, where there is one.
    pub(crate) fn dropped_after(
        tenant: TenantNumber,
        time: Timestamp,
        position: Option<(Timestamp, Uuid)>,
    ) -> KeyRange {
        let start = dropped_until(tenant, time).end.unwrap_or_default();
        let KeyRange { end, .. } = self::tenant(tenant);
        let end = position.map_or(end, |(time, id)| Some(keys::dropped(tenant, time, id)));
        KeyRange::new(start, end)
    }

    /// Every row of what was dropped with a root.
    pub(crate) fn dropped_rows(tenant: TenantNumber, root: Uuid) -> KeyRange {
        KeyRange::prefix(&keys::entity(tenant, root))
    }

    /// The entries of one `secureQri`.
    pub(crate) fn secure_qri(tenant: TenantNumber, secure_qri: &str) -> KeyRange {
        KeyRange::prefix(&keys::secure_qri(tenant, secure_qri))
    }
}
