//! Names of tenants, and tenants that are dropped and made again.

use super::*;

#[test]
fn names_that_begin_or_end_alike_are_different_tenants() {
    let long = "x".repeat(255);
    let names = [
        "a",
        "ab",
        "abc",
        "a\0",
        "a\0b",
        "\0",
        "\0\0",
        "A",
        "a ",
        "ä",
        "a\u{308}",
        &long[..254],
        &long,
    ];
    for bed in Bed::all() {
        let catalog = bed.catalog();
        for name in names {
            let store = NewDataStore {
                description: Some(name.to_owned()),
                ..new_store("store")
            };
            session(&catalog, name).create(store).unwrap();
        }
        let sorted: BTreeSet<&str> = names.into_iter().collect();
        assert!(catalog.tenants().unwrap().iter().map(String::as_str).eq(sorted));
        for name in names {
            let stores = session(&catalog, name).list(&Query::<DataStore>::new()).unwrap();
            let described: Vec<_> = stores
                .items
                .iter()
                .map(|store| store.description.as_deref())
                .collect();
            assert_eq!(described, [Some(name)], "{}", bed.name);
            assert_eq!(stores.items[0].tenant_id, name);
        }
        for (gone, name) in names.into_iter().enumerate() {
            assert!(catalog.drop_tenant(name).unwrap());
            assert_eq!(catalog.tenants().unwrap().len(), names.len() - gone - 1);
            for left in &names[gone + 1..] {
                assert_eq!(session(&catalog, left).count::<DataStore>(AllStores).unwrap(), 1);
            }
        }
        assert_clean(&catalog, bed.name);
        for refused in ["", &"x".repeat(256), &"ä".repeat(128)] {
            assert_eq!(
                catalog.session(refused, "ann").unwrap_err().kind(),
                ErrorKind::Invalid
            );
            assert_eq!(
                catalog.session("acme", refused).unwrap_err().kind(),
                ErrorKind::Invalid
            );
            let snapshot = catalog.snapshot().unwrap();
            assert_eq!(snapshot.tenant(refused).unwrap_err().kind(), ErrorKind::Invalid);
            assert!(!catalog.drop_tenant(refused).unwrap());
        }
    }
}

#[test]
fn a_dropped_tenant_leaves_no_row_and_comes_back_empty() {
    for bed in Bed::all() {
        let catalog = keeping(&bed.backend);
        let other = Other::new(&catalog);
        let doomed = session(&catalog, "doomed");
        let before = dump(&*bed.backend);
        let of_doomed = family(&doomed);
        dropped_family(&doomed);
        doomed
            .create_all((0..40).map(|n| shelfmark::NewDataSet {
                schema: Some(schema()),
                ..new_set(of_doomed.asset, &format!("set {n}"))
            }))
            .unwrap();
        let held = doomed.snapshot().unwrap();
        let number = rows(&*bed.backend, Keyspace::Tenant)[&b"doomed"[..]].clone();
        let number = &number[number.len() - 4..];
        assert!(catalog.drop_tenant("doomed").unwrap());
        for (space, rows) in dump(&*bed.backend) {
            for (key, value) in rows {
                if space.belongs_to_tenants() {
                    assert!(!key.starts_with(number), "{}: {}", bed.name, space.name());
                }
                for id in [
                    of_doomed.store.uuid(),
                    of_doomed.asset.uuid(),
                    of_doomed.set.uuid(),
                ] {
                    let holds = |bytes: &[u8]| bytes.windows(16).any(|window| window == id.as_bytes());
                    assert!(!holds(&key) && !holds(&value), "{}: {}", bed.name, space.name());
                }
                assert_ne!(key, b"doomed");
            }
        }
        // All else is as before it came, but for the number that the next tenant gets.
        let mut after = dump(&*bed.backend);
        let mut before = before.clone();
        for rows in [&mut after, &mut before] {
            rows.get_mut(&Keyspace::Meta).unwrap().remove(&b"next_tenant"[..]);
        }
        assert!(after == before, "{}", bed.name);
        // What was held shows what was.
        assert_eq!(held.count::<DataSet>(of_doomed.asset).unwrap(), 41);
        drop(held);

        assert_eq!(doomed.count::<DataStore>(AllStores).unwrap(), 0);
        assert!(!catalog.drop_tenant("doomed").unwrap());
        let again = doomed.create(new_store("again")).unwrap();
        assert_eq!(doomed.list(&Query::<DataStore>::new()).unwrap().items, [again]);
        assert_eq!(doomed.count::<DataSet>(SetSelection::All).unwrap(), 0);
        assert_eq!(doomed.get(of_doomed.set).unwrap(), None);
        let gone: EntityId = of_doomed.asset.into();
        assert_eq!(
            doomed
                .delete(of_doomed.asset, Expectation::Any)
                .unwrap_err()
                .missing(),
            [gone]
        );
        assert!(session(&catalog, "other").exists(other.family.set).unwrap());
        assert_clean(&catalog, bed.name);
    }
}

type Hook = Box<dyn FnOnce() + Send>;

/// Calls a hook between a commit and the return of the call that made it.
struct Hooked {
    inner: Arc<dyn Backend>,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl Backend for Hooked {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.inner.snapshot()
    }

    fn commit(
        &self,
        options: CommitOptions,
        plan: &mut dyn FnMut(&dyn Snapshot) -> Result<WriteBatch>,
    ) -> Result<()> {
        self.inner.commit(options, plan)?;
        let hook = self.hook.lock().expect("a lock").take();
        if let Some(hook) = hook {
            hook();
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn reopen(&self) -> Result<()> {
        self.inner.reopen()
    }

    fn stats(&self) -> Result<BackendStats> {
        self.inner.stats()
    }

    fn maintain(&self, what: Maintenance) -> Result<MaintenanceReport> {
        self.inner.maintain(what)
    }
}

#[test]
fn a_tenant_made_again_while_its_drop_returns_sees_its_own_writes() {
    for bed in Bed::all() {
        let hook = Arc::new(Mutex::new(None));
        let backend: Arc<dyn Backend> = Arc::new(Hooked {
            inner: bed.backend.clone(),
            hook: hook.clone(),
        });
        let catalog = catalog_on(&backend);
        let session = session(&catalog, "acme");
        let old = family(&session);
        assert!(session.exists(old.store).unwrap());
        let of_hook = session.clone();
        let on_drop: Hook = Box::new(move || {
            // Another thread: this one is inside of a write.
            let other = std::thread::spawn(move || {
                let again = of_hook.create(new_store("again")).expect("a store");
                of_hook.get(again.id).expect("a read") == Some(again)
            });
            assert!(
                other.join().expect("a thread"),
                "a write that its own thread does not see"
            );
        });
        *hook.lock().unwrap() = Some(on_drop);
        assert!(catalog.drop_tenant("acme").unwrap());
        assert!(hook.lock().unwrap().is_none());
        assert_eq!(session.count::<DataStore>(AllStores).unwrap(), 1);
        assert!(!session.exists(old.store).unwrap());
        assert_clean(&catalog, bed.name);
    }
}
