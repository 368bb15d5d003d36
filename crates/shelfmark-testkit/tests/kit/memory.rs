use shelfmark::backend::{Backend, CommitOptions, Keyspace, WriteBatch};
use shelfmark_testkit::MemoryBackend;

#[test]
fn a_clone_shares_the_rows() {
    let first = MemoryBackend::new();
    let second = first.clone();
    first
        .commit(CommitOptions::default(), &mut |_| {
            let mut batch = WriteBatch::new();
            batch.put(Keyspace::Set, b"a", b"1");
            Ok(batch)
        })
        .unwrap();
    drop(first);
    assert!(
        second
            .snapshot()
            .unwrap()
            .get(Keyspace::Set, b"a", &mut |_| {})
            .unwrap()
    );
    assert!(second.limits().exclusive);
    assert!(!MemoryBackend::shared().limits().exclusive);
}

#[test]
fn every_third_plan_is_asked_for_twice() {
    let backend = MemoryBackend::new().retry_plans(3);
    let mut calls = Vec::new();
    for commit in 0..6u8 {
        let mut asked = 0;
        backend
            .commit(CommitOptions::default(), &mut |_| {
                asked += 1;
                let mut batch = WriteBatch::new();
                batch.put(Keyspace::Set, vec![commit, asked], Vec::new());
                Ok(batch)
            })
            .unwrap();
        calls.push(asked);
    }
    assert_eq!(calls, [1, 1, 2, 1, 1, 2]);
    let view = backend.snapshot().unwrap();
    assert!(!view.get(Keyspace::Set, &[2, 1], &mut |_| {}).unwrap());
    assert!(view.get(Keyspace::Set, &[2, 2], &mut |_| {}).unwrap());
}
