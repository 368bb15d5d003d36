//! Row 22: the other embedded catalog. A data set is a table of Iceberg there: the same name, the same fields, the rest as properties.

use std::cell::{Cell, RefCell};

use shelfmark::{
    AssetId, Catalog, DataSet, FieldType, NewDataSet, Options, Query, Read as _, Session, SetId, Write as _,
};

use super::reads::positions;
use super::{Measured, Settings, repeat};
use crate::measure::{Times, Turn, by_turns, storm, timed};
use crate::peers::skade::{Answer, FieldKind, Request, Skade, Table};
use crate::report::{Line, Target};
use crate::{CACHE_BYTES, Result, scratch};
use shelfmark_benches::data;

/// How many names a list gives.
const LISTED: u64 = 8_400;
const FIELDS: usize = 4;
const LISTS: usize = 20;
/// Few enough that a turn is short against the time that others take the processor for.
const LOADS: usize = 5_000;
/// Loaded again and again, where skade-katalog keeps what it gives ready made.
const HOT: usize = 50;

/// Tasks, and creates of each task in a round.
const SIZES: [(usize, usize); 2] = [(1, 200), (64, 25)];

fn new_set(asset: AssetId, n: u64) -> NewDataSet {
    let new = data::set(asset, n, FIELDS);
    NewDataSet {
        name: Some(new.technical_name.clone()),
        ..new
    }
}

/// The same set as a table.
fn table(new: &NewDataSet) -> Table {
    let kind = |kind: Option<FieldType>| match kind {
        Some(FieldType::Integer) => FieldKind::Long,
        Some(FieldType::Date) => FieldKind::Date,
        Some(FieldType::Double) => FieldKind::Double,
        _ => FieldKind::String,
    };
    let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let fields = new.schema.iter().flat_map(|schema| &schema.data_fields);
    Table {
        name: new.technical_name.clone(),
        properties: vec![
            property("qri", &new.qri),
            property("secureQri", &new.secure_qri),
            property("type", new.set_type.as_deref().unwrap_or_default()),
            property("description", new.description.as_deref().unwrap_or_default()),
            property("tags", &new.tags.join(",")),
            property("ownerId", "ann"),
        ],
        fields: fields
            .map(|field| (field.name.clone(), kind(field.data_type.field_type)))
            .collect(),
    }
}

/// Both, with the same sets in an asset, or namespace, to read from, and another one to create in.
struct Both {
    catalog: Catalog,
    session: Session,
    listed: AssetId,
    created: AssetId,
    sets: Vec<SetId>,
    names: Vec<String>,
    skade: RefCell<Skade>,
    next: Cell<u64>,
}

impl Both {
    fn new(path: &impl Fn(&str) -> std::path::PathBuf, sets: u64) -> Result<Self> {
        let catalog = Options::new().cache_bytes(CACHE_BYTES).create(path("catalog"))?;
        let session = catalog.session("acme", "ann")?;
        let store = session.create(data::store(0))?.id;
        let [listed, created] = [0, 1].map(|n| session.create(data::asset(store, n)));
        let (listed, created) = (listed?.id, created?.id);
        let new: Vec<_> = (0..sets).map(|n| new_set(listed, n)).collect();
        let names = new.iter().map(|new| new.technical_name.clone()).collect();
        let tables: Vec<Table> = new.iter().map(table).collect();
        let sets = session.create_all(new)?;
        let mut skade = Skade::start(&path("skade"))?;
        for (namespace, tables) in [("listed", tables), ("created", Vec::new())] {
            skade.ask(&Request::Create {
                namespace: namespace.to_owned(),
                tasks: 64,
                thread_each: true,
                tables,
            })?;
        }
        Ok(Self {
            catalog,
            session,
            listed,
            created,
            sets,
            names,
            skade: RefCell::new(skade),
            next: Cell::new(1 << 32),
        })
    }

    fn ask(&self, request: &Request) -> Result<Answer> {
        self.skade.borrow_mut().ask(request)
    }

    /// Numbers of sets that nobody has created.
    fn numbers(&self, count: u64) -> std::ops::Range<u64> {
        let first = self.next.get();
        self.next.set(first + count);
        first..first + count
    }

    /// Durable creates of both by turns: of skade-katalog as tokio is by default, and with a thread for each task.
    fn creates(&self, rounds: usize, (tasks, each): (usize, usize)) -> Result<Times> {
        let count = tasks * each;
        let peer = |thread_each: bool| -> Result<f64> {
            let tables = self
                .numbers(count as u64)
                .map(|n| table(&new_set(self.created, n)));
            let answer = self.ask(&Request::Create {
                namespace: "created".to_owned(),
                tasks,
                thread_each,
                tables: tables.collect(),
            })?;
            Ok(answer.seconds)
        };
        let (session, created) = (&self.session, self.created);
        let mut turns: Vec<Turn<'_>> = vec![
            (
                "shelfmark",
                Box::new(move || {
                    let storm = storm(
                        tasks,
                        each,
                        self.numbers(count as u64).start,
                        || Ok(()),
                        |(), n| {
                            let set = session.create(new_set(created, n))?;
                            if set.version == 0 {
                                Ok(())
                            } else {
                                Err("a created set is not as it should be".into())
                            }
                        },
                    )?;
                    Ok(storm.elapsed.as_secs_f64())
                }),
            ),
            ("skade-katalog", Box::new(|| peer(false))),
        ];
        if tasks > 1 {
            turns.push(("skade-katalog, a thread a task", Box::new(|| peer(true))));
        }
        by_turns(rounds, turns)
    }

    /// Reads through `own`, which does all `count` of them, and `request`, by turns.
    fn reads(
        &self,
        rounds: usize,
        count: usize,
        own: impl Fn() -> Result<f64>,
        request: &Request,
    ) -> Result<Times> {
        let peer = || -> Result<f64> {
            let answer = self.ask(request)?;
            if answer.count == count {
                Ok(answer.seconds)
            } else {
                Err(format!("skade-katalog found {} of {count}", answer.count).into())
            }
        };
        // What is measured is warm.
        own()?;
        peer()?;
        by_turns(
            rounds,
            vec![("shelfmark", Box::new(&own)), ("skade-katalog", Box::new(peer))],
        )
    }

    /// The names below an asset in their order, which is that of skade-katalog too.
    fn own_names(&self, asset: AssetId) -> Result<Vec<String>> {
        let names = self.session.list_names(&by_name(asset))?.items;
        Ok(names.into_iter().filter_map(|set| set.name).collect())
    }

    fn peer_names(&self, namespace: &str) -> Result<Vec<String>> {
        let request = Request::List {
            namespace: namespace.to_owned(),
            times: 1,
        };
        Ok(self.ask(&request)?.names)
    }
}

fn by_name(asset: AssetId) -> Query<DataSet> {
    Query::of(asset).sort("name").limit(1 << 20).without_total()
}

pub fn run(settings: &Settings, measured: &mut Measured) -> Result<()> {
    let (_directory, path) = scratch()?;
    let sets = settings.sets.min(LISTED);
    let both = Both::new(&path, sets)?;
    let (session, rounds) = (&both.session, settings.rounds);
    if both.own_names(both.listed)? != both.peer_names("listed")? {
        return Err("the names of the two differ".into());
    }
    let mut line = |name: String, times: &Times, other: &str, target, count: usize| {
        measured.lines.push(Line {
            row: "22",
            name,
            figure: times.speed("shelfmark", other),
            target,
            medians: times.medians(|seconds| format!("{:.0}/s", count as f64 / seconds)),
        });
    };

    let mut created = 0;
    for (size, target) in SIZES.into_iter().zip([2.0, 10.0]) {
        let (tasks, count) = (size.0, size.0 * size.1);
        let times = both.creates(rounds, size)?;
        created += count * rounds;
        let faster = ["skade-katalog, a thread a task", "skade-katalog"]
            .into_iter()
            .min_by(|one, other| times.median(one).total_cmp(&times.median(other)))
            .unwrap_or_default();
        line(
            format!("single durable creates from {tasks} task(s), against {faster}"),
            &times,
            faster,
            Target::AtLeast(target),
            count,
        );
    }
    let of_both = (
        session.count::<DataSet>(both.created)? as usize,
        both.peer_names("created")?.len(),
    );
    // From many tasks skade-katalog had two turns.
    if of_both != (created, created + SIZES[1].0 * SIZES[1].1 * rounds) {
        return Err(format!("{created} were created, and there are {of_both:?}").into());
    }

    let listed = || "listed".to_owned();
    let query = by_name(both.listed);
    let times = both.reads(
        rounds,
        sets as usize,
        || {
            repeat(LISTS, || {
                if session.list_names(&query)?.items.len() as u64 == sets {
                    Ok(())
                } else {
                    Err("a short list".into())
                }
            })
        },
        &Request::List {
            namespace: listed(),
            times: LISTS,
        },
    )?;
    line(
        format!("list of {sets} names, against skade-katalog"),
        &times,
        "skade-katalog",
        Target::AtLeast(3.0),
        LISTS,
    );

    // Once all of them, so that both have read each.
    let load = |at: &[usize]| -> Result<f64> {
        Ok(timed(|| {
            at.iter().try_for_each(|&at| {
                let set = session.get(both.sets[at])?.ok_or("a set is gone")?;
                let fields = set.schema.map_or(0, |schema| schema.data_fields.len());
                if set.id == both.sets[at] && fields == FIELDS {
                    Ok(())
                } else {
                    Err("another set, or without its schema".into())
                }
            })
        })?
        .0)
    };
    let names = |at: &[usize]| at.iter().map(|&at| both.names[at].clone()).collect();
    let all: Vec<usize> = (0..sets as usize).collect();
    load(&all)?;
    both.ask(&Request::Load {
        namespace: listed(),
        names: names(&all),
    })?;
    for (among, what, target) in [
        (sets as usize, "any", Target::AtLeast(3.0)),
        (HOT, "one of 50", Target::Shown),
    ] {
        let at: Vec<usize> = positions(among, LOADS).collect();
        let request = Request::Load {
            namespace: listed(),
            names: names(&at),
        };
        let times = both.reads(rounds, LOADS, || load(&at), &request)?;
        line(
            format!("warm load of {what} of {sets}, with its schema, against skade-katalog"),
            &times,
            "skade-katalog",
            target,
            LOADS,
        );
    }

    let at: Vec<usize> = positions(sets as usize, LOADS).collect();
    let request = Request::Exists {
        namespace: listed(),
        names: names(&at),
    };
    let exist = || {
        Ok(timed(|| {
            at.iter().try_for_each(|&at| {
                if session.exists(both.sets[at])? {
                    Ok(())
                } else {
                    Err("a set is gone".into())
                }
            })
        })?
        .0)
    };
    let times = both.reads(rounds, LOADS, exist, &request)?;
    line(
        "exists, against skade-katalog, which asks a mirror in memory".to_owned(),
        &times,
        "skade-katalog",
        Target::Shown,
        LOADS,
    );
    if both.catalog.check()?.is_clean() {
        Ok(())
    } else {
        Err("the catalog is damaged".into())
    }
}
