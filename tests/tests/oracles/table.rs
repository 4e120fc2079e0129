//! What was tested, a line for every network stack.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::{Depth, Target};

pub(crate) struct Line<'a> {
    pub(crate) target: &'a Target,
    pub(crate) fixtures: usize,
    pub(crate) random: usize,
    pub(crate) failed: usize,
}

/// Prints the table, and leaves it in a file for `make test`, which shows it again at its end.
pub(crate) fn show<'a>(
    seed: u64,
    lines: impl Iterator<Item = Line<'a>>,
    unjudged: impl Iterator<Item = (&'a str, &'static str)>,
) {
    let mut table = format!(
        "{:32}{:>9}{:>14}{:>9}  oracle used\n",
        "target", "fixtures", "random cases", "failed"
    );
    for Line {
        target,
        fixtures,
        random,
        failed,
    } in lines
    {
        let depth = target
            .oracle
            .as_ref()
            .map_or("none", |oracle| match oracle.depth {
                Depth::Applied => "applied by its own programs",
                Depth::Parsed => "parsed, its meaning applied",
            });
        writeln!(
            table,
            "{:32}{fixtures:>9}{random:>14}{failed:>9}  {depth}",
            target.stack
        )
        .unwrap();
    }
    for (fixture, reason) in unjudged {
        writeln!(table, "not judged: {fixture}: {reason}").unwrap();
    }
    writeln!(table, "seed {seed}").unwrap();
    // Not by print!, which the test harness swallows.
    std::io::stderr().write_all(table.as_bytes()).unwrap();
    fs::write(
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracles.txt"),
        table,
    )
    .unwrap();
}
