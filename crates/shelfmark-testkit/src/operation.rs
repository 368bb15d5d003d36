//! What a test does to a catalog, as data. Nothing here runs anything: the oracle predicts, the executor does.

use serde_json::Value;
use shelfmark::{EntityKind, JsonObject, NewDataAsset, NewDataSet, NewDataStore, Schema};
use uuid::Uuid;

/// One of the two tenants of every sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tenant {
    /// The one that most happens to.
    One,
    /// The other one.
    Two,
}

impl Tenant {
    /// Both.
    pub const ALL: [Tenant; 2] = [Tenant::One, Tenant::Two];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Tenant::One => "acme",
            Tenant::Two => "Überseehandel",
        }
    }

    /// The tenant that this one is not.
    pub fn other(self) -> Self {
        match self {
            Tenant::One => Tenant::Two,
            Tenant::Two => Tenant::One,
        }
    }
}

/// Whom a write is ascribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// One.
    Ann,
    /// Another one.
    Bob,
}

impl Actor {
    /// The actor's name.
    pub fn name(self) -> &'static str {
        match self {
            Actor::Ann => "ann",
            Actor::Bob => "bob",
        }
    }
}

/// An entity, named by its place among what has been created. Numbers count back from the newest, modulo.
///
/// The oracle resolves every reference to `Exact` before anything runs, with an id of its own that each system maps to the real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ref {
    /// One of the tenant that is there.
    Live(u8),
    /// One of the tenant that is there no more.
    Gone(u8),
    /// One of the tenant that was dropped and is kept, expired or not.
    Dropped(u8),
    /// One of the other tenant.
    Foreign(u8),
    /// One of the tenant that is there, of another kind.
    OtherKind(u8),
    /// One that never was.
    Unknown(u8),
    /// One that the same batch creates; outside of a batch one that never was.
    Local(u8),
    /// The oracle's own id.
    Exact(Uuid),
}

/// The version that a write expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The one that the entity has.
    Right,
    /// The one before, or after where there is none before.
    Stale,
    /// The one after.
    Ahead,
    /// Any.
    Any,
    /// This one: what the oracle resolves the others to.
    Exactly(u64),
}

/// An existing entity, to be changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Which.
    pub id: Ref,
    /// At which version.
    pub expect: Expect,
}

/// The settable fields of an entity, without its parent.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Of a store.
    Store(Box<NewDataStore>),
    /// Of an asset.
    Asset(Box<NewDataAsset>),
    /// Of a set.
    Set(Box<NewDataSet>),
}

/// The settable fields of an entity, and its parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The parent, where the input names one.
    pub parent: Option<Ref>,
    /// The rest.
    pub input: Input,
}

/// What an update closure does.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Nothing.
    Nothing,
    /// Sets or clears the name.
    Name(Option<String>),
    /// Sets the technical name.
    TechnicalName(String),
    /// Sets the tags.
    Tags(Vec<String>),
    /// Sets or clears the description.
    Description(Option<String>),
    /// Sets the owner; `None` keeps the one there is.
    Owner(Option<String>),
    /// Sets or clears the properties.
    Properties(Option<JsonObject>),
    /// Names a parent, or none.
    Parent(Option<Ref>),
    /// Sets or clears the schema, and repeats it as the additional ones; on sets.
    Schema(Option<Schema>, u8),
    /// Sets the `secureQri`; on sets.
    SecureQri(String),
}

/// A value in a JSON Patch.
#[derive(Debug, Clone, PartialEq)]
pub enum PatchValue {
    /// This one.
    Json(Value),
    /// The entity's version: what the oracle resolves it to is `Json`.
    Version,
    /// The id of an entity of this kind.
    Id(EntityKind, Ref),
}

/// One operation of a JSON Patch.
#[derive(Debug, Clone, PartialEq)]
pub enum PatchStep {
    /// `add`
    Add(String, PatchValue),
    /// `remove`
    Remove(String),
    /// `replace`
    Replace(String, PatchValue),
    /// `move`, from the first to the second
    Move(String, String),
    /// `copy`, from the first to the second
    Copy(String, String),
    /// `test`
    Test(String, PatchValue),
}

/// Which parents a call is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// All of the tenant.
    All,
    /// Those in these stores.
    InStores(Vec<Ref>),
    /// Those in these assets; of sets.
    InAssets(Vec<Ref>),
    /// Those in these assets within these stores; of sets.
    Within(Vec<Ref>, Vec<Ref>),
}

/// The conditions of a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FilterSpec {
    /// The name begins so.
    pub name_prefix: Option<String>,
    /// `type` or `appType`.
    pub type_name: Option<String>,
    /// One of the tags.
    pub tag: Option<String>,
    /// The owner.
    pub owner: Option<String>,
    /// The space.
    pub space: Option<String>,
    /// Modified at or after this many milliseconds after the start of the clock.
    pub since: Option<i64>,
}

/// A list.
#[derive(Debug, Clone, PartialEq)]
pub struct QuerySpec {
    /// What to list.
    pub kind: EntityKind,
    /// Of which parents.
    pub selection: Selection,
    /// Under which conditions.
    pub filter: FilterSpec,
    /// In which order.
    pub sort: String,
    /// How many on a page.
    pub limit: usize,
    /// Which page.
    pub page: u64,
    /// Whether schemas come along.
    pub schemas: bool,
    /// Whether the total is wanted.
    pub total: bool,
}

/// What a list gives of each entity.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// All of it.
    Entities,
    /// All of it, as JSON text.
    Json,
    /// Id and name.
    Names,
    /// These fields.
    Projected(Vec<String>),
}

/// How a cursor is misused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misuse {
    /// With another order.
    OtherSort,
    /// With another filter.
    OtherFilter,
    /// With another selection.
    OtherSelection,
    /// In the other tenant.
    OtherTenant,
    /// For another kind.
    OtherKind,
    /// With a bit flipped.
    Altered,
}

/// Something that changes nothing.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is the call of that name")]
pub enum ReadOp {
    Get(EntityKind, Ref),
    GetHead(EntityKind, Ref),
    GetMany(EntityKind, Vec<Ref>),
    Exists(EntityKind, Ref),
    Count(EntityKind, Selection),
    List(QuerySpec, Form),
    /// Follows `next` from the first page to the end, and `prev` back to the first.
    Walk(QuerySpec),
    /// Takes the cursor of a list to where it does not belong.
    MisuseCursor(QuerySpec, Misuse),
    FindByName(EntityKind, Selection, String),
    FindByTechnicalName(EntityKind, Selection, String),
    FindBySecureQri(String),
    WouldDelete(EntityKind, Vec<Target>),
    WouldDeleteSelected(EntityKind, Selection),
    Dropped(EntityKind, Ref),
    /// Every page of this limit.
    ListDropped(Option<EntityKind>, usize),
}

/// One operation of a declarative batch.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is the operation of that name")]
pub enum BatchStep {
    Create(Draft),
    Replace(Target, Draft),
    Patch(EntityKind, Target, Vec<PatchStep>),
    Delete(EntityKind, Target),
}

impl BatchStep {
    /// The oracle's placeholder of what the operation at this position of a batch creates.
    pub fn placeholder(position: usize) -> Uuid {
        Uuid::from_u128(0xBA7C << 112 | position as u128)
    }

    /// Whether an id is such a placeholder.
    pub fn is_placeholder(id: Uuid) -> bool {
        id.as_u128() >> 112 == 0xBA7C
    }
}

/// An idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnceKey {
    /// Which of a few.
    pub key: u8,
    /// Whether the last request of this form with this key is sent again, in place of the one given.
    pub again: bool,
}

impl OnceKey {
    /// The key's text.
    pub fn text(self) -> String {
        format!("key {}", self.key)
    }
}

/// Something that changes one tenant in one transaction, also inside of one.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each is the call of that name")]
pub enum WriteOp {
    Create(Draft),
    /// All of one kind.
    CreateAll(Vec<Draft>),
    Replace(Target, Draft),
    /// All of one kind.
    ReplaceAll(Vec<(Target, Draft)>),
    Update(EntityKind, Target, Edit),
    UpdateAll(EntityKind, Vec<Target>, Edit),
    Patch(EntityKind, Target, Vec<PatchStep>),
    PatchAll(EntityKind, Vec<(Target, Vec<PatchStep>)>),
    Delete(EntityKind, Target),
    DeleteAll(EntityKind, Vec<Target>),
    DeleteSelected(EntityKind, Selection),
    Batch(Vec<BatchStep>),
    CreateOnce(OnceKey, Draft),
    BatchOnce(OnceKey, Vec<BatchStep>),
    Restore(EntityKind, Ref),
    Purge(EntityKind, Ref),
}

/// What happens inside of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Through the transaction; where it fails the transaction goes on.
    Write(WriteOp),
    /// Through the transaction: sees its writes.
    Read(ReadOp),
    /// Through a session: sees none of them.
    ReadOutside(ReadOp),
    /// A write through a session, which is refused.
    Reenter,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a commit, whatever failed inside.
    Commit,
    /// With the first error inside, if there is one.
    FirstError,
    /// With an error of its own.
    Refuse,
}

/// One thing that a test does to a catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// One write through a session.
    Write(Tenant, Actor, WriteOp),
    /// Creation in chunks of this many, all of one kind.
    CreateBatched(Tenant, Actor, Vec<Draft>, usize),
    /// Several in one transaction.
    Transact(Tenant, Actor, Vec<Step>, End),
    /// One read through a session.
    Read(Tenant, ReadOp),
    /// A list as an iterator.
    Stream(Tenant, QuerySpec),
    /// Takes a snapshot, in place of the one held before.
    Hold,
    /// One read of the held snapshot, if there is one.
    ReadHeld(Tenant, ReadOp),
    /// A stream of the held snapshot, if there is one.
    StreamHeld(Tenant, QuerySpec),
    /// Drops the held snapshot.
    Release,
    /// Lists a page and keeps its cursors, in place of those kept before.
    KeepCursors(Tenant, QuerySpec),
    /// Follows a kept cursor, `next` or `prev`, and keeps those of the page it leads to.
    FollowCursor {
        /// Backwards.
        back: bool,
    },
    /// The names of all tenants.
    Tenants,
    /// Drops a tenant.
    DropTenant(Tenant),
    /// Reads the change feed from where it was read to the last time, in pages of so many.
    FollowChanges(Tenant, usize),
    /// Removes what has outlived its retention.
    Sweep,
    /// Moves the clock by milliseconds.
    Clock(i64),
    /// Makes deferred commits durable.
    Sync,
    /// Closes the catalog and opens it again.
    Reopen,
    /// Checks the catalog.
    Check,
}

impl Input {
    /// The kind of entity.
    pub fn kind(&self) -> EntityKind {
        match self {
            Input::Store(_) => EntityKind::Store,
            Input::Asset(_) => EntityKind::Asset,
            Input::Set(_) => EntityKind::Set,
        }
    }
}

impl Draft {
    /// The kind of entity.
    pub fn kind(&self) -> EntityKind {
        self.input.kind()
    }
}

/// Declares a name for each variant of an enum, and the list of all names.
macro_rules! names {
    ($type:ident: $($pattern:pat => $name:literal,)+) => {
        impl $type {
            /// The name of each variant.
            pub const NAMES: &'static [&'static str] = &[$($name,)+];

            /// The name of this variant.
            pub fn name(&self) -> &'static str {
                match self {
                    $($pattern => $name,)+
                }
            }
        }
    };
}

names! { ReadOp:
    ReadOp::Get(..) => "get",
    ReadOp::GetHead(..) => "get_head",
    ReadOp::GetMany(..) => "get_many",
    ReadOp::Exists(..) => "exists",
    ReadOp::Count(..) => "count",
    ReadOp::List(_, Form::Entities) => "list",
    ReadOp::List(_, Form::Json) => "list_json",
    ReadOp::List(_, Form::Names) => "list_names",
    ReadOp::List(_, Form::Projected(_)) => "list_projected",
    ReadOp::Walk(..) => "walk",
    ReadOp::MisuseCursor(..) => "misuse_cursor",
    ReadOp::FindByName(..) => "find_by_name",
    ReadOp::FindByTechnicalName(..) => "find_by_technical_name",
    ReadOp::FindBySecureQri(..) => "find_by_secure_qri",
    ReadOp::WouldDelete(..) => "would_delete",
    ReadOp::WouldDeleteSelected(..) => "would_delete_selected",
    ReadOp::Dropped(..) => "dropped",
    ReadOp::ListDropped(..) => "list_dropped",
}

names! { WriteOp:
    WriteOp::Create(..) => "create",
    WriteOp::CreateAll(..) => "create_all",
    WriteOp::Replace(..) => "replace",
    WriteOp::ReplaceAll(..) => "replace_all",
    WriteOp::Update(..) => "update",
    WriteOp::UpdateAll(..) => "update_all",
    WriteOp::Patch(..) => "patch",
    WriteOp::PatchAll(..) => "patch_all",
    WriteOp::Delete(..) => "delete",
    WriteOp::DeleteAll(..) => "delete_all",
    WriteOp::DeleteSelected(..) => "delete_selected",
    WriteOp::Batch(..) => "batch",
    WriteOp::CreateOnce(OnceKey { again: false, .. }, _) => "create_once",
    WriteOp::CreateOnce(OnceKey { again: true, .. }, _) => "create_once again",
    WriteOp::BatchOnce(OnceKey { again: false, .. }, _) => "batch_once",
    WriteOp::BatchOnce(OnceKey { again: true, .. }, _) => "batch_once again",
    WriteOp::Restore(..) => "restore",
    WriteOp::Purge(..) => "purge",
}

names! { Step:
    Step::Write(_) => "write in a transaction",
    Step::Read(_) => "read in a transaction",
    Step::ReadOutside(_) => "read beside a transaction",
    Step::Reenter => "reenter",
}

names! { Operation:
    Operation::Write(..) => "write",
    Operation::CreateBatched(..) => "create_batched",
    Operation::Transact(_, _, _, End::Commit) => "transact",
    Operation::Transact(_, _, _, End::FirstError) => "transact to the first error",
    Operation::Transact(_, _, _, End::Refuse) => "transact in vain",
    Operation::Read(..) => "read",
    Operation::Stream(..) => "stream",
    Operation::Hold => "hold",
    Operation::ReadHeld(..) => "read_held",
    Operation::StreamHeld(..) => "stream_held",
    Operation::Release => "release",
    Operation::KeepCursors(..) => "keep_cursors",
    Operation::FollowCursor { back: false } => "follow next",
    Operation::FollowCursor { back: true } => "follow prev",
    Operation::Tenants => "tenants",
    Operation::DropTenant(_) => "drop_tenant",
    Operation::FollowChanges(..) => "follow_changes",
    Operation::Sweep => "sweep",
    Operation::Clock(_) => "clock",
    Operation::Sync => "sync",
    Operation::Reopen => "reopen",
    Operation::Check => "check",
}

impl QuerySpec {
    /// Where a cursor of this query does not belong: another query, and whether it is the other tenant's. It is always a valid one.
    pub fn misused(&self, misuse: Misuse) -> (QuerySpec, bool) {
        let mut other = QuerySpec {
            page: 0,
            ..self.clone()
        };
        match misuse {
            Misuse::Altered => {}
            Misuse::OtherSort => {
                // More than one order is the order of creation.
                other.sort = match self.sort.trim_start_matches('+') {
                    "" | "id" | "createdTime" => "-name".to_owned(),
                    _ => String::new(),
                };
            }
            Misuse::OtherKind => {
                other.kind = match self.kind {
                    EntityKind::Store => EntityKind::Asset,
                    EntityKind::Asset => EntityKind::Set,
                    EntityKind::Set => EntityKind::Store,
                };
                other.selection = Selection::All;
                other.sort = String::new();
            }
            Misuse::OtherTenant if self.selection == Selection::All => return (other, true),
            Misuse::OtherSelection if self.kind != EntityKind::Store => {
                other.selection = match self.selection {
                    Selection::All => Selection::InStores(Vec::new()),
                    _ => Selection::All,
                };
            }
            Misuse::OtherFilter | Misuse::OtherTenant | Misuse::OtherSelection => {
                other.filter.tag = match self.filter.tag {
                    None => Some("gold".to_owned()),
                    Some(_) => None,
                };
            }
        }
        (other, false)
    }
}
