//! Lookups and scans.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use shelfmark::backend::{Backend, Direction, KeyRange, Keyspace, Snapshot};

use super::{
    MAX_KEY, MAX_VALUE, Make, Row, all, count, get, must, put_all, rows_of, scan, snapshot, value_of, write,
};

/// An engine may keep the entries of indexes otherwise than entities.
const BOTH: [Keyspace; 2] = [Keyspace::Store, Keyspace::AssetByName];

/// In order: keys that sort otherwise as text, as signed bytes, or when a 0x00 ends them.
const KEYS: &[&[u8]] = &[
    b"",
    b"\x00",
    b"\x00\x00",
    b"\x00\x01",
    b"\x00\xFF",
    b"\x01",
    b"A",
    b"a",
    b"a\x00",
    b"a\x00b",
    b"aB",
    b"ab",
    b"b",
    b"\x7F",
    b"\x7F\xFF",
    b"\x80",
    b"\xC3\xA9",
    b"\xFE\xFF",
    b"\xFF",
    b"\xFF\x00",
    b"\xFF\xFF",
    b"\xFF\xFF\x01",
];

pub(super) fn an_empty_backend_has_no_rows(make: Make<'_>) {
    let backend = make();
    let view = snapshot(&*backend);
    for &space in Keyspace::ALL {
        assert_eq!(
            all(&*view, space),
            [],
            "a new backend has no rows in {}",
            space.name()
        );
        assert_eq!(
            get(&*view, space, b"a"),
            None,
            "a new backend has no value in {}",
            space.name()
        );
        assert_eq!(
            count(&*view, space, &[b"a"]),
            0,
            "a new backend counts nothing in {}",
            space.name()
        );
    }
}

fn with_keys_and_an_empty_value(backend: &dyn Backend, space: Keyspace) -> Box<dyn Snapshot> {
    write(backend, |batch| {
        put_all(batch, space, KEYS);
        batch.put(space, b"empty", Vec::new());
    });
    snapshot(backend)
}

pub(super) fn get_shows_the_value_once(make: Make<'_>) {
    for space in BOTH {
        let backend = make();
        let view = with_keys_and_an_empty_value(&*backend, space);
        for key in KEYS {
            assert_eq!(get(&*view, space, key), Some(value_of(key)), "get of {key:x?}");
        }
        assert_eq!(
            get(&*view, space, b"empty"),
            Some(Vec::new()),
            "get of an empty value"
        );
        for absent in [&b"\x02"[..], b"ab\x00", b"aa", b"\xFF\xFF\xFF", b"\xFF\xFE"] {
            assert_eq!(
                get(&*view, space, absent),
                None,
                "get of the absent key {absent:x?}"
            );
        }
    }
}

pub(super) fn get_many_shows_each_position(make: Make<'_>) {
    for space in BOTH {
        let backend = make();
        let view = with_keys_and_an_empty_value(&*backend, space);
        let many = |keys: &[&[u8]]| {
            let mut shown = Vec::new();
            let done = view.get_many(space, keys, &mut |position, value| {
                shown.push((position, value.to_vec()));
            });
            must(done, "get_many");
            shown.sort();
            shown
        };
        assert_eq!(many(&[]), [], "get_many of no keys");
        assert_eq!(many(&[b"absent", b"\x02"]), [], "get_many of absent keys");
        // Out of order, with absent keys between, and one key asked for twice.
        let asked: &[&[u8]] = &[
            b"\xFF\xFF",
            b"absent",
            b"empty",
            b"\x00",
            b"a",
            b"\xFF\xFF\xFF",
            b"\x00",
            b"",
        ];
        let expected = [
            (0, value_of(b"\xFF\xFF")),
            (2, Vec::new()),
            (3, value_of(b"\x00")),
            (4, value_of(b"a")),
            (6, value_of(b"\x00")),
            (7, value_of(b"")),
        ];
        assert_eq!(
            many(asked),
            expected,
            "get_many shows each key that is there, at its position"
        );
        let everything: Vec<(usize, Vec<u8>)> = KEYS.iter().map(|key| value_of(key)).enumerate().collect();
        assert_eq!(many(KEYS), everything, "get_many of all keys");
    }
}

pub(super) fn scan_is_bytewise_both_ways_over_every_range(make: Make<'_>) {
    for space in BOTH {
        let backend = make();
        let mut shuffled = KEYS.to_vec();
        shuffled.sort_by_key(|key| key.iter().rev().copied().collect::<Vec<u8>>());
        for third in shuffled.chunks(KEYS.len().div_ceil(3)) {
            write(&*backend, |batch| put_all(batch, space, third));
        }
        let view = snapshot(&*backend);
        assert_eq!(
            all(&*view, space),
            rows_of(KEYS),
            "keys are in the order of their unsigned bytes"
        );

        // Ends at keys, between keys, and at the end of the keyspace; starts behind ends among them.
        let between: &[&[u8]] = &[b"\x00\x00\x00", b"\x02", b"aa", b"\x81", b"\xFF\xFF\xFF"];
        let ends: Vec<&[u8]> = KEYS.iter().chain(between).copied().collect();
        for start in &ends {
            for end in ends.iter().map(|end| Some(end.to_vec())).chain([None]) {
                let range = KeyRange::new(start.to_vec(), end);
                let mut expected: Vec<Row> = rows_of(KEYS)
                    .into_iter()
                    .filter(|(key, _)| range.contains(key))
                    .collect();
                let forward = scan(&*view, space, &range, Direction::Forward);
                assert_eq!(forward, expected, "forward scan of {range:x?}");
                expected.reverse();
                let reverse = scan(&*view, space, &range, Direction::Reverse);
                assert_eq!(reverse, expected, "reverse scan of {range:x?}");
            }
        }
    }
}

pub(super) fn scan_of_a_prefix_ends_with_it(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| put_all(batch, Keyspace::SetByName, KEYS));
    let view = snapshot(&*backend);
    for prefix in KEYS {
        let mut expected = rows_of(KEYS);
        expected.retain(|(key, _)| key.starts_with(prefix));
        let range = KeyRange::prefix(prefix);
        let forward = scan(&*view, Keyspace::SetByName, &range, Direction::Forward);
        assert_eq!(forward, expected, "forward scan of the prefix {prefix:x?}");
        expected.reverse();
        let reverse = scan(&*view, Keyspace::SetByName, &range, Direction::Reverse);
        assert_eq!(reverse, expected, "reverse scan of the prefix {prefix:x?}");
    }
}

pub(super) fn scan_stops_when_told(make: Make<'_>) {
    for space in BOTH {
        let backend = make();
        let keys: BTreeMap<Vec<u8>, Vec<u8>> = (0..500u16)
            .map(|number| (number.to_be_bytes().to_vec(), vec![7; 100]))
            .collect();
        write(&*backend, |batch| {
            for (key, value) in &keys {
                batch.put(space, key.clone(), value.clone());
            }
        });
        let view = snapshot(&*backend);
        for direction in [Direction::Forward, Direction::Reverse] {
            for wanted in [1, 2, 3, 64, 100, 128, 255, 499, 500] {
                let mut shown: Vec<Vec<u8>> = Vec::new();
                let done = view.scan(space, &KeyRange::all(), direction, &mut |key, _| {
                    shown.push(key.to_vec());
                    if shown.len() == wanted {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
                must(done, "a scan that breaks");
                let expected: Vec<Vec<u8>> = match direction {
                    Direction::Forward => keys.keys().take(wanted).cloned().collect(),
                    Direction::Reverse => keys.keys().rev().take(wanted).cloned().collect(),
                };
                assert_eq!(
                    shown, expected,
                    "a {direction:?} scan that breaks after {wanted} rows"
                );
            }
        }
    }
}

pub(super) fn scan_past_shows_what_comes_behind_the_skipped(make: Make<'_>) {
    for space in BOTH {
        let backend = make();
        let keys: Vec<[u8; 2]> = (0..1_000u16).map(u16::to_be_bytes).collect();
        let slices: Vec<&[u8]> = keys.iter().map(<[u8; 2]>::as_slice).collect();
        write(&*backend, |batch| put_all(batch, space, &slices));
        let view = snapshot(&*backend);
        let range =
            |from: u16, to: u16| KeyRange::new(from.to_be_bytes().to_vec(), Some(to.to_be_bytes().to_vec()));
        for range in [
            KeyRange::all(),
            range(100, 700),
            range(0, 1),
            range(999, 2_000),
            range(5, 5),
        ] {
            for direction in [Direction::Forward, Direction::Reverse] {
                let expected = scan(&*view, space, &range, direction);
                // Forth and back, since an engine may remember where it has been.
                for skip in [
                    0,
                    1,
                    63,
                    64,
                    65,
                    300,
                    599,
                    600,
                    601,
                    257,
                    999,
                    1_000,
                    1_001,
                    u64::MAX,
                    256,
                    255,
                    513,
                    512,
                    768,
                    900,
                    769,
                ] {
                    let mut shown = Vec::new();
                    let done = view.scan_past(space, &range, direction, skip, &mut |key, value| {
                        shown.push((key.to_vec(), value.to_vec()));
                        ControlFlow::Continue(())
                    });
                    must(done, "scan_past");
                    let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(expected.len());
                    assert_eq!(
                        shown,
                        expected[skipped..],
                        "a {direction:?} scan of {range:x?} past {skip} rows"
                    );
                }
            }
        }
    }
}

pub(super) fn scan_each_shows_of_each_range_what_is_asked_for(make: Make<'_>) {
    for space in BOTH {
        let backend = make();
        // Groups of none to ten rows, twice: those of a commit later are told apart by their values.
        let key = |group: u16, row: u16| [group.to_be_bytes(), row.to_be_bytes()].concat();
        let groups: Vec<u16> = (0..200).collect();
        for round in 0..2_u8 {
            write(&*backend, |batch| {
                for &group in &groups {
                    for row in 0..group % 11 {
                        batch.put(space, key(group, row + u16::from(round)), vec![round]);
                    }
                }
            });
            let view = snapshot(&*backend);
            // Of whole groups, of what is left of them, of some that lie apart, and of few.
            let whole = |&group: &u16| KeyRange::prefix(&group.to_be_bytes());
            let ranges: [Vec<KeyRange>; 4] = [
                groups.iter().map(whole).collect(),
                groups
                    .iter()
                    .map(|&group| KeyRange::new(key(group, 2), Some(key(group, 6))))
                    .collect(),
                groups.iter().step_by(7).map(whole).collect(),
                groups.iter().skip(90).take(5).map(whole).collect(),
            ];
            for turn in 0..4_usize {
                for ranges in &ranges {
                    for direction in [Direction::Forward, Direction::Reverse] {
                        // Of one range after the other so many rows at most.
                        let most = |position: usize| 1 + (position + turn) % 3 * 4;
                        let mut shown: Vec<Vec<(Vec<u8>, Vec<u8>)>> = vec![Vec::new(); ranges.len()];
                        let done = view.scan_each(space, ranges, direction, &mut |position, key, value| {
                            shown[position].push((key.to_vec(), value.to_vec()));
                            if shown[position].len() == most(position) {
                                ControlFlow::Break(())
                            } else {
                                ControlFlow::Continue(())
                            }
                        });
                        must(done, "scan_each");
                        for (position, (range, shown)) in ranges.iter().zip(&shown).enumerate() {
                            let mut expected = scan(&*view, space, range, direction);
                            expected.truncate(most(position));
                            assert_eq!(
                                shown, &expected,
                                "a {direction:?} scan of {range:x?}, turn {turn}"
                            );
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn get_many_finds_keys_near_and_far(make: Make<'_>) {
    for space in BOTH {
        let backend = make();
        // Every third number is there.
        let keys: Vec<[u8; 2]> = (0..3_000u16).step_by(3).map(u16::to_be_bytes).collect();
        let slices: Vec<&[u8]> = keys.iter().map(<[u8; 2]>::as_slice).collect();
        write(&*backend, |batch| put_all(batch, space, &slices));
        let view = snapshot(&*backend);
        let rises = |step: usize| (0..3_100u16).step_by(step);
        let falls = || rises(3).rev();
        let patterns: [Vec<u16>; 9] = [
            rises(1).collect(),
            rises(3).collect(),
            rises(2).collect(),
            rises(31).collect(),
            rises(601).collect(),
            falls().collect(),
            rises(3).flat_map(|number| [number, number]).collect(),
            rises(3)
                .zip(falls())
                .flat_map(|(rise, fall)| [rise, fall])
                .collect(),
            rises(3).take(40).chain(rises(97)).chain(rises(1)).collect(),
        ];
        for (pattern, numbers) in patterns.iter().enumerate() {
            let asked: Vec<[u8; 2]> = numbers.iter().map(|number| number.to_be_bytes()).collect();
            let asked: Vec<&[u8]> = asked.iter().map(<[u8; 2]>::as_slice).collect();
            let mut shown = Vec::new();
            let done = view.get_many(space, &asked, &mut |position, value| {
                shown.push((position, value.to_vec()));
            });
            must(done, "get_many");
            shown.sort();
            let expected: Vec<(usize, Vec<u8>)> = asked
                .iter()
                .enumerate()
                .filter(|(_, key)| slices.binary_search(key).is_ok())
                .map(|(position, key)| (position, value_of(key)))
                .collect();
            assert_eq!(shown, expected, "get_many of pattern {pattern}");
        }
    }
}

pub(super) fn keyspaces_are_apart(make: Make<'_>) {
    let backend = make();
    write(&*backend, |batch| {
        for &space in Keyspace::ALL {
            // The counter keyspace belongs to the backend and its deltas.
            if space != Keyspace::Counter {
                batch.put(space, b"same", space.name());
                batch.put(space, [b"own ", space.name().as_bytes()].concat(), Vec::new());
            }
        }
    });
    let view = snapshot(&*backend);
    for &space in Keyspace::ALL.iter().filter(|space| **space != Keyspace::Counter) {
        let expected = [
            ([b"own ", space.name().as_bytes()].concat(), Vec::new()),
            (b"same".to_vec(), space.name().as_bytes().to_vec()),
        ];
        assert_eq!(
            all(&*view, space),
            expected,
            "{} has its own rows only",
            space.name()
        );
        let found = get(&*view, space, b"same");
        assert_eq!(
            found.as_deref(),
            Some(space.name().as_bytes()),
            "get in {}",
            space.name()
        );
        for &other in Keyspace::ALL.iter().filter(|other| **other != space) {
            let found = get(&*view, space, &[b"own ", other.name().as_bytes()].concat());
            assert_eq!(
                found,
                None,
                "get in {} of a key of {}",
                space.name(),
                other.name()
            );
        }
    }
    drop(view);
    write(&*backend, |batch| {
        batch.delete_range(Keyspace::Asset, KeyRange::all());
    });
    let view = snapshot(&*backend);
    for &space in Keyspace::ALL.iter().filter(|space| **space != Keyspace::Counter) {
        let expected = if space == Keyspace::Asset { 0 } else { 2 };
        let rows = all(&*view, space).len();
        assert_eq!(rows, expected, "rows of {} after asset was cleared", space.name());
    }
}

pub(super) fn large_keys_and_values_are_whole(make: Make<'_>) {
    let backend = make();
    let rows: Vec<Row> = [1, 255, 256, 1023, MAX_KEY]
        .into_iter()
        .zip([0, 4095, 4096, 65_537, MAX_VALUE])
        .enumerate()
        .map(|(number, (key, value))| {
            let mut key = vec![0xFF; key];
            key[0] = number as u8;
            (key, (0..value).map(|at| (at % 251) as u8).collect())
        })
        .collect();
    write(&*backend, |batch| {
        for (key, value) in &rows {
            batch.put(Keyspace::SetSchema, key.clone(), value.clone());
        }
    });
    let view = snapshot(&*backend);
    // No assert_eq: a message of megabytes helps nobody.
    assert!(
        all(&*view, Keyspace::SetSchema) == rows,
        "a scan shows large keys and values as they were put"
    );
    let keys: Vec<&[u8]> = rows.iter().map(|(key, _)| key.as_slice()).collect();
    let mut same = 0;
    let done = view.get_many(Keyspace::SetSchema, &keys, &mut |position, value| {
        same += usize::from(rows[position].1 == value);
    });
    must(done, "get_many of large values");
    assert_eq!(same, rows.len(), "get_many shows large values as they were put");
    for (key, value) in &rows {
        let found = get(&*view, Keyspace::SetSchema, key);
        assert!(
            found.as_ref() == Some(value),
            "get of a value of {} bytes",
            value.len()
        );
    }
    drop(view);
    let (key, _) = &rows[rows.len() - 1];
    write(&*backend, |batch| {
        batch.put(Keyspace::SetSchema, key.clone(), b"small");
    });
    let found = get(&*snapshot(&*backend), Keyspace::SetSchema, key);
    assert!(
        found.as_deref() == Some(b"small"),
        "a small value replaces a large one"
    );
}
