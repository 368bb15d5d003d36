//! Texts made to fit what the catalog admits.

/// The most characters of a technical name, and of the name of a store, an asset or a set.
pub(crate) const NAME_CHARS: usize = 255;
/// The most characters of the name of a field.
pub(crate) const FIELD_NAME_CHARS: usize = 1024;
/// The most characters of the description of an asset or a set.
pub(crate) const DESCRIPTION_CHARS: usize = 1024;

/// The most characters of one part of a qri: three of them and what comes before stay below 1,024.
const QRI_PART_CHARS: usize = 330;

/// As the catalog sees it: nothing but white space.
pub(crate) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// The first `max` characters of a longer text; `None` for one that fits.
pub(crate) fn cut(text: &str, max: usize) -> Option<&str> {
    let (end, _) = text.char_indices().nth(max)?;
    text.get(..end)
}

/// The first 238 characters of a text that is too long, `~` and 16 hexadecimal digits made of the whole of it, so that texts that differ late
/// get technical names that differ; `None` for one that fits.
pub(crate) fn cut_technical_name(text: &str) -> Option<String> {
    cut(text, NAME_CHARS)?;
    let head = cut(text, NAME_CHARS - 17)?;
    Some(format!("{head}~{:016x}", fnv1a(text.as_bytes())))
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// `dataset:frictionless:<source>:<package>:<resource>`, each part with `%` and `:` percent-encoded.
pub(crate) fn qri(source: &str, package: &str, resource: &str) -> String {
    let mut qri = String::from("dataset:frictionless");
    for part in [source, package, resource] {
        qri.push(':');
        let mut left = QRI_PART_CHARS;
        for character in part.chars() {
            let encoded = match character {
                '%' => "%25",
                ':' => "%3A",
                _ => {
                    if left == 0 {
                        break;
                    }
                    left -= 1;
                    qri.push(character);
                    continue;
                }
            };
            if left < encoded.len() {
                break;
            }
            left -= encoded.len();
            qri.push_str(encoded);
        }
    }
    qri
}

/// A path or URL without the extension of its file name. Its directories stay: they tell apart files of one name, and publishers have
/// slashes in names of files too.
pub(crate) fn without_extension(path: &str) -> &str {
    let directories = match path.split_once("://") {
        // A host is no file name.
        Some((scheme, rest)) => match rest.rfind('/') {
            Some(slash) => scheme.len() + 3 + slash + 1,
            None => return path,
        },
        None => path.rfind('/').map_or(0, |slash| slash + 1),
    };
    match path.rsplit_once('.') {
        Some((stem, extension))
            if stem.len() > directories
                && (1..=7).contains(&extension.len())
                && extension.bytes().all(|byte| byte.is_ascii_alphanumeric()) =>
        {
            stem
        }
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_fall_between_characters() {
        assert_eq!(cut("äöü", 3), None);
        assert_eq!(cut("äöü", 2), Some("äö"));
        assert_eq!(cut("", 0), None);
    }

    #[test]
    fn long_technical_names_differ_where_their_texts_do() {
        assert_eq!(cut_technical_name(&"é".repeat(255)), None);
        let (one, other) = ("é".repeat(300), format!("{}e", "é".repeat(299)));
        let (one, other) = (
            cut_technical_name(&one).unwrap(),
            cut_technical_name(&other).unwrap(),
        );
        assert_eq!((one.chars().count(), other.chars().count()), (255, 255));
        assert_ne!(one, other);
    }

    #[test]
    fn a_qri_has_five_parts_and_at_most_1024_characters() {
        assert_eq!(qri("a:b", "100%", "c"), "dataset:frictionless:a%3Ab:100%25:c");
        for part in [
            ":".repeat(255),
            "%".repeat(255),
            "é".repeat(255),
            "x".repeat(5000),
        ] {
            let qri = qri(&part, &part, &part);
            assert!(qri.chars().count() <= 1024);
            assert_eq!(qri.split(':').count(), 5);
            assert!(qri.split(':').all(|part| !part.is_empty()));
        }
    }

    #[test]
    fn extensions_go_and_directories_stay() {
        let paths = [
            ("data/a b.csv", "data/a b"),
            (
                "https://example.org/x/gdp.2020.csv",
                "https://example.org/x/gdp.2020",
            ),
            ("https://example.org", "https://example.org"),
            ("https://example.org/", "https://example.org/"),
            ("GDP in the U.S. (2010)", "GDP in the U.S. (2010)"),
            (".csv", ".csv"),
            ("a.b/c", "a.b/c"),
            ("a.b/.csv", "a.b/.csv"),
        ];
        for (path, stem) in paths {
            assert_eq!(without_extension(path), stem);
        }
    }
}
