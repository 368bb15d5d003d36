//! The embedded catalog skade-katalog, driven by the comparison beside it: reads a request a line, does it, and answers how long it took.
//!
//! The catalog is as its builder makes it, every commit durable (`WriteDurability::Immediate`, its default), its tables in a local warehouse.

mod protocol;

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use iceberg::io::LocalFsStorageFactory;
use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use iceberg::{Catalog as _, CatalogBuilder as _, NamespaceIdent, TableCreation, TableIdent};
use protocol::{Answer, FieldKind, Request, Table};
use skade_katalog::{RedbCatalog, RedbCatalogBuilder, WriteDurability};
use tokio::runtime::{Builder, Runtime};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Threads of the runtime that has one for each task.
const MANY: usize = 64;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or("wants a folder")?;
    let peer = Peer::new(&folder)?;
    let mut answers = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = peer.answer(serde_json::from_str(&line?)?)?;
        serde_json::to_writer(&mut answers, &answer)?;
        writeln!(answers)?;
        answers.flush()?;
    }
    Ok(())
}

/// The catalog, and what its calls run on.
struct Peer {
    catalog: RedbCatalog,
    /// As tokio makes it: a thread for each processor.
    by_default: Runtime,
    thread_each: Runtime,
}

impl Peer {
    fn new(folder: &str) -> Result<Self> {
        let by_default = Builder::new_multi_thread().enable_all().build()?;
        let thread_each = Builder::new_multi_thread()
            .worker_threads(MANY)
            .enable_all()
            .build()?;
        let catalog = by_default.block_on(
            RedbCatalogBuilder::default()
                .db_path(format!("{folder}/catalog.redb"))
                .warehouse_location(format!("file://{folder}/warehouse"))
                .durability(WriteDurability::Immediate)
                .with_storage_factory(Arc::new(LocalFsStorageFactory))
                .load("compare", HashMap::new()),
        )?;
        Ok(Self {
            catalog,
            by_default,
            thread_each,
        })
    }

    fn answer(&self, request: Request) -> Result<Answer> {
        match request {
            Request::Create {
                namespace,
                tasks,
                thread_each,
                tables,
            } => {
                let runtime = if thread_each {
                    &self.thread_each
                } else {
                    &self.by_default
                };
                runtime.block_on(self.create(NamespaceIdent::new(namespace), tasks, tables))
            }
            Request::List { namespace, times } => self
                .by_default
                .block_on(self.list(&NamespaceIdent::new(namespace), times)),
            Request::Load { namespace, names } => {
                self.by_default.block_on(self.load(&idents(namespace, names)))
            }
            Request::Exists { namespace, names } => {
                self.by_default.block_on(self.exist(&idents(namespace, names)))
            }
        }
    }

    async fn create(&self, namespace: NamespaceIdent, tasks: usize, tables: Vec<Table>) -> Result<Answer> {
        if !self.catalog.namespace_exists(&namespace).await? {
            self.catalog.create_namespace(&namespace, HashMap::new()).await?;
        }
        let count = tables.len();
        let mut shares: Vec<Vec<TableCreation>> = (0..tasks).map(|_| Vec::new()).collect();
        for (turn, table) in tables.into_iter().enumerate() {
            shares[turn % tasks].push(creation(table)?);
        }
        let begin = Instant::now();
        let running: Vec<_> = shares
            .into_iter()
            .map(|share| {
                let (catalog, namespace) = (self.catalog.clone(), namespace.clone());
                tokio::spawn(async move {
                    for creation in share {
                        catalog.create_table(&namespace, creation).await?;
                    }
                    iceberg::Result::Ok(())
                })
            })
            .collect();
        for task in running {
            task.await??;
        }
        Ok(Answer {
            seconds: begin.elapsed().as_secs_f64(),
            count,
            names: Vec::new(),
        })
    }

    async fn list(&self, namespace: &NamespaceIdent, times: usize) -> Result<Answer> {
        let mut last = Vec::new();
        let begin = Instant::now();
        for _ in 0..times {
            last = self.catalog.list_tables(namespace).await?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        Ok(Answer {
            seconds,
            count: last.len(),
            names: last.iter().map(|table| table.name().to_owned()).collect(),
        })
    }

    async fn load(&self, idents: &[TableIdent]) -> Result<Answer> {
        let mut count = 0;
        let begin = Instant::now();
        for ident in idents {
            let table = self.catalog.load_table(ident).await?;
            let fields = table.metadata().current_schema().as_struct().fields().len();
            count += usize::from(table.identifier() == ident && fields > 0);
        }
        Ok(Answer {
            seconds: begin.elapsed().as_secs_f64(),
            count,
            names: Vec::new(),
        })
    }

    async fn exist(&self, idents: &[TableIdent]) -> Result<Answer> {
        let mut count = 0;
        let begin = Instant::now();
        for ident in idents {
            count += usize::from(self.catalog.table_exists(ident).await?);
        }
        Ok(Answer {
            seconds: begin.elapsed().as_secs_f64(),
            count,
            names: Vec::new(),
        })
    }
}

fn idents(namespace: String, names: Vec<String>) -> Vec<TableIdent> {
    let namespace = NamespaceIdent::new(namespace);
    names
        .into_iter()
        .map(|name| TableIdent::new(namespace.clone(), name))
        .collect()
}

fn creation(table: Table) -> Result<TableCreation> {
    let field = |(at, (name, kind)): (usize, (String, FieldKind))| {
        let kind = match kind {
            FieldKind::Long => PrimitiveType::Long,
            FieldKind::String => PrimitiveType::String,
            FieldKind::Date => PrimitiveType::Date,
            FieldKind::Double => PrimitiveType::Double,
        };
        NestedField::optional(at as i32 + 1, name, Type::Primitive(kind)).into()
    };
    let schema = Schema::builder()
        .with_fields(table.fields.into_iter().enumerate().map(field))
        .build()?;
    Ok(TableCreation::builder()
        .name(table.name)
        .schema(schema)
        .properties(table.properties)
        .build())
}
