//! What this program is told on its command line: a command, and options with a value each.

use std::collections::BTreeMap;

/// A command with its options, each with what stands for its value.
type Command = (&'static str, &'static [(&'static str, &'static str)]);

/// What stands for a number.
const NUMBERS: [&str; 4] = ["N", "SETS", "MB", "CREATES"];

const COMMANDS: [Command; 5] = [
    (
        "table",
        &[
            ("--sets", "N"),
            ("--rounds", "N"),
            ("--rows", "1,2,…"),
            ("--file-mb", "MB"),
            ("--out", "FOLDER"),
        ],
    ),
    (
        "growth",
        &[
            ("--sets", "N"),
            ("--rounds", "N"),
            ("--rows", "1,7,8,12"),
            ("--out", "FOLDER"),
        ],
    ),
    ("readme", &[("--out", "FOLDER"), ("--readme", "FILE")]),
    (
        "group-commit",
        &[("--rounds", "N"), ("--base", "SETS"), ("--file-mb", "MB")],
    ),
    (
        "storm",
        &[("--threads", "N"), ("--each", "CREATES"), ("--base", "SETS")],
    ),
];

/// Commands that take no options, but words in an order.
const OF_WORDS: [(&str, &str); 1] = [("memory", "create|stream FILE SETS")];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// What there is to ask for.
    Help,
    /// A command, with its options.
    Command(&'static str, Options),
    /// Something else, for its command to look at: the words behind it.
    Words(String, Vec<String>),
}

/// Options of a command, each of which it has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<&'static str, String>);

impl Options {
    /// The value of an option, if it was given.
    pub fn text(&self, option: &str) -> Option<&str> {
        self.0.get(option).map(String::as_str)
    }

    /// The number of an option.
    pub fn number(&self, option: &str, default: usize) -> usize {
        self.text(option)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }
}

/// Every command with its options.
pub fn usage() -> String {
    let mut usage = String::from("usage:");
    for (name, options) in COMMANDS {
        usage.push_str(&format!("\n  shelfmark-compare {name}"));
        for (option, value) in options {
            usage.push_str(&format!(" [{option} {value}]"));
        }
    }
    for (name, words) in OF_WORDS {
        usage.push_str(&format!("\n  shelfmark-compare {name} {words}"));
    }
    usage
}

/// Reads the command line; an error says what is wrong with it. `hidden` are commands for this program's own children.
pub fn read(arguments: &[String], hidden: &[&str]) -> Result<Asked, String> {
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        return Ok(Asked::Help);
    }
    let (name, rest) = arguments.split_first().ok_or("wants a command")?;
    let words = OF_WORDS.iter().find(|(known, _)| known == name);
    if let Some((_, kinds)) = words
        && !are_such(rest, kinds)
    {
        return Err(format!("{name} wants {kinds}"));
    }
    if words.is_some() || hidden.contains(&name.as_str()) {
        return Ok(Asked::Words(name.clone(), rest.to_vec()));
    }
    let (name, known) = COMMANDS
        .into_iter()
        .find(|(known, _)| known == name)
        .ok_or_else(|| format!("there is no command {name:?}"))?;
    let mut options = Options::default();
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        let &(option, kind) = known
            .iter()
            .find(|(option, _)| option == argument)
            .ok_or_else(|| format!("{name} has no option {argument:?}"))?;
        let value = rest
            .next()
            .filter(|value| !value.starts_with("--"))
            .ok_or_else(|| format!("{option} wants a value: {kind}"))?;
        if !is_such(value, kind) {
            return Err(format!("{option} wants a number, not {value:?}"));
        }
        if options.0.insert(option, value.clone()).is_some() {
            return Err(format!("{option} is there twice"));
        }
    }
    Ok(Asked::Command(name, options))
}

/// Whether there is a word of each of these kinds.
fn are_such(words: &[String], kinds: &str) -> bool {
    let kinds: Vec<&str> = kinds.split(' ').collect();
    words.len() == kinds.len() && words.iter().zip(kinds).all(|(word, kind)| is_such(word, kind))
}

/// Whether a word is one that `kind` stands for: one of several, a number, or any.
fn is_such(word: &str, kind: &str) -> bool {
    match kind.contains('|') {
        true => kind.split('|').any(|known| known == word),
        false => !NUMBERS.contains(&kind) || word.parse::<usize>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Result<Asked, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        read(&arguments, &["hidden"])
    }

    #[test]
    fn commands_have_their_options() {
        let Ok(Asked::Command("table", options)) = told("table --sets 1000 --rows 1,2") else {
            panic!("a command");
        };
        assert_eq!(
            (options.number("--sets", 5), options.number("--rounds", 5)),
            (1_000, 5)
        );
        assert_eq!(
            (options.text("--rows"), options.text("--out")),
            (Some("1,2"), None)
        );
        let words = |name: &str, words: &[&str]| {
            let words = words.iter().map(|&word| word.to_owned()).collect();
            Ok(Asked::Words(name.to_owned(), words))
        };
        assert_eq!(told("memory create f 9"), words("memory", &["create", "f", "9"]));
        assert_eq!(told("hidden"), words("hidden", &[]));
    }

    #[test]
    fn what_it_does_not_know_it_refuses() {
        for line in ["--help", "-h", "table --help", "table --sets 5 -h"] {
            assert_eq!(told(line), Ok(Asked::Help), "{line}");
        }
        for (line, what) in [
            ("", "wants a command"),
            ("tables", "there is no command \"tables\""),
            ("table help", "table has no option \"help\""),
            ("table --base 5", "table has no option \"--base\""),
            ("table --sets", "--sets wants a value: N"),
            ("table --out --sets 5", "--out wants a value: FOLDER"),
            ("storm --base many", "--base wants a number, not \"many\""),
            ("growth --sets 5 --sets 6", "--sets is there twice"),
            ("memory", "memory wants create|stream FILE SETS"),
            ("memory delete f 9", "memory wants create|stream FILE SETS"),
            ("memory create f nine", "memory wants create|stream FILE SETS"),
        ] {
            assert_eq!(told(line), Err(what.to_owned()), "{line}");
        }
    }

    #[test]
    fn the_usage_has_every_option() {
        let usage = usage();
        for (name, options) in COMMANDS {
            let line = usage
                .lines()
                .find(|line| line.contains(&format!("compare {name} ")));
            let line = line.expect("a line");
            assert!(options.iter().all(|(option, _)| line.contains(option)), "{line}");
        }
    }
}
