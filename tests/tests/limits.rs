//! Keeps the tables of docs/limits.md honest: every constant in them exists with its value, every constant of the sources
//! that could be a bound is in them, and every test that they name exists.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests may fail like tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates that make up the product.
const CRATES: [&str; 5] = [
    "core",
    "system",
    "runtime-blocking",
    "runtime-mio",
    "runtime-async",
];

/// Types that a bound can have.
const TYPES: [&str; 9] = [
    "usize", "u8", "u16", "u32", "u64", "u128", "i32", "Duration", "Budget",
];

/// Numbers that bound nothing: they are part of a format, of arithmetic, or of an interface of the system.
const NO_BOUNDS: [&str; 19] = [
    "AROUND",
    "BLOCK_LEN",
    "CONTEXT",
    "DAYS_PER_ERA",
    "DAYS_TO_1970",
    "ESCAPE_LEN",
    "GENERATOR",
    "HEADER_LEN",
    "IFA_F_DADFAILED",
    "IFA_F_PERMANENT",
    "LAST",
    "NOT_RUNNING",
    "PREFIX_MIN",
    "PRIME",
    "RTF_GATEWAY",
    "RTF_REJECT",
    "SALT_LEN",
    "UNUSABLE",
    "UP",
];

/// A constant by its file and its name.
type Place = (String, String);

#[test]
fn every_bound_in_the_table_is_that_of_the_source() {
    let constants = constants();
    for row in rows() {
        let Some(place) = row.constant else { continue };
        let Some(source) = constants.get(&place) else {
            panic!("{place:?} is in the table and not in the source")
        };
        let of_source = evaluate(source, &place.0, &constants);
        assert_eq!(
            amounts(&row.value),
            of_source,
            "{place:?}: {} in the table, {source} in the source",
            row.value
        );
    }
}

#[test]
fn every_bound_of_the_source_is_in_the_table() {
    let listed: BTreeSet<Place> = rows().into_iter().filter_map(|row| row.constant).collect();
    let missing: Vec<Place> = constants()
        .into_keys()
        .filter(|place| !listed.contains(place) && !NO_BOUNDS.contains(&place.1.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in docs/limits.md: {missing:#?}");
}

#[test]
fn every_bound_has_a_test_that_exists() {
    let mut tests = BTreeSet::new();
    for directory in CRATES.into_iter().chain(["tests"]) {
        for path in rust_files(&repository().join(directory)) {
            // In a group of tests for several stores they have no attribute of their own.
            let text = fs::read_to_string(&path).unwrap();
            for line in text
                .split("#[test]")
                .skip(1)
                .filter_map(|rest| rest.split_once("fn "))
            {
                let name = line.1.split(['(', '<']).next().unwrap_or_default();
                tests.insert(String::from(name));
            }
        }
    }
    for row in rows() {
        assert!(!row.tests.is_empty(), "no test: {}", row.line);
        for name in &row.tests {
            assert!(tests.contains(name), "no such test: {name}\n{}", row.line);
        }
    }
}

#[test]
fn a_wrong_value_would_be_noticed() {
    let constants = constants();
    let evaluate = |text: &str| evaluate(text, "core/src/wire/mod.rs", &constants);
    assert_eq!(evaluate("16 * 4_096"), [65_536]);
    assert_eq!(evaluate("(2 + PAYLOAD_MAX) * 2"), [8196]);
    assert_eq!(evaluate("Duration::from_secs(5 * 60)"), [300_000]);
    assert_eq!(
        evaluate("Budget { apply: Duration::from_secs(26), roll_back: Duration::from_millis(20) }"),
        [26_000, 20]
    );
    assert_eq!(amounts("64 KiB"), [65_536]);
    assert_eq!(amounts("26 s, 250 ms"), [26_000, 250]);
    assert_eq!(amounts("5 min"), [300_000]);
    assert_eq!(amounts("10,000 names"), [10_000]);
}

/// A row of a table.
struct Row {
    /// What the first cell links to; rows of bounds that follow from others have no constant.
    constant: Option<Place>,
    value: String,
    /// The names in the last cell.
    tests: Vec<String>,
    line: String,
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(repository().join("docs/limits.md")).unwrap();
    let tables = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| bound "));
    let rows: Vec<Row> = tables.map(row).collect();
    assert!(
        rows.iter().filter(|row| row.constant.is_some()).count() > 100,
        "the tables are not found"
    );
    rows
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [bound, value, .., tests] = cells.as_slice() else {
        panic!("not a row: {line}")
    };
    let constant = bound.strip_prefix("[`").map(|link| {
        let (name, path) = link
            .split_once("`](../")
            .unwrap_or_else(|| panic!("not a link: {line}"));
        (String::from(path.trim_end_matches(')')), String::from(name))
    });
    // The names stand between backquotes.
    let tests = tests
        .split('`')
        .skip(1)
        .step_by(2)
        .map(String::from)
        .collect();
    Row {
        constant,
        value: String::from(*value),
        tests,
        line: line.into(),
    }
}

/// What a cell says: `4 KiB`, `30 s`, `26 s, 20 s`, `10,000 names`; times in milliseconds.
fn amounts(cell: &str) -> Vec<u64> {
    cell.split(", ")
        .map(|amount| {
            let (number, unit) = amount.split_once(' ').unwrap_or((amount, ""));
            let number: u64 = number
                .replace(',', "")
                .parse()
                .unwrap_or_else(|_| panic!("not a value: {cell}"));
            number
                * match unit {
                    "KiB" => 1024,
                    "MiB" => 1024 * 1024,
                    "s" => 1000,
                    "min" => 60_000,
                    "h" => 3_600_000,
                    _ => 1,
                }
        })
        .collect()
}

/// All constants outside of tests that have one of [`TYPES`], and the text of their values.
fn constants() -> BTreeMap<Place, String> {
    let mut constants = BTreeMap::new();
    for path in CRATES
        .iter()
        .flat_map(|name| rust_files(&repository().join(name).join("src")))
    {
        let file = path
            .strip_prefix(repository())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if file.ends_with("/tests.rs") || file.contains("/tests/") || file.ends_with("/vectors.rs")
        {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("\nmod tests {").next().unwrap();
        for item in text.split("const ").skip(1) {
            let Some((name, rest)) = item.split_once(": ") else {
                continue;
            };
            let Some((kind, rest)) = rest.split_once(" =") else {
                continue;
            };
            let Some((value, _)) = rest.split_once(';') else {
                continue;
            };
            if TYPES.contains(&kind)
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || b"_0123456789".contains(&byte))
            {
                let known = constants.insert((file.clone(), name.into()), value.trim().into());
                assert_eq!(known, None, "{file} has two constants of the name {name}");
            }
        }
    }
    constants
}

/// The numbers in an expression, times in milliseconds. Names are those of constants of the same file, or of the only ones
/// of that name.
fn evaluate(text: &str, file: &str, constants: &BTreeMap<Place, String>) -> Vec<u64> {
    let mut times = Vec::new();
    for (unit, factor) in [("from_secs(", 1000), ("from_millis(", 1)] {
        for (at, _) in text.match_indices(unit) {
            let inside = &text[at + unit.len()..];
            times.push((
                at,
                factor
                    * Sum {
                        text: inside,
                        file,
                        constants,
                    }
                    .sum(),
            ));
        }
    }
    if times.is_empty() {
        return vec![
            Sum {
                text,
                file,
                constants,
            }
            .sum(),
        ];
    }
    times.sort_unstable();
    times.into_iter().map(|(_, time)| time).collect()
}

/// Reads sums, products and parentheses.
struct Sum<'a> {
    text: &'a str,
    file: &'a str,
    constants: &'a BTreeMap<Place, String>,
}

impl Sum<'_> {
    fn sum(&mut self) -> u64 {
        let mut sum = self.product();
        loop {
            if self.take('+') {
                sum += self.product();
            } else if self.take('-') {
                sum -= self.product();
            } else {
                return sum;
            }
        }
    }

    fn product(&mut self) -> u64 {
        let mut product = self.factor();
        while self.take('*') {
            product *= self.factor();
        }
        product
    }

    fn factor(&mut self) -> u64 {
        if self.take('(') {
            let sum = self.sum();
            assert!(self.take(')'), "{}", self.text);
            return sum;
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
        let end = self.text.find(|c| !is_word(c)).unwrap_or(self.text.len());
        let (word, rest) = self.text.split_at(end);
        self.text = rest;
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word
                .replace('_', "")
                .parse()
                .unwrap_or_else(|_| panic!("not a number: {word}"));
        }
        let name = word.rsplit("::").next().unwrap();
        let is_wanted = |(place, _): &(&Place, &String)| place.1 == name;
        let mut all = self.constants.iter().filter(is_wanted);
        let same_file = self
            .constants
            .iter()
            .filter(is_wanted)
            .find(|(place, _)| place.0 == self.file);
        let (place, value) = same_file
            .or_else(|| all.next())
            .unwrap_or_else(|| panic!("unknown: {name:?}"));
        assert!(
            same_file.is_some() || all.next().is_none(),
            "several files have a constant {name}"
        );
        Sum {
            text: value,
            file: &place.0,
            constants: self.constants,
        }
        .sum()
    }

    fn take(&mut self, sign: char) -> bool {
        self.text = self.text.trim_start();
        let rest = self.text.strip_prefix(sign).map(str::trim_start);
        self.text = rest.unwrap_or(self.text);
        rest.is_some()
    }
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
